//! The golden ticket of the protocol description.

use deal_types::{Address, Bytes32, PeerKey, golden, keccak256};

use super::{Report, expect};

const LEAF: &str = "0xab03052addf0f6bd7c206f2a378c33486799a44f4f8c7c89f52a0081954b5973";
const SECOND_LEAF: &str = "0x2a37fc8f0ee1c1ed3421b87e36ba0321da834b746cfed419ea59958e79492d5e";
const ROOT: &str = "0x633aaf08c249976abd6a82a2d96296380d515bfd7055017923218557452a69d8";
const LUCK: &str = "0xc061b7d1b63c2ce9636f641fe17de06e504929dcbfa00fe24e0054b73670ef46";

pub(super) fn replay(report: &mut Report) {
    report.record("golden ticket of the protocol description", check());
}

fn check() -> Result<(), String> {
    let worker = PeerKey([0x33; 32]);
    let particle = golden::ParticleHeader {
        id: "particle-1",
        init_peer: PeerKey([0x11; 32]),
        timestamp_ms: 1_700_000_000_000,
        ttl_ms: 60_000,
        script: "(null)",
        signature: [0x22; 64],
    };
    let participants = [golden::Participant {
        worker,
        executed_calls: 3,
    }];
    let root = golden::participants_root(&participants).map_err(|error| error.to_string())?;
    let ticket = golden::Ticket {
        chain_id: 31_337,
        deal: Address([0x44; 20]),
        epoch: 7,
        worker,
        particle_digest: particle.digest(),
        data_digest: golden::data_digest(b"data"),
        participants_root: root,
    };
    expect("leaf", ticket.leaf().to_string().as_str(), LEAF)?;
    let second = keccak256(b"\0other");
    expect("second leaf", second.to_string().as_str(), SECOND_LEAF)?;
    let tree = golden::TicketTree::build(vec![ticket.leaf(), second])
        .map_err(|error| error.to_string())?;
    expect("root", tree.root().to_string().as_str(), ROOT)?;
    let luck = Bytes32::from_uint(golden::luck(Bytes32([0x55; 32]), ticket.leaf()));
    expect("luck", luck.to_string().as_str(), LUCK)
}
