//! Content identifiers of small files.

use sha2::{Digest as _, Sha256};

/// Version, codec of raw bytes, SHA-256, and the length of that in bytes.
const PREFIX: [u8; 4] = [0x01, 0x55, 0x12, 0x20];

/// The identifier of bytes as one block, version 1 in base 32.
pub fn of(bytes: &[u8]) -> String {
    let mut cid = PREFIX.to_vec();
    cid.extend(Sha256::digest(bytes));
    base32(&cid)
}

/// RFC 4648 in lower case, without padding, behind the letter that says so.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::from("b");
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[(bits >> count) as usize & 31]));
        }
        // What has been written does not come back.
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - count)) as usize & 31]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_identifiers() {
        // RFC 4648, and what IPFS gives to files without bytes and with two of them.
        assert_eq!(base32(b"foobar"), "bmzxw6ytboi");
        assert_eq!(
            of(b""),
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        );
        assert_eq!(
            of(b"hi"),
            "bafkreiepinbumzepnoln7co5vea4kf3lcctnqolb3u6bvsellgznymt2uq"
        );
    }
}
