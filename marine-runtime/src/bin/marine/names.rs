//! What Tab completes in `marine repl`: commands, modules, functions, arguments, files.

use std::{borrow::Cow, fs, path::Path};

use marine_runtime::{FunctionSignature, Interface, Service};
use rustyline::{
    Context, Helper,
    completion::{Completer, Pair},
    highlight::Highlighter,
    hint::Hinter,
    validate::Validator,
};

use crate::repl::{COMMANDS, signature};

/// Most levels of records in arguments that are filled in.
const MAX_DEPTH: usize = 16;

/// The names of a service.
pub(crate) struct Names {
    interfaces: Vec<(String, Interface)>,
}

impl Names {
    pub(crate) fn of(service: Option<&Service>) -> Self {
        Self {
            interfaces: service.map(Service::interfaces).unwrap_or_default(),
        }
    }

    /// What may stand where the last word of a line does; `words` are those in front of it.
    fn candidates(&self, words: &[&str], last: &str) -> Vec<Pair> {
        let modules = || self.interfaces.iter().map(|(name, _)| name.as_str());
        match words {
            [] => following(COMMANDS.iter().map(|(name, _)| *name), last),
            ["call" | "c" | "interface" | "i" | "unload" | "u" | "envs" | "e"] => {
                following(modules(), last)
            }
            ["call" | "c", module] => {
                let functions = self.functions(module);
                following(functions.map(|function| function.name.as_str()), last)
            }
            ["call" | "c", module, name] if last.is_empty() => {
                let Some(function) = self.function(module, name) else {
                    return Vec::new();
                };
                vec![Pair {
                    display: signature(function),
                    replacement: self.arguments(module, function),
                }]
            }
            ["load" | "l", _] | ["new" | "n"] => files(last),
            _ => Vec::new(),
        }
    }

    fn functions(&self, module: &str) -> impl Iterator<Item = &FunctionSignature> {
        let interface = self.interfaces.iter().find(|(name, _)| name == module);
        interface
            .into_iter()
            .flat_map(|(_, interface)| &interface.function_signatures)
    }

    fn function(&self, module: &str, name: &str) -> Option<&FunctionSignature> {
        self.functions(module)
            .find(|function| function.name == name)
    }

    /// Arguments of the right types, to be written over.
    fn arguments(&self, module: &str, function: &FunctionSignature) -> String {
        let interface = self.interfaces.iter().find(|(name, _)| name == module);
        let values = function
            .arguments
            .iter()
            .map(|(_, ty)| example(ty, interface.map(|(_, interface)| interface), 0));
        format!("[{}]", values.collect::<Vec<_>>().join(", "))
    }
}

/// Words that begin with `last`; a blank follows each.
fn following<'a>(words: impl Iterator<Item = &'a str>, last: &str) -> Vec<Pair> {
    words
        .filter(|word| word.starts_with(last))
        .map(|word| Pair {
            display: word.to_owned(),
            replacement: format!("{word} "),
        })
        .collect()
}

/// A value of a type, as JSON.
fn example(ty: &str, interface: Option<&Interface>, depth: usize) -> String {
    let mut records = interface
        .into_iter()
        .flat_map(|interface| &interface.record_types);
    match ty {
        "string" => "\"\"".to_owned(),
        "bool" => "false".to_owned(),
        "f32" | "f64" => "0.0".to_owned(),
        _ if ty.starts_with("[]") => "[]".to_owned(),
        // Interfaces of modules have no records that contain themselves; a text might.
        _ if depth < MAX_DEPTH => match records.find(|record| record.name == ty) {
            Some(record) => {
                let fields = record.fields.iter().map(|field| {
                    let value = example(&field.ty, interface, depth + 1);
                    format!("{:?}: {value}", field.name)
                });
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            None => "0".to_owned(),
        },
        _ => "null".to_owned(),
    }
}

/// Files whose path begins with `start`.
fn files(start: &str) -> Vec<Pair> {
    let cut = start.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, name) = start.split_at(cut);
    let entries = fs::read_dir(match folder {
        "" => Path::new("."),
        folder => Path::new(folder),
    });
    let mut found: Vec<Pair> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let mut file = entry.file_name().into_string().ok()?;
            let hidden = file.starts_with('.') && !name.starts_with('.');
            // What has a blank would be two words.
            if hidden || !file.starts_with(name) || file.contains(char::is_whitespace) {
                return None;
            }
            // A link to a folder is one.
            if entry.path().is_dir() {
                file.push('/');
            }
            Some(Pair {
                replacement: format!("{folder}{file}"),
                display: file,
            })
        })
        .collect();
    found.sort_by(|left, right| left.display.cmp(&right.display));
    found
}

/// The words of a line before the cursor, and where the last of them begins.
fn words(before: &str) -> (Vec<&str>, usize, &str) {
    let start = before.rfind(char::is_whitespace);
    let start = start.map_or(0, |blank| {
        blank
            + before
                .get(blank..)
                .and_then(|rest| rest.chars().next())
                .map_or(1, char::len_utf8)
    });
    let (words, last) = before.split_at(start);
    (words.split_whitespace().collect(), start, last)
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (words, start, last) = words(line.get(..position).unwrap_or(line));
        Ok((start, self.candidates(&words, last)))
    }
}

impl Hinter for Names {
    type Hint = String;

    /// The types of the arguments, where those are to be written.
    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        if position < line.len() {
            return None;
        }
        match words(line) {
            (words, _, "") => match words.as_slice() {
                ["call" | "c", module, name] => self.function(module, name).map(signature),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Highlighter for Names {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let interface = serde_json::from_value(serde_json::json!({
            "function_signatures": [
                {"name": "get", "arguments": [], "output_types": ["u32"]},
                {"name": "put", "arguments": [["key", "string"], ["items", "[]Item"], ["item", "Item"]], "output_types": []},
                {"name": "pull", "arguments": [], "output_types": []},
            ],
            "record_types": [{"name": "Item", "id": 6, "fields": [{"name": "on", "ty": "bool"}, {"name": "n", "ty": "u8"}]}],
        }));
        Names {
            interfaces: vec![("notes".to_owned(), interface.unwrap())],
        }
    }

    fn complete(line: &str) -> Vec<String> {
        let (words, start, last) = words(line);
        let found = names().candidates(&words, last).into_iter();
        found
            .map(|pair| format!("{}{}", &line[..start], pair.replacement))
            .collect()
    }

    #[test]
    fn every_word_of_a_call_is_completed() {
        assert_eq!(complete("c"), ["call "]);
        assert_eq!(complete("call "), ["call notes "]);
        assert_eq!(
            complete("call notes pu"),
            ["call notes put ", "call notes pull "]
        );
        assert_eq!(
            complete("call notes put "),
            [r#"call notes put ["", [], {"on": false, "n": 0}]"#]
        );
        assert_eq!(complete("call notes get "), ["call notes get []"]);
        assert!(complete("call notes put [").is_empty());
        assert!(complete("call other ").is_empty());
        assert_eq!(complete("unload n"), ["unload notes "]);
    }

    #[test]
    fn files_are_completed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        for file in ["one.wasm", "only one.wasm", ".other"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::create_dir(folder.path().join("old")).unwrap();
        let line = format!("load notes {path}/o");
        let expected = ["old/", "one.wasm"].map(|file| format!("load notes {path}/{file}"));
        assert_eq!(complete(&line), expected);
        let line = format!("new {path}/.o");
        assert_eq!(complete(&line), [format!("new {path}/.other")]);
    }
}
