//! Objects between two looks, which is where nearly all of them are nearly always: a few facts as
//! values, and all the rest as text, in one piece and a third as large as the values are. A look
//! reads the text again, which costs it some microseconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

use super::queue::{Lane, ObjectKey};
use super::said::Said;
use crate::api::{KeyProtectKey, SYNC_REQUESTED_ANNOTATION};
use crate::domain::claim::{self, Claim};
use crate::domain::concern;
use crate::domain::look::request;
use crate::domain::resource_version;
use crate::domain::schedule;
use crate::domain::secret::SecretView;

/// A KeyProtectKey between two looks.
#[derive(Debug)]
pub struct Held {
    /// Its UID.
    pub uid: Box<str>,
    /// Its resourceVersion.
    pub resource_version: Box<str>,
    /// The instance that it means; one value for all objects that mean the same.
    pub instance: Arc<ObjectKey>,
    /// The name of its target, where that is not its own.
    pub target: Option<Box<str>>,
    /// The longest that what is known of its keys may age, as it says itself; for ever, if it says
    /// nothing.
    pub interval: SignedDuration,
    /// The lane in which it is looked at.
    pub lane: Lane,
    /// What its status says, shared with whoever counts it.
    pub said: Arc<Said>,
    /// Whether it names a key by its name, which only a listing can look up.
    pub names_by_name: bool,
    /// Hashes of the keys that it names.
    pub named: Box<[u64]>,
    /// What it wants of its target; none is all of it, as nearly every object does. Held, since who
    /// wants what another one wants is judged against every other, under the world's lock.
    claim: Option<Box<Claim>>,
    generation: Option<i64>,
    created: Option<Timestamp>,
    deleted: Option<Timestamp>,
    annotations: BTreeMap<String, String>,
    spec: Box<RawValue>,
    status: Option<Box<RawValue>>,
}

impl Held {
    /// Holds an object that means this instance, and keys with these hashes.
    #[must_use]
    pub fn new(object: KeyProtectKey, instance: Arc<ObjectKey>, named: Box<[u64]>) -> Self {
        let target = request::target_name(&object);
        let said = Said::of(object.status.as_ref());
        let own = object.metadata.name.as_deref() == Some(target);
        Self {
            target: (!own).then(|| target.into()),
            names_by_name: concern::names_by_name(&object),
            named,
            interval: schedule::interval_of(&object, SignedDuration::MAX),
            lane: said.lane(),
            said: Arc::new(said),
            claim: Some(claim::of(&object))
                .filter(|claim| *claim != Claim::Whole)
                .map(Box::new),
            spec: text(&object.spec),
            status: object.status.as_ref().map(text),
            instance,
            uid: object.metadata.uid.unwrap_or_default().into(),
            resource_version: object.metadata.resource_version.unwrap_or_default().into(),
            generation: object.metadata.generation,
            created: object.metadata.creation_timestamp.map(|time| time.0),
            deleted: object.metadata.deletion_timestamp.map(|time| time.0),
            annotations: object.metadata.annotations.unwrap_or_default(),
        }
    }

    /// What it wants of its target.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        self.claim.as_deref().unwrap_or(&Claim::Whole)
    }

    /// The object, as a look needs it.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<KeyProtectKey> {
        Some(KeyProtectKey {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: Some((*self.uid).to_owned()),
                resource_version: Some((*self.resource_version).to_owned()),
                generation: self.generation,
                creation_timestamp: self.created.map(Time),
                deletion_timestamp: self.deleted.map(Time),
                annotations: (!self.annotations.is_empty()).then(|| self.annotations.clone()),
                ..ObjectMeta::default()
            },
            spec: read(&self.spec)?,
            status: match &self.status {
                Some(status) => Some(read(status)?),
                None => None,
            },
        })
    }

    /// The generation of its spec.
    #[must_use]
    pub const fn generation(&self) -> Option<i64> {
        self.generation
    }

    /// Its target.
    #[must_use]
    pub fn target_key(&self, key: &ObjectKey) -> ObjectKey {
        let name = self.target.as_deref().unwrap_or(&key.name);
        ObjectKey::new(&key.namespace, name)
    }

    /// Takes in the status that the operator wrote, and the version that it made.
    pub fn written(&mut self, version: &str, status: Box<RawValue>, said: Said) {
        self.resource_version = version.into();
        self.status = Some(status);
        self.lane = said.lane();
        self.said = Arc::new(said);
    }

    /// Whether it is being deleted.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.deleted.is_some()
    }

    /// What tells the older of two objects.
    #[must_use]
    pub fn age(&self) -> (Option<Timestamp>, &str) {
        (self.created, &self.uid)
    }

    /// Whether this is news beside what was held before: another spec, a deletion, a sync request,
    /// a status that is not the one that the operator is writing.
    #[must_use]
    pub fn is_news(&self, before: &Self, in_writing: Option<&RawValue>) -> bool {
        self.generation != before.generation
            || self.deleted != before.deleted
            || self.sync_request() != before.sync_request()
            || self.status() != before.status() && self.status() != in_writing.map(RawValue::get)
    }

    fn status(&self) -> Option<&str> {
        self.status.as_deref().map(RawValue::get)
    }

    fn sync_request(&self) -> Option<&String> {
        self.annotations.get(SYNC_REQUESTED_ANNOTATION)
    }
}

/// A Secret between two looks.
#[derive(Debug)]
pub(super) struct HeldSecret {
    /// Its UID.
    pub(super) uid: Box<str>,
    /// Its resourceVersion.
    pub(super) resource_version: Box<str>,
    view: Box<RawValue>,
}

impl HeldSecret {
    /// Holds a Secret.
    pub(super) fn new(mut view: SecretView) -> Self {
        // Those are known without the text: the name is what it is held by.
        view.name = String::new();
        Self {
            uid: std::mem::take(&mut view.uid).into(),
            resource_version: std::mem::take(&mut view.resource_version).into(),
            view: text(&view),
        }
    }

    /// The Secret, as a look needs it.
    pub(super) fn view(&self, key: &ObjectKey) -> Option<SecretView> {
        Some(SecretView {
            name: key.name.clone(),
            uid: (*self.uid).to_owned(),
            resource_version: (*self.resource_version).to_owned(),
            ..read(&self.view)?
        })
    }
}

/// Compares resourceVersions; one that is missing counts as newer.
pub(super) fn is_newer(version: Option<&str>, than: Option<&str>) -> bool {
    version
        .zip(than)
        .is_none_or(|(version, than)| resource_version::is_newer(version, than))
}

/// Writes a value down. Those that are held can always be written and read.
pub(super) fn text(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn read<T: DeserializeOwned>(text: &RawValue) -> Option<T> {
    serde_json::from_str(text.get()).ok()
}
