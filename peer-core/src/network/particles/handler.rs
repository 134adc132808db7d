//! The particle protocol on one connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use libp2p::{Stream, StreamProtocol};
use particle::PeerId;
use particle::frame::{self, Message};
use tokio::sync::{Semaphore, mpsc};

use super::stream::{ReadFailure, patience_for, read_frame, write_frame};
use super::{PARTICLE_PROTOCOL, Shared};
use crate::network::table::Outgoing;
use crate::network::{Incoming, SendError};

/// Frames that may be written to a connection at the same time.
const MAX_WRITES: usize = 64;
/// Streams that wait; further ones are reset.
const MAX_WAITING: usize = 1024;
/// Particles of one connection that may wait for the engine's queue at a time. Who waits there is
/// served in order, so this is what a connection that floods can put before the others.
const MAX_TURNS: usize = 8;
/// Writes that fail in a row for slowness before the connection is closed.
const MAX_STALLED: usize = 3;

/// What a connection tells its behaviour.
#[derive(Debug)]
pub(crate) enum ToBehaviour {
    /// The remote peer does not read what is sent to it.
    SlowReader {
        /// Frames that could not be written, in a row.
        stalled: usize,
    },
}

enum Written {
    Complete,
    Stalled,
    Failed,
}

/// Reads and writes the frames of one connection, each on its own substream. Frames travel
/// through queues shared with the rest of the peer; the swarm is not involved.
pub(crate) struct Handler {
    shared: Arc<Shared>,
    peer: PeerId,
    queue: mpsc::Receiver<Outgoing>,
    opening: usize,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    waiting: VecDeque<Stream>,
    reads: FuturesUnordered<BoxFuture<'static, ()>>,
    turns: Arc<Semaphore>,
    stalled: usize,
    reported: bool,
}

impl Handler {
    pub(crate) fn new(shared: Arc<Shared>, peer: PeerId, queue: mpsc::Receiver<Outgoing>) -> Self {
        Self {
            shared,
            peer,
            queue,
            opening: 0,
            writes: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            reads: FuturesUnordered::new(),
            turns: Arc::new(Semaphore::new(MAX_TURNS)),
            stalled: 0,
            reported: false,
        }
    }

    fn accept(&mut self, stream: Stream) {
        if self.waiting.len() >= MAX_WAITING {
            self.shared.counters.refused_streams.increment();
            tracing::debug!(peer = %self.peer, "stream refused: {MAX_WAITING} already wait");
            return;
        }
        self.waiting.push_back(stream);
    }

    fn write(&mut self, mut stream: Stream, outgoing: Outgoing) {
        let (shared, peer) = (self.shared.clone(), self.peer);
        self.writes.push(Box::pin(async move {
            let after = patience_for(shared.limits.upgrade_timeout, outgoing.frame.len());
            let work = write_frame(&mut stream, &outgoing.frame);
            let (result, written) = match tokio::time::timeout(after, work).await {
                Ok(Ok(())) => (Ok(()), Written::Complete),
                Ok(Err(error)) => {
                    let reason = error.to_string();
                    (
                        Err(SendError::Stream {
                            peer: peer.to_string(),
                            reason,
                        }),
                        Written::Failed,
                    )
                }
                Err(_) => (
                    Err(SendError::TimedOut {
                        peer: peer.to_string(),
                        after,
                    }),
                    Written::Stalled,
                ),
            };
            let _ = outgoing.done.send(result);
            written
        }));
    }

    fn start_reads(&mut self) -> bool {
        let mut started = false;
        while self.reads.len() < self.shared.limits.max_reads {
            let Some(stream) = self.waiting.pop_front() else {
                break;
            };
            let (shared, turns) = (self.shared.clone(), self.turns.clone());
            self.reads
                .push(Box::pin(receive(shared, turns, self.peer, stream)));
            started = true;
        }
        started
    }

