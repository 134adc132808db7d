//! What a script expects of the values that services give it, read from how it uses them: which
//! are peers, which are arrays, which fields objects need.

use std::collections::BTreeMap;

use air_parser::{
    Accessor, Ast, InstructionKind, Lambda, Value, ValueKind, Variable, VariableKind,
};
use serde_json::{Value as Json, json};

/// How deep made up values are; shapes can contain themselves.
const MAX_DEPTH: usize = 6;
/// The largest index that made up arrays have an element for.
const MAX_INDEX: u32 = 16;

/// The shapes of all variables of a script. Variables whose values flow into each other share one.
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    names: BTreeMap<String, usize>,
    results: BTreeMap<(String, String), usize>,
}

/// What is known of one value. Shapes that turned out to be the same are linked.
#[derive(Default)]
struct Shape {
    same_as: Option<usize>,
    fields: BTreeMap<String, usize>,
    element: Option<usize>,
    length: u32,
    peer: bool,
}

impl Shapes {
    /// Reads a script.
    pub(super) fn of(ast: &Ast<'_>) -> Self {
        let mut shapes = Self {
            shapes: Vec::new(),
            names: BTreeMap::new(),
            results: BTreeMap::new(),
        };
        for instruction in ast.instructions() {
            shapes.read(instruction.kind());
        }
        shapes
    }

    /// A value that fits every use of what the function returns; peers are taken from `peers`.
    pub(super) fn result(&self, service: &str, function: &str, peers: &[String]) -> Json {
        let key = (service.to_owned(), function.to_owned());
        match self.results.get(&key) {
            Some(&shape) => self.value(shape, peers, 0),
            None => json!(null),
        }
    }

    fn read(&mut self, kind: InstructionKind<'_, '_>) {
        match kind {
            InstructionKind::Call {
                peer,
                service,
                function,
                arguments,
                output,
            } => {
                self.peer(peer);
                for argument in arguments {
                    self.operand(argument);
                }
                let (ValueKind::Literal(service), ValueKind::Literal(function)) =
                    (service.kind, function.kind)
                else {
                    self.operand(service);
                    self.operand(function);
                    return;
                };
                if let Some(output) = output {
                    let taken = self.written(output);
                    let key = (service.to_owned(), function.to_owned());
                    let known = *self.results.entry(key).or_insert(taken);
                    self.unify(known, taken);
                }
            }
            InstructionKind::Canon {
                peer,
                source,
                target,
            } => {
                self.peer(peer);
                let (source, target) = (self.named(source.name), self.named(target.name));
                self.unify(source, target);
            }
            InstructionKind::Ap { argument, target } => {
                let target = self.written(target);
                if let Some(argument) = self.operand(argument) {
                    self.unify(argument, target);
                }
            }
            InstructionKind::ApMap {
                key, argument, map, ..
            } => {
                self.operand(key);
                let item = self.written(map);
                let value = self.field(item, "value");
                if let Some(argument) = self.operand(argument) {
                    self.unify(argument, value);
                }
            }
            InstructionKind::Match { left, right, .. }
            | InstructionKind::Mismatch { left, right, .. } => {
                self.operand(left);
                self.operand(right);
            }
            InstructionKind::Fold {
                iterable, iterator, ..
            } => {
                if let Some(iterable) = self.operand(iterable) {
                    let element = self.element(iterable, 0);
                    let iterator = self.named(iterator.name);
                    self.unify(element, iterator);
                }
            }
            _ => {}
        }
    }

    fn peer(&mut self, value: Value<'_>) {
        if let Some(shape) = self.operand(value) {
            let shape = self.find(shape);
            if let Some(shape) = self.shapes.get_mut(shape) {
                shape.peer = true;
            }
        }
    }

    /// The shape of an operand that is a variable, its lambda followed.
    fn operand(&mut self, value: Value<'_>) -> Option<usize> {
        let ValueKind::Variable(variable, lambda) = value.kind else {
            return None;
        };
        let mut shape = self.named(variable.name);
        for accessor in lambda.into_iter().flat_map(Lambda::accessors) {
            shape = match accessor {
                Accessor::Index(index) => self.element(shape, index),
                Accessor::Field(name) => self.field(shape, name),
                // Held by a variable: an index in all that the compiler writes.
                Accessor::Scalar(_) => self.element(shape, 0),
            };
        }
        if lambda == Some(Lambda::Length) {
            self.element(shape, 0);
            return None;
        }
        Some(shape)
    }

