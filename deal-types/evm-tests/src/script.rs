//! Scripts that go through the life of a market.

use deal_types::{
    AccessType, Address, Bytes32,
    contract::{
        ActivateWorker, CreateCommitment, DeployDeal, DepositCollateral, DepositToDeal,
        DiamondReceive, FinishCommitment, MatchDeal, RegisterMarketOffer,
        RemoveUnitsFromCommitment, RemoveWorker, SetAppCid, SetDifficulty, SetFltPrice,
        SetProviderInfo, StopDeal, SubmitProof, SubmitProofs, WithdrawCollateral, WithdrawFromDeal,
        WithdrawReward, WithdrawRewards, token,
    },
    keccak256_of,
    market::RegisterComputePeer,
    sim::Params,
};

use crate::{
    both::{Both, account, cid, uint, word},
    evm::Code,
};

pub(crate) const PROVIDER: u8 = 2;
const STAKER: u8 = 3;
pub(crate) const CLIENT: u8 = 4;
const PEER_OWNER: u8 = 5;
const RATES: [u64; 3] = [5_000_000, 3_333_333, 10_000_000];

/// A generator of numbers that anyone can repeat.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() {
            return None;
        }
        let at = self.roll(items.len() as u64);
        items.get(usize::try_from(at).unwrap_or_default()).copied()
    }
}

/// Peers 10, 20, 30 with units 11, 12, 21, 22, 31, 32.
fn peer(number: u8) -> RegisterComputePeer {
    RegisterComputePeer {
        peer_id: word(number),
        owner: account(PEER_OWNER),
        unit_ids: vec![word(number + 1), word(number + 2)],
    }
}

const PEERS: [u8; 3] = [10, 20, 30];

pub(crate) fn offer(both: &Both, peers: Vec<RegisterComputePeer>) -> RegisterMarketOffer {
    RegisterMarketOffer {
        min_price_per_cu_per_epoch: uint(10),
        payment_token: both.token,
        effectors: vec![cid(1)],
        peers,
        min_protocol_version: uint(1),
        max_protocol_version: uint(1),
    }
}

/// Makes an offer of three committed peers.
fn prepare(both: &mut Both, duration: u64) -> Option<Bytes32> {
    let (provider, market) = (account(PROVIDER), both.market);
    let info = SetProviderInfo {
        name: "provider".into(),
        metadata: cid(1),
    };
    both.send(provider, market, &info, 0);
    let call = offer(both, PEERS.map(peer).to_vec());
    let (offer,) = both.send(provider, market, &call, 0)?;
    for (number, rate) in PEERS.into_iter().zip(RATES) {
        both.peers.push(word(number));
        commit(both, number, duration, rate);
    }
    let commitment_ids = both.commitments.clone();
    let collateral = 600_000_000_000_000_000;
    both.send(
        account(STAKER),
        market,
        &DepositCollateral { commitment_ids },
        collateral,
    );
    Some(offer)
}

fn commit(both: &mut Both, peer: u8, duration: u64, rate: u64) {
    let call = CreateCommitment {
        peer_id: word(peer),
        duration: uint(duration),
        delegator: account(STAKER),
        reward_delegation_rate: uint(rate),
    };
    if let Some((id,)) = both.send(account(PROVIDER), both.market, &call, 0) {
        both.commitments.push(id);
    }
}

pub(crate) fn wrap(both: &mut Both, amount: u64, spender: Address) {
    let (client, token) = (account(CLIENT), both.token);
    both.send(client, token, &token::Wrap {}, u128::from(amount));
    both.send(
        client,
        token,
        &token::Approve {
            spender,
            value: uint(amount),
        },
        0,
    );
}

pub(crate) fn terms(both: &Both, deposit: u64, min: u64, target: u64, units: u64) -> DeployDeal {
    DeployDeal {
        app_cid: cid(7),
        payment_token: both.token,
        deposit_amount: uint(deposit),
        min_workers: uint(min),
        target_workers: uint(target),
        cu_count_per_worker: uint(units),
        max_workers_per_provider: uint(3),
        price_per_cu_per_epoch: uint(11),
        effectors: vec![],
        access_type: AccessType::None,
        access_list: vec![],
        protocol_version: uint(1),
    }
}

pub(crate) fn deploy(both: &mut Both, terms: &DeployDeal) -> Option<Address> {
    let amount = u64::try_from(terms.deposit_amount).ok()?;
    wrap(both, amount, both.market);
    let (deal,) = both.send(account(CLIENT), both.market, terms, 0)?;
    both.deals.push(deal);
    Some(deal)
}

