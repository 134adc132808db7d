//! What came of it: as a table, as one line of JSON, as a page.

use std::fmt::Write as _;

use deal_types::U256;
use serde::Serialize;

use super::{
    golden::Outcome,
    ledger::{EpochRecord, PAYMENT_DIGITS, TOKEN_DIGITS},
    spell::Fired,
};
use crate::{
    diagram::escape,
    path::{Names, Path},
    table,
};

/// Who earned what: capacity in wei, the others in the least unit of the payment token, as decimal
/// texts.
#[derive(Clone, Debug, Serialize)]
pub struct Earned {
    /// Who.
    pub name: String,
    /// For capacity, in the network's token.
    pub capacity: String,
    /// For serving the deal, in its token.
    pub deal: String,
    /// For golden particles, in the token of the deal.
    pub golden: String,
}

/// How long a part of the story took.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// What was done.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// What came of it.
    pub result: String,
}

/// The whole story.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the deal names.
    pub app_cid: String,
    /// The deal.
    pub deal: String,
    /// Where it stood at the end of the calls.
    pub deal_status: String,
    /// Proofs that were found, and verified by the chain.
    pub proofs: usize,
    /// Calls that all workers answered.
    pub calls: usize,
    /// What the spells did that the peers start by themselves.
    pub spells: Vec<Fired>,
    /// The stages.
    pub stages: Vec<Stage>,
    /// The epochs.
    pub epochs: Vec<EpochRecord>,
    /// The round of golden particles.
    pub golden: Outcome,
    /// Who earned what.
    pub earned: Vec<Earned>,
    /// The path of one golden particle.
    pub path: Path,
    /// What is not done.
    pub left_out: Vec<&'static str>,
}

/// Digits behind the point of what is earned by capacity, deals and golden particles.
const DIGITS: [u32; 3] = [TOKEN_DIGITS, PAYMENT_DIGITS, PAYMENT_DIGITS];

/// What is told about spells.
const SPELL_HEADINGS: [&str; 5] = ["", "spell", "firings", "failed", "the last told"];

/// Whole tokens of so many digits with four behind the point, rounded down.
pub fn whole(amount: U256, digits: u32) -> String {
    let unit = U256::from(10_u64.saturating_pow(digits.saturating_sub(4)));
    let parts = amount.checked_div(unit).unwrap_or_default();
    let (whole, rest) = parts.div_rem(U256::from(10_000));
    let rest = u64::try_from(rest).unwrap_or_default();
    format!("{whole}.{rest:04}")
}

fn parsed(text: &str) -> U256 {
    text.parse().unwrap_or_default()
}

