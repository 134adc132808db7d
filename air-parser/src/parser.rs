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
        Ok(()) => {
            let mut ast = parser.ast;
            ast.nodes.shrink_to_fit();
            ast.values.shrink_to_fit();
            ast.symbols.shrink_to_fit();
            Ok(ast)
        }
        Err(fault) => Err(ParseErrors::new(source, parser.faults_from(*fault))),
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

/// Instructions and operands that tables of long scripts begin with.
const FIRST_ENTRIES: usize = 64;
/// Bytes of source for one instruction and one operand in compact scripts.
const BYTES_PER_NODE: usize = 14;
const BYTES_PER_VALUE: usize = 10;

/// Makes room in a table for what the rest of the text needs if it is like what was read of it:
/// doubling alone would take twice the memory of long scripts.
#[cold]
fn grow<T>(table: &mut Vec<T>, read: usize, size: usize) {
    let present = table.len();
    let rest = size.saturating_sub(read) as u128;
    let expected = present as u128 * rest / read.max(1) as u128;
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    table.reserve_exact(expected.clamp(present / 16 + 8, present + FIRST_ENTRIES));
}

struct Parser<'s> {
    lexer: Lexer<'s>,
    ast: Ast<'s>,
    open: Vec<Open>,
    max_depth: usize,
}

