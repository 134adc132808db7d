//! Opening of golden tickets: every check fails by itself, with its own error.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;

use deal_types::{
    Address, Bytes32, PeerKey, U256,
    golden::{
        ExecutionEvidence, MembershipProof, Opening, OpeningError, Participant, ParticleHeader,
        Round, RoundConfig, RoundError, Selection, Split, Ticket, TicketBook, TicketTree,
        data_digest, participants_root,
    },
};

const EPOCH: u64 = 7;
const A: PeerKey = PeerKey([1; 32]);
const B: PeerKey = PeerKey([2; 32]);
const CLIENT: PeerKey = PeerKey([9; 32]);

#[derive(Clone)]
struct Evidence {
    id: &'static str,
    initiator: PeerKey,
    timestamp_ms: u64,
    data: &'static [u8],
    signed: bool,
    calls: Vec<(PeerKey, u32)>,
}

impl ExecutionEvidence for Evidence {
    fn header(&self) -> ParticleHeader<'_> {
        ParticleHeader {
            id: self.id,
            init_peer: self.initiator,
            timestamp_ms: self.timestamp_ms,
            ttl_ms: 1_000,
            script: "(null)",
            signature: [5; 64],
        }
    }

    fn data(&self) -> &[u8] {
        self.data
    }

    fn is_particle_signed(&self) -> bool {
        self.signed
    }

    fn signed_calls(&self, worker: PeerKey) -> Option<u32> {
        self.calls
            .iter()
            .find(|call| call.0 == worker)
            .map(|call| call.1)
    }
}

fn evidence() -> Evidence {
    Evidence {
        id: "particle",
        initiator: CLIENT,
        timestamp_ms: 700,
        data: b"data",
        signed: true,
        calls: vec![(A, 2), (B, 3)],
    }
}

fn participants() -> Vec<Participant> {
    vec![
        Participant {
            worker: A,
            executed_calls: 2,
        },
        Participant {
            worker: B,
            executed_calls: 3,
        },
    ]
}

fn ticket(evidence: &Evidence, participants: &[Participant]) -> Ticket {
    Ticket {
        chain_id: 1,
        deal: Address([4; 20]),
        epoch: EPOCH,
        worker: A,
        particle_digest: evidence.header().digest(),
        data_digest: data_digest(evidence.data),
        participants_root: participants_root(participants).unwrap(),
    }
}

fn round() -> Round {
    Round::new(config())
}

/// Commits to one ticket and opens it.
fn open(
    ticket: Ticket,
    participants: Vec<Participant>,
    evidence: &Evidence,
) -> Result<(), RoundError> {
    let tree = TicketTree::build(vec![ticket.leaf()]).unwrap();
    let mut round = round();
    round.commit(A, tree.root(), tree.count(), EPOCH + 1)?;
    round.set_beacon(Bytes32([3; 32]));
    let membership = tree.prove(0).unwrap();
    round.open(
        &Opening {
            worker: A,
            ticket,
            membership,
            participants,
        },
        evidence,
        EPOCH + 2,
    )
}

