//! Addresses: which can be printed, how a refusal is described.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId};

/// The peer id at the end of an address, if it has one.
pub(crate) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The address without a `/p2p/…` at its end.
pub(crate) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if peer_of(&address).is_some() {
        address.pop();
    }
    address
}

/// The address with `/p2p/<peer>` at its end; an address that names another peer stays as it is.
pub(crate) fn with_peer(address: Multiaddr, peer: PeerId) -> Multiaddr {
    match address.with_p2p(peer) {
        Ok(address) | Err(address) => address,
    }
}

/// The address a person on this machine can dial: an unspecified or foreign interface becomes
/// loopback.
pub(crate) fn spell_out_loopback(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .map(|part| match part {
            Protocol::Ip4(ip) if ip.is_unspecified() => Protocol::Ip4(Ipv4Addr::LOCALHOST),
            Protocol::Ip6(ip) if ip.is_unspecified() => Protocol::Ip6(Ipv6Addr::LOCALHOST),
            other => other,
        })
        .collect()
}

/// The IP address and TCP port at the start of a listen address.
pub(crate) fn socket_of(address: &Multiaddr) -> Option<(IpAddr, u16)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((ip, port)),
        _ => None,
    }
}

/// The same address with another TCP port.
pub(crate) fn with_port(address: &Multiaddr, port: u16) -> Multiaddr {
    address
        .iter()
        .map(|part| match part {
            Protocol::Tcp(_) => Protocol::Tcp(port),
            other => other,
        })
        .collect()
}

/// Why a dial failed, in words that fit into one line of a log.
pub(crate) fn describe(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "the address leads back to this peer".to_owned(),
        DialError::NoAddresses => "no address is known".to_owned(),
        DialError::DialPeerConditionFalse(_) => "a dial is already under way".to_owned(),
        DialError::Aborted => "the attempt was given up".to_owned(),
        DialError::WrongPeerId { obtained, address } => {
            format!("{address} is answered by another peer, {obtained}")
        }
        DialError::Denied { cause } => format!("refused here: {}", root(cause)),
        DialError::Transport(attempts) => {
            let reasons: Vec<String> = attempts
                .iter()
                .map(|(address, error)| format!("{address}: {}", root(error)))
                .collect();
            reasons.join("; ")
        }
    }
}

/// The innermost source of an error, which is what a person needs to know.
pub(crate) fn root(error: &(dyn Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_unspecified_address_becomes_loopback() {
        assert_eq!(
            spell_out_loopback(&address("/ip4/0.0.0.0/tcp/9990/ws")),
            address("/ip4/127.0.0.1/tcp/9990/ws")
        );
        assert_eq!(
            with_port(&address("/ip4/0.0.0.0/tcp/0/ws"), 7),
            address("/ip4/0.0.0.0/tcp/7/ws")
        );
    }

    #[test]
    fn the_peer_is_taken_off_and_put_on() {
        let peer = PeerId::random();
        let bare = address("/ip4/1.2.3.4/tcp/5");
        let full = with_peer(bare.clone(), peer);
        assert_eq!(peer_of(&full), Some(peer));
        assert_eq!(without_peer(full), bare);
    }
}
