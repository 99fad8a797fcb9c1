//! What the cluster shows of a Secret without its data, and what may be concluded from it:
//! whose it is, and whether it is what the operator made.

pub mod body;
pub mod metadata;
pub mod record;
pub mod render;
pub mod shared;
pub mod target;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, Serialize};

use crate::api;
use crate::api::key::KeyProtectKeyStatus;
use metadata::{Managed, SecretMetadata};

/// An annotation that `kubectl apply` leaves behind, with the payload of then.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A Secret's metadata, reduced to what planning reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct SecretView {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its resourceVersion.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations, without the one that `kubectl apply` leaves behind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its owner references.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// Its finalizers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Who owns which of its fields.
    pub fields: FieldOwnership,
}

/// Field ownership, from managedFields, reduced to one verdict for each thing that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FieldOwnership {
    /// Entries whose last writer was the operator.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub entries: BTreeSet<String>,
    /// Entries that somebody else wrote last, and the operator does not own beside them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign_entries: BTreeSet<String>,
    /// Labels whose last writer was the operator.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Annotations whose last writer was the operator.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub annotations: BTreeSet<String>,
    /// Entries that the operator put in for KeyProtectKeys whose Secret it is not, by field
    /// manager.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub merged: BTreeMap<String, BTreeSet<String>>,
}

/// What the operator may do with a Secret, by its label `keyprotect.dev/target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Everything: the operator made it.
    Owned,
    /// Put in entries that its owner offers.
    Shared,
    /// Make it its own: its owner hands it over.
    Adopt,
}

impl SecretView {
    /// Reduces a Secret's metadata; `None` where the API server left name, UID or version out.
    #[must_use]
    pub fn from_metadata(metadata: SecretMetadata) -> Option<Self> {
        let fields =
            FieldOwnership::from_managed_fields(metadata.managed_fields.unwrap_or_default());
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.remove(LAST_APPLIED);
        Some(Self {
            name: metadata.name?,
            uid: metadata.uid?,
            resource_version: metadata.resource_version?,
            labels: metadata.labels.unwrap_or_default(),
            annotations,
            owner_references: metadata.owner_references.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            fields,
        })
    }

    /// What the label says that the operator may do with it; nothing, where there is none.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        match self.labels.get(api::TARGET_LABEL)?.as_str() {
            api::TARGET_OWNED => Some(Mark::Owned),
            api::TARGET_SHARED => Some(Mark::Shared),
            api::TARGET_ADOPT => Some(Mark::Adopt),
            _ => None,
        }
    }

    /// Tells whether the label says that the operator made it.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.mark() == Some(Mark::Owned)
    }

    /// The owner reference to a KeyProtectKey other than the one with this UID, if any: the
    /// garbage collector, or that object, has yet to speak.
    #[must_use]
    pub fn other_owner(&self, uid: &str) -> Option<&OwnerReference> {
        self.owner_references
            .iter()
            .find(|owner| is_key(owner) && owner.uid != uid)
    }

    /// Tells whether the object with this UID owns it.
    #[must_use]
    pub fn is_owned_by(&self, uid: &str) -> bool {
        self.owner_references
            .iter()
            .any(|owner| is_key(owner) && owner.uid == uid)
    }

    /// The record of the inputs that it was made from.
    #[must_use]
    pub fn record(&self) -> Option<&str> {
        self.annotations
            .get(api::RECORD_ANNOTATION)
            .map(String::as_str)
    }
}

/// Tells whether an owner reference names a KeyProtectKey.
#[must_use]
pub fn is_key(owner: &OwnerReference) -> bool {
    let group = owner
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    owner.kind == api::KEY_KIND && group == api::GROUP
}

