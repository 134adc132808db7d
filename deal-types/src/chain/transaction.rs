//! Signed transactions: EIP-1559, and reading those of EIP-155.

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};

use crate::{
    Address, Bytes32, U256, keccak256,
    rlp::{Item, RlpError, address_of_hash},
};

/// Why bytes are no key or no signed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A key that is zero or not below the order of the curve. The key itself is not told.
    #[error("{length} bytes are no secret key of secp256k1")]
    Key {
        /// How many bytes it has.
        length: usize,
    },
    /// Not the encoding of items.
    #[error(transparent)]
    Rlp(#[from] RlpError),
    /// A transaction of a kind that is not written here.
    #[error("transactions of type {kind:#04x} are not known")]
    Kind {
        /// The first byte.
        kind: u8,
    },
    /// Items that are not the members of a transaction.
    #[error("transaction has no valid {member}")]
    Member {
        /// The member.
        member: &'static str,
    },
    /// A signature that belongs to no key.
    #[error("signature belongs to no key")]
    Signature,
}

/// The key of an account.
#[derive(Clone)]
pub struct Wallet {
    key: SigningKey,
    address: Address,
}

impl Wallet {
    /// A wallet from the 32 bytes of its secret key.
    ///
    /// # Errors
    /// Bytes that are no key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TransactionError> {
        let key = SigningKey::from_slice(bytes).map_err(|_| TransactionError::Key {
            length: bytes.len(),
        })?;
        let address = address_of_key(key.verifying_key());
        Ok(Self { key, address })
    }

    /// A wallet from hexadecimal digits, with or without `0x`.
    ///
    /// # Errors
    /// A text that is no key.
    pub fn from_hex(text: &str) -> Result<Self, TransactionError> {
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let length = digits.len() / 2;
        let bytes = hex::decode(digits).map_err(|_| TransactionError::Key { length })?;
        Self::from_bytes(&bytes)
    }

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    fn sign(&self, hash: Bytes32) -> (U256, U256, bool) {
        let (signature, recovery) = self.key.sign_prehash_recoverable(&hash.0);
        let (r, s) = signature.split_bytes();
        (
            U256::from_be_slice(&r),
            U256::from_be_slice(&s),
            recovery.is_y_odd(),
        )
    }
}

impl fmt::Debug for Wallet {
    /// The address only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wallet").field(&self.address).finish()
    }
}

fn address_of_key(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    // The first byte says that both coordinates follow.
    let coordinates = point.as_bytes().get(1..).unwrap_or_default();
    address_of_hash(keccak256(coordinates))
}

/// A transaction of EIP-1559 before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedTransaction {
    /// The chain.
    pub chain_id: u64,
    /// How many transactions the sender made before.
    pub nonce: u64,
    /// What the block's maker gets for each unit of gas, at most, in wei.
    pub max_priority_fee_per_gas: U256,
    /// What a unit of gas costs in all, at most, in wei.
    pub max_fee_per_gas: U256,
    /// Gas that may be used.
    pub gas_limit: u64,
    /// The contract or account; `None` creates a contract.
    pub to: Option<Address>,
    /// Native tokens that go with it, in wei.
    pub value: U256,
    /// Selector and arguments.
    pub input: Vec<u8>,
}

/// The type of EIP-1559.
const DYNAMIC_FEE: u8 = 2;

impl UnsignedTransaction {
    fn items(&self) -> Vec<Item> {
        vec![
            Item::uint(U256::from(self.chain_id)),
            Item::uint(U256::from(self.nonce)),
            Item::uint(self.max_priority_fee_per_gas),
            Item::uint(self.max_fee_per_gas),
            Item::uint(U256::from(self.gas_limit)),
            Item::Bytes(self.to.map(|to| to.0.to_vec()).unwrap_or_default()),
            Item::uint(self.value),
            Item::Bytes(self.input.clone()),
            Item::List(Vec::new()),
        ]
    }

    /// What is signed.
    #[must_use]
    pub fn signing_hash(&self) -> Bytes32 {
        keccak256(&typed(self.items()))
    }

    /// Signs the transaction.
    #[must_use]
    pub fn sign(self, wallet: &Wallet) -> SignedTransaction {
        let (r, s, y_odd) = wallet.sign(self.signing_hash());
        let mut items = self.items();
        items.extend([
            Item::uint(U256::from(u8::from(y_odd))),
            Item::uint(r),
            Item::uint(s),
        ]);
        SignedTransaction {
            raw: typed(items),
            sender: wallet.address,
            body: self,
        }
    }
}

fn typed(items: Vec<Item>) -> Vec<u8> {
    let mut bytes = vec![DYNAMIC_FEE];
    bytes.append(&mut Item::List(items).encode());
    bytes
}

/// A transaction with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    raw: Vec<u8>,
    sender: Address,
    body: UnsignedTransaction,
}

