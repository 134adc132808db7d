//! The published contracts of the marketplace against the simulation: the same transactions, the same
//! events, errors, values and balances.
//!
//! `aquamarine-evm-tests FACTORIES [SEEDS]`: the folder with the factories of the published package,
//! which `cargo xtask chain` fetches, and how many random scripts are run.

mod both;
mod evm;
mod refusals;
mod script;

use std::process::ExitCode;

use both::Both;

/// Steps of a random script.
const STEPS: u64 = 150;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(factories) = arguments.next() else {
        eprintln!("usage: aquamarine-evm-tests FACTORIES [SEEDS]");
        return ExitCode::FAILURE;
    };
    let seeds = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    match run(&factories, seeds) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(factories: &str, seeds: u64) -> Result<bool, String> {
    let code = evm::Code::load(factories.as_ref())?;
    let mut agree = report("life", &script::life(&code)?);
    agree &= report("refusals", &refusals::refusals(&code)?);
    let mut transactions = 0;
    for seed in 0..seeds {
        let both = script::random(&code, seed, STEPS)?;
        transactions += both.transactions;
        if !both.differences.is_empty() {
            agree &= report(&format!("script {seed}"), &both);
        }
    }
    println!("{seeds} random scripts: {transactions} transactions");
    println!(
        "{}",
        if agree {
            "contracts and simulation agree"
        } else {
            "contracts and simulation differ"
        }
    );
    Ok(agree)
}

fn report(name: &str, both: &Both) -> bool {
    println!(
        "{name}: {} transactions, {} differences",
        both.transactions,
        both.differences.len()
    );
    for difference in both.differences.iter().take(6) {
        println!("  {difference}");
    }
    both.differences.is_empty()
}
