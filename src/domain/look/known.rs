//! What a look knows of a reference before anything is asked for it: the key that it meant last,
//! the single reads that may find it, and which answers are fresh enough to count.

use jiff::Timestamp;

use crate::api::key::SourceKey;
use crate::domain::access::{Question, Verdict};
use crate::domain::look::observed::Observed;
use crate::domain::look::request::{self, SyncRequest};
use crate::domain::service::catalogue::Answer;
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::{KeyName, KeyReference};

/// The key that status says this reference meant last.
#[must_use]
pub(super) fn prior<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
) -> Option<&'a SourceKey> {
    let instance = (
        request.instance.namespace.to_owned(),
        request.instance.name.to_owned(),
    );
    let status = observed.object.status.as_ref()?;
    if status.instance_ref.as_ref() != Some(&request::reference_to(&instance)) {
        return None;
    }
    status.keys.iter().find(|key| {
        let named = match &reference.name {
            KeyName::Id(id) => key.alias.is_none() && key.id == id.as_str(),
            KeyName::Alias(alias) => key.alias.as_deref() == Some(alias.as_str()),
            KeyName::Name(name) => key.alias.is_none() && key.name.as_ref() == Some(name),
        };
        named && in_asked_ring(key.key_ring.as_deref(), reference)
    })
}

/// What a reference means in this look. An object that does not follow its alias or name means
/// the key in its Secret, by its ID, until the object itself changes or somebody forces a sync.
#[must_use]
pub(super) fn meant(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
) -> KeyReference {
    let status = observed.object.status.as_ref();
    let seen = status.and_then(|status| status.observed_generation);
    let unchanged = seen == observed.object.metadata.generation;
    let held = request.pinned && unchanged && observed.open_sync_request().is_none();
    let id = prior(observed, request, reference)
        .filter(|_| held)
        .and_then(|prior| KeyId::parse(&prior.id).ok());
    KeyReference {
        name: id.map_or_else(|| reference.name.clone(), KeyName::Id),
        ring: reference.ring.clone(),
    }
}

/// The single reads that may find what a reference means. The service looks nothing up by name,
/// but the key that had the name last can be asked whether it has it still.
#[must_use]
pub(super) fn questions(
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    prior: Option<&SourceKey>,
) -> Vec<Question> {
    match &reference.name {
        KeyName::Id(_) | KeyName::Alias(_) => request.grant.questions(reference),
        KeyName::Name(_) => prior
            .and_then(|prior| KeyId::parse(&prior.id).ok())
            .map(|id| {
                let ring = reference.ring.clone();
                request.grant.questions(&KeyReference {
                    name: KeyName::Id(id),
                    ring,
                })
            })
            .unwrap_or_default(),
    }
}

/// What counts as fresh: nothing older than an open sync request, nor than what memory asks for
/// once its time has come.
#[must_use]
pub(super) fn fresh_after(observed: &Observed<'_>) -> Timestamp {
    let forced = observed.forced_at().unwrap_or(Timestamp::MIN);
    due(observed, observed.memory.fresh_after).max(forced)
}

/// A time that memory asks for: nothing before it has come, so that no event, however often it
/// happens, brings a retry forward.
fn due(observed: &Observed<'_>, at: Timestamp) -> Timestamp {
    if at <= observed.now {
        at
    } else {
        Timestamp::MIN
    }
}

/// Nothing that was asked before this time is an answer.
#[must_use]
pub(super) fn answers_after(observed: &Observed<'_>) -> Timestamp {
    due(observed, observed.memory.answers_after).max(fresh_after(observed))
}

/// An answer that is fresh enough, if there is one.
#[must_use]
pub(super) fn answer<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    question: &Question,
) -> Option<&'a Answer> {
    let answer = observed.knowledge.answers.get(question)?;
    let old = answer.asked_at < answers_after(observed)
        || answer
            .asked_at
            .checked_add(request.interval)
            .is_ok_and(|due| due <= observed.fresh_as_of());
    (!old).then_some(answer)
}

/// Tells whether a single read found the key that was meant, and the grant allows it.
#[must_use]
pub(super) fn fits(key: &KeyMetadata, reference: &KeyReference, request: &SyncRequest<'_>) -> bool {
    let named = match &reference.name {
        KeyName::Id(id) => key.id == *id,
        KeyName::Alias(alias) => key
            .aliases
            .as_ref()
            .is_none_or(|aliases| aliases.iter().any(|a| a == alias.as_str())),
        KeyName::Name(name) => key.name.as_ref() == Some(name) && key.is_active_standard(),
    };
    named
        && in_asked_ring(key.key_ring.as_deref(), reference)
        && request.grant.verdict(key) == Verdict::Allowed
}

fn in_asked_ring(ring: Option<&str>, reference: &KeyReference) -> bool {
    let asked = reference.ring.as_ref();
    asked.is_none_or(|asked| ring.is_none_or(|ring| ring == asked.as_str()))
}
