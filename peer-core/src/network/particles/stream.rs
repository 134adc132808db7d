//! One substream of the particle protocol: reading its one frame, writing one frame.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use thiserror::Error;

/// Bytes asked for at a time.
const CHUNK: usize = 16 * 1024;
/// The slowest transfer that is tolerated for the part of a frame beyond its first bytes.
const MIN_BYTES_PER_SECOND: u64 = 256 * 1024;
/// A length prefix has at most this many bytes.
const MAX_PREFIX: usize = 8;

/// Why a frame could not be read.
#[derive(Debug, Error)]
pub(crate) enum ReadFailure {
    #[error("the frame announces {announced} bytes, at most {limit} are accepted")]
    TooLong { announced: u64, limit: usize },
    #[error("the frame does not start with a length")]
    NoLength,
    #[error("the stream ended after {received} bytes of a frame")]
    Truncated { received: usize },
    #[error("nothing was sent")]
    Empty,
    #[error("all {limit} bytes of memory for inbound frames are in use")]
    OutOfMemory { limit: usize },
    #[error("the frame did not arrive within {after:?}")]
    TooSlow { after: Duration },
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// Memory that all inbound frames of a peer share while they arrive.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    taken: usize,
}

impl Share {
    fn new(budget: Arc<Budget>) -> Self {
        Self { budget, taken: 0 }
    }

    /// Makes the share at least `size` bytes large.
    fn grow_to(&mut self, size: usize) -> Result<(), ReadFailure> {
        let more = size.saturating_sub(self.taken);
        let limit = self.budget.limit;
        let before = self.budget.used.fetch_add(more, Ordering::Relaxed);
        self.taken += more;
        // The share has the bytes now; a failed read gives all of it back.
        if before.saturating_add(more) > limit {
            return Err(ReadFailure::OutOfMemory { limit });
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// A frame with its length prefix, and the memory it occupies.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// Held as long as the frame is.
    pub(crate) _share: Share,
}

/// Reads exactly one frame, length prefix included. Bytes after it are ignored.
pub(crate) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    max_payload: usize,
    patience: Duration,
    budget: &Arc<Budget>,
) -> Result<Frame, ReadFailure> {
    let mut frame = Frame {
        bytes: Vec::new(),
        _share: Share::new(budget.clone()),
    };
    let length = timeout(patience, read_start(stream, &mut frame, max_payload)).await?;
    let patience = patience_for(patience, length);
    timeout(patience, read_rest(stream, &mut frame, length)).await?;
    Ok(frame)
}

/// Writes a frame and closes the write side.
pub(crate) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.close().await
}

/// How long the transfer of `length` bytes may take.
pub(crate) fn patience_for(patience: Duration, length: usize) -> Duration {
    patience + Duration::from_secs(length as u64 / MIN_BYTES_PER_SECOND)
}

/// Reads until the length is known; returns the length of the whole frame with its prefix.
async fn read_start(
    stream: &mut (impl AsyncRead + Unpin),
    frame: &mut Frame,
    max_payload: usize,
) -> Result<usize, ReadFailure> {
    let mut chunk = [0; 1024];
    loop {
        let received = stream.read(&mut chunk).await?;
        if received == 0 {
            return Err(match frame.bytes.len() {
                0 => ReadFailure::Empty,
                received => ReadFailure::Truncated { received },
            });
        }
        frame._share.grow_to(frame.bytes.len() + received)?;
        frame
            .bytes
            .extend_from_slice(chunk.get(..received).unwrap_or_default());
        if let Some((length, prefix)) = decode_length(&frame.bytes)? {
            if length > max_payload as u64 {
                return Err(ReadFailure::TooLong {
                    announced: length,
                    limit: max_payload,
                });
            }
            // It fits: it is at most `max_payload`.
            return Ok(prefix + length as usize);
        }
    }
}

