//! The chain that a host's deals are on.

use super::{HumanDuration, Ignored};

settings! {
    /// The chain of the marketplace, table `[chain_config]`. Without it there are no deals.
    pub entry ChainConfig {
        /// JSON-RPC of a node: `http://`, `https://`, `ws://` or `wss://`.
        pub http_endpoint: String,
        /// Address of the marketplace (its diamond contract).
        pub diamond_contract_address: String,
        /// Number of the chain.
        pub network_id: u64,
        /// Secret key of the account that owns this peer on the chain, in hexadecimal digits.
        pub wallet_key: String,
        /// Fees follow the chain's blocks; accepted for files of the published peer.
        pub default_base_fee: Option<u64>,
        /// What the maker of a block gets for a unit of gas, in wei; 1,000,000,000 when absent and
        /// the node has no opinion.
        pub default_priority_fee: Option<u64>,
    }
}

settings! {
    /// How capacity is proven, table `[chain_listener_config]`.
    pub table ChainListenerConfig {
        /// JSON-RPC of a prover, `http://` with host and port; without one capacity is not proven.
        pub ccp_endpoint: Option<String> = None,
        /// Pause between two questions for proofs.
        pub proof_poll_period: HumanDuration = HumanDuration::from_secs(60),
        /// Batches of proofs below which they stay with the prover.
        pub min_batch_count: usize = 1,
        /// Batches of proofs taken at once.
        pub max_batch_count: usize = 4,
        /// Proofs of one batch.
        pub max_proof_batch_size: usize = 2,
        /// The time before the end of an epoch in which proofs are taken however few there are.
        pub epoch_end_window: HumanDuration = HumanDuration::from_secs(300),
        /// The chain is followed at `http_endpoint` of `[chain_config]`, which may be `ws://`.
        pub ws_endpoint: Ignored = Ignored,
        /// As `ws_endpoint`.
        pub ws_ping_period: Ignored = Ignored,
    }
}
