//! Blocks from a node of IPFS, over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::Full;
use hyper::{
    Request, StatusCode,
    body::Bytes,
    header::{ACCEPT, CONTENT_LENGTH},
};

use super::store::{BlockStore, StoreError};
use crate::{
    Cid,
    http::{Endpoint, HttpClient},
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gateway,
    Kubo,
}

/// A node of IPFS. Requests take turns on one connection.
pub struct Remote {
    client: HttpClient,
    kind: Kind,
    timeout: Duration,
}

impl Remote {
    /// A gateway, asked for `GET …/ipfs/CID` as a raw block. Answers of more than `max_block` bytes
    /// and such that take longer than `timeout` are refused.
    #[must_use]
    pub fn gateway(endpoint: Endpoint, timeout: Duration, max_block: usize) -> Self {
        Self {
            client: HttpClient::new(endpoint, max_block),
            kind: Kind::Gateway,
            timeout,
        }
    }

    /// The RPC of a kubo node, asked for `POST …/api/v0/block/get?arg=CID`; limits as for
    /// [`Remote::gateway`].
    #[must_use]
    pub fn kubo(endpoint: Endpoint, timeout: Duration, max_block: usize) -> Self {
        Self {
            kind: Kind::Kubo,
            ..Self::gateway(endpoint, timeout, max_block)
        }
    }

    async fn ask(&self, cid: Cid) -> Result<Option<Vec<u8>>, String> {
        let path = self.client.endpoint().path().trim_end_matches('/');
        let request = match self.kind {
            Kind::Gateway => Request::get(format!("{path}/ipfs/{cid}?format=raw"))
                .header(ACCEPT, "application/vnd.ipld.raw"),
            Kind::Kubo => Request::post(format!("{path}/api/v0/block/get?arg={cid}"))
                .header(CONTENT_LENGTH, 0),
        };
        let request = request
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let (status, body) = self.client.send(request).await?;
        match status {
            StatusCode::OK => Ok(Some(body.into())),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status => {
                let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                Err(format!("HTTP status {status}: {said}"))
            }
        }
    }
}

#[async_trait]
impl BlockStore for Remote {
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let answer = tokio::time::timeout(self.timeout, self.ask(cid)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {:?}", self.timeout)));
        if answer.is_err() {
            self.client.reset().await;
        }
        answer.map_err(|reason| StoreError {
            cid,
            store: self.client.endpoint().to_string(),
            reason,
        })
    }
}
