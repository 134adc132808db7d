//! From text to tokens.

mod word;

use crate::{
    ast::Span,
    chars::{ascii_name_len, find_quote},
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
    /// The last number read: an integer, or the bits of a float.
    pub(crate) number: u64,
    /// Why the last token was [`TokenKind::Bad`].
    pub(crate) fault: Option<Fault>,
}

impl<'s> Lexer<'s> {
    pub(crate) const fn new(source: &'s str) -> Self {
        Self {
            source,
            position: 0,
            number: 0,
            fault: None,
        }
    }

    /// Skips white space and comments; the first byte of the next token, if there is one.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.source.as_bytes();
        loop {
            match bytes.get(self.position) {
                Some(b' ' | 0x09..=0x0D) => self.position += 1,
                Some(b';' | 0x80..) => {
                    if !self.skip_rare() {
                        return bytes.get(self.position).copied();
                    }
                }
                byte => return byte.copied(),
            }
        }
    }

    /// A comment or white space beyond ASCII; whether there was one.
    #[cold]
    fn skip_rare(&mut self) -> bool {
        let rest = self.source.get(self.position..).unwrap_or("");
        let length = match rest.chars().next() {
            Some(';') => rest.find('\n').map_or(rest.len(), |newline| newline + 1),
            Some(c) if c.is_whitespace() => c.len_utf8(),
            _ => return false,
        };
        self.position += length;
        true
    }

    /// Takes a bracket if it comes next: the offset of it.
    #[inline]
    pub(crate) fn bracket(&mut self, bracket: u8) -> Option<u32> {
        if self.peek() != Some(bracket) {
            return None;
        }
        let start = offset(self.position);
        self.position += 1;
        Some(start)
    }

    /// Takes a token where the name of an instruction belongs.
    #[inline]
    pub(crate) fn keyword(&mut self) -> Token {
        self.peek();
        let start = self.position;
        let rest = self.source.as_bytes().get(start..).unwrap_or(&[]);
        let (kind, length) = match rest {
            [b's', b'e', b'q', ..] => (TokenKind::Seq, 3),
            [b'a', b'p', ..] => (TokenKind::Ap, 2),
            [b'c', b'a', b'l', b'l', ..] => (TokenKind::Call, 4),
            [b'n', b'u', b'l', b'l', ..] => (TokenKind::Null, 4),
            [b'p', b'a', b'r', ..] => (TokenKind::Par, 3),
            [b'x', b'o', b'r', ..] => (TokenKind::Xor, 3),
            [b'n', b'e', b'w', ..] => (TokenKind::New, 3),
            [b'c', b'a', b'n', b'o', b'n', ..] => (TokenKind::Canon, 5),
            _ => return self.next_token(),
        };
        if !is_word_end(rest.get(length)) {
            return self.next_token();
        }
        self.position = start + length;
        token(kind, start, self.position)
    }

    #[inline]
    pub(crate) fn next_token(&mut self) -> Token {
        let first = self.peek();
        let start = self.position;
        let bracket = match first {
            None => return token(TokenKind::End, start, start),
            Some(b'(') => TokenKind::Open,
            Some(b')') => TokenKind::Close,
            Some(b'[') => TokenKind::OpenSquare,
            Some(b']') => TokenKind::CloseSquare,
            Some(b'"') => return self.literal(start),
            Some(first) => return self.word(start, first),
        };
        self.position += 1;
        token(bracket, start, start + 1)
    }

    fn literal(&mut self, start: usize) -> Token {
        let rest = self.source.as_bytes().get(start + 1..).unwrap_or(&[]);
        match find_quote(rest) {
            Some(length) => {
                self.position = start + length + 2;
                token(TokenKind::Literal, start, self.position)
            }
            None => {
                self.position = self.source.len();
                let line = rest.iter().position(|byte| *byte == b'\n');
                let end = line.map_or(self.position, |length| start + 1 + length);
                self.bad(Fault {
                    kind: ParseErrorKind::UnclosedQuote,
                    span: span(start, end),
                })
            }
        }
    }

    /// A word of an optional sigil and ASCII name characters is read here; [`word::classify`]
    /// has the rules for the others.
    #[inline]
    fn word(&mut self, start: usize, first: u8) -> Token {
        let bytes = self.source.as_bytes();
        let (sigil, from) = match first {
            b'#' => match bytes.get(start + 1) {
                Some(b'$') => (TokenKind::CanonStream, start + 2),
                Some(b'%') => (TokenKind::CanonStreamMap, start + 2),
                _ => (TokenKind::CanonStream, start + 1),
            },
            b'$' => (TokenKind::Stream, start + 1),
            b'%' => (TokenKind::StreamMap, start + 1),
            _ => (TokenKind::Scalar, start),
        };
        let name = bytes.get(from..).unwrap_or(&[]);
        let length = ascii_name_len(name);
        let end = from + length;
        if length > 0
            && matches!(
                bytes.get(end),
                None | Some(b' ' | 0x09..=0x0D | b')' | b']')
            )
        {
            let kind = match sigil {
                TokenKind::Scalar => plain_kind(name.get(..length).unwrap_or(&[])),
                _ => Some(sigil),
            };
            if let Some(kind) = kind {
                self.position = end;
                return token(kind, start, end);
            }
        }
        self.rare_word(start)
    }

    #[inline(never)]
    fn rare_word(&mut self, start: usize) -> Token {
        let text = word::text(self.source.get(start..).unwrap_or(""));
        self.position = start + text.len();
        match word::classify(text, start) {
            Ok((token, number)) => {
                self.number = number;
                token
            }
            Err(fault) => self.bad(fault),
        }
    }

    #[cold]
    fn bad(&mut self, fault: Fault) -> Token {
        let span = fault.span;
        self.fault = Some(fault);
        Token {
            kind: TokenKind::Bad,
            span,
            name_len: 0,
        }
    }
}

