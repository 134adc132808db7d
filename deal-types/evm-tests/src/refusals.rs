//! Calls that the contracts refuse, and what they say.

use deal_types::{
    AccessType, Address, Bytes32, U256,
    contract::{
        ActivateWorker, AddComputePeers, AddComputeUnits, AddEffector, ChangeMinPricePerCuPerEpoch,
        CreateCommitment, DeployDeal, DepositCollateral, GrantAccess, MatchDeal,
        RegisterMarketOffer, RemoveCommitment, RemoveComputePeer, RemoveComputeUnit,
        RemoveEffector, RemoveOffer, RemoveWorker, SetProviderInfo, WithdrawRewards,
    },
    market::RegisterComputePeer,
    sim::Params,
};

use crate::{
    both::{Both, account, cid, uint, word},
    evm::Code,
    script::{CLIENT, PROVIDER, deploy, offer, prove, terms, wrap},
};

/// Calls that are refused, or nearly.
pub fn refusals(code: &Code) -> Result<Both, String> {
    let params = Params {
        whitelist: true,
        max_units_per_provider: 7,
        max_units_per_commitment: 3,
        ..Params::default()
    };
    let mut both = Both::new(code, &params)?;
    let (p, c, market) = (account(PROVIDER), account(CLIENT), both.market);
    let one = |units: &[u8]| RegisterComputePeer {
        peer_id: word(10),
        owner: p,
        unit_ids: units.iter().map(|unit| word(*unit)).collect(),
    };
    let good = offer(&both, vec![one(&[11, 12])]);
    both.send(p, market, &good, 0);
    both.send(
        p,
        market,
        &SetProviderInfo {
            name: String::new(),
            metadata: cid(1),
        },
        0,
    );
    both.send(
        p,
        market,
        &SetProviderInfo {
            name: "P".into(),
            metadata: cid(1),
        },
        0,
    );
    for bad in [
        RegisterMarketOffer {
            min_price_per_cu_per_epoch: U256::ZERO,
            ..good.clone()
        },
        RegisterMarketOffer {
            payment_token: account(77),
            ..good.clone()
        },
        RegisterMarketOffer {
            payment_token: Address::ZERO,
            ..good.clone()
        },
        RegisterMarketOffer {
            peers: vec![one(&[])],
            ..good.clone()
        },
        RegisterMarketOffer {
            peers: vec![RegisterComputePeer {
                peer_id: word(0),
                ..one(&[11])
            }],
            ..good.clone()
        },
        RegisterMarketOffer {
            peers: vec![one(&[0])],
            ..good.clone()
        },
        RegisterMarketOffer {
            peers: vec![one(&[11, 11])],
            ..good.clone()
        },
        RegisterMarketOffer {
            peers: vec![one(&[1, 2, 3, 4, 5, 6, 7, 8])],
            ..good.clone()
        },
        RegisterMarketOffer {
            min_protocol_version: U256::ZERO,
            ..good.clone()
        },
        RegisterMarketOffer {
            max_protocol_version: uint(2),
            ..good.clone()
        },
        RegisterMarketOffer {
            min_protocol_version: uint(2),
            ..good.clone()
        },
    ] {
        both.send(p, market, &bad, 0);
    }
    let Some((offer_id,)) = both.send(p, market, &good, 0) else {
        return Ok(both);
    };
    both.peers.push(word(10));
    both.send(p, market, &good, 0);
    let more = RegisterComputePeer {
        peer_id: word(20),
        ..one(&[21])
    };
    both.send(
        c,
        market,
        &AddComputePeers {
            offer_id,
            peers: vec![more.clone()],
        },
        0,
    );
    both.send(
        p,
        market,
        &AddComputePeers {
            offer_id: word(9),
            peers: vec![more.clone()],
        },
        0,
    );
    both.send(
        p,
        market,
        &AddComputePeers {
            offer_id,
            peers: vec![more],
        },
        0,
    );
    both.send(
        p,
        market,
        &AddComputePeers {
            offer_id,
            peers: vec![],
        },
        0,
    );
    for (sender, peer, units) in [
        (p, 99, vec![22]),
        (c, 20, vec![22]),
        (p, 20, vec![]),
        (p, 20, vec![22, 23]),
    ] {
        let unit_ids = units.into_iter().map(word).collect();
        both.send(
            sender,
            market,
            &AddComputeUnits {
                peer_id: word(peer),
                unit_ids,
            },
            0,
        );
    }
    both.send(
        c,
        market,
        &ChangeMinPricePerCuPerEpoch {
            offer_id,
            min_price_per_cu_per_epoch: uint(1),
        },
        0,
    );
    both.send(
        p,
        market,
        &ChangeMinPricePerCuPerEpoch {
            offer_id,
            min_price_per_cu_per_epoch: uint(0),
        },
        0,
    );
    both.send(
        p,
        market,
        &ChangeMinPricePerCuPerEpoch {
            offer_id,
            min_price_per_cu_per_epoch: uint(1),
        },
        0,
    );
    for effector in [1, 2] {
        both.send(
            p,
            market,
            &AddEffector {
                offer_id,
                effectors: vec![cid(effector)],
            },
            0,
        );
    }
    both.send(
        p,
        market,
        &RemoveEffector {
            offer_id,
            effectors: vec![cid(3)],
        },
        0,
    );
    both.send(
        p,
        market,
        &RemoveEffector {
            offer_id,
            effectors: vec![cid(2)],
        },
        0,
    );
    both.send(p, market, &RemoveOffer { offer_id }, 0);
    both.send(p, market, &RemoveComputePeer { peer_id: word(20) }, 0);
    both.send(c, market, &RemoveComputePeer { peer_id: word(20) }, 0);
    both.send(c, market, &RemoveComputeUnit { unit_id: word(21) }, 0);
    both.send(p, market, &RemoveComputeUnit { unit_id: word(21) }, 0);
    let commitment = CreateCommitment {
        peer_id: word(10),
        duration: uint(20),
        delegator: Address::ZERO,
        reward_delegation_rate: uint(5),
    };
    both.send(p, market, &commitment, 0);
    both.send(both.owner, market, &GrantAccess { account: p }, 0);
    both.send(c, market, &GrantAccess { account: c }, 0);
    for bad in [
        CreateCommitment {
            peer_id: word(99),
            ..commitment.clone()
        },
        CreateCommitment {
            duration: uint(9),
            ..commitment.clone()
        },
        CreateCommitment {
            duration: uint(1_001),
            ..commitment.clone()
        },
        CreateCommitment {
            reward_delegation_rate: U256::ZERO,
            ..commitment.clone()
        },
        CreateCommitment {
            reward_delegation_rate: uint(10_000_001),
            ..commitment.clone()
        },
    ] {
        both.send(p, market, &bad, 0);
    }
    both.send(c, market, &commitment, 0);
    let Some((id,)) = both.send(p, market, &commitment, 0) else {
        return Ok(both);
    };
    both.send(p, market, &commitment, 0);
    both.send(c, market, &RemoveCommitment { commitment_id: id }, 0);
    both.send(
        c,
        market,
        &DepositCollateral {
            commitment_ids: vec![word(9)],
        },
        0,
    );
    both.send(
        c,
        market,
        &DepositCollateral {
            commitment_ids: vec![id],
        },
        1,
    );
    both.send(
        c,
        market,
        &DepositCollateral {
            commitment_ids: vec![id],
        },
        300_000_000_000_000_000,
    );
    both.send(p, market, &RemoveCommitment { commitment_id: id }, 0);
    let Some((id,)) = both.send(p, market, &commitment, 0) else {
        return Ok(both);
    };
    both.commitments.push(id);
    both.next_epoch();
    prove(&mut both, 11, 1);
    both.send(
        c,
        market,
        &DepositCollateral {
            commitment_ids: vec![id],
        },
        200_000_000_000_000_000,
    );
    both.send(
        c,
        market,
        &DepositCollateral {
            commitment_ids: vec![id],
        },
        200_000_000_000_000_000,
    );
    both.ask_all();
    wrap(&mut both, 1_000, market);
    let good = terms(&both, 100, 1, 2, 1);
    for bad in [
        DeployDeal {
            deposit_amount: uint(40),
            ..good.clone()
        },
        DeployDeal {
            deposit_amount: uint(2_000),
            ..good.clone()
        },
        DeployDeal {
            min_workers: U256::ZERO,
            ..good.clone()
        },
        DeployDeal {
            min_workers: uint(3),
            ..good.clone()
        },
        DeployDeal {
            cu_count_per_worker: U256::ZERO,
            ..good.clone()
        },
        DeployDeal {
            payment_token: account(77),
            ..good.clone()
        },
        DeployDeal {
            price_per_cu_per_epoch: U256::MAX,
            ..good.clone()
        },
    ] {
        both.send(c, market, &bad, 0);
    }
    // No commitment is needed where providers are chosen by name.
    let chosen = DeployDeal {
        access_type: AccessType::Whitelist,
        access_list: vec![p],
        effectors: vec![cid(1)],
        ..good.clone()
    };
    let strict = [
        good.clone(),
        DeployDeal {
            protocol_version: uint(9),
            ..good.clone()
        },
        chosen,
        DeployDeal {
            effectors: vec![cid(5)],
            ..good.clone()
        },
        DeployDeal {
            access_type: AccessType::Blacklist,
            access_list: vec![p],
            ..good
        },
    ];
    for terms in strict {
        let Some(deal) = deploy(&mut both, &terms) else {
            continue;
        };
        for groups in [
            vec![],
            vec![vec![]],
            vec![vec![word(9)]],
            vec![vec![word(11), word(12)]],
            vec![vec![word(22)]],
        ] {
            let call = MatchDeal {
                deal,
                offers: vec![offer_id],
                compute_units: vec![groups],
            };
            both.send(c, market, &call, 0);
        }
        let call = MatchDeal {
            deal,
            offers: vec![word(9)],
            compute_units: vec![vec![vec![word(22)]]],
        };
        both.send(c, market, &call, 0);
        let onchain_id = Bytes32::from_uint(uint(1));
        both.send(
            p,
            deal,
            &ActivateWorker {
                onchain_id,
                offchain_id: Bytes32::ZERO,
            },
            0,
        );
        both.send(
            p,
            deal,
            &ActivateWorker {
                onchain_id,
                offchain_id: word(0xaa),
            },
            0,
        );
        both.next_epoch();
        both.next_epoch();
        both.ask_all();
        both.send(p, deal, &WithdrawRewards { onchain_id }, 0);
        both.send(c, deal, &RemoveWorker { onchain_id }, 0);
    }
    both.ask_all();
    Ok(both)
}
