//! What proofs say about a provider: which are valid, and how fast somebody must have hashed to find
//! them.
//!
//! Each hash is a proof with the same small probability, so the proofs of an epoch are counts of a
//! Poisson process whose rate is the hash rate. Counts give an exact confidence interval, and an
//! interval below what a provider claims convicts him.
//!
//! ```
//! use ccp::{Difficulty, audit::{HashRate, Observation}};
//!
//! let mut threshold = [0xff; 32];
//! threshold[..2].copy_from_slice(&[0, 0x0f]); // a proof takes 4,096 hashes
//! let day = Observation { difficulty: Difficulty(threshold), seconds: 86_400.0, proofs: 1000 };
//! let rate = HashRate::of(&[day], 0.95)?;
//! assert!(rate.low > 44.0 && rate.high < 51.0, "{rate:?}");
//! assert!(rate.is_below(100.0) && !rate.is_below(50.0));
//! # Ok::<_, ccp::audit::AuditError>(())
//! ```

mod gamma;

use std::collections::{BTreeMap, HashSet};

use crate::{
    Difficulty, EpochParameters, GlobalNonce, LocalNonce, Proof, Puzzle, PuzzleError, ToyPuzzle,
    UnitId, Verifier, VerifyError,
};

/// Proofs that were found in some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The threshold that they meet.
    pub difficulty: Difficulty,
    /// The time in which they were found, in seconds; for a prover that stops when it has enough, until
    /// the last of them.
    pub seconds: f64,
    /// Valid, different proofs.
    pub proofs: u64,
}

/// A hash rate, as far as proofs tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HashRate {
    /// The most likely one, in hashes a second.
    pub estimate: f64,
    /// It is not less than this,
    pub low: f64,
    /// and not more than this,
    pub high: f64,
    /// with this probability.
    pub confidence: f64,
}

/// Why there is nothing to conclude.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A confidence that is none.
    #[error("confidence {confidence} is not between 0 and 1")]
    Confidence {
        /// What was given.
        confidence: f64,
    },
    /// Observations of no time.
    #[error("{seconds} seconds of observation, expected a positive time")]
    Time {
        /// What was given.
        seconds: f64,
    },
}

impl HashRate {
    /// The rate that explains what was observed, all of it at the same rate.
    ///
    /// The interval is the exact one for counts (Garwood 1936); it holds at least as often as it says,
    /// also for few proofs and for none.
    ///
    /// # Errors
    /// A confidence that is not between 0 and 1, or no time at all.
    pub fn of(observations: &[Observation], confidence: f64) -> Result<Self, AuditError> {
        if !(confidence > 0.0 && confidence < 1.0) {
            return Err(AuditError::Confidence { confidence });
        }
        let mut proofs = 0_u64;
        // Proofs that one hash a second would give.
        let mut exposure = 0.0;
        for observation in observations {
            let seconds = observation.seconds;
            if !(seconds > 0.0 && seconds.is_finite()) {
                return Err(AuditError::Time { seconds });
            }
            proofs = proofs.saturating_add(observation.proofs);
            exposure += seconds / observation.difficulty.expected_hashes();
        }
        if exposure <= 0.0 {
            return Err(AuditError::Time { seconds: 0.0 });
        }
        let tail = (1.0 - confidence) / 2.0;
        let count = proofs as f64;
        let low = match proofs {
            0 => 0.0,
            _ => gamma::quantile(count, tail),
        };
        Ok(Self {
            estimate: count / exposure,
            low: low / exposure,
            high: gamma::quantile(count + 1.0, 1.0 - tail) / exposure,
            confidence,
        })
    }

    /// Whether it is less than what somebody claims: a provider as fast as that is accused with a
    /// probability of at most half of what is left of the confidence.
    #[must_use]
    pub fn is_below(&self, claimed: f64) -> bool {
        self.high < claimed
    }
}

/// Why a proof of a provider does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// The same nonce was there before.
    #[error("nonce {nonce} is there twice")]
    Repeated {
        /// The nonce.
        nonce: LocalNonce,
    },
}

/// What the proofs of an epoch say.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// The rate of each unit. Units of which there is no proof are not here.
    pub units: BTreeMap<UnitId, HashRate>,
    /// Positions of proofs that do not count, and why.
    pub faults: Vec<(usize, Fault)>,
}

