use super::*;
use crate::{Difficulty, GlobalNonce, LocalNonce, ResultHash};

const A: UnitId = UnitId([0xa; 32]);
const B: UnitId = UnitId([0xb; 32]);

fn epoch(nonce: u8, difficulty: u8) -> EpochParameters {
    EpochParameters {
        global_nonce: GlobalNonce([nonce; 32]),
        difficulty: Difficulty([difficulty; 32]),
    }
}

fn proof(epoch: EpochParameters, unit: UnitId, hash: u8) -> RawProof {
    RawProof {
        epoch,
        local_nonce: LocalNonce([hash; 32]),
        cu_id: unit,
        result_hash: ResultHash([hash; 32]),
    }
}

/// A ledger of epoch 1, threshold 100, with hashes of A and of B.
fn ledger(folder: &Path, a: &[u8], b: &[u8]) -> Ledger {
    let ledger = Ledger::open(folder).unwrap();
    ledger.begin(epoch(1, 100)).unwrap();
    for (unit, hashes) in [(A, a), (B, b)] {
        for hash in hashes {
            let recorded = ledger.record(proof(epoch(1, 100), unit, *hash)).unwrap();
            assert!(matches!(recorded, Recorded::Kept(_)), "{recorded:?}");
        }
    }
    ledger
}

/// Units with numbers and hashes.
fn shown(responses: Vec<BatchResponse>) -> Vec<(char, Vec<(u64, u8)>)> {
    let proofs = |response: &BatchResponse| {
        let pair = |proof: &Proof| (proof.id.idx.0, proof.result_hash.0[0]);
        response.proof_batches.iter().map(pair).collect()
    };
    responses
        .iter()
        .map(|response| {
            (
                if response.cu_id == A { 'a' } else { 'b' },
                proofs(response),
            )
        })
        .collect()
}

fn after(ledger: &Ledger, a: u64, b: u64, limit: usize) -> Vec<(char, Vec<(u64, u8)>)> {
    let known = BTreeMap::from([(A, ProofIndex(a)), (B, ProofIndex(b))]);
    shown(ledger.after(&known, limit))
}

fn batches(ledger: &Ledger, size: usize, min: usize, max: usize) -> Vec<(char, Vec<(u64, u8)>)> {
    let request = BatchRequest {
        last_seen_proof_idx: ProofIndex(0),
        proof_batch_size: size,
    };
    shown(ledger.batches(&[(A, request), (B, request)].into(), min, max))
}

#[test]
fn proofs_are_numbered_from_one_and_asked_for_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(folder.path(), &[1, 2, 3], &[4, 5]);
    let all = [
        ('a', vec![(1, 1), (2, 2), (3, 3)]),
        ('b', vec![(1, 4), (2, 5)]),
    ];
    assert_eq!(after(&ledger, 0, 0, 50), all);
    // The smallest numbers of all units first.
    assert_eq!(
        after(&ledger, 0, 0, 3),
        [('a', vec![(1, 1), (2, 2)]), ('b', vec![(1, 4)])]
    );
    assert_eq!(after(&ledger, 3, 1, 50), [('b', vec![(2, 5)])]);
    assert_eq!(after(&ledger, 3, 2, 50), []);
    assert_eq!(after(&ledger, u64::MAX, 9, 50), []);
    assert_eq!(ledger.after(&BTreeMap::new(), 50), []);
}

#[test]
fn batches_are_full_and_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(folder.path(), &[1, 2, 3, 4, 5], &[6, 7]);
    // Three full batches; the tail of A waits.
    let (first, second) = (vec![(1, 1), (2, 2)], vec![(1, 6), (2, 7)]);
    let longer = vec![(1, 1), (2, 2), (3, 3), (4, 4)];
    assert_eq!(
        batches(&ledger, 2, 1, 9),
        [('a', longer), ('b', second.clone())]
    );
    assert_eq!(batches(&ledger, 2, 4, 9), []);
    assert_eq!(
        batches(&ledger, 2, 3, 2),
        [('a', first.clone()), ('b', second)]
    );
    assert_eq!(batches(&ledger, 2, 0, 1), [('a', first)]);
    assert_eq!(batches(&ledger, 6, 0, 9), []);
    assert_eq!(batches(&ledger, 2, 0, 0), []);
}

#[test]
fn a_restart_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(ledger(folder.path(), &[1, 2], &[3]));
    let again = Ledger::open(folder.path()).unwrap();
    assert_eq!(after(&again, 0, 0, 50), [], "no epoch is known yet");
    again.begin(epoch(1, 100)).unwrap();
    assert_eq!(
        after(&again, 0, 0, 50),
        [('a', vec![(1, 1), (2, 2)]), ('b', vec![(1, 3)])]
    );
    again.record(proof(epoch(1, 100), A, 9)).unwrap();
    assert_eq!(after(&again, 2, 1, 50), [('a', vec![(3, 9)])]);
}

