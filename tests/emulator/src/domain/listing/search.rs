//! The `search` of a list: options, scopes and the single key that is looked up.

use serde_json::{Value, json};

use crate::domain::instance::Instance;
use crate::domain::key::Key;
use crate::domain::refusal::Refusal;

/// A search, as `exact:not:alias:text` says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    text: String,
    negated: bool,
    exact: bool,
    in_aliases: bool,
    in_names: bool,
}

impl Search {
    /// Reads the options and scopes off the front; whatever follows is text.
    pub fn parse(query: &str) -> Self {
        let mut search = Self::default();
        let mut rest = query;
        while let Some((word, after)) = rest.split_once(':') {
            match word {
                "not" => search.negated = true,
                "exact" => search.exact = true,
                "alias" => search.in_aliases = true,
                "name" => search.in_names = true,
                "escape" => {
                    rest = after;
                    break;
                }
                _ => break,
            }
            rest = after;
        }
        // Clients are known to leave a comma at the end.
        rest.trim_end_matches(',').clone_into(&mut search.text);
        search
    }

    fn names(&self) -> bool {
        self.in_names || !self.in_aliases
    }

    fn aliases(&self) -> bool {
        self.in_aliases || !self.in_names
    }

    /// Says whether the key is among what is searched for. Case never matters,
    /// not even in an exact search.
    pub fn matches(&self, key: &Key) -> bool {
        let wanted = self.text.to_lowercase();
        let hit = |text: &String| {
            let text = text.to_lowercase();
            if self.exact {
                text == wanted
            } else {
                text.contains(&wanted)
            }
        };
        let found =
            (self.names() && hit(&key.name)) || (self.aliases() && key.aliases.iter().any(hit));
        found != self.negated
    }

    /// Finds the one key that the text names by its ID, or, in the alias
    /// scope, by an alias.
    pub fn looked_up<'k>(&self, among: &[&'k Key], instance: &Instance) -> Option<&'k Key> {
        if self.negated {
            return None;
        }
        let by_alias = self
            .in_aliases
            .then(|| instance.aliases.get(&self.text))
            .flatten();
        let id = by_alias.map_or(self.text.as_str(), |alias| alias.key.as_str());
        among
            .iter()
            .find(|key| key.id.eq_ignore_ascii_case(id))
            .copied()
    }

    /// Renders what the answer's metadata says of the search.
    pub fn echo(&self) -> Value {
        let mut scopes = Vec::new();
        if self.names() {
            scopes.push("name");
        }
        if self.aliases() {
            scopes.push("alias");
        }
        json!({ "query": self.text, "scopes": scopes, "not": self.negated, "exact": self.exact })
    }
}

/// The refusal for a search over too many keys.
pub fn too_broad() -> Refusal {
    Refusal::because(
        400,
        "KEY_SEARCH_TOO_BROAD",
        "The searchable space is larger than 5000 keys.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_scopes_come_off_in_any_order() {
        let search = Search::parse("not:exact:alias:Foo");
        assert!(search.negated && search.exact && search.in_aliases && !search.in_names);
        assert_eq!(search.text, "Foo");
        assert_eq!(Search::parse("exact:escape:not:foo").text, "not:foo");
        assert_eq!(Search::parse("odd:foo").text, "odd:foo");
        assert_eq!(Search::parse("foo,").text, "foo");
    }
}
