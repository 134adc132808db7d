//! The functions of the system, called in any order with anything.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use marine_runtime::{
    CallParameters, Engine, ModuleConfig, Service, ServiceConfig,
    backend::{CoreSignature, Trap},
    embed::{DESCRIPTION_PREFIXES, interface_of},
    limits::DISK_ENTRY,
    module::with_custom_section,
};

use super::{
    bounded_by,
    choices::Choices,
    described,
    puppets::{Puppets, Scene, Stage, address},
    wasm::{self, CoreFunction},
};

/// What a run may take: the listing of a directory, output without an end of line.
const MEMORY: usize = 2 << 20;
/// Bytes that the module may have on disk, and files that it may have open.
const DISK: u64 = 64 << 10;
const OPEN: usize = 12;
/// Longest time of a run: modules may sleep.
const PATIENCE: Duration = Duration::from_millis(10);
/// Calls in one run.
const CALLS: usize = 64;
/// Highest error code.
const LAST_ERRNO: u64 = 76;

/// What is in the file that the module must not see.
const SECRET: &str = "nobody shall read this";

/// Paths to try: in the directory, out of it, and neither.
const PATHS: [&str; 16] = [
    "a",
    "b",
    "d",
    "d/x",
    "d/../a",
    "..",
    "../outside/secret",
    "out/secret",
    "out",
    "file-out",
    "loop",
    "/a",
    "",
    "a/",
    "d/.",
    "a\0",
];
/// Where paths and lists of buffers are in the module's memory, and where results go.
const FIRST_PATH: usize = 256;
const PATH_ROOM: usize = 32;
const VECTORS: usize = 64;

/// Functions that take paths: which parameters are addresses of them.
const WITH_PATHS: [(&str, &[usize]); 10] = [
    ("path_create_directory", &[1]),
    ("path_filestat_get", &[2]),
    ("path_filestat_set_times", &[2]),
    ("path_link", &[2, 5]),
    ("path_open", &[2]),
    ("path_readlink", &[1]),
    ("path_remove_directory", &[1]),
    ("path_rename", &[1, 4]),
    ("path_symlink", &[0, 3]),
    ("path_unlink_file", &[1]),
];

/// Runs calls as the input says, in a directory with links that lead out of it.
pub fn wasi(input: &[u8]) {
    let scratch = Scratch::new().expect("a directory of our own");
    let puppets = Puppets::new(input, false, act);
    let engine = Engine::new(Arc::new(puppets.clone()));
    let mut module = ModuleConfig::from_bytes("m", module());
    module
        .mapped_dirs
        .insert("/data".to_owned(), scratch.0.join("data"));
    module.envs.insert("KEY".to_owned(), "value".to_owned());
    let mut config = ServiceConfig::new(vec![module]);
    config.limits.disk = Some(DISK);
    config.limits.open_files = OPEN;
    let outcome = bounded_by("calls of the system", MEMORY, || {
        let mut service = Service::new(config, &engine)?;
        let deadline = Some(Instant::now() + PATIENCE);
        service.call_values("f", &[], &CallParameters::default(), deadline)
    });
    if let Err(error) = outcome {
        described(&error);
    }
    let (_, memories) = puppets.end();
    let secret = SECRET.as_bytes();
    for memory in memories {
        let mut windows = memory.windows(secret.len());
        assert!(!windows.any(|window| window == secret), "it was read");
    }
    scratch.check().expect("a directory that can be read");
}

/// A module with one function, `f`.
fn module() -> Vec<u8> {
    let [prefix, _] = DESCRIPTION_PREFIXES;
    let description =
        br#"{"ast_type":"Function","signature":{"name":"f","arguments":[],"output_types":[]}}"#;
    let bare = with_custom_section(prefix, b"\0asm\x01\0\0\0", description).expect("a module");
    let interface = interface_of("m", &bare).expect("an interface");
    let mut functions = wasm::for_host();
    functions.push(CoreFunction {
        namespace: None,
        name: "f".to_owned(),
        signature: CoreSignature::default(),
    });
    wasm::module(&functions, &interface).expect("a module")
}

