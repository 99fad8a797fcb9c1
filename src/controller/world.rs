//! What the watches have shown, as one value: changed by events, read by looks. Plain maps and
//! no I/O, so that a test drives it by calling methods. Every change says which objects it
//! concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::news::{asks_for_a_look, is_newer, same_uid};
use super::queue::{Lane, ObjectKey};
use super::secrets::{Secrets, Touched};
use crate::api::{KeyProtectInstance, KeyProtectKey, KeyProtectKeyStatus};
use crate::domain::access::Question;
use crate::domain::concern;
use crate::domain::look::observed::Memory;
use crate::domain::look::request;
use crate::domain::secret::{self, SecretView};

/// A namespace, as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub terminating: bool,
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
    /// Nothing is done before this but for a change of the object itself.
    pub not_before: Timestamp,
    /// How often in a row its status could not be written.
    pub unwritten: u32,
}

impl Remembered {
    fn nothing(started: Timestamp) -> Self {
        Self {
            memory: Memory::new(started),
            missed_at: None,
            questions: Vec::new(),
            not_before: Timestamp::MIN,
            unwritten: 0,
        }
    }
}

/// Everything about one object, at one moment.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The object.
    pub object: Arc<KeyProtectKey>,
    /// The name of an older object with the same target.
    pub rival: Option<String>,
    /// Its namespace.
    pub namespace: Arc<NamespaceFacts>,
    /// The instance that it names.
    pub instance: Option<Arc<KeyProtectInstance>>,
    /// Its target, if in view.
    pub secret: Option<Arc<SecretView>>,
    /// Whether every other KeyProtectKey that the target names as owner is alive.
    pub owners_live: bool,
    /// Other Secrets that it owns.
    pub superseded: Vec<SecretView>,
    /// What is remembered.
    pub remembered: Remembered,
}

/// An object that is to be looked at, and in which lane.
pub type Concerned = Vec<(ObjectKey, Lane)>;

type Age = (Option<Timestamp>, String, String);

/// What the watches have shown.
#[derive(Debug)]
pub struct World {
    default_instance: (String, String),
    started: Timestamp,
    keys: HashMap<ObjectKey, Arc<KeyProtectKey>>,
    remembered: HashMap<ObjectKey, Remembered>,
    /// Statuses that are being written: the watch may show them before the write is answered.
    in_writing: HashMap<ObjectKey, KeyProtectKeyStatus>,
    by_target: HashMap<ObjectKey, BTreeSet<Age>>,
    by_instance: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// How many objects name a key of an instance, by a hash of both.
    naming: HashMap<u64, u32>,
    hasher: RandomState,
    instances: HashMap<ObjectKey, Arc<KeyProtectInstance>>,
    namespaces: HashMap<String, Arc<NamespaceFacts>>,
    secrets: Secrets,
}

impl World {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(default_instance: (String, String), started: Timestamp) -> Self {
        Self {
            default_instance,
            started,
            keys: HashMap::new(),
            remembered: HashMap::new(),
            in_writing: HashMap::new(),
            by_target: HashMap::new(),
            by_instance: HashMap::new(),
            naming: HashMap::new(),
            hasher: RandomState::new(),
            instances: HashMap::new(),
            namespaces: HashMap::new(),
            secrets: Secrets::default(),
        }
    }

    /// Gathers everything about an object; nothing, if it is gone.
    #[must_use]
    pub fn gather(&self, key: &ObjectKey) -> Option<Gathered> {
        let object = Arc::clone(self.keys.get(key)?);
        let target = target_of(&object);
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let rival = self
            .by_target
            .get(&target)
            .and_then(BTreeSet::first)
            .filter(|(_, oldest, _)| *oldest != uid)
            .map(|(_, _, name)| name.clone());
        let superseded = self
            .secrets
            .owned_by(&uid)
            .filter(|(secret, _)| **secret != target && secret.namespace == key.namespace)
            .filter(|(_, view)| !view.deleting)
            .map(|(_, view)| SecretView::clone(view))
            .collect();
        let instance = self.instance_key(&object);
        Some(Gathered {
            rival,
            namespace: self
                .namespaces
                .get(&key.namespace)
                .cloned()
                .unwrap_or_default(),
            instance: self.instances.get(&instance).cloned(),
            owners_live: self.owners_live(&target, &uid),
            secret: self.secrets.get(&target).cloned(),
            superseded,
            remembered: self.remembered(key),
            object,
        })
    }

