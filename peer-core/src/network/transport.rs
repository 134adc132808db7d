//! WebSocket and TCP, both with names resolved by the system's resolver, noise and yamux.

use std::io;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport as _, dns, noise, tcp, websocket, yamux};

use super::NetworkError;
use super::gather::Gather;

/// The largest WebSocket message that is accepted. Senders pack whatever they have into one.
const MAX_WEBSOCKET_MESSAGE: usize = 16 * 1024 * 1024;
/// Streams of one connection, both directions together.
const MAX_STREAMS: usize = 4096;

/// The transport of a peer. `timeout` bounds the whole way from a socket to a multiplexed,
/// authenticated connection.
pub(crate) fn transport(
    key: &Keypair,
    timeout: Duration,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetworkError> {
    let noise = noise::Config::new(key).map_err(|error| NetworkError::Transport {
        reason: error.to_string(),
    })?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    let mut websocket = websocket::Config::new(resolving_tcp());
    websocket.set_max_data_size(MAX_WEBSOCKET_MESSAGE);
    Ok(websocket
        .or_transport(resolving_tcp())
        .map(|stream, _| Gather::new(stream))
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(timeout)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .map_err(io::Error::other)
        .boxed())
}

fn resolving_tcp() -> dns::tokio::Transport<tcp::tokio::Transport> {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    match dns::tokio::Transport::system(tcp()) {
        Ok(transport) => transport,
        Err(error) => {
            // A machine without a resolver configuration can still dial addresses.
            tracing::debug!("no configuration of a resolver: {error}");
            dns::tokio::Transport::custom(
                tcp(),
                dns::ResolverConfig::default(),
                dns::ResolverOpts::default(),
            )
        }
    }
}
