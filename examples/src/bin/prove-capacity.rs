//! Proves capacity for one epoch on a laptop: two units, an audit, and what happens when the chain
//! changes the difficulty and the epoch.
//!
//! The portable RandomX hashes once or twice a second and core, so the difficulty is very low. A
//! provider uses the feature `native` of `ccp`: the same code, with a dataset of 4 GiB for each unit and a
//! hundred times as fast.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use ccp::{
    Difficulty, EpochParameters, GlobalNonce, PhysicalCore, PortablePuzzle, Proof, ProofIndex,
    RawProof, UnitId,
    audit::audit,
    prover::{Commitment, Phase, ProofSink, Prover, ProverOptions, WorkerId},
};
use clap::Parser;

/// Proves capacity for one epoch.
#[derive(Parser)]
struct Arguments {
    /// Seconds of the epoch.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Hashes that a proof takes, on average: a power of two.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=128))]
    hashes: u8,
}

/// Hands proofs to the main thread.
struct Finder(mpsc::SyncSender<RawProof>);

impl ProofSink for Finder {
    fn found(&self, worker: WorkerId, proof: RawProof) {
        println!(
            "core {}: unit {} has a proof: {}",
            worker.core,
            short(&proof.cu_id),
            proof.result_hash
        );
        // The receiver is gone once the epoch is over.
        let _ = self.0.send(proof);
    }

    fn failed(&self, worker: WorkerId, unit: UnitId, error: &ccp::PuzzleError) {
        eprintln!("core {}: unit {}: {error}", worker.core, short(&unit));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut threshold = [0xff; 32];
    threshold[0] = 0xff / arguments.hashes;
    let mut epoch = EpochParameters {
        global_nonce: GlobalNonce([1; 32]),
        difficulty: Difficulty(threshold),
    };

    let (sender, proofs) = mpsc::sync_channel(16);
    let options = ProverOptions::for_this_machine()?;
    let cores = options.topology.len().min(2);
    let puzzle = Arc::new(PortablePuzzle::new());
    let prover = Prover::new(puzzle.clone(), Arc::new(Finder(sender)), options);
    let allocation: BTreeMap<PhysicalCore, UnitId> = (0..cores)
        .map(|core| (PhysicalCore(core), UnitId([10 + core as u8; 32])))
        .collect();
    println!(
        "{cores} cores, one unit each; a proof takes {:.0} hashes",
        epoch.difficulty.expected_hashes()
    );
    prover.commit(Commitment {
        epoch,
        allocation: allocation.clone(),
    })?;

    // On the network an epoch has begun by then; here it is short.
    let begun = Instant::now();
    loop {
        let phases = prover.units().into_iter().map(|unit| unit.phase);
        let phases: Vec<Phase> = phases.collect();
        if let Some(Phase::Failed(reason)) = phases
            .iter()
            .find(|phase| matches!(phase, Phase::Failed(_)))
        {
            return Err(reason.clone().into());
        }
        if phases.iter().all(|phase| *phase == Phase::Proving) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("prepared in {:.1} s", begun.elapsed().as_secs_f64());

    // One epoch.
    let began = Instant::now();
    let length = Duration::from_secs(arguments.seconds);
    let mut numbers = BTreeMap::<UnitId, u64>::new();
    let mut found: Vec<Proof> = Vec::new();
    while let Some(left) = length.checked_sub(began.elapsed()) {
        let Ok(proof) = proofs.recv_timeout(left) else {
            break;
        };
        let number = numbers.entry(proof.cu_id).or_default();
        *number += 1;
        found.push(proof.number(ProofIndex(*number)));
    }
    for worker in prover.workers() {
        println!(
            "core {}: {} hashes, {} proofs, {:.1} s for the cache",
            worker.worker.core,
            worker.hashes,
            worker.proofs,
            worker.spent.caching.as_secs_f64()
        );
    }

    // Half the threshold: nothing is prepared again, threads go on with the next hash.
    epoch.difficulty.0[0] /= 2;
    prover.commit(Commitment {
        epoch,
        allocation: allocation.clone(),
    })?;
    let proving = prover
        .units()
        .iter()
        .all(|unit| unit.phase == Phase::Proving);
    println!("twice the difficulty: threads go on: {proving}");
    prover.withdraw();
    drop(proofs);
    drop(prover);

    // Anyone can check what was proven, and how much work it was.
    epoch.difficulty = Difficulty(threshold);
    let seconds = arguments.seconds as f64;
    let audit = audit(&*puzzle, epoch, &found, seconds, 0.95, 2)??;
    for (unit, rate) in &audit.units {
        println!(
            "unit {}: {:.2} hashes a second, between {:.2} and {:.2} with 95 %",
            short(unit),
            rate.estimate,
            rate.low,
            rate.high
        );
    }
    println!(
        "{} proofs, {} of them wrong",
        found.len(),
        audit.faults.len()
    );
    match audit.faults.is_empty() && !found.is_empty() {
        true => Ok(()),
        false => Err("nothing was proven".into()),
    }
}

fn short(unit: &UnitId) -> String {
    unit.to_string().chars().take(6).collect()
}
