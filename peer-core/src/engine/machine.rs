//! The seam to the state machine.

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
