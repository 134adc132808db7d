//! The price of the network's token over time.

use crate::{PRECISION, U256};

/// Prices with the time from which they hold. Time is cut into periods since 1970, and the last price
/// of a period is that of all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PriceHistory {
    /// Seconds of a period.
    period: u64,
    /// The first second of a period, price in 10⁻⁷ USD.
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
    pub(super) fn new(timestamp: u64, period: u64, price: U256) -> Self {
        let mut history = Self {
            period: period.max(1),
            changes: Vec::new(),
        };
        history.set(timestamp, price);
        history
    }

    fn start_of_period(&self, timestamp: u64) -> u64 {
        timestamp - timestamp % self.period
    }

    pub(super) fn current(&self) -> U256 {
        self.changes
            .last()
            .map(|change| change.1)
            .unwrap_or_default()
    }

    pub(super) fn set(&mut self, timestamp: u64, price: U256) {
        let timestamp = self.start_of_period(timestamp);
        match self.changes.last_mut() {
            Some(last) if last.0 == timestamp => last.1 = price,
            _ => self.changes.push((timestamp, price)),
        }
    }

    /// What the least unit of a payment was worth in wei, in the mean over the periods from that of one
    /// time until before that of another.
    pub(super) fn mean_reverse(&self, from: u64, to: u64) -> U256 {
        let (from, to) = (self.start_of_period(from), self.start_of_period(to));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_price_of_a_period_is_that_of_all_of_it() {
        let mut prices = PriceHistory::new(1_000, 15, U256::from(10_000_000));
        // As the contracts computed: twenty-one periods at one price, one at the other.
        prices.set(1_424, U256::from(5_000_000));
        prices.set(1_424, U256::from(16_000_000));
        prices.set(1_425, U256::from(3_000_000));
        let mean = |from, to| prices.mean_reverse(from, to);
        assert_eq!(mean(1_105, 1_435), U256::from(98_295_450_000_u64));
        assert_eq!(mean(1_105, 1_439), mean(1_095, 1_425));
        assert_eq!(mean(1_105, 1_410), U256::from(100_000_000_000_u64));
        assert_eq!(mean(1_440, 1_440), U256::ZERO);
        assert_eq!(prices.current(), U256::from(3_000_000));
    }
}
