//! System services: what a host deploys for itself at start (§9.1 and §9.2 of the peer description).
//!
//! The modules are files that the configuration names: published packages run unmodified. What is
//! there already and made of the same modules is kept with its files; anything else under the alias
//! of a package is replaced.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use particle::Signature;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    builtins::Failure,
    config::{ModuleFile, SystemServicesConfig},
    deployment::{Deployment, DeploymentError, NewSpell},
    host::{FunctionCall, FunctionHost as _, FunctionOutcome, OwnedTetraplet, ParticleContext},
    spells::TriggerConfig,
};

/// The packages that there are.
pub const PACKAGES: [&str; 4] = [AQUA_IPFS, TRUST_GRAPH, REGISTRY, DECIDER];

const AQUA_IPFS: &str = "aqua-ipfs";
const TRUST_GRAPH: &str = "trust-graph";
const REGISTRY: &str = "registry";
const REGISTRY_SPELL: &str = "registry-spell";
const DECIDER: &str = "decider";

/// Lifetime of the calls of this procedure, in milliseconds.
const TTL_MS: u32 = 60_000;
/// Largest script or list of certificates.
const MAX_TEXT: u64 = 16 << 20;

/// Why a package was not deployed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SystemError {
    /// A name that is none.
    #[error("`{name}` is not a system service, expected one of {PACKAGES:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A file of a package.
    #[error("system service {package}: the file {path:?} cannot be read: {source}")]
    File {
        /// The package.
        package: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a package that holds something else.
    #[error("system service {package}: the file {path:?} is not a list of certificates: {source}")]
    Certificates {
        /// The package.
        package: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Its services cannot be deployed.
    #[error("system service {package}: {source}")]
    Deploy {
        /// The package.
        package: &'static str,
        /// Why.
        source: Box<DeploymentError>,
    },
    /// Its first calls failed.
    #[error("system service {package}: {reason}")]
    Init {
        /// The package.
        package: &'static str,
        /// Why.
        reason: String,
    },
}

/// Deploys the enabled packages, one after the other. Scripts of spells do not run before the spells
/// are [driven](crate::spells::Spells::drive).
///
/// # Errors
/// The first package that cannot be deployed.
pub async fn deploy(
    deployment: &Deployment,
    config: &SystemServicesConfig,
) -> Result<(), SystemError> {
    let unknown = |name: &&String| !PACKAGES.contains(&name.as_str());
    if let Some(name) = config.enable.iter().find(unknown) {
        let name = name.clone();
        return Err(SystemError::Unknown { name });
    }
    let is_enabled = |package: &str| config.enable.iter().any(|name| name == package);
    if is_enabled(AQUA_IPFS) {
        aqua_ipfs(deployment, config).await?;
    }
    if is_enabled(TRUST_GRAPH) {
        trust_graph(deployment, config).await?;
    }
    if is_enabled(REGISTRY) {
        registry(deployment, config).await?;
    }
    if is_enabled(DECIDER) {
        decider(deployment, config).await?;
    }
    Ok(())
}

async fn aqua_ipfs(
    deployment: &Deployment,
    config: &SystemServicesConfig,
) -> Result<(), SystemError> {
    let config = &config.aqua_ipfs;
    let binaries = [("ipfs".to_owned(), config.ipfs_binary_path.clone())].into();
    let service = Package {
        alias: AQUA_IPFS,
        modules: &config.modules,
        binaries,
    };
    let Some(service) = service.deploy(deployment).await? else {
        return Ok(());
    };
    for (function, address) in [
        ("set_local_api_multiaddr", &config.local_api_multiaddr),
        ("set_external_api_multiaddr", &config.external_api_multiaddr),
    ] {
        service
            .init(deployment, function, &[json!(address)])
            .await?;
    }
    Ok(())
}

/// What a new graph of trust begins with.
#[derive(Deserialize)]
struct Certificates {
    root_node: String,
    max_chain_length: u32,
    certs: Vec<Value>,
}

async fn trust_graph(
    deployment: &Deployment,
    config: &SystemServicesConfig,
) -> Result<(), SystemError> {
    let package = TRUST_GRAPH;
    let config = &config.trust_graph;
    let service = Package {
        alias: package,
        modules: &config.modules,
        binaries: BTreeMap::new(),
    };
    let Some(service) = service.deploy(deployment).await? else {
        return Ok(());
    };
    let Some(path) = &config.certificates else {
        return Ok(());
    };
    let failed = |source| SystemError::Deploy {
        package,
        source: Box::new(source),
    };
    if deployment.is_initialized(&service.id).map_err(failed)? {
        return Ok(());
    }
    let text = read(package, path)?;
    let first: Certificates =
        serde_json::from_str(&text).map_err(|source| SystemError::Certificates {
            package,
            path: path.clone(),
            source,
        })?;
    let root = [json!(first.root_node), json!(first.max_chain_length)];
    service.init(deployment, "set_root", &root).await?;
    let now_sec = deployment.now_ms() / 1_000;
    for certificate in first.certs {
        let certificate = [certificate, json!(now_sec)];
        let inserted = service.init(deployment, "insert_cert", &certificate);
        // Published certificates expire, and a graph without them works.
        if let Err(error) = inserted.await {
            tracing::warn!(%error, "a certificate was not inserted");
        }
    }
    deployment.set_initialized(&service.id).map_err(failed)
}

async fn registry(
    deployment: &Deployment,
    config: &SystemServicesConfig,
) -> Result<(), SystemError> {
    let package = REGISTRY;
    let config = &config.registry;
    let service = Package {
        alias: package,
        modules: &config.modules,
        binaries: BTreeMap::new(),
    };
    if service.deploy(deployment).await?.is_none() {
        return Ok(());
    }
    let Some(script) = &config.spell_script else {
        return Ok(());
    };
    let spell = NewSpell {
        script: read(package, script)?,
        data: json!({ "config": {
            "expired_interval": config.expired_period_sec,
            "renew_interval": config.renew_period_sec,
            "replicate_interval": config.replicate_period_sec,
        } }),
        config: TriggerConfig::periodic(config.registry_period_sec),
    };
    deploy_spell(deployment, package, REGISTRY_SPELL, spell).await
}

/// Without a chain there are no deals to decide about.
async fn decider(
    deployment: &Deployment,
    config: &SystemServicesConfig,
) -> Result<(), SystemError> {
    let package = DECIDER;
    let config = &config.decider;
    let Some(script) = &config.spell_script else {
        return Ok(());
    };
    if !deployment.has_chain() {
        tracing::warn!("the decider is left out: the host has no chain");
        return Ok(());
    }
    let worker_script = match &config.worker_script {
        Some(path) => read(package, path)?,
        None => String::new(),
    };
    let settings = json!({
        "script": worker_script,
        "config": TriggerConfig::periodic(config.worker_period_sec),
        "ipfs": config.worker_ipfs_multiaddr,
    });
    let spell = NewSpell {
        script: read(package, script)?,
        data: json!({ "worker_settings": settings }),
        config: TriggerConfig::periodic(config.decider_period_sec),
    };
    deploy_spell(deployment, package, DECIDER, spell).await
}

fn read(package: &'static str, path: &Path) -> Result<String, SystemError> {
    let read = fs::File::open(path).and_then(|file| {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, MAX_TEXT), &mut text)?;
        Ok(text)
    });
    read.map_err(|source| SystemError::File {
        package,
        path: path.to_owned(),
        source,
    })
}

