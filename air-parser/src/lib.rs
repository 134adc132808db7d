//! Parser, validator and formatter of the AIR language.

mod ast;
mod chars;
mod error;
mod lambda;
mod options;
mod symbols;
mod text;

pub use ast::{
    Ast, FailOperand, Instruction, InstructionId, InstructionKind, Span, Symbol, Value, ValueKind,
    Values, Variable, VariableKind,
};
pub use error::{ParseError, ParseErrorKind, ParseErrors};
pub use lambda::{Accessor, Accessors, Lambda, LambdaError, LambdaErrorKind};
pub use options::{ParseOptions, parse, parse_syntax, parse_with};
pub use text::AirText;
