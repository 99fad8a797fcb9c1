//! What is known of an instance's keys: the last listing, and the single reads since. A row that
//! is missing, or lacks a field that matters, is a question, never an answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::access::{Grant, Question, Verdict};
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::{KeyMetadata, KeyState};
use crate::domain::service::reference::{KeyName, KeyReference};

/// One listing of an instance's standard keys.
#[derive(Clone, Debug)]
pub struct Catalogue {
    keys: Arc<Keys>,
    listed_at: Timestamp,
}

/// What a listing shows: shared by all listings in a row that show the same.
#[derive(Debug)]
struct Keys {
    /// Each in a place of its own: tables grow by doubling, and would hold room for as many more.
    rows: HashMap<KeyId, Box<KeyMetadata>>,
    by_alias: HashMap<String, Vec<KeyId>>,
    by_name: HashMap<String, Vec<KeyId>>,
    /// Counted once, so that nobody has to go through a million rows for it.
    by_state: HashMap<Option<KeyState>, usize>,
}

/// Where a look-up over catalogue ∩ grant ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LookUp<'a> {
    /// This key, which the grant allows.
    Found(&'a KeyMetadata),
    /// No row that the grant is known to allow: to be asked singly.
    Missing,
}

/// What differs between two listings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that came, went or changed.
    pub ids: HashSet<KeyId>,
    /// Aliases that came, went or moved.
    pub aliases: HashSet<String>,
    /// Names whose keys came, went or changed.
    pub names: HashSet<String>,
}

impl Changes {
    /// Tells whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Tells whether a reference, or the key that it last named, is among what changed.
    #[must_use]
    pub fn concern(&self, reference: &KeyReference, last: Option<&KeyId>) -> bool {
        last.is_some_and(|id| self.ids.contains(id))
            || match &reference.name {
                KeyName::Id(id) => self.ids.contains(id),
                KeyName::Alias(alias) => self.aliases.contains(alias.as_str()),
                KeyName::Name(name) => self.names.contains(name),
            }
    }
}

impl Catalogue {
    /// Makes a catalogue of a whole listing that was begun at `listed_at`.
    #[must_use]
    pub fn new(rows: Vec<KeyMetadata>, listed_at: Timestamp) -> Self {
        let mut keys = Keys {
            rows: HashMap::with_capacity(rows.len()),
            by_alias: HashMap::new(),
            by_name: HashMap::new(),
            by_state: HashMap::new(),
        };
        for row in rows {
            // A key may be on two pages when others were deleted meanwhile: the later row holds.
            keys.rows.insert(row.id.clone(), Box::new(row));
        }
        for row in keys.rows.values() {
            *keys.by_state.entry(row.known_state()).or_default() += 1;
        }
        let mut oldest_first: Vec<&KeyMetadata> = keys.rows.values().map(|row| &**row).collect();
        oldest_first.sort_by(|a, b| (a.creation_date, &a.id).cmp(&(b.creation_date, &b.id)));
        for row in oldest_first {
            for alias in row.aliases.iter().flatten() {
                // While an alias moves, two rows may carry it for some minutes.
                note(&mut keys.by_alias, alias, &row.id);
            }
            if let Some(name) = &row.name {
                note(&mut keys.by_name, name, &row.id);
            }
        }
        Self {
            keys: Arc::new(keys),
            listed_at,
        }
    }

    /// The same keys, as a listing shows them that was begun at `listed_at`.
    #[must_use]
    pub fn confirmed(&self, listed_at: Timestamp) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            listed_at,
        }
    }

    /// When the listing was begun: what it says was true then or later.
    #[must_use]
    pub const fn listed_at(&self) -> Timestamp {
        self.listed_at
    }

    /// How many keys it lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.rows.len()
    }

    /// How many of the keys are in a state, or in none that is known.
    #[must_use]
    pub fn in_state(&self, state: Option<KeyState>) -> usize {
        self.keys.by_state.get(&state).copied().unwrap_or_default()
    }

    /// Tells whether it lists no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.rows.is_empty()
    }

    /// Finds a row by ID, whoever may see it: for keys that an object has used before.
    #[must_use]
    pub fn row(&self, id: &KeyId) -> Option<&KeyMetadata> {
        self.keys.rows.get(id).map(|row| &**row)
    }

    /// Finds the key that a reference names among those that the grant allows.
    #[must_use]
    pub fn look_up(&self, reference: &KeyReference, grant: &Grant) -> LookUp<'_> {
        let usable =
            |row: &&KeyMetadata| in_ring(row, reference) && grant.verdict(row) == Verdict::Allowed;
        // The newest of those that the grant allows: a row outside it must not show by hiding one
        // that is inside.
        let newest = |ids: Option<&Vec<KeyId>>, fits: fn(&KeyMetadata) -> bool| {
            ids.into_iter()
                .flatten()
                .filter_map(|id| self.row(id))
                .filter(usable)
                .filter(|row| fits(row))
                .max_by(|a, b| (a.creation_date, &a.id).cmp(&(b.creation_date, &b.id)))
        };
        let row = match &reference.name {
            KeyName::Id(id) => self.row(id).filter(usable),
            KeyName::Alias(alias) => newest(self.keys.by_alias.get(alias.as_str()), |_| true),
            KeyName::Name(name) => {
                newest(self.keys.by_name.get(name), KeyMetadata::is_active_standard)
            }
        };
        row.map_or(LookUp::Missing, LookUp::Found)
    }

    /// Lists what differs in a newer listing.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Changes {
        let mut changes = Changes::default();
        for (id, row) in &newer.keys.rows {
            match self.row(id) {
                Some(old) if *old == **row => {}
                old => changes.note(id, [Some(row), old]),
            }
        }
        for (id, row) in &self.keys.rows {
            if !newer.keys.rows.contains_key(id) {
                changes.note(id, [Some(row), None]);
            }
        }
        changes
    }
}

