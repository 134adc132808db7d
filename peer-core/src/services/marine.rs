//! Services made of Marine modules.

use std::{fmt, sync::Arc, time::Instant};

use marine_runtime::{
    CallParameters, Engine, Interface, ModuleInfo, ModuleSource, ParticleParameters,
    SecurityTetraplet, Service,
};
use particle::{KeyPair, PeerId};
use serde_json::{Value, value::RawValue};
use thiserror::Error;

use super::{
    ServiceError, ServiceFactory, ServiceFailure, ServiceInstance, ServiceOptions, Services,
    token::Tokens,
};
use crate::{
    clock::Clock,
    config::{ModuleConfig, ServiceConfig},
    deployment::Vault,
    host::{FunctionCall, FunctionOutcome},
};

/// Makes services out of Wasm modules, for one host.
#[derive(Clone)]
pub struct Marine {
    engine: Engine,
    tokens: Arc<Tokens>,
    vault: Option<Vaults>,
}

/// The vaults of the host and the clock by which they end.
#[derive(Clone)]
struct Vaults {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

/// A service that somebody deployed.
pub(crate) struct Deployable {
    pub(crate) id: String,
    pub(crate) owner: PeerId,
    pub(crate) config: marine_runtime::ServiceConfig,
}

/// Why a service of the configuration was not created.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MarineError {
    /// Its modules cannot be loaded or do not fit together.
    #[error("service '{service}' cannot be created: {source}")]
    Create {
        /// Name of the service.
        service: String,
        /// What is wrong.
        source: Box<marine_runtime::ServiceError>,
    },
    /// Its name or an alias cannot be used.
    #[error("service '{service}' cannot be added: {source}")]
    Add {
        /// Name of the service.
        service: String,
        /// What is wrong.
        source: ServiceError,
    },
}

impl Marine {
    /// Services on this engine, of the host with this key.
    #[must_use]
    pub fn new(engine: Engine, key: Arc<KeyPair>) -> Self {
        Self {
            engine,
            tokens: Arc::new(Tokens::new(key)),
            vault: None,
        }
    }

    /// Makes the vault of a particle before each call that may see it.
    #[must_use]
    pub fn with_vault(mut self, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        self.tokens = vault.tokens();
        self.vault = Some(Vaults { vault, clock });
        self
    }

    /// Makes instances of a service that somebody deployed.
    pub(crate) fn factory(&self, service: Deployable) -> Arc<dyn ServiceFactory> {
        Arc::new(Factory {
            marine: self.clone(),
            owner: service.owner.to_string(),
            name: service.id,
            config: service.config,
        })
    }

    /// Creates the services of a configuration in the scope of the host. Blocks while modules are
    /// compiled.
    ///
    /// # Errors
    /// The first service that cannot be created, with the module and the reason.
    pub fn create_all(
        &self,
        services: &Services,
        configs: &[ServiceConfig],
    ) -> Result<(), MarineError> {
        configs
            .iter()
            .try_for_each(|config| self.create(services, config))
    }

    /// Creates one service in the scope of the host.
    ///
    /// # Errors
    /// As [`Marine::create_all`].
    pub fn create(&self, services: &Services, config: &ServiceConfig) -> Result<(), MarineError> {
        let host_id = self.tokens.key().peer_id();
        let factory = Factory {
            marine: self.clone(),
            owner: host_id.to_string(),
            name: config.name.clone(),
            config: service_config(config),
        };
        let instance = factory.make().map_err(|source| MarineError::Create {
            service: config.name.clone(),
            source: Box::new(source),
        })?;
        let options = ServiceOptions {
            call_timeout: config.call_timeout.into(),
            max_queued_calls: config.max_queued_calls,
        };
        let added = services
            .add(
                host_id,
                &config.name,
                Arc::new(factory),
                Some(Box::new(instance)),
                options,
            )
            .and_then(|()| {
                let mut aliases = config.aliases.iter();
                aliases.try_for_each(|alias| services.add_alias(host_id, alias, &config.name))
            });
        added.map_err(|source| MarineError::Add {
            service: config.name.clone(),
            source,
        })
    }
}

impl fmt::Debug for Marine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Marine")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// The runtime's form of a service's configuration.
fn service_config(config: &ServiceConfig) -> marine_runtime::ServiceConfig {
    let modules = config.modules.iter().map(module_config).collect();
    marine_runtime::ServiceConfig {
        total_memory_limit: config.memory_limit.map(|limit| limit.0),
        service_id: Some(config.name.clone()),
        // What a trap leaves behind is nothing to go on with.
        recreate_after_trap: true,
        ..marine_runtime::ServiceConfig::new(modules)
    }
}

