//! What a failed call answers.

use super::{ContractError, unknown_selector};
use crate::{Address, CommitmentStatus, U256, abi};

macro_rules! errors {
    ($($(#[$meta:meta])* $name:ident $abi_name:literal {
        $( $(#[$field_meta:meta])* $field:ident $field_name:literal : $type:ty, )*
    })*) => {
        /// Why a contract refused a call.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Revert {
            $( $(#[$meta])* $name { $( $(#[$field_meta])* $field: $type, )* }, )*
        }

        impl Revert {
            /// All signatures.
            pub const SIGNATURES: &'static [fn() -> String] = &[
                $(|| abi::signature($abi_name, &[$(<$type as abi::Abi>::abi_type()),*]),)*
            ];

            /// Name and types.
            #[must_use]
            pub fn signature(&self) -> String {
                match self { $(
                    Self::$name { .. } => {
                        abi::signature($abi_name, &[$(<$type as abi::Abi>::abi_type()),*])
                    }
                )* }
            }

            fn parts(&self) -> (Vec<abi::Type>, Vec<abi::Value>) {
                match self { $(
                    Self::$name { $($field),* } => (
                        vec![$(<$type as abi::Abi>::abi_type()),*],
                        vec![$(abi::Abi::to_value($field)),*],
                    ),
                )* }
            }

            /// Reads the data of a failed call.
            ///
            /// # Errors
            /// An error that is not listed, or malformed members.
            pub fn decode(data: &[u8]) -> Result<Self, ContractError> {
                $(
                    let types = [$(<$type as abi::Abi>::abi_type()),*];
                    let selector = abi::selector(&abi::signature($abi_name, &types));
                    if let Some(members) = data.strip_prefix(&selector) {
                        let read = || {
                            #[allow(unused_mut, unused_variables, reason = "some have no members")]
                            let mut values = abi::decode(&types, members)?.into_iter();
                            Ok(Self::$name { $($field: abi::next::<$type>(&mut values)?),* })
                        };
                        return read()
                            .map_err(|source| ContractError::Abi { name: $abi_name, source });
                    }
                )*
                Err(unknown_selector("error", data))
            }
        }
    };
}

impl Revert {
    /// The data of a failed call.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (types, values) = self.parts();
        let mut bytes = abi::selector(&self.signature()).to_vec();
        bytes.append(&mut abi::encode(&types, &values).unwrap_or_default());
        bytes
    }
}

errors! {
    /// A failed check, with its text.
    Message "Error" {
        /// What the contract says.
        message "message": String,
    }
    /// A failed assertion of the compiler: overflow, division by zero, an index out of bounds.
    Panic "Panic" {
        /// Which one.
        code "code": U256,
    }
    /// Proofs are taken for active commitments only.
    CapacityCommitmentIsNotActive "CapacityCommitmentIsNotActive" {
        /// Where the commitment stands.
        status "status": CommitmentStatus,
    }
    /// The commitment is active and must not be for this call (generation G1).
    CapacityCommitmentIsActive "CapacityCommitmentIsActive" {
        /// Where the commitment stands.
        status "status": CommitmentStatus,
    }
    /// The commitment does not stand where the call needs it.
    InvalidCommitmentStatus "InvalidCCStatus" {
        /// Where the commitment stands.
        status "status": CommitmentStatus,
    }
    /// A unit has sent as many proofs as count in an epoch (generation G1).
    TooManyProofs "TooManyProofs" {}
    /// A match leaves the deal with fewer workers than it needs.
    MinWorkersNotMatched "MinWorkersNotMatched" {
        /// How many it needs, as observed, although the name says otherwise.
        matched "matched": U256,
    }
    /// Only the owner may call this.
    OwnableUnauthorizedAccount "OwnableUnauthorizedAccount" {
        /// Who called.
        account "account": Address,
    }
    /// The zero address cannot be an owner.
    OwnableInvalidOwner "OwnableInvalidOwner" {
        /// The address.
        owner "owner": Address,
    }
    /// A token refused a transfer.
    SafeErc20FailedOperation "SafeERC20FailedOperation" {
        /// The token.
        token "token": Address,
    }
    /// A contract was called from inside its own call.
    ReentrancyGuardReentrantCall "ReentrancyGuardReentrantCall" {}
    /// A contract was set up twice.
    InvalidInitialization "InvalidInitialization" {}
    /// A step of the set-up was called outside it.
    NotInitializing "NotInitializing" {}
    /// An address without a contract was called.
    AddressEmptyCode "AddressEmptyCode" {
        /// The address.
        target "target": Address,
    }
    /// An inner call failed without a reason.
    FailedCall "FailedCall" {}
    /// Two lists of verifier inputs differ in length (generation G1).
    BytesLengthMismatch "BytesLengthMismatch" {
        /// One length.
        expected "expected": U256,
        /// The other.
        actual "actual": U256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_the_protocol_description() {
        let selector = |revert: Revert| {
            let bytes = revert.encode();
            assert_eq!(Revert::decode(&bytes), Ok(revert));
            hex::encode(&bytes[..4])
        };
        let status = CommitmentStatus::Failed;
        assert_eq!(
            selector(Revert::CapacityCommitmentIsNotActive { status }),
            "0852c720"
        );
        assert_eq!(
            selector(Revert::InvalidCommitmentStatus { status }),
            "b16acd3f"
        );
        assert_eq!(
            selector(Revert::MinWorkersNotMatched { matched: U256::ONE }),
            "49d61e1c"
        );
        let account = Address::ZERO;
        assert_eq!(
            selector(Revert::OwnableUnauthorizedAccount { account }),
            "118cdaa7"
        );
        assert_eq!(
            selector(Revert::Message {
                message: "Peer doesn't exist".into()
            }),
            "08c379a0"
        );
    }

    #[test]
    fn other_data_is_refused() {
        for data in [&[][..], &[8], &[1, 2, 3, 4], &[0x08, 0x52, 0xc7, 0x20]] {
            assert!(Revert::decode(data).is_err(), "{data:?}");
        }
        let mut wrong = Revert::InvalidCommitmentStatus {
            status: CommitmentStatus::Active,
        }
        .encode();
        wrong[35] = 9;
        let error = Revert::decode(&wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "InvalidCCStatus: 9 is no CommitmentStatus"
        );
    }
}
