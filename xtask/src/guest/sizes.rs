//! How large guests are, and how much of it is the SDK.

use marine_runtime::{
    embed::DESCRIPTION_PREFIXES,
    module::{INTERFACE_SECTION, MANIFEST_SECTION, Outline},
};

use super::{BASELINE, GuestError, Outcome, built, chosen, compile, embedded, toolchain};

/// The guest that does the same as the baseline, with the SDK.
const SMALLEST: &str = "parrot";
/// Most bytes of the smallest module.
const MAX_SMALLEST: usize = 40 * 1024;
/// Most bytes that the SDK and its sections may add to it.
const MAX_SDK: usize = 6 * 1024;

/// Builds all guests and prints what their files consist of.
///
/// # Errors
/// A guest that does not build, or a file that cannot be read.
pub fn print() -> Result<Outcome, GuestError> {
    let names = chosen(&[])?;
    let Some(toolchain) = toolchain() else {
        return Ok(Outcome::Skipped);
    };
    let mut all = names.clone();
    all.push(BASELINE.to_owned());
    compile(&toolchain, &all)?;

    println!(
        "{:16} {:>8} {:>10} {:>13} {:>9}",
        "guest", "bytes", "interface", "descriptions", "manifest"
    );
    for name in &names {
        let wasm = embedded(name)?;
        print_row(name, &wasm)?;
    }
    let baseline = built(BASELINE)?;
    println!("{BASELINE:16} {:>8}", baseline.len());

    let smallest = embedded(SMALLEST)?.len();
    let sdk = smallest.saturating_sub(baseline.len());
    println!();
    println!("{SMALLEST}: {smallest} bytes of at most {MAX_SMALLEST}");
    println!("SDK and sections in it: {sdk} bytes of at most {MAX_SDK}");
    if smallest <= MAX_SMALLEST && sdk <= MAX_SDK {
        Ok(Outcome::Good)
    } else {
        Ok(Outcome::Bad)
    }
}

fn print_row(name: &str, wasm: &[u8]) -> Result<(), GuestError> {
    let outline = Outline::read(name, wasm).map_err(|source| GuestError::Embed {
        name: name.to_owned(),
        source: Box::new(source.into()),
    })?;
    let bytes_of = |wanted: &dyn Fn(&str) -> bool| -> usize {
        let sections = outline.custom_sections().iter();
        sections
            .filter(|(name, _)| wanted(name))
            .map(|(_, range)| range.len())
            .sum()
    };
    println!(
        "{name:16} {:>8} {:>10} {:>13} {:>9}",
        wasm.len(),
        bytes_of(&|section| section == INTERFACE_SECTION),
        bytes_of(&|section| DESCRIPTION_PREFIXES
            .iter()
            .any(|prefix| section.starts_with(prefix))),
        bytes_of(&|section| section == MANIFEST_SECTION),
    );
    Ok(())
}