    fn finish_writes(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(written)) = self.writes.poll_next_unpin(cx) {
            match written {
                Written::Complete => self.stalled = 0,
                Written::Stalled => self.stalled += 1,
                Written::Failed => {}
            }
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = ToBehaviour;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Outgoing;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, ()> {
        SubstreamProtocol::new(ReadyUpgrade::new(PARTICLE_PROTOCOL), ())
            .with_timeout(self.shared.limits.upgrade_timeout)
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Outgoing, ToBehaviour>> {
        self.finish_writes(cx);
        if self.stalled >= MAX_STALLED && !self.reported {
            self.reported = true;
            let event = ToBehaviour::SlowReader {
                stalled: self.stalled,
            };
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        loop {
            while let Poll::Ready(Some(())) = self.reads.poll_next_unpin(cx) {}
            if !self.start_reads() {
                break;
            }
        }
        if self.opening < self.shared.limits.max_opening
            && self.writes.len() + self.opening < MAX_WRITES
        {
            while let Poll::Ready(Some(outgoing)) = self.queue.poll_recv(cx) {
                // Nobody waits for it any more: its time is over.
                if outgoing.done.is_closed() {
                    continue;
                }
                self.opening += 1;
                let upgrade = ReadyUpgrade::new(PARTICLE_PROTOCOL);
                let protocol = SubstreamProtocol::new(upgrade, outgoing)
                    .with_timeout(self.shared.limits.outbound_substream_timeout);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Outgoing>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => self.accept(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                self.opening = self.opening.saturating_sub(1);
                self.write(protocol, info);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.opening = self.opening.saturating_sub(1);
                let peer = self.peer.to_string();
                let result = match error {
                    StreamUpgradeError::Timeout => {
                        self.stalled += 1;
                        SendError::TimedOut {
                            peer,
                            after: self.shared.limits.outbound_substream_timeout,
                        }
                    }
                    StreamUpgradeError::NegotiationFailed => {
                        let reason = format!("the peer does not speak {PARTICLE_PROTOCOL}");
                        SendError::Stream { peer, reason }
                    }
                    StreamUpgradeError::Io(error) => SendError::Stream {
                        peer,
                        reason: error.to_string(),
                    },
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.done.send(Err(result));
            }
            _ => {}
        }
    }
}

/// Reads the one particle of a stream and queues it. Whatever is wrong with it, only this stream
/// ends.
async fn receive(shared: Arc<Shared>, turns: Arc<Semaphore>, peer: PeerId, mut stream: Stream) {
    let limits = &shared.limits;
    let read = read_frame(
        &mut stream,
        limits.max_frame,
        limits.upgrade_timeout,
        &shared.budget,
    )
    .await;
    let frame = match read {
        Ok(frame) => frame,
        Err(failure) => {
            let counters = &shared.counters;
            match failure {
                ReadFailure::Empty => return,
                ReadFailure::TooLong { .. } | ReadFailure::NoLength => &counters.refused_frames,
                ReadFailure::OutOfMemory { .. } => &counters.refused_memory,
                _ => &counters.incomplete_frames,
            }
            .increment();
            tracing::debug!(%peer, "particle refused: {failure}");
            return;
        }
    };
    let particle = match frame::decode_with_limit(&frame.bytes, limits.max_frame) {
        Ok(Some((Message::Particle(particle), _))) => *particle,
        // A probe of the protocol.
        Ok(Some(_)) => return,
        Ok(None) => {
            shared.counters.incomplete_frames.increment();
            return;
        }
        Err(error) => {
            shared.counters.refused_frames.increment();
            tracing::debug!(%peer, "particle refused: {error}");
            return;
        }
    };
    drop(frame);
    shared.counters.count_received(&particle);
    // The queue is bounded: as long as it is full this stream keeps its place among the reads of
    // the connection. Waiters are served in order, so connections take turns. The semaphore is
    // never closed.
    let _turn = turns.acquire().await;
    let _ = shared
        .incoming
        .send(Incoming {
            from: peer,
            particle,
        })
        .await;
    let _ = futures::AsyncWriteExt::close(&mut stream).await;
}
