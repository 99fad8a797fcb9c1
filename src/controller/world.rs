//! What the watches have shown, as one value: changed by events, read by looks. Plain maps and
//! no I/O, so that a test drives it by calling methods. Every change says which objects it
//! concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::value::RawValue;

use super::crowds::{Crowds, age_of};
pub use super::gathered::{Gathered, Known, NamespaceFacts, Remembered};
use super::held::{Held, is_newer};
use super::listed::{Listed, Place};
use super::queue::{Lane, ObjectKey};
use super::said::Said;
use super::secrets::{Secrets, Touched};
use crate::api::{KeyProtectInstance, KeyProtectKey};
use crate::domain::concern;
use crate::domain::look::request;
use crate::domain::secret::SecretView;

/// An object that is to be looked at, and in which lane.
pub type Concerned = Vec<(ObjectKey, Lane)>;

/// What the watches have shown.
#[derive(Debug)]
pub struct World {
    default_instance: (String, String),
    pub(super) started: Timestamp,
    keys: HashMap<ObjectKey, Box<Known>>,
    /// Statuses that are being written: the watch may show them before the write is answered.
    in_writing: HashMap<ObjectKey, Box<RawValue>>,
    /// Names of the objects whose target has another name than they have, by target.
    by_target: HashMap<ObjectKey, Vec<String>>,
    /// The instances that objects mean.
    meant: HashSet<Arc<ObjectKey>>,
    /// How many objects name a key of an instance, by a hash of both.
    naming: HashMap<u64, u32>,
    hasher: RandomState,
    instances: HashMap<ObjectKey, Arc<KeyProtectInstance>>,
    namespaces: HashMap<String, Arc<NamespaceFacts>>,
    secrets: Secrets,
    pub(super) crowds: Crowds,
    /// When which object was given leave to delete its Secret by a revocation.
    pub(super) leaves: HashMap<ObjectKey, Timestamp>,
}

impl World {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(
        default_instance: (String, String),
        max_keys_per_namespace: usize,
        started: Timestamp,
    ) -> Self {
        Self {
            crowds: Crowds::new(max_keys_per_namespace),
            default_instance,
            started,
            keys: HashMap::new(),
            in_writing: HashMap::new(),
            by_target: HashMap::new(),
            meant: HashSet::new(),
            naming: HashMap::new(),
            hasher: RandomState::new(),
            instances: HashMap::new(),
            namespaces: HashMap::new(),
            secrets: Secrets::default(),
            leaves: HashMap::new(),
        }
    }

    /// The Secrets in view.
    #[must_use]
    pub(super) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The objects of a namespace.
    pub(super) fn in_namespace(&self, name: &str) -> impl Iterator<Item = (&ObjectKey, &Known)> {
        let keys = self
            .keys
            .iter()
            .filter(move |(key, _)| key.namespace == name);
        keys.map(|(key, known)| (key, &**known))
    }

    /// What is remembered of an object.
    #[must_use]
    pub fn remembered(&self, known: &Known) -> Remembered {
        known
            .remembered
            .as_deref()
            .map_or_else(|| Remembered::nothing(self.started), Remembered::clone)
    }

    /// Remembers something of an object, unless it is gone or another of its name is there.
    pub fn remember(&mut self, key: &ObjectKey, uid: Option<&str>, remembered: Remembered) {
        if let Some(known) = self.keys.get_mut(key)
            && uid == Some(&*known.held.uid)
        {
            known.remembered = Some(Box::new(remembered));
        }
    }

    /// Forgets what is remembered of looks and writes of before, as if the operator started now.
    pub fn forget_looks(&mut self, now: Timestamp) {
        self.started = now;
        for known in self.keys.values_mut() {
            known.remembered = None;
        }
        self.in_writing.clear();
    }

    /// Every object, and every one that is gone and left something behind.
    #[must_use]
    pub fn everything(&self) -> Concerned {
        let keys = self.keys.iter();
        let keys = keys.map(|(key, known)| (key.clone(), known.held.lane));
        let gone = self.secrets.merging();
        let gone = gone.filter(|key| !self.keys.contains_key(*key));
        keys.chain(gone.map(|key| (key.clone(), Lane::Routine)))
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
        self.keys.get(key).map_or_else(
            || ObjectKey::new("", ""),
            |known| ObjectKey::clone(&known.held.instance),
        )
    }

    /// The objects that mean an instance.
    pub fn objects_of(&self, instance: &ObjectKey) -> impl Iterator<Item = (&ObjectKey, &Known)> {
        let meant = self.meant.get(instance);
        let all = meant.into_iter().flat_map(|meant| {
            let keys = self.keys.iter();
            keys.filter(|(_, known)| Arc::ptr_eq(&known.held.instance, meant))
        });
        all.map(|(key, known)| (key, &**known))
    }

