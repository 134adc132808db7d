//! Text forms as serde implementations.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Address, Bytes32, Cid, PeerKey};

/// Reads a value from its text.
struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($type:ty)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(PhantomData))
            }
        }
    )*};
}

as_text!(Address Bytes32 Cid PeerKey);

/// Amounts as decimal strings: `#[serde(with = "deal_types::decimal")]`.
pub mod decimal {
    use serde::{Deserializer, Serializer, de};

    use crate::U256;

    /// Writes the decimal digits as a string.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &U256, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads a string of decimal digits.
    ///
    /// # Errors
    /// Anything but decimal digits, or a value over 256 bits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<U256, D::Error> {
        let text =
            <std::borrow::Cow<'_, str> as serde::Deserialize<'_>>::deserialize(deserializer)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| U256::from_str_radix(&text, 10).ok())
            .flatten()
            .ok_or_else(|| de::Error::custom("amount is not a decimal number of at most 256 bits"))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Address, U256};

    #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
    struct Payment {
        to: Address,
        #[serde(with = "super::decimal")]
        amount: U256,
    }

    #[test]
    fn texts_round_trip() {
        let payment = Payment {
            to: Address([0x11; 20]),
            amount: U256::MAX,
        };
        let text = serde_json::to_string(&payment).unwrap();
        assert!(text.contains("\"1157920892373161954"), "{text}");
        assert_eq!(serde_json::from_str::<Payment>(&text).unwrap(), payment);
        for bad in [
            "\"0x10\"",
            "\"\"",
            "\"-1\"",
            "\"1_0\"",
            "10",
            &format!("\"{}0\"", U256::MAX),
        ] {
            let text = format!("{{\"to\":\"0x{}\",\"amount\":{bad}}}", "11".repeat(20));
            assert!(serde_json::from_str::<Payment>(&text).is_err(), "{bad}");
        }
    }
}
