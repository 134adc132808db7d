//! Canonical JSON text to MessagePack, as call arguments travel to the host.

use particle::msgpack::{push_text, push_unsigned};

use super::walk::{string_end, unescape};

/// Converts texts; keeps its scratch space between them.
#[derive(Default)]
pub(crate) struct MessagePack {
    /// Sizes of the containers of a text, in order of their opening brackets.
    sizes: Vec<u32>,
    /// Containers that are open: their place in `sizes`.
    open: Vec<usize>,
}

impl MessagePack {
    /// Appends an array of the values that the texts denote. Where one is the same text as the one
    /// before it, what was written is copied.
    pub(crate) fn write_array(&mut self, out: &mut Vec<u8>, texts: &[&str]) {
        write_array_header(out, texts.len() as u32);
        let mut last: Option<(&str, std::ops::Range<usize>)> = None;
        for text in texts {
            match &last {
                Some((same, written)) if std::ptr::eq(*same, *text) => {
                    out.extend_from_within(written.clone());
                }
                _ => {
                    let start = out.len();
                    self.write(out, text);
                    last = Some((text, start..out.len()));
                }
            }
        }
    }

    /// Appends the value that `text` denotes.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, text: &str) {
        let bytes = text.as_bytes();
        self.sizes.clear();
        if matches!(bytes.first(), Some(b'[' | b'{')) {
            self.measure(bytes);
        }
        let mut sizes = self.sizes.iter();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'[' => {
                    write_array_header(out, sizes.next().copied().unwrap_or(0));
                    at += 1;
                }
                b'{' => {
                    write_map_header(out, sizes.next().copied().unwrap_or(0));
                    at += 1;
                }
                b']' | b'}' | b',' | b':' => at += 1,
                b'"' => {
                    let end = string_end(bytes, at);
                    push_text(out, &unescape(text.get(at..end).unwrap_or("\"\"")));
                    at = end;
                }
                _ => {
                    let start = at;
                    while bytes
                        .get(at)
                        .is_some_and(|byte| !matches!(byte, b',' | b']' | b'}'))
                    {
                        at += 1;
                    }
                    write_word(out, text.get(start..at).unwrap_or("null"));
                }
            }
        }
    }

    /// Counts the entries of every container.
    fn measure(&mut self, bytes: &[u8]) {
        self.open.clear();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'[' | b'{' => {
                    let empty = matches!(bytes.get(at), Some(b']' | b'}'));
                    self.open.push(self.sizes.len());
                    self.sizes.push(u32::from(!empty));
                }
                b']' | b'}' => {
                    self.open.pop();
                }
                b',' => {
                    if let Some(size) = self
                        .open
                        .last()
                        .and_then(|&container| self.sizes.get_mut(container))
                    {
                        *size += 1;
                    }
                }
                b'"' => at = string_end(bytes, at - 1),
                _ => {}
            }
        }
    }
}

#[inline]
pub(crate) fn write_array_header(out: &mut Vec<u8>, size: u32) {
    match size {
        0..=15 => out.push(0x90 | size as u8),
        16..=0xffff => {
            out.push(0xdc);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdd);
            out.extend_from_slice(&size.to_be_bytes());
        }
    }
}

#[inline]
pub(crate) fn write_map_header(out: &mut Vec<u8>, size: u32) {
    match size {
        0..=15 => out.push(0x80 | size as u8),
        16..=0xffff => {
            out.push(0xde);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&size.to_be_bytes());
        }
    }
}

pub(crate) fn write_signed(out: &mut Vec<u8>, number: i64) {
    match number {
        0.. => push_unsigned(out, number.unsigned_abs()),
        -32..=-1 => out.push(number as u8),
        -0x80..=-33 => out.extend_from_slice(&[0xd0, number as u8]),
        -0x8000..=-0x81 => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn write_word(out: &mut Vec<u8>, word: &str) {
    match word {
        "null" => out.push(0xc0),
        "false" => out.push(0xc2),
        "true" => out.push(0xc3),
        _ => {
            if let Ok(number) = word.parse::<u64>() {
                push_unsigned(out, number);
            } else if let Ok(number) = word.parse::<i64>() {
                write_signed(out, number);
            } else {
                // Numbers of canonical text read back exactly either way.
                let number = serde_json::from_str::<f64>(word).unwrap_or_default();
                out.push(0xcb);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_usual_encoder() {
        let long = format!("[{}0]", "[],".repeat(300));
        let wide = serde_json::Value::Object(
            (0..20)
                .map(|key| (format!("k{key:02}"), key.into()))
                .collect(),
        )
        .to_string();
        let text = serde_json::Value::String("x\"\n".repeat(100)).to_string();
        for text in [
            "null",
            "true",
            "false",
            "0",
            "127",
            "128",
            "255",
            "256",
            "65535",
            "65536",
            "4294967296",
            "18446744073709551615",
            "-1",
            "-32",
            "-33",
            "-128",
            "-129",
            "-32768",
            "-32769",
            "-2147483648",
            "-2147483649",
            "-9223372036854775808",
            "1.5",
            "-0.0",
            "1e16",
            "[]",
            "{}",
            "[[],{}]",
            r#"{"a":[1,{"b":"c"}],"d":"e\u0000"}"#,
            &long,
            &wide,
            &text,
        ] {
            let mut ours = Vec::new();
            MessagePack::default().write(&mut ours, text);
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(ours, rmp_serde::to_vec(&value).unwrap(), "{text}");
        }
    }
}