/// A service of a package.
struct Package<'a> {
    alias: &'static str,
    modules: &'a [ModuleFile],
    binaries: BTreeMap<String, PathBuf>,
}

/// One that is deployed.
struct Deployed {
    package: &'static str,
    id: String,
}

impl Package<'_> {
    /// Nothing for a package without modules.
    async fn deploy(self, deployment: &Deployment) -> Result<Option<Deployed>, SystemError> {
        let package = self.alias;
        if self.modules.is_empty() {
            return Ok(None);
        }
        let modules = self.modules.to_vec();
        let deployed = deployment.deploy_own(package, modules, self.binaries).await;
        match deployed {
            Ok(id) => Ok(Some(Deployed { package, id })),
            Err(failure) => Err(SystemError::Init {
                package,
                reason: failure.into_text(),
            }),
        }
    }
}

impl Deployed {
    /// Calls the service in the name of the host.
    async fn init(
        &self,
        deployment: &Deployment,
        function: &str,
        arguments: &[Value],
    ) -> Result<(), SystemError> {
        let failed = |reason: String| SystemError::Init {
            package: self.package,
            reason: format!("{function}: {reason}"),
        };
        match deployment.call_own(&self.id, function, arguments).await {
            Ok(result) if result.get("success") == Some(&Value::Bool(false)) => {
                let error = result.get("error").and_then(Value::as_str);
                Err(failed(error.unwrap_or("no reason given").to_owned()))
            }
            Ok(_) => Ok(()),
            Err(reason) => Err(failed(reason)),
        }
    }
}

async fn deploy_spell(
    deployment: &Deployment,
    package: &'static str,
    alias: &'static str,
    spell: NewSpell,
) -> Result<(), SystemError> {
    let deployed = deployment.deploy_own_spell(alias, spell).await;
    deployed.map_err(|failure: Failure| SystemError::Init {
        package,
        reason: failure.into_text(),
    })
}

/// A call that the host makes itself. A timestamp among the arguments is one of the host's clock, and
/// services that ask are told so.
pub(crate) fn own_call(
    host_id: particle::PeerId,
    now_ms: u64,
    service_id: &str,
    function: &str,
    arguments: &[Value],
) -> FunctionCall {
    let particle = ParticleContext {
        id: format!("system-services-deployment_{}", Uuid::new_v4()),
        init_peer_id: host_id,
        timestamp: now_ms,
        ttl: TTL_MS,
        script: "".into(),
        signature: Signature::from_bytes([0_u8; 0]),
    };
    let tetraplet = |argument: &Value| {
        let (service_id, function_name) = match argument.is_u64() {
            true => ("peer", "timestamp_sec"),
            false => ("", ""),
        };
        vec![OwnedTetraplet {
            peer_pk: host_id.to_string(),
            service_id: service_id.to_owned(),
            function_name: function_name.to_owned(),
            lens: String::new(),
        }]
    };
    let raw = |argument: &Value| serde_json::value::to_raw_value(argument).unwrap_or_default();
    FunctionCall {
        particle: Arc::new(particle),
        host_id,
        peer_id: host_id,
        call_id: 0,
        service_id: service_id.to_owned(),
        function_name: function.to_owned(),
        arguments: arguments.iter().map(raw).collect(),
        tetraplets: arguments.iter().map(tetraplet).collect(),
        deadline_ms: now_ms.saturating_add(TTL_MS.into()),
    }
}

/// The result of a call that the host made itself.
pub(crate) async fn own_result(
    services: &crate::services::Services,
    call: &FunctionCall,
) -> Result<Value, String> {
    let outcome = services.call(call).await;
    let failed = !matches!(outcome, FunctionOutcome::Ok(_) | FunctionOutcome::Empty);
    let (_, text) = outcome.into_result(call);
    let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    match (failed, value) {
        (false, value) => Ok(value),
        (true, Value::String(text)) => Err(text),
        (true, value) => Err(value.to_string()),
    }
}
