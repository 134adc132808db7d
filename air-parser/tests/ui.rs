//! What users see: for every `ui/NAME.air` the formatted script or the errors are in `NAME.out`.
//! `UPDATE=1` writes them.

use std::{fs, path::Path};

use air_parser::{FormatOptions, parse};

#[test]
fn outputs_are_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let update = std::env::var_os("UPDATE").is_some();
    let mut different = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "air") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path).unwrap();
        let output = match parse(&text) {
            Ok(ast) => {
                let options = FormatOptions {
                    patterns: true,
                    ..FormatOptions::default()
                };
                ast.format(options).to_string()
            }
            Err(errors) => errors.to_string(),
        };
        let expected = path.with_extension("out");
        if update {
            fs::write(expected, output).unwrap();
        } else if fs::read_to_string(expected).unwrap_or_default() != output {
            different.push(format!("{}:\n{output}", path.display()));
        }
    }
    assert!(count > 10, "only {count} cases");
    assert!(different.is_empty(), "{}", different.join("\n"));
}
