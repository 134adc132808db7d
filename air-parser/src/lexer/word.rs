//! Words: everything that is neither a bracket nor a string.

use std::num::IntErrorKind;

use super::{plain_kind, span, token};
use crate::{
    chars,
    error::{Fault, ParseErrorKind},
    lambda::Lambda,
    token::{Token, TokenKind},
};

const ERROR: &str = ":error:";
const LAST_ERROR: &str = "%last_error%";

/// The word at the start of `rest`: up to white space or a closing bracket that was not opened
/// inside of it. Its first character never ends or opens anything.
pub(super) fn text(rest: &str) -> &str {
    let (mut round, mut square) = (0_usize, 0_usize);
    for (offset, c) in rest.char_indices().skip(1) {
        let depth = match c {
            '(' => {
                round += 1;
                continue;
            }
            '[' => {
                square += 1;
                continue;
            }
            ')' => &mut round,
            ']' => &mut square,
            c if c.is_whitespace() => return rest.get(..offset).unwrap_or(rest),
            _ => continue,
        };
        match depth.checked_sub(1) {
            Some(less) => *depth = less,
            None => return rest.get(..offset).unwrap_or(rest),
        }
    }
    rest
}

/// A token, and the number if it is one: an integer, or the bits of a float.
pub(super) type Word = (Token, u64);

/// What a word is that begins at byte `start` of the source.
pub(super) fn classify(word: &str, start: usize) -> Result<Word, Fault> {
    let end = start + word.len();
    let whole = |kind| Ok((token(kind, start, end), 0));
    match word {
        "%init_peer_id%" => return whole(TokenKind::InitPeerId),
        "%timestamp%" => return whole(TokenKind::Timestamp),
        "%ttl%" => return whole(TokenKind::Ttl),
        ERROR => return whole(TokenKind::Error),
        LAST_ERROR => return whole(TokenKind::LastError),
        _ => {}
    }
    for (register, kind) in [
        (ERROR, TokenKind::ErrorWithLambda),
        (LAST_ERROR, TokenKind::LastErrorWithLambda),
    ] {
        if word.starts_with(register) {
            return Ok((with_lambda(kind, word, register.len(), start)?, 0));
        }
    }
    let (prefix, sigil) = match word.as_bytes() {
        [b'#', b'%', ..] => (2, Sigil::CanonStreamMap),
        [b'#', b'$', ..] => (2, Sigil::CanonStream),
        [b'#', ..] => (1, Sigil::CanonStream),
        [b'$', ..] => (1, Sigil::Stream),
        [b'%', ..] => (1, Sigil::StreamMap),
        _ => return number(word, start),
    };
    Ok((variable(word, start, prefix, sigil)?, 0))
}

#[derive(Clone, Copy)]
enum Sigil {
    None,
    Stream,
    StreamMap,
    CanonStream,
    CanonStreamMap,
}

/// A number as long as only a sign, digits and one dot are seen; anything else is a variable.
fn number(word: &str, start: usize) -> Result<Word, Fault> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let sign_len = word.len() - unsigned.len();
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let after_digits = sign_len + digits;
    let end = start + word.len();
    let Some(fraction) = unsigned
        .get(digits..)
        .and_then(|rest| rest.strip_prefix('.'))
    else {
        return if digits == unsigned.len() {
            integer(word, start)
        } else {
            // A plus is no name character, but a name may begin with it.
            let plus = usize::from(word.starts_with('+'));
            Ok((variable(word, start, plus, Sigil::None)?, 0))
        };
    };
    if digits == 0 {
        let at = start + sign_len;
        return Err(fault(ParseErrorKind::LeadingDot, at, at + 1));
    }
    if let Some((offset, c)) = fraction.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        let at = start + after_digits + 1 + offset;
        return Err(fault(
            ParseErrorKind::NumberCharacter,
            at,
            at + c.len_utf8(),
        ));
    }
    if word.len() > MAX_FLOAT_LEN {
        return Err(fault(ParseErrorKind::FloatTooBig, start, end));
    }
    let number: f64 = word
        .parse()
        .map_err(|_| fault(ParseErrorKind::Float, start, end))?;
    Ok((token(TokenKind::Float, start, end), number.to_bits()))
}

