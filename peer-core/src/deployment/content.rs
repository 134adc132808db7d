//! `aqua-ipfs` without a daemon (§9.2): the functions of the published service, answered by the host.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Serialize;

use super::Inner;
use crate::{
    builtins::{Answer, Failure, value},
    host::{FunctionCall, FunctionOutcome},
};

/// Files by their content identifiers, wherever they are.
#[async_trait]
pub trait ContentStore: Send + Sync {
    /// The file; `from` is the address of a node that is said to have it.
    ///
    /// # Errors
    /// Why it cannot be had.
    async fn get(&self, cid: &str, from: Option<&str>) -> Result<Vec<u8>, String>;

    /// Stores a file for whoever asks for it, and returns its identifier.
    ///
    /// # Errors
    /// Why not.
    async fn put(&self, file: Vec<u8>) -> Result<String, String>;

    /// Connects to a node.
    ///
    /// # Errors
    /// Why not.
    async fn connect(&self, address: &str) -> Result<(), String>;
}

/// A store of content as a service.
pub(super) struct Content {
    store: Arc<dyn ContentStore>,
    /// What scripts read and set, to no effect but on scripts that read it.
    addresses: Mutex<Addresses>,
}

#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) external_api: String,
    pub(super) external_swarm: String,
    pub(super) local_api: String,
}

#[derive(Serialize)]
struct Done {
    success: bool,
    error: String,
}

#[derive(Serialize)]
struct Put {
    success: bool,
    error: String,
    hash: String,
}

#[derive(Serialize)]
struct Got {
    success: bool,
    error: String,
    path: String,
}

#[derive(Serialize)]
struct Read {
    success: bool,
    error: String,
    contents: String,
}

#[derive(Serialize)]
struct Address {
    success: bool,
    error: String,
    multiaddr: String,
}

/// Taken apart: whether it succeeded, why not, and the value or nothing of its kind.
fn parts(result: Result<String, String>) -> (bool, String, String) {
    match result {
        Ok(value) => (true, String::new(), value),
        Err(error) => (false, error, String::new()),
    }
}

impl Content {
    pub(super) fn new(store: Arc<dyn ContentStore>, addresses: Addresses) -> Self {
        Self {
            store,
            addresses: Mutex::new(addresses),
        }
    }

    pub(super) async fn call(&self, inner: &Arc<Inner>, call: &FunctionCall) -> Answer {
        let mut arguments = call.arguments();
        match call.function_name.as_str() {
            "put" => {
                let path: String = arguments.next("file_path")?;
                let (success, error, hash) = parts(self.put(inner, call, path).await?);
                value(&Put {
                    success,
                    error,
                    hash,
                })
            }
            "get" => {
                let hash: String = arguments.next("hash")?;
                self.get(inner, call, &hash, None).await
            }
            "get_from" => {
                let hash: String = arguments.next("hash")?;
                let from: String = arguments.next("external_multiaddr")?;
                self.get(inner, call, &hash, Some(&from)).await
            }
            "cat" => {
                let hash: String = arguments.next("hash")?;
                self.cat(&hash, None).await
            }
            "cat_from" => {
                let hash: String = arguments.next("hash")?;
                let from: String = arguments.next("external_multiaddr")?;
                self.cat(&hash, Some(&from)).await
            }
            "connect" => {
                let address: String = arguments.next("multiaddr")?;
                let connected = self.store.connect(&address).await;
                done(connected.map(|()| String::new()))
            }
            // How long a peer is waited for is the network's matter.
            "set_timeout" => {
                arguments.next::<u64>("timeout_sec")?;
                Ok(FunctionOutcome::Empty)
            }
            "dag_put" | "dag_get" | "dag_get_from" => Err(Failure::from(format!(
                "aqua-ipfs: this host stores files only, `{}` needs a node of IPFS",
                call.function_name
            ))),
            name => {
                let Some((is_set, which)) = address_function(name) else {
                    return Ok(FunctionOutcome::NotDefined);
                };
                let new = match is_set {
                    true => Some(arguments.next::<String>("multiaddr")?),
                    false => None,
                };
                let mut addresses = self
                    .addresses
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let address = which(&mut addresses);
                match new {
                    Some(new) => {
                        *address = new;
                        done(Ok(String::new()))
                    }
                    None => value(&Address {
                        success: true,
                        error: String::new(),
                        multiaddr: address.clone(),
                    }),
                }
            }
        }
    }

    /// A file of the vault.
    async fn put(
        &self,
        inner: &Arc<Inner>,
        call: &FunctionCall,
        path: String,
    ) -> Result<Result<String, String>, Failure> {
        let own = call.clone();
        let read = inner.run_blocking(move |inner| inner.vault.read(&own, &path));
        let file = match read.await? {
            Ok(file) => file,
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(self.store.put(file).await)
    }

    /// A file into the vault.
    async fn get(
        &self,
        inner: &Arc<Inner>,
        call: &FunctionCall,
        cid: &str,
        from: Option<&str>,
    ) -> Answer {
        let path = match self.store.get(cid, from).await {
            Err(error) => Err(error),
            Ok(file) => {
                let own = call.clone();
                let write = inner
                    .run_blocking(move |inner| inner.vault.put(&own, inner.clock.now_ms(), &file));
                write.await?.map_err(|error| error.to_string())
            }
        };
        let (success, error, path) = parts(path);
        value(&Got {
            success,
            error,
            path,
        })
    }

    async fn cat(&self, cid: &str, from: Option<&str>) -> Answer {
        let file = self.store.get(cid, from).await;
        let text = file.and_then(|file| {
            String::from_utf8(file).map_err(|error| format!("{cid} is not a text: {error}"))
        });
        let (success, error, contents) = parts(text);
        value(&Read {
            success,
            error,
            contents,
        })
    }
}

fn done(result: Result<String, String>) -> Answer {
    let (success, error, _) = parts(result);
    value(&Done { success, error })
}

type Which = fn(&mut Addresses) -> &mut String;

/// Whether a function sets an address or gets it, and which.
fn address_function(name: &str) -> Option<(bool, Which)> {
    let (is_set, name) = match name.strip_prefix("set_") {
        Some(name) => (true, name),
        None => (false, name.strip_prefix("get_")?),
    };
    let which: Which = match name {
        "external_api_multiaddr" => |addresses| &mut addresses.external_api,
        "external_swarm_multiaddr" => |addresses| &mut addresses.external_swarm,
        "local_api_multiaddr" => |addresses| &mut addresses.local_api,
        _ => return None,
    };
    Some((is_set, which))
}
