//! From text to tokens.

mod word;

use crate::{
    ast::Span,
    chars::NAME,
    error::{Fault, ParseError, ParseErrorKind, locate},
    token::{Token, TokenKind},
};

/// The tokens of a text. A word that is no token gives an error, and reading goes on after it.
///
/// # Examples
/// ```
/// let kinds: Vec<_> = air_parser::tokens("(ap x.$.y $s)")
///     .map(|token| token.unwrap().kind.to_string())
///     .collect();
/// assert_eq!(kinds, ["\"(\"", "ap", "ScalarWithLambda", "Stream", "\")\""]);
/// ```
pub fn tokens(source: &str) -> impl Iterator<Item = Result<Token, ParseError>> {
    let mut lexer = Lexer::new(source);
    std::iter::from_fn(move || {
        let token = lexer.next_token();
        match token.kind {
            TokenKind::End => None,
            TokenKind::Bad => lexer.fault.take().map(|fault| Err(locate(source, fault))),
            _ => Some(Ok(token)),
        }
    })
}

/// Reads tokens one by one.
pub(crate) struct Lexer<'s> {
    source: &'s str,
    position: usize,
    /// Why the last token was [`TokenKind::Bad`].
    pub(crate) fault: Option<Fault>,
}

impl<'s> Lexer<'s> {
    pub(crate) const fn new(source: &'s str) -> Self {
        Self {
            source,
            position: 0,
            fault: None,
        }
    }

    pub(crate) fn next_token(&mut self) -> Token {
        let bytes = self.source.as_bytes();
        loop {
            let start = self.position;
            let Some(&byte) = bytes.get(start) else {
                return token(TokenKind::End, start, start);
            };
            let bracket = match byte {
                b' ' | 0x09..=0x0D => {
                    self.position += 1;
                    continue;
                }
                b'(' => TokenKind::Open,
                b')' => TokenKind::Close,
                b'[' => TokenKind::OpenSquare,
                b']' => TokenKind::CloseSquare,
                b'"' => return self.literal(start),
                b';' => {
                    let rest = bytes.get(start..).unwrap_or(&[]);
                    let newline = rest.iter().position(|byte| *byte == b'\n');
                    self.position = newline.map_or(bytes.len(), |offset| start + offset + 1);
                    continue;
                }
                0x80.. => match self
                    .source
                    .get(start..)
                    .and_then(|rest| rest.chars().next())
                {
                    Some(c) if c.is_whitespace() => {
                        self.position += c.len_utf8();
                        continue;
                    }
                    _ => return self.word(start, byte),
                },
                _ => return self.word(start, byte),
            };
            self.position += 1;
            return token(bracket, start, start + 1);
        }
    }

    fn literal(&mut self, start: usize) -> Token {
        let rest = self.source.as_bytes().get(start + 1..).unwrap_or(&[]);
        match rest.iter().position(|byte| *byte == b'"') {
            Some(length) => {
                self.position = start + length + 2;
                token(TokenKind::Literal, start, self.position)
            }
            None => {
                self.position = self.source.len();
                let line = rest.iter().position(|byte| *byte == b'\n');
                let end = line.map_or(self.position, |length| start + 1 + length);
                self.bad(ParseErrorKind::UnclosedQuote, span(start, end))
            }
        }
    }

    /// A word of an optional sigil and ASCII name characters is read here; [`word::classify`]
    /// has the rules for the others.
    fn word(&mut self, start: usize, first: u8) -> Token {
        let bytes = self.source.as_bytes();
        let rest = bytes.get(start + 1..).unwrap_or(&[]);
        let (sigil, sigil_len) = match (first, rest.first()) {
            (b'#', Some(b'$')) => (TokenKind::CanonStream, 2),
            (b'#', Some(b'%')) => (TokenKind::CanonStreamMap, 2),
            (b'#', _) => (TokenKind::CanonStream, 1),
            (b'$', _) => (TokenKind::Stream, 1),
            (b'%', _) => (TokenKind::StreamMap, 1),
            _ => (TokenKind::Scalar, 0),
        };
        let from = start + sigil_len;
        let name = bytes.get(from..).unwrap_or(&[]);
        let length = name
            .iter()
            .position(|byte| NAME.get(usize::from(*byte)) != Some(&true))
            .unwrap_or(name.len());
        let end = from + length;
        if length > 0
            && matches!(
                bytes.get(end),
                None | Some(b' ' | 0x09..=0x0D | b')' | b']')
            )
        {
            let kind = match sigil_len {
                0 => plain_kind(name.get(..length).unwrap_or(&[])),
                _ => Some(sigil),
            };
            if let Some(kind) = kind {
                self.position = end;
                return token(kind, start, end);
            }
        }
        let text = word::text(self.source.get(start..).unwrap_or(""));
        self.position = start + text.len();
        match word::classify(text, start) {
            Ok(token) => token,
            Err(fault) => self.bad(fault.kind, fault.span),
        }
    }

    fn bad(&mut self, kind: ParseErrorKind, span: Span) -> Token {
        self.fault = Some(Fault { kind, span });
        Token {
            kind: TokenKind::Bad,
            span,
            name_len: 0,
            number: 0,
        }
    }
}

/// A keyword, a Boolean or a scalar; `None` for what may be a number.
fn plain_kind(name: &[u8]) -> Option<TokenKind> {
    if matches!(name.first(), Some(b'0'..=b'9' | b'-'))
        && name.iter().skip(1).all(u8::is_ascii_digit)
    {
        return None;
    }
    Some(match name {
        b"call" => TokenKind::Call,
        b"canon" => TokenKind::Canon,
        b"ap" => TokenKind::Ap,
        b"seq" => TokenKind::Seq,
        b"par" => TokenKind::Par,
        b"fail" => TokenKind::Fail,
        b"fold" => TokenKind::Fold,
        b"xor" => TokenKind::Xor,
        b"never" => TokenKind::Never,
        b"new" => TokenKind::New,
        b"next" => TokenKind::Next,
        b"null" => TokenKind::Null,
        b"match" => TokenKind::Match,
        b"mismatch" => TokenKind::Mismatch,
        b"true" | b"false" => TokenKind::Boolean,
        _ => TokenKind::Scalar,
    })
}

fn token(kind: TokenKind, start: usize, end: usize) -> Token {
    Token {
        kind,
        span: span(start, end),
        name_len: 0,
        number: 0,
    }
}

/// Offsets fit: the size of a text is checked before it is read.
fn span(start: usize, end: usize) -> Span {
    let offset = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
    Span::new(offset(start), offset(end))
}
