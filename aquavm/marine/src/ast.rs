//! Scripts as JSON.
//!
//! An instruction is an object with one field, named after it: `{"Seq":{"left":…,"right":…}}`. Operands are their AIR
//! text, quotes included: `{"Call":{"peer":"%init_peer_id%","service":"\"s\"",…}}`; those of `(fail 1 "no")` are the
//! number and the plain text. An instruction without operands has `null`, as have an output and a last instruction
//! that are not there.

use air_parser::{Ast, FailOperand, Instruction, InstructionKind, Value, Variable};
use serde_json::{Value as Json, json};

/// What an instruction consists of.
enum Field<'a, 's> {
    Json(Json),
    Below(Instruction<'a, 's>),
}

/// What is still to be written.
enum Part<'a, 's> {
    Text(String),
    Below(Instruction<'a, 's>),
}

/// The whole script. Depth costs no stack.
pub(crate) fn json(ast: &Ast<'_>) -> String {
    let mut written = String::new();
    let mut parts = vec![Part::Below(ast.root())];
    while let Some(part) = parts.pop() {
        match part {
            Part::Text(text) => written.push_str(&text),
            Part::Below(instruction) => parts.extend(written_as(instruction).into_iter().rev()),
        }
    }
    written
}

fn written_as<'a, 's>(instruction: Instruction<'a, 's>) -> Vec<Part<'a, 's>> {
    let (name, fields) = described(instruction.kind());
    if fields.is_empty() {
        return vec![Part::Text(format!("{{\"{name}\":null}}"))];
    }
    let mut parts = Vec::with_capacity(2 * fields.len() + 2);
    parts.push(Part::Text(format!("{{\"{name}\":{{")));
    for (index, (field, content)) in fields.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        match content {
            Field::Json(json) => parts.push(Part::Text(format!("{comma}\"{field}\":{json}"))),
            Field::Below(instruction) => {
                parts.push(Part::Text(format!("{comma}\"{field}\":")));
                parts.push(Part::Below(instruction));
            }
        }
    }
    parts.push(Part::Text("}}".to_owned()));
    parts
}

type Fields<'a, 's> = Vec<(&'static str, Field<'a, 's>)>;

fn described<'a, 's>(kind: InstructionKind<'a, 's>) -> (&'static str, Fields<'a, 's>) {
    use Field::Below;
    match kind {
        InstructionKind::Call {
            peer,
            service,
            function,
            arguments,
            output,
        } => {
            let arguments: Vec<_> = arguments.map(|value| value.to_air().to_string()).collect();
            let output = output.map(|variable| variable.name);
            let fields = vec![
                ("peer", operand(peer)),
                ("service", operand(service)),
                ("function", operand(function)),
                ("arguments", Field::Json(json!(arguments))),
                ("output", Field::Json(json!(output))),
            ];
            ("Call", fields)
        }
        InstructionKind::Canon {
            peer,
            source,
            target,
        } => {
            let fields = vec![
                ("peer", operand(peer)),
                ("source", name(source)),
                ("target", name(target)),
            ];
            ("Canon", fields)
        }
        InstructionKind::Ap { argument, target } => {
            let fields = vec![("argument", operand(argument)), ("target", name(target))];
            ("Ap", fields)
        }
        InstructionKind::ApMap { key, argument, map } => {
            let fields = vec![
                ("key", operand(key)),
                ("argument", operand(argument)),
                ("map", name(map)),
            ];
            ("ApMap", fields)
        }
        InstructionKind::Seq { left, right } => ("Seq", two(left, right)),
        InstructionKind::Par { left, right } => ("Par", two(left, right)),
        InstructionKind::Xor { left, right } => ("Xor", two(left, right)),
        InstructionKind::Match { left, right, body } => ("Match", compared(left, right, body)),
        InstructionKind::Mismatch { left, right, body } => {
            ("Mismatch", compared(left, right, body))
        }
        InstructionKind::Fail { operand: failure } => {
            let fields = match failure {
                FailOperand::Literal { code, message } => vec![
                    ("code", Field::Json(json!(code))),
                    ("message", Field::Json(json!(message))),
                ],
                FailOperand::Value(value) => vec![("operand", operand(value))],
            };
            ("Fail", fields)
        }
        InstructionKind::Fold {
            iterable,
            iterator,
            body,
            last,
        } => {
            let fields = vec![
                ("iterable", operand(iterable)),
                ("iterator", name(iterator)),
                ("body", Below(body)),
                ("last", last.map_or(Field::Json(Json::Null), Below)),
            ];
            ("Fold", fields)
        }
        InstructionKind::Next { iterator } => ("Next", vec![("iterator", name(iterator))]),
        InstructionKind::New { variable, body } => (
            "New",
            vec![("variable", name(variable)), ("body", Below(body))],
        ),
        InstructionKind::Never => ("Never", Vec::new()),
        InstructionKind::Null => ("Null", Vec::new()),
    }
}

fn two<'a, 's>(left: Instruction<'a, 's>, right: Instruction<'a, 's>) -> Fields<'a, 's> {
    vec![("left", Field::Below(left)), ("right", Field::Below(right))]
}

fn compared<'a, 's>(
    left: Value<'s>,
    right: Value<'s>,
    body: Instruction<'a, 's>,
) -> Fields<'a, 's> {
    vec![
        ("left", operand(left)),
        ("right", operand(right)),
        ("body", Field::Below(body)),
    ]
}

fn operand<'a, 's>(value: Value<'s>) -> Field<'a, 's> {
    Field::Json(json!(value.to_air().to_string()))
}

fn name<'a, 's>(variable: Variable<'s>) -> Field<'a, 's> {
    Field::Json(json!(variable.name))
}
