//! A market of honest and cheating workers: what each attack on golden particles gains.
//!
//! `cargo run -p aquamarine-deal-types --example cheating [EPOCHS]` prints, for each attack, what the
//! attacker has more than an honest worker in its place, in parts of an epoch's pool, and fails if one
//! pays. Gains are means over epochs with the same organic particles for both.

use std::collections::{BTreeMap, BTreeSet};

use deal_types::{
    Address, Bytes32, PeerKey, U256,
    golden::{
        ExecutionEvidence, Opening, Participant, ParticleHeader, Round, RoundConfig, Split, Ticket,
        TicketTree, beacon, bond_per_ticket, luck, participants_root,
    },
    keccak256_of, sha256_of,
};

const WORKERS: u8 = 5;
const ORGANIC: u64 = 60;
const POOL: u64 = 1_000_000;
const QUOTA: u64 = 64;
const INITIATOR_QUOTA: u64 = 16;
const WINNERS: u64 = 8;
const CHAIN: u64 = 31_337;
const EPOCH_MS: u64 = 15_000;

/// What a worker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// T1: a client in league tries many particle ids.
    GrindParticle,
    /// T2: the worker tries many forms of the data.
    GrindData,
    /// T3: tickets of particles that nobody executed, opened nevertheless.
    FabricateAndOpen,
    /// T3: the same, with winners left unopened.
    FabricateAndHide,
    /// T4: owner and worker are one party and send particles to themselves.
    DealWithOneself,
    /// T5: a client in league sends its particles to this worker only.
    CrowdOut,
    /// T6: the last prover of the epoch chooses the nonce.
    SteerNonce,
    /// T7: tickets of another epoch again.
    Replay,
    /// T8: every winner is opened twice.
    OpenTwice,
    /// T9: tickets of another worker.
    Copy,
}

/// Every attack.
pub(crate) const ATTACKS: [(&str, Attack); 10] = [
    ("T1 grind the particle", Attack::GrindParticle),
    ("T2 grind the data", Attack::GrindData),
    ("T3 fabricate, open", Attack::FabricateAndOpen),
    ("T3 fabricate, hide", Attack::FabricateAndHide),
    ("T4 deal with oneself", Attack::DealWithOneself),
    ("T5 crowd out", Attack::CrowdOut),
    ("T6 steer the nonce", Attack::SteerNonce),
    ("T7 replay", Attack::Replay),
    ("T8 open twice", Attack::OpenTwice),
    ("T9 copy", Attack::Copy),
];

/// A particle as it was (or is claimed to be) executed.
#[derive(Clone)]
struct Particle {
    id: String,
    initiator: PeerKey,
    timestamp_ms: u64,
    data: Vec<u8>,
    /// Who is said to have taken part.
    claimed: Vec<Participant>,
    /// Whether they did.
    genuine: bool,
}

impl ExecutionEvidence for Particle {
    fn header(&self) -> ParticleHeader<'_> {
        ParticleHeader {
            id: &self.id,
            init_peer: self.initiator,
            timestamp_ms: self.timestamp_ms,
            ttl_ms: 10_000,
            script: "(null)",
            signature: [7; 64],
        }
    }

    fn data(&self) -> &[u8] {
        &self.data
    }

    fn is_particle_signed(&self) -> bool {
        true
    }

    fn signed_calls(&self, worker: PeerKey) -> Option<u32> {
        let found = self
            .claimed
            .iter()
            .find(|participant| participant.worker == worker);
        // Nobody can sign for others.
        found
            .filter(|_| self.genuine)
            .map(|participant| participant.executed_calls)
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn word(&mut self) -> Bytes32 {
        keccak256_of(&[&self.roll(u64::MAX).to_be_bytes()])
    }
}

fn worker(number: u8) -> PeerKey {
    PeerKey([0x10 + number; 32])
}

fn client(number: u8) -> PeerKey {
    PeerKey([0x80 + number; 32])
}

const ATTACKER: u8 = 0;
const CLIENTS: u8 = 8;
/// The client in league with the attacker.
const LEAGUE: u8 = 0;