/// Errors are rare and large.
type Parsed<T> = Result<T, Box<Fault>>;

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
        Self {
            lexer: Lexer::new(source),
            ast: Ast {
                source,
                nodes: Vec::with_capacity((source.len() / BYTES_PER_NODE + 1).min(FIRST_ENTRIES)),
                values: Vec::with_capacity((source.len() / BYTES_PER_VALUE).min(FIRST_ENTRIES)),
                numbers: Vec::new(),
                symbols: SymbolTable::new(),
            },
            open: Vec::new(),
            max_depth,
        }
    }

    fn script(&mut self) -> Parsed<()> {
        loop {
            self.instruction()?;
            if self.open.is_empty() {
                return match self.lexer.peek() {
                    None => Ok(()),
                    Some(_) => Err(self.unexpected_next(END)),
                };
            }
        }
    }

    /// Reads an instruction up to its first child, or a leaf and whatever it completes.
    fn instruction(&mut self) -> Parsed<()> {
        let start = self.bracket(b'(', OPEN)?;
        let keyword = self.lexer.keyword();
        if !KEYWORD.contains(keyword.kind) {
            return Err(self.unexpected(keyword, KEYWORD));
        }
        if self.open.len() >= self.max_depth {
            let limit = self.max_depth;
            return Err(Box::new(Fault {
                kind: ParseErrorKind::TooDeep { limit },
                span: keyword.span,
            }));
        }
        let node = number(self.ast.nodes.len());
        let values = number(self.ast.values.len());
        let (kind, awaits) = self.operands(keyword.kind)?;
        if self.ast.nodes.len() == self.ast.nodes.capacity() {
            grow(&mut self.ast.nodes, start as usize, self.ast.source.len());
        }
        self.ast.nodes.push(Node {
            span: Span::new(start, start),
            values,
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
                self.close(node, CLOSE)?;
                self.complete()
            }
        }
    }

    /// Closes the instructions of which the one just closed was the last child.
    fn complete(&mut self) -> Parsed<()> {
        while let Some(open) = self.open.last_mut() {
            let node = open.node;
            let closing = match open.awaits {
                Awaits::Left => None,
                Awaits::FoldBody if self.lexer.peek() == Some(b'(') => None,
                Awaits::FoldBody => Some(OPEN_OR_CLOSE),
                Awaits::Right | Awaits::Body => Some(CLOSE),
            };
            let Some(closing) = closing else {
                open.awaits = Awaits::Right;
                let second = number(self.ast.nodes.len());
                if let Some(node) = self.ast.nodes.get_mut(node as usize) {
                    node.second = second;
                }
                return Ok(());
            };
            self.close(node, closing)?;
            self.open.pop();
        }
        Ok(())
    }

    fn close(&mut self, node: u32, expected: Set) -> Parsed<()> {
        let start = self.bracket(b')', expected)?;
        let end = number(self.ast.nodes.len());
        if let Some(node) = self.ast.nodes.get_mut(node as usize) {
            node.span.end = start + 1;
            node.end = end;
        }
        Ok(())
    }

    fn operands(&mut self, keyword: TokenKind) -> Parsed<(NodeKind, Option<Awaits>)> {
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
            TokenKind::Ap if self.lexer.bracket(b'(').is_some() => {
                self.operand(MAP_KEY)?;
                self.operand(AP_ARGUMENT)?;
                self.bracket(b')', CLOSE)?;
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

    fn call(&mut self) -> Parsed<NodeKind> {
        self.operand(PEER)?;
        self.bracket(b'(', OPEN)?;
        self.operand(TEXT)?;
        self.operand(TEXT)?;
        self.bracket(b')', CLOSE)?;
        self.bracket(b'[', OPEN_SQUARE)?;
        while self.lexer.bracket(b']').is_none() {
            self.operand(ARGUMENT)?;
        }
        if self.lexer.peek() == Some(b')') {
            return Ok(NodeKind::Call);
        }
        self.operand(OUTPUT_OR_CLOSE)?;
        Ok(NodeKind::CallWithOutput)
    }

    /// Takes a token of `set` as an operand; `[` stands for `[]`.
    fn operand(&mut self, set: Set) -> Parsed<TokenKind> {
        let mut token = self.lexer.next_token();
        if !set.contains(token.kind) {
            return Err(self.unexpected(token, set));
        }
        let Span { start, end } = token.span;
        let mut names_inside = false;
        let name_end = match token.name_len {
            0 => end,
            length => {
                names_inside = self.intern_accessors(Span::new(start + length, end));
                start + length
            }
        };
        let mut kind = raw_kind(token.kind);
        let mut extra = 0;
        if kind.is_variable() {
            let name = Span::new(start, name_end);
            extra = self.ast.symbols.intern(self.ast.source, name);
        } else {
            match kind {
                RawKind::LastError | RawKind::Error => extra = name_end - start,
                RawKind::Integer | RawKind::Float => extra = self.number(),
                RawKind::True if self.ast.slice(start, end) == "false" => kind = RawKind::False,
                RawKind::EmptyArray => token.span.end = self.bracket(b']', CLOSE_SQUARE)? + 1,
                _ => {}
            }
        }
        if self.ast.values.len() == self.ast.values.capacity() {
            grow(&mut self.ast.values, end as usize, self.ast.source.len());
        }
        self.ast.values.push(RawValue {
            span: token.span,
            extra,
            kind,
            names_inside,
        });
        Ok(token.kind)
    }

    fn bracket(&mut self, bracket: u8, expected: Set) -> Parsed<u32> {
        match self.lexer.bracket(bracket) {
            Some(start) => Ok(start),
            None => Err(self.unexpected_next(expected)),
        }
    }

    /// Gives numbers to the names between the brackets of a lambda; whether there are any.
    fn intern_accessors(&mut self, lambda: Span) -> bool {
        let source = self.ast.source;
        let Some(lambda) = Lambda::from_checked(self.ast.slice(lambda.start, lambda.end)) else {
            return false;
        };
        let mut any = false;
        for accessor in lambda.accessors() {
            if let Accessor::Scalar(name) = accessor {
                let start = number(name.as_ptr().addr() - source.as_ptr().addr());
                let span = Span::new(start, start + number(name.len()));
                self.ast.symbols.intern(source, span);
                any = true;
            }
        }
        any
    }

    fn number(&mut self) -> u32 {
        self.ast.numbers.push(self.lexer.number);
        number(self.ast.numbers.len() - 1)
    }

    #[cold]
    fn unexpected_next(&mut self, expected: Set) -> Box<Fault> {
        let token = self.lexer.next_token();
        self.unexpected(token, expected)
    }

    #[cold]
    fn unexpected(&mut self, token: Token, expected: Set) -> Box<Fault> {
        if let Some(fault) = self.lexer.fault.take() {
            return Box::new(fault);
        }
        Box::new(Fault {
            kind: ParseErrorKind::Unexpected {
                expected: expected.to_string(),
            },
            span: match token.kind {
                TokenKind::End => self.end_of_last_token(),
                _ => token.span,
            },
        })
    }

    /// Behind it there is only white space and comments, nothing to point at.
    fn end_of_last_token(&self) -> Span {
        let mut lexer = Lexer::new(self.ast.source);
        let mut end = 0;
        loop {
            let token = lexer.next_token();
            if token.kind == TokenKind::End {
                return Span::new(end, end);
            }
            end = token.span.end;
        }
    }

    /// `fault`, and the first word behind it that is no token.
    #[cold]
    fn faults_from(&mut self, fault: Fault) -> Vec<Fault> {
        let lexical = !matches!(
            fault.kind,
            ParseErrorKind::Unexpected { .. } | ParseErrorKind::TooDeep { .. }
        );
        let mut faults = vec![fault];
        while !lexical && self.lexer.next_token().kind != TokenKind::End {
            if let Some(fault) = self.lexer.fault.take() {
                faults.push(fault);
                break;
            }
        }
        faults
    }
}

/// What an operand is stored as; `[` begins `[]`, and which Boolean it is shows the text.
const fn raw_kind(token: TokenKind) -> RawKind {
    match token {
        TokenKind::Literal => RawKind::Literal,
        TokenKind::InitPeerId => RawKind::InitPeerId,
        TokenKind::Timestamp => RawKind::Timestamp,
        TokenKind::Ttl => RawKind::Ttl,
        TokenKind::Boolean => RawKind::True,
        TokenKind::Integer => RawKind::Integer,
        TokenKind::Float => RawKind::Float,
        TokenKind::Scalar | TokenKind::ScalarWithLambda => RawKind::Scalar,
        TokenKind::Stream => RawKind::Stream,
        TokenKind::StreamMap => RawKind::StreamMap,
        TokenKind::CanonStream | TokenKind::CanonStreamWithLambda => RawKind::CanonStream,
        TokenKind::CanonStreamMap | TokenKind::CanonStreamMapWithLambda => RawKind::CanonStreamMap,
        TokenKind::LastError | TokenKind::LastErrorWithLambda => RawKind::LastError,
        TokenKind::Error | TokenKind::ErrorWithLambda => RawKind::Error,
        _ => RawKind::EmptyArray,
    }
}

/// Everything counted here is smaller than the text, whose size fits.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
