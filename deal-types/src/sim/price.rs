//! The price of the network's token over time.

use crate::{PRECISION, U256};

/// Prices with the time from which they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PriceHistory {
    /// Time, price in 10⁻⁷ USD.
    changes: Vec<(u64, U256)>,
}

/// Tokens for a USD, in 10⁻⁷, at a price of 10⁻⁷ USD.
fn reverse(price: U256) -> U256 {
    let precision = U256::from(PRECISION);
    let square = precision.saturating_mul(precision);
    square.checked_div(price).unwrap_or_default()
}

/// Tokens in wei for the least unit of a payment token with six digits, for one in 10⁻⁷ for a USD.
const WEI: u64 = 10_000;

impl PriceHistory {
    pub(super) fn new(timestamp: u64, price: U256) -> Self {
        Self {
            changes: vec![(timestamp, price)],
        }
    }

    pub(super) fn current(&self) -> U256 {
        self.changes
            .last()
            .map(|change| change.1)
            .unwrap_or_default()
    }

    pub(super) fn set(&mut self, timestamp: u64, price: U256) {
        match self.changes.last_mut() {
            Some(last) if last.0 == timestamp => last.1 = price,
            _ => self.changes.push((timestamp, price)),
        }
    }

    /// What the least unit of a payment was worth in wei, in the mean over a time that is not empty.
    pub(super) fn mean_reverse(&self, from: u64, to: u64) -> U256 {
        let mut sum = U256::ZERO;
        let mut end = to;
        for (since, price) in self.changes.iter().rev() {
            let begin = (*since).max(from);
            if begin < end {
                let part = reverse(*price).saturating_mul(U256::from(end - begin));
                sum = sum.saturating_add(part);
                end = begin;
            }
            if *since <= from {
                break;
            }
        }
        let length = U256::from(to.saturating_sub(from));
        let mean = sum.checked_div(length).unwrap_or_default();
        mean.saturating_mul(U256::from(WEI))
    }
}