    /// The shape of what is put into a variable: an element of a stream, or the scalar itself.
    fn written(&mut self, variable: Variable<'_>) -> usize {
        let shape = self.named(variable.name);
        match variable.kind {
            VariableKind::Scalar => shape,
            _ => self.element(shape, 0),
        }
    }

    fn named(&mut self, name: &str) -> usize {
        if let Some(&shape) = self.names.get(name) {
            return shape;
        }
        let shape = self.fresh();
        self.names.insert(name.to_owned(), shape);
        shape
    }

    fn fresh(&mut self) -> usize {
        self.shapes.push(Shape::default());
        self.shapes.len() - 1
    }

    fn element(&mut self, shape: usize, index: u32) -> usize {
        let fresh = self.fresh();
        let shape = self.find(shape);
        let Some(shape) = self.shapes.get_mut(shape) else {
            return fresh;
        };
        shape.length = shape.length.max(index.min(MAX_INDEX) + 1);
        *shape.element.get_or_insert(fresh)
    }

    fn field(&mut self, shape: usize, name: &str) -> usize {
        let fresh = self.fresh();
        let shape = self.find(shape);
        match self.shapes.get_mut(shape) {
            Some(shape) => *shape.fields.entry(name.to_owned()).or_insert(fresh),
            None => fresh,
        }
    }

    fn find(&self, mut shape: usize) -> usize {
        while let Some(other) = self.shapes.get(shape).and_then(|shape| shape.same_as) {
            shape = other;
        }
        shape
    }

    /// Makes two shapes one, and what they contain.
    fn unify(&mut self, one: usize, other: usize) {
        let mut pairs = vec![(one, other)];
        while let Some((one, other)) = pairs.pop() {
            let (one, other) = (self.find(one), self.find(other));
            if one == other {
                continue;
            }
            let Some(merged) = self.shapes.get_mut(other) else {
                continue;
            };
            let merged = std::mem::replace(
                merged,
                Shape {
                    same_as: Some(one),
                    ..Shape::default()
                },
            );
            let Some(shape) = self.shapes.get_mut(one) else {
                continue;
            };
            shape.peer |= merged.peer;
            shape.length = shape.length.max(merged.length);
            for (name, field) in merged.fields {
                pairs.push((*shape.fields.entry(name).or_insert(field), field));
            }
            if let Some(element) = merged.element {
                pairs.push((*shape.element.get_or_insert(element), element));
            }
        }
    }

    fn value(&self, shape: usize, peers: &[String], depth: usize) -> Json {
        let Some(shape) = self.shapes.get(self.find(shape)) else {
            return json!(null);
        };
        if depth < MAX_DEPTH {
            if !shape.fields.is_empty() {
                let fields = shape.fields.iter();
                return fields
                    .map(|(name, &field)| (name.clone(), self.value(field, peers, depth + 1)))
                    .collect();
            }
            if let Some(element) = shape.element {
                // Two items where that does not multiply.
                let count = shape.length.max(if depth == 0 { 2 } else { 1 });
                let element = self.value(element, peers, depth + 1);
                return (0..count).map(|_| element.clone()).collect();
            }
        }
        match peers.get(depth % peers.len().max(1)) {
            Some(peer) if shape.peer => json!(peer),
            _ => json!("text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_how_they_are_used() {
        let ast = air_parser::parse_syntax(
            r#"(seq
                (call %init_peer_id% ("getDataSrv" "users") [] users)
                (fold users user
                  (seq
                    (call user.$.home.id ("s" "greet") [user.$.name user.$.mails.[1]] $greetings)
                    (next user))))"#,
            &air_parser::ParseOptions::default(),
        )
        .unwrap();
        let shapes = Shapes::of(&ast);
        let peers = ["peer".to_owned()];
        let user = json!({"home": {"id": "peer"}, "mails": ["text", "text"], "name": "text"});
        assert_eq!(
            shapes.result("getDataSrv", "users", &peers),
            json!([user, user])
        );
        assert_eq!(shapes.result("s", "greet", &peers), json!("text"));
        assert_eq!(shapes.result("s", "other", &peers), json!(null));
    }

    #[test]
    fn what_flows_through_streams_keeps_its_shape() {
        let ast = air_parser::parse_syntax(
            r#"(seq
                (seq
                  (call "p" ("s" "find") [] $found)
                  (canon "p" $found #found))
                (seq
                  (ap #found.$.[0].next again)
                  (call again.$.peer ("s" "visit") [])))"#,
            &air_parser::ParseOptions::default(),
        )
        .unwrap();
        let value = Shapes::of(&ast).result("s", "find", &["peer".to_owned()]);
        assert_eq!(value, json!({"next": {"peer": "peer"}}));
    }
}
