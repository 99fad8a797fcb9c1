//! The Secrets in view, by name and by owner: what a watch showed of them, overlaid with what the
//! operator itself wrote and the watch has not shown yet.

use std::collections::{BTreeSet, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::held::{HeldSecret, is_newer};
use super::listed::{self, Listed, Place};
use super::queue::ObjectKey;
use crate::domain::secret::{SecretView, shared};

/// A Secret that came, went or changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Touched {
    /// Which.
    pub key: ObjectKey,
    /// Names of the objects that own it or owned it, by its owner references.
    pub owners: BTreeSet<String>,
    /// Names of the objects that have entries in it, by its field managers.
    pub merging: BTreeSet<String>,
}

/// The Secrets in view.
#[derive(Debug, Default)]
pub struct Secrets {
    held: HashMap<ObjectKey, Box<HeldSecret>>,
    /// Those that have another name than an object that owns them, by its UID.
    by_owner: HashMap<String, BTreeSet<ObjectKey>>,
    /// Shared Secrets that have entries of an object, which may be gone.
    by_merging: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Those that the operator wrote while a listing is under way there, which may lack them; nothing
    /// between listings.
    written_meanwhile: HashMap<Place, HashSet<ObjectKey>>,
}

impl Secrets {
    /// A Secret, if it is in view.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<SecretView> {
        self.held.get(key)?.view(key)
    }

    /// Whether a Secret is in view.
    #[must_use]
    pub fn has(&self, key: &ObjectKey) -> bool {
        self.held.contains_key(key)
    }

    /// The Secrets that an object owns.
    pub fn owned_by(
        &self,
        object: &ObjectKey,
        uid: &str,
    ) -> impl Iterator<Item = (ObjectKey, SecretView)> {
        let namesake = self.get(object).filter(|view| view.is_owned_by(uid));
        let others = self.by_owner.get(uid).into_iter().flatten();
        let others = others.filter(|key| key.namespace == object.namespace);
        let others = others.filter_map(|key| Some((key.clone(), self.get(key)?)));
        let namesake = namesake.map(|view| (object.clone(), view));
        namesake.into_iter().chain(others)
    }

    /// The shared Secrets that have entries of an object.
    #[must_use]
    pub fn merged_for(&self, object: &ObjectKey) -> Vec<SecretView> {
        let merged = self.by_merging.get(object).into_iter().flatten();
        merged.filter_map(|key| self.get(key)).collect()
    }

    /// Whether shared Secrets have entries of an object.
    #[must_use]
    pub fn has_merged(&self, object: &ObjectKey) -> bool {
        self.by_merging.contains_key(object)
    }

    /// The objects that have entries in shared Secrets.
    pub fn merging(&self) -> impl Iterator<Item = &ObjectKey> {
        self.by_merging.keys()
    }

    /// Takes in a Secret that a watch shows, or that the operator wrote itself; nothing, if what
    /// is known is newer.
    pub fn applied(
        &mut self,
        namespace: &str,
        view: SecretView,
        own_write: bool,
    ) -> Option<Touched> {
        let key = ObjectKey::new(namespace, &view.name);
        let old = self.held.get(&key);
        if old.is_some_and(|old| {
            *old.uid == *view.uid
                && !is_newer(Some(&view.resource_version), Some(&old.resource_version))
        }) {
            return None;
        }
        let listings = self.written_meanwhile.iter_mut().filter(|_| own_write);
        for (_, written) in listings.filter(|(place, _)| listed::covers(place, &key)) {
            written.insert(key.clone());
        }
        let old = old.and_then(|old| old.view(&key));
        if let Some(old) = &old {
            self.disown(&key, old);
        }
        for owner in others(&view) {
            let owned = self.by_owner.entry(owner.uid.clone()).or_default();
            owned.insert(key.clone());
        }
        let owners = owner_names(&view)
            .chain(old.iter().flat_map(owner_names))
            .collect();
        let merging: BTreeSet<String> = shared::objects(&view).map(str::to_owned).collect();
        for object in &merging {
            let object = ObjectKey::new(namespace, object);
            let merged = self.by_merging.entry(object).or_default();
            merged.insert(key.clone());
        }
        self.held
            .insert(key.clone(), Box::new(HeldSecret::new(view)));
        Some(Touched {
            key,
            owners,
            merging,
        })
    }

    /// Takes in that a Secret is gone, or has lost the operator's mark; nothing, if the operator
    /// has made it anew since.
    pub fn deleted(&mut self, key: &ObjectKey, resource_version: Option<&str>) -> Option<Touched> {
        let old = self.held.get(key)?;
        if resource_version.is_some() && is_newer(Some(&old.resource_version), resource_version) {
            return None;
        }
        let old = self.held.remove(key)?.view(key);
        if let Some(old) = &old {
            self.disown(key, old);
        }
        Some(Touched {
            key: key.clone(),
            owners: old.iter().flat_map(owner_names).collect(),
            merging: BTreeSet::new(),
        })
    }

    /// Takes in that a listing begins.
    pub fn listing(&mut self, place: &Place) {
        let written = self.written_meanwhile.entry(place.clone());
        written.or_default().clear();
    }

    /// Takes in that a listing is complete: the others are gone, but for those that the operator
    /// wrote meanwhile.
    pub fn listed(&mut self, listed: &Listed) -> Vec<Touched> {
        let written = self.written_meanwhile.remove(&listed.place);
        let written = written.unwrap_or_default();
        let gone: Vec<ObjectKey> = self
            .held
            .keys()
            .filter(|key| listed.lacks(key) && !written.contains(*key))
            .cloned()
            .collect();
        gone.iter()
            .filter_map(|key| self.deleted(key, None))
            .collect()
    }

    fn disown(&mut self, key: &ObjectKey, view: &SecretView) {
        for owner in others(view) {
            if let Some(owned) = self.by_owner.get_mut(&owner.uid) {
                owned.remove(key);
                if owned.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
        }
        for object in shared::objects(view) {
            let object = ObjectKey::new(&key.namespace, object);
            if let Some(merged) = self.by_merging.get_mut(&object) {
                merged.remove(key);
                if merged.is_empty() {
                    self.by_merging.remove(&object);
                }
            }
        }
    }
}

