//! Shows what a particle proves: who executed which step, what the signatures cover and what they
//! do not. Reads the particle as it travels (one frame), asks nobody and needs no key.

use std::path::PathBuf;
use std::process::ExitCode;

use aquavm::verify::{CallEnd, CanonResult, Ending, Event, Snapshot, Step, Subject, Verification};
use aquavm::{Compat, Limits, Script, verify};
use clap::Parser;
use examples::failure::{Failure, Result, exit};
use particle::data::Envelope;
use particle::{Particle, frame};
use semver::Version;

/// Shows what a particle proves.
#[derive(Parser)]
#[command(name = "particle-inspect", version)]
struct Arguments {
    /// A particle as it travels: length, multicodec, MessagePack.
    file: PathBuf,
    /// Print a page instead of text.
    #[arg(long)]
    html: bool,
    /// Replay the first steps only and show what the names of the script stand for then.
    #[arg(long, value_name = "N")]
    step: Option<usize>,
}

fn main() -> ExitCode {
    exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments.file.display();
    let bytes = std::fs::read(&arguments.file)
        .map_err(|error| Failure::input(format!("{path}: {error}")))?;
    let particle = match frame::decode(&bytes) {
        Ok(Some((frame::Message::Particle(particle), _))) => particle,
        Ok(_) => return Err(Failure::input(format!("{path} holds no whole particle"))),
        Err(error) => return Err(Failure::input(format!("{path}: {error}"))),
    };
    let timeline = inspect(&particle, arguments.step)?;
    if arguments.html {
        print!("{}", page(&timeline));
    } else {
        print!("{}", text(&timeline));
    }
    Ok(())
}

/// What is shown, with short names for peers.
struct Timeline {
    title: String,
    peers: Vec<String>,
    entries: Vec<Entry>,
    notes: Vec<String>,
}

/// A step: a line, details, and whether a signature covers it.
struct Entry {
    line: String,
    details: Vec<String>,
    signed: bool,
}

fn inspect(particle: &Particle, step: Option<usize>) -> Result<Timeline> {
    // Signatures in the data cover the particle's id only: this one says whose id and script it is.
    particle.verify().map_err(Failure::new)?;
    let script = Script::parse(&particle.script).map_err(Failure::new)?;
    let written_by = Envelope::decode(&particle.data).map_err(Failure::new)?;
    let subject = Subject {
        init_peer_id: particle.init_peer_id.to_string(),
        particle_id: particle.id.clone(),
        timestamp: particle.timestamp,
        ttl: particle.ttl,
        compat: match written_by.versions.interpreter < Version::new(0, 64, 0) {
            true => Compat::V0_63,
            false => Compat::V0_64,
        },
        limits: Limits::for_strangers(),
    };
    let refused = |error: verify::VerifyError| {
        let code = error.code();
        Failure::new(format!("refused with code {code}: {error}"))
    };
    let whole = verify::verify(&script, &particle.data, &subject).map_err(refused)?;
    let mut timeline = Timeline {
        title: format!(
            "particle {} of {}, made at {} ms, lives {} ms",
            particle.id, particle.init_peer_id, particle.timestamp, particle.ttl
        ),
        peers: peers(&subject, &whole),
        entries: Vec::new(),
        notes: Vec::new(),
    };
    let shown = step.map_or(whole.steps.len(), |step| step.min(whole.steps.len()));
    let steps = whole.steps.iter().take(shown);
    timeline.entries = steps.map(|step| timeline.entry(step)).collect();
    timeline.notes = match step {
        None => timeline.ending(&whole),
        Some(step) => {
            let snapshot = verify::replay(&script, &particle.data, &subject, step);
            variables(&snapshot.map_err(refused)?)
        }
    };
    Ok(timeline)
}

/// All peers in the order in which they appear, the initiator first.
fn peers(subject: &Subject, verification: &Verification) -> Vec<String> {
    let mut peers = vec![subject.init_peer_id.clone()];
    for step in &verification.steps {
        if let Event::Call { peer, .. } | Event::Canon { peer, .. } = &step.event
            && !peers.contains(peer)
        {
            peers.push(peer.clone());
        }
    }
    peers
}

impl Timeline {
    fn name(&self, peer: &str) -> String {
        match self.peers.iter().position(|known| known == peer) {
            Some(index) => format!("P{index}"),
            None => peer.to_owned(),
        }
    }

