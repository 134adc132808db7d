//! Spells of a distributive on a worker: how a provider installs them, and what they did.

use std::time::{Duration, Instant};

use deal_types::{
    Cid,
    distributive::{Distributive, SpellDefinition},
};
use particle::PeerId;
use peer_core::client::{Client, Request};
use serde::Serialize;
use serde_json::Value;

use super::provider::{ask, text};
use crate::failure::{Failure, Result};

/// How long a spell may take to fire.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// A spell that lives on a worker.
#[derive(Clone, Debug)]
pub struct Installed {
    /// What it is called there.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// What a spell did.
#[derive(Clone, Debug, Serialize)]
pub struct Fired {
    /// Whose peer it lives on.
    pub provider: String,
    /// The worker that it lives on.
    pub worker: String,
    /// What it is called there.
    pub spell: String,
    /// Its id.
    pub id: String,
    /// How often the peer has started it.
    pub firings: u64,
    /// How often it told its log.
    pub told: usize,
    /// The last that it told.
    pub last: String,
    /// Particles of it that failed.
    pub failed: usize,
}

/// Installs a spell of a distributive on a worker.
///
/// # Errors
/// The distributive has not all of it, or the peer refuses.
pub async fn install(
    client: &Client,
    worker: &str,
    app: &Distributive,
    spell: &SpellDefinition,
) -> Result<Installed> {
    let json =
        |cid| -> Result<Value> { serde_json::from_str(file(app, cid)?).map_err(Failure::new) };
    let (data, config) = (json(spell.init_args)?, json(spell.config)?);
    let script = file(app, spell.script)?;
    let request = Request::new(INSTALL)
        .argument("worker", &worker)
        .and_then(|request| request.argument("name", &spell.name))
        .and_then(|request| request.argument("script", &script))
        .and_then(|request| request.argument("data", &data))
        .and_then(|request| request.argument("config", &config));
    Ok(Installed {
        name: spell.name.clone(),
        id: text(ask(client, request).await?)?,
    })
}

/// What a spell did, when it has told its log for the first time.
///
/// # Errors
/// It does not, or it does not answer.
pub async fn fired(
    client: &Client,
    provider: &str,
    worker: PeerId,
    spell: &Installed,
) -> Result<Fired> {
    let began = Instant::now();
    loop {
        let fired = look(client, provider, worker, spell).await?;
        if fired.told > 0 {
            return Ok(fired);
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(format_args!(
                "{provider}: the spell {} did nothing in {PATIENCE:?}: it was started {} times, of \
                 which {} failed",
                spell.name, fired.firings, fired.failed
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(client: &Client, provider: &str, worker: PeerId, spell: &Installed) -> Result<Fired> {
    let worker = worker.to_string();
    let request = Request::new(LOOK)
        .argument("worker", &worker)
        .and_then(|request| request.argument("name", &spell.name));
    let seen = ask(client, request).await?;
    let firings = seen.pointer("/0/value").and_then(Value::as_u64);
    let list = |path: &str| seen.pointer(path).and_then(Value::as_array);
    let lists = list("/1/logs").zip(list("/2/particle_errors"));
    let (Some(firings), Some((logs, errors))) = (firings, lists) else {
        return Err(Failure::new(format_args!(
            "{provider}: the spell {} answers {seen}",
            spell.name
        )));
    };
    let last = logs.last().and_then(|log| log.get("message")?.as_str());
    Ok(Fired {
        provider: provider.to_owned(),
        worker,
        spell: spell.name.clone(),
        id: spell.id.clone(),
        firings,
        told: logs.len(),
        last: last.unwrap_or_default().to_owned(),
        failed: errors.len(),
    })
}

/// A text of a distributive.
fn file(app: &Distributive, cid: Cid) -> Result<&str> {
    let file = app.files.get(&cid);
    let file = file.ok_or_else(|| Failure::new(format_args!("no {cid}")))?;
    std::str::from_utf8(file).map_err(|error| Failure::new(format_args!("{cid}: {error}")))
}

/// Installs a spell at a worker, under its name.
const INSTALL: &str = r#"
(xor
    (seq
        (seq
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                    (call %init_peer_id% ("getDataSrv" "worker") [] worker))
                (seq
                    (call %init_peer_id% ("getDataSrv" "name") [] name)
                    (call %init_peer_id% ("getDataSrv" "script") [] script)))
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "data") [] data)
                    (call %init_peer_id% ("getDataSrv" "config") [] config))
                (seq
                    (call relay ("op" "noop") [])
                    (call worker ("spell" "install") [script data config name] spell))))
        (call %init_peer_id% ("callbackSrv" "response") [spell]))
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;

/// What a spell keeps: the peer's count of firings, its log, its errors.
const LOOK: &str = r#"
(xor
    (seq
        (seq
            (seq
                (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                (call %init_peer_id% ("getDataSrv" "worker") [] worker))
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "name") [] name)
                    (call relay ("op" "noop") []))
                (seq
                    (call worker (name "get_u32") ["hw_counter"] counter)
                    (seq
                        (call worker (name "get_logs") [] logs)
                        (call worker (name "get_all_errors") [] errors)))))
        (call %init_peer_id% ("callbackSrv" "response") [counter logs errors]))
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;
