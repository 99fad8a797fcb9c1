//! What the service held, and when: the truth that Secrets are judged by. Plain values.

use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds since the run began.
pub(crate) type At = u64;

/// How an object names a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Id(String),
    Alias(String),
    Name { name: String, ring: String },
}

/// For how long a name stood for a key.
#[derive(Clone, Debug)]
struct Era {
    key: String,
    /// No earlier than this, since the change was ordered then.
    from: At,
    /// No later than this, since the next change was done by then.
    until: At,
}

/// Everything that the service ever held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Payloads by key ID, in the order in which they were made.
    payloads: BTreeMap<String, (usize, Vec<u8>)>,
    passwords: BTreeSet<String>,
    eras: BTreeMap<(String, Named), Vec<Era>>,
    /// Keys that were deleted: from when that was ordered until their restoring was done.
    deleted: BTreeMap<String, Vec<(At, At)>>,
    /// When the service began to show lists that lack keys.
    partial_lists: Vec<At>,
}

impl Ledger {
    /// Notes a key, which from then on is named by its ID.
    pub(crate) fn made(&mut self, instance: &str, id: &str, payload: &[u8], before: At) {
        let number = self.payloads.len();
        let fields = serde_json::from_slice::<serde_json::Value>(payload);
        let fields = fields.unwrap_or_default();
        self.passwords
            .extend(fields["password"].as_str().map(str::to_owned));
        self.payloads
            .insert(id.to_owned(), (number, payload.to_vec()));
        self.stands_for(instance, &Named::Id(id.to_owned()), id, (before, before));
    }

    /// Notes that a name stands for a key, by a change that was ordered and done at these times.
    pub(crate) fn stands_for(
        &mut self,
        instance: &str,
        named: &Named,
        id: &str,
        (before, done): (At, At),
    ) {
        let eras = self
            .eras
            .entry((instance.to_owned(), named.clone()))
            .or_default();
        if let Some(last) = eras.last_mut() {
            last.until = done;
        }
        eras.push(Era {
            key: id.to_owned(),
            from: before,
            until: At::MAX,
        });
    }

    /// Notes that a key is about to be deleted.
    pub(crate) fn deleted(&mut self, id: &str, before: At) {
        let spans = self.deleted.entry(id.to_owned()).or_default();
        spans.push((before, At::MAX));
    }

    /// Notes that a key was restored.
    pub(crate) fn restored(&mut self, id: &str, done: At) {
        let last = self.deleted.get_mut(id).and_then(|spans| spans.last_mut());
        if let Some((_, until)) = last {
            *until = done;
        }
    }

    /// Whether a key was deleted at some moment between two.
    pub(crate) fn was_deleted(&self, id: &str, from: At, to: At) -> bool {
        let mut spans = self.deleted.get(id).into_iter().flatten();
        spans.any(|(since, until)| *since <= to && *until >= from)
    }

    /// The keys that a name stood for at some moment between two.
    pub(crate) fn between(&self, instance: &str, named: &Named, from: At, to: At) -> Vec<&str> {
        let eras = self.eras.get(&(instance.to_owned(), named.clone()));
        let held = eras.into_iter().flatten();
        held.filter(|era| era.from <= to && era.until >= from)
            .map(|era| &*era.key)
            .collect()
    }

    /// Notes that lists are about to lack keys, until the next rest at the latest.
    pub(crate) fn lists_are_partial(&mut self, before: At) {
        self.partial_lists.push(before);
    }

    /// Whether lists began to lack keys at some moment between two.
    pub(crate) fn lists_were_partial(&self, from: At, to: At) -> bool {
        let mut times = self.partial_lists.iter();
        times.any(|at| (from..=to).contains(at))
    }

    /// The key that a name stands for.
    pub(crate) fn now(&self, instance: &str, named: &Named) -> Option<&str> {
        let eras = self.eras.get(&(instance.to_owned(), named.clone()))?;
        eras.last().map(|era| &*era.key)
    }

    pub(crate) fn payload(&self, id: &str) -> Option<&[u8]> {
        self.payloads.get(id).map(|(_, payload)| &**payload)
    }

    /// What tells every payload apart.
    pub(crate) fn passwords(&self) -> &BTreeSet<String> {
        &self.passwords
    }

    /// Says what a value is without saying it.
    pub(crate) fn describe(&self, value: &[u8]) -> String {
        let whole = self
            .payloads
            .iter()
            .find(|(_, (_, payload))| payload == value);
        if let Some((id, (number, _))) = whole {
            return format!("payload {number} ({id})");
        }
        let text = String::from_utf8_lossy(value);
        let part = self.payloads.iter().find(|(_, (_, payload))| {
            let payload = String::from_utf8_lossy(payload);
            !value.is_empty() && (payload.contains(&*text) || text.contains(&*payload))
        });
        match part {
            Some((id, (number, _))) => {
                format!("{} bytes of or around payload {number} ({id})", value.len())
            }
            None => format!("{} other bytes", value.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_stood_for_is_known_for_every_span() {
        let mut ledger = Ledger::default();
        let alias = Named::Alias("a".to_owned());
        ledger.made("i", "k1", b"1", 0);
        ledger.made("i", "k2", b"2", 90);
        ledger.stands_for("i", &alias, "k1", (0, 5));
        ledger.stands_for("i", &alias, "k2", (100, 110));
        for (from, to, keys) in [
            (0, 50, &["k1"][..]),
            (0, 100, &["k1", "k2"]),
            (105, 200, &["k1", "k2"]),
            (111, 200, &["k2"]),
        ] {
            assert_eq!(ledger.between("i", &alias, from, to), keys, "{from} {to}");
        }
        assert_eq!(ledger.now("i", &alias), Some("k2"));
        assert!(ledger.between("other", &alias, 0, 500).is_empty());
    }

    #[test]
    fn a_key_is_deleted_until_it_is_restored() {
        let mut ledger = Ledger::default();
        ledger.deleted("k", 10);
        assert!(ledger.was_deleted("k", 0, 10) && !ledger.was_deleted("k", 0, 9));
        assert!(ledger.was_deleted("k", 50, 60) && !ledger.was_deleted("other", 50, 60));
        ledger.restored("k", 20);
        assert!(ledger.was_deleted("k", 20, 60) && !ledger.was_deleted("k", 21, 60));
    }

    #[test]
    fn a_value_is_described_without_being_told() {
        let mut ledger = Ledger::default();
        ledger.made("i", "k1", b"a long secret", 0);
        for value in [
            &b"a long secret"[..],
            b"a long",
            b"x-a long secret",
            b"else",
        ] {
            let said = ledger.describe(value);
            assert!(!said.contains("long") && !said.contains("else"), "{said}");
        }
        assert!(ledger.describe(b"a long").contains("bytes of or around"));
        assert!(ledger.describe(b"").contains("0 other bytes"));
    }
}
