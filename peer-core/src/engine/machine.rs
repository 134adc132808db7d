//! The seam to the state machine.

use super::{RunJob, run::RunOutcome};

/// A parsed script.
#[derive(Debug)]
pub(super) struct Script;

impl Script {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.starts_with('(') && text.ends_with(')') {
            true => Ok(Self),
            false => Err("not a script".to_owned()),
        }
    }
}

/// Executes one step.
pub(super) fn step(job: &RunJob) -> RunOutcome {
    let parsed = job.scripts.get(&job.particle.script);
    RunOutcome {
        ret_code: 1,
        error_message: parsed.map_or_else(|error| error.to_string(), |_| String::new()),
        data: job.prev.clone(),
        ..RunOutcome::default()
    }
}
