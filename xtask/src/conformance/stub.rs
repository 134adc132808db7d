//! A stub host: answers every call with a value that fits what the script does with it.

use std::collections::BTreeMap;

use air_parser::{
    Accessor, Ast, InstructionKind, Lambda, Value as Operand, ValueKind, VariableKind,
};
use serde_json::{Value, json};

/// How far a value is followed through the script.
const MAX_DEPTH: usize = 12;
/// Longest array that is made up because an index asks for it.
const MAX_ELEMENTS: usize = 8;

/// What a value must look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Shape {
    /// Nothing is known.
    #[default]
    Any,
    /// A text: used as a peer, a service or a function.
    Peer,
    /// With these fields.
    Object(BTreeMap<String, Shape>),
    /// With this many elements of this shape.
    Array(usize, Box<Shape>),
}

/// What a script does with its names.
#[derive(Debug, Default)]
pub(super) struct Uses<'s> {
    /// By name: the path into the value, and what is done with what is there.
    uses: BTreeMap<&'s str, Vec<(Vec<Accessor<'s>>, Use<'s>)>>,
}

#[derive(Clone, Copy, Debug)]
enum Use<'s> {
    Read,
    Peer,
    /// Its elements are values of another name.
    Elements(&'s str),
    /// It becomes the value of another name.
    Same(&'s str),
    /// It becomes an element of the value of another name.
    ElementOf(&'s str),
}

impl<'s> Uses<'s> {
    /// Collects what `ast` does.
    pub(super) fn of(ast: &Ast<'s>) -> Self {
        let mut uses = Self::default();
        for instruction in ast.instructions() {
            match instruction.kind() {
                InstructionKind::Call {
                    peer,
                    service,
                    function,
                    arguments,
                    ..
                } => {
                    for part in [peer, service, function] {
                        uses.add(part, Use::Peer);
                    }
                    for argument in arguments {
                        uses.add(argument, Use::Read);
                    }
                }
                InstructionKind::Canon {
                    peer,
                    source,
                    target,
                } => {
                    uses.add(peer, Use::Peer);
                    // An element of the stream is an element of the canon.
                    if target.kind == VariableKind::CanonStream {
                        let both = (Vec::new(), Use::Same(target.name));
                        uses.uses.entry(source.name).or_default().push(both);
                    }
                }
                InstructionKind::Ap { argument, target } => {
                    uses.add(argument, Use::Same(target.name));
                }
                InstructionKind::Fold {
                    iterable, iterator, ..
                } => uses.add(iterable, Use::Elements(iterator.name)),
                InstructionKind::Match { left, right, .. }
                | InstructionKind::Mismatch { left, right, .. } => {
                    uses.add(left, Use::Read);
                    uses.add(right, Use::Read);
                }
                _ => {}
            }
        }
        uses
    }

    fn add(&mut self, operand: Operand<'s>, what: Use<'s>) {
        let ValueKind::Variable(variable, lambda) = operand.kind else {
            return;
        };
        let mut path: Vec<Accessor<'s>> = match lambda {
            Some(Lambda::Path(path)) => path.into_iter().collect(),
            Some(Lambda::Length) | None => Vec::new(),
        };
        let mut what = what;
        if matches!(
            variable.kind,
            VariableKind::Stream | VariableKind::CanonStream
        ) {
            // The shape of a stream is that of its elements.
            match (path.is_empty(), what) {
                (false, _) => drop(path.remove(0)),
                (true, Use::Elements(iterator)) => what = Use::Same(iterator),
                (true, Use::Same(scalar)) => what = Use::ElementOf(scalar),
                (true, _) => return,
            }
        }
        let uses = self.uses.entry(variable.name).or_default();
        uses.push((path, what));
    }

    /// What the value of a scalar, or an element of a stream, must look like.
    pub(super) fn shape(&self, name: &str) -> Shape {
        self.shape_within(name, MAX_DEPTH)
    }

    fn shape_within(&self, name: &str, depth: usize) -> Shape {
        let mut shape = Shape::Any;
        let Some(depth) = depth.checked_sub(1) else {
            return shape;
        };
        for (path, what) in self.uses.get(name).into_iter().flatten() {
            let leaf = match what {
                Use::Read => Shape::Any,
                Use::Peer => Shape::Peer,
                Use::Elements(name) => Shape::Array(2, Box::new(self.shape_within(name, depth))),
                Use::Same(name) => self.shape_within(name, depth),
                Use::ElementOf(name) => match self.shape_within(name, depth) {
                    Shape::Array(_, element) => *element,
                    _ => Shape::Any,
                },
            };
            let wrapped = path
                .iter()
                .rev()
                .fold(leaf, |inner, accessor| match accessor {
                    Accessor::Field(name) => {
                        Shape::Object(BTreeMap::from([((*name).to_owned(), inner)]))
                    }
                    Accessor::Index(index) => Shape::Array(*index as usize + 1, Box::new(inner)),
                    Accessor::Scalar(_) => Shape::Array(2, Box::new(inner)),
                });
            shape.join(wrapped);
        }
        shape
    }
}

impl Shape {
    /// Makes the shape fit another use, where both can be had.
    pub(super) fn join(&mut self, other: Self) {
        match (self, other) {
            (Self::Object(fields), Self::Object(others)) => {
                for (name, shape) in others {
                    fields.entry(name).or_default().join(shape);
                }
            }
            (Self::Array(length, element), Self::Array(other_length, other)) => {
                *length = (*length).max(other_length);
                element.join(*other);
            }
            (own @ Self::Any, other) => *own = other,
            _ => {}
        }
    }

    /// A value of this shape; `number` varies what is free.
    pub(super) fn value(&self, peers: &[String], number: usize) -> Value {
        let peer = |number: usize| peers.get(number % peers.len().max(1));
        match self {
            Self::Any => match number % 4 {
                0 => json!(peer(number / 4)),
                1 => json!(number % 16),
                2 => json!(true),
                _ => json!(format!("text {}", number % 16)),
            },
            Self::Peer => json!(peer(number)),
            Self::Object(fields) => fields
                .iter()
                .zip(number..)
                .map(|((name, shape), number)| (name.clone(), shape.value(peers, number)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Self::Array(length, element) => (0..(*length).min(MAX_ELEMENTS))
                .map(|index| element.value(peers, number + index))
                .collect(),
        }
    }
}

/// A value of a type as the compiler describes it; `shape` is what the script does with it.
pub(super) fn value_of_type(kind: &Value, shape: &Shape, peers: &[String]) -> Value {
    let text = |name: &str| kind.get(name).and_then(Value::as_str);
    let inner = kind.get("type").unwrap_or(&Value::Null);
    let element = match shape {
        Shape::Array(_, element) => element,
        _ => &Shape::Any,
    };
    match text("tag") {
        Some("scalar") => match text("name") {
            Some("string") => Shape::Peer.value(peers, 1),
            Some("bool") => json!(true),
            Some("f32" | "f64") => json!(1.5),
            _ => json!(1),
        },
        Some("array") => {
            let length = match shape {
                Shape::Array(length, _) => (*length).clamp(2, MAX_ELEMENTS),
                _ => 2,
            };
            let element = value_of_type(inner, element, peers);
            json!(vec![element; length])
        }
        Some("option") => json!([value_of_type(inner, element, peers)]),
        Some("struct" | "labeledProduct") => {
            let fields = kind.get("fields").and_then(Value::as_object);
            let fields = fields.into_iter().flatten().map(|(name, kind)| {
                let shape = match shape {
                    Shape::Object(fields) => fields.get(name),
                    _ => None,
                };
                let value = value_of_type(kind, shape.unwrap_or(&Shape::Any), peers);
                (name.clone(), value)
            });
            fields.collect::<serde_json::Map<_, _>>().into()
        }
        _ => shape.value(peers, 1),
    }
}
