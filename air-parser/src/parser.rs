//! From tokens to the tables of a tree. The open instructions are on a stack of our own, so that
//! nesting is bounded by [`ParseOptions::max_depth`] and not by the stack of the thread.

use crate::{
    ast::{Ast, Node, NodeKind, RawKind, RawValue, Span},
    error::{Fault, ParseErrorKind, ParseErrors},
    lambda::{Accessor, Lambda},
    lexer::Lexer,
    symbols::SymbolTable,
    token::{Set, Token, TokenKind},
    validate::validate,
};

/// Limits of a parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Deepest nesting of instructions. Depth costs memory in proportion and no stack; the limit
    /// protects code that walks a tree by recursion.
    pub max_depth: usize,
    /// Longest text in bytes; never more than 4 GiB.
    pub max_size: usize,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            max_depth: 100_000,
            max_size: 16 * 1024 * 1024,
        }
    }
}

/// Parses and checks a script with the default limits.
///
/// # Errors
/// Everything that is wrong with it: the first lexical or grammatical error (and the first
/// lexical one behind it), or all findings of the checks.
pub fn parse(source: &str) -> Result<Ast<'_>, ParseErrors> {
    parse_with(source, &ParseOptions::default())
}

/// [`parse`] with limits of one's own.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_with<'s>(source: &'s str, options: &ParseOptions) -> Result<Ast<'s>, ParseErrors> {
    let ast = parse_syntax(source, options)?;
    let faults = validate(&ast);
    if faults.is_empty() {
        Ok(ast)
    } else {
        Err(ParseErrors::new(source, faults))
    }
}

/// Parses without the checks for undefined variables and the like. Such a tree can be shown, not
/// run.
///
/// # Errors
/// The first lexical or grammatical error, and the first lexical one behind it.
pub fn parse_syntax<'s>(source: &'s str, options: &ParseOptions) -> Result<Ast<'s>, ParseErrors> {
    let limit = options.max_size.min(u32::MAX as usize - 1);
    if source.len() > limit {
        let size = source.len();
        let fault = Fault {
            kind: ParseErrorKind::TooLarge { size, limit },
            span: Span::default(),
        };
        return Err(ParseErrors::new("", vec![fault]));
    }
    let mut parser = Parser::new(source, options.max_depth);
    match parser.script() {
        Ok(()) => Ok(parser.ast),
        Err(fault) => Err(ParseErrors::new(source, parser.faults_from(fault))),
    }
}

const LAMBDA_SOURCES: Set = Set::of(&[
    TokenKind::Scalar,
    TokenKind::ScalarWithLambda,
    TokenKind::CanonStreamWithLambda,
    TokenKind::CanonStreamMapWithLambda,
]);
const TEXT: Set = LAMBDA_SOURCES.and(Set::of(&[TokenKind::Literal]));
const PEER: Set = TEXT.and(Set::of(&[TokenKind::InitPeerId]));
const VALUE: Set = PEER.and(Set::of(&[
    TokenKind::Timestamp,
    TokenKind::Ttl,
    TokenKind::LastError,
    TokenKind::LastErrorWithLambda,
    TokenKind::Error,
    TokenKind::ErrorWithLambda,
    TokenKind::Integer,
    TokenKind::Float,
    TokenKind::Boolean,
    TokenKind::OpenSquare,
    TokenKind::CanonStream,
    TokenKind::CanonStreamMap,
]));
const ARGUMENT: Set = VALUE.and(Set::of(&[TokenKind::CloseSquare]));
const AP_ARGUMENT: Set = VALUE.without(TokenKind::CanonStreamMap);
const AP_START: Set = AP_ARGUMENT.and(Set::of(&[TokenKind::Open]));
const MAP_KEY: Set = Set::of(&[
    TokenKind::Literal,
    TokenKind::Integer,
    TokenKind::Scalar,
    TokenKind::ScalarWithLambda,
    TokenKind::CanonStreamWithLambda,
]);
const FAIL: Set = Set::of(&[
    TokenKind::Integer,
    TokenKind::Scalar,
    TokenKind::ScalarWithLambda,
    TokenKind::CanonStreamWithLambda,
    TokenKind::LastError,
    TokenKind::Error,
]);
const ITERABLE: Set = Set::of(&[
    TokenKind::Scalar,
    TokenKind::ScalarWithLambda,
    TokenKind::CanonStream,
    TokenKind::CanonStreamMap,
    TokenKind::CanonStreamMapWithLambda,
    TokenKind::Stream,
    TokenKind::StreamMap,
    TokenKind::OpenSquare,
]);
const SCALAR: Set = Set::of(&[TokenKind::Scalar]);
const OUTPUT: Set = Set::of(&[TokenKind::Scalar, TokenKind::Stream]);
const OUTPUT_OR_CLOSE: Set = OUTPUT.and(CLOSE);
const NEW: Set = Set::of(&[
    TokenKind::Scalar,
    TokenKind::Stream,
    TokenKind::StreamMap,
    TokenKind::CanonStream,
    TokenKind::CanonStreamMap,
]);
const OPEN: Set = Set::of(&[TokenKind::Open]);
const CLOSE: Set = Set::of(&[TokenKind::Close]);
const OPEN_OR_CLOSE: Set = OPEN.and(CLOSE);
const END: Set = Set::of(&[TokenKind::End]);
const KEYWORD: Set = Set::of(&[
    TokenKind::Ap,
    TokenKind::Call,
    TokenKind::Canon,
    TokenKind::Fail,
    TokenKind::Fold,
    TokenKind::Match,
    TokenKind::Mismatch,
    TokenKind::Never,
    TokenKind::New,
    TokenKind::Next,
    TokenKind::Null,
    TokenKind::Par,
    TokenKind::Seq,
    TokenKind::Xor,
]);