pub(crate) fn prove(both: &mut Both, unit: u8, number: u64) {
    let (epoch, nonce) = (both.epoch().to_be_bytes(), number.to_be_bytes());
    let call = SubmitProof {
        unit_id: word(unit),
        local_unit_nonce: keccak256_of(&[&[unit], &epoch, &nonce]),
        result_hash: word(0),
    };
    both.send(account(PEER_OWNER), both.market, &call, 0);
}

/// The whole life: offer, commitments, proofs, deal, workers, rewards, end.
pub fn life(code: &Code) -> Result<Both, String> {
    let mut both = Both::new(code, &Params::default())?;
    let market = both.market;
    let offer = prepare(&mut both, 20).ok_or("no offer")?;
    both.next_epoch();
    for unit in [11, 12, 21] {
        prove(&mut both, unit, 1);
        prove(&mut both, unit, 2);
    }
    prove(&mut both, 21, 2);
    both.ask_all();
    both.next_epoch();
    let terms = terms(&both, 1_000, 1, 2, 2);
    let deal = deploy(&mut both, &terms).ok_or("no deal")?;
    let groups = vec![
        vec![word(11), word(12)],
        vec![word(21), word(22)],
        vec![word(31), word(32)],
    ];
    let call = MatchDeal {
        deal,
        offers: vec![offer],
        compute_units: vec![groups],
    };
    both.send(account(PROVIDER), market, &call, 0);
    both.send(account(CLIENT), market, &call, 0);
    both.ask_all();
    for (number, epochs) in [(1, 2), (2, 3)] {
        let onchain_id = Bytes32::from_uint(uint(number));
        let offchain_id = word(0xa0 + u8::try_from(number).unwrap_or_default());
        both.send(
            account(PEER_OWNER),
            deal,
            &ActivateWorker {
                onchain_id,
                offchain_id,
            },
            0,
        );
        for _ in 0..epochs {
            both.next_epoch();
            both.ask_all();
        }
    }
    let first = Bytes32::from_uint(uint(1));
    both.send(
        account(PROVIDER),
        deal,
        &WithdrawRewards { onchain_id: first },
        0,
    );
    both.send(account(CLIENT), deal, &SetAppCid { app_cid: cid(8) }, 0);
    both.send(
        account(PROVIDER),
        deal,
        &RemoveWorker { onchain_id: first },
        0,
    );
    both.ask_all();
    both.next_epoch();
    prove(&mut both, 11, 1);
    prove(&mut both, 11, 2);
    both.send(account(CLIENT), deal, &StopDeal {}, 0);
    both.ask_all();
    both.to_epoch(both.epoch() + 4);
    both.send(
        account(CLIENT),
        deal,
        &WithdrawFromDeal { amount: uint(100) },
        0,
    );
    let second = Bytes32::from_uint(uint(2));
    both.send(
        account(PROVIDER),
        deal,
        &RemoveWorker { onchain_id: second },
        0,
    );
    both.send(account(1), market, &DiamondReceive {}, 10_u128.pow(24));
    for epoch in [20, 24, 30, 60] {
        both.to_epoch(epoch);
        both.ask_all();
        for commitment_id in both.commitments.clone() {
            both.send(
                account(STAKER),
                market,
                &WithdrawReward { commitment_id },
                0,
            );
        }
    }
    for (commitment_id, number) in both.commitments.clone().into_iter().zip(PEERS) {
        let unit_ids = vec![word(number + 1), word(number + 2)];
        both.send(
            account(PROVIDER),
            market,
            &RemoveUnitsFromCommitment {
                commitment_id,
                unit_ids,
            },
            0,
        );
        both.send(
            account(PROVIDER),
            market,
            &FinishCommitment { commitment_id },
            0,
        );
    }
    both.ask_all();
    Ok(both)
}

/// Steps that a die chooses.
pub fn random(code: &Code, seed: u64, steps: u64) -> Result<Both, String> {
    let mut dice = Dice::new(seed);
    let params = Params {
        slashing_rate: uint(dice.roll(3) * 77_777),
        max_failed_ratio: 3 + dice.roll(10),
        withdraw_epochs_after_failed: dice.roll(4),
        vesting_period_duration: 1 + dice.roll(3),
        vesting_period_count: 2 + dice.roll(4),
        ..Params::default()
    };
    let mut both = Both::new(code, &params)?;
    let offer = prepare(&mut both, 10 + dice.roll(30)).ok_or("no offer")?;
    both.send(account(1), both.market, &DiamondReceive {}, 10_u128.pow(24));
    for _ in 0..steps {
        step(&mut both, &mut dice, offer);
        if dice.roll(4) == 0 {
            both.ask_all();
        }
        if both.differences.len() > 3 {
            break;
        }
    }
    both.ask_all();
    Ok(both)
}

const UNITS: [u8; 6] = [11, 12, 21, 22, 31, 32];

