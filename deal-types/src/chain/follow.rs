//! Following a chain: events in order, taken back when the chain takes blocks back.

use std::collections::VecDeque;

use super::{Chain, ChainError, ChainLog, Head, LogFilter, MAX_LOGS};
use crate::Bytes32;

/// How a chain is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerConfig {
    /// Blocks that may be taken back; older ones are final.
    pub depth: u64,
    /// Blocks that one step reads.
    pub batch: u64,
}

impl Default for FollowerConfig {
    fn default() -> Self {
        Self {
            depth: 64,
            batch: 256,
        }
    }
}

/// What a chain did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// A new block; its log entries follow.
    Block(Head),
    /// A log entry.
    Log(ChainLog),
    /// A log entry that is no more: its block was taken back. The newest come first.
    Undone(ChainLog),
    /// A block that is no more; its log entries were undone before.
    BlockUndone(Head),
}

/// Why a step failed. Nothing that the step saw was told; the next one tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The chain did not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// More blocks were taken back than can be.
    #[error(
        "block {number} is {actual} where {known} was known, and no block of the last {depth} is left"
    )]
    TooDeep {
        /// The oldest block that is known.
        number: u64,
        /// Its hash now; zero if the chain is shorter.
        actual: Bytes32,
        /// The hash that was known.
        known: Bytes32,
        /// How many blocks are kept.
        depth: u64,
    },
    /// What the node tells does not fit together: a block under another number, log entries of other
    /// blocks, or ones that were not asked for.
    #[error("the node tells {what} in block {number}")]
    Inconsistent {
        /// The block.
        number: u64,
        /// What does not fit.
        what: String,
    },
}

#[derive(Clone, Debug)]
struct Known {
    head: Head,
    logs: Vec<ChainLog>,
}

/// Reads the events of a chain from a block on.
///
/// The chain may stall, go backwards and come back with other blocks. Blocks are kept until
/// `depth` others stand on them, so memory is bounded.
///
/// ```
/// use deal_types::chain::{Chain, ChainEvent, Follower, LogFilter};
///
/// async fn print(chain: &dyn Chain) -> Result<(), Box<dyn std::error::Error>> {
///     let mut follower = Follower::new(LogFilter::default(), 1, Default::default());
///     loop {
///         for event in follower.step(chain).await? {
///             println!("{event:?}");
///         }
///         chain.changed().await;
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Follower {
    filter: LogFilter,
    config: FollowerConfig,
    /// The first block that is not read.
    next: u64,
    known: VecDeque<Known>,
}

impl Follower {
    /// A follower that begins with block `from`.
    #[must_use]
    pub fn new(filter: LogFilter, from: u64, config: FollowerConfig) -> Self {
        Self {
            filter,
            config,
            next: from,
            known: VecDeque::new(),
        }
    }

    /// The first block that is not read yet. One that continues after a restart begins at
    /// [`Follower::safe_start`].
    #[must_use]
    pub fn next_block(&self) -> u64 {
        self.next
    }

    /// The first block that can still be taken back; everything before it is final.
    #[must_use]
    pub fn safe_start(&self) -> u64 {
        self.known
            .front()
            .map_or(self.next, |known| known.head.number)
    }

    /// Whether all blocks up to `head` are read.
    #[must_use]
    pub fn is_at(&self, head: &Head) -> bool {
        self.next == head.number.saturating_add(1)
    }

