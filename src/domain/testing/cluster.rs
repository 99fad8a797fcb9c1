//! Secrets as an API server keeps them: preconditions, resourceVersions, and who owns which field
//! after which write (reference: "POST and PUT").

use std::collections::{BTreeMap, BTreeSet};

use crate::api;
use crate::domain::look::plan::{SecretBody, Write, WriteFailure};
use crate::domain::secret::{Mark, SecretView};

/// A Secret with its data.
#[derive(Clone, Debug)]
pub(crate) struct StoredSecret {
    /// Its metadata; what the operator may see of it.
    pub(crate) view: SecretView,
    /// Its data.
    pub(crate) data: BTreeMap<String, Vec<u8>>,
    /// Whether it is immutable.
    pub(crate) immutable: bool,
}

/// The Secrets of one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// By name.
    pub(crate) secrets: BTreeMap<String, StoredSecret>,
    /// Counts resourceVersions and UIDs.
    version: u64,
    /// What the API server says to the next writes, instead of carrying them out.
    pub(crate) refuses: Option<WriteFailure>,
}

impl Cluster {
    /// The Secrets that the operator's watch shows: those with its mark.
    pub(crate) fn in_view(&self) -> impl Iterator<Item = &SecretView> {
        self.secrets
            .values()
            .map(|secret| &secret.view)
            .filter(|view| view.mark().is_some())
    }

    /// Carries a write out as an API server would.
    pub(crate) fn execute(&mut self, write: &Write) -> Result<Option<SecretView>, WriteFailure> {
        if let Some(failure) = &self.refuses {
            return Err(failure.clone());
        }
        match write {
            Write::Create(body) if self.secrets.contains_key(&body.name) => {
                Err(WriteFailure::AlreadyExists)
            }
            Write::Create(body) => {
                let uid = format!("secret-{}", self.next_version());
                let view = SecretView {
                    name: body.name.clone(),
                    uid,
                    ..SecretView::default()
                };
                let fresh = StoredSecret {
                    view,
                    data: BTreeMap::new(),
                    immutable: false,
                };
                self.secrets.insert(body.name.clone(), fresh);
                Ok(Some(self.put(body)))
            }
            Write::Replace {
                uid,
                resource_version,
                body,
                ..
            } => {
                let seen = self.secrets.get(&body.name).ok_or(WriteFailure::Conflict)?;
                if seen.view.uid != *uid || seen.view.resource_version != *resource_version {
                    return Err(WriteFailure::Conflict);
                }
                if seen.immutable {
                    return Err(WriteFailure::Immutable);
                }
                Ok(Some(self.put(body)))
            }
            Write::Overwrite(body) => {
                let seen = self.secrets.get(&body.name).ok_or(WriteFailure::Conflict)?;
                // As the fence judges.
                match seen.view.mark() {
                    Some(Mark::Owned | Mark::Adopt) => {}
                    Some(Mark::Shared) | None => return Err(WriteFailure::NotOurs),
                }
                if seen.immutable {
                    return Err(WriteFailure::Immutable);
                }
                if seen.view.finalizers != body.finalizers {
                    return Err(WriteFailure::Finalizers);
                }
                Ok(Some(self.put(body)))
            }
            Write::Delete {
                name,
                uid,
                resource_version,
                unseen,
            } => {
                let seen = self.secrets.get(name);
                let same = seen.is_some_and(|seen| seen.view.uid == *uid);
                match (seen, resource_version) {
                    (Some(seen), Some(version))
                        if same && seen.view.resource_version == *version => {}
                    (Some(seen), None) if same && seen.view.is_owned() => {}
                    _ if *unseen => return Ok(None),
                    _ => return Err(WriteFailure::Conflict),
                }
                self.delete(name);
                Ok(None)
            }
            Write::Merge {
                name,
                uid,
                resource_version,
                manager,
                entries,
            } => {
                let entries = entries
                    .iter()
                    .map(|(name, value)| (name.clone(), value.expose().to_vec()))
                    .collect();
                self.apply(name, (uid, resource_version), manager, entries)
            }
            Write::GiveBack {
                name,
                uid,
                resource_version,
                manager,
            } => self.apply(name, (uid, resource_version), manager, BTreeMap::new()),
        }
    }