fn step(both: &mut Both, dice: &mut Dice, offer: Bytes32) {
    let market = both.market;
    let sender = account(
        *[PROVIDER, STAKER, CLIENT, PEER_OWNER]
            .get(dice.roll(4) as usize)
            .unwrap_or(&PROVIDER),
    );
    let unit = dice.pick(&UNITS).unwrap_or(11);
    let commitment_id = dice.pick(&both.commitments).unwrap_or_default();
    let onchain_id = Bytes32::from_uint(uint(1 + dice.roll(4)));
    let deal = dice.pick(&both.deals);
    match dice.roll(32) {
        0..6 => {
            for unit in UNITS {
                if dice.roll(3) > 0 {
                    for number in 0..1 + dice.roll(4) {
                        prove(both, unit, number);
                    }
                }
            }
        }
        6..12 => both.next_epoch(),
        12 => both.wait(dice.roll(40)),
        13 => {
            let nonces: Vec<Bytes32> = (0..3).map(|n| word(n + dice.roll(200) as u8)).collect();
            let call = SubmitProofs {
                unit_ids: vec![word(unit); 3],
                result_hashes: nonces.clone(),
                local_unit_nonces: nonces,
            };
            both.send(account(PEER_OWNER), market, &call, 0);
        }
        14 | 15 if both.deals.len() < 2 => {
            let terms = terms(
                both,
                30 + dice.roll(600),
                1 + dice.roll(2),
                1 + dice.roll(3),
                1 + dice.roll(2),
            );
            deploy(both, &terms);
        }
        14..18 => {
            let Some(deal) = deal else { return };
            let groups = PEERS.iter().flat_map(|peer| {
                let (first, second) = (word(peer + 1), word(peer + 2));
                match dice.roll(3) {
                    0 => vec![vec![first, second]],
                    1 => vec![vec![first], vec![second]],
                    _ => vec![vec![second]],
                }
            });
            let call = MatchDeal {
                deal,
                offers: vec![offer],
                compute_units: vec![groups.collect()],
            };
            both.send(account(CLIENT), market, &call, 0);
        }
        18 | 19 => {
            let Some(deal) = deal else { return };
            let offchain_id = word(0xa0 + dice.roll(9) as u8);
            both.send(
                account(PEER_OWNER),
                deal,
                &ActivateWorker {
                    onchain_id,
                    offchain_id,
                },
                0,
            );
        }
        20 => {
            let Some(deal) = deal else { return };
            both.send(sender, deal, &RemoveWorker { onchain_id }, 0);
        }
        21 => {
            let Some(deal) = deal else { return };
            both.send(sender, deal, &WithdrawRewards { onchain_id }, 0);
        }
        22 => {
            let Some(deal) = deal else { return };
            let amount = dice.roll(200);
            wrap(both, amount, deal);
            both.send(
                account(CLIENT),
                deal,
                &DepositToDeal {
                    amount: uint(amount),
                },
                0,
            );
        }
        23 => {
            let Some(deal) = deal else { return };
            both.send(
                account(CLIENT),
                deal,
                &WithdrawFromDeal {
                    amount: uint(dice.roll(200)),
                },
                0,
            );
        }
        24 if dice.roll(4) == 0 => {
            let Some(deal) = deal else { return };
            both.send(sender, deal, &StopDeal {}, 0);
        }
        24 | 25 => {
            both.send(sender, market, &WithdrawReward { commitment_id }, 0);
        }
        26 => {
            both.send(sender, market, &WithdrawCollateral { commitment_id }, 0);
        }
        27 => {
            let unit_ids = vec![word(unit)];
            both.send(
                account(PROVIDER),
                market,
                &RemoveUnitsFromCommitment {
                    commitment_id,
                    unit_ids,
                },
                0,
            );
        }
        28 => {
            both.send(sender, market, &FinishCommitment { commitment_id }, 0);
        }
        29 => {
            let price = 1_000_000 * (1 + dice.roll(40));
            both.send(
                account(1),
                market,
                &SetFltPrice {
                    flt_price: uint(price),
                },
                0,
            );
        }
        30 => {
            let peer = dice.pick(&PEERS).unwrap_or(10);
            commit(both, peer, 10 + dice.roll(10), 1 + dice.roll(10_000_000));
            let commitment_ids = vec![both.commitments.last().copied().unwrap_or_default()];
            both.send(
                account(STAKER),
                market,
                &DepositCollateral { commitment_ids },
                200_000_000_000_000_000,
            );
        }
        _ => {
            let mut difficulty = Bytes32([0xff; 32]);
            difficulty.0[0] = dice.roll(2) as u8;
            both.send(account(1), market, &SetDifficulty { difficulty }, 0);
        }
    }
}
