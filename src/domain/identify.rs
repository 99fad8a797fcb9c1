//! Which keys an object means now, found in what is known of the instance or still to be asked
//! for. What a key that was found, or an absence, amounts to stands in [`super::judge`].

use jiff::Timestamp;

use super::access::{Question, Verdict};
use super::catalogue::{Answer, Listing, LookUp};
use super::failure::FailureKind;
pub use super::hindrance::{Bearing, Blocked, Hindrance, Need, PayloadNeed, failed};
use super::ids::KeyId;
use super::judge;
use super::metadata::KeyMetadata;
use super::observed::Observed;
use super::reference::{KeyName, KeyReference};
use super::request::{self, SyncRequest};
use crate::api::key::SourceKey;

/// Where the look for one key ends.
pub type Identity = Result<KeyMetadata, Hindrance>;

/// Finds the key of every source of the target. What has to be asked for several of them is
/// asked at once; what blocks one of them blocks before anything is asked for the others.
///
/// # Errors
/// Says what must be asked first, or why a key cannot be used.
pub fn identify_all(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
) -> Result<Vec<KeyMetadata>, Hindrance> {
    let mut keys = Vec::with_capacity(request.target.sources.len());
    let mut questions: Vec<Question> = Vec::new();
    for source in &request.target.sources {
        match identify(observed, request, &source.key) {
            Ok(key) => keys.push(key),
            Err(Hindrance::Ask(Need::Answers(unasked))) => {
                for question in unasked {
                    if !questions.contains(&question) {
                        questions.push(question);
                    }
                }
            }
            Err(hindrance) => return Err(hindrance),
        }
    }
    if questions.is_empty() {
        Ok(keys)
    } else {
        Err(Hindrance::Ask(Need::Answers(questions)))
    }
}

/// The key that status says this reference meant last.
#[must_use]
pub fn prior<'a>(
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
pub fn meant(
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

/// Finds the key that a reference means, over catalogue ∩ grant.
fn identify(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
) -> Identity {
    let listing = &observed.knowledge.listing;
    let fresh_after = fresh_after(observed);
    if listing.attempted_at().is_none_or(|at| at < fresh_after) {
        return Err(Hindrance::Ask(Need::Listing(fresh_after)));
    }
    let prior = prior(observed, request, reference);
    let reference = &meant(observed, request, reference);
    if let Some(need) = newer_listing(observed, listing, reference, prior) {
        return Err(Hindrance::Ask(need));
    }
    if let Some(LookUp::Found(row)) = listing
        .in_force()
        .map(|c| c.look_up(reference, &request.grant))
    {
        return judge::found(observed, request, reference, row.clone(), prior);
    }
    if let Listing::Failed { failure, .. } = listing
        && !listing.is_refused()
    {
        return Err(failed(failure).into());
    }
    let mut refused = None;
    let mut unasked = Vec::new();
    for question in questions(request, reference, prior) {
        match answer(observed, request, &question).map(|answer| &answer.result) {
            None => unasked.push(question),
            Some(Ok(key)) if fits(key, reference, request) => {
                return judge::found(observed, request, reference, key.clone(), prior);
            }
            Some(Ok(_)) => {}
            Some(Err(failure)) => match failure.kind {
                FailureKind::KeyNotFound | FailureKind::KeyGone => {}
                FailureKind::Denied => refused = Some(failure),
                _ => return Err(failed(failure).into()),
            },
        }
    }
    if !unasked.is_empty() {
        return Err(Hindrance::Ask(Need::Answers(unasked)));
    }
    judge::missing(observed, request, reference, prior, refused)
}

/// The single reads that may find what a reference means. The service looks nothing up by name,
/// but the key that had the name last can be asked whether it has it still.
#[must_use]
pub fn questions(
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

/// A name can only be looked up in a listing, and one older than the object may lack the key
/// that the object was made for.
fn newer_listing(
    observed: &Observed<'_>,
    listing: &Listing,
    reference: &KeyReference,
    prior: Option<&SourceKey>,
) -> Option<Need> {
    let created = observed.object.metadata.creation_timestamp.as_ref()?;
    let created = created.0.min(observed.now);
    let by_name = matches!(reference.name, KeyName::Name(_)) && prior.is_none();
    let old = matches!(listing, Listing::Fresh(catalogue) if catalogue.listed_at() < created);
    (by_name && old).then_some(Need::Listing(created))
}

/// What counts as fresh: nothing older than an open sync request, nor than what memory asks for
/// once its time has come.
#[must_use]
pub fn fresh_after(observed: &Observed<'_>) -> Timestamp {
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

/// An answer that is fresh enough, if there is one.
#[must_use]
pub fn answer<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    question: &Question,
) -> Option<&'a Answer> {
    let answer = observed.knowledge.answers.get(question)?;
    let old = answer.asked_at < due(observed, observed.memory.answers_after)
        || answer.asked_at < fresh_after(observed)
        || answer
            .asked_at
            .checked_add(request.interval)
            .is_ok_and(|due| due <= observed.now);
    (!old).then_some(answer)
}

/// Tells whether a single read found the key that was meant, and the grant allows it.
#[must_use]
pub fn fits(key: &KeyMetadata, reference: &KeyReference, request: &SyncRequest<'_>) -> bool {
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
