//! Parser, validator and formatter of AIR, the language of particles.
//!
//! [`parse`] reads a script and checks it. The result is an [`Ast`]: flat tables that borrow the
//! text and are walked through small `Copy` views. Every node knows its place, every instruction
//! prints its canonical text (`Display`), a script prints itself as source ([`Ast::to_air`]) or in
//! an indented notation for people ([`Ast::format`]). What is wrong with a script is shown with
//! the line and a caret under it.
//!
//! ```
//! use air_parser::{InstructionKind, parse};
//!
//! let ast = parse(
//!     r#"(seq
//!            (call %init_peer_id% ("getDataSrv" "relay") [] relay)
//!            (call relay ("op" "identity") ["hello" relay.$.id] $out))"#,
//! )
//! .unwrap();
//! let calls: Vec<_> = ast
//!     .instructions()
//!     .filter(|instruction| matches!(instruction.kind(), InstructionKind::Call { .. }))
//!     .map(|call| call.to_string())
//!     .collect();
//! assert_eq!(calls[1], r#"call relay ("op" "identity") ["hello" relay.$.id] $out"#);
//!
//! let errors = parse("(call relay (\"op\" \"noop\") [])").unwrap_err();
//! assert_eq!(errors.errors()[0].to_string(), "variable 'relay' wasn't defined");
//! println!("{errors}");
//! ```
//!
//! ```text
//! error:
//!   ┌─ script.air:1:1
//!   │
//! 1 │ (call relay ("op" "noop") [])
//!   │ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ variable 'relay' wasn't defined
//! ```
//!
//! Nothing here recurses, and memory is bounded by a small multiple of the size of the text:
//! hostile scripts give errors. The limits are in [`ParseOptions`].

#[cfg(any(test, feature = "proptest"))]
pub mod arbitrary;
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
