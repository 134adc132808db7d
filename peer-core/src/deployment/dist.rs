//! `dist`: modules and blueprints (§3.7, §4.2, §4.3).

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Blueprint, DeploymentError, Inner, ModuleDescription, ModuleStoreError, Pairs, WasiDescription,
};
use crate::{
    builtins::{Answer, Failure, value},
    host::{ArgumentError, Arguments, FunctionCall, FunctionOutcome},
};

pub(super) fn call(inner: &Inner, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    match call.function_name.as_str() {
        "add_module" => {
            let bytes: ModuleBytes = arguments.next("module_bytes")?;
            let config: ModuleDescription = arguments.next("config")?;
            inner.guard.check(call)?;
            add_module(inner, &config.name, &bytes.into_bytes()?)
        }
        "add_module_from_vault" => {
            let path: String = arguments.next("module_path")?;
            let config: ModuleDescription = arguments.next("config")?;
            inner.guard.check(call)?;
            add_module(inner, &config.name, &read(inner, call, &path)?)
        }
        "add_module_bytes_from_vault" => {
            let name: String = arguments.next("module_name")?;
            let path: String = arguments.next("module_path")?;
            inner.guard.check(call)?;
            add_module(inner, &name, &read(inner, call, &path)?)
        }
        "add_blueprint" => {
            let text: String = arguments.next("blueprint")?;
            inner.guard.check(call)?;
            let blueprint = Blueprint::parse(text.as_bytes())
                .map_err(|error| format!("Error deserializing blueprint from IPLD: {error}"))?;
            value(&inner.add_blueprint(&blueprint)?)
        }
        "make_module_config" => value(&make_module_config(&mut arguments)?),
        "load_module_config" => {
            let path: String = arguments.next("config_path")?;
            let bytes = read(inner, call, &path)?;
            let config: ModuleDescription = serde_json::from_slice(&bytes).map_err(|error| {
                format!("Error parsing module config from vault {path:?}: {error}")
            })?;
            value(&config)
        }
        "default_module_config" => {
            let name: String = arguments.next("module_name")?;
            value(&ModuleDescription {
                name,
                ..ModuleDescription::default()
            })
        }
        "make_blueprint" => {
            let name: String = arguments.next("name")?;
            let dependencies: Vec<String> = arguments.next("dependencies")?;
            let blueprint = Blueprint::new(name, &dependencies);
            value(
                &blueprint
                    .map_err(|error| Failure::typed(&error))?
                    .to_dag_json(),
            )
        }
        "load_blueprint" => {
            let path: String = arguments.next("blueprint_path")?;
            let blueprint = Blueprint::parse(&read(inner, call, &path)?)
                .map_err(|error| format!("Error parsing blueprint from vault {path:?}: {error}"))?;
            value(&blueprint.to_dag_json())
        }
        "list_modules" => value(&inner.modules.list().map_err(DeploymentError::from)?),
        "get_module_interface" => {
            let cid: String = arguments.next("hex_hash")?;
            value(
                &inner
                    .modules
                    .interface(&cid)
                    .map_err(DeploymentError::from)?,
            )
        }
        "list_blueprints" => {
            let blueprints = inner.blueprints()?;
            let described: Vec<Value> = blueprints.iter().map(Blueprint::describe).collect();
            value(&described)
        }
        "get_blueprint" => {
            let id: String = arguments.next("blueprint_id")?;
            value(&inner.blueprint(&id)?.describe())
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// Base64, as hosts take it, or the bytes themselves, as the published declaration says.
#[derive(Deserialize)]
#[serde(untagged)]
enum ModuleBytes {
    Base64(String),
    Bytes(Vec<u8>),
}

impl ModuleBytes {
    fn into_bytes(self) -> Result<Vec<u8>, DeploymentError> {
        match self {
            Self::Base64(text) => BASE64
                .decode(text.as_bytes())
                .map_err(|error| ModuleStoreError::Base64(error).into()),
            Self::Bytes(bytes) => Ok(bytes),
        }
    }
}

fn add_module(inner: &Inner, name: &str, bytes: &[u8]) -> Answer {
    // The name becomes that of a directory.
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err(format!("module name {name:?} is not the name of a file").into());
    }
    let added = inner.modules.add(name, bytes);
    value(&added.map_err(DeploymentError::from)?)
}

fn read(inner: &Inner, call: &FunctionCall, path: &str) -> Result<Vec<u8>, Failure> {
    inner
        .vault
        .read(call, path)
        .map_err(|error| Failure::typed(&error))
}

fn make_module_config(arguments: &mut Arguments<'_>) -> Result<ModuleDescription, ArgumentError> {
    type List = Vec<(String, String)>;
    let name = arguments.next("name")?;
    // Memory has long been a matter of the service.
    arguments.next_opt::<u32>("mem_pages_count")?;
    arguments.next_opt::<String>("max_heap_size")?;
    let logger_enabled = arguments.next_opt("logger_enabled")?;
    arguments.next_opt::<Vec<String>>("preopened_files")?;
    let mut pairs = |field| {
        let list = arguments.next_opt::<List>(field)?;
        let object = |list: List| -> BTreeMap<String, Value> {
            list.into_iter()
                .map(|(key, value)| (key, json!(value)))
                .collect()
        };
        Ok::<_, ArgumentError>(list.map(|list| Pairs(object(list))))
    };
    let (envs, mapped_dirs) = (pairs("envs")?, pairs("mapped_dirs")?);
    let mounted_binaries = pairs("mounted_binaries")?;
    let logging_mask = arguments.next_opt("logging_mask")?;
    Ok(ModuleDescription {
        name,
        logger_enabled,
        logging_mask,
        wasi: Some(WasiDescription { envs, mapped_dirs }),
        mounted_binaries,
        ..ModuleDescription::default()
    })
}
