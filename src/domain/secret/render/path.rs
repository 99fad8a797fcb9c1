//! Where in a JSON value something is: `db.password`, `hosts[0].name`, `a["x.y"]`.

use super::encoding::Bytes;
use super::error::Problem;
use super::json::{Kind, Text, Value, has_field_twice};

/// A path, or a field's name that is none: which of them it is, the payload decides. A field of
/// exactly that name comes first, so that `tls.crt` finds the field `tls.crt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    steps: Result<Vec<Step>, Unexpected>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    place: Place,
    /// Where the step ends in the text.
    end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Field(String),
    Item(usize),
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unexpected {
    /// In characters, from 1.
    position: usize,
    expected: &'static str,
}

impl Path {
    /// Takes what an author wrote. Nothing is refused here: any text can be a field's name.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            steps: parse(text),
        }
    }

    /// Shows what the author wrote.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Finds the place in a payload that is JSON and writes what is there.
    pub(super) fn extract(&self, payload: &[u8]) -> Result<Bytes, Problem> {
        let root = Value::parse(json_text(payload)?).map_err(Problem::Json)?;
        Ok(self.find(&root)?.write())
    }

    fn find<'v, 'a>(&self, root: &'v Value<'a>) -> Result<&'v Value<'a>, Problem> {
        if let Some(value) = field(root, &self.text)? {
            return Ok(value);
        }
        let steps = self
            .steps
            .as_ref()
            .map_err(|unexpected| Problem::PathSyntax {
                path: self.text.clone(),
                position: unexpected.position,
                expected: unexpected.expected,
            })?;
        let mut value = root;
        let mut reached = 0;
        for step in steps {
            value = match &step.place {
                Place::Field(name) => field(value, name)?,
                Place::Item(index) => item(value, *index),
            }
            .ok_or_else(|| Problem::NothingThere {
                path: self.text.clone(),
                reached: self.text.get(..reached).unwrap_or_default().to_owned(),
            })?;
            reached = step.end;
        }
        Ok(value)
    }
}

/// Takes a payload as the text that JSON must be.
pub(super) fn json_text(payload: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(payload).map_err(|_| Problem::NotText {
        instead: "so it is no JSON; take it whole, as an entry with an encoding, or make it JSON",
    })
}

fn field<'v, 'a>(value: &'v Value<'a>, name: &str) -> Result<Option<&'v Value<'a>>, Problem> {
    let Kind::Object(fields) = value.kind() else {
        return Ok(None);
    };
    // Refused where a choice would have to be made, and only there: readers of JSON take the
    // first, the last, or neither, and two readers of one payload must not see two passwords.
    if has_field_twice(fields) {
        return Err(Problem::FieldTwice);
    }
    let found = |(text, _): &&(Text<'a>, Value<'a>)| text.is(name);
    Ok(fields.iter().find(found).map(|(_, value)| value))
}

fn item<'v, 'a>(value: &'v Value<'a>, index: usize) -> Option<&'v Value<'a>> {
    match value.kind() {
        Kind::Array(items) => items.get(index),
        _ => None,
    }
}

/// The digits of an index: more would be longer than any payload.
const INDEX_DIGITS: usize = 6;

fn parse(text: &str) -> Result<Vec<Step>, Unexpected> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() || steps.is_empty() {
        let at = |rest: &str, expected| {
            let before = text.get(..text.len() - rest.len()).unwrap_or_default();
            Unexpected {
                position: before.chars().count() + 1,
                expected,
            }
        };
        let place = if let Some(inner) = rest.strip_prefix('[') {
            let (place, tail) = bracket(inner).map_err(|(rest, expected)| at(rest, expected))?;
            rest = tail;
            place
        } else {
            if !steps.is_empty() {
                rest = rest
                    .strip_prefix('.')
                    .ok_or_else(|| at(rest, "'.' or '['"))?;
            }
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
            let (name, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if name.is_empty() {
                return Err(at(rest, "a field's name"));
            }
            rest = tail;
            Place::Field(name.to_owned())
        };
        steps.push(Step {
            place,
            end: text.len() - rest.len(),
        });
    }
    Ok(steps)
}

