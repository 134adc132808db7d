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
pub(super) const DEVIATIONS: &[Deviation] = &[
    Deviation {
        source: "particle-data 12",
        what: "it traps, we return an error",
        applies: |_, ours, theirs| matches!(theirs, Ended::Trapped(_)) && ours.ret_code != 0,
    },
    Deviation {
        source: "particle-data 8.6",
        what: "a call id of a result is no number: it reports an unused result, we refuse the results",
        applies: |call, ours, theirs| {
            let no_number = aquavm::decode_call_results(&call.results)
                .is_err_and(|error| error.contains("is not a decimal number"));
            no_number && ours.ret_code == 5 && code(theirs) == Some(30_000)
        },
    },
];

fn code(ended: &Ended) -> Option<i64> {
    match ended {
        Ended::Outcome(outcome) => Some(outcome.ret_code),
        Ended::Trapped(_) => None,
    }
}

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