fn error(ticket: Ticket, participants: Vec<Participant>, evidence: &Evidence) -> OpeningError {
    match open(ticket, participants, evidence) {
        Err(RoundError::Opening(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_check_has_its_error() {
    let (good, all) = (evidence(), participants());
    let base = ticket(&good, &all);
    assert_eq!(open(base, all.clone(), &good), Ok(()));
    let fields = [
        Ticket {
            chain_id: 2,
            ..base
        },
        Ticket {
            deal: Address([5; 20]),
            ..base
        },
        Ticket { epoch: 8, ..base },
        Ticket { worker: B, ..base },
    ];
    let texts = fields.map(|ticket| error(ticket, all.clone(), &good).to_string());
    assert_eq!(texts[0], "ticket is of chain 2 instead of 1");
    assert!(
        texts[1].starts_with("ticket is of deal 0x0505"),
        "{}",
        texts[1]
    );
    assert_eq!(texts[2], "ticket is of epoch 8 instead of 7");
    assert!(texts[3].starts_with("ticket is of worker"), "{}", texts[3]);
    let twice = vec![all[0], all[0]];
    assert!(matches!(
        error(base, twice, &good),
        OpeningError::Participants(_)
    ));
    let other = error(base, vec![all[1]], &good);
    assert!(matches!(other, OpeningError::ParticipantsRoot { .. }));
    let with = |participants: Vec<Participant>| {
        error(ticket(&good, &participants), participants.clone(), &good)
    };
    let stranger = Participant {
        worker: PeerKey([8; 32]),
        executed_calls: 1,
    };
    assert!(matches!(
        with(vec![all[0], stranger]),
        OpeningError::NotAWorker { .. }
    ));
    assert_eq!(
        with(vec![all[0]]),
        OpeningError::TooFewParticipants {
            actual: 1,
            needed: 2
        }
    );
    let changed = |change: fn(&mut Evidence)| {
        let mut evidence = good.clone();
        change(&mut evidence);
        error(ticket(&evidence, &all), all.clone(), &evidence)
    };
    assert!(matches!(
        changed(|e| e.timestamp_ms = 800),
        OpeningError::Timestamp { timestamp_ms: 800 }
    ));
    assert!(matches!(
        changed(|e| e.timestamp_ms = 699),
        OpeningError::Timestamp { .. }
    ));
    assert!(matches!(
        changed(|e| e.signed = false),
        OpeningError::ParticleSignature { .. }
    ));
    assert!(matches!(
        changed(|e| e.initiator = A),
        OpeningError::Initiator { .. }
    ));
    assert!(matches!(
        changed(|e| e.calls = vec![(A, 2)]),
        OpeningError::ParticipantSignature { worker: B }
    ));
    assert!(matches!(
        changed(|e| e.calls[1].1 = 0),
        OpeningError::ParticipantSignature { worker: B }
    ));
    assert_eq!(
        changed(|e| e.calls[1].1 = 4),
        OpeningError::ExecutedCalls {
            worker: B,
            claimed: 3,
            actual: 4
        }
    );
    let other = Evidence {
        id: "other",
        ..good.clone()
    };
    assert!(matches!(
        error(base, all.clone(), &other),
        OpeningError::ParticleDigest { .. }
    ));
    let other = Evidence {
        data: b"other",
        ..good.clone()
    };
    assert!(matches!(
        error(base, all, &other),
        OpeningError::DataDigest { .. }
    ));
}

#[test]
fn a_worker_opens_what_it_took_part_in() {
    let all = vec![
        Participant {
            worker: B,
            executed_calls: 3,
        },
        Participant {
            worker: PeerKey([6; 32]),
            executed_calls: 1,
        },
    ];
    let workers = BTreeSet::from([A, B, PeerKey([6; 32])]);
    let mut rules = Round::new(RoundConfig {
        workers,
        ..config()
    });
    let evidence = evidence();
    let ticket = ticket(&evidence, &all);
    let tree = TicketTree::build(vec![ticket.leaf()]).unwrap();
    rules.commit(A, tree.root(), 1, EPOCH + 1).unwrap();
    rules.set_beacon(Bytes32::ZERO);
    let opening = Opening {
        worker: A,
        ticket,
        membership: tree.prove(0).unwrap(),
        participants: all,
    };
    let error = rules.open(&opening, &evidence, EPOCH + 2).unwrap_err();
    assert_eq!(
        error,
        RoundError::Opening(OpeningError::NotAParticipant { worker: A })
    );
}

#[test]
fn membership_and_draw() {
    let (good, all) = (evidence(), participants());
    let base = ticket(&good, &all);
    let other = Ticket {
        data_digest: Bytes32::ZERO,
        ..base
    };
    let tree = TicketTree::build(vec![base.leaf(), other.leaf()]).unwrap();
    let mut rules = round();
    rules.commit(A, tree.root(), 2, EPOCH + 1).unwrap();
    rules.set_beacon(Bytes32([3; 32]));
    let membership = MembershipProof {
        index: 2,
        siblings: vec![],
    };
    let opening = Opening {
        worker: A,
        ticket: base,
        membership,
        participants: all.clone(),
    };
    let error = rules.open(&opening, &good, EPOCH + 2).unwrap_err();
    assert!(matches!(
        error,
        RoundError::Opening(OpeningError::Membership {
            index: 2,
            count: 2,
            ..
        })
    ));
    // One that does not win: of many tickets, for one winner.
    let leaves = (0..4_u8).map(|n| {
        Ticket {
            data_digest: Bytes32([n; 32]),
            ..base
        }
        .leaf()
    });
    let tree = TicketTree::build(leaves.collect()).unwrap();
    let mut losers = 0;
    for n in 0..4_u8 {
        let ticket = Ticket {
            data_digest: Bytes32([n; 32]),
            ..base
        };
        let mut rules = Round::new(RoundConfig {
            winners: 1,
            ..config()
        });
        rules.commit(A, tree.root(), 4, EPOCH + 1).unwrap();
        rules.set_beacon(Bytes32([3; 32]));
        let index = tree
            .leaves()
            .iter()
            .position(|leaf| *leaf == ticket.leaf())
            .unwrap() as u64;
        let membership = tree.prove(index).unwrap();
        let opening = Opening {
            worker: A,
            ticket,
            membership,
            participants: all.clone(),
        };
        match rules.open(&opening, &good, EPOCH + 2).unwrap_err() {
            RoundError::Opening(OpeningError::NotGolden { .. }) => losers += 1,
            RoundError::Opening(OpeningError::DataDigest { .. }) => {}
            other => panic!("{other}"),
        }
    }
    assert!(losers > 0);
}

fn config() -> RoundConfig {
    RoundConfig {
        chain_id: 1,
        deal: Address([4; 20]),
        epoch: EPOCH,
        epoch_ms: (700, 800),
        pool: U256::from(1_000),
        winners: 8,
        bond_per_ticket: U256::from(10),
        quota: 4,
        min_participants: 2,
        split: Split::Equal,
        workers: BTreeSet::from([A, B]),
        initiators: BTreeSet::from([CLIENT]),
    }
}

#[test]
fn a_round_in_time_and_out_of_it() {
    let (good, all) = (evidence(), participants());
    let base = ticket(&good, &all);
    let tree = TicketTree::build(vec![base.leaf()]).unwrap();
    let mut rules = round();
    let root = tree.root();
    assert!(matches!(
        rules.commit(A, root, 1, EPOCH),
        Err(RoundError::Phase { now: EPOCH, .. })
    ));
    assert!(matches!(
        rules.commit(CLIENT, root, 1, EPOCH + 1),
        Err(RoundError::NotAWorker { .. })
    ));
    assert!(matches!(
        rules.commit(A, root, 5, EPOCH + 1),
        Err(RoundError::Quota {
            count: 5,
            quota: 4,
            ..
        })
    ));
    assert_eq!(rules.commit(A, root, 1, EPOCH + 1), Ok(U256::from(10)));
    assert!(matches!(
        rules.commit(A, root, 1, EPOCH + 1),
        Err(RoundError::CommittedTwice { .. })
    ));
    assert_eq!(rules.commit(B, Bytes32::ZERO, 0, EPOCH + 1), Ok(U256::ZERO));
    let membership = tree.prove(0).unwrap();
    let opening = Opening {
        worker: A,
        ticket: base,
        membership,
        participants: all,
    };
    assert_eq!(
        rules.open(&opening, &good, EPOCH + 2),
        Err(RoundError::NoBeacon { epoch: EPOCH })
    );
    rules.set_beacon(Bytes32([3; 32]));
    let early = rules.open(&opening, &good, EPOCH + 1);
    assert!(matches!(
        early,
        Err(RoundError::Phase {
            what: "opening",
            ..
        })
    ));
    assert_eq!(rules.open(&opening, &good, EPOCH + 2), Ok(()));
    let again = rules.open(&opening, &good, EPOCH + 3);
    assert_eq!(again, Err(RoundError::OpenedTwice { leaf: base.leaf() }));
    assert!(rules.settle(EPOCH + 3).is_err());
    // Without its leaves the bond is lost; the reward is not.
    let hidden = rules.settle(EPOCH + 4).unwrap();
    assert_eq!(hidden.burned.get(&A), Some(&U256::from(10)));
    assert_eq!(hidden.settlement.payouts.get(&A), Some(&U256::from(500)));
    let wrong = rules.reveal(A, vec![Bytes32::ZERO], EPOCH + 3);
    assert_eq!(wrong, Err(RoundError::Leaves { worker: A }));
    rules.reveal(A, tree.leaves().to_vec(), EPOCH + 3).unwrap();
    let shown = rules.settle(EPOCH + 4).unwrap();
    assert_eq!(shown.returned.get(&A), Some(&U256::from(10)));
    assert_eq!(shown.burned.get(&A), None);
}

#[test]
fn a_book_holds_what_counts_and_opens_its_winners() {
    let good = evidence();
    let changed = |id: &'static str, change: fn(&mut Evidence)| {
        let mut evidence = Evidence { id, ..good.clone() };
        change(&mut evidence);
        evidence
    };
    let executed = [
        good.clone(),
        // The same again.
        good.clone(),
        changed("second", |_| {}),
        changed("third", |_| {}),
        changed("late", |e| e.timestamp_ms = 800),
        changed("unsigned", |e| e.signed = false),
        changed("stranger", |e| e.initiator = A),
        changed("alone", |e| e.calls = vec![(A, 2)]),
        changed("others", |e| e.calls = vec![(B, 2)]),
    ];
    let selection = Selection::default();
    let book = TicketBook::make(A, &config(), selection, executed.clone()).unwrap();
    assert_eq!(book.tree().count(), 3);
    let few = Selection {
        quota: 2,
        ..selection
    };
    let short = TicketBook::make(A, &config(), few, executed).unwrap();
    assert_eq!(short.tree().count(), 2);

    let mut rules = Round::new(RoundConfig {
        winners: 1,
        ..config()
    });
    rules.commit(A, book.tree().root(), 3, EPOCH + 1).unwrap();
    let beacon = Bytes32([3; 32]);
    rules.set_beacon(beacon);
    let winners = book.winners(beacon, rules.threshold()).unwrap();
    assert!(winners.len() < 3, "{}", winners.len());
    for (opening, evidence) in &winners {
        assert_eq!(rules.open(opening, *evidence, EPOCH + 2), Ok(()));
    }
    let leaves = book.tree().leaves().to_vec();
    rules.reveal(A, leaves, EPOCH + 3).unwrap();
    // Nothing that won was left out.
    let outcome = rules.settle(EPOCH + 4).unwrap();
    assert_eq!(outcome.returned.get(&A), Some(&U256::from(30)));
    let all = book.winners(beacon, U256::MAX).unwrap();
    assert_eq!(all.len(), 3);
}
