//! Development tasks of the workspace: `cargo xtask --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "xtask",
    about = "Development tasks of the Aquamarine workspace"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure our crates against the published programs.
    #[command(subcommand)]
    Bench(xtask::bench::Arguments),
    /// Run the published contracts of the marketplace in an EVM against our simulation.
    Chain(xtask::chain::Arguments),
    /// Replay recorded behaviour: `conformance KIND PATH…`.
    Conformance(xtask::conformance::Arguments),
    /// Kill a peer under load and look for what it lost: `crash --rounds N --seed S`.
    Crash(xtask::crash::Arguments),
    /// Plot how often an audit convicts a provider who claims more than he has.
    Detection(xtask::detection::Arguments),
    /// Build the state machine as a Wasm module without imports.
    #[cfg(feature = "marine")]
    Embedded(xtask::embedded::Arguments),
    /// Look for inputs that break a promise: `fuzz TARGET --seconds N`.
    Fuzz(xtask::fuzz::Arguments),
    /// Build the guest modules of the examples: `guest [NAME…]`.
    #[cfg(feature = "marine")]
    Guest(xtask::guest::Arguments),
    /// Check that published and own programs understand each other.
    #[command(subcommand)]
    Interop(xtask::interop::Arguments),
    /// Build the state machine as a Marine module in place of the published interpreter.
    #[cfg(feature = "marine")]
    Interpreter(xtask::interpreter::Arguments),
    /// Damage published modules in thousands of ways and load them.
    #[cfg(feature = "marine")]
    Mutate(xtask::mutate::Arguments),
    /// Simulate the network of the `local-network` example, seed after seed.
    #[cfg(feature = "peer")]
    Sim(xtask::sim::Arguments),
    /// Check layers, sizes, names, paths and READMEs.
    Tidy(xtask::tidy::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Bench(arguments) => xtask::bench::run(&arguments),
        Task::Chain(arguments) => xtask::chain::run(&arguments),
        Task::Conformance(arguments) => xtask::conformance::run(&arguments),
        Task::Crash(arguments) => xtask::crash::run(&arguments),
        Task::Detection(arguments) => xtask::detection::run(&arguments),
        #[cfg(feature = "marine")]
        Task::Embedded(arguments) => xtask::embedded::run(&arguments),
        Task::Fuzz(arguments) => xtask::fuzz::run(&arguments),
        #[cfg(feature = "marine")]
        Task::Guest(arguments) => xtask::guest::run(&arguments),
        Task::Interop(arguments) => xtask::interop::run(&arguments),
        #[cfg(feature = "marine")]
        Task::Interpreter(arguments) => xtask::interpreter::run(&arguments),
        #[cfg(feature = "marine")]
        Task::Mutate(arguments) => xtask::mutate::run(&arguments),
        #[cfg(feature = "peer")]
        Task::Sim(arguments) => xtask::sim::run(&arguments),
        Task::Tidy(arguments) => xtask::tidy::run(&arguments),
    }
}
