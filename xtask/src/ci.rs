//! `cargo xtask ci`: every check that a change must pass, each with the minutes it took.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use crate::tidy::workspace_root;

/// One check: its name, the command, and what it adds to the environment.
struct Step {
    name: &'static str,
    command: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

/// In the order in which they fail fastest. Programs of this workspace run as they were built last,
/// by the tests at the end: `cargo run` would build most dependencies again, with other features. The
/// tests run with all features of the workspace together, so with both Wasm engines.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        command: &["cargo", "fmt", "--all", "--check"],
        environment: &[],
    },
    Step {
        name: "clippy",
        command: &[
            "cargo",
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        environment: &[],
    },
    Step {
        name: "documentation",
        command: &["cargo", "doc", "--locked", "--workspace", "--no-deps"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    Step {
        name: "tidy",
        command: &["xtask", "tidy"],
        environment: &[],
    },
    Step {
        name: "tests",
        command: &["cargo", "test", "--locked", "--workspace"],
        environment: &[],
    },
    Step {
        name: "guests",
        command: &["xtask", "guest", "--check"],
        environment: &[],
    },
    Step {
        name: "local network",
        command: &["local-network", "--json"],
        environment: &[],
    },
];

/// Runs all steps; stops at the first that fails.
pub fn run() -> ExitCode {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for step in STEPS {
        println!("ci: {}: {}", step.name, step.command.join(" "));
        let started = Instant::now();
        let outcome = execute(step);
        times.push((step.name, started.elapsed()));
        if let Err(error) = outcome {
            print_times(&times);
            eprintln!("ci: {} failed: {error}", step.name);
            return ExitCode::FAILURE;
        }
    }
    print_times(&times);
    println!("ci: all {} steps passed", STEPS.len());
    ExitCode::SUCCESS
}

fn execute(step: &Step) -> Result<(), String> {
    let Some((program, arguments)) = step.command.split_first() else {
        return Err("the step has no command".to_owned());
    };
    let program = match *program {
        "cargo" => PathBuf::from(program),
        // Of this workspace: beside this program.
        own => std::env::current_exe()
            .map_err(|error| error.to_string())?
            .with_file_name(own),
    };
    let status = Command::new(&program)
        .args(arguments)
        .envs(step.environment.iter().copied())
        .current_dir(workspace_root())
        .status()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if status.success() {
        Ok(())
    } else {
        Err(status.to_string())
    }
}

fn print_times(times: &[(&str, Duration)]) {
    for (name, time) in times {
        println!("ci: {:>6.1} min  {name}", time.as_secs_f64() / 60.0);
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("ci: {:>6.1} min  in all", total.as_secs_f64() / 60.0);
}
