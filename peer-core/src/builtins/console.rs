//! `run-console`: what scripts tell whoever runs the peer (§3.10).

use serde_json::value::RawValue;

use super::{Answer, Builtins, compact};
use crate::host::{FunctionCall, FunctionOutcome};

/// Where the log lines belong to.
const TARGET: &str = "run-console";
/// Texts with this word are of interest to every operator.
const PROMINENT: &str = "decider";

pub(super) fn call(builtins: &Builtins, call: &FunctionCall, function: &str) -> Answer {
    if function != "print" {
        return Ok(FunctionOutcome::NotDefined);
    }
    builtins.guard.check(call)?;
    let particle = &call.particle.id;
    let values = call.arguments.iter().map(|argument| compact(argument));
    let line = format!("[{}]", Vec::from_iter(values).join(","));
    if is_prominent(&call.arguments) {
        tracing::info!(target: TARGET, %particle, "{line}");
    } else {
        tracing::debug!(target: TARGET, %particle, "{line}");
    }
    Ok(FunctionOutcome::Empty)
}

fn is_prominent(arguments: &[Box<RawValue>]) -> bool {
    arguments.iter().any(|argument| {
        serde_json::from_str::<String>(argument.get()).is_ok_and(|text| text.contains(PROMINENT))
    })
}

#[cfg(test)]
mod tests {
    use particle::KeyPair;
    use serde_json::json;

    use super::{
        super::{
            GUARDED, Guard,
            tests::{ask_of, builtins},
        },
        *,
    };

    #[test]
    fn strangers_do_not_write_into_the_log() {
        let host = || builtins(KeyPair::from_seed(&[3; 32]).peer_id());
        let open = host().with_guard(Guard::new([KeyPair::from_seed(&[1; 32]).peer_id()]));
        for arguments in [&[][..], &[json!("text"), json!({"a": [1]})]] {
            assert_eq!(ask_of(&open, "run-console.print", arguments), Ok(json!("")));
            let refused = ask_of(&host(), "run-console.print", arguments);
            assert_eq!(refused, Err(GUARDED.to_owned()));
        }
        let unknown = ask_of(&open, "run-console.read", &[]).unwrap_err();
        assert!(unknown.contains("not found"), "{unknown}");
    }

    #[test]
    fn the_decider_is_prominent() {
        let prominent = |value: serde_json::Value| {
            is_prominent(&[serde_json::value::to_raw_value(&value).unwrap()])
        };
        assert!(prominent(json!("decider: new deal")));
        assert!(!prominent(json!("a text")));
        assert!(!prominent(json!(["decider"])));
    }
}
