//! Templates: text with substitutions, and nothing else.
//!
//! ```text
//! template     = { text | "{{" head { "|" filter } "}}" }
//! head         = "payload" | "key.name" | "key.id" | "key.alias" | string
//! filter       = "json" "(" string ")" | "urlencode" | "base64" | "hex" | "trim"
//! string       = "'" … "'" | '"' … '"'        (no escapes; ends at the next such quote)
//! ```
//!
//! A literal `{{` is written `{{ '{{' }}`; a `}}` outside of a substitution is text. There is no
//! control flow, on purpose: what a template can cost is bounded by its length. A template is
//! parsed once, when its target is read, so that its errors need no key.

use zeroize::Zeroizing;

use super::encoding::{self, Bytes};
use super::error::{Problem, TemplateError};
use super::limits;
use super::path::Path;

/// A template that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Part {
    /// As it is.
    Text(String),
    /// Something else takes its place.
    Substitution(Substitution),
}

/// One `{{ … }}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) struct Substitution {
    pub(in crate::domain) head: Head,
    pub(in crate::domain) filters: Vec<Filter>,
    /// Where the head is, in characters from 1.
    position: usize,
}

/// What a substitution starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Head {
    Payload,
    KeyName,
    KeyId,
    KeyAlias,
    Literal(String),
}

/// A filter and where it is, in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) struct Filter {
    pub(in crate::domain) kind: FilterKind,
    position: usize,
}

/// What a filter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) enum FilterKind {
    /// One value out of JSON.
    Json(Path),
    /// Everything but RFC 3986's unreserved characters as `%XX`.
    UrlEncode,
    /// Standard base64, padded.
    Base64,
    /// Lower-case hexadecimal.
    Hex,
    /// White space of ASCII off both ends; a non-breaking space is somebody's password.
    Trim,
}

/// What a template may see of its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) payload: &'a [u8],
    pub(super) id: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) alias: Option<&'a str>,
}

const HEADS: &str = "payload, key.name, key.id, key.alias or a quoted text";
const FILTERS: &str = "a filter: json('path'), urlencode, base64, hex or trim";
const ENCODE_FIRST: &str = "put a filter that makes text of any bytes first, like \
                            {{ payload | base64 }} or {{ payload | hex }}";

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// Says where it is wrong and what was expected there.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser { text, at: 0 };
        if text.len() > limits::TEMPLATE_BYTES {
            return parser.fail(Problem::TemplateTooLong);
        }
        let mut template = Self { parts: Vec::new() };
        let mut substitutions = 0;
        while let Some((before, _)) = parser.rest().split_once("{{") {
            template.push_text(before);
            parser.at += before.len();
            substitutions += 1;
            if substitutions > limits::SUBSTITUTIONS {
                return parser.fail(Problem::TooManySubstitutions);
            }
            parser.at += "{{".len();
            match parser.substitution()? {
                Substitution {
                    head: Head::Literal(text),
                    filters,
                    ..
                } if filters.is_empty() => template.push_text(&text),
                other => template.parts.push(Part::Substitution(other)),
            }
        }
        template.push_text(parser.rest());
        Ok(template)
    }

    /// Pieces that follow each other are one, so that templates that mean the same are equal.
    fn push_text(&mut self, text: &str) {
        if let Some(Part::Text(last)) = self.parts.last_mut() {
            last.push_str(text);
        } else if !text.is_empty() {
            self.parts.push(Part::Text(text.to_owned()));
        }
    }

    /// Its pieces.
    pub(in crate::domain) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its text, if nothing is to be filled in.
    pub(in crate::domain) fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn uses(&self, wanted: impl Fn(&Head) -> bool) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Substitution(s) if wanted(&s.head)))
    }

    /// Tells whether anything of a key is in it.
    #[must_use]
    pub fn uses_key(&self) -> bool {
        self.uses(|head| !matches!(head, Head::Literal(_)))
    }

    /// Tells whether it sees the key's name.
    #[must_use]
    pub fn uses_name(&self) -> bool {
        self.uses(|head| *head == Head::KeyName)
    }

    /// Tells whether it sees the key's alias.
    #[must_use]
    pub fn uses_alias(&self) -> bool {
        self.uses(|head| *head == Head::KeyAlias)
    }

    /// Fills it in.
    pub(super) fn fill(&self, view: Option<View<'_>>) -> Result<Bytes, TemplateError> {
        let mut pieces = Vec::with_capacity(self.parts.len());
        let mut length: usize = 0;
        let mut position = 1;
        for part in &self.parts {
            let piece = match part {
                Part::Text(text) => Piece::Borrowed(text.as_bytes()),
                Part::Substitution(substitution) => {
                    position = substitution.position;
                    substitution.value(view)?
                }
            };
            length = length.saturating_add(piece.bytes().len());
            if length > limits::OUTPUT_BYTES {
                let problem = Problem::OutputTooLong;
                return Err(TemplateError { position, problem });
            }
            pieces.push(piece);
        }
        // Put together only now: a buffer that grows leaves its old copy in freed memory.
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        for piece in pieces {
            out.extend_from_slice(piece.bytes());
        }
        Ok(out)
    }
}