async fn read_rest(
    stream: &mut (impl AsyncRead + Unpin),
    frame: &mut Frame,
    length: usize,
) -> Result<(), ReadFailure> {
    while frame.bytes.len() < length {
        let before = frame.bytes.len();
        // Memory grows with what arrives, never with what is announced.
        let room = CHUNK.max(before).min(length - before);
        frame._share.grow_to(before + room)?;
        frame.bytes.resize(before + room, 0);
        let received = match frame.bytes.get_mut(before..) {
            Some(target) => stream.read(target).await?,
            None => 0,
        };
        frame.bytes.truncate(before + received);
        if received == 0 {
            return Err(ReadFailure::Truncated { received: before });
        }
    }
    frame.bytes.truncate(length);
    Ok(())
}

/// The length at the start of `bytes` and how many bytes it takes, once it is complete.
fn decode_length(bytes: &[u8]) -> Result<Option<(u64, usize)>, ReadFailure> {
    let mut length = 0u64;
    for (index, byte) in bytes.iter().take(MAX_PREFIX).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    if bytes.len() >= MAX_PREFIX {
        Err(ReadFailure::NoLength)
    } else {
        Ok(None)
    }
}

async fn timeout<T>(
    after: Duration,
    work: impl Future<Output = Result<T, ReadFailure>>,
) -> Result<T, ReadFailure> {
    match tokio::time::timeout(after, work).await {
        Ok(result) => result,
        Err(_) => Err(ReadFailure::TooSlow { after }),
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn read(bytes: &[u8], max: usize, memory: usize) -> Result<Vec<u8>, ReadFailure> {
        let budget = Arc::new(Budget::new(memory));
        let result = read_frame(
            &mut Cursor::new(bytes),
            max,
            Duration::from_secs(1),
            &budget,
        )
        .await;
        let result = result.map(|frame| frame.bytes.clone());
        assert_eq!(
            budget.used.load(Ordering::Relaxed),
            0,
            "all memory is given back"
        );
        result
    }

    #[tokio::test]
    async fn exactly_one_frame_is_read() {
        let mut bytes = vec![3, 1, 2, 3, 9, 9];
        assert_eq!(read(&bytes, 10, 100).await.unwrap(), [3, 1, 2, 3]);
        bytes.truncate(3);
        assert!(matches!(
            read(&bytes, 10, 100).await,
            Err(ReadFailure::Truncated { received: 3 })
        ));
        assert!(matches!(read(&[], 10, 100).await, Err(ReadFailure::Empty)));
    }

    #[tokio::test]
    async fn long_frames_arrive_whole() {
        let mut bytes = vec![0x80 | 0x40, 0x80 | 0x0d, 0x03];
        bytes.extend((0..50_880u32).map(|n| n as u8));
        assert_eq!(read(&bytes, 100_000, 200_000).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn limits_hold() {
        assert!(matches!(
            read(&[0xff, 0xff, 0x03, 0], 10, 100).await,
            Err(ReadFailure::TooLong {
                announced: 65535,
                limit: 10
            })
        ));
        assert!(matches!(
            read(&[0xff; 9], 10, 100).await,
            Err(ReadFailure::NoLength)
        ));
        let mut bytes = vec![100];
        bytes.extend([0; 100]);
        assert!(matches!(
            read(&bytes, 1000, 50).await,
            Err(ReadFailure::OutOfMemory { limit: 50 })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_stops_is_given_up() {
        let budget = Arc::new(Budget::new(100));
        let (_writer, reader) = tokio::io::duplex(8);
        let mut reader = Compat(reader);
        let result = read_frame(&mut reader, 10, Duration::from_secs(10), &budget).await;
        assert!(matches!(result, Err(ReadFailure::TooSlow { .. })));
    }

    struct Compat(tokio::io::DuplexStream);

    impl AsyncRead for Compat {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            target: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            let mut target = tokio::io::ReadBuf::new(target);
            let inner = std::pin::Pin::new(&mut self.0);
            match tokio::io::AsyncRead::poll_read(inner, cx, &mut target) {
                std::task::Poll::Ready(Ok(())) => std::task::Poll::Ready(Ok(target.filled().len())),
                std::task::Poll::Ready(Err(error)) => std::task::Poll::Ready(Err(error)),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        }
    }
}