/// Owners that have another name than the Secret.
fn others(view: &SecretView) -> impl Iterator<Item = &OwnerReference> {
    let owners = view.owner_references.iter();
    owners.filter(|owner| owner.name != view.name)
}

fn owner_names(view: &SecretView) -> impl Iterator<Item = String> {
    view.owner_references.iter().map(|owner| owner.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(uid: &str, version: &str) -> SecretView {
        SecretView {
            name: "s".to_owned(),
            uid: uid.to_owned(),
            resource_version: version.to_owned(),
            ..SecretView::default()
        }
    }

    fn key() -> ObjectKey {
        ObjectKey::new("n", "s")
    }

    #[test]
    fn the_echo_of_an_own_write_is_no_news() {
        let mut secrets = Secrets::default();
        secrets.applied("n", view("u", "7"), true);
        assert_eq!(secrets.applied("n", view("u", "7"), false), None);
        assert_eq!(secrets.applied("n", view("u", "6"), false), None);
        assert!(secrets.applied("n", view("u", "8"), false).is_some());
    }

    #[test]
    fn a_late_word_of_a_deletion_does_not_take_what_was_made_anew() {
        let mut secrets = Secrets::default();
        secrets.applied("n", view("u2", "9"), true);
        assert_eq!(secrets.deleted(&key(), Some("8")), None);
        assert!(secrets.get(&key()).is_some());
        assert!(secrets.deleted(&key(), Some("10")).is_some());
    }

    #[test]
    fn a_listing_takes_what_it_lacks_but_not_what_was_written_meanwhile() {
        let mut secrets = Secrets::default();
        secrets.applied("n", view("u", "1"), false);
        secrets.listing(&None);
        assert_eq!(secrets.listed(&Listed::default()).len(), 1);
        secrets.listing(&None);
        secrets.applied("n", view("u", "2"), true);
        assert!(secrets.listed(&Listed::default()).is_empty());
        assert!(secrets.get(&key()).is_some());
        // Between listings nothing is noted, so that nothing grows.
        secrets.applied("n", view("u", "3"), true);
        assert!(secrets.written_meanwhile.is_empty());
    }

    #[test]
    fn listings_of_two_namespaces_do_not_take_what_the_other_shows() {
        let mut secrets = Secrets::default();
        let nothing_in = |namespace: &str| Listed {
            place: Some(namespace.to_owned()),
            ..Listed::default()
        };
        let (n, m) = (Some("n".to_owned()), Some("m".to_owned()));
        secrets.listing(&n);
        secrets.listing(&m);
        secrets.applied("n", view("u", "1"), true);
        secrets.applied("m", view("v", "1"), false);
        // The other one ends first: what was written here meanwhile is noted still.
        assert_eq!(secrets.listed(&nothing_in("m")).len(), 1);
        assert!(secrets.listed(&nothing_in("n")).is_empty());
        assert!(secrets.get(&key()).is_some());
    }
}