/// Verifies all proofs of an epoch, of whatever units, with `threads` threads, and estimates with how
/// many hashes a second each unit was proven for `seconds`.
///
/// Memory is taken for one unit at a time.
///
/// # Errors
/// A puzzle that cannot be computed, a confidence or a time that is none.
pub fn audit(
    puzzle: &dyn Puzzle,
    epoch: EpochParameters,
    proofs: &[Proof],
    seconds: f64,
    confidence: f64,
    threads: usize,
) -> Result<Result<Audit, AuditError>, PuzzleError> {
    let mut units = BTreeMap::<UnitId, (Vec<usize>, Vec<Proof>)>::new();
    let mut seen = HashSet::new();
    let mut faults = Vec::new();
    for (position, proof) in proofs.iter().enumerate() {
        let nonce = proof.local_nonce;
        if !seen.insert((proof.cu_id, nonce)) {
            faults.push((position, Fault::Repeated { nonce }));
            continue;
        }
        let (positions, proofs) = units.entry(proof.cu_id).or_default();
        positions.push(position);
        proofs.push(*proof);
    }
    let mut rates = BTreeMap::new();
    for (unit, (positions, proofs)) in units {
        let results = Verifier::new(puzzle, unit, epoch)?.verify_all(&proofs, threads);
        let mut valid = 0;
        for (position, result) in positions.into_iter().zip(results) {
            match result {
                Ok(()) => valid += 1,
                // This says nothing about the provider.
                Err(VerifyError::Puzzle(error)) => return Err(error),
                Err(error) => faults.push((position, error.into())),
            }
        }
        let observation = Observation {
            difficulty: epoch.difficulty,
            seconds,
            proofs: valid,
        };
        match HashRate::of(&[observation], confidence) {
            Ok(rate) => rates.insert(unit, rate),
            Err(error) => return Ok(Err(error)),
        };
    }
    faults.sort_by_key(|(position, _)| *position);
    Ok(Ok(Audit {
        units: rates,
        faults,
    }))
}

/// A provider who claims more than he has, again and again.
#[derive(Clone, Copy, Debug)]
pub struct Overclaim {
    /// How many times what he has.
    pub factor: f64,
    /// Proofs that an honest provider finds in the time of observation, on average.
    pub expected_proofs: f64,
    /// How often it is tried.
    pub trials: u32,
    /// The confidence of the audit.
    pub confidence: f64,
    /// Where random numbers begin.
    pub seed: u64,
}

impl Overclaim {
    /// The share of trials in which an audit convicts him. Every hash is computed, with a puzzle that
    /// costs nothing.
    ///
    /// # Errors
    /// A confidence that is none, or a factor or expectation that is not positive.
    pub fn detection_rate(&self) -> Result<f64, AuditError> {
        // One hash in sixteen is a proof: enough to be rare, and few to compute.
        let mut difficulty = Difficulty([0xff; 32]);
        let [first, ..] = &mut difficulty.0;
        *first = 0x0f;
        let claimed = (self.expected_proofs * difficulty.expected_hashes()).round();
        let hashes = (claimed / self.factor).round();
        if !(0.0..1e9).contains(&hashes) {
            return Err(AuditError::Time { seconds: hashes });
        }
        let mut convicted = 0_u32;
        for trial in 0..self.trials {
            let mut nonce = [0; 32];
            if let Some(seed) = nonce.last_chunk_mut::<8>() {
                *seed = self.seed.wrapping_add(trial.into()).to_le_bytes();
            }
            let proofs = count(&GlobalNonce(nonce), difficulty, hashes as u64);
            let observation = Observation {
                difficulty,
                seconds: 1.0,
                proofs,
            };
            let rate = HashRate::of(&[observation], self.confidence)?;
            convicted += u32::from(rate.is_below(claimed));
        }
        Ok(f64::from(convicted) / f64::from(self.trials.max(1)))
    }
}

