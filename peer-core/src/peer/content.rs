//! The content of a peer, as its configuration describes it.

use std::path::Path;
use std::sync::Arc;

use deal_types::distributive::BlockStore;

use super::PeerError;
use crate::config::ContentConfig;
use crate::content::{Content, Shelf};
use crate::network::{Network, peer_of_address};

/// What `[content]` says, checked before anybody can reach the peer.
pub(super) struct Plan {
    shelf: Shelf,
    peers: Vec<(String, particle::PeerId)>,
    others: Vec<Box<dyn BlockStore>>,
    max_file: u64,
}

impl Plan {
    /// Nothing where it is off.
    pub(super) fn open(
        config: &ContentConfig,
        folder: Option<&Path>,
    ) -> Result<Option<Self>, PeerError> {
        if !config.enable {
            return Ok(None);
        }
        let wrong = |key, reason: String| PeerError::Setting { key, reason };
        let Some(folder) = folder else {
            let reason = "content is kept in `data_dir`, and there is none".to_owned();
            return Err(wrong("content.enable", reason));
        };
        let folder = folder.join("blocks");
        let shelf = Shelf::open(&folder, config.max_size.0);
        let shelf = shelf.map_err(|error| {
            let reason = format!("the folder {} cannot be used: {error}", folder.display());
            wrong("content.enable", reason)
        })?;
        let peer = |address: &String| match peer_of_address(address) {
            Some(peer) => Ok((address.clone(), peer)),
            None => Err(wrong(
                "content.peers",
                format!("`{address}` is not a multiaddress that ends with /p2p/PEER_ID"),
            )),
        };
        Ok(Some(Self {
            shelf,
            peers: config.peers.iter().map(peer).collect::<Result<_, _>>()?,
            others: others(config)?,
            max_file: config.max_file.0,
        }))
    }

    pub(super) async fn start(self, network: &Network) -> Arc<Content> {
        let mut peers = Vec::new();
        for (address, peer) in self.peers {
            network.add_contact(&peer, &[address]).await;
            peers.push(peer);
        }
        let shelf = Arc::new(self.shelf);
        let content = Content::new(shelf, network.clone(), peers, self.others, self.max_file);
        Arc::new(content)
    }
}

/// Nodes of IPFS.
#[cfg(feature = "chain")]
fn others(config: &ContentConfig) -> Result<Vec<Box<dyn BlockStore>>, PeerError> {
    use std::time::Duration;

    use deal_types::{
        chain::rpc::{Endpoint, EndpointError},
        distributive::Remote,
    };

    use crate::network::MAX_BLOCK;

    /// Time for one block.
    const PATIENCE: Duration = Duration::from_secs(20);

    let endpoint = |key, text: &String| {
        let parsed = text.parse();
        parsed.map_err(|error: EndpointError| PeerError::Setting {
            key,
            reason: error.to_string(),
        })
    };
    let mut others: Vec<Box<dyn BlockStore>> = Vec::new();
    if let Some(gateway) = &config.gateway {
        let endpoint: Endpoint = endpoint("content.gateway", gateway)?;
        others.push(Box::new(Remote::gateway(endpoint, PATIENCE, MAX_BLOCK)));
    }
    if let Some(kubo) = &config.kubo {
        let endpoint: Endpoint = endpoint("content.kubo", kubo)?;
        others.push(Box::new(Remote::kubo(endpoint, PATIENCE, MAX_BLOCK)));
    }
    Ok(others)
}

#[cfg(not(feature = "chain"))]
fn others(config: &ContentConfig) -> Result<Vec<Box<dyn BlockStore>>, PeerError> {
    let keys = [
        ("content.gateway", &config.gateway),
        ("content.kubo", &config.kubo),
    ];
    match keys.into_iter().find(|(_, url)| url.is_some()) {
        Some((key, _)) => Err(PeerError::Setting {
            key,
            reason: "this program has no client for HTTP (feature `chain`)".to_owned(),
        }),
        None => Ok(Vec::new()),
    }
}