/// A value on its way through the filters.
enum Piece<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Substitution {
    fn value<'a>(&'a self, view: Option<View<'a>>) -> Result<Piece<'a>, TemplateError> {
        let at = |position| move |problem| TemplateError { position, problem };
        let mut piece = self.head.value(view).map_err(at(self.position))?;
        for filter in &self.filters {
            let next = filter
                .kind
                .apply(piece.bytes())
                .map_err(at(filter.position))?;
            // Bounded at each step: every hex doubles what the one before it made.
            if next.len() > limits::OUTPUT_BYTES {
                return Err(at(filter.position)(Problem::OutputTooLong));
            }
            piece = Piece::Owned(next);
        }
        text(piece.bytes()).map_err(at(self.position))?;
        Ok(piece)
    }
}

impl Head {
    fn value<'a>(&'a self, view: Option<View<'a>>) -> Result<Piece<'a>, Problem> {
        let unknown = |what, instead| Problem::Unknown { what, instead };
        let no_key = unknown("a key", "this is an error of the operator");
        let text = match self {
            Self::Literal(text) => text,
            Self::Payload => return Ok(Piece::Borrowed(view.ok_or(no_key)?.payload)),
            Self::KeyId => view.ok_or(no_key)?.id,
            Self::KeyName => view
                .ok_or(no_key)?
                .name
                .ok_or_else(|| unknown("key.name", "use key.id"))?,
            Self::KeyAlias => view.ok_or(no_key)?.alias.ok_or_else(|| {
                unknown(
                    "key.alias",
                    "name the key by its alias, or use key.name or key.id",
                )
            })?,
        };
        Ok(Piece::Borrowed(text.as_bytes()))
    }
}

impl FilterKind {
    fn apply(&self, bytes: &[u8]) -> Result<Bytes, Problem> {
        match self {
            Self::Json(path) => path.extract(bytes),
            Self::UrlEncode => Ok(encoding::percent(text(bytes)?.as_bytes())),
            Self::Base64 => encoding::base64(bytes),
            Self::Hex => Ok(encoding::hex(bytes)),
            Self::Trim => Ok(encoding::copy(text(bytes)?.as_bytes().trim_ascii())),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|_| Problem::NotText {
        instead: ENCODE_FIRST,
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Where it stands, in characters from 1: what an editor shows, unlike bytes.
    fn position(&self) -> usize {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        before.chars().count() + 1
    }

    fn fail<T>(&self, problem: Problem) -> Result<T, TemplateError> {
        Err(TemplateError {
            position: self.position(),
            problem,
        })
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_ascii_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
            .unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// Reads a quoted text; nothing if there is none.
    fn string(&mut self) -> Result<Option<String>, TemplateError> {
        let Some(quote) = self.rest().chars().next().filter(|c| "'\"".contains(*c)) else {
            return Ok(None);
        };
        let quoted = self.rest().get(1..).unwrap_or_default();
        match quoted.split_once(quote) {
            Some((text, _)) => {
                self.at += text.len() + 2;
                Ok(Some(text.to_owned()))
            }
            None => self.fail(Problem::Expected(
                "a quotation mark at the end of the text that begins here",
            )),
        }
    }

    /// Reads what follows `{{`, up to and with `}}`.
    fn substitution(&mut self) -> Result<Substitution, TemplateError> {
        self.space();
        let position = self.position();
        let head = self.head()?;
        let mut filters = Vec::new();
        loop {
            self.space();
            if self.eat("}}") {
                return Ok(Substitution {
                    head,
                    filters,
                    position,
                });
            }
            if !self.eat("|") {
                return self.fail(Problem::Expected("'|' and a filter, or '}}'"));
            }
            if filters.len() == limits::FILTERS {
                return self.fail(Problem::TooManyFilters);
            }
            self.space();
            filters.push(self.filter()?);
        }
    }

    fn head(&mut self) -> Result<Head, TemplateError> {
        if let Some(text) = self.string()? {
            return Ok(Head::Literal(text));
        }
        let start = self.at;
        let head = match self.word() {
            "payload" => Head::Payload,
            "key.name" => Head::KeyName,
            "key.id" => Head::KeyId,
            "key.alias" => Head::KeyAlias,
            _ => {
                self.at = start;
                return self.fail(Problem::Expected(HEADS));
            }
        };
        Ok(head)
    }

    fn filter(&mut self) -> Result<Filter, TemplateError> {
        let start = self.at;
        let position = self.position();
        let kind = match self.word() {
            "json" => FilterKind::Json(self.argument()?),
            "urlencode" => FilterKind::UrlEncode,
            "base64" => FilterKind::Base64,
            "hex" => FilterKind::Hex,
            "trim" => FilterKind::Trim,
            _ => {
                self.at = start;
                return self.fail(Problem::Expected(FILTERS));
            }
        };
        Ok(Filter { kind, position })
    }

    /// Reads `('path')`.
    fn argument(&mut self) -> Result<Path, TemplateError> {
        const PATH: Problem =
            Problem::Expected("a quoted path in parentheses, like ('db.password')");
        self.space();
        if !self.eat("(") {
            return self.fail(PATH);
        }
        self.space();
        let Some(path) = self.string()? else {
            return self.fail(PATH);
        };
        self.space();
        if !self.eat(")") {
            return self.fail(Problem::Expected("')'"));
        }
        Ok(Path::new(&path))
    }
}

#[cfg(test)]
#[path = "substitution_tests.rs"]
mod tests;
