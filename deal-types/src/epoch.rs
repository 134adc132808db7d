//! Epochs, identifiers and amounts that anyone can compute from what is on the chain.

use crate::{Address, Bytes32, U256, abi, hash::keccak256_of, keccak256};

/// The unit of ratios and USD amounts: 1 is written as this.
pub const PRECISION: u64 = 10_000_000;

/// When epochs begin and end.
///
/// ```
/// use deal_types::EpochClock;
///
/// let clock = EpochClock::new(1_000, 15).ok_or("zero duration")?;
/// assert_eq!(clock.epoch_at(1_000), Some(1));
/// assert_eq!(clock.epoch_at(1_015), Some(2));
/// assert_eq!(clock.start_of(2), Some(1_015));
/// # Ok::<_, &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochClock {
    init_timestamp: u64,
    epoch_duration: u64,
}

impl EpochClock {
    /// Epochs of `epoch_duration` seconds from `init_timestamp` on; `None` for a duration of zero.
    #[must_use]
    pub fn new(init_timestamp: u64, epoch_duration: u64) -> Option<Self> {
        (epoch_duration > 0).then_some(Self {
            init_timestamp,
            epoch_duration,
        })
    }

    /// The epoch of a time in seconds since 1970: 1 and up, `None` before the first.
    #[must_use]
    pub fn epoch_at(&self, timestamp: u64) -> Option<u64> {
        let elapsed = timestamp.checked_sub(self.init_timestamp)?;
        // A duration of zero is impossible by construction.
        elapsed.checked_div(self.epoch_duration)?.checked_add(1)
    }

    /// When an epoch begins; `None` for epoch 0 and beyond 64 bits.
    #[must_use]
    pub fn start_of(&self, epoch: u64) -> Option<u64> {
        let elapsed = epoch.checked_sub(1)?.checked_mul(self.epoch_duration)?;
        self.init_timestamp.checked_add(elapsed)
    }

    /// Seconds in an epoch.
    #[must_use]
    pub fn epoch_duration(&self) -> u64 {
        self.epoch_duration
    }
}

/// The id of an offer: `input` is the whole input of the call that registers it, in block `block`.
#[must_use]
pub fn offer_id(provider: Address, block: u64, input: &[u8]) -> Bytes32 {
    let prefix = keccak256(b"fluence.market.offer")
        .to_uint()
        .wrapping_sub(U256::ONE);
    let block = Bytes32::from_uint(U256::from(block));
    keccak256_of(&[&Bytes32::from_uint(prefix).0, &provider.0, &block.0, input])
}

/// The id of the commitment that `createCommitment` makes in block `block`.
#[must_use]
pub fn commitment_id(
    block: u64,
    peer_id: Bytes32,
    duration: U256,
    delegator: Address,
    reward_delegation_rate: U256,
) -> Bytes32 {
    keccak256_of(&[
        &Bytes32::from_uint(U256::from(block)).0,
        &peer_id.0,
        &Bytes32::from_uint(duration).0,
        &delegator.0,
        &Bytes32::from_uint(reward_delegation_rate).0,
    ])
}

/// The nonce of the epoch after one whose last proof is this.
///
/// `previous_block` is the hash of the block before the one that holds the proof.
#[must_use]
pub fn next_global_nonce(
    global_nonce: Bytes32,
    previous_block: Bytes32,
    unit_id: Bytes32,
    local_nonce: Bytes32,
    result_hash: Bytes32,
) -> Bytes32 {
    keccak256_of(&[
        &global_nonce.0,
        &previous_block.0,
        &unit_id.0,
        &local_nonce.0,
        &result_hash.0,
    ])
}

/// Collateral for a unit in wei, from amounts in USD times [`PRECISION`].
///
/// `None` for a price of zero and for results over 256 bits.
#[must_use]
pub fn flt_collateral_per_unit(usd_collateral_per_unit: U256, flt_price: U256) -> Option<U256> {
    let precision = U256::from(PRECISION);
    let flt = usd_collateral_per_unit
        .checked_mul(precision)?
        .checked_div(flt_price)?;
    flt.checked_mul(U256::from(1_000_000_000_000_000_000_u64))?
        .checked_div(precision)
}

/// The topic under which peers look for events of theirs: their id as it stands in a topic.
#[must_use]
pub fn address_topic(address: Address) -> Bytes32 {
    let word = abi::encode(&[abi::Type::Address], &[abi::Value::Address(address)]);
    word.ok()
        .and_then(|word| word.try_into().ok())
        .map(Bytes32)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collateral_of_the_local_chain() {
        // 0.1 USD at 1 USD.
        let collateral = flt_collateral_per_unit(U256::from(1_000_000), U256::from(PRECISION));
        assert_eq!(collateral, Some(U256::from(100_000_000_000_000_000_u64)));
        assert_eq!(flt_collateral_per_unit(U256::ONE, U256::ZERO), None);
        assert_eq!(flt_collateral_per_unit(U256::MAX, U256::ONE), None);
    }

    #[test]
    fn commitment_of_a_recorded_transaction() {
        let peer: Bytes32 = "0x67a692643121a810c0dc3bd0d02d0e8b4d798453f2904c3a6f8b202566d001b0"
            .parse()
            .unwrap();
        let delegator = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
            .parse()
            .unwrap();
        let id = commitment_id(18, peer, U256::from(60), delegator, U256::from(5_000_000));
        assert_eq!(
            id.to_string(),
            "0xa7f7d1e4e79269ce8749eb62d43dacc6052821c7242fa8414fe6dff456508393"
        );
    }

    #[test]
    fn clocks_do_not_overflow() {
        assert_eq!(EpochClock::new(5, 0), None);
        let clock = EpochClock::new(5, 1).unwrap();
        assert_eq!(clock.epoch_at(4), None);
        assert_eq!(clock.start_of(0), None);
        assert_eq!(clock.start_of(u64::MAX), None);
        assert_eq!(EpochClock::new(0, 1).unwrap().epoch_at(u64::MAX), None);
        assert_eq!(
            address_topic(Address([0xff; 20])).0[..13],
            [&[0; 12][..], &[0xff]].concat()
        );
    }
}
