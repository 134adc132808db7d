//! Recursive length prefix, the encoding of transactions: byte strings and lists of them.

use crate::{Address, Bytes32, U256, keccak256};

/// Why bytes are not one canonical item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RlpError {
    /// The bytes end before the item does.
    #[error("{available} bytes end before an item of {needed}")]
    Truncated {
        /// Bytes that are there.
        available: usize,
        /// Bytes that the header announces.
        needed: usize,
    },
    /// A length or single byte that has a shorter form.
    #[error("item with header {header:#04x} has a shorter form")]
    NotCanonical {
        /// The first byte of the item.
        header: u8,
    },
    /// Bytes after the item.
    #[error("{count} bytes follow the item")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Lists in lists in lists.
    #[error("lists are nested deeper than {limit}")]
    Depth {
        /// What is allowed.
        limit: usize,
    },
}

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list of items.
    List(Vec<Item>),
}

/// Lists that may stand inside each other; transactions need four.
const MAX_DEPTH: usize = 16;

impl Item {
    /// An integer: its bytes without leading zeros.
    #[must_use]
    pub fn uint(value: U256) -> Self {
        Self::Bytes(trimmed(value))
    }

    /// The encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => match bytes.as_slice() {
                [byte] if *byte < 0x80 => vec![*byte],
                _ => with_header(0x80, bytes),
            },
            Self::List(items) => with_header(
                0xc0,
                &items.iter().flat_map(Self::encode).collect::<Vec<u8>>(),
            ),
        }
    }

    /// Reads one item that takes all of `bytes`.
    ///
    /// # Errors
    /// Anything but the one canonical encoding of an item.
    pub fn decode(bytes: &[u8]) -> Result<Self, RlpError> {
        let (item, rest) = read(bytes, 0)?;
        if rest.is_empty() {
            Ok(item)
        } else {
            Err(RlpError::Trailing { count: rest.len() })
        }
    }
}

