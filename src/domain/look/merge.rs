//! Targets that are somebody else's (creationPolicy Merge): whether their owner shares what is
//! asked for, whether the entries are right, and the write that makes them so.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{self, Reason};
use crate::domain::look::expected;
use crate::domain::look::hindrance::{Blocked, Hindrance, Need};
use crate::domain::look::observed::{Observed, Probe};
use crate::domain::look::plan::Write;
use crate::domain::look::request::SyncRequest;
use crate::domain::secret::{Drift, Mark, SecretView, shared};
use crate::domain::service::material::KeyMaterial;

/// The target, if its owner shares it and offers all that is known to be asked for.
pub(super) fn shared_target<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
) -> Result<&'a SecretView, Hindrance> {
    let name = &request.target.name;
    let view = observed
        .secret
        .filter(|view| view.mark() == Some(Mark::Shared));
    let Some(view) = view else {
        return Err(Blocked::new(
            Reason::SecretNotOwned,
            format!(
                "Secret {name} is not there, or its owner does not share it; with creationPolicy \
                 Merge the operator makes none. Let its owner label it {}={} and name the entries \
                 in its annotation {} (as in a,b). It is taken up at once then.",
                api::TARGET_LABEL,
                api::TARGET_SHARED,
                api::ENTRIES_ANNOTATION
            ),
            "not shared",
        )
        .into());
    };
    if view.deleting {
        let message = format!("Secret {name} is being deleted by its owner.");
        return Err(Blocked::new(Reason::Pending, message, "the Secret is being deleted").into());
    }
    if let Some(entries) = request.target.expected_entries() {
        all_offered(view, entries.iter().copied())?;
    }
    Ok(view)
}

/// Entries come together or not at all: one that is not offered holds all back.
pub(super) fn all_offered<'a>(
    view: &SecretView,
    entries: impl Iterator<Item = &'a str>,
) -> Result<(), Hindrance> {
    let offered = shared::offered(view);
    let missing: Vec<&str> = entries.filter(|entry| !offered.contains(entry)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Blocked::new(
        Reason::SecretNotOwned,
        format!(
            "The owner of Secret {} does not offer these entries: {}. Let them be added to its \
             annotation {}, or ask for others in spec.target.data. Nothing is written meanwhile.",
            view.name,
            missing.join(", "),
            api::ENTRIES_ANNOTATION
        ),
        "an entry is not offered",
    )
    .into())
}

/// Judges a shared Secret. managedFields are no evidence against who may write it, so only its
/// resourceVersion is: anybody's write, even of a label, costs one payload read and one write that
/// mostly changes nothing.
pub(super) fn judge(observed: &Observed<'_>, view: &SecretView, record: &str) -> Result<(), Drift> {
    let status = observed.object.status.as_ref();
    let written = status.and_then(|status| status.secret.as_ref());
    let written = written
        .filter(|written| written.name == view.name && written.uid.as_deref() == Some(&*view.uid));
    let Some(written) = written else {
        return Err(Drift::Inputs);
    };
    if written.record.as_deref() != Some(record) {
        return Err(Drift::Inputs);
    }
    if written.resource_version.as_deref() != Some(&*view.resource_version) {
        return Err(Drift::Touched);
    }
    Ok(())
}

/// Whether the operator may write the Secret is asked before a payload is read for it: the right
/// is its owner's to give.
pub(super) fn granted(observed: &Observed<'_>, request: &SyncRequest<'_>) -> Result<(), Hindrance> {
    match observed.probe {
        Some(Probe::MayMerge) => Ok(()),
        Some(Probe::MayNotMerge) => {
            let (name, namespace) = (&request.target.name, observed.namespace.name);
            let command = observed.account.map_or_else(
                || "a Role with the verb patch on it".to_owned(),
                |account| account.grant_command("patch", namespace, name),
            );
            Err(Blocked::new(
                Reason::SecretNotOwned,
                format!(
                    "The operator has no right to write Secret {name}, which is for its owner to \
                     give: {command}. (That right also lets the operator read this one Secret.) \
                     It is tried again at growing intervals of up to 5 minutes."
                ),
                "no right to patch",
            )
            .into())
        }
        _ => Err(Hindrance::Ask(Need::MayMerge)),
    }
}

/// The write of the object's entries.
pub(super) fn write(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    view: &SecretView,
    entries: BTreeMap<String, KeyMaterial>,
) -> Write {
    Write::Merge {
        name: view.name.clone(),
        uid: view.uid.clone(),
        resource_version: view.resource_version.clone(),
        manager: shared::manager(observed.name(), request.target.deletion_policy),
        entries,
    }
}

/// What this object has in shared Secrets and is not to have any more: in the target under the
/// manager of another deletionPolicy, and in targets of before, where they are to go.
pub(super) fn given_back(observed: &Observed<'_>, request: &SyncRequest<'_>) -> Vec<Write> {
    let name = observed.name();
    let ours = |manager: &str| shared::object_of(manager).is_some_and(|(object, _)| object == name);
    let current = shared::manager(name, request.target.deletion_policy);
    let going = shared::manager(name, crate::api::key::DeletionPolicy::Delete);
    let all = observed.merged.iter().filter_map(|view| {
        let target = request.target.merges() && view.name == request.target.name;
        let mut managers = view.fields.merged.keys().filter(|manager| ours(manager));
        let surplus = managers.find(|manager| {
            if target {
                **manager != current
            } else {
                **manager == going && current == going
            }
        })?;
        shared::give_back(view, surplus)
    });
    all.collect()
}

/// Whether the target still has entries of this object under another manager than the one that a
/// write is about to use.
pub(super) fn changes_manager(observed: &Observed<'_>, request: &SyncRequest<'_>) -> bool {
    let current = shared::manager(observed.name(), request.target.deletion_policy);
    observed.secret.is_some_and(|view| {
        view.fields.merged.keys().any(|manager| {
            let whose = shared::object_of(manager).map(|(object, _)| object);
            whose == Some(observed.name()) && *manager != current
        })
    })
}

/// Whether the Secret is what the keys in status make of spec as it is now.
pub(super) fn holds_good_value(observed: &Observed<'_>, request: &SyncRequest<'_>) -> bool {
    let view = shared_target(observed, request);
    view.is_ok_and(|view| {
        expected::record_of_status(observed, request)
            .is_some_and(|record| judge(observed, view, &record).is_ok())
    })
}

/// The names of entries, as status lists them.
pub(super) fn names(entries: &BTreeMap<String, KeyMaterial>) -> BTreeSet<&str> {
    entries.keys().map(String::as_str).collect()
}
