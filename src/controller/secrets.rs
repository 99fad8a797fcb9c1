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
    watched: HashMap<Place, Watched>,
}

/// How far the watch of a place has come.
#[derive(Debug, Default)]
struct Watched {
    /// The newest resourceVersion that it has shown: whatever was written until then and is not in
    /// view is gone again.
    shown: Option<Box<str>>,
    /// The listing that is under way.
    listing: Option<UnderWay>,
}

/// A listing that is not complete yet.
#[derive(Debug, Default)]
struct UnderWay {
    /// Those that the operator wrote meanwhile, which it may lack.
    written: HashSet<ObjectKey>,
    /// The newest resourceVersion in it. It says nothing before the end: pages come in the order
    /// of names.
    newest: Option<Box<str>>,
}

impl Watched {
    fn show(&mut self, version: &str) {
        let newest = match &mut self.listing {
            Some(listing) => &mut listing.newest,
            None => &mut self.shown,
        };
        if is_newer(Some(version), newest.as_deref()) {
            *newest = Some(version.into());
        }
    }
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
    /// is known is newer. The answer to a write may come after the watch has shown that somebody
    /// deleted the Secret: it must not bring it back, for nothing would ever take it away again.
    pub fn applied(
        &mut self,
        namespace: &str,
        view: SecretView,
        own_write: bool,
    ) -> Option<Touched> {
        let key = ObjectKey::new(namespace, &view.name);
        let is_past = own_write && self.has_shown(&key, &view.resource_version);
        if !own_write {
            self.show(&key, &view.resource_version);
        }
        let old = self.held.get(&key);
        let is_old = match old.filter(|old| *old.uid == *view.uid) {
            Some(old) => !is_newer(Some(&view.resource_version), Some(&old.resource_version)),
            None => is_past,
        };
        if is_old {
            return None;
        }
        let listings = self.watched.iter_mut().filter(|_| own_write);
        for (_, watched) in listings.filter(|(place, _)| listed::covers(place, &key)) {
            if let Some(listing) = &mut watched.listing {
                listing.written.insert(key.clone());
            }
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
        if let Some(version) = resource_version {
            self.show(key, version);
        }
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
        let watched = self.watched.entry(place.clone()).or_default();
        watched.listing = Some(UnderWay::default());
    }

    /// Takes in that a listing is complete: the others are gone, but for those that the operator
    /// wrote meanwhile.
    pub fn listed(&mut self, listed: &Listed) -> Vec<Touched> {
        let watched = self.watched.get_mut(&listed.place);
        let ended = watched.and_then(|watched| {
            let ended = watched.listing.take()?;
            if let Some(newest) = &ended.newest {
                watched.show(newest);
            }
            Some(ended)
        });
        let written = ended.unwrap_or_default().written;
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

    fn show(&mut self, key: &ObjectKey, version: &str) {
        for (place, watched) in &mut self.watched {
            if listed::covers(place, key) {
                watched.show(version);
            }
        }
    }

    /// Whether the watch has come as far as this version of a Secret, or farther.
    fn has_shown(&self, key: &ObjectKey, version: &str) -> bool {
        let mut watched = self.watched.iter();
        watched.any(|(place, watched)| {
            listed::covers(place, key)
                && watched.shown.is_some()
                && !is_newer(Some(version), watched.shown.as_deref())
        })
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
    fn a_late_answer_to_an_own_write_does_not_bring_back_what_the_watch_showed_deleted() {
        let mut secrets = Secrets::default();
        secrets.listing(&None);
        secrets.listed(&Listed::default());
        secrets.applied("n", view("u", "7"), false);
        assert!(secrets.deleted(&key(), Some("8")).is_some());
        assert_eq!(secrets.applied("n", view("u", "7"), true), None);
        assert_eq!(secrets.get(&key()), None);
        // What the watch has not come to yet is taken in.
        assert!(secrets.applied("n", view("v", "9"), true).is_some());
        assert!(secrets.get(&key()).is_some());
        // Made anew by somebody else: it stays that one.
        secrets.deleted(&key(), Some("10"));
        secrets.applied("n", view("w", "11"), false);
        assert_eq!(secrets.applied("n", view("v", "9"), true), None);
        assert_eq!(secrets.get(&key()).unwrap().uid, "w");
    }

    #[test]
    fn a_deletion_of_what_was_never_held_counts_too() {
        let mut secrets = Secrets::default();
        secrets.listing(&None);
        secrets.listed(&Listed::default());
        assert_eq!(secrets.deleted(&key(), Some("8")), None);
        assert_eq!(secrets.applied("n", view("u", "7"), true), None);
    }

    #[test]
    fn what_a_listing_shows_counts_once_it_is_complete() {
        let mut secrets = Secrets::default();
        secrets.listing(&None);
        let other = SecretView {
            name: "other".to_owned(),
            ..view("o", "9")
        };
        // Pages come in the order of names, not of versions.
        secrets.applied("n", other, false);
        assert!(secrets.applied("n", view("u", "7"), true).is_some());
        secrets.listed(&Listed {
            names: HashSet::from([ObjectKey::new("n", "other"), key()]),
            ..Listed::default()
        });
        let late = SecretView {
            name: "late".to_owned(),
            ..view("l", "8")
        };
        assert_eq!(secrets.applied("n", late.clone(), true), None);
        // Another namespace's watch says nothing of it.
        let mut secrets = Secrets::default();
        let (m, n) = (Some("m".to_owned()), Some("n".to_owned()));
        secrets.listing(&m);
        secrets.listing(&n);
        for place in [&m, &n] {
            secrets.listed(&Listed {
                place: place.clone(),
                ..Listed::default()
            });
        }
        secrets.applied("m", view("u", "9"), false);
        assert!(secrets.applied("n", late, true).is_some());
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
        assert!(secrets.watched[&None].listing.is_none());
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
