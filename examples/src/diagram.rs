//! The path of a particle as a sequence diagram: one HTML file that needs nothing else.

use std::fmt::Write as _;

use particle::PeerId;

use crate::path::{Names, Path, StepKind};

/// Distance of two peers.
const COLUMN: f64 = 190.0;
/// Distance of two steps.
const ROW: f64 = 26.0;
/// Room above the first step.
const TOP: f64 = 70.0;
/// Room at the left, for the time.
const LEFT: f64 = 120.0;

/// Text at the head of the page.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// Title of the page.
    pub title: String,
    /// Lines below it.
    pub lines: Vec<String>,
}

/// Renders the page.
pub fn render(path: &Path, names: &Names, heading: &Heading) -> String {
    let peers = path.peers();
    let column = |peer: &PeerId| {
        peers
            .iter()
            .position(|known| known == peer)
            .map_or(LEFT - 40.0, |index| {
                LEFT + COLUMN / 2.0 + COLUMN * index as f64
            })
    };
    let steps: Vec<_> = path.steps().iter().collect();
    let height = TOP + ROW * (steps.len() as f64 + 1.0);
    let width = LEFT + COLUMN * peers.len().max(1) as f64;
    let mut svg = String::new();
    for peer in &peers {
        let (x, name) = (column(peer), escape(&names.of(peer)));
        let id = escape(&peer.to_string());
        // Writing into a string cannot fail.
        let _ = writeln!(
            svg,
            "<g class=\"peer\"><title>{id}</title>\
             <rect x=\"{}\" y=\"14\" width=\"150\" height=\"34\" rx=\"6\"/>\
             <text x=\"{x}\" y=\"36\">{name}</text>\
             <line x1=\"{x}\" y1=\"48\" x2=\"{x}\" y2=\"{height}\"/></g>",
            x - 75.0
        );
    }
    for (index, step) in steps.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let x = column(&step.peer);
        let _ = write!(
            svg,
            "<text class=\"time\" x=\"8\" y=\"{}\">{:.1} ms</text>",
            y + 4.0,
            step.at_ms
        );
        svg.push_str(&mark(&step.kind, x, y, names, &column));
        svg.push('\n');
    }
    let lines: String = heading
        .lines
        .iter()
        .map(|line| format!("<p>{}</p>\n", escape(line)))
        .collect();
    let title = escape(&heading.title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>\n{STYLE}</style></head>\n<body><h1>{title}</h1>\n{lines}\
         <p class=\"legend\"><span class=\"run verified\">●</span> the script ran, all signatures verified · \
         <span class=\"run refused\">●</span> refused or failed · \
         <span class=\"call\">■</span> a function was executed · → the particle was sent</p>\n\
         <div class=\"scroll\"><svg width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"sequence diagram\">\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L10 5L0 10z\"/></marker></defs>\n\
         {svg}</svg></div></body></html>\n"
    )
}

/// One step: what is drawn at the peer's line, with the details as a tool tip.
fn mark(
    kind: &StepKind,
    x: f64,
    y: f64,
    names: &Names,
    column: &impl Fn(&PeerId) -> f64,
) -> String {
    let label = |text: &str| {
        format!(
            "<text class=\"label\" x=\"{}\" y=\"{}\">{}</text>",
            x + 10.0,
            y + 4.0,
            escape(text)
        )
    };
    match kind {
        StepKind::Executed {
            calls,
            next,
            took_ms,
            verified,
            error,
        } => {
            let class = if *verified { "verified" } else { "refused" };
            let mut details = vec![format!("ran {took_ms:.2} ms")];
            details.extend(calls.iter().map(|call| format!("asks for {call}")));
            details.extend(
                next.iter()
                    .map(|peer| format!("sends to {}", names.of(peer))),
            );
            details.extend(error.clone());
            format!(
                "<g><title>{}</title><circle class=\"run {class}\" cx=\"{x}\" cy=\"{y}\" r=\"6\"/></g>",
                escape(&details.join("\n"))
            )
        }
        StepKind::Called {
            function,
            took_ms,
            ok,
        } => {
            let class = if *ok { "call" } else { "call failed" };
            format!(
                "<g><title>{} took {took_ms:.2} ms</title>\
                 <rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"10\" height=\"10\"/>{}</g>",
                escape(function),
                x - 5.0,
                y - 5.0,
                label(function)
            )
        }
        StepKind::Sent { to } => format!(
            "<line class=\"sent\" x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" \
             marker-end=\"url(#tip)\"/>",
            column(to)
        ),
        StepKind::NotSent { to, reason } => format!(
            "<g><title>{}</title><line class=\"lost\" x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\"/>{}</g>",
            escape(reason),
            column(to),
            label(&format!("✗ {}", names.of(to)))
        ),
        StepKind::Refused { reason, .. } => format!(
            "<g><title>{}</title><circle class=\"run refused\" cx=\"{x}\" cy=\"{y}\" r=\"6\"/>{}</g>",
            escape(reason),
            label("refused")
        ),
    }
}

/// Names, functions and reasons come from other peers: none of them becomes markup.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}

const STYLE: &str = "\
:root { color-scheme: light dark; --line: #9aa4b2; --text: #1d2733; --paper: #ffffff; --peer: #e8eef6; }
@media (prefers-color-scheme: dark) { :root { --line: #5b6675; --text: #e4e9f0; --paper: #14181d; --peer: #26303c; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: var(--text); background: var(--paper); }
h1 { font-size: 1.4rem; } p { margin: .2rem 0; } .legend { margin: 1rem 0; }
.scroll { overflow-x: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); }
svg .peer rect { fill: var(--peer); stroke: var(--line); } svg .peer text { text-anchor: middle; font-weight: 600; }
svg .peer line { stroke: var(--line); stroke-dasharray: 3 4; }
svg .time { fill: var(--line); } svg .label { font-size: 11px; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
svg .sent { stroke: #2f6fde; stroke-width: 1.6; } svg marker path { fill: #2f6fde; }
svg .lost { stroke: #c8372d; stroke-width: 1.6; stroke-dasharray: 5 4; }
.verified { fill: #1f9d55; color: #1f9d55; } .refused { fill: #c8372d; color: #c8372d; }
.call { fill: #b7791f; color: #b7791f; } .call.failed { fill: #c8372d; }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(escape("<script>\"'&"), "&lt;script&gt;&quot;&#39;&amp;");
        let heading = Heading {
            title: "<b>".to_owned(),
            lines: vec!["<i>".to_owned()],
        };
        let page = render(&Path::default(), &Names::default(), &heading);
        assert!(!page.contains("<b>") && !page.contains("<i>"));
        assert!(
            !page.contains("http"),
            "the page needs nothing from elsewhere"
        );
    }
}
