//! What the particles ask for.

use particle::PeerId;
use peer_core::network::peer_of_address;

use super::client::Client;

/// Clients that a fan-out reaches.
const FAN: usize = 10;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// One `op.identity` on the relay, and a call back on the client.
    Echo,
    /// Ten of them one after the other.
    Ten,
    /// A call of a Wasm service on the relay.
    Wasm,
    /// A call on the relay, one of a Wasm service on a second peer, and back.
    Hop,
    /// Calls on both peers at once, joined on the relay.
    Join,
    /// One result to ten clients, one of which started it.
    Fan,
}

/// Who takes part.
pub(super) struct Place {
    client: PeerId,
    relay: PeerId,
    second: Option<PeerId>,
    others: Vec<PeerId>,
}

impl Place {
    pub(super) fn new(
        client: &Client,
        relay: &str,
        second: Option<&str>,
        others: &[Client],
    ) -> Result<Self, String> {
        let id = |address: &str| {
            peer_of_address(address).ok_or_else(|| format!("`{address}` names no peer"))
        };
        Ok(Self {
            client: client.id(),
            relay: id(relay)?,
            second: second.map(id).transpose()?,
            others: others.iter().map(Client::id).collect(),
        })
    }
}

impl Scenario {
    const ALL: [Self; 6] = [
        Self::Echo,
        Self::Ten,
        Self::Wasm,
        Self::Hop,
        Self::Join,
        Self::Fan,
    ];

    /// Those asked for. A peer that was not started here has neither service nor companion.
    pub(super) fn chosen(asked: &[Self], own: bool) -> Vec<Self> {
        let known = |scenario: &Self| own || matches!(scenario, Self::Echo | Self::Ten | Self::Fan);
        match asked.is_empty() {
            true => Self::ALL.into_iter().filter(known).collect(),
            false => asked.to_vec(),
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Echo => "echo through the relay",
            Self::Ten => "ten calls in a row on the relay",
            Self::Wasm => "a call of a Wasm service on the relay",
            Self::Hop => "two hops with a call of a Wasm service",
            Self::Join => "a join over two peers",
            Self::Fan => "fan-out to ten clients",
        }
    }

    /// How many clients there are besides those that send.
    pub(super) fn others(self) -> usize {
        match self {
            Self::Fan => FAN - 1,
            _ => 0,
        }
    }

    pub(super) fn script(self, place: &Place) -> String {
        let Place {
            client,
            relay,
            second,
            others,
        } = place;
        let second = second.unwrap_or(*relay);
        let back =
            |result: &str| format!(r#"(call "{client}" ("callbackSrv" "response") [{result}])"#);
        match self {
            Self::Echo => format!(
                r#"(seq (call "{relay}" ("op" "identity") ["hello world!"] result) {})"#,
                back("result")
            ),
            Self::Ten => (0..10).rev().fold(back("r9"), |rest, number| {
                format!(r#"(seq (call "{relay}" ("op" "identity") ["hello"] r{number}) {rest})"#)
            }),
            Self::Wasm => format!(
                r#"(seq (call "{relay}" ("greeting" "greeting") ["Ada"] result) {})"#,
                back("result")
            ),
            Self::Hop => format!(
                r#"(seq (call "{relay}" ("op" "identity") ["Ada"] name)
                    (seq (call "{second}" ("greeting" "greeting") [name] result)
                    (seq (call "{relay}" ("op" "noop") []) {})))"#,
                back("result")
            ),
            Self::Join => format!(
                r#"(seq
                    (par (call "{relay}" ("op" "identity") ["here"] a)
                        (seq (call "{second}" ("op" "identity") ["there"] b)
                            (call "{relay}" ("op" "noop") [])))
                    {})"#,
                back("a b")
            ),
            Self::Fan => {
                let to_all = others.iter().fold(back("result"), |rest, other| {
                    format!(r#"(par (call "{other}" ("s" "f") [result]) {rest})"#)
                });
                format!(r#"(seq (call "{relay}" ("op" "identity") ["hello"] result) {to_all})"#)
            }
        }
    }
}