impl SignedTransaction {
    /// The bytes that a node takes.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The hash by which the chain knows it.
    #[must_use]
    pub fn hash(&self) -> Bytes32 {
        keccak256(&self.raw)
    }

    /// Who signed it.
    #[must_use]
    pub fn sender(&self) -> Address {
        self.sender
    }

    /// What was signed. Of a transaction of EIP-155 both fees are its price.
    #[must_use]
    pub fn body(&self) -> &UnsignedTransaction {
        &self.body
    }

    /// Reads the bytes that a node takes: EIP-1559 without access list, or EIP-155.
    ///
    /// # Errors
    /// Other types, malformed members, a signature of nobody.
    pub fn decode(raw: &[u8]) -> Result<Self, TransactionError> {
        match raw.split_first() {
            Some((&DYNAMIC_FEE, rest)) => {
                let mut members = Members::of(Item::decode(rest)?)?;
                let body = UnsignedTransaction {
                    chain_id: members.small("chain id")?,
                    nonce: members.small("nonce")?,
                    max_priority_fee_per_gas: members.uint("priority fee")?,
                    max_fee_per_gas: members.uint("fee")?,
                    gas_limit: members.small("gas limit")?,
                    to: members.recipient()?,
                    value: members.uint("value")?,
                    input: members.bytes("input")?,
                };
                members.no_access_list()?;
                let y_odd = match members.small("parity")? {
                    0 => false,
                    1 => true,
                    _ => return Err(TransactionError::Member { member: "parity" }),
                };
                let (r, s) = (members.uint("r")?, members.uint("s")?);
                members.end()?;
                let sender = recover(body.signing_hash(), r, s, y_odd)?;
                Ok(Self {
                    raw: raw.to_vec(),
                    sender,
                    body,
                })
            }
            Some((&first, _)) if first >= 0xc0 => Self::decode_legacy(raw),
            Some((&kind, _)) => Err(TransactionError::Kind { kind }),
            None => Err(RlpError::Truncated {
                available: 0,
                needed: 1,
            }
            .into()),
        }
    }

    fn decode_legacy(raw: &[u8]) -> Result<Self, TransactionError> {
        let mut members = Members::of(Item::decode(raw)?)?;
        let nonce = members.small("nonce")?;
        let price = members.uint("price")?;
        let mut body = UnsignedTransaction {
            chain_id: 0,
            nonce,
            max_priority_fee_per_gas: price,
            max_fee_per_gas: price,
            gas_limit: members.small("gas limit")?,
            to: members.recipient()?,
            value: members.uint("value")?,
            input: members.bytes("input")?,
        };
        // 35 + 2 · chain id + parity.
        let v = members.small("v")?;
        let v = v
            .checked_sub(35)
            .ok_or(TransactionError::Member { member: "v" })?;
        body.chain_id = v / 2;
        let (r, s) = (members.uint("r")?, members.uint("s")?);
        members.end()?;
        let sender = recover(legacy_signing_hash(&body), r, s, v % 2 == 1)?;
        Ok(Self {
            raw: raw.to_vec(),
            sender,
            body,
        })
    }
}

/// What is signed by EIP-155: the members, then the chain id and two zeros.
fn legacy_signing_hash(body: &UnsignedTransaction) -> Bytes32 {
    let items = vec![
        Item::uint(U256::from(body.nonce)),
        Item::uint(body.max_fee_per_gas),
        Item::uint(U256::from(body.gas_limit)),
        Item::Bytes(body.to.map(|to| to.0.to_vec()).unwrap_or_default()),
        Item::uint(body.value),
        Item::Bytes(body.input.clone()),
        Item::uint(U256::from(body.chain_id)),
        Item::uint(U256::ZERO),
        Item::uint(U256::ZERO),
    ];
    keccak256(&Item::List(items).encode())
}

fn recover(hash: Bytes32, r: U256, s: U256, y_odd: bool) -> Result<Address, TransactionError> {
    let signature = Signature::from_scalars(r.to_be_bytes::<32>(), s.to_be_bytes::<32>())
        .map_err(|_| TransactionError::Signature)?;
    let recovery = RecoveryId::new(y_odd, false);
    let key = VerifyingKey::recover_from_prehash(&hash.0, &signature, recovery)
        .map_err(|_| TransactionError::Signature)?;
    Ok(address_of_key(&key))
}

/// The members of a transaction, one after another.
struct Members(std::vec::IntoIter<Item>);

impl Members {
    fn of(item: Item) -> Result<Self, TransactionError> {
        match item {
            Item::List(items) => Ok(Self(items.into_iter())),
            Item::Bytes(_) => Err(TransactionError::Member {
                member: "list of members",
            }),
        }
    }

    fn bytes(&mut self, member: &'static str) -> Result<Vec<u8>, TransactionError> {
        match self.0.next() {
            Some(Item::Bytes(bytes)) => Ok(bytes),
            _ => Err(TransactionError::Member { member }),
        }
    }

