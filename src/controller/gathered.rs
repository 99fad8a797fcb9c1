//! Everything known about one object, as a look gathers it out of the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::held::Held;
use super::queue::ObjectKey;
use super::world::World;
use crate::api::{KeyProtectInstance, KeyProtectKey};
use crate::domain::access::{Labels, Question};
use crate::domain::claim::{self, Rival};
use crate::domain::form::Scope;
use crate::domain::look::observed::Memory;
use crate::domain::secret::{self, SecretView};

/// A namespace, as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Its UID.
    pub uid: Option<Box<str>>,
}

/// What is known of the labels of a namespace, which may not be in view.
pub(super) fn labels<'a>(facts: Option<&'a NamespaceFacts>, scope: &Scope) -> Labels<'a> {
    match facts {
        _ if !scope.is_cluster() => Labels::NotWatched,
        Some(facts) => Labels::Known(&facts.labels),
        None => Labels::NotInView,
    }
}

/// What is remembered of an object between looks.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// What the decisions remember.
    pub memory: Memory,
    /// Since when it waits for a listing that may show its key.
    pub missed_at: Option<Timestamp>,
    /// Single reads that the object needed last time.
    pub questions: Vec<Question>,
    /// The generation of the spec that needed them.
    pub asked_by: Option<i64>,
    /// Nothing is done before this but for a change of the object itself.
    pub not_before: Timestamp,
    /// How often in a row its status could not be written.
    pub unwritten: u32,
}

impl Remembered {
    pub(super) fn nothing(started: Timestamp) -> Self {
        Self {
            memory: Memory::new(started),
            missed_at: None,
            questions: Vec::new(),
            asked_by: None,
            not_before: Timestamp::MIN,
            unwritten: 0,
        }
    }
}

/// Everything about one object, at one moment.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The object.
    pub object: KeyProtectKey,
    /// How many objects of its namespace are served, where it is not one of them.
    pub surplus: Option<usize>,
    /// An older object that wants the same target, or the same entry of it.
    pub rival: Option<Rival>,
    /// Its namespace, if in view.
    pub namespace: Option<Arc<NamespaceFacts>>,
    /// The instance that it names.
    pub instance: Option<Arc<KeyProtectInstance>>,
    /// Its target, if in view.
    pub secret: Option<SecretView>,
    /// Whether every other KeyProtectKey that the target names as owner is alive.
    pub owners_live: bool,
    /// Other Secrets that it owns.
    pub superseded: Vec<SecretView>,
    /// Whether another object wants the Secret that status names.
    pub written_is_wanted: bool,
    /// Shared Secrets that have entries of it.
    pub merged: Vec<SecretView>,
    /// What is remembered.
    pub remembered: Remembered,
}

/// An object, and what is remembered of it.
#[derive(Debug)]
pub struct Known {
    /// The object.
    pub held: Held,
    /// What is remembered; nothing, before its first look has ended.
    pub remembered: Option<Box<Remembered>>,
}

impl World {
    /// Gathers everything about an object; nothing, if it is gone.
    #[must_use]
    pub fn gather(&mut self, key: &ObjectKey) -> Option<Gathered> {
        let surplus = self.surplus(key);
        let known = self.known(key)?;
        let held = &known.held;
        let target = held.target_key(key);
        let object = held.object(key)?;
        let superseded = self
            .secrets()
            .owned_by(key, &held.uid)
            .filter(|(secret, view)| *secret != target && view.is_owned() && !view.deleting)
            .map(|(_, view)| view)
            .collect();
        let secret = self.secrets().get(&target);
        Some(Gathered {
            surplus,
            rival: self.rival(&object, held, &target),
            namespace: self.namespace(&key.namespace),
            instance: self.instance(&held.instance),
            owners_live: secret
                .as_ref()
                .is_some_and(|secret| self.owners_live(secret, key, &held.uid)),
            secret,
            superseded,
            written_is_wanted: self.written_is_wanted(&object, key),
            merged: self.secrets().merged_for(key),
            remembered: self.remembered(known),
            object,
        })
    }

    /// Whether another object wants the Secret that was written last for this one.
    fn written_is_wanted(&self, object: &KeyProtectKey, key: &ObjectKey) -> bool {
        let status = object.status.as_ref();
        let written = status.and_then(|status| status.secret.as_ref());
        written.is_some_and(|written| {
            let written = ObjectKey::new(&key.namespace, &written.name);
            let mut wanting = self.wanting(&written);
            wanting.any(|(other, known)| other != key && !known.held.is_leaving())
        })
    }

    /// The oldest object that is older than this one and wants what it wants.
    fn rival(&self, object: &KeyProtectKey, held: &Held, target: &ObjectKey) -> Option<Rival> {
        let mut older: Vec<_> = self
            .wanting(target)
            .filter(|(_, known)| known.held.age() < held.age())
            .collect();
        older.sort_by(|(_, a), (_, b)| a.held.age().cmp(&b.held.age()));
        let claim = claim::of(object);
        older.into_iter().find_map(|(key, known)| {
            let over = claim.conflict(known.held.claim())?;
            let name = key.name.clone();
            Some(Rival { name, over })
        })
    }

    /// Whether the object, its namespace and its instance are what they were when they were
    /// gathered: everything by which it was authorised.
    #[must_use]
    pub fn is_as_gathered(&self, key: &ObjectKey, then: &Gathered) -> bool {
        let object = self.known(key).is_some_and(|known| {
            let metadata = &then.object.metadata;
            Some(&*known.held.uid) == metadata.uid.as_deref()
                && known.held.generation() == metadata.generation
                && !known.held.is_leaving()
        });
        let spec = |instance: &Arc<KeyProtectInstance>| {
            let metadata = &instance.metadata;
            (metadata.uid.clone(), metadata.generation)
        };
        let instance = self.instance(&self.instance_of(key));
        object
            && instance.as_ref().map(spec) == then.instance.as_ref().map(spec)
            && self.namespace(&key.namespace) == then.namespace
    }

    /// What an object that is gone has in shared Secrets.
    #[must_use]
    pub fn left_by(&self, key: &ObjectKey) -> Vec<SecretView> {
        if self.known(key).is_some() {
            return Vec::new();
        }
        self.secrets().merged_for(key)
    }

    /// Whether every other KeyProtectKey that a Secret names as owner is alive and not being
    /// deleted.
    fn owners_live(&self, secret: &SecretView, object: &ObjectKey, uid: &str) -> bool {
        let owners = secret.owner_references.iter();
        let mut others = owners.filter(|owner| secret::is_key(owner) && owner.uid != uid);
        others.all(|owner| {
            let key = ObjectKey::new(&object.namespace, &owner.name);
            self.known(&key)
                .is_some_and(|known| *known.held.uid == *owner.uid && !known.held.is_leaving())
        })
    }
}
