//! The text form of an interface section (“Text form” in the protocol description): for people who
//! look at modules, and for modules in languages that no SDK describes.

use std::{fmt::Write as _, sync::Arc};

use super::{
    Adapter, Argument, Core, Export, Function, Implementation, Import, Instruction, Integer,
    InterfaceSection, Type,
};
use crate::{IType, RecordType, limits::MAX_ARRAY_DEPTH};

/// Text that is no interface section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: found {found}, expected {expected}")]
pub struct TextError {
    /// The line, counted from 1.
    pub line: usize,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: &'static str,
}

impl InterfaceSection {
    /// The section as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("(@interface it_version \"{}\")\n", self.version);
        heading(&mut text, "Types", self.types.is_empty());
        for (index, ty) in self.types.iter().enumerate() {
            text.push_str(&type_text(ty));
            let _ = writeln!(text, "   ;; {index}");
        }
        heading(&mut text, "Imports", self.imports.is_empty());
        for import in &self.imports {
            let _ = writeln!(
                text,
                "(@interface import {:?} {:?} (func (type {})))",
                import.namespace, import.name, import.type_index
            );
        }
        heading(&mut text, "Adapters", self.adapters.is_empty());
        for adapter in &self.adapters {
            let _ = write!(text, "(@interface func (type {})", adapter.type_index);
            for instruction in &adapter.instructions {
                let _ = write!(text, "\n  {instruction}");
            }
            text.push_str(")\n");
        }
        heading(&mut text, "Exports", self.exports.is_empty());
        for export in &self.exports {
            let _ = writeln!(
                text,
                "(@interface export {:?} (func {}))",
                export.name, export.type_index
            );
        }
        heading(
            &mut text,
            "Implementations",
            self.implementations.is_empty(),
        );
        for implementation in &self.implementations {
            let _ = writeln!(
                text,
                "(@interface implement (func {}) (func {}))",
                implementation.core, implementation.adapter
            );
        }
        text
    }

    /// Reads a section from text. It is not yet known to make sense: see
    /// [`validate`](Self::validate).
    ///
    /// # Errors
    /// The first place that is something else than it should be.
    pub fn from_text(text: &str) -> Result<Self, TextError> {
        let mut reader = Reader::new(text);
        let mut version = None;
        let mut section = Self {
            version: semver::Version::new(0, 0, 0),
            types: Vec::new(),
            imports: Vec::new(),
            adapters: Vec::new(),
            exports: Vec::new(),
            implementations: Vec::new(),
        };
        while reader.token.is_some() {
            reader.take("(")?;
            reader.take("@interface")?;
            let item =
                reader.word("`it_version`, `type`, `import`, `func`, `export` or `implement`")?;
            match item {
                "it_version" => {
                    let line = reader.line;
                    let text = reader.string()?;
                    let read = semver::Version::parse(&text).map_err(|_| TextError {
                        line,
                        found: format!("{text:?}"),
                        expected: "a semantic version",
                    })?;
                    version = Some(read);
                }
                "type" => section.types.push(reader.defined_type()?),
                "import" => {
                    let (namespace, name) = (reader.string()?, reader.string()?);
                    reader.take("(")?;
                    reader.take("func")?;
                    let type_index = reader.reference("type")?;
                    reader.take(")")?;
                    section.imports.push(Import {
                        namespace,
                        name,
                        type_index,
                    });
                }
                "func" => {
                    let type_index = reader.reference("type")?;
                    let mut instructions = Vec::new();
                    while !reader.is(")") {
                        instructions.push(reader.instruction()?);
                    }
                    section.adapters.push(Adapter {
                        type_index,
                        instructions,
                    });
                }
                "export" => section.exports.push(Export {
                    name: reader.string()?,
                    type_index: reader.reference("func")?,
                }),
                "implement" => section.implementations.push(Implementation {
                    core: reader.reference("func")?,
                    adapter: reader.reference("func")?,
                }),
                other => {
                    return Err(reader.error(
                        other,
                        "`it_version`, `type`, `import`, `func`, `export` or `implement`",
                    ));
                }
            }
            reader.take(")")?;
        }
        section.version = version
            .ok_or_else(|| reader.error("the end", "`(@interface it_version \"…\")` somewhere"))?;
        Ok(section)
    }
}

