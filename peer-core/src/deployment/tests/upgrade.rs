//! A store that an earlier version of this program wrote.
//!
//! `fixtures/store-0` has it as it was on disk: `store.redb.gz` without a mark of its version, and
//! the key of its worker. A change of the store's format adds a folder, and a test like this one.

use std::{io::Read as _, path::Path};

use super::*;
use crate::{
    records,
    spells::{self, SpellId, TriggerConfig},
    store::{Change, DiskStore, Durability, Table},
};

/// The spell whose trigger is in the store.
const SPELL: &str = "7a5e3a0c-2f0f-4a5c-9d53-0c3a5c1f7d11";

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store-0");
    fs::read(folder.join(name)).unwrap()
}

fn text(name: &str) -> String {
    let text = String::from_utf8(fixture(name)).unwrap();
    text.trim().to_owned()
}

fn worker() -> PeerId {
    text("worker.txt").parse().unwrap()
}

fn trigger() -> TriggerConfig {
    let config = json!({
        "clock": { "start_sec": 9, "end_sec": 0, "period_sec": 60 },
        "connections": { "connect": true, "disconnect": false },
        "blockchain": { "start_block": 0, "end_block": 0 },
    });
    serde_json::from_value(config).unwrap()
}

/// A folder as the earlier version left it.
fn old_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Vec::new();
    flate2::read::GzDecoder::new(fixture("store.redb.gz").as_slice())
        .read_to_end(&mut store)
        .unwrap();
    fs::write(folder.path().join("store.redb"), store).unwrap();
    let keys = folder.path().join("keypairs");
    let key = keys.join(format!("{}_keypair.toml", worker()));
    fs::create_dir_all(&keys).unwrap();
    fs::write(&key, fixture("keypair.toml")).unwrap();
    let modules = folder.path().join("modules");
    fs::create_dir_all(&modules).unwrap();
    let cid = deal_types::unixfs::cid_of(GREETING);
    fs::write(modules.join(format!("{cid}.wasm")), GREETING).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// Everything that is in the old store is there, in every form in which it is used.
fn check(disk: &Disk, host: &Host) {
    assert_eq!(host.deployment.lost_services(), 0);
    let id = text("service.txt");
    let info = host.manage("srv.info", &[json!("hello")]);
    assert_eq!(info["id"], json!(id));
    assert_eq!(info["owner_id"], json!(manager().to_string()));
    assert_eq!(info["aliases"], json!(["hello"]));
    let greeting = host.manage("hello.greeting", &[json!("Ada")]);
    assert!(greeting.as_str().unwrap().contains("Ada"), "{greeting}");
    let modules = host.manage("dist.list_modules", &[]);
    assert_eq!(modules[0]["name"], "greeting");
    let blueprints = host.manage("dist.list_blueprints", &[]);
    assert_eq!(blueprints[0]["id"], info["blueprint_id"]);
    assert_eq!(blueprints[0]["dependencies"], json!([modules[0]["hash"]]));

    let found = host.deployment.workers().of_deal("0xAB").unwrap();
    assert_eq!((found.id(), found.creator), (worker(), manager()));
    assert_eq!((found.active, found.unit_ids.len()), (false, 0));
    let triggers = host.deployment.spells().of_scope(host_key().peer_id());
    assert_eq!(triggers.get(SPELL), Some(&trigger()));
    // The trigger, the worker, the cores: all of it can be read as records of this version.
    let entries = |table| disk.store.scan(table, b"").unwrap().len();
    let tables = [
        Table::Services,
        Table::Aliases,
        Table::Workers,
        Table::Spells,
        Table::Peer,
    ];
    assert_eq!(tables.map(entries), [3, 1, 1, 1, 1]);
}

#[test]
fn a_store_of_an_earlier_version_is_read_and_written_anew() {
    let folder = old_folder();
    let path = folder.path().join("store.redb");
    assert_eq!(DiskStore::version_of(&path), None);
    let mut disk = Disk {
        store: Arc::new(DiskStore::open(&path).unwrap()),
        folder,
    };
    {
        let host = disk.host();
        check(&disk, &host);
        host.manage("srv.add_alias", &[json!("new"), json!(text("service.txt"))]);
        host.manage("worker.activate", &[json!("ab")]);
    }
    // What was written is there at the next start, with the rest.
    disk.store = Arc::new(MemoryStore::default());
    disk.store = Arc::new(DiskStore::open(&path).unwrap());
    {
        let host = disk.host();
        let info = host.manage("srv.info", &[json!("new")]);
        assert_eq!(info["aliases"], json!(["hello", "new"]));
        assert!(host.deployment.workers().get(worker()).unwrap().active);
    }
    disk.store = Arc::new(MemoryStore::default());
    assert_eq!(DiskStore::version_of(&path), Some(1));
}

/// A record of a later version is not taken for one of this: what it describes is left where it is
/// and the rest works.
#[test]
fn records_of_a_later_version_are_refused_by_name() {
    let folder = old_folder();
    let store = DiskStore::open(folder.path().join("store.redb")).unwrap();
    let (key, mut record) = store.scan(Table::Workers, b"").unwrap().remove(0);
    record[0] = records::VERSION + 1;
    let error = records::decode::<Value>(&record).unwrap_err().to_string();
    assert_eq!(error, "the record has version 2, expected 1");
    let change = Change::put(Table::Workers, key.clone(), record.clone());
    store.apply(&[change], Durability::Disk).unwrap();
    let disk = Disk {
        store: Arc::new(store),
        folder,
    };
    let host = disk.host();
    assert!(host.deployment.workers().list().is_empty());
    host.manage("hello.greeting", &[json!("Ada")]);
    assert_eq!(disk.store.get(Table::Workers, &key).unwrap(), Some(record));
    let keys = fs::read_dir(disk.folder.path().join("keypairs")).unwrap();
    assert_eq!(keys.count(), 1, "the key of the worker stays");
}

/// Wrote the fixture, with the version before stores had a mark: the records were those of today.
#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store-0");
    fs::create_dir_all(&target).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut disk = Disk {
        store: Arc::new(DiskStore::open(&path).unwrap()),
        folder,
    };
    {
        let host = disk.host();
        let id = host.deploy("greeting", GREETING);
        host.manage("srv.add_alias", &[json!("hello"), json!(id)]);
        let worker = host.manage("worker.create", &[json!("ab"), json!([])]);
        host.manage("worker.deactivate", &[json!("ab")]);
        let spell = SpellId {
            scope: host_key().peer_id(),
            id: SPELL.to_owned(),
        };
        let change = spells::keep(&spell, &trigger()).unwrap();
        disk.store.apply(&[change], Durability::Disk).unwrap();
        let worker = worker.as_str().unwrap();
        let key = format!("keypairs/{worker}_keypair.toml");
        fs::copy(disk.folder.path().join(key), target.join("keypair.toml")).unwrap();
        fs::write(target.join("worker.txt"), worker).unwrap();
        fs::write(target.join("service.txt"), id).unwrap();
    }
    disk.store = Arc::new(MemoryStore::default());
    DiskStore::forget_version(&path);
    let file = fs::File::create(target.join("store.redb.gz")).unwrap();
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    io::copy(&mut fs::File::open(&path).unwrap(), &mut file).unwrap();
    file.finish().unwrap();
}