/// Big-endian bytes without leading zeros.
fn trimmed(value: U256) -> Vec<u8> {
    let bytes = value.to_be_bytes::<32>();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Payloads up to this length have it in the header.
const SHORT: usize = 55;

fn with_header(base: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(payload.len()) {
        Ok(length) if payload.len() <= SHORT => vec![base + length],
        _ => {
            let length = trimmed(U256::from(payload.len()));
            // A length has at most eight bytes.
            let mut header = vec![base + 55 + u8::try_from(length.len()).unwrap_or(8)];
            header.extend(length);
            header
        }
    };
    bytes.extend_from_slice(payload);
    bytes
}

fn read(bytes: &[u8], depth: usize) -> Result<(Item, &[u8]), RlpError> {
    let needed = |needed| RlpError::Truncated {
        available: bytes.len(),
        needed,
    };
    let (&header, rest) = bytes.split_first().ok_or_else(|| needed(1))?;
    if header < 0x80 {
        return Ok((Item::Bytes(vec![header]), rest));
    }
    let (base, is_list) = if header < 0xc0 {
        (0x80, false)
    } else {
        (0xc0, true)
    };
    let code = usize::from(header - base);
    let (length, rest) = if code <= SHORT {
        (code, rest)
    } else {
        let width = code - SHORT;
        let (digits, rest) = rest
            .split_at_checked(width)
            .ok_or_else(|| needed(width + 1))?;
        let length = U256::from_be_slice(digits);
        let length = usize::try_from(length).map_err(|_| needed(usize::MAX))?;
        if digits.first() == Some(&0) || length <= SHORT {
            return Err(RlpError::NotCanonical { header });
        }
        (length, rest)
    };
    let (payload, rest) = rest
        .split_at_checked(length)
        .ok_or_else(|| needed(length))?;
    if !is_list {
        if matches!(payload, [byte] if *byte < 0x80) {
            return Err(RlpError::NotCanonical { header });
        }
        return Ok((Item::Bytes(payload.to_vec()), rest));
    }
    if depth == MAX_DEPTH {
        return Err(RlpError::Depth { limit: MAX_DEPTH });
    }
    let (mut items, mut payload) = (Vec::new(), payload);
    while !payload.is_empty() {
        let (item, after) = read(payload, depth + 1)?;
        items.push(item);
        payload = after;
    }
    Ok((Item::List(items), rest))
}

/// The address of the contract that `sender` creates with its transaction (or, for a contract, its
/// creation) of this number.
#[must_use]
pub fn created_address(sender: Address, nonce: u64) -> Address {
    let item = Item::List(vec![
        Item::Bytes(sender.0.to_vec()),
        Item::uint(U256::from(nonce)),
    ]);
    address_of_hash(keccak256(&item.encode()))
}

/// The last 20 bytes of a hash, which name accounts.
pub(crate) fn address_of_hash(hash: Bytes32) -> Address {
    let mut address = Address::ZERO;
    for (to, from) in address.0.iter_mut().zip(hash.0.iter().skip(12)) {
        *to = *from;
    }
    address
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Item {
        Item::Bytes(text.as_bytes().to_vec())
    }

    /// The examples of the encoding's published description.
    #[test]
    fn published_examples() {
        let lorem = "Lorem ipsum dolor sit amet, consectetur adipisicing elit";
        let nested = |items| Item::List(items);
        for (item, expected) in [
            (text("dog"), "83646f67".to_owned()),
            (
                nested(vec![text("cat"), text("dog")]),
                "c88363617483646f67".to_owned(),
            ),
            (text(""), "80".to_owned()),
            (nested(vec![]), "c0".to_owned()),
            (Item::uint(U256::ZERO), "80".to_owned()),
            (Item::Bytes(vec![0]), "00".to_owned()),
            (Item::uint(U256::from(15)), "0f".to_owned()),
            (Item::uint(U256::from(1024)), "820400".to_owned()),
            (
                nested(vec![
                    nested(vec![]),
                    nested(vec![nested(vec![])]),
                    nested(vec![nested(vec![]), nested(vec![nested(vec![])])]),
                ]),
                "c7c0c1c0c3c0c1c0".to_owned(),
            ),
            (text(lorem), format!("b838{}", hex::encode(lorem))),
        ] {
            let bytes = item.encode();
            assert_eq!(hex::encode(&bytes), expected);
            assert_eq!(Item::decode(&bytes), Ok(item));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let error = |text| Item::decode(&hex::decode(text).unwrap()).unwrap_err();
        assert_eq!(error("8100"), RlpError::NotCanonical { header: 0x81 });
        assert_eq!(error("b80161"), RlpError::NotCanonical { header: 0xb8 });
        assert_eq!(error("b90001"), RlpError::NotCanonical { header: 0xb9 });
        assert_eq!(
            error("83646f"),
            RlpError::Truncated {
                available: 3,
                needed: 3
            }
        );
        assert_eq!(error("8080"), RlpError::Trailing { count: 1 });
        assert!(matches!(
            error("bfffffffffffffffff"),
            RlpError::Truncated { .. }
        ));
        let mut deep = vec![0xc0];
        for _ in 0..40 {
            deep = with_header(0xc0, &deep);
        }
        assert_eq!(
            Item::decode(&deep),
            Err(RlpError::Depth { limit: MAX_DEPTH })
        );
    }

    #[test]
    fn contracts_of_the_recorded_chain() {
        let deployer = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
            .parse()
            .unwrap();
        let market = created_address(deployer, 13);
        assert_eq!(
            market.to_deal_id(),
            "0x0dcd1bf9a1b36ce34237eeafef220932846bcd82"
        );
        let deal = created_address(market, 1).to_deal_id();
        assert_eq!(deal, "0x32467b43bfa67273fc7ddda0999ee9a12f2aaa08");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            if let Ok(item) = Item::decode(&bytes) {
                prop_assert_eq!(item.encode(), bytes);
            }
        }

        #[test]
        fn long_strings_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            let item = Item::List(vec![Item::Bytes(bytes.clone()), Item::Bytes(bytes)]);
            prop_assert_eq!(Item::decode(&item.encode()), Ok(item));
        }
    }
}