#[test]
fn a_new_threshold_keeps_numbers_and_a_new_epoch_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = ledger(folder.path(), &[1, 60, 2], &[70]);
    first.begin(epoch(1, 50)).unwrap();
    assert_eq!(after(&first, 0, 0, 50), [('a', vec![(1, 1), (3, 2)])]);
    // Found before the change: one is still a proof.
    let late = first.record(proof(epoch(1, 100), A, 3)).unwrap();
    assert!(
        matches!(late, Recorded::Kept(proof) if proof.id.difficulty == epoch(1, 50).difficulty)
    );
    let late = first.record(proof(epoch(1, 100), A, 80)).unwrap();
    assert_eq!(late, Recorded::Dropped);
    drop(first);

    let again = Ledger::open(folder.path()).unwrap();
    again.begin(epoch(1, 50)).unwrap();
    assert_eq!(
        after(&again, 0, 0, 50),
        [('a', vec![(1, 1), (3, 2), (4, 3)])]
    );
    again.begin(epoch(2, 50)).unwrap();
    assert_eq!(after(&again, 0, 0, 50), []);
    assert_eq!(
        again.record(proof(epoch(1, 50), A, 1)).unwrap(),
        Recorded::Dropped
    );
    again.record(proof(epoch(2, 50), A, 7)).unwrap();
    assert_eq!(after(&again, 0, 0, 50), [('a', vec![(1, 7)])]);
    drop(again);

    // What another epoch left is not given to anybody.
    let again = Ledger::open(folder.path()).unwrap();
    again.begin(epoch(3, 50)).unwrap();
    assert_eq!(after(&again, 0, 0, 50), []);
    assert_eq!(
        fs::read_dir(folder.path().join("cc_proofs"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn numbers_of_proofs_that_are_none_any_more_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = ledger(folder.path(), &[60, 70], &[]);
    first.begin(epoch(1, 50)).unwrap();
    assert_eq!(after(&first, 0, 0, 50), []);
    drop(first);
    let again = Ledger::open(folder.path()).unwrap();
    again.begin(epoch(1, 50)).unwrap();
    again.record(proof(epoch(1, 50), A, 1)).unwrap();
    assert_eq!(after(&again, 0, 0, 50), [('a', vec![(3, 1)])]);
}

#[test]
fn damaged_proofs_are_put_aside_and_their_numbers_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(ledger(folder.path(), &[1, 2, 3], &[]));
    let path = folder.path().join("cc_proofs").join(A.to_string());
    let text = fs::read_to_string(path.join("3")).unwrap();
    fs::write(path.join("3"), &text[..text.len() / 2]).unwrap();
    fs::write(path.join("4.tmp"), "half").unwrap();
    for _ in 0..2 {
        let again = Ledger::open(folder.path()).unwrap();
        again.begin(epoch(1, 100)).unwrap();
        assert_eq!(after(&again, 0, 0, 50), [('a', vec![(1, 1), (2, 2)])]);
    }
    let again = Ledger::open(folder.path()).unwrap();
    again.begin(epoch(1, 100)).unwrap();
    again.record(proof(epoch(1, 100), A, 9)).unwrap();
    assert_eq!(after(&again, 3, 0, 50), [('a', vec![(4, 9)])]);
    assert!(path.join("3.bad").is_file() && !path.join("4.tmp").exists());
}

#[test]
fn proofs_of_other_provers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let flat = folder.path().join("cc_proofs");
    fs::create_dir(&flat).unwrap();
    let proof = proof(epoch(1, 100), A, 5).number(ProofIndex(7));
    fs::write(flat.join("7"), serde_json::to_string(&proof).unwrap()).unwrap();
    fs::write(flat.join("notes"), "mine").unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    ledger.begin(epoch(1, 100)).unwrap();
    assert_eq!(after(&ledger, 0, 0, 50), [('a', vec![(7, 5)])]);
}

#[test]
fn what_the_disk_does_not_take_waits() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(folder.path(), &[1], &[]);
    // A folder in the way: as good as a full disk.
    let way = folder
        .path()
        .join("cc_proofs")
        .join(A.to_string())
        .join("2.tmp");
    fs::create_dir(&way).unwrap();
    assert!(ledger.record(proof(epoch(1, 100), A, 2)).is_err());
    assert_eq!(
        ledger.record(proof(epoch(1, 100), A, 3)).unwrap(),
        Recorded::Waiting
    );
    assert!(ledger.write_waiting().is_err());
    assert_eq!(ledger.counts(), (1, 2));
    assert_eq!(after(&ledger, 0, 0, 50), [('a', vec![(1, 1)])]);
    fs::remove_dir(&way).unwrap();
    assert_eq!(ledger.write_waiting().unwrap(), 0);
    assert_eq!(after(&ledger, 1, 0, 50), [('a', vec![(2, 2), (3, 3)])]);
}
