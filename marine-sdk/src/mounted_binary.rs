//! What a program returns that the host runs for a module.

use crate::marine;

/// The `ret_code` of a program that succeeded.
pub const BINARY_SUCCESS_CODE: i32 = 0;

/// What a mounted program returns.
#[marine]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MountedBinaryResult {
    /// The program's exit code; 100000 and above when it did not come to an end of its own.
    pub ret_code: i32,
    /// Why it could not be run, or nothing.
    pub error: String,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

/// [`MountedBinaryResult`] with the output as text.
#[marine]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MountedBinaryStringResult {
    /// The program's exit code; 100000 and above when it did not come to an end of its own.
    pub ret_code: i32,
    /// Why it could not be run, or nothing.
    pub error: String,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl MountedBinaryResult {
    /// A failure without output.
    pub fn from_error(ret_code: i32, error: impl Into<String>) -> Self {
        Self {
            ret_code,
            error: error.into(),
            ..Self::default()
        }
    }

    /// Whether the program ended with [`BINARY_SUCCESS_CODE`].
    pub fn is_success(&self) -> bool {
        self.ret_code == BINARY_SUCCESS_CODE
    }

    /// The output of a program that succeeded, or what went wrong; `None` when it is not UTF-8.
    pub fn into_std(self) -> Option<Result<String, String>> {
        if self.is_success() {
            return String::from_utf8(self.stdout).ok().map(Ok);
        }
        self.failure().map(Err)
    }

    /// Like [`into_std`](Self::into_std), with a copy.
    pub fn as_std(&self) -> Option<Result<String, String>> {
        if self.is_success() {
            let text = std::str::from_utf8(&self.stdout).ok()?;
            return Some(Ok(text.to_owned()));
        }
        self.failure().map(Err)
    }

    /// The same with the output as text; `None` when it is not UTF-8.
    pub fn stringify(&self) -> Option<MountedBinaryStringResult> {
        Some(MountedBinaryStringResult {
            ret_code: self.ret_code,
            error: self.error.clone(),
            stdout: std::str::from_utf8(&self.stdout).ok()?.to_owned(),
            stderr: std::str::from_utf8(&self.stderr).ok()?.to_owned(),
        })
    }

    fn failure(&self) -> Option<String> {
        let stderr = std::str::from_utf8(&self.stderr).ok()?;
        Some(format!("error: {}, stderr: {stderr}", self.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_and_failure() {
        let success = MountedBinaryResult {
            stdout: b"out".to_vec(),
            ..MountedBinaryResult::default()
        };
        assert_eq!(success.as_std(), Some(Ok("out".to_owned())));
        assert_eq!(success.stringify().unwrap().stdout, "out");

        let mut failure = MountedBinaryResult::from_error(1, "no such file");
        failure.stderr = b"trace".to_vec();
        let text = "error: no such file, stderr: trace".to_owned();
        assert_eq!(failure.clone().into_std(), Some(Err(text)));

        failure.stderr = vec![255];
        assert_eq!(failure.into_std(), None);
    }
}
