//! Published hashes of RandomX, stock parameters and those of the network.
//!
//! There are two keys only, since filling a cache is what takes time.
#![cfg(feature = "portable")]

use ccp::{
    GlobalNonce, LocalNonce, PortablePuzzle, Puzzle, PuzzleKey, UnitId,
    randomx::{Cache, Hasher, Parameters},
};

fn hash(cache: &Cache, input: &[u8]) -> String {
    hex::encode(Hasher::new(cache).hash(input))
}

#[test]
fn stock_hashes() {
    let cache = Cache::new(b"test key 000", Parameters::STOCK).unwrap();
    for (input, expected) in [
        (
            "This is a test",
            "639183aae1bf4c9a35884cb46b09cad9175f04efd7684e7262a0ac1c2f0b4e3f",
        ),
        (
            "Lorem ipsum dolor sit amet",
            "300a0adb47603dedb42228ccb2b211104f4da45af709cd7547cd049e9489c969",
        ),
    ] {
        assert_eq!(hash(&cache, input.as_bytes()), expected, "{input}");
    }
}

#[test]
fn a_proof_of_the_network() {
    let key = PuzzleKey::new(&GlobalNonce([1; 32]), &UnitId([2; 32]));
    assert_eq!(
        key.to_string(),
        "346d8c96a2454213fcc0daff3c96ad0398148181b9fa6488f7ae2c0af5b20aa0"
    );
    let prepared = PortablePuzzle::new().prepare(&key).unwrap();
    let hash = prepared
        .solver()
        .unwrap()
        .hash(&LocalNonce([3; 32]))
        .unwrap();
    assert_eq!(
        hash.to_string(),
        "f01216a1065c4316804cc9d6c92d5915d833947f1a124f660436f1bed8ab7b9d"
    );
}