    /// A server-side apply of entries, by force: what the manager had and no longer names goes,
    /// unless another manager has it too.
    fn apply(
        &mut self,
        name: &str,
        seen: (&String, &String),
        manager: &str,
        entries: BTreeMap<String, Vec<u8>>,
    ) -> Result<Option<SecretView>, WriteFailure> {
        let secret = self.secrets.get_mut(name).ok_or(WriteFailure::Conflict)?;
        if (&secret.view.uid, &secret.view.resource_version) != seen {
            return Err(WriteFailure::Conflict);
        }
        if secret.immutable {
            return Err(WriteFailure::Immutable);
        }
        let before = (secret.data.clone(), secret.view.clone());
        let fields = &mut secret.view.fields;
        let had = fields.merged.remove(manager).unwrap_or_default();
        let others = |fields: &crate::domain::secret::FieldOwnership, entry: &String| {
            fields.foreign_entries.contains(entry)
                || fields.merged.values().any(|held| held.contains(entry))
        };
        for entry in had.iter().filter(|entry| !entries.contains_key(*entry)) {
            if !others(fields, entry) {
                secret.data.remove(entry);
            }
        }
        for (entry, value) in &entries {
            if secret.data.get(entry) != Some(value) {
                fields.foreign_entries.remove(entry);
                for held in fields.merged.values_mut() {
                    held.remove(entry);
                }
            }
        }
        fields.merged.retain(|_, held| !held.is_empty());
        if !entries.is_empty() {
            let names = entries.keys().cloned().collect();
            fields.merged.insert(manager.to_owned(), names);
        }
        secret.data.extend(entries);
        if before != (secret.data.clone(), secret.view.clone()) {
            self.touch(name, |_| {});
        }
        Ok(self.secrets.get(name).map(|secret| secret.view.clone()))
    }

    /// Makes a Secret of somebody else's that is shared, or handed over, as its owner labels it.
    pub(crate) fn make_labelled(&mut self, name: &str, label: &str, offer: &str) {
        self.make_foreign(name);
        self.touch(name, |secret| {
            let label = (api::TARGET_LABEL.to_owned(), label.to_owned());
            secret.view.labels.extend([label]);
            let offer = (api::ENTRIES_ANNOTATION.to_owned(), offer.to_owned());
            secret.view.annotations.extend([offer]);
            secret
                .view
                .fields
                .foreign_entries
                .insert("theirs".to_owned());
        });
    }

    /// Deletes a Secret; one with finalizers stays until they are gone.
    pub(crate) fn delete(&mut self, name: &str) {
        let finalized = self
            .secrets
            .get(name)
            .is_some_and(|secret| !secret.view.finalizers.is_empty());
        if finalized {
            self.touch(name, |secret| secret.view.deleting = true);
        } else {
            self.secrets.remove(name);
        }
    }

    /// Lets somebody else change a Secret.
    pub(crate) fn touch(&mut self, name: &str, change: impl FnOnce(&mut StoredSecret)) {
        let version = self.next_version();
        if let Some(secret) = self.secrets.get_mut(name) {
            change(secret);
            secret.view.resource_version = version.to_string();
        }
    }

    /// Lets somebody else write an entry.
    pub(crate) fn edit_entry(&mut self, name: &str, entry: &str, value: &[u8]) {
        self.touch(name, |secret| {
            secret.data.insert(entry.to_owned(), value.to_vec());
            secret.view.fields.entries.remove(entry);
            for held in secret.view.fields.merged.values_mut() {
                held.remove(entry);
            }
            secret.view.fields.merged.retain(|_, held| !held.is_empty());
            secret.view.fields.foreign_entries.insert(entry.to_owned());
        });
    }