fn particle(id: String, initiator: PeerKey, epoch: u64, workers: &[u8]) -> Particle {
    let claimed = workers.iter().map(|number| Participant {
        worker: worker(*number),
        executed_calls: 1,
    });
    Particle {
        data: id.clone().into_bytes(),
        id,
        initiator,
        timestamp_ms: epoch * EPOCH_MS,
        claimed: claimed.collect(),
        genuine: true,
    }
}

/// The particles of an epoch: each client sends its quota to two workers, by chance or by choice.
fn particles(attack: Option<Attack>, epoch: u64, dice: &mut Dice) -> Vec<Particle> {
    let mut all = Vec::new();
    for number in 0..ORGANIC {
        let from = u8::try_from(dice.roll(u64::from(CLIENTS))).unwrap_or_default();
        let (first, second) = (
            dice.roll(u64::from(WORKERS)),
            dice.roll(u64::from(WORKERS) - 1),
        );
        let second = if second >= first { second + 1 } else { second };
        let pair = [first, second].map(|number| u8::try_from(number).unwrap_or_default());
        all.push(particle(
            format!("{epoch}-{number}"),
            client(from),
            epoch,
            &pair,
        ));
    }
    match attack {
        Some(Attack::CrowdOut) => {
            for of_league in all
                .iter_mut()
                .filter(|particle| particle.initiator == client(LEAGUE))
            {
                let takes_part = of_league
                    .claimed
                    .iter()
                    .any(|one| one.worker == worker(ATTACKER));
                if !takes_part && let Some(first) = of_league.claimed.first_mut() {
                    first.worker = worker(ATTACKER);
                }
            }
        }
        Some(Attack::GrindParticle) => {
            // The best of many under the beacon of the last epoch, which is all that is known.
            let guess = guessed_beacon(epoch);
            for of_league in all
                .iter_mut()
                .filter(|particle| particle.initiator == client(LEAGUE))
            {
                let tries = (0..16).map(|number| format!("{}-{number}", of_league.id));
                let drawn = |id: &String| luck(guess, sha256_of(&[id.as_bytes()]));
                if let Some(best) = tries.min_by_key(drawn) {
                    of_league.id = best;
                }
            }
        }
        Some(Attack::DealWithOneself) => {
            for number in 0..INITIATOR_QUOTA {
                let other = 1 + u8::try_from(number % u64::from(WORKERS - 1)).unwrap_or_default();
                all.push(particle(
                    format!("{epoch}-own-{number}"),
                    client(LEAGUE),
                    epoch,
                    &[ATTACKER, other],
                ));
            }
        }
        _ => {}
    }
    all
}

fn guessed_beacon(epoch: u64) -> Bytes32 {
    keccak256_of(&[b"guess", &epoch.to_be_bytes()])
}

fn ticket(of: &Particle, epoch: u64, by: PeerKey) -> Option<Ticket> {
    Some(Ticket {
        chain_id: CHAIN,
        deal: Address([0x44; 20]),
        epoch,
        worker: by,
        particle_digest: of.header().digest(),
        data_digest: deal_types::golden::data_digest(&of.data),
        participants_root: participants_root(&of.claimed).ok()?,
    })
}

type Tickets = BTreeMap<Bytes32, (Ticket, Particle)>;

