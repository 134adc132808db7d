//! Addresses: which may be believed, which can be printed, how a refusal is described.

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

/// Whether an advertised address may be stored although only public addresses are wanted:
/// names and everything that is no address of a machine pass, local and reserved ones do not.
pub(crate) fn is_global(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => is_global_ipv4(ip),
        Some(Protocol::Ip6(ip)) => is_global_ipv6(ip),
        Some(Protocol::Memory(_)) | None => false,
        Some(_) => true,
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

fn is_global_ipv4(ip: Ipv4Addr) -> bool {
    let [a, b, c, d] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarking = a == 198 && (18..20).contains(&b);
    let protocol_assignments = a == 192 && b == 0 && c == 0 && d != 9 && d != 10;
    let reserved = a >= 240;
    let this_network = a == 0;
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || shared
        || benchmarking
        || protocol_assignments
        || reserved
        || this_network)
}

fn is_global_ipv6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return is_global_ipv4(ip);
    }
    let [first, second, ..] = ip.segments();
    let unique_local = first & 0xfe00 == 0xfc00;
    let link_local = first & 0xffc0 == 0xfe80;
    let documentation = first == 0x2001 && second == 0x0db8 || first & 0xfff0 == 0x3ff0;
    let discard_only = first == 0x0100;
    let translation = first == 0x0064 && second == 0xff9b;
    let protocol_assignments = first == 0x2001 && second < 0x0200;
    !(ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || unique_local
        || link_local
        || documentation
        || discard_only
        || translation
        || protocol_assignments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn local_and_reserved_addresses_are_not_global() {
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/tcp/1",
            "/ip4/172.16.0.1/tcp/1",
            "/ip4/192.168.1.1/tcp/1",
            "/ip4/169.254.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/198.18.0.1/tcp/1",
            "/ip4/192.0.0.1/tcp/1",
            "/ip4/203.0.113.7/tcp/1",
            "/ip4/240.0.0.1/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip4/0.0.0.0/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fc00::1/tcp/1",
            "/ip6/2001:db8::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/memory/7",
        ] {
            assert!(!is_global(&address(text)), "{text}");
        }
        for text in [
            "/ip4/1.1.1.1/tcp/1",
            "/ip4/192.0.0.9/tcp/1",
            "/ip6/2606:4700::1111/tcp/1",
            "/dns4/example.org/tcp/1/wss",
        ] {
            assert!(is_global(&address(text)), "{text}");
        }
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