fn heading(text: &mut String, name: &str, empty: bool) {
    text.push('\n');
    if !empty {
        let _ = writeln!(text, ";; {name}");
    }
}

fn type_text(ty: &Type) -> String {
    match ty {
        Type::Function(function) => {
            let mut text = "(@interface type (func".to_owned();
            for argument in &function.arguments {
                let _ = write!(text, "\n  (param ${}: {})", argument.name, argument.ty);
            }
            for output in &function.outputs {
                let _ = write!(text, "\n  (result {output})");
            }
            text + "))"
        }
        Type::Record(record) => {
            let mut text = format!("(@interface type (record ${} (", record.name);
            for field in &record.fields {
                let _ = write!(text, "\n field ${}: {}", field.name, field.ty);
            }
            text + "\n)))"
        }
    }
}

/// Reads tokens: parentheses, strings with their quotes, words.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    /// The token to be read next.
    token: Option<&'a str>,
    /// The line of what comes after it.
    next_line: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Self {
            rest: text,
            line: 1,
            token: None,
            next_line: 1,
        };
        reader.advance();
        reader
    }

    fn advance(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            let skipped = self.rest.len() - trimmed.len();
            let blank = self.rest.get(..skipped).unwrap_or_default();
            self.next_line += blank.matches('\n').count();
            self.rest = trimmed;
            if !trimmed.starts_with(";;") {
                break;
            }
            let end = trimmed.find('\n').unwrap_or(trimmed.len());
            self.rest = trimmed.get(end..).unwrap_or_default();
        }
        self.line = self.next_line;
        let length = match self.rest.chars().next() {
            None => {
                self.token = None;
                return;
            }
            Some('(' | ')') => 1,
            Some('"') => string_length(self.rest),
            Some(_) => self
                .rest
                .find(|letter: char| letter.is_whitespace() || "()\"".contains(letter))
                .unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at(length);
        self.next_line += token.matches('\n').count();
        (self.token, self.rest) = (Some(token), rest);
    }

    fn error(&self, found: &str, expected: &'static str) -> TextError {
        let mut found: String = found.chars().take(60).collect();
        if found != "the end" {
            found = format!("`{found}`");
        }
        TextError {
            line: self.line,
            found,
            expected,
        }
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, TextError> {
        Err(self.error(self.token.unwrap_or("the end"), expected))
    }

    fn is(&self, token: &str) -> bool {
        self.token == Some(token)
    }

    fn take(&mut self, token: &'static str) -> Result<(), TextError> {
        if !self.is(token) {
            return self.unexpected(token);
        }
        self.advance();
        Ok(())
    }

    fn word(&mut self, expected: &'static str) -> Result<&'a str, TextError> {
        match self.token {
            Some(token) if !token.starts_with(['(', ')', '"']) => {
                self.advance();
                Ok(token)
            }
            _ => self.unexpected(expected),
        }
    }

    fn string(&mut self) -> Result<String, TextError> {
        let quoted = self.token.and_then(|token| token.strip_prefix('"'));
        let Some(content) = quoted.and_then(|rest| rest.strip_suffix('"')) else {
            return self.unexpected("a text in quotes");
        };
        let mut text = String::with_capacity(content.len());
        let mut letters = content.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some(letter @ ('"' | '\\' | '\'')) => text.push(letter),
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('0') => text.push('\0'),
                    _ => return self.unexpected("an escape of `\"`, `\\`, `n`, `r`, `t` or `0`"),
                },
                letter => text.push(letter),
            }
        }
        self.advance();
        Ok(text)
    }

    fn number(&mut self) -> Result<u32, TextError> {
        match self.token.map(str::parse) {
            Some(Ok(number)) => {
                self.advance();
                Ok(number)
            }
            _ => self.unexpected("a number below 2^32"),
        }
    }

    /// `(KIND NUMBER)`.
    fn reference(&mut self, kind: &'static str) -> Result<u32, TextError> {
        self.take("(")?;
        self.take(kind)?;
        let index = self.number()?;
        self.take(")")?;
        Ok(index)
    }

    /// `$name:`.
    fn name(&mut self) -> Result<String, TextError> {
        let expected = "a name like `$name:`";
        let name = self
            .token
            .and_then(|token| token.strip_prefix('$')?.strip_suffix(':'));
        let Some(name) = name else {
            return self.unexpected(expected);
        };
        self.advance();
        Ok(name.to_owned())
    }

    fn defined_type(&mut self) -> Result<Type, TextError> {
        self.take("(")?;
        let kind = self.word("`func` or `record`")?;
        let ty = match kind {
            "func" => {
                let mut function = Function {
                    arguments: Vec::new(),
                    outputs: Vec::new(),
                };
                while self.is("(") {
                    self.advance();
                    match self.word("`param` or `result`")? {
                        "param" => {
                            let (name, ty) = (self.name()?, self.ty()?);
                            function.arguments.push(Argument { name, ty });
                        }
                        "result" => {
                            let ty = self.ty()?;
                            function.outputs.push(ty);
                        }
                        other => return Err(self.error(other, "`param` or `result`")),
                    }
                    self.take(")")?;
                }
                Type::Function(Arc::new(function))
            }
            "record" => {
                let name = self.token.and_then(|token| token.strip_prefix('$'));
                let Some(name) = name.map(str::to_owned) else {
                    return self.unexpected("a name like `$Name`");
                };
                self.advance();
                self.take("(")?;
                let mut fields = Vec::new();
                while self.is("field") {
                    self.advance();
                    let (name, ty) = (self.name()?, self.ty()?);
                    fields.push(Argument { name, ty });
                }
                if fields.is_empty() {
                    return self.unexpected("`field`: a record has at least one");
                }
                self.take(")")?;
                Type::Record(Arc::new(RecordType { name, fields }))
            }
            other => return Err(self.error(other, "`func` or `record`")),
        };
        self.take(")")?;
        Ok(ty)
    }

    fn ty(&mut self) -> Result<IType, TextError> {
        let mut arrays = 0;
        while self.is("array") {
            self.advance();
            self.take("(")?;
            arrays += 1;
            if arrays > MAX_ARRAY_DEPTH {
                return self.unexpected("a type with fewer levels of arrays");
            }
        }
        let word = self.word("a type")?;
        let mut ty = match word {
            // Both spellings are around.
            "bool" | "boolean" => IType::Boolean,
            "s8" => IType::S8,
            "s16" => IType::S16,
            "s32" => IType::S32,
            "s64" => IType::S64,
            "u8" => IType::U8,
            "u16" => IType::U16,
            "u32" => IType::U32,
            "u64" => IType::U64,
            "f32" => IType::F32,
            "f64" => IType::F64,
            "string" => IType::String,
            "i32" => IType::I32,
            "i64" => IType::I64,
            "record" => IType::Record(self.number()?),
            other => return Err(self.error(other, "a type")),
        };
        for _ in 0..arrays {
            self.take(")")?;
            ty = match ty {
                IType::U8 => IType::ByteArray,
                other => IType::Array(Arc::new(other)),
            };
        }
        Ok(ty)
    }

    fn instruction(&mut self) -> Result<Instruction, TextError> {
        let word = self.word("an instruction or `)`")?;
        Ok(match word {
            "arg.get" => Instruction::ArgumentGet(self.number()?),
            "call-core" => Instruction::CallCore(self.number()?),
            "string.lift_memory" => Instruction::StringLift,
            "string.lower_memory" => Instruction::StringLower,
            "string.size" => Instruction::StringSize,
            "dup" => Instruction::Dup,
            "swap2" => Instruction::Swap2,
            "array.lift_memory" => Instruction::ArrayLift(self.ty()?),
            "array.lower_memory" => Instruction::ArrayLower(self.ty()?),
            "record.lift_memory" => Instruction::RecordLift(self.number()?),
            "record.lower_memory" => Instruction::RecordLower(self.number()?),
            "bool.from_i32" => Instruction::BoolFromI32,
            "i32.from_bool" => Instruction::I32FromBool,
            "i32.push" => Instruction::PushI32(self.constant()?),
            "i64.push" => Instruction::PushI64(self.constant()?),
            "byte_array.lift_memory" => Instruction::ByteArrayLift,
            "byte_array.lower_memory" => Instruction::ByteArrayLower,
            "byte_array.size" => Instruction::ByteArraySize,
            conversion => match conversion.split_once(".from_") {
                Some((to, from)) => match (core(to), integer(from), integer(to), core(from)) {
                    (Some(to), Some(from), ..) => Instruction::ToCore { to, from },
                    (.., Some(to), Some(from)) => Instruction::FromCore { to, from },
                    _ => return Err(self.error(conversion, "an instruction")),
                },
                None => return Err(self.error(conversion, "an instruction")),
            },
        })
    }

    fn constant<T: std::str::FromStr>(&mut self) -> Result<T, TextError> {
        match self.token.map(str::parse) {
            Some(Ok(number)) => {
                self.advance();
                Ok(number)
            }
            _ => self.unexpected("an integer of that type"),
        }
    }
}

