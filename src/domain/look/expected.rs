//! What a target Secret should look like besides its data, and whether it does: of keys as they
//! are known now, or of those that status says it was made from.

use std::collections::BTreeSet;

use crate::api::{self, key::DeletionPolicy};
use crate::domain::look::known;
use crate::domain::look::merge;
use crate::domain::look::observed::{Observed, Sight};
use crate::domain::look::request::SyncRequest;
use crate::domain::look::unread;
use crate::domain::secret::record::{SourceFacts, record};
use crate::domain::secret::{self, Drift, Expectation, SecretView};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::KeyName;

/// The record of the Secret that these keys make.
pub(super) fn record_of(request: &SyncRequest<'_>, keys: &[KeyMetadata]) -> String {
    let facts: Vec<SourceFacts<'_>> = request
        .target
        .sources
        .iter()
        .zip(keys)
        .map(|(source, key)| SourceFacts::new(key, alias_of(&source.key.name)))
        .collect();
    record_from(request, &facts)
}

fn record_from(request: &SyncRequest<'_>, facts: &[SourceFacts<'_>]) -> String {
    let owned = request.target.deletion_policy == DeletionPolicy::Delete;
    let owner = owned.then_some(api::API_VERSION);
    record(&request.target, owner, request.instance.instance_id, facts)
}

/// The alias by which a key was found.
pub(super) fn alias_of(name: &KeyName) -> Option<&str> {
    match name {
        KeyName::Alias(alias) => Some(alias.as_str()),
        KeyName::Id(_) | KeyName::Name(_) => None,
    }
}

/// Judges a Secret by the record that it should have.
pub(super) fn judge(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    view: &SecretView,
    record: &str,
) -> Result<(), Drift> {
    let expected = Expectation {
        record,
        entries: request
            .target
            .expected_entries()
            .or_else(|| written_entries(observed, request, view, record)),
        labels: &request.target.labels,
        annotations: &request.target.annotations,
        owner_uid: observed.uid(),
        owner_reference: request.target.deletion_policy == DeletionPolicy::Delete,
        last_write: secret::last_write(observed.object.status.as_ref()),
    };
    secret::in_sync(view, &expected)
}

/// The entries that the last write made, where only a payload tells which there should be: known
/// while status speaks of that very Secret, made from the same inputs.
fn written_entries<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    view: &SecretView,
    record: &str,
) -> Option<BTreeSet<&'a str>> {
    let status = observed.object.status.as_ref()?;
    let written = status.secret.as_ref()?;
    let same = written.uid.as_deref() == Some(&view.uid)
        && status.observed_generation == observed.object.metadata.generation
        && record_of_status(observed, request).as_deref() == Some(record);
    (same && !written.entries.is_empty())
        .then(|| written.entries.iter().map(String::as_str).collect())
}

/// The record of the Secret that the keys in status make of spec as it is now.
pub(super) fn record_of_status(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
) -> Option<String> {
    let sources = request.target.sources.iter();
    let priors: Option<Vec<_>> = sources
        .map(|source| known::prior(observed, request, &source.key))
        .collect();
    let priors = priors?;
    let ids: Option<Vec<KeyId>> = priors
        .iter()
        .map(|prior| KeyId::parse(&prior.id).ok())
        .collect();
    let ids = ids?;
    let facts: Vec<SourceFacts<'_>> = ids
        .iter()
        .zip(&priors)
        .map(|(id, prior)| SourceFacts {
            id,
            name: prior.name.as_deref(),
            alias: prior.alias.as_deref(),
        })
        .collect();
    Some(record_from(request, &facts))
}

/// Whether the Secret is what spec as it is now makes of the keys that it was last made from:
/// nothing is known against it, though nothing new may be known either.
pub(super) fn holds_good_value(observed: &Observed<'_>, request: &SyncRequest<'_>) -> bool {
    if observed.sight != Sight::Watched {
        return unread::holds_good_value(observed, request);
    }
    if request.target.merges() {
        return merge::holds_good_value(observed, request);
    }
    let Some(view) = observed.secret.filter(|view| view.is_owned()) else {
        return false;
    };
    let waits = view.deleting || view.other_owner(observed.uid()).is_some();
    !waits
        && record_of_status(observed, request)
            .is_some_and(|record| judge(observed, request, view, &record).is_ok())
}
