//! From a configured peer to one that earns: the steps at the market, with the chain and the account
//! that the peer's configuration names ([how to get there](../../docs/earning.md)).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use deal_types::chain::{
    Wallet,
    rpc::{Endpoint, RpcChain, RpcConfig},
};
use deal_types::{Address, PeerKey, U256};
use examples::failure::{Failure, Result, exit};
use examples::provider::{OfferTerms, Provider};
use peer_core::config::PeerConfig;
use peer_core::peer::load_key;

/// Parts of one percent in which the market counts shares.
const PERCENT: u64 = 100_000;

/// Offers a peer at the market, commits its capacity, and takes the rewards.
#[derive(Parser)]
#[command(name = "provider", version)]
struct Arguments {
    /// The configuration of the peer, with `[chain_config]`.
    #[arg(long)]
    config: PathBuf,
    /// Act with the account of this file (a secp256k1 key as hex) instead of that of `wallet_key`:
    /// whoever pays the collateral may be somebody else.
    #[arg(long, value_name = "FILE")]
    wallet: Option<PathBuf>,
    #[command(subcommand)]
    step: Step,
}

/// A step at the market.
#[derive(Subcommand)]
enum Step {
    /// Shows the account, the peer, and where it stands.
    Status,
    /// Says who the provider is, and offers the peer.
    Offer {
        /// What the provider is called.
        #[arg(long)]
        name: String,
        /// Units of the peer, one for each core that it gives.
        #[arg(long)]
        units: u32,
        /// The least price of a unit for an epoch, in the least unit of the token.
        #[arg(long)]
        price: u64,
        /// The contract of the token of payment.
        #[arg(long, value_name = "ADDRESS")]
        token: Address,
        /// The version of the protocol.
        #[arg(long, default_value_t = 1)]
        protocol: u64,
    },
    /// Commits the capacity of the peer.
    Commit {
        /// For how many epochs.
        #[arg(long)]
        epochs: u64,
        /// Who pays the collateral; the provider when not given.
        #[arg(long, value_name = "ADDRESS")]
        staker: Option<Address>,
        /// The staker's part of the rewards, in percent.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
        share: u64,
    },
    /// Pays the collateral of the commitment, with the account of its staker.
    Deposit,
    /// Takes the rewards for capacity that are unlocked.
    Withdraw,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let config = PeerConfig::from_file(&arguments.config).map_err(Failure::input)?;
    let Some(settings) = &config.chain_config else {
        let file = arguments.config.display();
        return Err(Failure::input(format_args!(
            "{file} has no table [chain_config]"
        )));
    };
    let wrong = |key: &'static str| {
        move |error: &dyn std::fmt::Display| {
            Failure::input(format_args!("chain_config.{key}: {error}"))
        }
    };
    let endpoint: Endpoint = settings
        .http_endpoint
        .parse()
        .map_err(|error| wrong("http_endpoint")(&error))?;
    let market: Address = settings
        .diamond_contract_address
        .parse()
        .map_err(|error| wrong("diamond_contract_address")(&error))?;
    let wallet = match &arguments.wallet {
        Some(path) => {
            let named = |error: &dyn std::fmt::Display| {
                Failure::input(format_args!("{}: {error}", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
            Wallet::from_hex(text.trim()).map_err(|error| named(&error))?
        }
        None => {
            Wallet::from_hex(&settings.wallet_key).map_err(|error| wrong("wallet_key")(&error))?
        }
    };
    let key = load_key(&config.root_key_pair, config.data_dir.as_deref());
    let peer = key.map_err(Failure::input)?.peer_id();
    let account = wallet.address();
    let chain = RpcChain::new(endpoint, RpcConfig::new(settings.network_id), Some(wallet));
    let peer_key = PeerKey::from_peer_id_bytes(&peer.to_bytes()).map_err(Failure::input)?;
    let provider = Provider::new(&chain, market, peer_key);
    match arguments.step {
        Step::Status => {
            println!("account {account}\npeer {peer}");
            print!("{}", provider.standing().await?);
        }
        Step::Offer {
            name,
            units,
            price,
            token,
            protocol,
        } => {
            let terms = OfferTerms {
                name,
                units,
                price: U256::from(price),
                token,
                protocol,
            };
            println!("offer {}", provider.offer(&terms).await?);
        }
        Step::Commit {
            epochs,
            staker,
            share,
        } => {
            let staker = staker.unwrap_or(account);
            let commitment = provider.commit(epochs, staker, share * PERCENT).await?;
            println!("commitment {commitment}");
        }
        Step::Deposit => println!("paid {} wei", provider.deposit().await?),
        Step::Withdraw => {
            provider.withdraw().await?;
            println!("withdrawn");
        }
    }
    Ok(())
}
