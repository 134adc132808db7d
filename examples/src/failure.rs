//! How an example ends when something is wrong: one message, one exit code.

use std::fmt;
use std::process::ExitCode;

/// The run failed.
pub const FAILED: u8 = 1;
/// The input is wrong: nothing was started, nothing was sent.
pub const BAD_INPUT: u8 = 2;

/// Why an example cannot go on.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

/// What the parts of an example return.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Something went wrong on the way.
    pub fn new(message: impl fmt::Display) -> Self {
        Self {
            code: FAILED,
            message: message.to_string(),
        }
    }

    /// The user gave something that cannot be used.
    pub fn input(message: impl fmt::Display) -> Self {
        Self {
            code: BAD_INPUT,
            message: message.to_string(),
        }
    }

    /// Prints the message on stderr; the exit code says the rest.
    pub fn report(self) -> ExitCode {
        eprintln!("error: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Turns the result of an example into its exit code.
pub fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
