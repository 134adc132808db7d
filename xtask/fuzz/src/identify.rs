//! What peers say about themselves.

use multiaddr::{Multiaddr, Protocol};
use peer_core::identify::{MAX_ADVERTISED, PARTICLE_PROTOCOL, Rules, is_global};

use super::{bounded, choices::Choices};

const KADEMLIA: &str = "/fluence/kad/dar/1.0.0";
const PROTOCOLS: [&str; 6] = [
    PARTICLE_PROTOCOL,
    KADEMLIA,
    "/fluence/kad/kras/1.0.0",
    "/fluence/particle/2.0.1",
    "/ipfs/id/1.0.0",
    "",
];
/// Bytes that judging may take for each byte: an address of a byte is a vector with a counter.
const FACTOR: usize = 256;

/// Checks the judgement over an identify message: protocols, then addresses with their lengths.
pub fn identify(input: &[u8]) {
    let mut choices = Choices(input);
    let flags = choices.byte();
    let protocols: Vec<&str> = (0..flags >> 4).map(|_| choices.of(&PROTOCOLS)).collect();
    let rules = Rules {
        kademlia_protocol: KADEMLIA.to_owned(),
        allow_local_addresses: flags & 1 == 1,
    };
    let mut listen = Vec::new();
    while !choices.is_empty() {
        let length = choices.below(32);
        let (bytes, rest) = choices.0.split_at(length.min(choices.0.len()));
        choices = Choices(rest);
        // What is no address is not decoded by the protocol either.
        if let Ok(address) = Multiaddr::try_from(bytes.to_vec()) {
            listen.push(address);
        }
    }
    let judged = bounded("a message", input.len(), FACTOR, || {
        rules.judge(protocols.iter().copied(), listen.clone())
    });
    let speaks = protocols.contains(&PARTICLE_PROTOCOL);
    let Some(introduction) = judged else {
        assert!(!speaks, "a peer with the protocol is sent away");
        return;
    };
    assert!(speaks, "a peer without the protocol is kept");
    assert_eq!(introduction.in_network, protocols.contains(&KADEMLIA));
    let kept = &introduction.addresses;
    assert!(kept.len() <= MAX_ADVERTISED);
    for (index, address) in kept.iter().enumerate() {
        assert!(listen.contains(address), "{address} was not advertised");
        assert!(!kept[..index].contains(address), "{address} is there twice");
        assert!(
            rules.allow_local_addresses || is_global(address),
            "{address} is local"
        );
        check(address);
    }
    let left = listen.iter().filter(|address| !kept.contains(address));
    for address in left {
        let full = kept.len() == MAX_ADVERTISED;
        assert!(full || !rules.believes(address), "{address} is left out");
    }
}

/// An address that is kept is none of this machine or its surroundings, however it is written.
fn check(address: &Multiaddr) {
    if !is_global(address) {
        return;
    }
    let local = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => {
            let mapped = ip.to_ipv4_mapped();
            ip.is_loopback()
                || ip.is_unspecified()
                || mapped.is_some_and(|ip| ip.is_loopback() || ip.is_private())
        }
        first => first.is_none(),
    };
    assert!(!local, "{address} is local");
}