fn module_config(config: &ModuleConfig) -> marine_runtime::ModuleConfig {
    marine_runtime::ModuleConfig {
        logger_enabled: config.logger_enabled,
        envs: config.envs.clone(),
        mapped_dirs: config.mapped_dirs.clone(),
        expose_host_paths: false,
        ..marine_runtime::ModuleConfig::from_file(&config.name, &config.path)
    }
}

struct Factory {
    marine: Marine,
    owner: String,
    name: String,
    config: marine_runtime::ServiceConfig,
}

impl Factory {
    fn make(&self) -> Result<Instance, marine_runtime::ServiceError> {
        let service = Service::new(self.config.clone(), &self.marine.engine)?;
        Ok(Instance {
            service,
            owner: self.owner.clone(),
            name: self.name.clone(),
            tokens: self.marine.tokens.clone(),
            vault: self.marine.vault.clone(),
        })
    }
}

impl ServiceFactory for Factory {
    fn create(&self) -> Result<Box<dyn ServiceInstance>, String> {
        match self.make() {
            Ok(instance) => Ok(Box::new(instance)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn interface(&self) -> Result<Value, String> {
        let facade = self
            .config
            .modules
            .last()
            .ok_or("the service has no modules")?;
        let read;
        let bytes: &[u8] = match &facade.source {
            ModuleSource::Bytes(bytes) => bytes,
            ModuleSource::File(path) => {
                read = std::fs::read(path)
                    .map_err(|error| format!("Cannot read modules interface {path:?}: {error}"))?;
                &read
            }
        };
        let module = ModuleInfo::decode(&facade.name, bytes).map_err(|error| error.to_string())?;
        Ok(Interface::of(&module.interface).to_json_with_field_pairs())
    }
}

struct Instance {
    service: Service,
    owner: String,
    name: String,
    tokens: Arc<Tokens>,
    vault: Option<Vaults>,
}

impl ServiceInstance for Instance {
    fn call(
        &mut self,
        call: &FunctionCall,
        deadline: Instant,
    ) -> Result<FunctionOutcome, ServiceFailure> {
        if let Some(Vaults { vault, clock }) = &self.vault
            && !is_of_host(call)
            && self.service.reaches_directories()
        {
            let entered = vault.enter(call, clock.now_ms());
            entered.map_err(|error| ServiceFailure::Call(error.to_string()))?;
        }
        // Among them is a signature, which costs more than most calls.
        let parameters = match self.service.asks_for_parameters() {
            true => self.parameters(call),
            false => CallParameters::default(),
        };
        let texts: Vec<&str> = call.arguments.iter().map(|raw| raw.get()).collect();
        let arguments = format!("[{}]", texts.join(","));
        // A service that was stopped is created anew by the runtime.
        let result = self
            .service
            .call(&call.function_name, &arguments, &parameters, Some(deadline))
            .map_err(|error| match error {
                marine_runtime::ServiceError::NoFunction { .. } => {
                    ServiceFailure::NoFunction(error.to_string())
                }
                error => ServiceFailure::Call(error.to_string()),
            })?;
        match RawValue::from_string(result) {
            Ok(raw) => Ok(FunctionOutcome::Ok(raw)),
            Err(error) => Err(ServiceFailure::Call(format!(
                "the result is not JSON: {error}"
            ))),
        }
    }

    fn memory(&mut self) -> Vec<(String, u64)> {
        self.service.memory_stats().modules
    }
}

impl Instance {
    fn parameters(&self, call: &FunctionCall) -> CallParameters {
        let particle = &call.particle;
        let tetraplets = call.tetraplets.iter().map(|of_argument| {
            let tetraplets = of_argument.iter().map(|tetraplet| SecurityTetraplet {
                peer_pk: tetraplet.peer_pk.clone(),
                service_id: tetraplet.service_id.clone(),
                function_name: tetraplet.function_name.clone(),
                lens: tetraplet.lens.clone(),
            });
            tetraplets.collect()
        });
        CallParameters {
            particle: ParticleParameters {
                id: particle.id.clone(),
                init_peer_id: particle.init_peer_id.to_string(),
                timestamp: particle.timestamp,
                ttl: particle.ttl,
                script: particle.script.to_string(),
                signature: particle.signature.as_bytes().to_vec(),
                token: match is_of_host(call) {
                    true => HOST_CALL.to_owned(),
                    false => self.tokens.of(&particle.signature).to_string(),
                },
            },
            service_id: self.name.clone(),
            service_creator_peer_id: self.owner.clone(),
            host_id: call.host_id.to_string(),
            worker_id: call.peer_id.to_string(),
            tetraplets: tetraplets.collect(),
        }
    }
}

/// The token of calls that the host makes itself. They belong to no particle and have no vault.
const HOST_CALL: &str = "host_call";

/// No particle is admitted without a signature.
fn is_of_host(call: &FunctionCall) -> bool {
    call.particle.signature.as_bytes().is_empty()
}
