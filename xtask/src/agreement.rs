//! Whether two peers know the same of a particle.
//!
//! Data of two peers that have seen the same are not equal byte for byte: the protocol leaves
//! open which sender a request names, the numbers of generations, the order of the elements of a
//! fold and the order of entries in stores (particle-data §7.8). [`Knowledge`] is everything else,
//! in a form that does not depend on these.

use particle::data::{CallState, Data, State, Subtrace, Subtraces};

/// What data say, in a form that can be compared.
#[derive(Debug)]
pub struct Knowledge<'d, 'a> {
    data: &'d Data<'a>,
    /// What happened, as a tree: branches of `par` and iterations of `fold` stay together.
    happened: String,
}

impl<'d, 'a> Knowledge<'d, 'a> {
    /// Of these data.
    #[must_use]
    pub fn of(data: &'d Data<'a>) -> Self {
        Self {
            data,
            happened: happened(&data.trace),
        }
    }

    /// Checks that the other side knows the same.
    ///
    /// # Errors
    /// What they disagree about.
    pub fn compare(&self, other: &Knowledge<'_, '_>) -> Result<(), String> {
        if self.data.cid_info != other.data.cid_info {
            return Err("the contents behind CIDs".to_owned());
        }
        if self.data.signatures != other.data.signatures {
            return Err("signatures".to_owned());
        }
        if self.happened != other.happened {
            return Err(format!(
                "what happened:\n{}\n{}",
                self.happened, other.happened
            ));
        }
        Ok(())
    }
}

fn happened(trace: &[State<'_>]) -> String {
    let mut out = String::new();
    window(trace, 0, trace.len(), &mut out);
    out
}

/// Describes the states from `begin` to `end`. Sizes that reach further are those of a `par` around
/// `next`, which counts the iterations inside it too: here each iteration stands for itself.
fn window(trace: &[State<'_>], begin: usize, end: usize, out: &mut String) {
    let end = end.min(trace.len());
    let mut at = begin;
    while let Some(state) = trace.get(at).filter(|_| at < end) {
        at += 1;
        match state {
            State::Par { left, right } => {
                let middle = at.saturating_add(*left as usize).min(end);
                let after = middle.saturating_add(*right as usize).min(end);
                out.push_str("(par ");
                window(trace, at, middle, out);
                out.push_str("| ");
                window(trace, middle, after, out);
                out.push_str(") ");
                at = after;
            }
            State::Fold(lore) => {
                let mut iterations = Vec::with_capacity(lore.len());
                for element in lore {
                    let parts: &[Subtrace] = match &element.subtraces {
                        Subtraces::Pair(before, after) => &[*before, *after],
                        Subtraces::Other(parts) => parts,
                    };
                    let mut iteration = trace
                        .get(element.value_pos as usize)
                        .map(single)
                        .unwrap_or_default();
                    for part in parts {
                        let begin = part.begin_pos as usize;
                        iteration.push_str(": ");
                        window(trace, begin, begin + part.len as usize, &mut iteration);
                        at = at.saturating_add(part.len as usize);
                    }
                    iterations.push(iteration);
                }
                iterations.sort_unstable();
                out.push_str("(fold ");
                for iteration in iterations {
                    out.push_str(&format!("[{iteration}] "));
                }
                out.push_str(") ");
            }
            other => {
                out.push_str(&single(other));
                out.push(' ');
            }
        }
    }
}

/// A state that has no others inside.
fn single(state: &State<'_>) -> String {
    match state {
        State::Call(CallState::SentBy(_) | CallState::SentByWithId { .. }) => {
            "call-requested".to_owned()
        }
        State::Call(CallState::Stream { cid, .. }) => format!("call-into-stream={cid}"),
        State::Call(CallState::Scalar(cid)) => format!("call={cid}"),
        State::Call(CallState::Unused(cid)) => format!("call-unused={cid}"),
        State::Call(CallState::Failed(cid)) => format!("call-failed={cid}"),
        State::CanonSentBy(_) => "canon-requested".to_owned(),
        State::Canon(cid) => format!("canon={cid}"),
        State::Ap(_) => "ap".to_owned(),
        State::Par { .. } | State::Fold(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use particle::data::FoldLore;

    use super::*;

    fn stream(cid: &'static str, generation: u32) -> State<'static> {
        State::Call(CallState::Stream { cid, generation })
    }

    fn lore(elements: &[(u32, u32, u32)]) -> State<'static> {
        let elements = elements
            .iter()
            .map(|&(value_pos, begin_pos, len)| FoldLore {
                value_pos,
                subtraces: Subtraces::Pair(
                    Subtrace { begin_pos, len },
                    Subtrace {
                        begin_pos: begin_pos + len,
                        len: 0,
                    },
                ),
            });
        State::Fold(elements.collect())
    }

    /// Two values, and an iteration `(par (call …) (next …))` for each.
    fn folded(first: (&'static str, u32), second: (&'static str, u32), swap: bool) -> String {
        let states = |name| State::Call(CallState::Scalar(name));
        let (one, two) = if swap { (1, 0) } else { (0, 1) };
        let names = ["seen a", "seen b"];
        happened(&[
            State::Par { left: 1, right: 1 },
            stream(first.0, first.1),
            stream(second.0, second.1),
            lore(&[(1 + one, 4, 2), (1 + two, 6, 2)]),
            State::Par { left: 1, right: 2 },
            states(names[one as usize]),
            State::Par { left: 1, right: 0 },
            states(names[two as usize]),
        ])
    }

    #[test]
    fn order_of_arrival_does_not_matter() {
        let one = folded(("a", 0), ("b", 1), false);
        assert_eq!(one, folded(("a", 1), ("b", 0), true));
        assert!(
            one.contains("[call-into-stream=a: (par call=seen a | ) : ]"),
            "{one}"
        );
    }

    #[test]
    fn who_did_what_in_which_branch_matters() {
        let one = folded(("a", 0), ("b", 1), false);
        assert_ne!(one, folded(("b", 0), ("a", 1), false));
        let call = |name| State::Call(CallState::Scalar(name));
        let par = |left, right| State::Par { left, right };
        assert_ne!(
            happened(&[par(1, 1), call("a"), call("b")]),
            happened(&[par(2, 0), call("a"), call("b")]),
        );
        assert_ne!(
            happened(&[State::Call(CallState::SentBy("a"))]),
            happened(&[call("a")])
        );
    }
}