/// Reads what follows `[`, up to and with `]`; on an error, what is left there.
fn bracket(inner: &str) -> Result<(Place, &str), (&str, &'static str)> {
    let (place, rest) = if let Some(quote) = inner.chars().next().filter(|c| "'\"".contains(*c)) {
        let quoted = inner.get(1..).unwrap_or_default();
        let (name, rest) = quoted
            .split_once(quote)
            .ok_or(("", "the closing quotation mark"))?;
        (Place::Field(name.to_owned()), rest)
    } else {
        let end = inner
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(inner.len());
        let (digits, rest) = inner.split_at_checked(end).unwrap_or((inner, ""));
        let index = Some(digits)
            .filter(|digits| digits.len() <= INDEX_DIGITS)
            .and_then(|digits| digits.parse().ok())
            .ok_or((inner, "an index of at most 6 digits, or a quoted name"))?;
        (Place::Item(index), rest)
    };
    let rest = rest.strip_prefix(']').ok_or((rest, "']'"))?;
    Ok((place, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{
        "db.password": "literal", "db": {"password": "by path", "user": "u"},
        "hosts": [{"name": "h0"}, {"name": "h1", "ports": [1, 2.50]}],
        "a": {"x.y": {"it's": 1.10}}, "odd..name": "odd", "ü": {"€": "€"}, "": {"": "empty"},
        "0": "zero", "twice": {"x": 1, "x": 2}, "none": null
    }"#;

    fn extract(path: &str) -> Result<String, Problem> {
        Path::new(path)
            .extract(JSON.as_bytes())
            .map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn a_literal_field_comes_first() {
        assert_eq!(extract("db.password"), Ok("literal".to_owned()));
        assert_eq!(extract("odd..name"), Ok("odd".to_owned()));
    }

    #[test]
    fn paths_lead_to_values() {
        for (path, expected) in [
            ("db.user", "u"),
            ("db[\"password\"]", "by path"),
            ("hosts[0].name", "h0"),
            ("hosts[1][\"name\"]", "h1"),
            ("hosts[1].ports[1]", "2.50"),
            ("hosts[1].ports", "[1,2.50]"),
            ("hosts[00].name", "h0"),
            ("a[\"x.y\"][\"it's\"]", "1.10"),
            ("a['x.y']", "{\"it's\":1.10}"),
            ("ü.€", "€"),
            ("['']['']", "empty"),
            ("0", "zero"),
            ("twice", "{\"x\":1,\"x\":2}"),
            ("none", "null"),
        ] {
            assert_eq!(extract(path).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(
            Path::new("[1].a")
                .extract(b"[0, {\"a\": \"b\"}]")
                .expect("found")
                .as_slice(),
            b"b"
        );
    }

    #[test]
    fn nothing_there_says_how_far_it_could_be_followed() {
        for (path, expected) in [
            ("missing", ""),
            ("hosts[2].name", "hosts"),
            ("hosts[1].nam", "hosts[1]"),
            ("hosts.name", "hosts"),
            ("db[0]", "db"),
            ("db.user.x", "db.user"),
        ] {
            let Err(Problem::NothingThere { reached, .. }) = extract(path) else {
                panic!("{path} should lead nowhere");
            };
            assert_eq!(reached, expected, "{path}");
        }
    }

    #[test]
    fn what_is_neither_field_nor_path_says_where_it_fails() {
        for (path, position) in [
            ("", 1),
            (".a", 1),
            ("a..b", 3),
            ("a.", 3),
            ("ü[", 3),
            ("ü[x]", 3),
            ("ü[-1]", 3),
            ("ü[1234567]", 3),
            ("ü[1", 4),
            ("ü[1]b", 5),
            ("ü['b", 5),
            ("ü['b'", 6),
            ("a]", 2),
            ("a[99999999999999999999999999]", 3),
        ] {
            let result = Path::new(path).extract(b"{}");
            let Err(Problem::PathSyntax { position: at, .. }) = result else {
                panic!("{path} should be no path: {result:?}");
            };
            assert_eq!(at, position, "{path}");
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_where_one_must_be_chosen() {
        assert_eq!(extract("twice.x"), Err(Problem::FieldTwice));
        assert_eq!(
            Path::new("b")
                .extract(br#"{"a":1,"a":1,"b":2}"#)
                .map(|_| ()),
            Err(Problem::FieldTwice)
        );
    }

    #[test]
    fn a_huge_path_is_harmless() {
        let path = Path::new(&"a[0].".repeat(50_000));
        assert!(path.extract(b"{}").is_err());
        assert!(Path::new(&"[".repeat(50_000)).extract(b"{}").is_err());
    }
}
