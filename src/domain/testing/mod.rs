//! Builders and a small world in memory, for the tests of decisions: a cluster that treats
//! Secrets as an API server does, a service that can be told to lie, and the loop between them.

pub(crate) mod cluster;
pub(crate) mod service;
pub(crate) mod world;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::instance::{AccessRule, NamespaceSelection, NamespacesFrom};
use crate::api::key::{Entry, KeyProtectKey, KeyProtectKeySpec, KeySelector, Target};
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::{KeyMetadata, KeyState};

/// The namespace of the objects.
pub(crate) const NAMESPACE: &str = "payments";
/// The namespace of the instance.
pub(crate) const INSTANCE_NAMESPACE: &str = "key-protect-system";
/// The service's ID of the instance.
pub(crate) const INSTANCE_ID: &str = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";
/// The ring of keys that say nothing else.
pub(crate) const RING: &str = "payments";

/// A moment, in seconds after the one at which the tests' world begins.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

pub(crate) const fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

pub(crate) fn key_id(number: u32) -> KeyId {
    KeyId::parse(&format!("{number:08x}-6001-4482-a892-13bd2085f75d")).unwrap()
}

/// An active standard key in [`RING`], created `number` seconds after another epoch: so a higher
/// number is a newer key.
pub(crate) fn key(number: u32) -> KeyMetadata {
    KeyMetadata {
        name: Some(format!("key-{number}")),
        aliases: Some(vec![]),
        key_ring: Some(RING.to_owned()),
        state: Some(KeyState::Active),
        extractable: Some(true),
        deleted: Some(false),
        crn: Some(format!(
            "crn:v1:bluemix:public:kms:us-south:a/account:{INSTANCE_ID}:key:{}",
            key_id(number)
        )),
        creation_date: Some(at(-1_000_000 + i64::from(number))),
        expiration_date: None,
        ..KeyMetadata::unknown(key_id(number))
    }
}

/// Changes to a key, said in one line.
pub(crate) trait KeyExt: Sized {
    fn alias(self, alias: &str) -> Self;
    fn named(self, name: &str) -> Self;
    fn ring(self, ring: &str) -> Self;
}

impl KeyExt for KeyMetadata {
    fn alias(mut self, alias: &str) -> Self {
        self.aliases.get_or_insert_default().push(alias.to_owned());
        self
    }

    fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    fn ring(mut self, ring: &str) -> Self {
        self.key_ring = Some(ring.to_owned());
        self
    }
}

/// An object as an API server shows it right after it was made.
pub(crate) fn object(name: &str, spec: KeyProtectKeySpec) -> KeyProtectKey {
    let mut object = KeyProtectKey::new(name, spec);
    object.metadata.namespace = Some(NAMESPACE.to_owned());
    object.metadata.uid = Some(format!("uid-of-{name}"));
    object.metadata.generation = Some(1);
    object.metadata.creation_timestamp = Some(Time(at(-60)));
    object.status = Some(default_status());
    object
}

/// What the schema puts into status when an object is created.
pub(crate) fn default_status() -> crate::api::KeyProtectKeyStatus {
    serde_json::from_value(serde_json::json!({"conditions": [{
        "type": "Ready", "status": "Unknown", "reason": "Pending",
        "message": "Waiting for the operator.", "lastTransitionTime": "1970-01-01T00:00:00Z"
    }]}))
    .unwrap()
}

pub(crate) fn by_alias(alias: &str) -> KeySelector {
    KeySelector {
        alias: Some(alias.to_owned()),
        ..KeySelector::default()
    }
}

pub(crate) fn by_id(id: &KeyId) -> KeySelector {
    KeySelector {
        id: Some(id.to_string()),
        ..KeySelector::default()
    }
}

pub(crate) fn by_name(name: &str, ring: &str) -> KeySelector {
    KeySelector {
        name: Some(name.to_owned()),
        key_ring: Some(ring.to_owned()),
        ..KeySelector::default()
    }
}

/// A spec that names a key and nothing else.
pub(crate) fn naming(key: KeySelector) -> KeyProtectKeySpec {
    KeyProtectKeySpec {
        key: Some(key),
        ..KeyProtectKeySpec::default()
    }
}

/// Changes a spec's target.
pub(crate) fn target(spec: &mut KeyProtectKeySpec) -> &mut Target {
    spec.target.get_or_insert_default()
}

pub(crate) fn entry(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        ..Entry::default()
    }
}

/// A rule for every namespace and, so far, every key.
pub(crate) fn rule() -> AccessRule {
    AccessRule {
        namespaces: NamespaceSelection {
            from: NamespacesFrom::All,
            ..NamespaceSelection::default()
        },
        ..AccessRule::default()
    }
}

pub(crate) fn strings(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

pub(crate) fn failure(operation: Operation, kind: FailureKind) -> FetchFailure {
    FetchFailure {
        operation,
        kind,
        status: None,
        code: None,
        request_id: Some("request-1".to_owned()),
        retry_after: None,
        detail: format!("{kind:?}"),
    }
}