    fn entry(&self, step: &Step) -> Entry {
        let position = step
            .position
            .map_or("next".to_owned(), |position| position.to_string());
        let mut line = step.instruction.clone();
        for (index, peer) in self.peers.iter().enumerate() {
            line = line.replace(&format!("\"{peer}\""), &format!("P{index}"));
        }
        let mut details = Vec::new();
        match &step.event {
            Event::Call {
                peer,
                service,
                function,
                argument_hash,
                end,
            } => {
                let hash = argument_hash.as_deref().unwrap_or("not known yet");
                details.push(format!(
                    "{} runs {service}.{function}, arguments {hash}",
                    self.name(peer)
                ));
                details.push(self.call_end(end));
            }
            Event::Canon { peer, result } => details.push(match result {
                Some(CanonResult { cid, values }) => format!(
                    "{} fixed {} values as {cid}: [{}]",
                    self.name(peer),
                    values.len(),
                    values.join(",")
                ),
                None => format!("{} is to fix the values", self.name(peer)),
            }),
            Event::Par { left, right } => {
                details.push(format!("{left} states left, {right} right"))
            }
            Event::Fold { values } => details.push(format!("over {values} values")),
            _ => {}
        }
        if let Some(peer) = &step.signed_by {
            details.push(format!("signed by {}", self.name(peer)));
        }
        let unproven = step.unproven.iter();
        details.extend(unproven.map(|reason| format!("not proven: {reason}")));
        Entry {
            line: format!("{position:>4}  {line}"),
            details,
            signed: step.signed_by.is_some(),
        }
    }

    fn call_end(&self, end: &CallEnd) -> String {
        match end {
            CallEnd::Returned { result, value, .. } => format!("result {result}: {value}"),
            CallEnd::Failed { result, value, .. } => format!("failure {result}: {value}"),
            CallEnd::Unused { value_cid } => format!("said to have returned {value_cid}"),
            CallEnd::Pending { sender } => format!("pending, says {}", self.name(sender)),
            _ => "not run yet".to_owned(),
        }
    }

    fn ending(&self, verification: &Verification) -> Vec<String> {
        let mut notes = vec![match &verification.ending {
            Ending::Complete => "the script is at its end".to_owned(),
            Ending::Failed { code, message } => format!("ended with code {code}: {message}"),
            _ => "the script waits for other peers".to_owned(),
        }];
        let signers = verification.signers.iter();
        notes.extend(
            signers.map(|(peer, count)| format!("{} signed {count} results", self.name(peer))),
        );
        for state in &verification.unreached {
            let signer = state.signed_by.as_deref().map(|peer| self.name(peer));
            let signer = signer.unwrap_or_else(|| "nobody".to_owned());
            let position = state.position;
            notes.push(format!(
                "state {position}, signed by {signer}, is not reached"
            ));
        }
        let caveats = verification.caveats.iter();
        notes.extend(caveats.map(|caveat| format!("never proven: {caveat}")));
        notes
    }
}

fn variables(snapshot: &Snapshot) -> Vec<String> {
    let variables = snapshot.variables.iter();
    variables
        .map(|(name, text)| format!("{name} = {text}"))
        .collect()
}

fn text(timeline: &Timeline) -> String {
    let mut text = format!("{}\n", timeline.title);
    for (index, peer) in timeline.peers.iter().enumerate() {
        text.push_str(&format!("  P{index} = {peer}\n"));
    }
    for entry in &timeline.entries {
        text.push_str(&format!("{}\n", entry.line));
        for detail in &entry.details {
            text.push_str(&format!("        {detail}\n"));
        }
    }
    for note in &timeline.notes {
        text.push_str(&format!("{note}\n"));
    }
    text
}

fn page(timeline: &Timeline) -> String {
    let mut page = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>particle</title><style>\
         body{font:14px/1.5 monospace;max-width:80em;margin:2em auto;padding:0 1em}\
         ol{list-style:none;padding:0}li{border-left:4px solid #c60;margin:.6em 0;padding-left:1em}\
         li.signed{border-color:#080}p{margin:0;overflow-wrap:anywhere;color:#444}</style>\n",
    );
    page.push_str(&format!("<h1>{}</h1>\n", escaped(&timeline.title)));
    for (index, peer) in timeline.peers.iter().enumerate() {
        page.push_str(&format!("<p>P{index} = {}\n", escaped(peer)));
    }
    page.push_str("<ol>\n");
    for entry in &timeline.entries {
        let class = if entry.signed { "signed" } else { "unsigned" };
        page.push_str(&format!(
            "<li class=\"{class}\"><b>{}</b>\n",
            escaped(&entry.line)
        ));
        for detail in &entry.details {
            page.push_str(&format!("<p>{}\n", escaped(detail)));
        }
    }
    page.push_str("</ol>\n");
    for note in &timeline.notes {
        page.push_str(&format!("<p>{}\n", escaped(note)));
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
