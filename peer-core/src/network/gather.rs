//! What the tasks of a thread write to one connection leaves in one piece.
//!
//! A particle takes several small frames, and yamux flushes whenever it comes by: each flush is a
//! system call here and a wake-up of the other side. So a flush waits until the thread has nothing
//! else to do, or has done much: by then more has been written.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};

/// Bytes that wait for a flush; more are written at once.
const MAX_WAITING: usize = 64 * 1024;

/// A stream whose flushes wait for the turn of the thread to end.
#[derive(Debug)]
pub(super) struct Gather<S> {
    stream: S,
    /// What waits for a flush. Nothing is kept for a connection that is idle.
    waiting: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// Whether a flush waits for the end of the turn.
    asked: bool,
    turn: Arc<Turn>,
}

/// The end of a turn of the thread.
#[derive(Debug, Default)]
struct Turn {
    over: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.over.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<S> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: Vec::new(),
            written: 0,
            asked: false,
            turn: Arc::default(),
        }
    }

    /// Waits until other tasks had their turn.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turn.task.register(cx.waker());
        if !self.asked {
            self.asked = true;
            self.turn.over.store(false, Ordering::Release);
            let waker = Waker::from(self.turn.clone());
            // It is polled once: the runtime wakes whoever polled it, which need not be a task.
            let turn = pin!(tokio::task::yield_now());
            let _ = turn.poll(&mut Context::from_waker(&waker));
        }
        match self.turn.over.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes everything that waits.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..)
            && !rest.is_empty()
        {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        (self.waiting, self.written, self.asked) = (Vec::new(), 0, false);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() + bytes.len() > MAX_WAITING {
            ready!(self.poll_written(cx))?;
            if bytes.len() > MAX_WAITING {
                return Pin::new(&mut self.stream).poll_write(cx, bytes);
            }
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            ready!(self.poll_turn(cx));
            ready!(self.poll_written(cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, target)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Keeps what is written to it, each write for itself, and takes a part of each only.
    #[derive(Clone, Debug, Default)]
    struct Log {
        writes: Arc<Mutex<Vec<Vec<u8>>>>,
        most: usize,
    }

    impl AsyncWrite for Log {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.most);
            self.writes.lock().unwrap().push(bytes[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn log(most: usize) -> Log {
        Log {
            most,
            ..Log::default()
        }
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_leaves_together() {
        let log = log(1_000);
        let stream = Mutex::new(Gather::new(log.clone()));
        let write = async |text: &str| stream.lock().unwrap().waiting.extend(text.bytes());
        let flush =
            std::future::poll_fn(|cx| Pin::new(&mut *stream.lock().unwrap()).poll_flush(cx));
        write("a").await;
        let (flushed, (), ()) = tokio::join!(flush, write("b"), write("c"));
        flushed.unwrap();
        assert_eq!(*log.writes.lock().unwrap(), [b"abc"]);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_kept() {
        let log = log(7);
        let mut stream = Gather::new(log.clone());
        let long = vec![3; MAX_WAITING + 9];
        stream.write_all(b"first ").await.unwrap();
        stream.write_all(&long).await.unwrap();
        stream.write_all(b" last").await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.waiting.capacity() == 0 && !stream.asked);
        stream.write_all(b"!").await.unwrap();
        stream.close().await.unwrap();
        let written = log.writes.lock().unwrap().concat();
        assert_eq!(written, [b"first ", &long[..], b" last!"].concat());
        assert_eq!(log.writes.lock().unwrap().last().unwrap(), b"!");
    }

    #[tokio::test]
    async fn reading_passes_through() {
        let mut stream = Gather::new(futures::io::Cursor::new(b"text".to_vec()));
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "text");
    }

    #[test]
    fn without_a_runtime_a_flush_ends_too() {
        let log = log(100);
        let mut stream = Gather::new(log.clone());
        futures::executor::block_on(async {
            stream.write_all(b"text").await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(*log.writes.lock().unwrap(), [b"text"]);
    }
}
