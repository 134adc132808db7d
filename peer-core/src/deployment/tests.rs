mod upgrade;

use std::time::Duration;

use futures::executor::block_on;
use serde_json::{Value, json};

use super::*;
use crate::{
    host::{HostChain, OwnedTetraplet, ParticleContext, tests::call},
    services::Inline,
    store::MemoryStore,
};

const GREETING: &[u8] = include_bytes!("../../../examples/wasm/greeting.wasm");
const STORAGE: &[u8] = include_bytes!("../../../examples/wasm/files.wasm");

struct Noon;

#[async_trait]
impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        5_000
    }

    async fn sleep(&self, _duration: Duration) {}
}

fn host_key() -> KeyPair {
    KeyPair::from_seed(&[2; 32])
}

/// A host with a folder and a store that outlive it.
struct Host {
    host: HostChain,
    deployment: Deployment,
}

struct Disk {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
}

impl Disk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: Arc::new(MemoryStore::default()),
        }
    }

    fn host(&self) -> Host {
        let key = Arc::new(host_key());
        let clock = Arc::new(Noon);
        let services = Arc::new(Services::new(Arc::new(Inline), clock.clone()));
        let parts = DeploymentParts {
            key: key.clone(),
            marine: Marine::new(marine_runtime::Engine::wasmer(), key),
            services: services.clone(),
            store: self.store.clone(),
            guard: Guard::new([manager()]),
            blocking: Arc::new(Inline),
            clock,
            chain: None,
        };
        let config = DeploymentConfig {
            memory_limit: Some(64 << 20),
            ..DeploymentConfig::new(self.folder.path())
        };
        let deployment = Deployment::open(config, parts).unwrap();
        let host = HostChain::new()
            .with(Arc::new(deployment.clone()))
            .with(services);
        Host { host, deployment }
    }
}

fn manager() -> PeerId {
    KeyPair::from_seed(&[9; 32]).peer_id()
}

fn by(user: PeerId, mut call: FunctionCall) -> FunctionCall {
    call.particle = Arc::new(ParticleContext {
        init_peer_id: user,
        ..(*call.particle).clone()
    });
    call
}

impl Host {
    fn ask(&self, user: PeerId, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let (service, function) = name.split_once('.').unwrap();
        self.answer(&by(user, call(service, function, arguments)))
    }