    /// Lets somebody else write an annotation.
    pub(crate) fn annotate(&mut self, name: &str, key: &str, value: &str) {
        self.touch(name, |secret| {
            secret
                .view
                .annotations
                .insert(key.to_owned(), value.to_owned());
            secret.view.fields.annotations.remove(key);
        });
    }

    /// Makes a Secret that is nobody's business here.
    pub(crate) fn make_foreign(&mut self, name: &str) {
        let uid = format!("secret-{}", self.next_version());
        let view = SecretView {
            name: name.to_owned(),
            uid,
            resource_version: self.version.to_string(),
            ..SecretView::default()
        };
        let data = BTreeMap::from([("theirs".to_owned(), b"theirs".to_vec())]);
        self.secrets.insert(
            name.to_owned(),
            StoredSecret {
                view,
                data,
                immutable: false,
            },
        );
    }

    /// Does what the garbage collector does: a Secret all of whose owners are gone goes, and a
    /// reference to an owner that is gone goes from one that has others.
    pub(crate) fn collect_garbage(&mut self, living: &BTreeSet<String>) {
        let names: Vec<String> = self.secrets.keys().cloned().collect();
        for name in names {
            let owners = self
                .secrets
                .get(&name)
                .map(|secret| &secret.view.owner_references);
            let gone = |owners: &Vec<_>| {
                owners.iter().filter(|owner: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
                    owner.kind == api::KEY_KIND && !living.contains(&owner.uid)
                }).count()
            };
            match owners.map(|owners| (gone(owners), owners.len())) {
                Some((gone, all)) if gone > 0 && gone == all => self.delete(&name),
                Some((gone, _)) if gone > 0 => self.touch(&name, |secret| {
                    secret
                        .view
                        .owner_references
                        .retain(|owner| living.contains(&owner.uid));
                }),
                _ => {}
            }
        }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// A POST or PUT by the operator: what it changes becomes its own; what was so already stays
    /// whose it was; and where nothing changes, nothing is written.
    fn put(&mut self, body: &SecretBody) -> SecretView {
        let version = self.next_version();
        let Some(secret) = self.secrets.get_mut(&body.name) else {
            return SecretView::default();
        };
        let before = secret.clone();
        let view = &mut secret.view;
        let data: BTreeMap<String, Vec<u8>> = body
            .entries
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_vec()))
            .collect();
        let changed: BTreeSet<String> = differing(&before.data, &data);
        view.fields
            .foreign_entries
            .retain(|entry| data.contains_key(entry) && !changed.contains(entry));
        view.fields.entries.retain(|entry| data.contains_key(entry));
        view.fields.entries.extend(changed);
        for (ours, old, new) in [
            (&mut view.fields.labels, &before.view.labels, &body.labels),
            (
                &mut view.fields.annotations,
                &before.view.annotations,
                &body.annotations,
            ),
        ] {
            ours.retain(|key| new.contains_key(key));
            ours.extend(differing(old, new));
        }
        view.labels = body.labels.clone();
        view.annotations = body.annotations.clone();
        view.owner_references = body.owner_references.clone();
        view.finalizers = body.finalizers.clone();
        secret.data = data;
        let same = before.data == secret.data && before.view == secret.view;
        if !same || secret.view.resource_version.is_empty() {
            secret.view.resource_version = version.to_string();
        }
        if secret.view.deleting && secret.view.finalizers.is_empty() {
            let last = secret.view.clone();
            self.secrets.remove(&body.name);
            return last;
        }
        secret.view.clone()
    }
}

/// The keys of what is new or has another value.
fn differing<V: PartialEq>(
    old: &BTreeMap<String, V>,
    new: &BTreeMap<String, V>,
) -> BTreeSet<String> {
    new.iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect()
}
