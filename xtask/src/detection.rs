//! `cargo xtask detection`: how often an audit convicts a provider who claims more than he has.

use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use ccp::audit::{AuditError, Overclaim};

/// What to simulate.
#[derive(clap::Args)]
pub struct Arguments {
    /// Providers for each point.
    #[arg(long, default_value_t = 40)]
    trials: u32,
    /// The file to write.
    #[arg(long, default_value = "ccp/docs/detection.svg")]
    out: PathBuf,
}

/// Proofs that an honest provider finds in the time of observation, with the colour of the line.
const CURVES: [(f64, &str); 4] = [
    (10.0, "#888888"),
    (30.0, "#d55e00"),
    (100.0, "#0072b2"),
    (300.0, "#009e73"),
];
/// The greatest factor.
const MOST: f64 = 3.0;
/// Points of a line.
const POINTS: u32 = 20;
/// The confidence of the audit.
const CONFIDENCE: f64 = 0.99;
/// Place of the plot in the picture, and its size.
const PLOT: [f64; 4] = [60.0, 20.0, 560.0, 300.0];

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    let done = curves(arguments.trials)
        .map_err(|error| error.to_string())
        .and_then(|curves| {
            let out = crate::tidy::workspace_root().join(&arguments.out);
            if let Some(folder) = out.parent() {
                fs::create_dir_all(folder).map_err(|error| error.to_string())?;
            }
            fs::write(&out, picture(&curves)).map_err(|error| format!("{}: {error}", out.display()))
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A line: proofs expected, colour, factors with detection rates.
type Curve = (f64, &'static str, Vec<(f64, f64)>);

fn curves(trials: u32) -> Result<Vec<Curve>, AuditError> {
    let mut curves = Vec::new();
    for (expected_proofs, colour) in CURVES {
        let mut points = Vec::new();
        for point in 0..=POINTS {
            let factor = 1.0 + (MOST - 1.0) * f64::from(point) / f64::from(POINTS);
            let provider = Overclaim {
                factor,
                expected_proofs,
                trials,
                confidence: CONFIDENCE,
                seed: u64::from(point) << 32,
            };
            points.push((factor, provider.detection_rate()?));
        }
        if let Some((factor, rate)) = points.iter().find(|(_, rate)| *rate >= 0.95) {
            println!(
                "{expected_proofs} proofs expected: {factor:.1} times is found out in {rate:.3}"
            );
        }
        curves.push((expected_proofs, colour, points));
    }
    Ok(curves)
}

fn picture(curves: &[Curve]) -> String {
    let [left, top, width, height] = PLOT;
    let x = |factor: f64| left + width * (factor - 1.0) / (MOST - 1.0);
    let y = |rate: f64| top + height * (1.0 - rate);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 370\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"760\" height=\"370\" fill=\"white\"/>\n",
    );
    // Writing to a text does not fail.
    for step in 0..=4 {
        let rate = f64::from(step) / 4.0;
        let (x1, x2, y, text) = (x(1.0), x(MOST), y(rate), rate * 100.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{x1}\" x2=\"{x2}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#dddddd\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{text} %</text>",
            x1 - 8.0,
            y + 4.0
        );
    }
    for step in 0..=4 {
        let factor = 1.0 + (MOST - 1.0) * f64::from(step) / 4.0;
        let (x, y) = (x(factor), y(0.0) + 20.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{factor}</text>"
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">times the capacity that he has, as claimed</text>",
        left + width / 2.0,
        y(0.0) + 42.0
    );
    for (index, (expected, colour, points)) in curves.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|(factor, rate)| format!("{:.1},{:.1}", x(*factor), y(*rate)))
            .collect();
        let (x, y) = (left + width + 16.0, top + 20.0 + 22.0 * index as f64);
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{expected} proofs</text>",
            path.join(" ")
        );
    }
    svg.push_str("</svg>\n");
    svg
}
