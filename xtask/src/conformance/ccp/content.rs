//! Identifiers of files.

use deal_types::unixfs;

use super::{Report, expect};

#[derive(serde::Deserialize)]
pub(super) struct Records {
    files: Vec<File>,
    root_block_of_600000_hex: String,
    strings: Vec<Text>,
}

#[derive(serde::Deserialize)]
struct File {
    len: usize,
    cid: String,
}

#[derive(serde::Deserialize)]
struct Text {
    utf8: String,
    cid: String,
}

/// Pieces in which the content is handed over, so that pieces and chunks do not coincide.
const PIECE: usize = 251 * 331;

pub(super) fn replay(records: &Records, report: &mut Report) -> Result<(), String> {
    let piece: Vec<u8> = (0..PIECE).map(|index| (index % 251) as u8).collect();
    let mut root_block = Vec::new();
    for file in &records.files {
        let (mut rest, mut last) = (file.len, Vec::new());
        let mut adder = unixfs::Adder::new(unixfs::Layout::Balanced, |_, block: &[u8]| {
            last = block.to_vec();
        });
        while rest > 0 {
            // Pieces have a length that is a multiple of 251, so each begins like the content.
            let part = piece.get(..rest).unwrap_or(&piece);
            adder.update(part);
            rest -= part.len();
        }
        let cid = adder.finish().to_string();
        report.record(
            format!("unixfs-cid.json: {} bytes", file.len),
            expect("cid", cid, file.cid.clone()),
        );
        if file.len == 600_000 {
            root_block = last;
        }
    }
    let outcome = expect(
        "block",
        hex::encode(root_block),
        records.root_block_of_600000_hex.clone(),
    );
    report.record("unixfs-cid.json: root block of 600000 bytes", outcome);
    for text in &records.strings {
        let cid = unixfs::cid_of(text.utf8.as_bytes()).to_string();
        let outcome = expect("cid", cid, text.cid.clone()).and_then(|()| reread(text));
        report.record(format!("unixfs-cid.json: {:?}", text.utf8), outcome);
    }
    Ok(())
}

/// A worker definition is read and written again without a difference.
fn reread(text: &Text) -> Result<(), String> {
    if !text.utf8.starts_with("{\"services\"") {
        return Ok(());
    }
    let definition = deal_types::distributive::WorkerDefinition::parse(text.utf8.as_bytes())
        .map_err(|error| error.to_string())?;
    expect(
        "definition",
        definition.to_canonical_json().as_str(),
        text.utf8.trim_end(),
    )
}
