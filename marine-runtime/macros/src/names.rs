//! Names of interfaces as names of Rust.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span};

/// Names that are taken in one scope.
#[derive(Default)]
pub(crate) struct Scope {
    taken: BTreeSet<String>,
}

impl Scope {
    /// A scope in which some names are taken already.
    pub(crate) fn with(names: &[&str]) -> Self {
        Self {
            taken: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// An identifier for `name` that nothing else in the scope has.
    pub(crate) fn name(&mut self, name: &str) -> Ident {
        let mut text = valid(name);
        while !self.taken.insert(text.clone()) {
            text.push('_');
        }
        identifier(&text)
    }
}

/// A text that is an identifier, perhaps a raw one.
fn valid(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        let fits = letter == '_' || letter.is_ascii_alphanumeric() || is_identifier(letter);
        text.push(if fits { letter } else { '_' });
    }
    if text.is_empty() || text.starts_with(|letter: char| letter.is_ascii_digit()) {
        text.insert(0, '_');
    }
    // These cannot be raw.
    if matches!(text.as_str(), "self" | "Self" | "super" | "crate" | "_") {
        text.push('_');
    }
    text
}

fn is_identifier(letter: char) -> bool {
    !letter.is_ascii() && syn::parse_str::<Ident>(&format!("_{letter}")).is_ok()
}

fn identifier(text: &str) -> Ident {
    match syn::parse_str::<Ident>(text) {
        Ok(_) => Ident::new(text, Span::call_site()),
        Err(_) => Ident::new_raw(text, Span::call_site()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_identifier() {
        let mut scope = Scope::with(&["Client"]);
        for (name, expected) in [
            ("get", "get"),
            ("type", "r#type"),
            ("self", "self_"),
            ("trust-graph", "trust_graph"),
            ("trust_graph", "trust_graph_"),
            ("trust graph", "trust_graph__"),
            ("Client", "Client_"),
            ("2fold", "_2fold"),
            ("größe", "größe"),
            ("", "__"),
        ] {
            let found = scope.name(name).to_string();
            assert_eq!(found, expected);
            syn::parse_str::<Ident>(&found).unwrap();
        }
    }
}