    /// Reads what is new, at most `batch` blocks; empty when nothing is.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn step(&mut self, chain: &dyn Chain) -> Result<Vec<ChainEvent>, FollowError> {
        let head = chain.head().await?;
        let mut next = self.clone();
        let events = next.advance(chain, head).await?;
        *self = next;
        Ok(events)
    }

    async fn advance(
        &mut self,
        chain: &dyn Chain,
        head: Head,
    ) -> Result<Vec<ChainEvent>, FollowError> {
        let mut events = Vec::new();
        let Some(kept) = self.common(chain, head).await? else {
            return Ok(events);
        };
        while let Some(last) = self.known.back().filter(|last| last.head.number >= kept) {
            self.next = last.head.number;
            if let Some(gone) = self.known.pop_back() {
                events.extend(gone.logs.into_iter().rev().map(ChainEvent::Undone));
                events.push(ChainEvent::BlockUndone(gone.head));
            }
        }
        let last = head.number.min(
            self.next
                .saturating_add(self.config.batch)
                .saturating_sub(1),
        );
        let final_before = head.number.saturating_sub(self.config.depth);
        if self.next < final_before {
            self.read_final(chain, last.min(final_before - 1), &mut events)
                .await?;
        }
        while self.next <= last {
            let fetched = if self.next == head.number {
                Some(head)
            } else {
                chain.block(self.next).await?
            };
            // The chain became shorter meanwhile.
            let Some(block) = fetched else { break };
            self.read_block(chain, block, &mut events).await?;
        }
        Ok(events)
    }

    /// The first block that has to be read: everything known from it on is no more. `None` when
    /// there is nothing to do because the node knows no more than we do.
    async fn common(&self, chain: &dyn Chain, head: Head) -> Result<Option<u64>, FollowError> {
        let Some(first) = self.known.front() else {
            return Ok((head.number >= self.next).then_some(self.next));
        };
        let mut lost = None;
        for known in self
            .known
            .iter()
            .rev()
            .filter(|known| known.head.number <= head.number)
        {
            let number = known.head.number;
            let actual = if number == head.number {
                Some(head)
            } else {
                chain.block(number).await?
            };
            if actual.is_some_and(|actual| actual.hash == known.head.hash) {
                return Ok((number < head.number).then_some(number.saturating_add(1)));
            }
            lost = Some(actual.unwrap_or_default().hash);
        }
        match lost {
            // A chain that is shorter than all that is known: the node has to catch up.
            None => Ok(None),
            Some(actual) if self.known.len() as u64 >= self.config.depth => {
                Err(FollowError::TooDeep {
                    number: first.head.number,
                    actual,
                    known: first.head.hash,
                    depth: self.config.depth,
                })
            }
            Some(_) => Ok(Some(first.head.number)),
        }
    }

    /// Log entries of blocks that cannot be taken back.
    async fn read_final(
        &mut self,
        chain: &dyn Chain,
        last: u64,
        events: &mut Vec<ChainEvent>,
    ) -> Result<(), FollowError> {
        let logs = chain.logs(&self.filter, self.next, last).await?;
        self.check(&logs, self.next, last, None)?;
        events.extend(logs.into_iter().map(ChainEvent::Log));
        self.known.clear();
        self.next = last.saturating_add(1);
        Ok(())
    }

    async fn read_block(
        &mut self,
        chain: &dyn Chain,
        block: Head,
        events: &mut Vec<ChainEvent>,
    ) -> Result<(), FollowError> {
        let number = self.next;
        let inconsistent = |what: String| FollowError::Inconsistent { number, what };
        if block.number != number {
            return Err(inconsistent(format!("number {}", block.number)));
        }
        if let Some(last) = self.known.back() {
            if block.parent != last.head.hash {
                return Err(inconsistent(format!(
                    "parent {} instead of {}",
                    block.parent, last.head.hash
                )));
            }
            if block.timestamp < last.head.timestamp {
                return Err(inconsistent(format!(
                    "time {} before {}",
                    block.timestamp, last.head.timestamp
                )));
            }
        }
        let logs = chain.logs(&self.filter, number, number).await?;
        self.check(&logs, number, number, Some(block.hash))?;
        events.push(ChainEvent::Block(block));
        events.extend(logs.iter().cloned().map(ChainEvent::Log));
        self.known.push_back(Known { head: block, logs });
        while self.known.len() as u64 > self.config.depth {
            self.known.pop_front();
        }
        self.next = number.saturating_add(1);
        Ok(())
    }

    fn check(
        &self,
        logs: &[ChainLog],
        from: u64,
        to: u64,
        hash: Option<Bytes32>,
    ) -> Result<(), FollowError> {
        let inconsistent = |number, what| Err(FollowError::Inconsistent { number, what });
        if logs.len() > MAX_LOGS {
            return inconsistent(from, format!("{} log entries, over {MAX_LOGS}", logs.len()));
        }
        let mut last = None;
        for log in logs {
            let place = (log.block, log.index);
            if log.block < from || log.block > to || last >= Some(place) {
                return inconsistent(log.block, format!("log {} out of place", log.index));
            }
            if hash.is_some_and(|hash| hash != log.block_hash) {
                return inconsistent(
                    log.block,
                    format!("log {} of block {}", log.index, log.block_hash),
                );
            }
            if !self.filter.matches(log.address, &log.log) {
                return inconsistent(
                    log.block,
                    format!("log {} that was not asked for", log.index),
                );
            }
            last = Some(place);
        }
        Ok(())
    }
}