/// Proofs among so many hashes.
fn count(epoch: &GlobalNonce, difficulty: Difficulty, hashes: u64) -> u64 {
    use crate::PuzzleKey;
    let key = PuzzleKey::new(epoch, &UnitId::default());
    let mut found = 0;
    // The toy never fails.
    if let Ok(prepared) = ToyPuzzle::default().prepare(&key)
        && let Ok(mut solver) = prepared.solver()
    {
        let _ = solver.scan(LocalNonce::default(), hashes, &mut |_, hash| {
            found += u64::from(hash.meets(&difficulty));
            std::ops::ControlFlow::Continue(())
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProofIndex, PuzzleKey, search};

    fn easy() -> EpochParameters {
        let mut threshold = [0xff; 32];
        threshold[0] = 0x0f;
        EpochParameters {
            global_nonce: GlobalNonce([1; 32]),
            difficulty: Difficulty(threshold),
        }
    }

    fn observation(proofs: u64) -> Observation {
        Observation {
            difficulty: easy().difficulty,
            seconds: 10.0,
            proofs,
        }
    }

    #[test]
    fn intervals_are_the_published_ones() {
        // Exact 95 % limits of Poisson counts, from published tables.
        for (proofs, low, high) in [
            (0, 0.0, 3.689),
            (1, 0.025, 5.572),
            (5, 1.623, 11.668),
            (10, 4.795, 18.390),
            (100, 81.364, 121.627),
        ] {
            let rate = HashRate::of(&[observation(proofs)], 0.95).unwrap();
            // Sixteen hashes a proof in ten seconds.
            let counts = [rate.low, rate.estimate, rate.high].map(|rate| rate * 10.0 / 16.0);
            for (count, expected) in counts.into_iter().zip([low, proofs as f64, high]) {
                assert!((count - expected).abs() < 0.001, "{proofs}: {counts:?}");
            }
        }
    }

    #[test]
    fn observations_add_up() {
        let parts = [observation(3), observation(7)];
        let whole = Observation {
            seconds: 20.0,
            ..observation(10)
        };
        assert_eq!(HashRate::of(&parts, 0.9), HashRate::of(&[whole], 0.9));
        assert!(matches!(
            HashRate::of(&[], 0.9),
            Err(AuditError::Time { .. })
        ));
        let never = Observation {
            seconds: f64::NAN,
            ..whole
        };
        assert!(matches!(
            HashRate::of(&[never], 0.9),
            Err(AuditError::Time { .. })
        ));
        for confidence in [0.0, 1.0, f64::NAN] {
            let error = HashRate::of(&parts, confidence).unwrap_err();
            assert!(matches!(error, AuditError::Confidence { .. }), "{error}");
        }
    }

    #[test]
    fn audits_count_what_is_valid_once() {
        let puzzle = ToyPuzzle::default();
        let epoch = easy();
        let mut proofs = Vec::new();
        for unit in [UnitId([2; 32]), UnitId([3; 32])] {
            let key = PuzzleKey::new(&epoch.global_nonce, &unit);
            let prepared = puzzle.prepare(&key).unwrap();
            let mut solver = prepared.solver().unwrap();
            let mut nonce = LocalNonce([0; 32]);
            for number in 1..=20 {
                let (proof, next) = search(&mut *solver, epoch, unit, nonce, 10_000).unwrap();
                proofs.push(proof.unwrap().number(ProofIndex(number)));
                nonce = next;
            }
        }
        let wrong = Proof {
            local_nonce: LocalNonce([9; 32]),
            ..proofs[0]
        };
        proofs.push(wrong);
        proofs.push(proofs[1]);
        let audit = audit(&puzzle, epoch, &proofs, 10.0, 0.95, 2)
            .unwrap()
            .unwrap();
        assert!(matches!(
            audit.faults[..],
            [
                (40, Fault::Invalid(VerifyError::WrongHash { .. })),
                (41, Fault::Repeated { .. })
            ]
        ));
        let expected = HashRate::of(&[observation(20)], 0.95).unwrap();
        assert!(audit.units.values().all(|rate| *rate == expected));
        assert_eq!(audit.units.len(), 2);
    }

    #[test]
    fn who_claims_twice_as_much_is_found_out() {
        let provider = |factor| Overclaim {
            factor,
            expected_proofs: 60.0,
            trials: 200,
            confidence: 0.99,
            seed: 1,
        };
        let detected = |factor| provider(factor).detection_rate().unwrap();
        assert!(
            detected(1.0) <= 0.03,
            "an honest provider is accused: {}",
            detected(1.0)
        );
        assert!(detected(2.0) > 0.9, "{}", detected(2.0));
        assert!(detected(1.2) < detected(1.6));
        assert!(provider(0.0).detection_rate().is_err());
    }
}