    fn answer(&self, call: &FunctionCall) -> Result<Value, String> {
        let (code, text) = block_on(self.host.call(call)).into_result(call);
        match (code, serde_json::from_str(&text).unwrap()) {
            (0, value) => Ok(value),
            (_, Value::String(text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    fn manage(&self, name: &str, arguments: &[Value]) -> Value {
        let answer = self.ask(manager(), name, arguments);
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Deploys one module as a service; its id.
    fn deploy(&self, name: &str, bytes: &[u8]) -> String {
        let text = data_encoding::BASE64.encode(bytes);
        let cid = self.manage("dist.add_module", &[json!(text), json!({ "name": name })]);
        let blueprint = self.manage("dist.make_blueprint", &[json!(name), json!([cid])]);
        let blueprint = self.manage("dist.add_blueprint", &[blueprint]);
        let id = self.manage("srv.create", &[blueprint]);
        id.as_str().unwrap().to_owned()
    }
}

#[test]
fn from_a_module_to_a_service_and_over_a_restart() {
    let disk = Disk::new();
    let stranger = KeyPair::from_seed(&[1; 32]).peer_id();
    let id = {
        let host = disk.host();
        let id = host.deploy("greeting", GREETING);
        host.manage("srv.add_alias", &[json!("hello"), json!(id)]);
        let greeting = host.ask(stranger, "hello.greeting", &[json!("Bob")]);
        let greeting = greeting.unwrap();
        assert!(greeting.as_str().unwrap().contains("Bob"), "{greeting}");
        id
    };
    let host = disk.host();
    let greeting = host.ask(stranger, "hello.greeting", &[json!("Eve")]);
    assert!(greeting.unwrap().as_str().unwrap().contains("Eve"));
    let info = host.ask(stranger, "srv.info", &[json!("hello")]).unwrap();
    assert_eq!(info["id"], json!(id));
    assert_eq!(info["owner_id"], json!(manager().to_string()));
    assert_eq!(info["service_type"], "service");
    assert_eq!(info["aliases"], json!(["hello"]));
    assert_eq!(info["worker_id"], json!(host_key().peer_id().to_string()));
    assert_eq!(host.ask(stranger, "srv.list", &[]).unwrap(), json!([info]));
    assert_eq!(
        host.ask(stranger, "srv.resolve_alias", &[json!("hello")]),
        Ok(json!(id))
    );
    let interface = host.ask(stranger, "srv.get_interface", &[json!("hello")]);
    let interface = interface.unwrap();
    let functions = interface["function_signatures"].as_array().unwrap();
    assert!(
        functions
            .iter()
            .any(|function| function["name"] == "greeting")
    );

    host.manage("srv.remove", &[json!("hello")]);
    assert_eq!(
        host.ask(stranger, "hello.greeting", &[json!("Eve")]),
        Err("Service with id 'hello' not found (function greeting)".to_owned())
    );
    assert_eq!(
        host.ask(stranger, "srv.resolve_alias_opt", &[json!("hello")]),
        Ok(json!([]))
    );
    let error = host.ask(stranger, "srv.resolve_alias", &[json!("hello")]);
    let error = error.unwrap_err();
    assert!(
        error.starts_with("Error: Service with alias 'hello' is not found on worker 'Host'\n"),
        "{error}"
    );
    assert!(disk.host().ask(stranger, "srv.list", &[]) == Ok(json!([])));
    for folder in ["workdir", "ephemeral/workdir"] {
        let left = fs::read_dir(disk.folder.path().join(folder));
        assert_eq!(left.map_or(0, Iterator::count), 0, "{folder}");
    }
}

#[test]
fn strangers_deploy_nothing() {
    let disk = Disk::new();
    let host = disk.host();
    let stranger = KeyPair::from_seed(&[1; 32]).peer_id();
    let guarded = Err("This function is only available to the host or worker spells".to_owned());
    for (name, arguments) in [
        ("dist.add_module", json!(["", { "name": "a" }])),
        ("dist.add_module_from_vault", json!(["a", { "name": "a" }])),
        ("dist.add_module_bytes_from_vault", json!(["a", "b"])),
        ("dist.add_blueprint", json!(["{}"])),
        ("srv.create", json!(["a"])),
        ("srv.add_alias", json!(["a", "b"])),
        ("srv.remove", json!(["a"])),
    ] {
        let arguments = arguments.as_array().unwrap();
        assert_eq!(host.ask(stranger, name, arguments), guarded, "{name}");
        // What is wrong with the arguments is said first.
        let error = host.ask(stranger, name, &[]).unwrap_err();
        assert!(error.contains("is missing from args"), "{name}: {error}");
    }
}

#[test]
fn only_owners_and_managers_remove() {
    let disk = Disk::new();
    let host = disk.host();
    let stranger = KeyPair::from_seed(&[1; 32]).peer_id();
    let id = host.deploy("greeting", GREETING);
    host.manage("srv.add_alias", &[json!("hello"), json!(id)]);
    for name in [json!(id), json!("hello")] {
        let refused = host.ask(stranger, "srv.remove", std::slice::from_ref(&name));
        assert!(refused.is_err(), "{refused:?}");
        let spell = host.ask(stranger, "spell.remove", &[name]).unwrap_err();
        assert!(
            spell.contains("spell") && !spell.contains("panicked"),
            "{spell}"
        );
    }
    assert!(
        host.ask(stranger, "hello.greeting", &[json!("Bob")])
            .is_ok()
    );
    // The host is not its owner, but it is its scope.
    host.ask(host_key().peer_id(), "srv.remove", &[json!("hello")])
        .unwrap();
    assert_eq!(host.manage("srv.list", &[]), json!([]));
}

#[test]
fn names_are_of_one_service() {
    let disk = Disk::new();
    let host = disk.host();
    let (first, second) = (host.deploy("a", GREETING), host.deploy("b", GREETING));
    host.manage("srv.add_alias", &[json!("x"), json!(first)]);
    host.manage("srv.add_alias", &[json!("x"), json!(second)]);
    assert_eq!(
        host.manage("srv.info", &[json!(first)])["aliases"],
        json!([])
    );
    let refused = |alias: &str, id: &str| {
        let arguments = [json!(alias), json!(id)];
        host.ask(manager(), "srv.add_alias", &arguments)
            .unwrap_err()
    };
    for (alias, id, text) in [
        (
            first.as_str(),
            second.as_str(),
            format!("Cannot add alias '{first}' because there is a service with that id"),
        ),
        (
            "spell",
            &first,
            "Cannot add alias 'spell' because it is reserved".to_owned(),
        ),
        ("y", "x", "Service with id 'x' not found on".to_owned()),
    ] {
        let error = refused(alias, id);
        assert!(error.starts_with(&format!("Error: {text}")), "{error}");
    }
}

#[test]
fn modules_and_blueprints_are_listed() {
    let disk = Disk::new();
    let host = disk.host();
    host.deploy("greeting", GREETING);
    let modules = host.manage("dist.list_modules", &[]);
    assert_eq!(modules[0]["name"], "greeting");
    let cid = &modules[0]["hash"];
    let blueprints = host.manage("dist.list_blueprints", &[]);
    assert_eq!(blueprints[0]["dependencies"], json!([cid]));
    let id = &blueprints[0]["id"];
    assert_eq!(
        host.manage("dist.get_blueprint", std::slice::from_ref(id)),
        blueprints[0]
    );
    let interface = host.manage("dist.get_module_interface", std::slice::from_ref(cid));
    assert!(interface["function_signatures"].is_array());
    let missing = host.ask(manager(), "dist.get_blueprint", &[json!("none")]);
    assert!(
        missing
            .unwrap_err()
            .starts_with("Error: Blueprint 'none' wasn't found\n")
    );
    let unknown = [json!(
        "bafkreifdehdwcppttfsqaju4kodgn5wgbefrarbzc72k4sore2bwpeq2fa"
    )];
    assert!(
        host.ask(manager(), "dist.get_module_interface", &unknown)
            .is_err()
    );
    let blueprint = json!(["x", unknown]);
    let text = host.manage("dist.make_blueprint", blueprint.as_array().unwrap());
    let id = host.manage("dist.add_blueprint", &[text]);
    let error = host.ask(manager(), "srv.create", &[id]).unwrap_err();
    assert!(error.contains("wasn't found"), "{error}");
}

#[test]
fn configurations_of_modules() {
    let disk = Disk::new();
    let host = disk.host();
    let arguments = json!([
        "a",
        [5],
        [],
        [true],
        [],
        [[["k", "v"]]],
        [],
        [[["curl", "/usr/bin/curl"]]],
        [7]
    ]);
    assert_eq!(
        host.manage("dist.make_module_config", arguments.as_array().unwrap()),
        json!({
            "name": "a",
            "load_from": null,
            "file_name": null,
            "logger_enabled": true,
            "logging_mask": 7,
            "wasi": { "envs": { "k": "v" }, "mapped_dirs": null },
            "mounted_binaries": { "curl": "/usr/bin/curl" },
        })
    );
    assert_eq!(
        host.manage("dist.default_module_config", &[json!("a")]),
        json!({ "name": "a", "load_from": null, "file_name": null })
    );
    let bytes = json!(GREETING);
    for name in ["", "..", "a/b"] {
        let config = json!({ "name": name });
        let error = host.ask(manager(), "dist.add_module", &[bytes.clone(), config]);
        assert!(error.unwrap_err().contains("is not the name of a file"));
    }
    let config = json!({ "name": "a" });
    let error = host.ask(manager(), "dist.add_module", &[json!("%"), config.clone()]);
    let error = error.unwrap_err();
    assert!(
        error.starts_with("Error: Error while decoding module bytes from base64: "),
        "{error}"
    );
    // The bytes themselves are taken as well.
    host.manage("dist.add_module", &[bytes, config]);
}

/// Names of blueprints and modules are keys or checked identifiers: none is a path to a file.
#[test]
fn identifiers_that_are_paths_find_nothing() {
    let disk = Disk::new();
    let host = disk.host();
    host.deploy("greeting", GREETING);
    fs::write(disk.folder.path().join("secret"), "secret").unwrap();
    let modules = fs::read_dir(disk.folder.path().join("modules"));
    let known = modules.unwrap().flatten().next().unwrap().file_name();
    for path in [
        "../secret",
        "/etc/passwd",
        "..",
        "",
        "a\0b",
        &format!("./{}", known.to_string_lossy()),
        &known.to_string_lossy(),
    ] {
        for name in [
            "dist.get_module_interface",
            "dist.get_blueprint",
            "srv.create",
            "srv.info",
            "srv.get_interface",
        ] {
            let answer = host.ask(manager(), name, &[json!(path)]);
            assert!(answer.is_err(), "{name}({path}): {answer:?}");
        }
        let link = json!({ "dependencies": [{ "/": path }], "name": "b" }).to_string();
        let answer = host.ask(manager(), "dist.add_blueprint", &[json!(link)]);
        assert!(answer.is_err(), "{path}: {answer:?}");
    }
    // The name of a blueprint is a text that names no file.
    let module = host.manage("dist.list_modules", &[])[0]["hash"].clone();
    let text = host.manage("dist.make_blueprint", &[json!("../../x"), json!([module])]);
    let id = host.manage("dist.add_blueprint", &[text]);
    host.manage("srv.create", &[id]);
    assert!(!disk.folder.path().join("../../x").exists());
}

#[test]
fn services_share_the_vault_of_a_particle() {
    let disk = Disk::new();
    let host = disk.host();
    let user = KeyPair::from_seed(&[1; 32]).peer_id();
    let path = host.ask(user, "vault.put", &[json!("text")]).unwrap();
    assert_eq!(
        host.ask(user, "vault.cat", std::slice::from_ref(&path)),
        Ok(json!("text"))
    );
    let id = host.deploy("files", STORAGE);
    let interface = host.manage("srv.get_interface", &[json!(id)]);
    let names: Vec<&Value> = interface["function_signatures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|function| &function["name"])
        .collect();
    assert!(names.contains(&&json!("read_file")), "{names:?}");
    let read = host.ask(
        user,
        &format!("{id}.read_file"),
        std::slice::from_ref(&path),
    );
    assert_eq!(read.unwrap()["content"], json!(b"text"));
    let path = path.as_str().unwrap();
    let (folder, name) = path.rsplit_once('/').unwrap();
    let list = |folder: &str| {
        let listed = host.ask(user, &format!("{id}.list_directory"), &[json!(folder)]);
        listed.unwrap()["names"].clone()
    };
    assert_eq!(list(folder), json!([name]));
    // The vaults of other particles are found by their names only.
    for above in ["/tmp/vault", "/tmp/vault/.", &format!("{folder}/..")] {
        assert_eq!(list(above), json!([]), "{above}");
    }
    host.deployment.vault().collect(8_001);
    assert_eq!(
        host.ask(user, "vault.cat", &[json!(path)]),
        Err(format!("Error reading vault file `{path}`"))
    );
}

#[test]
fn modules_come_from_the_vault() {
    let disk = Disk::new();
    let host = disk.host();
    let call = by(
        manager(),
        call(
            "dist",
            "add_module_bytes_from_vault",
            &[json!("g"), json!("m")],
        ),
    );
    let folder = host.deployment.vault().enter(&call, 5_000).unwrap();
    fs::write(folder.join("m"), GREETING).unwrap();
    let cid = host.answer(&call).unwrap();
    assert_eq!(cid, json!(deal_types::unixfs::cid_of(GREETING).to_string()));
    let config = json!({ "name": "x", "unknown": 1 });
    fs::write(folder.join("config"), config.to_string()).unwrap();
    let loaded = host.manage("dist.load_module_config", &[json!("config")]);
    assert_eq!(loaded["name"], "x");
    let blueprint = host.manage("dist.make_blueprint", &[json!("b"), json!([cid])]);
    fs::write(folder.join("blueprint"), blueprint.as_str().unwrap()).unwrap();
    assert_eq!(
        host.manage("dist.load_blueprint", &[json!("blueprint")]),
        blueprint
    );
}

#[test]
fn calls_and_memory_are_counted() {
    let disk = Disk::new();
    let host = disk.host();
    let id = host.deploy("greeting", GREETING);
    let none = host.manage("stat.service_stat", &[json!(id)]);
    assert_eq!(none["status"], false);
    assert_eq!(
        none["error"],
        json!(format!("No stats were collected for the `{id}` service"))
    );
    let user = KeyPair::from_seed(&[1; 32]).peer_id();
    host.ask(user, &format!("{id}.greeting"), &[json!("a")])
        .unwrap();
    host.ask(user, &format!("{id}.greeting"), &[json!(1)])
        .unwrap_err();
    host.ask(user, &format!("{id}.nope"), &[]).unwrap_err();
    let stat = host.manage("stat.service_stat", &[json!(id)]);
    let total = &stat["result"][0]["total_stats"];
    assert_eq!(total["success_req_count"], 1);
    assert_eq!(total["failed_req_count"], 2);
    assert_eq!(total["timestamps"], json!([1_000, 1_000, 1_000]));
    let functions = stat["result"][0]["functions_stats"].as_array().unwrap();
    assert_eq!(functions.len(), 1);
    assert_eq!(functions[0]["stats"]["failed_req_count"], 1);
    let memory = host.manage("stat.service_memory", &[json!(id)]);
    assert_eq!(memory[0]["name"], "greeting");
    assert!(memory[0]["memory_size_bytes"].as_u64().unwrap() >= 65_536);
    assert_eq!(memory[0]["max_memory_size_bytes"], 64 << 20);
}

/// In the scope of a worker its own key signs, for nobody but itself.
#[test]
fn a_worker_signs_with_its_own_key() {
    use particle::{Signer as _, Verifier as _};
    let disk = Disk::new();
    let host = disk.host();
    let worker = host.manage("worker.create", &[json!("deal"), json!([])]);
    let worker: PeerId = worker.as_str().unwrap().parse().unwrap();
    let own = host_key().peer_id();
    let data = json!([1, 2, 3]);
    let sign = |user: PeerId, scope: PeerId, origin: PeerId| {
        let mut call = by(user, call("sig", "sign", std::slice::from_ref(&data)));
        call.peer_id = scope;
        call.tetraplets = vec![vec![OwnedTetraplet {
            peer_pk: origin.to_string(),
            service_id: "registry".to_owned(),
            function_name: "get_record_metadata_bytes".to_owned(),
            lens: String::new(),
        }]];
        host.answer(&call)
    };
    let verify = |scope: PeerId, signature: &Value| {
        let arguments = [signature.clone(), data.clone()];
        let mut call = by(manager(), call("sig", "verify", &arguments));
        call.peer_id = scope;
        host.answer(&call)
    };
    // The registry of the host counts for its workers.
    for origin in [own, worker] {
        let signed = sign(worker, worker, origin).unwrap();
        assert_eq!(
            (&signed["success"], &signed["error"]),
            (&json!(true), &json!([]))
        );
        let signature = &signed["signature"][0];
        assert_eq!(verify(worker, signature), Ok(json!(true)));
        assert_eq!(verify(own, signature), Ok(json!(false)));
        let bytes: Vec<u8> = serde_json::from_value(signature.clone()).unwrap();
        let key = host.deployment.workers().key(worker).unwrap();
        key.public_key().verify(&[1, 2, 3], &bytes).unwrap();
    }
    let mut named = by(manager(), call("sig", "get_peer_id", &[]));
    named.peer_id = worker;
    assert_eq!(host.answer(&named), Ok(json!(worker.to_string())));
    for (user, scope) in [(manager(), worker), (own, worker), (worker, own)] {
        let refused = format!("peer '{user}' is not allowed to sign data on '{scope}'");
        assert_eq!(sign(user, scope, own), Err(refused));
    }
    // Managers sign on the host only.
    assert_eq!(sign(manager(), own, own).unwrap()["success"], true);
}

#[test]
fn only_records_of_the_registry_are_signed() {
    let disk = Disk::new();
    let host = disk.host();
    let own = host_key().peer_id();
    let data = json!([1, 2, 3]);
    let from = |peer: &str, service: &str, function: &str, lens: &str| {
        let mut call = by(own, call("sig", "sign", std::slice::from_ref(&data)));
        call.tetraplets = vec![vec![OwnedTetraplet {
            peer_pk: peer.to_owned(),
            service_id: service.to_owned(),
            function_name: function.to_owned(),
            lens: lens.to_owned(),
        }]];
        call
    };
    let here = own.to_string();
    let signed = host.answer(&from(&here, "registry", "get_record_bytes", ""));
    let signed = signed.unwrap();
    assert_eq!(signed["success"], true);
    let verify = [signed["signature"][0].clone(), data.clone()];
    assert_eq!(host.ask(own, "sig.verify", &verify), Ok(json!(true)));
    let verify = [signed["signature"][0].clone(), json!([1, 2, 4])];
    assert_eq!(host.ask(own, "sig.verify", &verify), Ok(json!(false)));
    for (call, text) in [
        (
            from("else", "registry", "get_record_bytes", ""),
            "data is expected to be produced by service 'registry' on peer",
        ),
        (
            from(&here, "registry", "get", ""),
            "data is expected to result from a call to",
        ),
        (
            from(&here, "registry", "get_record_bytes", ".$.x"),
            "lens for data tetraplet is expected to be empty",
        ),
        (
            by(own, call("sig", "sign", std::slice::from_ref(&data))),
            "expected tetraplet for a scalar argument",
        ),
        (
            by(
                KeyPair::from_seed(&[1; 32]).peer_id(),
                from(&here, "registry", "get_record_bytes", ""),
            ),
            "peer '",
        ),
    ] {
        let error = host.answer(&call).unwrap_err();
        assert!(error.starts_with(text), "{error}");
    }
    let wrong = host.ask(own, "sig.sign", &[json!("text")]).unwrap();
    assert_eq!(wrong["success"], false);
    assert_eq!(host.ask(own, "sig.get_peer_id", &[]), Ok(json!(here)));
}
