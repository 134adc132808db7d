//! A program that answers a line with a line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// A running worker; it ends with this value.
pub(super) struct Worker {
    name: String,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    pub(super) fn start(mut command: Command, name: &str) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let input = process.stdin.take().ok_or("the worker has no input")?;
        let output = process.stdout.take().ok_or("the worker has no output")?;
        Ok(Self {
            name: name.to_owned(),
            process,
            input,
            output: BufReader::new(output),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks for something and waits for the answer.
    pub(super) fn ask(&mut self, request: Value) -> Result<Value, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.name);
        writeln!(self.input, "{request}").map_err(failed)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(failed)?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| format!("{}: {line:?}: {error}", self.name))?;
        match answer.get("error") {
            Some(error) => Err(format!("{}: {error}", self.name)),
            None => Ok(answer),
        }
    }

    /// Asks for something that is answered with a number in `field`.
    pub(super) fn number(&mut self, request: Value, field: &str) -> Result<f64, String> {
        let answer = self.ask(request)?;
        answer
            .get(field)
            .and_then(Value::as_f64)
            .ok_or_else(|| format!("{}: no {field} in {answer}", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
