//! The two hash functions of the marketplace.

use sha2::Digest as _;

use crate::Bytes32;

/// Keccak-256 with the original padding, as Ethereum uses it (not SHA3-256).
#[must_use]
pub fn keccak256(bytes: &[u8]) -> Bytes32 {
    keccak256_of(&[bytes])
}

/// Keccak-256 of the concatenation of `parts`.
#[must_use]
pub fn keccak256_of(parts: &[&[u8]]) -> Bytes32 {
    let mut hasher = sha3::Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    Bytes32(hasher.finalize().into())
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Bytes32 {
    sha256_of(&[bytes])
}

/// SHA-256 of the concatenation of `parts`.
#[must_use]
pub fn sha256_of(parts: &[&[u8]]) -> Bytes32 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Bytes32(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(
            keccak256(b"").to_string(),
            "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
        assert_eq!(
            sha256_of(&[b"a", b"bc"]).to_string(),
            "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
