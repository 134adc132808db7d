//! The chain that a host's deals are on.

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
