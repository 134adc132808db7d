//! System services: the published packages, deployed at start.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use xtask::packages::{REGISTRY, SQLITE};

use super::{
    modules::{
        CERTIFICATES, IPFS_EFFECTOR, IPFS_PURE, REGISTRY_SPELL, TRUST_GRAPH, provide, provide_file,
        spell_modules,
    },
    rig::{PATIENCE, Rig, host_key, manager, reason, stranger, until},
};

/// A program that stands for `ipfs`: its content is in a folder, by hash.
pub(crate) fn ipfs_program(folder: &Path) -> PathBuf {
    let store = folder.join("content");
    fs::create_dir_all(&store).unwrap();
    let program = folder.join("ipfs");
    let script = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin\nstore='{}'\ncase \"$1\" in\n\
         id) printf '{{\"ID\":\"12D3KooWBUJifCTgaxAUrcM9JysqCcS4CS8tiYH5hExbdWCAoNwb\"}}' ;;\n\
         cat) cat \"$store/$2\" ;;\n\
         get) cp \"$store/$4\" \"$3\" ;;\n\
         add) cp \"$3\" \"$store/added\" && printf added ;;\n\
         *) echo \"no such command\" >&2; exit 1 ;;\nesac\n",
        store.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Lets a host have `aqua-ipfs`; nothing where its modules cannot be had.
pub(crate) fn with_ipfs(rig: &mut Rig) -> Option<()> {
    let folder = rig.folder.path();
    let modules = [("ipfs_effector", IPFS_EFFECTOR), ("ipfs_pure", IPFS_PURE)];
    rig.system.aqua_ipfs.modules = provide(folder, &modules)?;
    rig.system.aqua_ipfs.ipfs_binary_path = ipfs_program(folder);
    let address = "/ip4/127.0.0.1/tcp/5001".to_owned();
    rig.system
        .aqua_ipfs
        .local_api_multiaddr
        .clone_from(&address);
    rig.system.aqua_ipfs.external_api_multiaddr = address;
    Some(())
}

fn with_registry(rig: &mut Rig) -> Option<()> {
    let folder = rig.folder.path();
    rig.system.spell = spell_modules(folder)?;
    rig.system.trust_graph.modules =
        provide(folder, &[("sqlite3", SQLITE), ("trust-graph", TRUST_GRAPH)])?;
    rig.system.registry.modules = provide(folder, &[("sqlite3", SQLITE), ("registry", REGISTRY)])?;
    rig.system.registry.spell_script = Some(provide_file(folder, REGISTRY_SPELL)?);
    Some(())
}

async fn run(rig: &Rig, script: String, arguments: &[Value]) -> Result<Value, String> {
    let answer = rig.run(&manager(), script, arguments);
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap()
        .unwrap()
}

/// A script of calls at the host, one after the other, whose last value is the answer.
fn calls(rows: &[&str]) -> String {
    let host = host_key().peer_id().to_string();
    let call = |row: &&str| {
        let (name, rest) = row.split_once(' ').unwrap();
        let (service, function) = name.split_once('.').unwrap();
        format!(r#"(call "{host}" ("{service}" "{function}") {rest})"#)
    };
    let answer = r#"test.answer [answer]"#;
    let rows = rows.iter().chain([&answer]).map(call);
    let all = rows
        .reduce(|before, row| format!("(seq {before} {row})"))
        .unwrap();
    format!(r#"(xor {all} (call "{host}" ("test" "error") [%last_error%]))"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_registered_and_resolved() {
    let mut rig = Rig::new();
    let Some(()) = with_registry(&mut rig) else {
        return;
    };
    // A graph of our own, whose root can sign.
    let certificates = rig.folder.path().join("certificates.json");
    let root = manager().peer_id().to_string();
    let first = json!({ "root_node": root, "max_chain_length": 5, "certs": [] });
    fs::write(&certificates, first.to_string()).unwrap();
    rig.system.trust_graph.certificates = Some(certificates);
    rig.start().await;

    // The root trusts itself, then another.
    let host = host_key().peer_id();
    let weight_of = async |who: &str| {
        let script = calls(&[
            "peer.timestamp_sec [] now",
            "test.argument [0] who",
            "trust-graph.get_weight [who now] answer",
        ]);
        run(&rig, script, &[json!(who)]).await.unwrap()
    };
    let other = stranger().peer_id().to_string();
    assert_eq!(weight_of(&other).await["weight"], 0);
    for who in [&root, &other] {
        let script = calls(&[
            "peer.timestamp_sec [] now",
            "test.argument [0] who",
            "math.add [now 100000] expires",
            "trust-graph.get_trust_bytes [who expires now] bytes",
            "test.sign [bytes.$.result] signature",
            "trust-graph.issue_trust [who expires now signature] issued",
            "trust-graph.add_trust [issued.$.trust %init_peer_id% now] answer",
        ]);
        let added = run(&rig, script, &[json!(who)]).await.unwrap();
        assert_eq!(added["success"], true, "{added}");
    }
    let weight = weight_of(&other).await;
    assert_eq!(weight["success"], true, "{weight}");
    assert!(weight["weight"].as_u64().unwrap() > 0, "{weight}");

    let script = calls(&[
        "peer.timestamp_sec [] now",
        "trust-graph.get_weight [%init_peer_id% now] weight",
        r#"registry.get_key_bytes ["label" [] now [] ""] bytes"#,
        "test.sign [bytes] signature",
        r#"registry.register_key ["label" [] now [] "" signature weight now] answer"#,
    ]);
    let registered = run(&rig, script, &[]).await.unwrap();
    assert_eq!(registered["success"], true, "{registered}");
    let key_id = registered["key_id"].clone();

    // A record of what the host has, which the host signs.
    let script = calls(&[
        "test.argument [0] key",
        "test.argument [1] host",
        "peer.timestamp_sec [] now",
        "trust-graph.get_weight [%init_peer_id% now] weight",
        r#"registry.get_record_metadata_bytes [key %init_peer_id% now "value" host [] [] []] bytes"#,
        "test.sign [bytes] issued",
        r#"registry.create_record_metadata [key %init_peer_id% now "value" host [] [] [] issued] metadata"#,
        "registry.get_record_bytes [metadata now] record",
        "sig.sign [record] signed",
        "registry.put_record [metadata now signed.$.signature.[0] weight now] answer",
    ]);
    let put = run(&rig, script, &[key_id.clone(), json!(host.to_string())])
        .await
        .unwrap();
    assert_eq!(put["success"], true, "{put}");
    let resolve = async |rig: &Rig| {
        let script = calls(&[
            "test.argument [0] key",
            "peer.timestamp_sec [] now",
            "registry.get_records [key now] answer",
        ]);
        run(rig, script, std::slice::from_ref(&key_id))
            .await
            .unwrap()
    };
    let records = resolve(&rig).await;
    assert_eq!(records["success"], true, "{records}");
    assert_eq!(
        records["result"][0]["metadata"]["value"], "value",
        "{records}"
    );
    assert_eq!(
        records["result"][0]["metadata"]["peer_id"],
        json!(host.to_string())
    );

    // Its spell has run, and after a restart everything is what it was.
    let services = |listed: Value| {
        let of = |service: &Value| (service["aliases"][0].clone(), service["id"].clone());
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(of)
            .collect::<Vec<_>>()
    };
    until("the spell of the registry runs", async || {
        let counter = [json!("hw_counter")];
        let counter = rig.at_host("registry-spell.get_u32", &counter).await;
        (counter["value"].as_u64().unwrap() > 0).then_some(())
    })
    .await;
    let before = services(rig.at_host("srv.list", &[]).await);
    rig.restart().await;
    assert_eq!(services(rig.at_host("srv.list", &[]).await), before);
    let missing = rig
        .at_host("registry.get_key_id", &[json!("label"), json!(root)])
        .await;
    assert_eq!(missing, key_id);
    // A configuration that changed reaches the spell.
    rig.system.registry.expired_period_sec = 77;
    rig.restart().await;
    let config = rig
        .at_host("registry-spell.get_string", &[json!("config")])
        .await;
    let config: Value = serde_json::from_str(config["value"].as_str().unwrap()).unwrap();
    assert_eq!(config["expired_interval"], 77);
    assert_eq!(services(rig.at_host("srv.list", &[]).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn published_certificates_are_read() {
    let mut rig = Rig::new();
    let folder = rig.folder.path();
    let modules = [("sqlite3", SQLITE), ("trust-graph", TRUST_GRAPH)];
    let Some(modules) = provide(folder, &modules) else {
        return;
    };
    rig.system.trust_graph.certificates = provide_file(folder, CERTIFICATES);
    rig.system.trust_graph.modules = modules;
    rig.start().await;
    let id = rig
        .at_host("srv.resolve_alias", &[json!("trust-graph")])
        .await;
    let info = rig.at_host("srv.info", &[id]).await;
    assert_eq!(info["owner_id"], json!(host_key().peer_id().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_through_aqua_ipfs() {
    let mut rig = Rig::new();
    let Some(()) = with_ipfs(&mut rig) else {
        return;
    };
    rig.start().await;
    let host = host_key().peer_id();
    let script = calls(&[
        r#"vault.put ["some text"] path"#,
        "aqua-ipfs.put [path] put",
        "aqua-ipfs.get [put.$.hash] got",
        "vault.cat [got.$.path] answer",
    ]);
    assert_eq!(run(&rig, script, &[]).await, Ok(json!("some text")));
    let address = rig.at_host("aqua-ipfs.get_local_api_multiaddr", &[]).await;
    assert_eq!(address["multiaddr"], "/ip4/127.0.0.1/tcp/5001");
    let refused = rig
        .ask(&stranger(), host, "aqua-ipfs.get_local_api_multiaddr", &[])
        .await;
    assert_eq!(
        reason(refused),
        "This function is only available to the host or worker spells"
    );
    // The address is told anew at each start; developers let everybody in.
    rig.dev_mode = true;
    rig.restart().await;
    let address = rig
        .ask(&stranger(), host, "aqua-ipfs.get_local_api_multiaddr", &[])
        .await;
    assert_eq!(address.unwrap()["multiaddr"], "/ip4/127.0.0.1/tcp/5001");
}