impl FieldOwnership {
    /// Reads managedFields. An entry that the operator owns is what the operator wrote, whoever
    /// else owns it too: two managers own one field only while both want the same value. (Were it
    /// drift, no write could mend it: a PUT of the same value leaves the other owner there.)
    #[must_use]
    pub fn from_managed_fields(managed: Vec<Managed>) -> Self {
        let mut ownership = Self::default();
        for entry in managed {
            let ours = entry.manager.as_deref() == Some(api::FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Update");
            let Some(fields) = entry.fields else {
                continue;
            };
            let applied = entry.operation.as_deref() == Some("Apply");
            if let Some(manager) = entry
                .manager
                .filter(|name| applied && shared::is_ours(name))
                && !fields.data.0.is_empty()
            {
                let entries = fields.data.0.into_iter().collect();
                ownership.merged.insert(manager, entries);
            } else if ours {
                ownership.entries.extend(fields.data.0);
                ownership.labels.extend(fields.metadata.labels.0);
                ownership.annotations.extend(fields.metadata.annotations.0);
            } else {
                ownership.foreign_entries.extend(fields.data.0);
            }
        }
        let ours = &ownership.entries;
        ownership
            .foreign_entries
            .retain(|entry| !ours.contains(entry));
        ownership
    }
}

/// What a Secret must look like besides its data, to be in sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation<'a> {
    /// The record computed from spec and catalogue.
    pub record: &'a str,
    /// Its entries; `None` where only the payload tells them.
    pub entries: Option<BTreeSet<&'a str>>,
    /// Labels of target.metadata.
    pub labels: &'a BTreeMap<String, String>,
    /// Annotations of target.metadata.
    pub annotations: &'a BTreeMap<String, String>,
    /// UID of the object.
    pub owner_uid: &'a str,
    /// Whether the Secret goes when the object goes.
    pub owner_reference: bool,
    /// UID and resourceVersion that the operator's last write left behind. While they hold,
    /// nobody wrote since, whatever managedFields say: somebody may have cleared those, and a
    /// PUT that changes nothing does not bring them back.
    pub last_write: Option<(&'a str, &'a str)>,
}

/// UID and resourceVersion of the operator's last write, as status has them.
#[must_use]
pub fn last_write(status: Option<&KeyProtectKeyStatus>) -> Option<(&str, &str)> {
    let written = status?.secret.as_ref()?;
    written
        .uid
        .as_deref()
        .zip(written.resource_version.as_deref())
}

/// Why a Secret is not in sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It was made from other inputs: another key, another spec.
    Inputs,
    /// Somebody else wrote or removed an entry, the record, a label or an annotation.
    Edited,
    /// The owner reference is there and should not be, or the other way round.
    OwnerReference,
    /// Its owner hands it over.
    HandedOver,
    /// Somebody wrote something in a shared Secret, it may be an entry.
    Touched,
}

/// Judges whether an owned Secret is what the operator would make of these inputs, without
/// reading its data. What this cannot see is a forgery by someone who may write the Secret.
///
/// # Errors
/// Says in which way it is not.
pub fn in_sync(secret: &SecretView, expected: &Expectation<'_>) -> Result<(), Drift> {
    let untouched =
        expected.last_write == Some((secret.uid.as_str(), secret.resource_version.as_str()));
    let record_ours = secret.fields.annotations.contains(api::RECORD_ANNOTATION) || untouched;
    if !record_ours || secret.record().is_none() {
        return Err(Drift::Edited);
    }
    if secret.record() != Some(expected.record) {
        return Err(Drift::Inputs);
    }
    let entries_right = match &expected.entries {
        Some(entries) => {
            entries.len() == secret.fields.entries.len()
                && entries
                    .iter()
                    .all(|entry| secret.fields.entries.contains(*entry))
        }
        None => !secret.fields.entries.is_empty(),
    };
    let retained = secret
        .annotations
        .get(api::RETAIN_ANNOTATION)
        .is_some_and(|v| v == "true");
    let entries_ours = entries_right && secret.fields.foreign_entries.is_empty();
    if !(entries_ours || untouched)
        || !contains_all(&secret.labels, expected.labels)
        || !contains_all(&secret.annotations, expected.annotations)
        || retained == expected.owner_reference
        || surplus(&secret.fields.labels, expected.labels, &[api::TARGET_LABEL])
        || surplus(
            &secret.fields.annotations,
            expected.annotations,
            &[api::RECORD_ANNOTATION, api::RETAIN_ANNOTATION],
        )
    {
        return Err(Drift::Edited);
    }
    if secret.is_owned_by(expected.owner_uid) != expected.owner_reference {
        return Err(Drift::OwnerReference);
    }
    Ok(())
}

fn contains_all(have: &BTreeMap<String, String>, want: &BTreeMap<String, String>) -> bool {
    want.iter().all(|(key, value)| have.get(key) == Some(value))
}

fn surplus(ours: &BTreeSet<String>, want: &BTreeMap<String, String>, marks: &[&str]) -> bool {
    ours.iter()
        .any(|key| !want.contains_key(key) && !marks.contains(&key.as_str()))
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