    /// Every instance that an object means, whether or not it is there.
    pub fn meant(&self) -> impl Iterator<Item = &ObjectKey> {
        self.meant.iter().map(|key| &**key)
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

    /// A namespace's facts, if it is in view.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<Arc<NamespaceFacts>> {
        self.namespaces.get(name).cloned()
    }

    /// An instance.
    #[must_use]
    pub fn instance(&self, key: &ObjectKey) -> Option<Arc<KeyProtectInstance>> {
        self.instances.get(key).cloned()
    }

    /// An object, and what is remembered of it.
    #[must_use]
    pub fn known(&self, key: &ObjectKey) -> Option<&Known> {
        self.keys.get(key).map(|known| &**known)
    }

    /// Takes in an object that a watch shows.
    pub fn key_applied(&mut self, object: KeyProtectKey) -> Concerned {
        let key = ObjectKey::of(&object);
        let old = self.keys.get(&key).map(|known| &known.held);
        let same = old.filter(|old| object.metadata.uid.as_deref() == Some(&*old.uid));
        if let Some(same) = same
            && !is_newer(
                object.metadata.resource_version.as_deref(),
                Some(&same.resource_version),
            )
        {
            return Vec::new();
        }
        let instance = self.one_of(self.instance_key(&object));
        let named = self.hashes(&object).into_iter().collect();
        let held = Held::new(object, instance, named);
        let mut concerned = Vec::new();
        let old = self.keys.remove(&key);
        let in_writing = self.in_writing.get(&key).map(|status| &**status);
        let same = old.as_ref().filter(|old| old.held.uid == held.uid);
        let news = same.is_none_or(|old| held.is_news(&old.held, in_writing));
        if news {
            concerned.push((key.clone(), held.lane));
        }
        let mut remembered = None;
        let known_before = same.is_some();
        if let Some(old) = old {
            concerned.extend(self.unlink(&key, &old.held));
            if known_before {
                remembered = old.remembered;
            } else {
                concerned.extend(self.went(&key, &old.held));
            }
        }
        if !known_before {
            self.crowds.came(&key.namespace, age_of(&held));
        }
        if let Some(remembered) = remembered.as_mut().filter(|_| news) {
            remembered.not_before = Timestamp::MIN;
        }
        concerned.extend(self.link(&key, &held));
        self.keys.insert(key, Box::new(Known { held, remembered }));
        concerned
    }

    /// Takes in that an object is gone: who waited for its target is to be looked at.
    pub fn key_deleted(&mut self, key: &ObjectKey) -> Concerned {
        let Some(old) = self.keys.remove(key) else {
            return Vec::new();
        };
        let mut concerned = self.unlink(key, &old.held);
        concerned.extend(self.went(key, &old.held));
        if self.secrets.has_merged(key) {
            concerned.push((key.clone(), Lane::Routine));
        }
        concerned
    }

    /// Takes in that a listing of objects is complete: the others are gone.
    pub fn keys_listed(&mut self, listed: &Listed) -> Concerned {
        let gone: Vec<ObjectKey> = self
            .keys
            .keys()
            .filter(|key| listed.lacks(key))
            .cloned()
            .collect();
        gone.iter().flat_map(|key| self.key_deleted(key)).collect()
    }

    /// Notes the status that the operator is about to write: its echo in the watch is no news, also
    /// where it comes before the answer.
    pub fn status_in_writing(&mut self, key: &ObjectKey, status: Box<RawValue>) {
        self.in_writing.insert(key.clone(), status);
    }

    /// Takes in that a status could not be written.
    pub fn status_not_written(&mut self, key: &ObjectKey) {
        self.in_writing.remove(key);
    }

    /// Takes in that the status was written that the operator wrote to an object, and which version
    /// that made, unless the watch has shown a newer one meanwhile.
    pub fn status_written(
        &mut self,
        key: &ObjectKey,
        uid: Option<&str>,
        version: Option<&str>,
        said: Said,
    ) {
        let Some(status) = self.in_writing.remove(key) else {
            return;
        };
        if let Some(known) = self.keys.get_mut(key)
            && uid == Some(&*known.held.uid)
            && is_newer(version, Some(&known.held.resource_version))
        {
            known
                .held
                .written(version.unwrap_or_default(), status, said);
        }
    }

    /// One value for all objects that mean the same instance.
    fn one_of(&mut self, instance: ObjectKey) -> Arc<ObjectKey> {
        if let Some(meant) = self.meant.get(&instance) {
            return Arc::clone(meant);
        }
        let meant = Arc::new(instance);
        self.meant.insert(Arc::clone(&meant));
        meant
    }

