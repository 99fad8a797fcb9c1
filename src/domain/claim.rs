//! Which of several objects has a target or an entry of it: the older one, decided from the
//! objects alone, so that it holds whatever can be seen of Secrets.

use std::collections::BTreeSet;

use crate::api::key::{CreationPolicy, KeyProtectKey};

/// What an object wants of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// All of it (creationPolicy Owner).
    Whole,
    /// Entries of a Secret that is somebody else's (creationPolicy Merge).
    Entries(BTreeSet<String>),
    /// Such entries, of which only a payload tells the names.
    SomeEntries,
}

/// An older object that wants what another one wants too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its name.
    pub name: String,
    /// What both want.
    pub over: Over,
}

/// What two objects both want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The whole Secret.
    Target,
    /// An entry; no name, where only a payload tells which.
    Entry(Option<String>),
}

/// What an object wants of its target.
#[must_use]
pub fn of(object: &KeyProtectKey) -> Claim {
    let target = object.spec.target.as_ref();
    let policy = target.and_then(|target| target.creation_policy);
    match (policy.unwrap_or_default(), target) {
        (CreationPolicy::Owner, _) => Claim::Whole,
        (CreationPolicy::Merge, Some(target)) if target.expand.is_some() => Claim::SomeEntries,
        (CreationPolicy::Merge, target) => {
            let data = target.and_then(|target| target.data.as_ref());
            let names = data.map(|data| data.iter().map(|entry| entry.name.clone()).collect());
            Claim::Entries(names.unwrap_or_else(|| BTreeSet::from(["key".to_owned()])))
        }
    }
}

impl Claim {
    /// What both want of one Secret. One that wants it whole and one that wants entries are no
    /// rivals: the Secret's own label says which of the two may have what it asks for.
    #[must_use]
    pub fn conflict(&self, other: &Self) -> Option<Over> {
        match (self, other) {
            (Self::Whole, Self::Whole) => Some(Over::Target),
            (Self::Whole, _) | (_, Self::Whole) => None,
            (Self::Entries(ours), Self::Entries(theirs)) => ours
                .intersection(theirs)
                .next()
                .map(|entry| Over::Entry(Some(entry.clone()))),
            (Self::SomeEntries, _) | (_, Self::SomeEntries) => Some(Over::Entry(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(target: &serde_json::Value) -> Claim {
        let object = json!({
            "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
            "metadata": {"name": "x"}, "spec": {"target": target},
        });
        of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn claims_meet_where_both_want_the_same() {
        let whole = || claim(&json!({}));
        let named = |names: &[&str]| {
            let data: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
            claim(&json!({"creationPolicy": "Merge", "data": data}))
        };
        let default = || claim(&json!({"creationPolicy": "Merge"}));
        let expanded = || claim(&json!({"creationPolicy": "Merge", "expand": "JSON"}));
        let entry = |name: &str| Some(Over::Entry(Some(name.to_owned())));
        let cases = [
            (whole(), whole(), Some(Over::Target)),
            (whole(), default(), None),
            (named(&["a", "b"]), named(&["b", "c"]), entry("b")),
            (named(&["a"]), named(&["b"]), None),
            (default(), named(&["key"]), entry("key")),
            (expanded(), named(&["a"]), Some(Over::Entry(None))),
            (expanded(), expanded(), Some(Over::Entry(None))),
            (expanded(), whole(), None),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.conflict(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.conflict(&one), expected, "{other:?} {one:?}");
        }
    }
}