fn act(stage: &mut Stage, scene: &mut Scene<'_>) -> Result<(), Trap> {
    let instance = scene.instance;
    stage.grow(instance, 16);
    let memory = stage.memory_of(instance);
    for (index, path) in PATHS.iter().enumerate() {
        let place = FIRST_PATH + index * PATH_ROOM;
        memory[place..place + path.len()].copy_from_slice(path.as_bytes());
    }
    let vectors: [(u32, u32); 4] = [
        (0x1000, 16),
        (0x2000, 0x3000),
        (0xf000, 0x2000),
        (u32::MAX, 1),
    ];
    for (index, (pointer, length)) in vectors.iter().enumerate() {
        let place = VECTORS + index * 8;
        memory[place..place + 4].copy_from_slice(&pointer.to_le_bytes());
        memory[place + 4..place + 8].copy_from_slice(&length.to_le_bytes());
    }
    // Every function is there twice, in a row.
    let count = stage.imports(instance).len() / 2;
    for _ in 0..CALLS {
        if stage.choose(|choices| choices.is_empty()) {
            break;
        }
        let index = 2 * stage.choose(|choices| choices.below(count));
        let function = &stage.imports(instance)[index];
        let name = function.name.clone();
        let parameters = function.signature.parameters.len();
        let mut raw: Vec<u64> = (0..parameters).map(|_| stage.choose(parameter)).collect();
        let paths = WITH_PATHS
            .iter()
            .find(|(with_paths, _)| *with_paths == name);
        for place in paths.map_or(&[][..], |(_, places)| places) {
            let path = stage.choose(|choices| choices.byte()) as usize;
            if let Some(text) = PATHS.get(path % 20)
                && let Some([pointer, length]) = raw.get_mut(*place..place + 2)
            {
                *pointer = (FIRST_PATH + path % 20 * PATH_ROOM) as u64;
                *length = text.len() as u64;
            }
        }
        let results = stage.call_import(instance, index, &raw)?;
        for errno in results {
            assert!(errno <= LAST_ERRNO, "{name} gives {errno}");
        }
    }
    Ok(())
}

/// A descriptor, a flag, an address, a length.
fn parameter(choices: &mut Choices<'_>) -> u64 {
    match choices.byte() {
        small @ 0..=0x3f => u64::from(small),
        0x40..=0x5f => VECTORS as u64,
        0x60..=0x6f => 0x1000,
        bit @ 0x70..=0x9f => 1 << (bit - 0x70),
        0xa0..=0xaf => u64::MAX,
        _ => address(choices),
    }
}

/// `data`, which is the module's, and `outside`, which is not.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        // In memory where there is such a place: it is made anew for each input.
        let shared = Path::new("/dev/shm");
        let place = match shared.is_dir() {
            true => shared.to_owned(),
            false => std::env::temp_dir(),
        };
        let root = place.join(format!("fuzz-wasi-{}", std::process::id()));
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        let (data, outside) = (root.join("data"), root.join("outside"));
        fs::create_dir_all(data.join("d"))?;
        fs::create_dir(&outside)?;
        fs::write(outside.join("secret"), SECRET)?;
        fs::write(data.join("a"), "a file")?;
        symlink("../outside", data.join("out"))?;
        symlink("../outside/secret", data.join("file-out"))?;
        symlink("loop", data.join("loop"))?;
        Ok(Self(root))
    }

    /// Nothing outside has changed, and what is inside is not more than it may be.
    fn check(&self) -> io::Result<()> {
        let outside = self.0.join("outside");
        assert_eq!(
            fs::read_dir(&outside)?.count(),
            1,
            "something was put outside"
        );
        assert_eq!(fs::read_to_string(outside.join("secret"))?, SECRET);
        assert_eq!(
            fs::read_dir(&self.0)?.count(),
            2,
            "something was put beside"
        );
        let used = size(&self.0.join("data"))?;
        assert!(used <= DISK, "{used} bytes on disk");
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next one tries again, and says so if it cannot.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the files and directories in `folder` count.
fn size(folder: &Path) -> io::Result<u64> {
    let mut all = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        all += DISK_ENTRY;
        if data.is_dir() {
            all += size(&entry.path())?;
        } else if data.is_file() {
            all += data.len();
        }
    }
    Ok(all)
}