const MAX_FLOAT_LEN: usize = 11;

fn integer(word: &str, start: usize) -> Result<Word, Fault> {
    let end = start + word.len();
    match word.parse::<i64>() {
        Ok(number) => Ok((
            token(TokenKind::Integer, start, end),
            number.cast_unsigned(),
        )),
        Err(error) => {
            let kind = match error.kind() {
                IntErrorKind::PosOverflow => ParseErrorKind::IntegerTooLarge,
                IntErrorKind::NegOverflow => ParseErrorKind::IntegerTooSmall,
                _ => ParseErrorKind::IntegerDigit,
            };
            Err(fault(kind, start, end))
        }
    }
}

/// A name after `prefix` bytes of sigils, perhaps with a lambda.
fn variable(word: &str, start: usize, prefix: usize, sigil: Sigil) -> Result<Token, Fault> {
    let tagged = !matches!(sigil, Sigil::None);
    let rest = word.get(prefix..).unwrap_or("");
    let length = chars::name_len(rest);
    let name_end = prefix + length;
    let Some(stop) = rest.get(length..).and_then(|rest| rest.chars().next()) else {
        if tagged && length == 0 {
            let kind = match prefix {
                1 => ParseErrorKind::EmptyTaggedName,
                _ => ParseErrorKind::EmptyCanonName,
            };
            return Err(fault(kind, start + prefix - 1, start + prefix));
        }
        let kind = match sigil {
            Sigil::None => plain_kind(word.as_bytes()).unwrap_or(TokenKind::Scalar),
            Sigil::Stream => TokenKind::Stream,
            Sigil::StreamMap => TokenKind::StreamMap,
            Sigil::CanonStream => TokenKind::CanonStream,
            Sigil::CanonStreamMap => TokenKind::CanonStreamMap,
        };
        return Ok(token(kind, start, start + word.len()));
    };
    let at = start + name_end;
    if stop != '.' {
        return Err(fault(
            ParseErrorKind::NameCharacter,
            at,
            at + stop.len_utf8(),
        ));
    }
    // Peers in the field refuse a lambda this close to a sigil, be there a name of one character or
    // none. Scripts are agreed on by all peers of a particle, so it is refused here as well.
    if tagged && name_end <= 2 {
        return Err(fault(ParseErrorKind::EmptyCanonName, at - 1, at));
    }
    let lambda = word.get(name_end..).unwrap_or("");
    if let Some((offset, c)) = lambda
        .char_indices()
        .find(|(offset, c)| !is_lambda(*c) && (*c != '!' || offset + 1 != lambda.len()))
    {
        let at = at + offset;
        return Err(fault(
            ParseErrorKind::LambdaCharacter,
            at,
            at + c.len_utf8(),
        ));
    }
    let kind = match sigil {
        Sigil::None => TokenKind::ScalarWithLambda,
        Sigil::Stream => TokenKind::StreamWithLambda,
        Sigil::StreamMap => TokenKind::StreamMapWithLambda,
        Sigil::CanonStream => TokenKind::CanonStreamWithLambda,
        Sigil::CanonStreamMap => TokenKind::CanonStreamMapWithLambda,
    };
    with_lambda(kind, word, name_end, start)
}

/// Characters that a lambda may have before it is looked at closely.
fn is_lambda(c: char) -> bool {
    chars::is_name(c)
        || matches!(
            c,
            '$' | '@' | '[' | ']' | '(' | ')' | ':' | '?' | '.' | '*' | ',' | '"' | '\''
        )
}

fn with_lambda(kind: TokenKind, word: &str, name_len: usize, start: usize) -> Result<Token, Fault> {
    let end = start + word.len();
    Lambda::parse(word.get(name_len..).unwrap_or(""))
        .map_err(|error| fault(ParseErrorKind::Lambda(error.kind), start + name_len, end))?;
    Ok(Token {
        name_len: u32::try_from(name_len).unwrap_or(u32::MAX),
        ..token(kind, start, end)
    })
}

