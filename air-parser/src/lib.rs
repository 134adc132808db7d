//! Parser, validator and formatter of the AIR language.

mod ast;
mod chars;
mod error;
mod format;
mod lambda;
mod lexer;
mod parser;
mod symbols;
mod text;
mod token;
mod validate;

pub use ast::{
    Ast, FailOperand, Instruction, InstructionId, InstructionKind, Span, Symbol, Value, ValueKind,
    Values, Variable, VariableKind,
};
pub use error::{ParseError, ParseErrorKind, ParseErrors};
pub use format::{FormatOptions, Formatted};
pub use lambda::{Accessor, Accessors, Lambda, LambdaError, LambdaErrorKind};
pub use lexer::tokens;
pub use parser::{ParseOptions, parse, parse_syntax, parse_with};
pub use text::AirText;
pub use token::{Token, TokenKind};
