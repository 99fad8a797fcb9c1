//! What of a watch event is news, beside what is known and what the operator wrote itself.

use kube::ResourceExt;

use crate::api::{KeyProtectKey, KeyProtectKeyStatus, SYNC_REQUESTED_ANNOTATION};
use crate::domain::resource_version;

/// Whether two are one object, not two that followed each other under one name.
pub(super) fn same_uid(a: &KeyProtectKey, b: &KeyProtectKey) -> bool {
    a.metadata.uid == b.metadata.uid
}

/// What of an object makes a new look worth while: its spec, its deletion, a sync request, a status
/// that somebody else wrote.
pub(super) fn asks_for_a_look(
    old: &KeyProtectKey,
    new: &KeyProtectKey,
    in_writing: Option<&KeyProtectKeyStatus>,
) -> bool {
    let sync =
        |object: &KeyProtectKey| object.annotations().get(SYNC_REQUESTED_ANNOTATION).cloned();
    old.metadata.generation != new.metadata.generation
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || sync(old) != sync(new)
        || old.status != new.status && new.status.as_ref() != in_writing
}

/// Compares resourceVersions; one that is missing counts as newer.
pub(super) fn is_newer(version: Option<&String>, than: Option<&String>) -> bool {
    version
        .zip(than)
        .is_none_or(|(version, than)| resource_version::is_newer(version, than))
}