/// How many bytes a string at the beginning of a text has, with its quotes; all of it if it has no end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return index + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn core(name: &str) -> Option<Core> {
    match name {
        "i32" => Some(Core::I32),
        "i64" => Some(Core::I64),
        _ => None,
    }
}

fn integer(name: &str) -> Option<Integer> {
    Some(match name {
        "s8" => Integer::S8,
        "s16" => Integer::S16,
        "s32" => Integer::S32,
        "s64" => Integer::S64,
        "u8" => Integer::U8,
        "u16" => Integer::U16,
        "u32" => Integer::U32,
        "u64" => Integer::U64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"(@interface it_version "0.27.0")

;; Types
(@interface type (func
  (param $size: i32)
  (result i32)))   ;; 0
(@interface type (func))   ;; 1
(@interface type (record $Item (
 field $flag: bool
 field $raw: array (u8)
 field $lists: array (array (record 2))
)))   ;; 2

;; Imports
(@interface import "ns" "a \"name\"" (func (type 0)))

;; Adapters
(@interface func (type 0)
  arg.get 0
  i32.from_u8
  u16.from_i64
  array.lower_memory array (array (u8))
  record.lift_memory 2
  i64.push -7
  call-core 0)

;; Exports
(@interface export "allocate" (func 0))

;; Implementations
(@interface implement (func 1) (func 0))
"#;

    #[test]
    fn text_and_section_are_the_same() {
        let section = InterfaceSection::from_text(TEXT).unwrap();
        assert_eq!(section.to_text(), TEXT);
        assert_eq!(section.imports[0].name, "a \"name\"");
        assert_eq!(section.adapters[0].instructions.len(), 7);
        // The other spelling, and no blanks.
        let other = TEXT.replace("bool", "boolean").replace("\n\n", "");
        assert_eq!(InterfaceSection::from_text(&other), Ok(section));
    }

    #[test]
    fn mistakes_have_a_line() {
        for (from, to, expected) in [
            (
                "arg.get 0",
                "arg.get x",
                "line 19: found `x`, expected a number below 2^32",
            ),
            (
                "call-core 0)",
                "call-core 0",
                "line 28: found `(`, expected an instruction or `)`",
            ),
            (
                "$flag: bool",
                "$flag bool",
                "line 9: found `$flag`, expected a name like `$name:`",
            ),
            (
                "i32.from_u8",
                "i32.from_f32",
                "found `i32.from_f32`, expected an instruction",
            ),
            (
                "\"0.27.0\"",
                "\"0.27\"",
                "line 1: found \"0.27\", expected a semantic version",
            ),
            ("\"allocate\"", "\"allocate", "expected a text in quotes"),
            (
                "(func 1) (func 0))\n",
                "(func 1) (func 0)",
                "found the end, expected )",
            ),
        ] {
            let error = InterfaceSection::from_text(&TEXT.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let deep = format!(
            "(@interface type (func (result {}",
            "array (".repeat(100_000)
        );
        assert!(InterfaceSection::from_text(&deep).is_err());
        assert!(InterfaceSection::from_text("").is_err());
    }
}