/// Whether a word without brackets ends before this byte, for ASCII.
#[inline]
const fn is_word_end(byte: Option<&u8>) -> bool {
    matches!(byte, None | Some(b' ' | 0x09..=0x0D | b')' | b']'))
}

/// A keyword, a Boolean or a scalar; `None` for what may be a number. Patterns of bytes become a
/// tree of comparisons, patterns of strings would call a function for each.
#[inline]
fn plain_kind(name: &[u8]) -> Option<TokenKind> {
    Some(match name {
        [b'c', b'a', b'l', b'l'] => TokenKind::Call,
        [b'c', b'a', b'n', b'o', b'n'] => TokenKind::Canon,
        [b'a', b'p'] => TokenKind::Ap,
        [b's', b'e', b'q'] => TokenKind::Seq,
        [b'p', b'a', b'r'] => TokenKind::Par,
        [b'f', b'a', b'i', b'l'] => TokenKind::Fail,
        [b'f', b'o', b'l', b'd'] => TokenKind::Fold,
        [b'x', b'o', b'r'] => TokenKind::Xor,
        [b'n', b'e', b'v', b'e', b'r'] => TokenKind::Never,
        [b'n', b'e', b'w'] => TokenKind::New,
        [b'n', b'e', b'x', b't'] => TokenKind::Next,
        [b'n', b'u', b'l', b'l'] => TokenKind::Null,
        [b'm', b'a', b't', b'c', b'h'] => TokenKind::Match,
        [b'm', b'i', b's', b'm', b'a', b't', b'c', b'h'] => TokenKind::Mismatch,
        [b't', b'r', b'u', b'e'] | [b'f', b'a', b'l', b's', b'e'] => TokenKind::Boolean,
        [b'0'..=b'9' | b'-', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => return None,
        _ => TokenKind::Scalar,
    })
}

#[inline]
fn token(kind: TokenKind, start: usize, end: usize) -> Token {
    Token {
        kind,
        span: span(start, end),
        name_len: 0,
    }
}

fn span(start: usize, end: usize) -> Span {
    Span::new(offset(start), offset(end))
}

/// Offsets fit: the size of a text is checked before it is parsed.
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
