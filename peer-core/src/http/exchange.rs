//! One request and its answer. No more of HTTP/1.1 than operators need: `GET` and `HEAD` without a
//! body, one of them a connection.

use std::{io, time::Duration};

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of a request, with its headers.
const MAX_REQUEST: usize = 8 * 1024;
/// Time for a request to arrive, and for its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    media_type: &'static str,
    body: String,
}

impl Answer {
    pub(super) fn ok(media_type: &'static str, body: String) -> Self {
        Self {
            status: 200,
            media_type,
            body,
        }
    }

    pub(super) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(body) => Self::ok("application/json", body),
            Err(error) => Self::failed(500, &error.to_string()),
        }
    }

    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn nothing() -> Self {
        Self::failed(404, "No such endpoint")
    }

    fn failed(status: u16, text: &str) -> Self {
        Self {
            status,
            media_type: "text/plain; charset=utf-8",
            body: text.to_owned(),
        }
    }

    fn head(&self) -> String {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.status,
            self.media_type,
            self.body.len()
        )
    }
}

/// Reads a request, answers it and closes.
///
/// # Errors
/// A remote side that is slow or gone.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl FnOnce(&str) -> Answer,
) -> io::Result<()> {
    let head = tokio::time::timeout(PATIENCE, read_head(&mut stream)).await??;
    let (answer, with_body) = match &head {
        Some(head) => respond(head, answer),
        None => (Answer::failed(431, "the request is too long"), true),
    };
    let mut bytes = answer.head();
    if with_body {
        bytes.push_str(&answer.body);
    }
    let writing = async {
        stream.write_all(bytes.as_bytes()).await?;
        stream.shutdown().await
    };
    tokio::time::timeout(PATIENCE, writing).await?
}

/// The request up to its empty line; nothing when it is too long.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Some(head));
        }
        if head.len() >= MAX_REQUEST {
            return Ok(None);
        }
    }
}

/// The answer, and whether its body is wanted.
fn respond(head: &[u8], answer: impl FnOnce(&str) -> Answer) -> (Answer, bool) {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).unwrap_or_default();
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return (Answer::failed(400, "this is no HTTP request"), true);
    };
    if !version.starts_with("HTTP/1.") {
        return (Answer::failed(400, "this is no HTTP/1 request"), true);
    }
    let path = target.split('?').next().unwrap_or_default();
    match method {
        "GET" => (answer(path), true),
        "HEAD" => (answer(path), false),
        _ => (Answer::failed(405, "only GET and HEAD are offered"), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exchange(request: &[u8]) -> io::Result<String> {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        client.write_all(request).await?;
        serve(server, |path| Answer::ok("text/plain", path.to_owned())).await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn requests() {
        let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; MAX_REQUEST]].concat();
        for (request, status, body) in [
            (&b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"[..], 200, "/a"),
            (b"HEAD /abc HTTP/1.0\r\n\r\n", 200, ""),
            (
                b"POST /a HTTP/1.1\r\n\r\n",
                405,
                "only GET and HEAD are offered",
            ),
            (b"GET /a HTTP/2\r\n\r\n", 400, "this is no HTTP/1 request"),
            (b"GET\r\n\r\n", 400, "this is no HTTP request"),
            (
                b"\xff\xfe / HTTP/1.1\r\n\r\n",
                400,
                "this is no HTTP request",
            ),
            (&long, 431, "the request is too long"),
        ] {
            let answer = exchange(request).await.unwrap();
            let start = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&start), "{answer}");
            assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body);
        }
        let head = exchange(b"HEAD /abc HTTP/1.0\r\n\r\n").await.unwrap();
        assert!(head.contains("Content-Length: 4\r\n"), "{head}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_ones_are_given_up() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"GET / HTT").await.unwrap();
        let error = serve(server, |_| Answer::nothing()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // One that does not take its answer.
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let long = Answer::ok("text/plain", "x".repeat(1000));
        let error = serve(server, |_| long).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
