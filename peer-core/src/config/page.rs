//! The reference page of a configuration, written from the table of its keys.

use toml::{Table, Value};

use super::{Key, Kind};

/// A page in Markdown: a table of `keys`, then one for each table among them. `defaults` is the
/// default configuration.
pub(super) fn page(head: &str, keys: &[Key], defaults: &Table) -> String {
    let mut page = head.to_owned();
    section(&mut page, keys, Some(defaults), "");
    page.push_str(
        "\n## Without effect here\n\nKeys of the published peer that are accepted, with a warning, \
         so that its files can be used.\n\n| key | why |\n|---|---|\n",
    );
    for key in keys.iter().filter(|key| key.kind == Kind::Ignored) {
        row(
            &mut page,
            &[format!("`{}`", key.name), one_line(key.meaning)],
        );
    }
    page
}

/// The keys of the table `path`, then the tables in it.
fn section(page: &mut String, keys: &[Key], defaults: Option<&Table>, path: &str) {
    page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    // At the top they have a table of their own.
    let shown = |key: &&Key| key.kind != Kind::Ignored || !path.is_empty();
    for key in keys.iter().filter(shown) {
        let default = defaults.and_then(|defaults| defaults.get(key.name));
        row(
            page,
            &[
                format!("`{}`", key.name),
                value(&key.kind),
                default.map_or_else(|| "—".to_owned(), shown_default),
                one_line(key.meaning),
            ],
        );
    }
    for key in keys {
        let path = match path {
            "" => key.name.to_owned(),
            path => format!("{path}.{}", key.name),
        };
        let Some((title, keys)) = table_of(&path, &key.kind) else {
            continue;
        };
        let meaning = one_line(key.meaning);
        page.push_str(&format!("\n## `{title}`\n\n{meaning}\n\n"));
        let default = defaults.and_then(|defaults| defaults.get(key.name));
        let default = default.and_then(Value::as_table);
        let defaults = default.filter(|_| matches!(key.kind, Kind::Table(_)));
        section(page, keys, defaults, &path);
    }
}

fn row(page: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}

/// The TOML heading of a key that holds tables, and the keys of these.
fn table_of<'k>(name: &str, kind: &'k Kind) -> Option<(String, &'k [Key])> {
    match kind {
        Kind::Table(keys) => Some((format!("[{name}]"), keys)),
        Kind::List(of) => match of.as_ref() {
            Kind::Table(keys) => Some((format!("[[{name}]]"), keys)),
            _ => None,
        },
        Kind::Map(of) => match of.as_ref() {
            Kind::Table(keys) => Some((format!("[{name}.NAME]"), keys)),
            _ => None,
        },
        _ => None,
    }
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Boolean => "boolean".to_owned(),
        Kind::Integer => "integer".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Text(what) => (*what).to_owned(),
        Kind::Table(_) => "table, see below".to_owned(),
        Kind::List(of) => match of.as_ref() {
            Kind::Table(_) => "tables, see below".to_owned(),
            of => format!("list of {}", value(of)),
        },
        Kind::Map(of) => match of.as_ref() {
            Kind::Table(_) => "tables by name, see below".to_owned(),
            of => format!("table of {}", value(of)),
        },
        Kind::Ignored => "ignored".to_owned(),
    }
}

fn shown_default(default: &Value) -> String {
    match default {
        Value::Table(table) if table.is_empty() => "none".to_owned(),
        Value::Table(_) => "see below".to_owned(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        other => format!("`{other}`"),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
