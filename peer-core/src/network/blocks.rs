//! Blocks of content between peers: a protocol of our own, one block per substream.
//!
//! The request is the bytes of a content identifier, the answer a byte that says whether the block
//! is there, and the block; each ends with its direction of the stream. Nobody has to believe a
//! block: whoever asked compares it with its identifier.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::{
    self, Config, Event, InboundRequestId, Message, OutboundFailure, OutboundRequestId,
    ProtocolSupport, ResponseChannel,
};
use libp2p::{PeerId, StreamProtocol};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::driver::Command;

/// The name of the protocol.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/aquamarine/blocks/1.0.0");
/// Longest content identifier, in bytes.
const MAX_CID: usize = 128;
/// Largest block, in bytes: what IPFS nodes exchange at most.
pub const MAX_BLOCK: usize = 2 << 20;
/// Time for a request with its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests under way on one connection.
const MAX_STREAMS: usize = 16;
/// Requests of others that are answered at a time; more are told to come back.
const MAX_SERVED: usize = 64;
/// Requests of this peer under way.
const MAX_ASKED: usize = 1024;

/// Blocks that this peer gives to whoever asks.
#[async_trait]
pub trait BlockProvider: Send + Sync {
    /// The block that the bytes of a content identifier name; nothing where it is not there.
    /// Blocks of more than [`MAX_BLOCK`] bytes are not sent.
    async fn block(&self, cid: &[u8]) -> Option<Vec<u8>>;
}

/// Why a peer did not say whether it has a block.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It cannot be reached.
    #[error("peer {peer} cannot be reached: {reason}")]
    Unreachable {
        /// The peer.
        peer: String,
        /// Why.
        reason: String,
    },
    /// It does not exchange blocks.
    #[error("peer {peer} does not exchange blocks")]
    Unsupported {
        /// The peer.
        peer: String,
    },
    /// It answers as many others as it can.
    #[error("peer {peer} is busy")]
    Busy {
        /// The peer.
        peer: String,
    },
    /// Its answer did not come, or is none.
    #[error("peer {peer} gave no answer: {reason}")]
    NoAnswer {
        /// The peer.
        peer: String,
        /// Why.
        reason: String,
    },
    /// Too many blocks are being asked for.
    #[error("{MAX_ASKED} blocks are already being asked for")]
    TooMany,
    /// The network is stopped.
    #[error("the network is stopped")]
    Stopped,
}

/// What a peer says about a block.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Missing,
    Block(Vec<u8>),
    Busy,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => formatter.write_str("Missing"),
            Self::Block(block) => write!(formatter, "Block({} bytes)", block.len()),
            Self::Busy => formatter.write_str("Busy"),
        }
    }
}

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_CID).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut tag = [0];
        io.read_exact(&mut tag).await?;
        match tag {
            [0] => Ok(Answer::Missing),
            [1] => Ok(Answer::Block(read(io, MAX_BLOCK).await?)),
            [2] => Ok(Answer::Busy),
            [tag] => Err(invalid(format!(
                "an answer of kind {tag}, expected 0, 1 or 2"
            ))),
        }
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        cid: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&cid).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match answer {
            Answer::Missing => io.write_all(&[0]).await,
            Answer::Block(block) => {
                io.write_all(&[1]).await?;
                io.write_all(&block).await
            }
            Answer::Busy => io.write_all(&[2]).await,
        }
    }
}