const SOURCE: Set = Set::of(&[TokenKind::Stream, TokenKind::StreamMap]);
const CANON_STREAM: Set = Set::of(&[TokenKind::CanonStream]);
const MAP_TARGET: Set = Set::of(&[TokenKind::CanonStreamMap, TokenKind::Scalar]);
const STREAM_MAP: Set = Set::of(&[TokenKind::StreamMap]);
const LITERAL: Set = Set::of(&[TokenKind::Literal]);
const OPEN_SQUARE: Set = Set::of(&[TokenKind::OpenSquare]);
const CLOSE_SQUARE: Set = Set::of(&[TokenKind::CloseSquare]);

/// Bytes of source for one instruction and one operand in compact scripts: what the tables
/// reserve at first.
const BYTES_PER_NODE: usize = 40;
const BYTES_PER_VALUE: usize = 16;

struct Parser<'s> {
    lexer: Lexer<'s>,
    /// The next token.
    token: Token,
    /// End of the token before it.
    last_end: u32,
    ast: Ast<'s>,
    open: Vec<Open>,
    max_depth: usize,
}

/// An instruction that is not closed yet.
#[derive(Clone, Copy)]
struct Open {
    node: u32,
    awaits: Awaits,
}

/// What comes next in an open instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Left,
    Right,
    Body,
    FoldBody,
}

impl<'s> Parser<'s> {
    fn new(source: &'s str, max_depth: usize) -> Self {
        let mut lexer = Lexer::new(source);
        let token = lexer.next_token();
        Self {
            lexer,
            token,
            last_end: 0,
            ast: Ast {
                source,
                nodes: Vec::with_capacity(source.len() / BYTES_PER_NODE + 1),
                values: Vec::with_capacity(source.len() / BYTES_PER_VALUE + 4),
                numbers: Vec::new(),
                symbols: SymbolTable::new(),
            },
            open: Vec::new(),
            max_depth,
        }
    }

    fn script(&mut self) -> Result<(), Fault> {
        loop {
            self.instruction()?;
            if self.open.is_empty() {
                self.expect(END)?;
                return Ok(());
            }
        }
    }

    /// Reads an instruction up to its first child, or a leaf and whatever it completes.
    fn instruction(&mut self) -> Result<(), Fault> {
        let start = self.expect(OPEN)?.span.start;
        let keyword = self.expect(KEYWORD)?;
        let node = number(self.ast.nodes.len());
        let values = number(self.ast.values.len());
        if self.open.len() >= self.max_depth {
            return Err(Fault {
                kind: ParseErrorKind::TooDeep {
                    limit: self.max_depth,
                },
                span: keyword.span,
            });
        }
        let (kind, awaits) = self.operands(keyword.kind)?;
        self.ast.nodes.push(Node {
            span: Span::new(start, start),
            values,
            value_count: number(self.ast.values.len()) - values,
            second: 0,
            end: node + 1,
            kind,
        });
        match awaits {
            Some(awaits) => {
                self.open.push(Open { node, awaits });
                Ok(())
            }
            None => {
                self.close(node)?;
                self.complete()
            }
        }
    }