impl Report {
    /// For a terminal.
    pub fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .earned
            .iter()
            .map(|earned| {
                let mut row = vec![earned.name.clone()];
                let amounts = [&earned.capacity, &earned.deal, &earned.golden];
                let amounts = amounts.into_iter().zip(DIGITS);
                row.extend(amounts.map(|(amount, digits)| whole(parsed(amount), digits)));
                row
            })
            .collect();
        let headings = ["", "capacity, FLT", "deal, tokens", "golden, tokens"];
        let earned = table::render(&headings, &rows);
        let spells = table::render(&SPELL_HEADINGS, &self.spell_rows());
        format!("{earned}\n{spells}")
    }

    fn spell_rows(&self) -> Vec<Vec<String>> {
        let spells = self.spells.iter();
        spells
            .map(|spell| {
                vec![
                    spell.provider.clone(),
                    spell.spell.clone(),
                    spell.firings.to_string(),
                    spell.failed.to_string(),
                    spell.last.clone(),
                ]
            })
            .collect()
    }

    /// A page with plots, which needs nothing else.
    pub fn page(&self, names: &Names) -> String {
        let mut body = String::new();
        // Writing into a string cannot fail.
        let _ = writeln!(
            body,
            "<p>{} proofs of capacity, {} calls, {} tickets, {} golden. The deal names <code>{}</code>.</p>",
            self.proofs,
            self.calls,
            self.golden.tickets,
            self.golden.golden.len(),
            escape(&self.app_cid)
        );
        let _ = writeln!(body, "<h2>Units by epoch</h2>\n{}", self.epochs_plot());
        let _ = writeln!(body, "<h2>Earnings</h2>\n{}", self.earnings_plot());
        body.push_str("<h2>The path of a golden particle</h2>\n<table><tr><th>ms</th><th>peer</th><th>what</th><th>signatures verified</th></tr>\n");
        for row in self.path.rows(names) {
            let _ = writeln!(body, "<tr>{}</tr>", cells("td", &row));
        }
        let _ = writeln!(
            body,
            "</table>\n<h2>Spells</h2>\n<table class=\"spells\"><tr>{}</tr>",
            cells("th", &SPELL_HEADINGS)
        );
        for row in self.spell_rows() {
            let _ = writeln!(body, "<tr>{}</tr>", cells("td", &row));
        }
        body.push_str("</table>\n<h2>Stages</h2>\n<table><tr><th>stage</th><th>seconds</th><th>result</th></tr>\n");
        for stage in &self.stages {
            let _ = writeln!(
                body,
                "<tr><td>{}</td><td>{:.1}</td><td>{}</td></tr>",
                escape(stage.name),
                stage.seconds,
                escape(&stage.result)
            );
        }
        body.push_str("</table>\n");
        for left_out in &self.left_out {
            let _ = writeln!(body, "<p class=\"note\">{}</p>", escape(left_out));
        }
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>A market</title>\n\
             <style>\n{STYLE}</style></head>\n<body><h1>A market on one machine</h1>\n{body}</body></html>\n"
        )
    }

    /// Units that prove and units in deals, as stacked bars.
    fn epochs_plot(&self) -> String {
        let most = self
            .epochs
            .iter()
            .map(|epoch| epoch.proving + epoch.in_deals);
        let most = most.max().unwrap_or(0).max(1) as f64;
        let mut svg = String::new();
        for (index, epoch) in self.epochs.iter().enumerate() {
            let x = 20.0 + 60.0 * index as f64;
            let height = |units: u64| HEIGHT * units as f64 / most;
            let (proving, in_deals) = (height(epoch.proving), height(epoch.in_deals));
            bar(
                &mut svg,
                "proving",
                x,
                HEIGHT - proving,
                proving,
                &format!("{} prove", epoch.proving),
            );
            let y = HEIGHT - proving - in_deals;
            bar(
                &mut svg,
                "deal",
                x,
                y,
                in_deals,
                &format!("{} in deals", epoch.in_deals),
            );
            label(&mut svg, x, &format!("epoch {}", epoch.epoch));
        }
        plot(
            &svg,
            self.epochs.len(),
            &[("proving", "prove capacity"), ("deal", "work for a deal")],
        )
    }

    /// What everybody earned, as stacked bars.
    fn earnings_plot(&self) -> String {
        let amounts = |earned: &Earned| {
            let amounts = [&earned.capacity, &earned.deal, &earned.golden];
            let amounts = amounts.into_iter().zip(DIGITS);
            amounts
                .map(|(amount, digits)| tokens(amount, digits))
                .collect::<Vec<f64>>()
        };
        let most = self
            .earned
            .iter()
            .map(|earned| amounts(earned).iter().sum::<f64>());
        let most = most.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let classes = ["proving", "deal", "golden"];
        let mut svg = String::new();
        for (index, earned) in self.earned.iter().enumerate() {
            let x = 20.0 + 60.0 * index as f64;
            let mut y = HEIGHT;
            for (class, amount) in classes.iter().zip(amounts(earned)) {
                let height = HEIGHT * amount / most;
                y -= height;
                bar(&mut svg, class, x, y, height, &format!("{amount:.4}"));
            }
            label(&mut svg, x, &earned.name);
        }
        let legend = [
            ("proving", "capacity, FLT"),
            ("deal", "deal"),
            ("golden", "golden particles"),
        ];
        plot(&svg, self.earned.len(), &legend)
    }
}

/// The cells of a row.
fn cells(tag: &str, row: &[impl AsRef<str>]) -> String {
    row.iter()
        .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell.as_ref())))
        .collect()
}

/// Whole tokens as a number to draw.
fn tokens(amount: &str, digits: u32) -> f64 {
    whole(parsed(amount), digits).parse().unwrap_or_default()
}

const HEIGHT: f64 = 160.0;

fn bar(svg: &mut String, class: &str, x: f64, y: f64, height: f64, title: &str) {
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" width=\"40\" height=\"{height:.1}\"><title>{}</title></rect>",
        escape(title)
    );
}

fn label(svg: &mut String, x: f64, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\">{}</text>",
        x + 20.0,
        HEIGHT + 16.0,
        escape(text)
    );
}

fn plot(bars: &str, count: usize, legend: &[(&str, &str)]) -> String {
    let width = 40.0 + 60.0 * count.max(1) as f64;
    let height = HEIGHT + 24.0;
    let legend: Vec<String> = legend
        .iter()
        .map(|(class, text)| format!("<span class=\"{class}\">■</span> {text}"))
        .collect();
    format!(
        "<p class=\"legend\">{}</p>\n<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n{bars}</svg>",
        legend.join(" · ")
    )
}

const STYLE: &str = "\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; }\n\
table { border-collapse: collapse; } td, th { padding: 0.1em 0.8em 0.1em 0; text-align: left; }\n\
svg text { font-size: 10px; text-anchor: middle; }\n\
rect.proving { fill: #2f7ed8; } rect.deal { fill: #8bbc21; } rect.golden { fill: #e6a700; }\n\
span.proving { color: #2f7ed8; } span.deal { color: #8bbc21; } span.golden { color: #e6a700; }\n\
.note { color: #777; }\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_down() {
        let wei = U256::from(1_234_599_999_999_999_999_u64);
        assert_eq!(whole(wei, 18), "1.2345");
        assert_eq!(whole(U256::from(1_234_599), 6), "1.2345");
        assert_eq!(whole(U256::ZERO, 6), "0.0000");
        assert!((tokens("2500000000000000000", 18) - 2.5).abs() < 1e-9);
    }
}