    /// Whether every other KeyProtectKey that a Secret names as owner is alive and not being
    /// deleted.
    fn owners_live(&self, target: &ObjectKey, uid: &str) -> bool {
        let Some(secret) = self.secrets.get(target) else {
            return false;
        };
        let owners = secret.owner_references.iter();
        let mut others = owners.filter(|owner| secret::is_key(owner) && owner.uid != uid);
        others.all(|owner| {
            let key = ObjectKey::new(&target.namespace, &owner.name);
            self.keys.get(&key).is_some_and(|object| {
                object.metadata.uid.as_ref() == Some(&owner.uid)
                    && object.metadata.deletion_timestamp.is_none()
            })
        })
    }

    fn remembered(&self, key: &ObjectKey) -> Remembered {
        self.remembered
            .get(key)
            .cloned()
            .unwrap_or_else(|| Remembered::nothing(self.started))
    }

    /// Remembers something of an object, unless it is gone or another of its name is there.
    pub fn remember(&mut self, key: &ObjectKey, uid: Option<&str>, remembered: Remembered) {
        if self
            .keys
            .get(key)
            .is_some_and(|object| object.metadata.uid.as_deref() == uid)
        {
            self.remembered.insert(key.clone(), remembered);
        }
    }

    /// Forgets what is remembered of looks and writes of before, as if the operator started now.
    pub fn forget_looks(&mut self, now: Timestamp) {
        self.started = now;
        self.remembered.clear();
        self.in_writing.clear();
    }

    /// Every object.
    #[must_use]
    pub fn everything(&self) -> Concerned {
        let keys = self.keys.iter();
        keys.map(|(key, object)| (key.clone(), lane_of(object)))
            .collect()
    }

    /// The instance that an object means.
    #[must_use]
    pub fn instance_key(&self, object: &KeyProtectKey) -> ObjectKey {
        let (namespace, name) = request::instance_of(object, &self.default_instance);
        ObjectKey { namespace, name }
    }

    /// The instance that an object means, whether or not the object is in view.
    #[must_use]
    pub fn instance_of(&self, key: &ObjectKey) -> ObjectKey {
        let object = self.keys.get(key);
        object.map_or_else(
            || ObjectKey::new("", ""),
            |object| self.instance_key(object),
        )
    }

    /// The objects that mean an instance.
    #[must_use]
    pub fn objects_of(&self, instance: &ObjectKey) -> Vec<Arc<KeyProtectKey>> {
        let keys = self.by_instance.get(instance).into_iter().flatten();
        keys.filter_map(|key| self.keys.get(key)).cloned().collect()
    }

    /// Every instance that an object means, whether or not it is there.
    pub fn meant(&self) -> impl Iterator<Item = &ObjectKey> {
        self.by_instance.keys()
    }

    /// Every instance.
    pub fn instances(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<KeyProtectInstance>)> {
        self.instances.iter()
    }

    /// Whether another object names a key that this one names.
    #[must_use]
    pub fn shares_a_key(&self, object: &KeyProtectKey) -> bool {
        let named = |hash| self.naming.get(&hash).is_some_and(|count| *count > 1);
        self.hashes(object).into_iter().any(named)
    }

    fn hashes(&self, object: &KeyProtectKey) -> BTreeSet<u64> {
        let instance = self.instance_key(object);
        let references = concern::references(object);
        references
            .map(|reference| self.hasher.hash_one((&instance, reference.name)))
            .collect()
    }

