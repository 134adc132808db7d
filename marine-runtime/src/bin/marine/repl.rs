//! `marine repl`: calls functions of a service line by line.

use std::{
    env,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use marine_runtime::{CallParameters, FunctionSignature, ModuleConfig, Service, ServiceConfig};
use rustyline::{CompletionType, Config, Editor, error::ReadlineError, history::DefaultHistory};
use serde_json::value::RawValue;

use crate::{
    Failure,
    names::Names,
    say,
    service::{Surroundings, progress},
};

/// Longest time of a call, and of the start of a service.
const LONGEST: Duration = Duration::from_secs(60);
const HISTORY: &str = ".marine_history";

pub(crate) const COMMANDS: [(&str, &str); 9] = [
    (
        "call",
        "call MODULE FUNCTION [-nr] ARGUMENTS [CALL-PARAMETERS]: both as JSON, arguments as an array",
    ),
    ("interface", "interface [MODULE]: functions and records"),
    (
        "load",
        "load NAME FILE: one more module, which becomes the facade",
    ),
    (
        "unload",
        "unload NAME: forgets a module that no other needs",
    ),
    ("new", "new [CONFIG]: the service anew, or another one"),
    ("envs", "envs MODULE: its environment"),
    ("stats", "stats: memory of each module"),
    ("help", "help: this"),
    ("quit", "quit"),
];

/// Runs until the end of the input or `quit`.
pub(crate) fn run(
    target: Option<PathBuf>,
    surroundings: Surroundings,
    quiet: bool,
) -> Result<(), Failure> {
    let terminal = std::io::stdin().is_terminal();
    let mut repl = Repl {
        service: None,
        target,
        surroundings,
    };
    repl.restart()?;
    if !quiet && terminal {
        say("`help` lists the commands, Tab completes, Ctrl-D ends.")?;
    }
    let keys = Config::builder().completion_type(CompletionType::List);
    let mut editor: Editor<Names, DefaultHistory> = Editor::with_config(keys.build())?;
    let history = env::var_os("HOME").map(|home| Path::new(&home).join(HISTORY));
    if let Some(history) = &history {
        // There is none before the first time.
        let _ = editor.load_history(history);
    }
    loop {
        editor.set_helper(Some(Names::of(repl.service.as_ref())));
        match editor.readline("marine> ") {
            Ok(line) => {
                if !line.trim().is_empty() {
                    editor.add_history_entry(&line)?;
                }
                match repl.command(&line) {
                    Ok(Some(answer)) => say(&answer)?,
                    Ok(None) => break,
                    Err(error) if terminal => eprintln!("error: {error}"),
                    // A script that goes wrong is not gone on with.
                    Err(error) => return Err(error),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if terminal && let Some(history) = &history {
        editor.save_history(history)?;
    }
    Ok(())
}

struct Repl {
    service: Option<Service>,
    target: Option<PathBuf>,
    surroundings: Surroundings,
}

impl Repl {
    fn restart(&mut self) -> Result<(), Failure> {
        if let Some(target) = &self.target {
            self.service = None;
            let deadline = Instant::now().checked_add(LONGEST);
            self.service = Some(self.surroundings.start(target, deadline)?);
        }
        Ok(())
    }

    fn service(&mut self) -> Result<&mut Service, Failure> {
        self.service
            .as_mut()
            .ok_or_else(|| "there is no service yet: `new CONFIG` or `load NAME FILE`".into())
    }

    /// What a line comes to; `None` ends.
    fn command(&mut self, line: &str) -> Result<Option<String>, Failure> {
        let (command, rest) = word(line);
        match command {
            "" => Ok(Some(String::new())),
            "c" | "call" => self.call(rest).map(Some),
            "i" | "interface" => self.interface(rest).map(Some),
            "l" | "load" => self.load(rest).map(Some),
            "u" | "unload" => {
                self.service()?.unload_module(rest.trim())?;
                Ok(Some(format!("module {} is gone", rest.trim())))
            }
            "n" | "new" => {
                if !rest.trim().is_empty() {
                    self.target = Some(PathBuf::from(rest.trim()));
                }
                if self.target.is_none() {
                    return Err("which one? `new CONFIG`".into());
                }
                self.restart()?;
                Ok(Some("a new service".to_owned()))
            }
            "e" | "envs" => {
                let module = rest.trim().to_owned();
                let envs = self
                    .service()?
                    .envs(&module)
                    .ok_or_else(|| format!("there is no module {module:?}"))?;
                let lines = envs.iter().map(|(name, value)| format!("{name}={value}"));
                Ok(Some(lines.collect::<Vec<_>>().join("\n")))
            }
            "s" | "stats" => Ok(Some(self.service()?.memory_stats().to_string())),
            "h" | "help" => {
                let lines = COMMANDS.iter().map(|(_, usage)| format!("  {usage}"));
                Ok(Some(lines.collect::<Vec<_>>().join("\n")))
            }
            "q" | "quit" => Ok(None),
            other => Err(format!("there is no command {other:?}: `help` lists them").into()),
        }
    }

    fn call(&mut self, rest: &str) -> Result<String, Failure> {
        let usage = "call MODULE FUNCTION [-nr] ARGUMENTS [CALL-PARAMETERS]";
        let (module, rest) = word(rest);
        let (function, rest) = word(rest);
        if function.is_empty() {
            return Err(usage.into());
        }
        let (silent, rest) = match word(rest) {
            ("-nr", rest) => (true, rest),
            _ => (false, rest),
        };
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let mut next = || {
            values
                .next()
                .transpose()
                .map_err(|error| format!("{rest:?} is not JSON: {error} (a string needs quotes)"))
        };
        let arguments = next()?.map_or("[]", RawValue::get);
        let parameters: CallParameters = match next()? {
            Some(text) => serde_json::from_str(text.get())
                .map_err(|error| format!("call parameters {text}: {error}"))?,
            None => CallParameters::default(),
        };
        if next()?.is_some() {
            return Err(usage.into());
        }
        let service = self.service()?;
        let started = Instant::now();
        let deadline = started.checked_add(LONGEST);
        let result = service.call_module(module, function, arguments, &parameters, deadline)?;
        let elapsed = started.elapsed();
        let memory = service.memory_stats();
        let memory: u64 = memory.modules.iter().map(|(_, bytes)| bytes).sum();
        let shown = if silent {
            String::new()
        } else {
            let value: serde_json::Value = serde_json::from_str(&result)?;
            format!("result: {}\n", serde_json::to_string_pretty(&value)?)
        };
        Ok(format!(
            "{shown}elapsed time: {elapsed:?}, memory: {:.1} KiB",
            memory as f64 / 1024.0
        ))
    }

    fn interface(&mut self, rest: &str) -> Result<String, Failure> {
        let wanted = rest.trim().to_owned();
        let interfaces = self.service()?.interfaces();
        let mut lines = Vec::new();
        for (name, interface) in &interfaces {
            if !wanted.is_empty() && wanted != *name {
                continue;
            }
            lines.push(format!("{name}:"));
            for record in &interface.record_types {
                lines.push(format!("  data {}:", record.name));
                for field in &record.fields {
                    lines.push(format!("    {}: {}", field.name, field.ty));
                }
            }
            let functions = interface.function_signatures.iter();
            lines.extend(
                functions.map(|function| format!("  fn {}{}", function.name, signature(function))),
            );
        }
        if lines.is_empty() {
            return Err(format!("there is no module {wanted:?}").into());
        }
        Ok(lines.join("\n"))
    }

    fn load(&mut self, rest: &str) -> Result<String, Failure> {
        let (name, path) = word(rest);
        if name.is_empty() || path.trim().is_empty() {
            return Err("load NAME FILE".into());
        }
        let mut module = ModuleConfig::from_file(name, path.trim());
        module.simd = self.surroundings.simd;
        let started = Instant::now();
        let deadline = started.checked_add(LONGEST);
        let shown = progress(format!("loading {name}"));
        let loaded = match &mut self.service {
            Some(service) => service.load_module(module, deadline).map_err(Failure::from),
            None => self
                .surroundings
                .start_config(ServiceConfig::new(vec![module]), deadline)
                .map(|service| self.service = Some(service)),
        };
        shown.finish_and_clear();
        loaded?;
        Ok(format!("loaded in {:?}", started.elapsed()))
    }
}

/// Arguments and result of a function.
pub(crate) fn signature(function: &FunctionSignature) -> String {
    let arguments: Vec<_> = function
        .arguments
        .iter()
        .map(|(name, ty)| format!("{name}: {ty}"))
        .collect();
    let output = function.output_types.first();
    let output = output.map(|ty| format!(" -> {ty}")).unwrap_or_default();
    format!("({}){output}", arguments.join(", "))
}

/// The first word of a line, and the rest.
fn word(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    line.split_once(char::is_whitespace).unwrap_or((line, ""))
}