    /// Closes the instructions of which the one just closed was the last child.
    fn complete(&mut self) -> Result<(), Fault> {
        while let Some(&Open { node, awaits }) = self.open.last() {
            let second = match awaits {
                Awaits::Left => true,
                Awaits::FoldBody if self.token.kind == TokenKind::Open => true,
                Awaits::FoldBody if self.token.kind != TokenKind::Close => {
                    return Err(self.unexpected(OPEN_OR_CLOSE));
                }
                _ => false,
            };
            if second {
                let id = number(self.ast.nodes.len());
                if let Some(node) = self.ast.nodes.get_mut(node as usize) {
                    node.second = id;
                }
                if let Some(open) = self.open.last_mut() {
                    open.awaits = Awaits::Right;
                }
                return Ok(());
            }
            self.close(node)?;
            self.open.pop();
        }
        Ok(())
    }

    fn close(&mut self, node: u32) -> Result<(), Fault> {
        let token = self.expect(CLOSE)?;
        let end = number(self.ast.nodes.len());
        if let Some(node) = self.ast.nodes.get_mut(node as usize) {
            node.span.end = token.span.end;
            node.end = end;
        }
        Ok(())
    }

    fn operands(&mut self, keyword: TokenKind) -> Result<(NodeKind, Option<Awaits>), Fault> {
        Ok(match keyword {
            TokenKind::Call => (self.call()?, None),
            TokenKind::Canon => {
                self.operand(PEER)?;
                let source = self.operand(SOURCE)?;
                self.operand(match source {
                    TokenKind::Stream => CANON_STREAM,
                    _ => MAP_TARGET,
                })?;
                (NodeKind::Canon, None)
            }
            TokenKind::Ap if self.token.kind == TokenKind::Open => {
                self.advance();
                self.operand(MAP_KEY)?;
                self.operand(AP_ARGUMENT)?;
                self.expect(CLOSE)?;
                self.operand(STREAM_MAP)?;
                (NodeKind::ApMap, None)
            }
            TokenKind::Ap => {
                self.operand(AP_START)?;
                self.operand(OUTPUT)?;
                (NodeKind::Ap, None)
            }
            TokenKind::Fail => {
                if self.operand(FAIL)? == TokenKind::Integer {
                    self.operand(LITERAL)?;
                    (NodeKind::FailLiteral, None)
                } else {
                    (NodeKind::Fail, None)
                }
            }
            TokenKind::Fold => {
                self.operand(ITERABLE)?;
                self.operand(SCALAR)?;
                (NodeKind::Fold, Some(Awaits::FoldBody))
            }
            TokenKind::Match => {
                self.operand(VALUE)?;
                self.operand(VALUE)?;
                (NodeKind::Match, Some(Awaits::Body))
            }
            TokenKind::Mismatch => {
                self.operand(VALUE)?;
                self.operand(VALUE)?;
                (NodeKind::Mismatch, Some(Awaits::Body))
            }
            TokenKind::New => {
                self.operand(NEW)?;
                (NodeKind::New, Some(Awaits::Body))
            }
            TokenKind::Next => {
                self.operand(SCALAR)?;
                (NodeKind::Next, None)
            }
            TokenKind::Never => (NodeKind::Never, None),
            TokenKind::Seq => (NodeKind::Seq, Some(Awaits::Left)),
            TokenKind::Par => (NodeKind::Par, Some(Awaits::Left)),
            TokenKind::Xor => (NodeKind::Xor, Some(Awaits::Left)),
            _ => (NodeKind::Null, None),
        })
    }

    fn call(&mut self) -> Result<NodeKind, Fault> {
        self.operand(PEER)?;
        self.expect(OPEN)?;
        self.operand(TEXT)?;
        self.operand(TEXT)?;
        self.expect(CLOSE)?;
        self.expect(OPEN_SQUARE)?;
        while self.token.kind != TokenKind::CloseSquare {
            self.operand(ARGUMENT)?;
        }
        self.advance();
        if self.token.kind == TokenKind::Close {
            return Ok(NodeKind::Call);
        }
        self.operand(OUTPUT_OR_CLOSE)?;
        Ok(NodeKind::CallWithOutput)
    }

