//! The `filter` of a list: properties, operators and dates.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::parse_states;
use crate::domain::key::Key;
use crate::domain::refusal::Refusal;
use crate::domain::state::KeyState;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Date {
    Creation,
    Deletion,
    Expiration,
    LastRotate,
    LastUpdate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    None,
    Equal(Timestamp),
    Less(Timestamp),
    LessOrEqual(Timestamp),
    Greater(Timestamp),
    GreaterOrEqual(Timestamp),
}

/// A filter: tests that a key must all pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The states that it asks for.
    pub states: Option<BTreeSet<KeyState>>,
    /// The class that it asks for.
    pub extractable: Option<bool>,
    dates: Vec<(Date, Test)>,
}

impl Filter {
    /// Reads `creationDate=gte:"2022-02-15T00:00:00Z" state=1,5`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = |what: &str| Refusal::field("filter", format!("{what} is no filter."));
        let mut filter = Self::default();
        for term in text.split_whitespace() {
            let (property, value) = term.split_once('=').ok_or_else(|| wrong(term))?;
            let date = match property {
                "state" => {
                    filter.states = Some(parse_states(value)?);
                    continue;
                }
                "extractable" => {
                    filter.extractable = Some(
                        value
                            .to_ascii_lowercase()
                            .parse()
                            .map_err(|_| wrong(term))?,
                    );
                    continue;
                }
                "creationDate" => Date::Creation,
                "deletionDate" => Date::Deletion,
                "expirationDate" => Date::Expiration,
                "lastRotateDate" => Date::LastRotate,
                "lastUpdateDate" => Date::LastUpdate,
                _ => return Err(wrong(term)),
            };
            filter
                .dates
                .push((date, parse_test(value).ok_or_else(|| wrong(term))?));
        }
        Ok(filter)
    }

    /// Says whether the key passes the tests of its dates. States and class
    /// are the list's own business.
    pub fn admits(&self, key: &Key) -> bool {
        self.dates.iter().all(|(date, test)| {
            let value = match date {
                Date::Creation => Some(key.creation_date),
                Date::Deletion => key.deletion.as_ref().map(|deletion| deletion.at),
                Date::Expiration => key.expiration,
                Date::LastRotate => key.last_rotate,
                Date::LastUpdate => Some(key.last_update),
            };
            match (test, value) {
                (Test::None, value) => value.is_none(),
                (_, None) => false,
                (Test::Equal(than), Some(value)) => value == *than,
                (Test::Less(than), Some(value)) => value < *than,
                (Test::LessOrEqual(than), Some(value)) => value <= *than,
                (Test::Greater(than), Some(value)) => value > *than,
                (Test::GreaterOrEqual(than), Some(value)) => value >= *than,
            }
        })
    }
}

fn parse_test(value: &str) -> Option<Test> {
    if value.eq_ignore_ascii_case("none") {
        return Some(Test::None);
    }
    let date = |text: &str| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    let Some((operator, text)) = value.split_once(':').filter(|_| !value.starts_with('"')) else {
        return date(value).map(Test::Equal);
    };
    let than = date(text)?;
    match operator {
        "lt" => Some(Test::Less(than)),
        "lte" => Some(Test::LessOrEqual(than)),
        "gt" => Some(Test::Greater(than)),
        "gte" => Some(Test::GreaterOrEqual(than)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_with_operators_and_leading_spaces() {
        let filter =
            Filter::parse(" creationDate=gte:\"2022-02-15T00:00:00.000000001Z\" state=1,5")
                .unwrap();
        assert_eq!(filter.dates.len(), 1);
        assert_eq!(filter.states.map(|states| states.len()), Some(2));
        assert_eq!(
            Filter::parse("lastRotateDate=none").unwrap().dates[0].1,
            Test::None
        );
        for bad in [
            "creationDate",
            "foo=1",
            "creationDate=eq:\"x\"",
            "creationDate=2022-02-15",
        ] {
            assert_eq!(Filter::parse(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
