//! Secrets of others, into which the operator puts entries (creationPolicy Merge): what their
//! owners offer, which entries are whose, and what is given back.
//!
//! Each KeyProtectKey has a field manager of its own there. So the API server itself removes an
//! entry that the object no longer wants, and what is left of an object that is gone can be told
//! by its name.

use std::collections::BTreeSet;

use super::{Mark, SecretView};
use crate::api::{self, key::DeletionPolicy};
use crate::domain::look::plan::Write;

/// The field manager of an object's entries in shared Secrets.
#[must_use]
pub fn manager(object: &str, policy: DeletionPolicy) -> String {
    let prefix = match policy {
        DeletionPolicy::Delete => api::MERGE_MANAGER,
        DeletionPolicy::Retain => api::MERGE_RETAIN_MANAGER,
    };
    format!("{prefix}{object}")
}

/// Whose entries a field manager has, and whether they go with that object.
#[must_use]
pub fn object_of(manager: &str) -> Option<(&str, DeletionPolicy)> {
    let going = manager.strip_prefix(api::MERGE_MANAGER);
    let staying = || manager.strip_prefix(api::MERGE_RETAIN_MANAGER);
    going
        .map(|object| (object, DeletionPolicy::Delete))
        .or_else(|| staying().map(|object| (object, DeletionPolicy::Retain)))
}

/// Tells whether a field manager is one of the operator's in shared Secrets.
#[must_use]
pub(super) fn is_ours(manager: &str) -> bool {
    object_of(manager).is_some()
}

/// The entries that a Secret's owner offers; none, unless it is shared.
#[must_use]
pub fn offered(view: &SecretView) -> BTreeSet<&str> {
    let shared = view.mark() == Some(Mark::Shared);
    let names = view.annotations.get(api::ENTRIES_ANNOTATION);
    let names = names.filter(|_| shared).into_iter();
    names
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

/// The objects that have entries in a Secret.
pub fn objects(view: &SecretView) -> impl Iterator<Item = &str> {
    let managers = view.fields.merged.keys();
    managers.filter_map(|manager| object_of(manager).map(|(object, _)| object))
}

/// Gives back the entries that a manager has in a Secret, if its owner still offers them: what is
/// not offered any more is the owner's.
#[must_use]
pub fn give_back(view: &SecretView, manager: &str) -> Option<Write> {
    let entries = view.fields.merged.get(manager)?;
    let offered = offered(view);
    let ours = entries.iter().all(|entry| offered.contains(entry.as_str()));
    (ours && !view.deleting).then(|| Write::GiveBack {
        name: view.name.clone(),
        uid: view.uid.clone(),
        resource_version: view.resource_version.clone(),
        manager: manager.to_owned(),
    })
}

/// Gives back what an object that is gone left behind in a Secret.
#[must_use]
pub fn give_back_all(view: &SecretView, object: &str) -> Option<Write> {
    give_back(view, &manager(object, DeletionPolicy::Delete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::map;

    fn view(label: &str, offer: &str, manager: &str, entries: &[&str]) -> SecretView {
        let mut view = SecretView {
            name: "s".to_owned(),
            uid: "u".to_owned(),
            resource_version: "7".to_owned(),
            labels: map(&[(api::TARGET_LABEL, label)]),
            annotations: map(&[(api::ENTRIES_ANNOTATION, offer)]),
            ..SecretView::default()
        };
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        view.fields.merged.insert(manager.to_owned(), entries);
        view
    }

    #[test]
    fn only_a_shared_secret_offers_entries() {
        let names = |label, offer| -> Vec<String> {
            let view = view(label, offer, "m", &[]);
            offered(&view).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(names("shared", "a, b,,c "), ["a", "b", "c"]);
        assert!(names("shared", "").is_empty());
        assert!(names("owned", "a").is_empty());
        assert!(names("adopt", "a").is_empty());
    }

    #[test]
    fn a_manager_names_its_object_and_whether_its_entries_stay() {
        for policy in [DeletionPolicy::Delete, DeletionPolicy::Retain] {
            let manager = manager("orders", policy);
            assert_eq!(object_of(&manager), Some(("orders", policy)));
            // The API server takes 128 bytes, and an object's name has at most 63.
            assert!(manager.len() + 63 - "orders".len() <= 128);
        }
        assert_eq!(object_of("keyprotect.dev/operator"), None);
        assert_eq!(object_of("kubectl"), None);
    }

    #[test]
    fn what_is_offered_no_longer_or_is_to_stay_is_not_given_back() {
        let ours = manager("orders", DeletionPolicy::Delete);
        let stays = manager("orders", DeletionPolicy::Retain);
        let cases = [
            ("offered", view("shared", "a,b", &ours, &["a"]), true),
            (
                "one of two offered",
                view("shared", "a", &ours, &["a", "b"]),
                false,
            ),
            (
                "not shared any more",
                view("owned", "a", &ours, &["a"]),
                false,
            ),
            ("to stay", view("shared", "a", &stays, &["a"]), false),
            (
                "another object's",
                view("shared", "a", "keyprotect.dev/merge/x", &["a"]),
                false,
            ),
        ];
        for (case, view, given) in cases {
            assert_eq!(give_back_all(&view, "orders").is_some(), given, "{case}");
        }
        let mut leaving = view("shared", "a", &ours, &["a"]);
        leaving.deleting = true;
        assert!(give_back_all(&leaving, "orders").is_none());
    }
}