    /// Takes a token of `set` as an operand; `[` stands for `[]`.
    fn operand(&mut self, set: Set) -> Result<TokenKind, Fault> {
        let mut token = self.expect(set)?;
        let mut extra = 0;
        let kind = match token.kind {
            TokenKind::Literal => RawKind::Literal,
            TokenKind::InitPeerId => RawKind::InitPeerId,
            TokenKind::Timestamp => RawKind::Timestamp,
            TokenKind::Ttl => RawKind::Ttl,
            TokenKind::Boolean => match self.ast.slice(token.span.start, token.span.end) {
                "true" => RawKind::True,
                _ => RawKind::False,
            },
            TokenKind::Integer => {
                extra = self.number(token.number);
                RawKind::Integer
            }
            TokenKind::Float => {
                extra = self.number(token.number);
                RawKind::Float
            }
            TokenKind::Scalar => RawKind::Scalar,
            TokenKind::Stream => RawKind::Stream,
            TokenKind::StreamMap => RawKind::StreamMap,
            TokenKind::CanonStream => RawKind::CanonStream,
            TokenKind::CanonStreamMap => RawKind::CanonStreamMap,
            TokenKind::ScalarWithLambda => RawKind::Scalar,
            TokenKind::CanonStreamWithLambda => RawKind::CanonStream,
            TokenKind::CanonStreamMapWithLambda => RawKind::CanonStreamMap,
            TokenKind::LastError | TokenKind::LastErrorWithLambda => RawKind::LastError,
            TokenKind::Error | TokenKind::ErrorWithLambda => RawKind::Error,
            _ => {
                token.span.end = self.expect(CLOSE_SQUARE)?.span.end;
                RawKind::EmptyArray
            }
        };
        let Span { start, end } = token.span;
        let name_end = match token.name_len {
            0 => end,
            length => {
                self.intern_accessors(Span::new(start + length, end));
                start + length
            }
        };
        match kind {
            RawKind::Scalar
            | RawKind::Stream
            | RawKind::StreamMap
            | RawKind::CanonStream
            | RawKind::CanonStreamMap => {
                let name = Span::new(start, name_end);
                extra = self.ast.symbols.intern(self.ast.source, name);
            }
            RawKind::LastError | RawKind::Error => extra = name_end - start,
            _ => {}
        }
        self.ast.values.push(RawValue {
            span: token.span,
            extra,
            kind,
        });
        Ok(token.kind)
    }

    /// Gives numbers to the names between the brackets of a lambda.
    fn intern_accessors(&mut self, lambda: Span) {
        let source = self.ast.source;
        let Some(lambda) = Lambda::from_checked(self.ast.slice(lambda.start, lambda.end)) else {
            return;
        };
        for accessor in lambda.accessors() {
            if let Accessor::Scalar(name) = accessor {
                let start = number(name.as_ptr().addr() - source.as_ptr().addr());
                let span = Span::new(start, start + number(name.len()));
                self.ast.symbols.intern(source, span);
            }
        }
    }

    fn number(&mut self, bits: u64) -> u32 {
        self.ast.numbers.push(bits);
        number(self.ast.numbers.len() - 1)
    }

    fn expect(&mut self, set: Set) -> Result<Token, Fault> {
        let token = self.token;
        if !set.contains(token.kind) {
            return Err(self.unexpected(set));
        }
        self.advance();
        Ok(token)
    }

    fn advance(&mut self) {
        self.last_end = self.token.span.end;
        self.token = self.lexer.next_token();
    }

    #[cold]
    fn unexpected(&mut self, set: Set) -> Fault {
        if let Some(fault) = self.lexer.fault.take() {
            return fault;
        }
        Fault {
            kind: ParseErrorKind::Unexpected {
                expected: set.to_string(),
            },
            span: match self.token.kind {
                // Behind white space and comments there is nothing to point at.
                TokenKind::End => Span::new(self.last_end, self.last_end),
                _ => self.token.span,
            },
        }
    }

    /// `fault`, and the first word behind it that is no token.
    #[cold]
    fn faults_from(&mut self, fault: Fault) -> Vec<Fault> {
        let mut faults = vec![fault];
        while self.token.kind != TokenKind::End {
            if let Some(fault) = self.lexer.fault.take() {
                faults.push(fault);
                break;
            }
            if self.token.kind == TokenKind::Bad {
                break;
            }
            self.advance();
        }
        faults
    }
}

/// Everything counted here is smaller than the text, whose size fits.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