    fn uint(&mut self, member: &'static str) -> Result<U256, TransactionError> {
        let bytes = self.bytes(member)?;
        if bytes.first() == Some(&0) || bytes.len() > 32 {
            return Err(TransactionError::Member { member });
        }
        Ok(U256::from_be_slice(&bytes))
    }

    fn small(&mut self, member: &'static str) -> Result<u64, TransactionError> {
        u64::try_from(self.uint(member)?).map_err(|_| TransactionError::Member { member })
    }

    fn recipient(&mut self) -> Result<Option<Address>, TransactionError> {
        let bytes = self.bytes("recipient")?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let address = bytes.try_into();
        let address = address.map_err(|_| TransactionError::Member {
            member: "recipient",
        })?;
        Ok(Some(Address(address)))
    }

    fn no_access_list(&mut self) -> Result<(), TransactionError> {
        match self.0.next() {
            Some(Item::List(items)) if items.is_empty() => Ok(()),
            _ => Err(TransactionError::Member {
                member: "empty access list",
            }),
        }
    }

    fn end(mut self) -> Result<(), TransactionError> {
        match self.0.next() {
            None => Ok(()),
            Some(_) => Err(TransactionError::Member { member: "end" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of EIP-155.
    #[test]
    fn published_example_of_eip_155() {
        let raw = hex::decode(concat!(
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080",
            "25a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761a",
            "ecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
        ))
        .unwrap();
        let transaction = SignedTransaction::decode(&raw).unwrap();
        assert_eq!(
            hex::encode(legacy_signing_hash(transaction.body())),
            "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
        );
        let wallet = Wallet::from_bytes(&[0x46; 32]).unwrap();
        assert_eq!(transaction.sender(), wallet.address());
        assert_eq!(transaction.body().chain_id, 1);
        let (r, s, y_odd) = wallet.sign(legacy_signing_hash(transaction.body()));
        assert_eq!(hex::encode(r.to_be_bytes::<32>())[..8], *"28ef6134");
        assert_eq!(hex::encode(s.to_be_bytes::<32>())[..8], *"67cbe9d8");
        assert!(!y_odd);
    }

    /// Transaction 0xce4dc6d7…, the third of its sender on the main chain.
    #[test]
    fn mined_transaction_of_eip_1559() {
        let raw = hex::decode(concat!(
            "02f86f0102843b9aca0085029e7822d68298f094d9e1459a7a482635700cbc20bbaf52d495ab9c9680841b",
            "55ba3ac080a0c199674fcb29f353693dd779c017823b954b3c69dffa3cd6b2a6ff7888798039a028ca912d",
            "e909e7e6cdef9cdcaf24c54dd8c1032946dfa1d85c206b32a9064fe8"
        ))
        .unwrap();
        let transaction = SignedTransaction::decode(&raw).unwrap();
        assert_eq!(
            transaction.sender().to_deal_id(),
            "0x001e2b7de757ba469a57bf6b23d982458a07efce"
        );
        assert_eq!(
            hex::encode(transaction.hash()),
            "ce4dc6d7a7549a98ee3b071b67e970879ff51b5b95d1c340bacd80fa1e1aab31"
        );
        let body = transaction.body();
        assert_eq!((body.nonce, body.gas_limit), (2, 39_152));
        assert_eq!(hex::encode(&body.input), "1b55ba3a");
    }

    #[test]
    fn signed_transactions_are_read_again() {
        // The first account of local chains.
        let wallet =
            Wallet::from_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
                .unwrap();
        let address = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
        assert_eq!(wallet.address().to_deal_id(), address);
        for to in [None, Some(Address([7; 20]))] {
            let body = UnsignedTransaction {
                chain_id: 31_337,
                nonce: 0,
                max_priority_fee_per_gas: U256::from(1),
                max_fee_per_gas: U256::MAX,
                gas_limit: 21_000,
                to,
                value: U256::ZERO,
                input: vec![0; 100],
            };
            let signed = body.clone().sign(&wallet);
            assert_eq!(SignedTransaction::decode(signed.raw()), Ok(signed.clone()));
            assert_eq!(signed.body(), &body);
            let mut other = signed.raw().to_vec();
            other[8] ^= 1;
            assert_ne!(SignedTransaction::decode(&other), Ok(signed));
        }
    }

    #[test]
    fn what_is_no_transaction_is_refused() {
        assert!(matches!(
            Wallet::from_hex("0x00"),
            Err(TransactionError::Key { length: 1 })
        ));
        assert!(matches!(
            Wallet::from_bytes(&[0; 32]),
            Err(TransactionError::Key { .. })
        ));
        assert_eq!(
            SignedTransaction::decode(&[3, 0xc0]),
            Err(TransactionError::Kind { kind: 3 })
        );
        assert!(SignedTransaction::decode(&[]).is_err());
        assert_eq!(
            SignedTransaction::decode(&[2, 0xc0]),
            Err(TransactionError::Member { member: "chain id" })
        );
    }
}