    /// Takes note of an object that is not held yet; returns who else wants its target.
    fn link(&mut self, key: &ObjectKey, held: &Held) -> Concerned {
        let target = held.target_key(key);
        let others = self.concern(&target);
        if held.target.is_some() {
            self.by_target
                .entry(target)
                .or_default()
                .push(key.name.clone());
        }
        for hash in &held.named {
            *self.naming.entry(*hash).or_default() += 1;
        }
        others
    }

    /// Takes note that an object is not held any more; returns who else wants its target.
    fn unlink(&mut self, key: &ObjectKey, held: &Held) -> Concerned {
        let target = held.target_key(key);
        if held.target.is_some()
            && let Some(names) = self.by_target.get_mut(&target)
        {
            names.retain(|name| *name != key.name);
            if names.is_empty() {
                self.by_target.remove(&target);
            }
        }
        // The object's own, and the set's.
        if Arc::strong_count(&held.instance) == 2 {
            self.meant.remove(&held.instance);
        }
        for hash in &held.named {
            if let Some(count) = self.naming.get_mut(hash) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.naming.remove(hash);
                }
            }
        }
        self.concern(&target)
    }

    /// The objects that want a target.
    pub(super) fn wanting(&self, target: &ObjectKey) -> impl Iterator<Item = (&ObjectKey, &Known)> {
        let namesake = self.keys.get_key_value(target);
        let others = self.by_target.get(target).into_iter().flatten();
        let others = others.filter_map(|name| {
            self.keys
                .get_key_value(&ObjectKey::new(&target.namespace, name))
        });
        namesake
            .filter(|(_, known)| known.held.target.is_none())
            .into_iter()
            .chain(others)
            .map(|(key, known)| (key, &**known))
    }

    fn concern(&self, target: &ObjectKey) -> Concerned {
        self.wanting(target)
            .map(|(key, known)| (key.clone(), known.held.lane))
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
    pub fn secret_deleted(&mut self, key: &ObjectKey, version: Option<&str>) -> Concerned {
        let touched = self.secrets.deleted(key, version);
        self.concerned_by(touched)
    }

    /// Takes in that a listing of Secrets begins.
    pub fn secrets_listing(&mut self, place: &Place) {
        self.secrets.listing(place);
    }

    /// Takes in that a listing of Secrets is complete.
    pub fn secrets_listed(&mut self, listed: &Listed) -> Concerned {
        let touched = self.secrets.listed(listed);
        self.concerned_by(touched)
    }

    /// Objects whose target a Secret is, and objects that own it.
    fn concerned_by(&self, touched: impl IntoIterator<Item = Touched>) -> Concerned {
        let mut concerned = BTreeMap::new();
        for Touched {
            key,
            owners,
            merging,
        } in touched
        {
            concerned.extend(self.concern(&key));
            let owners = owners
                .iter()
                .map(|name| ObjectKey::new(&key.namespace, name));
            concerned.extend(
                owners.filter_map(|key| self.keys.get(&key).map(|known| (key, known.held.lane))),
            );
            let merging = merging
                .iter()
                .map(|name| ObjectKey::new(&key.namespace, name));
            concerned.extend(merging.map(|key| {
                let known = self.keys.get(&key);
                let lane = known.map_or(Lane::Routine, |known| known.held.lane);
                (key, lane)
            }));
        }
        concerned.into_iter().collect()
    }

    /// Takes in an instance that a watch shows; returns the objects that mean it, if what it says
    /// has changed.
    pub fn instance_applied(&mut self, instance: KeyProtectInstance) -> Concerned {
        let key = ObjectKey::new(
            &instance.namespace().unwrap_or_default(),
            &instance.name_any(),
        );
        let old = self.instances.insert(key.clone(), Arc::new(instance));
        self.concerned_by_instance(&key, old.as_deref())
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
    pub fn instances_but(&self, listed: &Listed) -> Vec<ObjectKey> {
        self.instances
            .keys()
            .filter(|key| listed.lacks(key))
            .cloned()
            .collect()
    }

    /// Every object that means an instance.
    #[must_use]
    pub fn meaning(&self, instance: &ObjectKey) -> Concerned {
        self.objects_of(instance)
            .map(|(key, known)| (key.clone(), known.held.lane))
            .collect()
    }

    /// Every object that means an instance and whose last look failed: what stood in its way is
    /// over, and so is its back-off.
    pub fn release(&mut self, instance: &ObjectKey) -> Concerned {
        let mut concerned = self.meaning(instance);
        concerned.retain(|(key, _)| {
            let known = self.keys.get_mut(key);
            let remembered = known.and_then(|known| known.remembered.as_mut());
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
        if old.is_some_and(|old| old == facts) {
            return Vec::new();
        }
        let keys = self.keys.iter().filter(|(key, _)| key.namespace == name);
        keys.map(|(key, known)| (key.clone(), known.held.lane))
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