fn fault(kind: ParseErrorKind, start: usize, end: usize) -> Fault {
    Fault {
        kind,
        span: span(start, end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(word: &str) -> TokenKind {
        let (token, _) = classify(word, 0).unwrap();
        assert_eq!(token.span.end as usize, word.len());
        token.kind
    }

    fn error(word: &str) -> (ParseErrorKind, u32, u32) {
        let fault = classify(word, 0).unwrap_err();
        (fault.kind, fault.span.start, fault.span.end)
    }

    #[test]
    fn words_end_at_brackets_they_did_not_open() {
        assert_eq!(text("x)"), "x");
        assert_eq!(text("x.$.[0]]"), "x.$.[0]");
        assert_eq!(text("x(])"), "x(");
        assert_eq!(text("seq(null)(null)) y"), "seq(null)(null)");
        assert_eq!(text("a;b\u{2003}c"), "a;b");
    }

    #[test]
    fn numbers() {
        for (word, expected) in [
            ("42", 42),
            ("-7", -7),
            ("+5", 5),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(kind(word), TokenKind::Integer);
            assert_eq!(classify(word, 0).unwrap().1.cast_signed(), expected);
        }
        for (word, expected) in [
            ("1.", 1.0),
            ("-0.5", -0.5),
            ("+2.25", 2.25),
            ("12345678.12", 12_345_678.12),
        ] {
            assert_eq!(kind(word), TokenKind::Float);
            assert_eq!(f64::from_bits(classify(word, 0).unwrap().1), expected);
        }
        assert_eq!(
            error("9223372036854775808"),
            (ParseErrorKind::IntegerTooLarge, 0, 19)
        );
        assert_eq!(
            error("-9223372036854775809"),
            (ParseErrorKind::IntegerTooSmall, 0, 20)
        );
        assert_eq!(error("-"), (ParseErrorKind::IntegerDigit, 0, 1));
        assert_eq!(error("123456789.12"), (ParseErrorKind::FloatTooBig, 0, 12));
        assert_eq!(error("1.2.3"), (ParseErrorKind::NumberCharacter, 3, 4));
        assert_eq!(error("12.$.a"), (ParseErrorKind::NumberCharacter, 3, 4));
        assert_eq!(error("-.5"), (ParseErrorKind::LeadingDot, 1, 2));
    }

    #[test]
    fn names() {
        for word in ["-relay-", "1-2", "12a", "1e5", "+abc", "größe", "--1", "٣"] {
            assert_eq!(kind(word), TokenKind::Scalar, "{word}");
        }
        assert_eq!(kind("seq"), TokenKind::Seq);
        assert_eq!(kind("true"), TokenKind::Boolean);
        assert_eq!(kind("#$c"), TokenKind::CanonStream);
        assert_eq!(kind("#%m"), TokenKind::CanonStreamMap);
        assert_eq!(kind("#cc.$.[0]"), TokenKind::CanonStreamWithLambda);
        assert_eq!(kind("#%m.$.key"), TokenKind::CanonStreamMapWithLambda);
        assert_eq!(kind("$ss.length"), TokenKind::StreamWithLambda);
        assert_eq!(kind(":error:.$.message!"), TokenKind::ErrorWithLambda);
        assert_eq!(kind("x.$.größe"), TokenKind::ScalarWithLambda);
        assert_eq!(error("a%bc"), (ParseErrorKind::NameCharacter, 1, 2));
        assert_eq!(error("#$"), (ParseErrorKind::EmptyCanonName, 1, 2));
        assert_eq!(error("$"), (ParseErrorKind::EmptyTaggedName, 0, 1));
        assert_eq!(error("#c.$.[0]"), (ParseErrorKind::EmptyCanonName, 1, 2));
        assert_eq!(error("$.length"), (ParseErrorKind::EmptyCanonName, 0, 1));
        assert_eq!(error("x.$.a!.b"), (ParseErrorKind::LambdaCharacter, 5, 6));
        assert_eq!(error("%now%"), (ParseErrorKind::NameCharacter, 4, 5));
    }
}
