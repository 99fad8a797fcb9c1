//! Judges every version of every Secret. Plain values: a history goes in, complaints come out.
//!
//! The law. A version that changes a Secret's data must be, whole and exactly, what a
//! KeyProtectKey that names the Secret makes of payloads that the service held for its keys: spec
//! and payloads each as they were at some moment of the window. The window ends when the version
//! is seen, and begins at the last rest: the last moment when all faults were lifted, no process
//! stood still, and every Secret was found to hold what the service held. So a late writer may
//! write what was true when it read it, but nothing that was over before the last rest; with one
//! exception: a key is found by its name in lists alone, so while lists lack keys, an object that
//! never had a key of that name may get one that was the newest earlier. A Secret
//! that its owner gives up, to stay, takes that object's data along too: the operator cannot
//! change its marks alone. An edit
//! by the harness itself is not judged, but what it leads to is. A Secret ends only with
//! evidence: its object is gone or names another target, its namespace is being deleted, the
//! harness deleted it, or its object's revocationPolicy is Delete and its key was deleted. What is not the operator's is neither changed nor deleted.
//! No status speaks of a Secret that was not there before, and nothing but a Secret's data tells a
//! payload.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::history::{self, Kind, Version, Which};
use crate::leaks;
use crate::ledger::{At, Ledger, Named};
use crate::want::{self, Data};

/// The label that says what the operator may touch.
pub(crate) const TARGET_LABEL: &str = "keyprotect.dev/target";
/// The label of Secrets that the harness made as somebody else.
pub(crate) const FOREIGN_LABEL: &str = "faults.example/foreign";

/// What the harness was about to do to a Secret, noted before it did it.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) at: At,
    pub(crate) act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Delete it.
    Delete,
    /// Set an entry, or remove it.
    Edit(String, Option<Vec<u8>>),
    /// Take the operator's label off.
    Release,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Versions are missing: the recorder is not to be believed.
    Gap,
    /// A Secret without data.
    Empty,
    /// Data that nothing in the window makes.
    Data(String),
    /// It ended without evidence.
    Deleted,
    /// It lost the operator's label.
    Unlabelled,
    /// It is not the operator's and was changed or deleted.
    Foreign,
    /// A payload stands where none may: in a status, an Event, or a Secret's metadata.
    Told,
    /// Status says that a Secret is there which was never seen.
    Early,
}

#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) which: Which,
    pub(crate) revision: u64,
    pub(crate) wrong: Wrong,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Which {
            namespace, name, ..
        } = &self.which;
        let kind = self.which.kind;
        write!(
            f,
            "{kind:?} {namespace}/{name}, version {}: ",
            self.revision
        )?;
        match &self.wrong {
            Wrong::Gap => f.write_str("versions are missing from the record"),
            Wrong::Empty => f.write_str("it has no data"),
            Wrong::Data(what) => write!(f, "its data are not what they may be: {what}"),
            Wrong::Deleted => f.write_str("it was deleted without evidence"),
            Wrong::Unlabelled => f.write_str("it lost the operator's label"),
            Wrong::Foreign => f.write_str("it is not the operator's and was touched"),
            Wrong::Told => f.write_str("it tells a payload outside of a Secret's data"),
            Wrong::Early => f.write_str("its status speaks of a Secret before there was one"),
        }
    }
}

/// An object as it was for a while.
#[derive(Clone, Debug)]
struct Claim {
    object: Value,
    /// The revision at which it was over; none while it holds.
    until: Option<u64>,
}

/// What is known of the history so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    present: BTreeMap<Which, Version>,
    /// What objects were since the last rest, and are.
    claims: BTreeMap<Which, Vec<Claim>>,
    /// When the window begins.
    rest: At,
    /// UID and resourceVersion of every Secret's every version.
    seen: BTreeSet<(String, String)>,
    /// Intents that have explained something already.
    spent: Vec<bool>,
    pub(crate) judged: usize,
}

impl Judge {
    /// Judges what came after what was judged before. The ledger and the intents must be complete
    /// up to now.
    pub(crate) fn hear(
        &mut self,
        versions: &[Version],
        ledger: &Ledger,
        intents: &[Intent],
    ) -> Vec<Complaint> {
        self.spent.resize(intents.len(), false);
        let mut complaints = Vec::new();
        for version in versions {
            let wrong = self
                .is_gap(version)
                .then_some(Wrong::Gap)
                .or_else(|| is_told(version, ledger).then_some(Wrong::Told))
                .or_else(|| match version.which.kind {
                    Kind::Secret => self.judge(version, ledger, intents),
                    Kind::Key => self.is_early(version).then_some(Wrong::Early),
                    Kind::Instance | Kind::Namespace | Kind::Event | Kind::Lease => None,
                });
            complaints.extend(wrong.map(|wrong| Complaint {
                which: version.which.clone(),
                revision: version.revision,
                wrong,
            }));
            self.note(version);
        }
        complaints
    }

