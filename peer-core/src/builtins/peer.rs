//! `peer`: time, connections, the peer itself.

use std::time::Duration;

use particle::PeerId;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{Answer, Builtins, Failure, value};
use crate::{
    connectivity::Contact,
    host::{Arguments, FunctionCall, FunctionOutcome},
};

pub(super) async fn call(
    builtins: &Builtins,
    call: &FunctionCall,
    function: &str,
    mut arguments: Arguments<'_>,
) -> Answer {
    match function {
        "timestamp_ms" => value(&builtins.clock.now_ms()),
        "timestamp_sec" => value(&(builtins.clock.now_ms() / 1_000)),
        "identify" => value(&builtins.node),
        "is_connected" => {
            let peer = peer_id(&mut arguments)?;
            let text = peer.to_string();
            let connected = if builtins.compat.known_is_connected {
                peer != call.host_id && builtins.connectivity.get_contact(&text).await.is_some()
            } else {
                peer == call.host_id || builtins.connectivity.is_connected(&text).await
            };
            value(&connected)
        }
        "connect" => {
            let peer = peer_id(&mut arguments)?;
            let addresses: Option<Vec<Address>> = arguments.next_opt("addresses")?;
            builtins.guard.check(call)?;
            let contact = Contact {
                peer_id: peer.to_string(),
                addresses: addresses
                    .unwrap_or_default()
                    .into_iter()
                    .map(|address| address.0)
                    .collect(),
            };
            value(&builtins.connectivity.connect(contact).await?)
        }
        "get_contact" => {
            let peer = peer_id(&mut arguments)?;
            let contact = builtins.connectivity.get_contact(&peer.to_string()).await;
            if !builtins.compat.bare_contact {
                return value(&Vec::from_iter(contact));
            }
            match contact {
                Some(contact) => value(&contact),
                None => Ok(FunctionOutcome::Empty),
            }
        }
        "timeout" => {
            let duration = match arguments.next::<NumberOrText>("duration_ms")? {
                NumberOrText::Number(number) => number,
                NumberOrText::Text(text) => text
                    .parse()
                    .map_err(|_| "Error while deserializing field duration_ms")?,
            };
            let message: Option<String> = arguments.next_opt("message")?;
            // Nobody waits for the answer after the deadline.
            let rest = call.deadline_ms.saturating_sub(builtins.clock.now_ms());
            let duration = Duration::from_millis(duration.min(rest));
            builtins.clock.sleep(duration).await;
            match message {
                Some(message) => value(&message),
                None => Ok(FunctionOutcome::Empty),
            }
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

fn peer_id(arguments: &mut Arguments<'_>) -> Result<PeerId, Failure> {
    let text: String = arguments.next("peer_id")?;
    text.parse().map_err(|error| Failure::typed(&error))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// The text of a multiaddress, checked for its form only: the network knows the protocols.
struct Address(String);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text.starts_with('/') && text.len() > 1 => Ok(Self(text)),
            other => Err(de::Error::custom(format!(
                "{other} is not a multiaddress, expected a text like \"/ip4/1.2.3.4/tcp/7001\""
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use particle::KeyPair;
    use serde_json::json;

    use super::{
        super::{
            Compat, GUARDED, Guard,
            tests::{ask, ask_of, builtins, check},
        },
        *,
    };

    fn known() -> PeerId {
        KeyPair::from_seed(&[3; 32]).peer_id()
    }

    fn stranger() -> PeerId {
        KeyPair::from_seed(&[4; 32]).peer_id()
    }

    #[test]
    fn table() {
        let known = known().to_string();
        let stranger = stranger().to_string();
        let host = KeyPair::from_seed(&[2; 32]).peer_id().to_string();
        check(&[
            ("peer.timestamp_ms", json!([]), Ok(json!(5_999))),
            ("peer.timestamp_sec", json!([]), Ok(json!(5))),
            ("peer.is_connected", json!([known]), Ok(json!(true))),
            ("peer.is_connected", json!([host]), Ok(json!(true))),
            ("peer.is_connected", json!([stranger]), Ok(json!(false))),
            (
                "peer.is_connected",
                json!([]),
                Err("Error: Field 'peer_id' is missing from args to call_service\n…"),
            ),
            (
                "peer.is_connected",
                json!([5]),
                Err("Error: Error deserializing field 'peer_id': expected String, got 5\n…"),
            ),
            ("peer.is_connected", json!(["0"]), Err("Error: …")),
            (
                "peer.get_contact",
                json!([known]),
                Ok(json!([{"peer_id": known, "addresses": ["/memory/1"]}])),
            ),
            ("peer.get_contact", json!([stranger]), Ok(json!([]))),
            ("peer.timeout", json!([10]), Ok(json!(""))),
            ("peer.timeout", json!(["10", "late"]), Ok(json!("late"))),
            ("peer.timeout", json!([10, ["late"]]), Ok(json!("late"))),
            (
                "peer.timeout",
                json!([]),
                Err("Error: Field 'duration_ms' is missing from args to call_service\n…"),
            ),
            (
                "peer.timeout",
                json!(["ten"]),
                Err("Error while deserializing field duration_ms"),
            ),
            (
                "peer.timeout",
                json!([true]),
                Err("Error: Error deserializing field 'duration_ms': expected…"),
            ),
            (
                "peer.timeout",
                json!([10, 5]),
                Err("Error: Error while deserializing field 'message': …"),
            ),
        ]);
    }

    #[test]
    fn a_contact_as_the_published_peer_has_it() {
        let builtins = builtins(known()).with_compat(Compat {
            bare_contact: true,
            ..Compat::default()
        });
        let ask = |peer: PeerId| ask_of(&builtins, "peer.get_contact", &[json!(peer.to_string())]);
        let contact = json!({"peer_id": known().to_string(), "addresses": ["/memory/1"]});
        assert_eq!(ask(known()), Ok(contact));
        assert_eq!(ask(stranger()), Ok(json!("")));
    }

    #[test]
    fn connections_as_the_published_peer_has_them() {
        let host = KeyPair::from_seed(&[2; 32]).peer_id();
        let builtins = builtins(known()).with_compat(Compat::NOX);
        for (peer, connected) in [(known(), true), (stranger(), false), (host, false)] {
            let answer = ask_of(&builtins, "peer.is_connected", &[json!(peer.to_string())]);
            assert_eq!(answer, Ok(json!(connected)), "{peer}");
        }
    }

    #[test]
    fn identify() {
        let info = ask("peer.identify", &[]).unwrap();
        for field in [
            "external_addresses",
            "node_version",
            "air_version",
            "spell_version",
            "allowed_binaries",
            "vm_info",
        ] {
            assert!(info.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn a_timeout_ends_with_the_particle() {
        let clock = std::sync::Arc::new(super::super::tests::StoppedClock::default());
        let builtins = Builtins::new(
            std::sync::Arc::new(crate::connectivity::NoNetwork),
            clock.clone(),
        );
        ask_of(&builtins, "peer.timeout", &[json!(1_000_000)]).unwrap();
        ask_of(&builtins, "peer.timeout", &[json!(7)]).unwrap();
        assert_eq!(*clock.0.lock().unwrap(), [2_001, 7]);
    }

    #[test]
    fn connect_is_guarded_after_its_arguments() {
        let known = json!(known().to_string());
        let addresses = json!(["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"]);
        let init_peer_id = KeyPair::from_seed(&[1; 32]).peer_id();
        let open = builtins(self::known()).with_guard(Guard::new([init_peer_id]));
        let closed = builtins(self::known());
        for given in [addresses.clone(), json!([addresses])] {
            let arguments = [known.clone(), given];
            assert_eq!(ask_of(&open, "peer.connect", &arguments), Ok(json!(true)));
            assert_eq!(
                ask_of(&closed, "peer.connect", &arguments),
                Err(GUARDED.to_owned())
            );
        }
        for arguments in [vec![known.clone()], vec![known.clone(), json!([])]] {
            assert_eq!(ask_of(&open, "peer.connect", &arguments), Ok(json!(false)));
        }
        let error = ask_of(&closed, "peer.connect", &[known, json!(["nowhere"])]).unwrap_err();
        assert!(
            error.starts_with("Error: Error while deserializing field 'addresses': "),
            "{error}"
        );
    }
}
