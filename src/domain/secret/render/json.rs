//! Reads JSON without copying it: a tree of slices of the payload.
//!
//! Why not `serde_json`: it unescapes strings in a buffer of its own that nobody wipes, its
//! errors quote content, and it reads numbers (`1.10` would become `1.1`). This reader accepts
//! what `serde_json` accepts (a test compares them), except deeper nesting, and except that a
//! number may be of any size, since it is written as it stands.

use std::fmt;

use zeroize::Zeroizing;

use super::encoding::Bytes;
use super::limits;

/// Where JSON could not be read, and what should have been there; never what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    line: usize,
    column: usize,
    expected: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected {} at line {}, column {}",
            self.expected, self.line, self.column
        )
    }
}

impl std::error::Error for JsonError {}

impl JsonError {
    /// Says what the whole should have been.
    pub(super) const fn start(expected: &'static str) -> Self {
        Self {
            line: 1,
            column: 1,
            expected,
        }
    }
}

/// A JSON value within its text.
pub(super) struct Value<'a> {
    raw: &'a str,
    kind: Kind<'a>,
}

/// What a value is.
pub(super) enum Kind<'a> {
    /// A number, true, false or null.
    Scalar,
    /// A string.
    Text(Text<'a>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object; a field may be there twice.
    Object(Vec<(Text<'a>, Value<'a>)>),
}

/// A string as it is written between its quotes; its escapes were checked.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(&'a str);

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

impl<'a> Value<'a> {
    /// Reads a whole text as one value.
    pub(super) fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut scanner = Scanner { text, at: 0 };
        if text.len() > limits::JSON_BYTES {
            return scanner.fail("at most 64 KiB of JSON");
        }
        let value = scanner.value(0)?;
        scanner.space();
        if scanner.at < text.len() {
            return scanner.fail("the end");
        }
        Ok(value)
    }

    /// Says what it is.
    pub(super) const fn kind(&self) -> &Kind<'a> {
        &self.kind
    }

    /// Writes a string as it is, and any other value as compact JSON: the author's own
    /// characters without the white space between them.
    pub(super) fn write(&self) -> Bytes {
        // Neither form is longer than its source, so the buffer does not grow.
        let mut out = Zeroizing::new(Vec::with_capacity(self.raw.len()));
        if let Kind::Text(text) = self.kind {
            for c in text.chars() {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            return out;
        }
        let mut quoted = false;
        let mut escaped = false;
        for byte in self.raw.bytes() {
            if quoted || !is_space(byte) {
                out.push(byte);
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
        }
        out
    }
}

/// Tells whether a field is there twice.
pub(super) fn has_field_twice(fields: &[(Text<'_>, Value<'_>)]) -> bool {
    let mut names: Vec<Text<'_>> = fields.iter().map(|(name, _)| *name).collect();
    names.sort_unstable_by(|a, b| a.chars().cmp(b.chars()));
    names
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.chars().eq(b.chars())))
}

impl<'a> Text<'a> {
    /// Its characters, with escapes undone.
    pub(super) const fn chars(&self) -> Unescaped<'a> {
        Unescaped { rest: self.0 }
    }

    /// Compares it with plain text.
    pub(super) fn is(&self, text: &str) -> bool {
        self.chars().eq(text.chars())
    }
}

/// Characters of a string.
#[derive(Clone)]
pub(super) struct Unescaped<'a> {
    rest: &'a str,
}

impl Unescaped<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    fn code_unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    }

    fn code_point(&mut self) -> Option<char> {
        let first = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            // A low surrogate alone is no character either.
            return char::from_u32(first);
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let second = self.code_unit()?.checked_sub(0xdc00)?;
        if second >= 0x400 {
            return None;
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)
    }

    /// Undoes the escape whose backslash was taken; nothing if it is none.
    fn escape(&mut self) -> Option<char> {
        Some(match self.take()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.code_point()?,
            _ => return None,
        })
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self.take()? {
            '\\' => self.escape(),
            c => Some(c),
        }
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        let before = self
            .text
            .as_bytes()
            .get(..self.at)
            .unwrap_or(self.text.as_bytes());
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |newline| newline + 1);
        let (lines, line) = before.split_at(line_start);
        Err(JsonError {
            line: 1 + lines.iter().filter(|b| **b == b'\n').count(),
            // Characters, not bytes: continuation bytes do not count.
            column: 1 + line.iter().filter(|b| **b & 0xc0 != 0x80).count(),
            expected,
        })
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{' | b'[') if depth >= limits::JSON_DEPTH => {
                return self.fail("no more than 32 objects and arrays within each other");
            }
            Some(b'{') => Kind::Object(self.object(depth + 1)?),
            Some(b'[') => Kind::Array(self.array(depth + 1)?),
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ if self.eat("true") || self.eat("false") || self.eat("null") => Kind::Scalar,
            _ => return self.fail("a value (object, array, string, number, true, false or null)"),
        };
        Ok(Value {
            raw: self.since(start),
            kind,
        })
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(Text<'a>, Value<'a>)>, JsonError> {
        let mut fields = Vec::new();
        self.at += 1;
        self.space();
        if self.eat("}") {
            return Ok(fields);
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.fail("a field's name in double quotes");
            }
            let name = self.string()?;
            self.space();
            if !self.eat(":") {
                return self.fail("':'");
            }
            fields.push((name, self.value(depth)?));
            self.space();
            if self.eat("}") {
                return Ok(fields);
            }
            if !self.eat(",") {
                return self.fail("',' or '}'");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'a>>, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.eat("]") {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.eat("]") {
                return Ok(items);
            }
            if !self.eat(",") {
                return self.fail("',' or ']'");
            }
        }
    }

    fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let text = Text(self.since(start));
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    // The same code checks an escape here and undoes it later.
                    let mut rest = Unescaped { rest: self.rest() };
                    let whole = rest.rest.len();
                    if rest.next().is_none() {
                        return self.fail("a valid escape");
                    }
                    self.at += whole - rest.rest.len();
                }
                Some(0..0x20) => return self.fail("no control character within a string"),
                Some(_) => self.at += 1,
                None => return self.fail("'\"' at the end of a string"),
            }
        }
    }

    fn number(&mut self) -> Result<Kind<'a>, JsonError> {
        self.eat("-");
        if !self.eat("0") {
            self.digits()?;
        }
        if self.eat(".") {
            self.digits()?;
        }
        if self.eat("e") || self.eat("E") {
            let _signed = self.eat("+") || self.eat("-");
            self.digits()?;
        }
        Ok(Kind::Scalar)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            return self.fail("a digit");
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