/// The tickets that a worker commits to.
fn tickets_of(
    number: u8,
    all: &[Particle],
    attack: Option<Attack>,
    epoch: u64,
    past: &Tickets,
) -> Tickets {
    let by = worker(number);
    let mut tickets = Tickets::new();
    let mut of_initiator = BTreeMap::<PeerKey, u64>::new();
    let mine = all
        .iter()
        .filter(|particle| particle.claimed.iter().any(|one| one.worker == by));
    for particle in mine.take(QUOTA as usize) {
        let count = of_initiator.entry(particle.initiator).or_default();
        if *count < INITIATOR_QUOTA {
            *count += 1;
            let mut particle = particle.clone();
            if attack == Some(Attack::GrindData) {
                let guess = guessed_beacon(epoch);
                let forms = (0..16_u8).map(|form| [particle.data.clone(), vec![form]].concat());
                let drawn = |data: &Vec<u8>| luck(guess, sha256_of(&[data]));
                particle.data = forms.min_by_key(drawn).unwrap_or_default();
            }
            if let Some(ticket) = ticket(&particle, epoch, by) {
                tickets.insert(ticket.leaf(), (ticket, particle));
            }
        }
    }
    let extra: Vec<(Ticket, Particle)> = match attack {
        Some(Attack::FabricateAndOpen | Attack::FabricateAndHide) => (0..20)
            .filter_map(|number| {
                let mut fake = particle(
                    format!("{epoch}-fake-{number}"),
                    client(LEAGUE),
                    epoch,
                    &[ATTACKER, 1],
                );
                fake.genuine = false;
                Some((ticket(&fake, epoch, by)?, fake))
            })
            .collect(),
        Some(Attack::Replay) => past.values().cloned().collect(),
        Some(Attack::Copy) => all
            .iter()
            .filter(|particle| particle.claimed.iter().all(|one| one.worker != by))
            .filter_map(|particle| {
                let other = particle.claimed.first()?.worker;
                Some((ticket(particle, epoch, other)?, particle.clone()))
            })
            .collect(),
        _ => Vec::new(),
    };
    for (ticket, particle) in extra {
        if (tickets.len() as u64) < QUOTA {
            tickets.insert(ticket.leaf(), (ticket, particle));
        }
    }
    tickets
}

