//! `kad`: who is near a key.

use sha2::{Digest as _, Sha256};

use super::{Answer, DecodeError, Failure, MAX_DIGEST, from_base58, value, wrap_multihash};
use crate::{
    connectivity::{Connectivity, Contact},
    host::{Arguments, FunctionOutcome},
};

/// How many peers are returned when the script does not say.
const DEFAULT_COUNT: usize = 20;

pub(super) async fn call(
    connectivity: &dyn Connectivity,
    function: &str,
    arguments: Arguments<'_>,
) -> Answer {
    match function {
        "neighborhood" => value(&neighborhood(connectivity, arguments).await?),
        "neigh_with_addrs" => {
            let mut contacts = Vec::new();
            for peer_id in neighborhood(connectivity, arguments).await? {
                let contact = connectivity.get_contact(&peer_id).await;
                contacts.push(contact.unwrap_or(Contact {
                    peer_id,
                    addresses: Vec::new(),
                }));
            }
            value(&contacts)
        }
        "merge" => merge(arguments),
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

async fn neighborhood(
    connectivity: &dyn Connectivity,
    mut arguments: Arguments<'_>,
) -> Result<Vec<String>, Failure> {
    let key: String = arguments.next("key")?;
    let already_hashed: Option<bool> = arguments.next_opt("already_hashed")?;
    let count: Option<usize> = arguments.next_opt("count")?;
    let key = from_base58(&key)?;
    let key = if already_hashed == Some(true) {
        check_multihash(&key).map_err(|reason| Failure::typed(&DecodeError::Multihash(reason)))?;
        key
    } else {
        // The key is called a digest without being hashed. All peers do so: they would not agree
        // on who is near otherwise.
        wrap_multihash(&key)?
    };
    let count = count.unwrap_or(DEFAULT_COUNT);
    Ok(connectivity.neighborhood(&key, count).await)
}

/// Whether these are the bytes of a multihash: code, length, as many bytes.
fn check_multihash(bytes: &[u8]) -> Result<(), &'static str> {
    let rest = skip_varint(bytes).ok_or("no code")?.1;
    let (length, digest) = skip_varint(rest).ok_or("no length")?;
    if length > MAX_DIGEST as u64 {
        return Err("digest longer than 64 bytes");
    }
    if length != digest.len() as u64 {
        return Err("length does not match the digest");
    }
    Ok(())
}

fn skip_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

fn merge(mut arguments: Arguments<'_>) -> Answer {
    let target: String = arguments.next("target")?;
    let left: Vec<String> = arguments.next("left")?;
    let right: Vec<String> = arguments.next("right")?;
    let count: Option<usize> = arguments.next_opt("count")?;
    let target = Sha256::digest(from_base58(&target)?);
    let mut peers = Vec::with_capacity(left.len() + right.len());
    for text in left.into_iter().chain(right) {
        let hash = Sha256::digest(from_base58(&text)?);
        let distance: Vec<u8> = hash.iter().zip(&target).map(|(a, b)| a ^ b).collect();
        peers.push((distance, text));
    }
    peers.sort_by(|(left, _), (right, _)| left.cmp(right));
    peers.dedup_by(|(left, _), (right, _)| left == right);
    let peers: Vec<String> = peers
        .into_iter()
        .map(|(_, text)| text)
        .take(count.unwrap_or(DEFAULT_COUNT))
        .collect();
    value(&peers)
}

#[cfg(test)]
mod tests {
    use particle::KeyPair;
    use serde_json::{Value, json};

    use super::{
        super::tests::{ask, check},
        *,
    };

    #[test]
    fn table() {
        let peer = KeyPair::from_seed(&[3; 32]).peer_id().to_string();
        let short = bs58::encode([7; 46]).into_string();
        let long = bs58::encode([7; 65]).into_string();
        let hash = bs58::encode(wrap_multihash(&[7; 32]).unwrap()).into_string();
        let not_hash = bs58::encode([0x12, 5, 1]).into_string();
        check(&[
            (
                "kad.neighborhood",
                json!([short]),
                Ok(json!([peer, "48", "20"])),
            ),
            (
                "kad.neighborhood",
                json!([hash]),
                Ok(json!([peer, "36", "20"])),
            ),
            (
                "kad.neighborhood",
                json!([hash, true]),
                Ok(json!([peer, "34", "20"])),
            ),
            (
                "kad.neighborhood",
                json!([hash, [true], [3]]),
                Ok(json!([peer, "34", "3"])),
            ),
            (
                "kad.neighborhood",
                json!([short, null, 5]),
                Ok(json!([peer, "48", "5"])),
            ),
            (
                "kad.neighborhood",
                json!([long]),
                Err("Error: Invalid multihash…"),
            ),
            (
                "kad.neighborhood",
                json!([not_hash, true]),
                Err("Error: Invalid multihash…"),
            ),
            (
                "kad.neighborhood",
                json!(["0"]),
                Err("Error: decode base58 failed: …"),
            ),
            (
                "kad.neighborhood",
                json!([]),
                Err("Error: Field 'key' is missing from args to call_service\n…"),
            ),
            ("kad.merge", json!(["1", [], []]), Ok(json!([]))),
            (
                "kad.merge",
                json!(["0", [], []]),
                Err("Error: decode base58 failed: …"),
            ),
            (
                "kad.merge",
                json!(["1", ["l"], []]),
                Err("Error: decode base58 failed: …"),
            ),
        ]);
        let contacts = ask("kad.neigh_with_addrs", &[json!(short)]).unwrap();
        assert_eq!(
            contacts[0],
            json!({"peer_id": peer, "addresses": ["/memory/1"]})
        );
        assert_eq!(contacts[1]["addresses"], json!([]));
    }

    #[test]
    fn merging_sorts_and_deduplicates() {
        let names: Vec<String> = (0..30_u8)
            .map(|seed| bs58::encode([seed]).into_string())
            .collect();
        let merge = |left: &[String], right: &[String], count: Value| {
            ask(
                "kad.merge",
                &[json!(names[0]), json!(left), json!(right), count],
            )
            .unwrap()
        };
        let all = merge(&names, &names[5..25], json!(100));
        assert_eq!(all.as_array().unwrap().len(), 30);
        assert_eq!(all[0], json!(names[0]));
        let shuffled = merge(&names[10..], &names[..20], json!([100]));
        assert_eq!(all, shuffled);
        assert_eq!(
            merge(&names, &[], json!(null)).as_array().unwrap().len(),
            20
        );
        assert_eq!(merge(&names, &[], json!(2)).as_array().unwrap().len(), 2);
    }
}
