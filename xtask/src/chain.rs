//! `cargo xtask chain`: the published contracts of the marketplace in an EVM against the simulation.
//!
//! The contracts are data of a published package, fetched by name into `target/published`. The EVM is
//! not part of this workspace: `deal-types/evm-tests` has a lock file of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use crate::{
    packages::{FetchError, PackageFile, Registry, fetch, is_required},
    tidy::workspace_root,
};

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Random scripts that go to both.
    #[arg(long, default_value_t = 40)]
    scripts: u64,
}

const PACKAGE: &str = "@fluencelabs/deal-ts-clients";
const VERSION: &str = "0.23.1";

/// The contracts, and the hashes of the files that have their code.
const CONTRACTS: &[(&str, &str)] = &[
    (
        "CapacityFacet",
        "12d2e98af94f237dfb8c4a09ec30ecab70ae4ac0b394da7e2b7605e1892cf30f",
    ),
    (
        "CoreFacet",
        "f6f15d6e559ebe824ba21064d61cbf534105b6053b77e298afd3117e2e473931",
    ),
    (
        "Deal",
        "e93657de47b2ca647323347fcfff7f544900ebfa716fb1c989f1e30551feeb48",
    ),
    (
        "DealFactoryFacet",
        "4aeeaee3ebe908d3ac78179cab1df1fccc1f79d2738000fc052813d05688d931",
    ),
    (
        "Diamond",
        "865ea9c20c4ffb28aecbec278dbd8b8e681b8d9eae3b48301af7c042e6a4a7ec",
    ),
    (
        "DiamondCutFacet",
        "26658322f9660d5d8092faffbd3f047b977a32084ed025555223a4261eaeaf10",
    ),
    (
        "DiamondLoupeFacet",
        "d93b790d476780dcdc84ab91e252991e924c20ed727c50004ffa5567010041d9",
    ),
    (
        "MarketFacet",
        "7abd0833b8bcf65d3bf6e6cd3af154b095ee81028337422a85329f3888ea47e2",
    ),
    (
        "MockERC20",
        "bb105ebafea909a7c317747775f93f721691c4ff4e01c9d071b2dc137031a75c",
    ),
    (
        "MulticallFacet",
        "cfe46ba4301321853fd6e1ea656f5fae23752daab87e62b3ef4a4ae0285634fe",
    ),
    (
        "OwnershipFacet",
        "457fe0d09f215cff30e7143656b580b8ee162d9a3eca18598f7ab77d42820a70",
    ),
    (
        "RandomXProxyMock",
        "c30251dc0a29806697114b6b5b7b8c5fe4626f5b4c6601346d2e5dfcb24d1587",
    ),
    (
        "ViewerFacet",
        "17cd663e3667eb835685eca68bdd1f118ae9b2eff8f0c24937ba4362b509841a",
    ),
    (
        "WETH9",
        "e3764102f2c7f2f7bb291e134e467ee79c5a3c881ff23f7358fc49567aec4a9c",
    ),
];

/// Runs the task. Without a way to the package it says so and is no failure, unless
/// `AQUAMARINE_REQUIRE` names `published`.
pub fn run(arguments: &Arguments) -> ExitCode {
    let folder = match contracts() {
        Ok(folder) => folder,
        Err(error) if error.is_unreachable() && !is_required() => {
            println!("skipped: the published contracts: {error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("chain: {error}");
            return ExitCode::FAILURE;
        }
    };
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(workspace_root().join("deal-types/evm-tests/Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace_root().join("target/evm"))
        .arg("--")
        .arg(folder)
        .arg(arguments.scripts.to_string())
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chain: cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The folder with the files that have the contracts' code.
fn contracts() -> Result<PathBuf, FetchError> {
    let folder = workspace_root().join("target/published/contracts");
    for (name, sha256) in CONTRACTS {
        let file = format!("{name}__factory.js");
        let bytes = fetch(&PackageFile {
            registry: Registry::Npm,
            package: PACKAGE,
            version: VERSION,
            path: &format!("package/dist/typechain-types/factories/{file}"),
            sha256,
        })?;
        write(&folder, &file, &bytes)?;
    }
    Ok(folder)
}

fn write(folder: &Path, file: &str, bytes: &[u8]) -> Result<(), FetchError> {
    let path = folder.join(file);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
    written.map_err(|error| FetchError::File {
        path,
        reason: error.to_string(),
    })
}
