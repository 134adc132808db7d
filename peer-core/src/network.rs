//! The libp2p network: transports, identify, Kademlia, the particle protocol.
