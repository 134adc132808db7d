//! Where we differ from the published interpreter on purpose.

use aquavm::Outcome;

use super::reference::Ended;
use crate::conformance::run::Call;

/// A difference that is meant.
pub(super) struct Deviation {
    /// Where the protocol description says so.
    pub(super) source: &'static str,
    /// What differs.
    pub(super) what: &'static str,
    /// Whether a difference is this one.
    applies: fn(&Call, &Outcome<Vec<u8>>, &Ended) -> bool,
}

/// All of them.
pub(super) const DEVIATIONS: &[Deviation] = &[Deviation {
    source: "particle-data 12",
    what: "it traps, we return an error",
    applies: |_, ours, theirs| matches!(theirs, Ended::Trapped(_)) && ours.ret_code != 0,
}];

/// The deviation that explains a difference.
pub(super) fn find(
    call: &Call,
    ours: &Outcome<Vec<u8>>,
    theirs: &Ended,
) -> Option<&'static Deviation> {
    DEVIATIONS
        .iter()
        .find(|deviation| (deviation.applies)(call, ours, theirs))
}
