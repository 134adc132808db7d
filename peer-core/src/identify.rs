//! What a peer says about itself when it connects, and how much of it is believed (§1.3 of the peer
//! description).
//!
//! ```
//! use multiaddr::Multiaddr;
//! use peer_core::identify::{PARTICLE_PROTOCOL, Rules};
//!
//! let rules = Rules {
//!     kademlia_protocol: "/fluence/kad/dar/1.0.0".to_owned(),
//!     allow_local_addresses: false,
//! };
//! let addresses: [Multiaddr; 2] = [
//!     "/ip4/127.0.0.1/tcp/7001".parse()?,
//!     "/ip4/1.1.1.1/tcp/7001".parse()?,
//! ];
//! let client = rules.judge([PARTICLE_PROTOCOL, "/ipfs/ping/1.0.0"], addresses.clone()).unwrap();
//! assert!(!client.in_network);
//! assert_eq!(client.addresses, addresses[1..]);
//! assert!(rules.judge(["/ipfs/ping/1.0.0"], addresses).is_none());
//! # Ok::<(), multiaddr::Error>(())
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use multiaddr::{Multiaddr, Protocol};

/// The protocol that particles travel by. A peer without it is of no use here.
pub const PARTICLE_PROTOCOL: &str = "/fluence/particle/2.0.0";

/// Addresses of one message that are believed.
pub const MAX_ADVERTISED: usize = 16;

/// What messages are judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The Kademlia protocol of this peer's network.
    pub kademlia_protocol: String,
    /// Whether addresses that lead nowhere from outside are kept.
    pub allow_local_addresses: bool,
}

/// What is kept of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Whether the peer belongs to the same Kademlia network.
    pub in_network: bool,
    /// Where it listens, as far as that is believed: each once, at most [`MAX_ADVERTISED`].
    pub addresses: Vec<Multiaddr>,
}

impl Rules {
    /// What to keep of a message with these protocols and listen addresses; nothing when the peer is
    /// to be disconnected, because it does not speak the particle protocol.
    pub fn judge<'p>(
        &self,
        protocols: impl IntoIterator<Item = &'p str>,
        listen: impl IntoIterator<Item = Multiaddr>,
    ) -> Option<Introduction> {
        let (mut speaks, mut in_network) = (false, false);
        for protocol in protocols {
            speaks |= protocol == PARTICLE_PROTOCOL;
            in_network |= protocol == self.kademlia_protocol;
        }
        if !speaks {
            return None;
        }
        let mut addresses = Vec::new();
        for address in listen {
            if addresses.len() == MAX_ADVERTISED {
                break;
            }
            if self.believes(&address) && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Some(Introduction {
            in_network,
            addresses,
        })
    }

    /// Whether an address of another peer is kept.
    #[must_use]
    pub fn believes(&self, address: &Multiaddr) -> bool {
        self.allow_local_addresses || is_global(address)
    }
}

/// Whether an advertised address may be stored although only public addresses are wanted:
/// names and everything that is no address of a machine pass, local and reserved ones do not.
#[must_use]
pub fn is_global(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => is_global_ipv4(ip),
        Some(Protocol::Ip6(ip)) => is_global_ipv6(ip),
        Some(Protocol::Memory(_)) | None => false,
        Some(_) => true,
    }
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
    fn only_so_many_addresses_are_kept() {
        let rules = Rules {
            kademlia_protocol: "/kad".to_owned(),
            allow_local_addresses: true,
        };
        let many = (0..100).flat_map(|port| [port, port]);
        let many = many.map(|port| address(&format!("/ip4/10.0.0.1/tcp/{port}")));
        let kept = rules.judge([PARTICLE_PROTOCOL, "/kad"], many).unwrap();
        assert!(kept.in_network);
        assert_eq!(kept.addresses.len(), MAX_ADVERTISED);
        assert_eq!(kept.addresses[1], address("/ip4/10.0.0.1/tcp/1"));
    }
}