/// Reads what is left of a stream, up to a limit.
async fn read(io: &mut (impl AsyncRead + Unpin + Send), limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    match bytes.len() > limit {
        true => Err(invalid(format!("more than {limit} bytes"))),
        false => Ok(bytes),
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// The protocol as a behaviour.
pub(super) type Behaviour = request_response::Behaviour<Codec>;

pub(super) fn behaviour() -> Behaviour {
    let config = Config::default()
        .with_request_timeout(PATIENCE)
        .with_max_concurrent_streams(MAX_STREAMS);
    Behaviour::with_codec(Codec, [(PROTOCOL, ProtocolSupport::Full)], config)
}

/// Where the answer to a question of this peer goes.
pub(super) type Reply = oneshot::Sender<Result<Option<Vec<u8>>, BlockError>>;

/// The questions of this peer and of others.
pub(super) struct Exchange {
    provider: Arc<OnceLock<Arc<dyn BlockProvider>>>,
    asked: HashMap<OutboundRequestId, Reply>,
    served: HashSet<InboundRequestId>,
    /// Where found blocks go; weak, because the owner ends when nobody can command it.
    commands: mpsc::WeakSender<Command>,
}

impl Exchange {
    pub(super) fn new(
        provider: Arc<OnceLock<Arc<dyn BlockProvider>>>,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        Self {
            provider,
            asked: HashMap::new(),
            served: HashSet::new(),
            commands,
        }
    }

    pub(super) fn ask(
        &mut self,
        behaviour: &mut Behaviour,
        peer: PeerId,
        cid: Vec<u8>,
        reply: Reply,
    ) {
        self.asked.retain(|_, reply| !reply.is_closed());
        if self.asked.len() >= MAX_ASKED {
            let _ = reply.send(Err(BlockError::TooMany));
            return;
        }
        let id = behaviour.send_request(&peer, cid);
        self.asked.insert(id, reply);
    }

    pub(super) fn on_event(&mut self, behaviour: &mut Behaviour, event: Event<Vec<u8>, Answer>) {
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                } => self.serve(behaviour, request_id, request, channel),
                Message::Response {
                    request_id,
                    response,
                } => {
                    let peer = || peer.to_string();
                    self.answered(
                        request_id,
                        match response {
                            Answer::Missing => Ok(None),
                            Answer::Block(block) => Ok(Some(block)),
                            Answer::Busy => Err(BlockError::Busy { peer: peer() }),
                        },
                    );
                }
            },
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => self.answered(request_id, Err(failure(peer, &error))),
            Event::InboundFailure {
                request_id, error, ..
            } => {
                tracing::debug!(%error, "a block was not sent");
                self.served.remove(&request_id);
            }
            Event::ResponseSent { request_id, .. } => {
                self.served.remove(&request_id);
            }
        }
    }

    fn answered(
        &mut self,
        request: OutboundRequestId,
        result: Result<Option<Vec<u8>>, BlockError>,
    ) {
        if let Some(reply) = self.asked.remove(&request) {
            // Whoever asked may have given up.
            let _ = reply.send(result);
        }
    }

    /// Looks a block up in a task of its own: a disk may be slow.
    fn serve(
        &mut self,
        behaviour: &mut Behaviour,
        request: InboundRequestId,
        cid: Vec<u8>,
        channel: ResponseChannel<Answer>,
    ) {
        let provider = self.provider.get().cloned();
        let (Some(provider), Some(commands)) = (provider, self.commands.upgrade()) else {
            let _ = behaviour.send_response(channel, Answer::Missing);
            return;
        };
        if self.served.len() >= MAX_SERVED {
            let _ = behaviour.send_response(channel, Answer::Busy);
            return;
        }
        self.served.insert(request);
        tokio::spawn(async move {
            let block = provider.block(&cid).await;
            let answer = block
                .filter(|block| block.len() <= MAX_BLOCK)
                .map_or(Answer::Missing, Answer::Block);
            let _ = commands.send(Command::Found { answer, channel }).await;
        });
    }
}

fn failure(peer: PeerId, error: &OutboundFailure) -> BlockError {
    let peer = peer.to_string();
    let reason = error.to_string();
    match error {
        OutboundFailure::UnsupportedProtocols => BlockError::Unsupported { peer },
        OutboundFailure::DialFailure => BlockError::Unreachable { peer, reason },
        _ => BlockError::NoAnswer { peer, reason },
    }
}
