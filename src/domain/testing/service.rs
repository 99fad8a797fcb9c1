//! Key Protect as an instance of it answers, with the ways in which it lies or fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::failure;
use crate::domain::access::Question;
use crate::domain::look::hindrance::PayloadNeed;
use crate::domain::service::catalogue::{Answer, Catalogue, Listing};
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
use crate::domain::service::ids::KeyId;
use crate::domain::service::material::{KeyMaterial, Payload};
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::KeyName;

/// An instance's keys, and its moods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    /// Keys by ID.
    pub(crate) keys: BTreeMap<KeyId, KeyMetadata>,
    /// Payloads that are not the usual ones.
    pub(crate) payloads: BTreeMap<KeyId, Vec<u8>>,
    /// Keys that lists leave out.
    pub(crate) unlisted: BTreeSet<KeyId>,
    /// Lists show these rows, whatever is so by now.
    pub(crate) lists_stale: Option<Vec<KeyMetadata>>,
    /// So many keys beside these that none is listed unless one is named by name.
    pub(crate) singly: bool,
    /// No answer tells these of any key, though it goes by them.
    pub(crate) omits_rings: bool,
    pub(crate) omits_aliases: bool,
    /// Lists fail so.
    pub(crate) lists_fail: Option<FailureKind>,
    /// Single reads of metadata fail so.
    pub(crate) reads_fail: Option<FailureKind>,
    /// Reads of payloads fail so.
    pub(crate) payloads_fail: Option<FailureKind>,
    /// When they are to be tried again, as the gate says where it answers by itself.
    pub(crate) payloads_wait: Option<std::time::Duration>,
    /// Payloads are missing from answers.
    pub(crate) payloads_late: bool,
    /// Requests so far: listings, single reads, reads of payloads.
    pub(crate) requests: [usize; 3],
}

impl Service {
    pub(crate) fn put(&mut self, key: KeyMetadata) {
        self.keys.insert(key.id.clone(), key);
    }

    /// Changes a key.
    pub(crate) fn change(&mut self, id: &KeyId, change: impl FnOnce(&mut KeyMetadata)) {
        self.keys.get_mut(id).map(change).unwrap();
    }

    /// Takes an alias from whichever key has it.
    pub(crate) fn unalias(&mut self, alias: &str) {
        for key in self.keys.values_mut() {
            key.aliases
                .iter_mut()
                .for_each(|aliases| aliases.retain(|a| a != alias));
        }
    }

    /// Moves an alias.
    pub(crate) fn move_alias(&mut self, alias: &str, to: &KeyId) {
        self.unalias(alias);
        self.change(to, |key| {
            key.aliases.get_or_insert_default().push(alias.to_owned());
        });
    }

    /// What the payload of a key is.
    pub(crate) fn payload(&self, id: &KeyId) -> Vec<u8> {
        self.payloads
            .get(id)
            .cloned()
            .unwrap_or_else(|| format!("payload of {id}").into_bytes())
    }

    pub(crate) fn list(&mut self, now: Timestamp, before: &Listing) -> Listing {
        self.requests[0] += 1;
        if let Some(kind) = self.lists_fail {
            let last = match before {
                Listing::None | Listing::Singly { .. } => None,
                Listing::Failed { last, .. } => last.clone(),
                Listing::Fresh(catalogue) => Some(catalogue.clone()),
            };
            let failure = failure(Operation::ListKeys, kind);
            return Listing::Failed {
                failure,
                at: now,
                since: now,
                last,
            };
        }
        let listed = |key: &&KeyMetadata| {
            key.extractable != Some(false) && !key.is_deleted() && !self.unlisted.contains(&key.id)
        };
        let now_rows = || self.keys.values().cloned().collect();
        let rows: Vec<KeyMetadata> = self.lists_stale.clone().unwrap_or_else(now_rows);
        let rows = rows.iter().filter(listed);
        let rows = rows.cloned().map(|key| self.told(key)).collect();
        Listing::Fresh(Arc::new(Catalogue::new(rows, now)))
    }

    fn told(&self, mut key: KeyMetadata) -> KeyMetadata {
        key.key_ring = key.key_ring.filter(|_| !self.omits_rings);
        key.aliases = key.aliases.filter(|_| !self.omits_aliases);
        key
    }

    pub(crate) fn answer(&mut self, question: &Question, now: Timestamp) -> Answer {
        self.requests[1] += 1;
        Answer {
            result: self.metadata(question),
            asked_at: now,
        }
    }

    fn metadata(&self, question: &Question) -> Result<KeyMetadata, FetchFailure> {
        if let Some(kind) = self.reads_fail {
            return Err(failure(Operation::GetKeyMetadata, kind));
        }
        let named = |key: &&KeyMetadata| match &question.key {
            KeyName::Id(id) => key.id == *id,
            KeyName::Alias(alias) => key.aliases.iter().flatten().any(|a| a == alias.as_str()),
            KeyName::Name(_) => false,
        };
        let ring = |key: &&KeyMetadata| {
            question
                .ring
                .as_ref()
                .is_none_or(|ring| key.key_ring.as_deref() == Some(ring.as_str()))
        };
        let found = self.keys.values().find(|key| named(key) && ring(key));
        found
            .cloned()
            .map(|key| self.told(key))
            .ok_or_else(|| failure(Operation::GetKeyMetadata, FailureKind::KeyNotFound))
    }

    pub(crate) fn read(&mut self, need: &PayloadNeed) -> Result<Arc<Payload>, FetchFailure> {
        self.requests[2] += 1;
        if let Some(kind) = self.payloads_fail {
            return Err(FetchFailure {
                retry_after: self.payloads_wait,
                ..failure(Operation::GetKey, kind)
            });
        }
        let key = self.keys.get(&need.id).filter(|key| {
            need.ring
                .as_ref()
                .is_none_or(|ring| key.key_ring.as_deref() == Some(ring.as_str()))
        });
        let Some(key) = key else {
            return Err(failure(Operation::GetKey, FailureKind::KeyNotFound));
        };
        let readable = !key.is_deleted() && key.extractable != Some(false) && !self.payloads_late;
        let material = readable.then(|| KeyMaterial::new(Zeroizing::new(self.payload(&key.id))));
        let correlation_id = format!("read-{}", self.requests[2]);
        Ok(Arc::new(Payload {
            metadata: key.clone(),
            material,
            correlation_id,
        }))
    }
}
