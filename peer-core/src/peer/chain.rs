//! The chain that a configuration names.

use std::sync::Arc;

use deal_types::{
    Address, PeerKey, U256,
    chain::{
        Chain, PeerMarket, Wallet,
        rpc::{Endpoint, RpcChain, RpcConfig},
    },
    peer_chain::PeerChain,
};
use particle::PeerId;

use super::PeerError;
use crate::config::ChainConfig;

/// The market as this peer sees it.
pub(super) struct Market {
    chain: Arc<dyn Chain>,
    address: Address,
    peer: PeerKey,
}

impl Market {
    /// Nothing is sent yet: a chain that cannot be reached fails the questions, not the start.
    pub(super) fn connect(config: &ChainConfig, peer: PeerId) -> Result<Self, PeerError> {
        let endpoint: Endpoint = config
            .http_endpoint
            .parse()
            .map_err(wrong("chain_config.http_endpoint"))?;
        let address: Address = config
            .diamond_contract_address
            .parse()
            .map_err(wrong("chain_config.diamond_contract_address"))?;
        let wallet =
            Wallet::from_hex(&config.wallet_key).map_err(wrong("chain_config.wallet_key"))?;
        let peer = PeerKey::from_peer_id_bytes(&peer.to_bytes())
            .map_err(|source| PeerError::ChainKey { source })?;
        let mut settings = RpcConfig::new(config.network_id);
        if let Some(fee) = config.default_priority_fee {
            settings.priority_fee = U256::from(fee);
        }
        Ok(Self {
            chain: Arc::new(RpcChain::new(endpoint, settings, Some(wallet))),
            address,
            peer,
        })
    }

    /// What scripts ask.
    pub(super) fn deals(&self) -> Arc<dyn PeerChain> {
        let chain = self.chain.clone();
        Arc::new(PeerMarket::new(chain, self.address, self.peer))
    }

    /// What is proven.
    #[cfg(feature = "capacity")]
    pub(super) fn capacity(&self) -> deal_types::chain::CapacityMarket {
        let chain = self.chain.clone();
        deal_types::chain::CapacityMarket::new(chain, self.address, self.peer)
    }
}

fn wrong<E: std::fmt::Display>(key: &'static str) -> impl FnOnce(E) -> PeerError {
    move |error| PeerError::Setting {
        key,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use particle::KeyPair;

    use super::*;

    fn config() -> ChainConfig {
        ChainConfig {
            http_endpoint: "http://127.0.0.1:1/secret".to_owned(),
            diamond_contract_address: format!("0x{}", "ab".repeat(20)),
            network_id: 31_337,
            wallet_key: format!("0x{}", "11".repeat(32)),
            default_base_fee: None,
            default_priority_fee: Some(7),
        }
    }

    #[tokio::test]
    async fn a_node_that_is_away_fails_the_questions() {
        let peer = KeyPair::from_seed(&[1; 32]).peer_id();
        let chain = Market::connect(&config(), peer).unwrap().deals();
        let error = chain.deals().await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:1"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn wrong_values_are_named() {
        let peer = KeyPair::from_seed(&[1; 32]).peer_id();
        let refused = |change: &dyn Fn(&mut ChainConfig)| {
            let mut config = config();
            change(&mut config);
            match Market::connect(&config, peer) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            }
        };
        let endpoint = refused(&|config| config.http_endpoint = "node".to_owned());
        assert!(
            endpoint.starts_with("the configuration key `chain_config.http_endpoint`: \"node\""),
            "{endpoint}"
        );
        let market = refused(&|config| config.diamond_contract_address = "0x12".to_owned());
        assert!(
            market.starts_with("the configuration key `chain_config.diamond_contract_address`: "),
            "{market}"
        );
        let wallet = refused(&|config| config.wallet_key = "secretword".to_owned());
        assert!(
            wallet.starts_with("the configuration key `chain_config.wallet_key`: "),
            "{wallet}"
        );
        assert!(!wallet.contains("secretword"), "{wallet}");
    }
}
