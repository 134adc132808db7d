use std::fs;

use super::*;
use crate::store::MemoryStore;

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<MemoryStore>,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: Arc::default(),
        }
    }

    fn open(&self) -> Workers {
        let config = CoresConfig {
            range: Some("0-2".parse().unwrap()),
            system_cores: 1,
            shared: false,
            topology: Topology::new(vec![2; 4]),
        };
        let host = Arc::new(KeyPair::from_seed(&[2; 32]));
        Workers::open(host, self.folder.path(), self.store.clone(), &config).unwrap()
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

fn creator() -> PeerId {
    KeyPair::from_seed(&[9; 32]).peer_id()
}

#[test]
fn workers_survive_a_restart_and_leave_nothing() {
    let bench = Bench::new();
    let units = vec![[1; 32], [2; 32]];
    let id = {
        let workers = bench.open();
        let id = workers.create("0xAB", creator(), units.clone()).unwrap();
        workers.set_active(id, false).unwrap();
        assert!(matches!(
            workers.set_active(id, false),
            Err(WorkerError::Inactive)
        ));
        id
    };
    let workers = bench.open();
    let worker = workers.of_deal("ab").unwrap();
    assert_eq!((worker.id(), worker.creator), (id, creator()));
    assert!(!worker.active);
    assert_eq!((worker.unit_ids, worker.processors), (units, 4));
    assert!(workers.is_local(id) && workers.is_local(workers.host.peer_id()));
    assert_eq!(workers.key(id).unwrap().peer_id(), id);
    let full = workers.create("cd", creator(), vec![[3; 32]]);
    let text = full.unwrap_err().to_string();
    assert!(
        text.starts_with("Failed to allocate cores for 12D3KooW"),
        "{text}"
    );
    assert_eq!(bench.files(), 1);
    workers.remove(id, Vec::new()).unwrap();
    assert!(matches!(
        workers.remove(id, Vec::new()),
        Err(WorkerError::NotFound(_))
    ));
    assert_eq!(bench.files(), 0);
    assert!(bench.store.scan(Table::Workers, b"").unwrap().is_empty());
    workers.create("cd", creator(), vec![[3; 32]]).unwrap();
    assert!(bench.open().of_deal("cd").is_some());
}

#[test]
fn a_deal_has_one_worker_however_it_is_written() {
    let bench = Bench::new();
    let workers = bench.open();
    let id = workers.create("ABCdef", creator(), Vec::new()).unwrap();
    for spelling in ["abcdef", "0xabcdef", "0xABCDEF", "0x0xABCdef", "ABCDEF"] {
        assert_eq!(workers.of_deal(spelling).unwrap().id(), id);
        let error = workers.create(spelling, creator(), Vec::new());
        assert_eq!(
            error.unwrap_err().to_string(),
            "Worker for abcdef already exists"
        );
    }
}

#[cfg(unix)]
#[test]
fn keys_are_private_and_their_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let id = bench.open().create("ab", creator(), Vec::new()).unwrap();
    let path = bench.folder.path().join(format!("{id}_keypair.toml"));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("key_format = \"ed25519\""), "{text}");
    // A key that others may have read, and one of somebody else: the worker is not there.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(bench.open().list().is_empty());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bench.open().list().len(), 1);
    fs::write(&path, "private_key_bytes = [1]\nkey_format = \"ed25519\"").unwrap();
    assert!(bench.open().list().is_empty());
    // What no worker owns goes.
    let orphan = bench.folder.path().join("12D3_keypair.toml");
    fs::write(&orphan, "x").unwrap();
    bench.open();
    assert!(!orphan.exists() && path.exists());
}