/// Notes who has a name. Nearly always that is one key, and room for more costs memory.
fn note(names: &mut HashMap<String, Vec<KeyId>>, name: &str, id: &KeyId) {
    let ids = names.entry(name.to_owned());
    ids.or_insert_with(|| Vec::with_capacity(1))
        .push(id.clone());
}

impl Changes {
    fn note(&mut self, id: &KeyId, rows: [Option<&KeyMetadata>; 2]) {
        self.ids.insert(id.clone());
        for row in rows.into_iter().flatten() {
            self.aliases.extend(row.aliases.iter().flatten().cloned());
            self.names.extend(row.name.clone());
        }
    }
}

fn in_ring(row: &KeyMetadata, reference: &KeyReference) -> bool {
    match (&reference.ring, &row.key_ring) {
        (None, _) => true,
        (Some(asked), Some(ring)) => asked.as_str() == ring,
        // A missing ring is unknown, not `default`.
        (Some(_), None) => false,
    }
}

/// What a single read said, and when it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The key's metadata, or why it could not be learnt.
    pub result: Result<KeyMetadata, FetchFailure>,
    /// When it was asked.
    pub asked_at: Timestamp,
}

/// How the last attempt at a listing ended.
#[derive(Clone, Debug, Default)]
pub enum Listing {
    /// None was made yet.
    #[default]
    None,
    /// It failed.
    Failed {
        /// Why.
        failure: FetchFailure,
        /// When the attempt was begun.
        at: Timestamp,
        /// Since when no listing succeeded.
        since: Timestamp,
        /// The last one that succeeded: old, but not wrong.
        last: Option<Arc<Catalogue>>,
    },
    /// It succeeded.
    Fresh(Arc<Catalogue>),
    /// None is made: few keys of a large instance are watched, and each is read by itself.
    Singly {
        /// When that was found last.
        at: Timestamp,
        /// How many keys the instance has at least.
        rows: usize,
    },
}

impl Listing {
    /// The newest listing there is, of whatever age.
    #[must_use]
    pub fn catalogue(&self) -> Option<&Catalogue> {
        match self {
            Self::None | Self::Singly { .. } => None,
            Self::Failed { last, .. } => last.as_deref(),
            Self::Fresh(catalogue) => Some(catalogue),
        }
    }

    /// The same, to be kept.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Catalogue>> {
        match self {
            Self::None | Self::Singly { .. } => None,
            Self::Failed { last, .. } => last.clone(),
            Self::Fresh(catalogue) => Some(Arc::clone(catalogue)),
        }
    }

    /// The newest listing, unless the service has refused one since: it is no word about now
    /// then, and keys are asked singly.
    #[must_use]
    pub fn in_force(&self) -> Option<&Catalogue> {
        self.catalogue().filter(|_| !self.is_refused())
    }

    /// Whether the service refused the last attempt.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Failed { failure, .. } if failure.kind == FailureKind::Denied)
    }

    /// When the last attempt was begun.
    #[must_use]
    pub fn attempted_at(&self) -> Option<Timestamp> {
        match self {
            Self::None => None,
            Self::Failed { at, .. } | Self::Singly { at, .. } => Some(*at),
            Self::Fresh(catalogue) => Some(catalogue.listed_at),
        }
    }
}

/// Everything known of an instance's keys at one moment.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The listing.
    pub listing: Listing,
    /// Single reads since.
    pub answers: HashMap<Question, Answer>,
    /// The key that a single read found last, whoever asked for it, and when it was asked for.
    pub last_found: Option<(KeyId, Timestamp)>,
}

impl Knowledge {
    /// When, of what is known, a key other than this one was last asked for and found.
    #[must_use]
    pub fn other_found_at(&self, missing: &KeyId) -> Option<Timestamp> {
        let listed = match &self.listing {
            Listing::Fresh(catalogue) => {
                let others = catalogue.len() - usize::from(catalogue.row(missing).is_some());
                (others > 0).then(|| catalogue.listed_at())
            }
            Listing::None | Listing::Failed { .. } | Listing::Singly { .. } => None,
        };
        let answers = self.answers.values();
        let found = answers.filter(|answer| {
            let found = answer.result.as_ref();
            found.is_ok_and(|found| found.id != *missing)
        });
        let last = self.last_found.iter();
        let last = last.filter(|(found, _)| found != missing);
        found
            .map(|answer| answer.asked_at)
            .chain(last.map(|(_, at)| *at))
            .chain(listed)
            .max()
    }
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
