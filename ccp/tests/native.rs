//! An epoch with the dataset, as a provider proves it.
#![cfg(all(feature = "native", feature = "portable", feature = "prover"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    io::{self, Write as _},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use ccp::{
    Difficulty, EpochParameters, GlobalNonce, NativePuzzle, PhysicalCore, PortablePuzzle,
    ProofIndex, PuzzleError, RawProof, UnitId, Verifier,
    prover::{Commitment, Phase, ProofSink, Prover, ProverOptions, WorkerId},
};

struct Findings(mpsc::SyncSender<Result<RawProof, PuzzleError>>);

impl ProofSink for Findings {
    fn found(&self, _: WorkerId, proof: RawProof) {
        let _ = self.0.try_send(Ok(proof));
    }

    fn failed(&self, _: WorkerId, _: UnitId, error: &PuzzleError) {
        let _ = self.0.try_send(Err(error.clone()));
    }
}

/// Also where the output of tests that pass is not shown.
fn say(what: &str) {
    writeln!(io::stderr(), "{what}").unwrap();
}

/// `cargo test --release -p aquamarine-ccp --features native,prover --test native -- --ignored`
#[test]
#[ignore = "fills a dataset: 4.3 GiB of memory and ten minutes of CPU"]
fn an_epoch_with_the_dataset() {
    let (sender, findings) = mpsc::sync_channel(1024);
    let options = ProverOptions {
        // Each proof is computed again without the dataset.
        check_every: 1,
        hashes_per_round: 64,
        ..ProverOptions::for_this_machine().unwrap()
    };
    let cores = options.topology.len();
    let prover = Prover::new(
        Arc::new(NativePuzzle::default()),
        Arc::new(Findings(sender)),
        options,
    );
    let unit = UnitId([2; 32]);
    let mut threshold = [0xff; 32];
    threshold[0] = 0;
    let epoch = EpochParameters {
        global_nonce: GlobalNonce([1; 32]),
        difficulty: Difficulty(threshold),
    };
    // All cores prove one unit: one dataset, which they fill together.
    let mut commitment = Commitment {
        epoch,
        allocation: (0..cores).map(|core| (PhysicalCore(core), unit)).collect(),
    };
    let began = Instant::now();
    prover.commit(commitment.clone()).unwrap();
    let mut proofs = Vec::new();
    while proofs.len() < 6 {
        match findings.recv_timeout(Duration::from_secs(3600)).unwrap() {
            Ok(proof) => proofs.push(proof.number(ProofIndex(1))),
            Err(error @ (PuzzleError::Refused { .. } | PuzzleError::OutOfMemory { .. })) => {
                say(&format!("skipped: {error}"));
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    // Another implementation, without a dataset.
    let verifier = Verifier::new(&PortablePuzzle::new(), unit, epoch).unwrap();
    for (proof, verified) in proofs.iter().zip(verifier.verify_all(&proofs, 2)) {
        assert_eq!(verified, Ok(()), "{proof:?}");
    }
    for worker in prover.workers() {
        let spent = worker.spent;
        say(&format!(
            "core {}, thread {}: cache {:.1} s, dataset {:.1} s, {} hashes in {:.1} s",
            worker.worker.core.0,
            worker.worker.thread,
            spent.caching.as_secs_f64(),
            spent.filling.as_secs_f64(),
            worker.hashes,
            spent.hashing.as_secs_f64()
        ));
    }
    say(&format!(
        "{} proofs after {:.1} s",
        proofs.len(),
        began.elapsed().as_secs_f64()
    ));

    // The dataset stays whatever else changes.
    let proves = |prover: &Prover| {
        prover
            .units()
            .iter()
            .all(|unit| unit.phase == Phase::Proving)
    };
    prover.pause(unit).unwrap();
    assert!(
        prover
            .units()
            .iter()
            .all(|unit| unit.phase == Phase::Paused)
    );
    prover.resume(unit).unwrap();
    assert!(proves(&prover));
    commitment.epoch.difficulty.0[1] = 0x7f;
    commitment.allocation = [(PhysicalCore(cores - 1), unit)].into();
    prover.commit(commitment.clone()).unwrap();
    assert!(proves(&prover));
    loop {
        let proof = findings
            .recv_timeout(Duration::from_secs(600))
            .unwrap()
            .unwrap();
        if proof.epoch == commitment.epoch {
            break;
        }
    }
}