    /// A namespace's facts.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Arc<NamespaceFacts> {
        self.namespaces.get(name).cloned().unwrap_or_default()
    }

    /// An instance.
    #[must_use]
    pub fn instance(&self, key: &ObjectKey) -> Option<Arc<KeyProtectInstance>> {
        self.instances.get(key).cloned()
    }

    /// What is remembered of an object, and the object.
    #[must_use]
    pub fn known(&self, key: &ObjectKey) -> Option<(Arc<KeyProtectKey>, Remembered)> {
        Some((Arc::clone(self.keys.get(key)?), self.remembered(key)))
    }

    /// Takes in an object that a watch shows.
    pub fn key_applied(&mut self, object: KeyProtectKey) -> Concerned {
        let key = ObjectKey::of(&object);
        let old = self.keys.get(&key).cloned();
        if let Some(old) = &old
            && same_uid(old, &object)
            && !is_newer(
                object.metadata.resource_version.as_ref(),
                old.metadata.resource_version.as_ref(),
            )
        {
            return Vec::new();
        }
        let mut concerned = Vec::new();
        let fresh = old.as_ref().is_none_or(|old| !same_uid(old, &object));
        if fresh {
            self.remembered
                .insert(key.clone(), Remembered::nothing(self.started));
        }
        if fresh
            || old
                .as_deref()
                .is_some_and(|old| asks_for_a_look(old, &object, self.in_writing.get(&key)))
        {
            if let Some(remembered) = self.remembered.get_mut(&key) {
                remembered.not_before = Timestamp::MIN;
            }
            concerned.push((key.clone(), lane_of(&object)));
        }
        if let Some(old) = &old {
            concerned.extend(self.unlink(&key, old));
        }
        concerned.extend(self.link(&key, &object));
        self.keys.insert(key, Arc::new(object));
        concerned
    }

    /// Takes in that an object is gone: who waited for its target is to be looked at.
    pub fn key_deleted(&mut self, key: &ObjectKey) -> Concerned {
        let Some(old) = self.keys.remove(key) else {
            return Vec::new();
        };
        self.remembered.remove(key);
        self.unlink(key, &old)
    }

    /// Takes in that a listing of objects is complete: the others are gone.
    pub fn keys_listed(&mut self, listed: &HashSet<ObjectKey>) -> Concerned {
        let gone: Vec<ObjectKey> = self
            .keys
            .keys()
            .filter(|key| !listed.contains(*key))
            .cloned()
            .collect();
        gone.iter().flat_map(|key| self.key_deleted(key)).collect()
    }

    /// Notes the status that the operator is about to write, as the API server will show it: its
    /// echo in the watch is no news, also where it comes before the answer.
    pub fn status_in_writing(&mut self, key: &ObjectKey, status: KeyProtectKeyStatus) {
        self.in_writing.insert(key.clone(), status);
    }

    /// Takes in that a status could not be written.
    pub fn status_not_written(&mut self, key: &ObjectKey) {
        self.in_writing.remove(key);
    }

    /// Takes in the object with the status that the operator itself wrote, unless the watch has
    /// shown a newer one meanwhile.
    pub fn status_written(&mut self, object: KeyProtectKey) {
        let key = ObjectKey::of(&object);
        self.in_writing.remove(&key);
        let version = object.metadata.resource_version.as_ref();
        if self.keys.get(&key).is_some_and(|known| {
            same_uid(known, &object) && is_newer(version, known.metadata.resource_version.as_ref())
        }) {
            self.keys.insert(key, Arc::new(object));
        }
    }

    fn link(&mut self, key: &ObjectKey, object: &KeyProtectKey) -> Concerned {
        let target = target_of(object);
        let line = self.by_target.entry(target.clone()).or_default();
        line.insert(age_of(object));
        let rivals = line.len() > 1;
        for hash in self.hashes(object) {
            *self.naming.entry(hash).or_default() += 1;
        }
        self.by_instance
            .entry(self.instance_key(object))
            .or_default()
            .insert(key.clone());
        if rivals {
            self.with_target(&target, key)
        } else {
            Vec::new()
        }
    }

    fn unlink(&mut self, key: &ObjectKey, object: &KeyProtectKey) -> Concerned {
        let target = target_of(object);
        if let Some(line) = self.by_target.get_mut(&target) {
            line.remove(&age_of(object));
            if line.is_empty() {
                self.by_target.remove(&target);
            }
        }
        for hash in self.hashes(object) {
            if let Some(count) = self.naming.get_mut(&hash) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.naming.remove(&hash);
                }
            }
        }
        let instance = self.instance_key(object);
        if let Some(objects) = self.by_instance.get_mut(&instance) {
            objects.remove(key);
            if objects.is_empty() {
                self.by_instance.remove(&instance);
            }
        }
        self.with_target(&target, key)
    }

    fn with_target(&self, target: &ObjectKey, but: &ObjectKey) -> Concerned {
        let line = self.by_target.get(target).into_iter().flatten();
        line.map(|(_, _, name)| ObjectKey::new(&target.namespace, name))
            .filter(|key| key != but)
            .filter_map(|key| Some((lane_of(self.keys.get(&key)?), key)))
            .map(|(lane, key)| (key, lane))
            .collect()
    }

    /// Takes in a Secret that a watch shows.
    pub fn secret_applied(&mut self, namespace: &str, view: SecretView) -> Concerned {
        let touched = self.secrets.applied(namespace, view, false);
        self.concerned_by(touched)
    }

    /// Takes in a Secret that the operator wrote itself, so that its echo in the watch is no news.
    pub fn secret_written(&mut self, namespace: &str, view: SecretView) {
        self.secrets.applied(namespace, view, true);
    }

    /// Takes in that a Secret is gone, or has lost the operator's mark.
    pub fn secret_deleted(&mut self, key: &ObjectKey, version: Option<&String>) -> Concerned {
        let touched = self.secrets.deleted(key, version);
        self.concerned_by(touched)
    }

    /// Takes in that a listing of Secrets begins.
    pub fn secrets_listing(&mut self) {
        self.secrets.listing();
    }

    /// Takes in that a listing of Secrets is complete.
    pub fn secrets_listed(&mut self, listed: &HashSet<ObjectKey>) -> Concerned {
        let touched = self.secrets.listed(listed);
        self.concerned_by(touched)
    }

    /// Objects whose target a Secret is, and objects that own it.
    fn concerned_by(&self, touched: impl IntoIterator<Item = Touched>) -> Concerned {
        let mut concerned = Concerned::new();
        for Touched { key, owners } in touched {
            let line = self.by_target.get(&key).into_iter().flatten();
            let names: BTreeSet<String> = line
                .map(|(_, _, name)| name.clone())
                .chain(owners)
                .collect();
            let objects = names
                .into_iter()
                .map(|name| ObjectKey::new(&key.namespace, &name));
            concerned.extend(
                objects
                    .filter_map(|key| Some((lane_of(self.keys.get(&key)?), key)))
                    .map(|(lane, key)| (key, lane)),
            );
        }
        concerned
    }

    /// Takes in an instance that a watch shows; returns the objects that mean it, if what it says
    /// has changed.
    pub fn instance_applied(&mut self, instance: KeyProtectInstance) -> Concerned {
        let key = ObjectKey::new(
            &instance.namespace().unwrap_or_default(),
            &instance.name_any(),
        );
        let old = self.instances.insert(key.clone(), Arc::new(instance));
        let new = self.instances.get(&key);
        let same = old.as_ref().zip(new).is_some_and(|(old, new)| {
            old.metadata.uid == new.metadata.uid
                && old.metadata.generation == new.metadata.generation
        });
        if same { Vec::new() } else { self.meaning(&key) }
    }

    /// Takes in that an instance is gone.
    pub fn instance_deleted(&mut self, key: &ObjectKey) -> Concerned {
        if self.instances.remove(key).is_none() {
            return Vec::new();
        }
        self.meaning(key)
    }

    /// The instances that a listing did not show.
    #[must_use]
    pub fn instances_but(&self, listed: &HashSet<ObjectKey>) -> Vec<ObjectKey> {
        self.instances
            .keys()
            .filter(|key| !listed.contains(*key))
            .cloned()
            .collect()
    }

    /// Every object that means an instance.
    #[must_use]
    pub fn meaning(&self, instance: &ObjectKey) -> Concerned {
        let keys = self.by_instance.get(instance).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), lane_of(self.keys.get(key)?))))
            .collect()
    }

    /// Every object that means an instance and whose last look failed: what stood in its way is
    /// over, and so is its back-off.
    pub fn release(&mut self, instance: &ObjectKey) -> Concerned {
        let mut concerned = self.meaning(instance);
        concerned.retain(|(key, _)| {
            let remembered = self.remembered.get_mut(key);
            remembered.is_some_and(|remembered| {
                remembered.memory.release();
                remembered.memory.failures > 0
            })
        });
        concerned
    }

    /// Takes in a namespace that a watch shows.
    pub fn namespace_applied(&mut self, name: &str, facts: NamespaceFacts) -> Concerned {
        let facts = Arc::new(facts);
        let old = self.namespaces.insert(name.to_owned(), Arc::clone(&facts));
        // An object may come into view before its namespace, and was judged without labels then.
        if old.unwrap_or_default() == facts {
            return Vec::new();
        }
        let keys = self.keys.iter().filter(|(key, _)| key.namespace == name);
        keys.map(|(key, object)| (key.clone(), lane_of(object)))
            .collect()
    }

    /// Takes in that a namespace is gone.
    pub fn namespace_deleted(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Takes in that a listing of namespaces is complete: the others are gone.
    pub fn namespaces_listed(&mut self, listed: &HashSet<ObjectKey>) {
        self.namespaces
            .retain(|name, _| listed.contains(&ObjectKey::new("", name)));
    }
}

fn target_of(object: &KeyProtectKey) -> ObjectKey {
    ObjectKey::new(
        &object.namespace().unwrap_or_default(),
        request::target_name(object),
    )
}

fn age_of(object: &KeyProtectKey) -> Age {
    let created = object
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    (
        created,
        object.metadata.uid.clone().unwrap_or_default(),
        object.name_any(),
    )
}

/// Objects that never synced go first.
#[must_use]
pub fn lane_of(object: &KeyProtectKey) -> Lane {
    let synced = object
        .status
        .as_ref()
        .is_some_and(|status| status.secret.is_some());
    if synced { Lane::Routine } else { Lane::First }
}
