//! A round of golden particles: tickets of what was executed, a draw, openings that everybody can
//! check, payment.
//!
//! The published contracts know no golden particles. So the round is kept beside the chain, by the
//! same rules for everybody, with nonce and block hash of the chain as its beacon; what it grants is
//! paid by the developer in the token of the deal.

use std::collections::{BTreeMap, BTreeSet};

use aquavm::Compat;
use deal_types::{
    Address, PeerKey, U256,
    chain::Head,
    contract::{GetGlobalNonce, token},
    golden::{
        DEFAULT_QUOTA, DEFAULT_WINNERS, ExecutionEvidence as _, Round, RoundConfig, Selection,
        Split, TicketBook, beacon, bond_per_ticket,
    },
};
use peer_core::golden::{Collector, ExecutedParticle};
use serde::Serialize;

use super::{
    developer::PRICE,
    ledger::{CALL_EPOCH, CHAIN_ID, DEVELOPER, Ledger, payments},
    provider::Hosted,
};
use crate::failure::{Failure, Result};

/// A golden particle.
#[derive(Clone, Debug, Serialize)]
pub struct Golden {
    /// The particle.
    pub particle_id: String,
    /// The worker that opened it.
    pub opened_by: PeerKey,
    /// Who took part, and how many results each has signed.
    pub participants: BTreeMap<String, u32>,
}

/// What the round came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Tickets that were committed.
    pub tickets: u64,
    /// Those that won.
    pub golden: Vec<Golden>,
    /// What was to be shared, in wei.
    pub pool: String,
    /// What was not, in wei.
    pub remainder: String,
    /// Bonds that were paid back, in wei.
    pub bonds_returned: String,
    /// Bonds that were lost, in wei.
    pub bonds_burned: String,
}

/// The round of one deal and epoch.
pub struct Tickets {
    round: Round,
    books: BTreeMap<PeerKey, TicketBook<ExecutedParticle>>,
    pool: U256,
}

impl Tickets {
    /// In the epoch after the calls: makes the tickets and commits to them.
    ///
    /// # Errors
    /// A ticket that the round does not take.
    pub fn commit(
        ledger: &Ledger,
        deal: Address,
        hosted: &[Hosted],
        initiator: PeerKey,
        executed: &Collector,
    ) -> Result<Self> {
        // Half of what the flat payment of the epoch is.
        let workers = u64::try_from(hosted.len()).map_err(Failure::new)?;
        let pool = payments(PRICE * workers) / U256::from(2);
        let (begin, end) = ledger.epoch_ms(CALL_EPOCH);
        let config = RoundConfig {
            chain_id: CHAIN_ID,
            deal,
            epoch: CALL_EPOCH,
            epoch_ms: (begin, end),
            pool,
            winners: DEFAULT_WINNERS,
            bond_per_ticket: bond_per_ticket(pool, DEFAULT_QUOTA),
            quota: DEFAULT_QUOTA,
            min_participants: 2,
            split: Split::Equal,
            workers: hosted.iter().map(|hosted| hosted.key).collect(),
            initiators: BTreeSet::from([initiator]),
        };
        let mut round = Round::new(config.clone());
        let mut books = BTreeMap::new();
        for worker in hosted {
            let particles = executed.take(worker.worker, begin..end);
            let evidence = particles
                .into_iter()
                .map(|particle| ExecutedParticle::new(particle, Compat::default()));
            let book = TicketBook::make(worker.key, &config, Selection::default(), evidence)
                .map_err(Failure::new)?;
            let tree = book.tree();
            round
                .commit(worker.key, tree.root(), tree.count(), CALL_EPOCH + 1)
                .map_err(Failure::new)?;
            books.insert(worker.key, book);
        }
        Ok(Self { round, books, pool })
    }

    /// Two epochs after the calls: draws, opens the winners and reveals all leaves.
    ///
    /// # Errors
    /// An honest opening that is refused.
    pub async fn open(&mut self, ledger: &Ledger, first_block: Head) -> Result<Vec<Golden>> {
        let (nonce,) = ledger.read(ledger.market(), &GetGlobalNonce {}).await?;
        let beacon = beacon(nonce, first_block.hash);
        self.round.set_beacon(beacon);
        let (threshold, now) = (self.round.threshold(), CALL_EPOCH + 2);
        let mut golden = Vec::new();
        for (worker, book) in &self.books {
            let winners = book.winners(beacon, threshold).map_err(Failure::new)?;
            for (opening, evidence) in winners {
                self.round
                    .open(&opening, evidence, now)
                    .map_err(Failure::new)?;
                golden.push(Golden {
                    particle_id: evidence.header().id.to_owned(),
                    opened_by: *worker,
                    participants: opening
                        .participants
                        .iter()
                        .map(|one| (one.worker.to_string(), one.executed_calls))
                        .collect(),
                });
            }
            let leaves = book.tree().leaves().to_vec();
            self.round
                .reveal(*worker, leaves, now)
                .map_err(Failure::new)?;
        }
        Ok(golden)
    }

    /// Four epochs after the calls: what each worker gets, paid to the account of its provider.
    ///
    /// # Errors
    /// The round is not over, or the developer cannot pay.
    pub async fn settle(
        &self,
        ledger: &Ledger,
        golden: Vec<Golden>,
        accounts: &BTreeMap<PeerKey, Address>,
    ) -> Result<(Outcome, BTreeMap<PeerKey, U256>)> {
        let outcome = self.round.settle(CALL_EPOCH + 4).map_err(Failure::new)?;
        let payouts = outcome.settlement.payouts;
        for (worker, amount) in &payouts {
            let to = accounts.get(worker).copied();
            let to = to.ok_or_else(|| Failure::new(format_args!("{worker} has no account")))?;
            let call = token::TransferTokens { to, value: *amount };
            ledger
                .send(DEVELOPER, ledger.token(), &call, U256::ZERO)
                .await?;
        }
        let sum = |amounts: &BTreeMap<PeerKey, U256>| {
            let add = |sum: U256, amount: &U256| sum.saturating_add(*amount);
            amounts.values().fold(U256::ZERO, add).to_string()
        };
        let summary = Outcome {
            tickets: self.books.values().map(|book| book.tree().count()).sum(),
            golden,
            pool: self.pool.to_string(),
            remainder: outcome.settlement.remainder.to_string(),
            bonds_returned: sum(&outcome.returned),
            bonds_burned: sum(&outcome.burned),
        };
        Ok((summary, payouts))
    }
}
