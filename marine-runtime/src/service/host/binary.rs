//! Programs of the host that a module may call (“Mounted binaries” in the protocol description).

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{ByName, host_function, linked, memory_trap, set_result};
use crate::{
    HostApi,
    backend::{CoreType, HostFunction, Trap},
    control::Control,
    itypes::{
        IType, IValue,
        memory::{GuestMemory, Lift, MemoryError, Values, lower_bytes},
    },
    service::{
        config::{ModuleConfig, MountedBinary},
        link::Own,
    },
};

const KILLED: i32 = 100_000;
const NOT_STARTED: i32 = 100_001;
const NO_ARRAY: i32 = 100_003;

/// How long is slept before it is looked again whether a program has ended.
const NAP: Duration = Duration::from_millis(2);
/// How long the output of a program that has ended is waited for: what it left behind may hold the
/// pipes open.
const REST: Duration = Duration::from_millis(100);

/// The function under which a module finds a program.
pub(super) fn import(
    api: HostApi,
    name: &str,
    binary: &MountedBinary,
    config: &ModuleConfig,
    own: &Own,
    control: &Arc<Control>,
) -> HostFunction {
    let own = Arc::clone(own);
    let running = Arc::clone(control);
    let binary = binary.clone();
    let folder = config.working_dir.clone();
    let import = name.to_owned();
    host_function(
        api,
        name,
        &[CoreType::I32; 2],
        control,
        move |store, values| {
            let [pointer, count] = values else {
                return Err(Trap::host(format!("{import} takes two values")));
            };
            let module = linked(&own, &import)?;
            let memory = module
                .memory
                .map_or(&mut [][..], |memory| store.memory(memory));
            let arguments = Lift::new(memory, &(), module.value_size).array(
                &IType::String,
                *pointer as u32,
                *count as u32,
                &mut Values,
            );
            let outcome = match arguments {
                Ok(IValue::Array(arguments)) => {
                    let arguments = arguments.into_iter().filter_map(|argument| match argument {
                        IValue::String(text) => Some(text),
                        _ => None,
                    });
                    let arguments: Vec<_> = arguments.collect();
                    run(&binary, &arguments, folder.as_deref(), &running)
                }
                Ok(_) => Outcome::failed(NO_ARRAY, "the arguments are not an array"),
                Err(error) => return Err(memory_trap(error)),
            };
            running.check()?;
            let mut guest = ByName { module, store };
            let pointer = outcome.lower(&mut guest).map_err(memory_trap)?;
            set_result(module, store, "set_result_ptr", pointer)
        },
    )
}

/// What a mounted binary did.
struct Outcome {
    code: i32,
    error: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Outcome {
    fn failed(code: i32, error: impl Into<String>) -> Self {
        Self {
            code,
            error: error.into(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    fn lower(&self, guest: &mut impl GuestMemory) -> Result<u32, MemoryError> {
        let mut body = Vec::with_capacity(28);
        body.extend_from_slice(&self.code.to_le_bytes());
        for bytes in [self.error.as_bytes(), &self.stdout, &self.stderr] {
            let (pointer, length) = lower_bytes(guest, bytes)?;
            body.extend_from_slice(&pointer.to_le_bytes());
            body.extend_from_slice(&length.to_le_bytes());
        }
        lower_bytes(guest, &body).map(|(pointer, _)| pointer)
    }
}

/// Runs a program until it ends or must.
fn run(
    binary: &MountedBinary,
    arguments: &[String],
    folder: Option<&Path>,
    control: &Control,
) -> Outcome {
    let mut child = match command(binary, arguments, folder).spawn() {
        Ok(child) => child,
        Err(error) => {
            let path = binary.path.display();
            tracing::warn!(%path, ?arguments, %error, "a mounted binary failed");
            return Outcome::failed(NOT_STARTED, error.to_string());
        }
    };
    let limit = binary.max_output;
    let mut outputs = [
        Output::of(child.stdout.take(), limit),
        Output::of(child.stderr.take(), limit),
    ];
    let started = Instant::now();
    let ended = loop {
        match has_ended(&mut child) {
            Ok(true) => break Ok(()),
            Ok(false) if outputs.iter_mut().any(Output::is_too_long) => break Ok(()),
            Ok(false) if control.check().is_err() || started.elapsed() > binary.max_time => {
                break Err(format!(
                    "it was stopped after {} ms",
                    started.elapsed().as_millis()
                ));
            }
            Ok(false) => thread::sleep(control.remaining(NAP)),
            Err(error) => break Err(error.to_string()),
        }
    };
    let status = end(&mut child);
    let [stdout, stderr] = outputs.map(Output::bytes);
    match (ended, status, stdout, stderr) {
        (Err(error), ..) => Outcome::failed(NOT_STARTED, error),
        (_, _, None, _) | (_, _, _, None) => {
            Outcome::failed(NOT_STARTED, format!("it wrote more than {limit} bytes"))
        }
        (Ok(()), Err(error), ..) => Outcome::failed(NOT_STARTED, error.to_string()),
        (Ok(()), Ok(status), Some(stdout), Some(stderr)) => Outcome {
            code: status.code().unwrap_or(KILLED),
            error: String::new(),
            stdout,
            stderr,
        },
    }
}

fn command(binary: &MountedBinary, arguments: &[String], folder: Option<&Path>) -> Command {
    let mut command = Command::new(&binary.path);
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for variable in &binary.pass_envs {
        if let Some(value) = std::env::var_os(variable) {
            command.env(variable, value);
        }
    }
    command.envs(&binary.envs);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    // A group of its own, so that what it starts can be ended with it.
    #[cfg(target_os = "linux")]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

/// Whether a program has ended. It is not reaped yet: its number still is its own.
#[cfg(target_os = "linux")]
fn has_ended(child: &mut Child) -> std::io::Result<bool> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
}

#[cfg(not(target_os = "linux"))]
fn has_ended(child: &mut Child) -> std::io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Ends a program with all that it has started.
fn end(child: &mut Child) -> std::io::Result<ExitStatus> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        // There may be nobody left.
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    }
    // It may have ended by itself.
    #[cfg(not(target_os = "linux"))]
    let _ = child.kill();
    child.wait()
}

/// What a program writes to one pipe, read by a thread.
struct Output {
    receiver: mpsc::Receiver<Option<Vec<u8>>>,
    /// What the thread said: the bytes, or that there are too many.
    read: Option<Option<Vec<u8>>>,
}

impl Output {
    fn of(pipe: Option<impl std::io::Read + Send + 'static>, limit: usize) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Some(pipe) = pipe {
            let read = move || {
                let mut bytes = Vec::new();
                let most = (limit as u64).saturating_add(1);
                let read = pipe.take(most).read_to_end(&mut bytes);
                let fits = read.is_ok() && bytes.len() <= limit;
                // The receiver may have given up.
                let _ = sender.send(fits.then_some(bytes));
            };
            let name = "marine-pipe".to_owned();
            if let Err(error) = thread::Builder::new().name(name).spawn(read) {
                tracing::warn!(%error, "no thread to read the output of a mounted binary");
            }
        }
        Self {
            receiver,
            read: None,
        }
    }

    fn is_too_long(&mut self) -> bool {
        if self.read.is_none() {
            self.read = self.receiver.try_recv().ok();
        }
        matches!(self.read, Some(None))
    }

    /// All of it; `None` if it is too much.
    fn bytes(self) -> Option<Vec<u8>> {
        match self.read {
            Some(read) => read,
            None => self
                .receiver
                .recv_timeout(REST)
                .unwrap_or_else(|_| Some(Vec::new())),
        }
    }
}
