//! Enumerations of the contracts, with the numbers that go on the chain.

use std::fmt;

/// A number that names no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is no {name}")]
pub struct UnknownVariant {
    /// The enumeration.
    pub name: &'static str,
    /// The number.
    pub number: u8,
}

macro_rules! chain_enums {
    ($(
        $(#[$meta:meta])*
        $name:ident { $( $(#[$variant_meta:meta])* $number:literal $variant:ident $text:literal, )* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
        #[repr(u8)]
        pub enum $name {
            $(
                $(#[$variant_meta])*
                #[cfg_attr(feature = "json", serde(rename = $text))]
                $variant = $number,
            )*
        }

        impl $name {
            /// All variants, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                value as Self
            }
        }

        impl TryFrom<u8> for $name {
            type Error = UnknownVariant;

            fn try_from(number: u8) -> Result<Self, UnknownVariant> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    _ => Err(UnknownVariant { name: stringify!($name), number }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    )*};
}

chain_enums! {
    /// Where a capacity commitment stands.
    CommitmentStatus {
        /// Its time has passed.
        0 Inactive "Inactive",
        /// Its units have to prove their capacity.
        1 Active "Active",
        /// The collateral has not been paid.
        2 WaitDelegation "WaitDelegation",
        /// Paid; begins with the next epoch.
        3 WaitStart "WaitStart",
        /// Too many proofs were missed.
        4 Failed "Failed",
        /// Finished or removed.
        5 Removed "Removed",
    }
    /// Where a deal stands. The texts are those that peers hand to scripts.
    DealStatus {
        /// What was paid for is used up.
        0 InsufficientFunds "INSUFFICIENT_FUNDS",
        /// Running.
        1 Active "ACTIVE",
        /// Stopped by its owner.
        2 Ended "ENDED",
        /// Fewer workers than it needs are activated.
        3 NotEnoughWorkers "NOT_ENOUGH_WORKERS",
        /// Less than the required deposit is left.
        4 SmallBalance "SMALL_BALANCE",
    }
    /// How a deal chooses providers.
    AccessType {
        /// Any provider.
        0 None "NONE",
        /// Only listed ones.
        1 Whitelist "WHITELIST",
        /// All but listed ones.
        2 Blacklist "BLACKLIST",
    }
    /// Constants of capacity that the owner can change.
    CapacityConstant {
        /// Least duration of a commitment, in epochs.
        0 MinDuration "MinDuration",
        /// Collateral in USD for a unit.
        1 UsdCollateralPerUnit "USDCollateralPerUnit",
        /// Part of the collateral lost for each missed epoch.
        2 SlashingRate "SlashingRate",
        /// Epochs between failure and withdrawal.
        3 WithdrawEpochsAfterFailed "WithdrawEpochsAfterFailed",
        /// Missed epochs for each unit at which a commitment fails.
        4 MaxFailedRatio "MaxFailedRatio",
        /// Revenue in USD that a unit shall have in an epoch.
        5 UsdTargetRevenuePerEpoch "USDTargetRevenuePerEpoch",
        /// Least reward pool of an epoch.
        6 MinRewardPerEpoch "MinRewardPerEpoch",
        /// Greatest reward pool of an epoch.
        7 MaxRewardPerEpoch "MaxRewardPerEpoch",
        /// Proofs that a unit needs in an epoch.
        8 MinProofsPerEpoch "MinProofsPerEpoch",
        /// Proofs that count for a unit in an epoch.
        9 MaxProofsPerEpoch "MaxProofsPerEpoch",
    }
    /// Constants of deals that the owner can change.
    DealConstant {
        /// Epochs that a deposit has to cover.
        0 MinDealDepositedEpochs "MinDealDepositedEpochs",
        /// Epochs between two matches of a deal.
        1 MinDealRematchingEpochs "MinDealRematchingEpochs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts() {
        for (number, status) in DealStatus::ALL.iter().enumerate() {
            assert_eq!(usize::from(u8::from(*status)), number);
            assert_eq!(DealStatus::try_from(u8::from(*status)), Ok(*status));
        }
        assert_eq!(
            DealStatus::NotEnoughWorkers.to_string(),
            "NOT_ENOUGH_WORKERS"
        );
        assert_eq!(CommitmentStatus::Failed as u8, 4);
        assert_eq!(CapacityConstant::MaxProofsPerEpoch as u8, 9);
        let error = AccessType::try_from(3).unwrap_err();
        assert_eq!(error.to_string(), "3 is no AccessType");
    }
}