/// What the attacker has after an epoch, in parts of the pool.
fn play(attack: Option<Attack>, epoch: u64, past: &mut Tickets) -> Result<f64, String> {
    let mut dice = Dice(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let all = particles(attack, epoch, &mut dice);
    let pool = U256::from(POOL);
    let mut round = Round::new(RoundConfig {
        chain_id: CHAIN,
        deal: Address([0x44; 20]),
        epoch,
        epoch_ms: (epoch * EPOCH_MS, (epoch + 1) * EPOCH_MS),
        pool,
        winners: WINNERS,
        bond_per_ticket: bond_per_ticket(pool, QUOTA),
        quota: QUOTA,
        min_participants: 2,
        split: Split::Equal,
        workers: (0..WORKERS).map(worker).collect(),
        initiators: (0..CLIENTS).map(client).collect::<BTreeSet<_>>(),
    });
    let mut committed = Vec::new();
    for number in 0..WORKERS {
        let attack = attack.filter(|_| number == ATTACKER);
        let tickets = tickets_of(number, &all, attack, epoch, past);
        let tree =
            TicketTree::build(tickets.keys().copied().collect()).map_err(|e| e.to_string())?;
        round
            .commit(worker(number), tree.root(), tree.count(), epoch + 1)
            .map_err(|e| e.to_string())?;
        committed.push((number, attack, tickets, tree));
    }
    // The nonce is one of many at the attacker's choice, but the block that it is mixed with comes later.
    let nonces = if attack == Some(Attack::SteerNonce) {
        16
    } else {
        1
    };
    let guess = guessed_beacon(epoch);
    let wins = |nonce: &Bytes32| {
        let leaves = committed.first().map(|(_, _, tickets, _)| tickets.keys());
        let limit = round.threshold();
        let guessed = beacon(*nonce, guess);
        leaves
            .into_iter()
            .flatten()
            .filter(|leaf| luck(guessed, **leaf) <= limit)
            .count()
    };
    let nonce = (0..nonces)
        .map(|_| dice.word())
        .max_by_key(wins)
        .unwrap_or_default();
    let beacon = beacon(nonce, keccak256_of(&[b"block", &epoch.to_be_bytes()]));
    round.set_beacon(beacon);
    let limit = round.threshold();
    for (number, attack, tickets, tree) in &committed {
        for (index, leaf) in (0..).zip(tree.leaves()) {
            if luck(beacon, *leaf) > limit {
                continue;
            }
            let Some((ticket, particle)) = tickets.get(leaf) else {
                continue;
            };
            if *attack == Some(Attack::FabricateAndHide) && !particle.genuine {
                continue;
            }
            let opening = Opening {
                worker: worker(*number),
                ticket: *ticket,
                membership: tree.prove(index).map_err(|e| e.to_string())?,
                participants: particle.claimed.clone(),
            };
            let outcome = round.open(&opening, particle, epoch + 2);
            if attack.is_none() {
                outcome.map_err(|error| format!("an honest ticket is refused: {error}"))?;
            } else if *attack == Some(Attack::OpenTwice) {
                // What it gains is in the settlement; that it is refused, in the tests of rounds.
                let _ = round.open(&opening, particle, epoch + 3);
            }
        }
        // One that hides winners does better not to show its leaves; both cost the bond.
        if *attack != Some(Attack::FabricateAndHide) {
            round
                .reveal(worker(*number), tree.leaves().to_vec(), epoch + 3)
                .map_err(|e| e.to_string())?;
        }
    }
    if let Some((_, _, tickets, _)) = committed.into_iter().next() {
        *past = tickets;
    }
    let outcome = round.settle(epoch + 4).map_err(|e| e.to_string())?;
    let amount = |of: &BTreeMap<PeerKey, U256>| {
        of.get(&worker(ATTACKER)).map_or(0.0, |amount| {
            u64::try_from(*amount).unwrap_or(u64::MAX) as f64
        })
    };
    let paid: U256 = outcome
        .settlement
        .payouts
        .values()
        .fold(U256::ZERO, |sum, part| sum + *part);
    if paid + outcome.settlement.remainder != pool {
        return Err(format!(
            "{paid} paid of {pool}, {} left",
            outcome.settlement.remainder
        ));
    }
    Ok((amount(&outcome.settlement.payouts) - amount(&outcome.burned)) / POOL as f64)
}

/// Mean and standard error of what an attack gains over an honest worker.
///
/// # Errors
/// An honest worker that is refused, or money that is lost.
pub(crate) fn gain(attack: Attack, epochs: u64) -> Result<(f64, f64), String> {
    let (mut sum, mut squares) = (0.0, 0.0);
    let (mut past, mut honest_past) = (Tickets::new(), Tickets::new());
    for epoch in 1..=epochs {
        let attacked = play(Some(attack), epoch, &mut past)?;
        let difference = match attack {
            // The party pays the pool itself, so that is what it has to get back more than.
            Attack::DealWithOneself => attacked - 1.0,
            _ => attacked - play(None, epoch, &mut honest_past)?,
        };
        sum += difference;
        squares += difference * difference;
    }
    let count = epochs as f64;
    let mean = sum / count;
    let variance = (squares / count - mean * mean).max(0.0);
    Ok((mean, (variance / count).sqrt()))
}

/// The most that an attack may gain in the mean. A client that is allowed to send particles is free in
/// whom it sends them to; what it can give to one worker is half of the tickets of its own particles,
/// which its quota bounds.
#[must_use]
pub(crate) fn allowance(attack: Attack) -> f64 {
    match attack {
        Attack::CrowdOut => 0.5 / f64::from(CLIENTS),
        _ => 0.0,
    }
}

fn main() -> std::process::ExitCode {
    let epochs = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(400);
    println!("{epochs} epochs, {WORKERS} workers, {ORGANIC} particles; gains in parts of the pool");
    println!(
        "{:<24} {:>9} {:>9} {:>9}",
        "attack", "gain", "error", "allowed"
    );
    let mut pays = false;
    for (name, attack) in ATTACKS {
        match gain(attack, epochs) {
            Ok((mean, error)) => {
                println!(
                    "{name:<24} {mean:>9.4} {error:>9.4} {:>9.4}",
                    allowance(attack)
                );
                pays |= mean > allowance(attack) + 4.0 * error;
            }
            Err(error) => {
                println!("{name:<24} {error}");
                pays = true;
            }
        }
    }
    if pays {
        println!("cheating pays");
        return std::process::ExitCode::FAILURE;
    }
    println!("no attack gains more than is allowed");
    std::process::ExitCode::SUCCESS
}