    /// Everything was found in order at this time: what was over by then counts no more.
    pub(crate) fn rest(&mut self, at: At) {
        self.rest = at;
        for claims in self.claims.values_mut() {
            claims.retain(|claim| claim.until.is_none());
        }
        self.claims.retain(|_, claims| !claims.is_empty());
    }

    fn note(&mut self, version: &Version) {
        if version.which.kind == Kind::Key {
            let claims = self.claims.entry(version.which.clone()).or_default();
            if let Some(last) = claims.last_mut() {
                last.until.get_or_insert(version.revision);
            }
            claims.extend(version.object.clone().map(|object| Claim {
                object,
                until: None,
            }));
        }
        if version.which.kind == Kind::Secret {
            let key = (version.uid().to_owned(), version.revision.to_string());
            self.seen.insert(key);
        }
        if version.object.is_some() {
            self.present.insert(version.which.clone(), version.clone());
        } else {
            self.present.remove(&version.which);
        }
    }

    /// etcd counts the versions of what it holds.
    fn is_gap(&self, version: &Version) -> bool {
        let known = self.present.get(&version.which).map(|known| known.count);
        match (&version.object, known) {
            (Some(_), None) => version.count != 1,
            (Some(_), Some(known)) => version.count != known + 1,
            (None, known) => known.is_none(),
        }
    }

    fn judge(&mut self, version: &Version, ledger: &Ledger, intents: &[Intent]) -> Option<Wrong> {
        self.judged += 1;
        let before = self.present.get(&version.which).cloned();
        let before = before.as_ref().and_then(|before| before.object.as_ref());
        let Some(now) = &version.object else {
            return self.judge_end(version, before, ledger, intents);
        };
        if !is_owned(now) {
            return self.judge_foreign(version, before, now, intents);
        }
        let data = history::data(now);
        if let Some(before) = before {
            if !is_owned(before) {
                return Some(Wrong::Foreign);
            }
            let old = history::data(before);
            if old == data || self.is_edit(version, &old, &data, intents) {
                return None;
            }
        }
        if data.is_empty() || data.values().any(Vec::is_empty) {
            return Some(Wrong::Empty);
        }
        let namespace = &version.which.namespace;
        let owners = before.map(history::owners).unwrap_or_default();
        let claims = self.claims.iter();
        let mut claims = claims
            .filter(|(which, _)| which.namespace == *namespace)
            .flat_map(|(_, claims)| claims)
            .filter(|claim| {
                want::target(&claim.object) == version.which.name
                    || (want::stays(&claim.object) && owners.contains(&history::uid(&claim.object)))
            });
        let window = (self.rest, version.at);
        if claims.any(|claim| makes(&claim.object, &data, ledger, window)) {
            return None;
        }
        let said: Vec<String> = data
            .iter()
            .map(|(entry, value)| format!("{entry}: {}", ledger.describe(value)))
            .collect();
        Some(Wrong::Data(said.join(", ")))
    }

    fn judge_foreign(
        &mut self,
        version: &Version,
        before: Option<&Value>,
        now: &Value,
        intents: &[Intent],
    ) -> Option<Wrong> {
        match before {
            None if history::label(now, FOREIGN_LABEL).is_some() => None,
            // Other people's Secrets outside of the harness's namespaces, and accounts' tokens.
            None => {
                (!self.claims.is_empty() && self.is_claimed(version)).then_some(Wrong::Unlabelled)
            }
            Some(before) if is_owned(before) => {
                let released = self.spend(version, intents, |act| *act == Act::Release);
                (!released).then_some(Wrong::Unlabelled)
            }
            Some(before) => {
                let (old, new) = (history::data(before), history::data(now));
                let explained = self.is_edit(version, &old, &new, intents);
                (history::label(before, FOREIGN_LABEL).is_some() && !explained)
                    .then_some(Wrong::Foreign)
            }
        }
    }

    fn judge_end(
        &mut self,
        version: &Version,
        before: Option<&Value>,
        ledger: &Ledger,
        intents: &[Intent],
    ) -> Option<Wrong> {
        let before = before?;
        let terminating = Which::new(Kind::Namespace, "", &version.which.namespace);
        let terminating = self.present.get(&terminating).is_none_or(|namespace| {
            let object = namespace.object.as_ref();
            object.is_some_and(|object| !object["metadata"]["deletionTimestamp"].is_null())
        });
        if terminating || self.spend(version, intents, |act| *act == Act::Delete) {
            return None;
        }
        if !is_owned(before) {
            return Some(Wrong::Foreign);
        }
        let owners = history::owners(before);
        let over = owners.iter().all(|uid| {
            let alive = self
                .present
                .values()
                .find(|known| known.which.kind == Kind::Key && known.uid() == *uid);
            alive
                .and_then(|known| known.object.as_ref())
                .is_none_or(|object| {
                    !object["metadata"]["deletionTimestamp"].is_null()
                        || want::target(object) != version.which.name
                })
        });
        let revoked = self.is_revoked(version, &owners, ledger);
        ((owners.is_empty() || !over) && !revoked).then_some(Wrong::Deleted)
    }

    /// Whether, in the window, an object of the Secret's asked for its end with the key's, and a key
    /// that the Secret was made of was deleted.
    fn is_revoked(&self, version: &Version, owners: &[&str], ledger: &Ledger) -> bool {
        let claims = self.claims.iter();
        let mut claims = claims
            .filter(|(which, _)| which.namespace == version.which.namespace)
            .flat_map(|(_, claims)| claims)
            .map(|claim| &claim.object)
            .filter(|object| {
                let names = want::target(object) == version.which.name;
                names || owners.contains(&history::uid(object))
            });
        claims.any(|object| {
            let keys = object["status"]["keys"].as_array();
            let ids = keys.into_iter().flatten();
            let mut ids = ids.filter_map(|key| key["id"].as_str());
            object["spec"]["revocationPolicy"] == "Delete"
                && ids.any(|id| ledger.was_deleted(id, self.rest, version.at))
        })
    }

    /// Ready never precedes the data.
    fn is_early(&self, version: &Version) -> bool {
        let Some(object) = &version.object else {
            return false;
        };
        let secret = &object["status"]["secret"];
        let text = |field: &str| secret[field].as_str().map(str::to_owned);
        let written = text("uid").zip(text("resourceVersion"));
        written.is_some_and(|written| !self.seen.contains(&written))
    }

    fn is_claimed(&self, version: &Version) -> bool {
        self.claims.iter().any(|(which, claims)| {
            which.namespace == version.which.namespace
                && claims
                    .iter()
                    .any(|claim| want::target(&claim.object) == version.which.name)
        })
    }

    fn is_edit(&mut self, version: &Version, old: &Data, new: &Data, intents: &[Intent]) -> bool {
        self.spend(version, intents, |act| match act {
            Act::Edit(entry, value) => {
                let mut edited = old.clone();
                match value {
                    Some(value) => edited.insert(entry.clone(), value.clone()),
                    None => edited.remove(entry),
                };
                edited == *new
            }
            Act::Delete | Act::Release => false,
        })
    }

    /// Finds an intent that explains a version, and lets it explain no other.
    fn spend(
        &mut self,
        version: &Version,
        intents: &[Intent],
        fits: impl Fn(&Act) -> bool,
    ) -> bool {
        let found = intents.iter().enumerate().find(|(at, intent)| {
            !self.spent[*at]
                && intent.namespace == version.which.namespace
                && intent.name == version.which.name
                && intent.at <= version.at
                && fits(&intent.act)
        });
        if let Some((at, _)) = found {
            self.spent[at] = true;
        }
        found.is_some()
    }
}

/// Whether a version tells a payload where none may stand.
fn is_told(version: &Version, ledger: &Ledger) -> bool {
    let Some(object) = &version.object else {
        return false;
    };
    let text = match version.which.kind {
        Kind::Secret => object["metadata"].to_string(),
        _ => object.to_string(),
    };
    leaks::find(&text, ledger.passwords()).is_some()
}

pub(crate) fn is_owned(secret: &Value) -> bool {
    history::label(secret, TARGET_LABEL) == Some("owned")
}

/// Whether an object names a key by its name, and has none of that name to tell older from newer by.
fn is_misled(object: &Value, source: &Named) -> bool {
    let Named::Name { name, ring } = source else {
        return false;
    };
    let keys = object["status"]["keys"].as_array();
    let mut keys = keys.into_iter().flatten();
    !keys.any(|key| key["name"] == **name && key["keyRing"] == **ring)
}

/// Whether an object makes these data of payloads that its keys had in the window.
fn makes(object: &Value, data: &Data, ledger: &Ledger, (from, to): (At, At)) -> bool {
    let instance = want::instance(object);
    let mut choices: Vec<BTreeMap<Named, &str>> = vec![BTreeMap::new()];
    for source in want::sources(object) {
        let since = if is_misled(object, &source) && ledger.lists_were_partial(from, to) {
            At::MIN
        } else {
            from
        };
        let keys = ledger.between(instance, &source, since, to);
        choices = choices
            .iter()
            .flat_map(|choice| {
                let source = &source;
                keys.iter().map(move |key| {
                    let mut choice = choice.clone();
                    choice.insert(source.clone(), *key);
                    choice
                })
            })
            .collect();
    }
    choices.iter().any(|choice| {
        let made = want::data(object, |named| ledger.payload(choice.get(named)?));
        made.as_ref() == Some(data)
    })
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
