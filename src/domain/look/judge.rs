//! What a key that was found, or an absence, amounts to. Absence, refusal and silence are no
//! evidence that a key is gone: what is, stands here and nowhere else.

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::key::SourceKey;
use crate::domain::access::{Question, Verdict};
use crate::domain::look::hindrance::Identity;
use crate::domain::look::hindrance::{Bearing, Blocked, Hindrance, Need, failed, request_id};
use crate::domain::look::known;
use crate::domain::look::observed::Observed;
use crate::domain::look::request::{self, SyncRequest};
use crate::domain::schedule::MOVING_INTERVAL;
use crate::domain::service::catalogue::Listing;
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::{KeyMetadata, KeyState};
use crate::domain::service::reference::{KeyName, KeyReference};

/// When a key whose own metadata say that it cannot be used is looked at again.
const AGAIN: &str = " It is looked up again at growing intervals of up to 1 hour.";

/// Judges a key that was found: may its payload be used now?
pub(super) fn found(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    key: KeyMetadata,
    prior: Option<&SourceKey>,
) -> Identity {
    let Some(prior) = prior.filter(|prior| went_back(prior, &key)) else {
        return usable(observed, request, reference, key);
    };
    if let Some(unlisted) = still_named(observed, request, reference, prior)? {
        return usable(observed, request, reference, unlisted);
    }
    if observed.open_sync_request().is_some() {
        return usable(observed, request, reference, key);
    }
    let since = pending_since(observed, Reason::AliasWentBack);
    let end = after(since, observed.policy.grace);
    if end <= observed.now {
        return usable(observed, request, reference, key).map_err(|hindrance| match hindrance {
            // The older key cannot be used: the grace is over all the same.
            Hindrance::Blocked(mut blocked) => {
                blocked.pending = Some((Reason::AliasWentBack, since));
                Hindrance::Blocked(blocked)
            }
            other => other,
        });
    }
    let message = format!(
        "{} points to key {} again, which is older than key {} in the Secret, as after a failover \
         to old data. The Secret keeps its value until {end}. If this was meant, annotate this \
         object with keyprotect.dev/sync-requested-at.",
        request::capitalised(reference),
        key.id,
        prior.id,
    );
    let mut blocked = Blocked::new(Reason::AliasWentBack, message, "went back to an older key")
        .bearing(Bearing::StayReady);
    blocked.pending = Some((Reason::AliasWentBack, since));
    blocked.next = Some(end);
    Err(blocked.into())
}

fn went_back(prior: &SourceKey, key: &KeyMetadata) -> bool {
    let then: Option<Timestamp> = prior
        .creation_date
        .as_deref()
        .and_then(|date| date.parse().ok());
    let older = matches!((then, key.creation_date), (Some(then), Some(now)) if now < then);
    older && prior.id != key.id.as_str()
}

/// Asks the key that had a name last, where a listing shows only older ones: lists leave keys
/// out, and a row that is missing is a question.
fn still_named(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    prior: &SourceKey,
) -> Result<Option<KeyMetadata>, Hindrance> {
    let listed = KeyId::parse(&prior.id)
        .ok()
        .zip(observed.knowledge.listing.catalogue())
        .is_some_and(|(id, catalogue)| catalogue.row(&id).is_some());
    if listed || !matches!(reference.name, KeyName::Name(_)) {
        return Ok(None);
    }
    let mut unasked = Vec::new();
    for question in known::questions(request, reference, Some(prior)) {
        match known::answer(observed, request, &question).map(|answer| &answer.result) {
            None => unasked.push(question),
            Some(Ok(key)) if known::fits(key, reference, request) => {
                return Ok(Some(key.clone()));
            }
            Some(_) => {}
        }
    }
    if unasked.is_empty() {
        Ok(None)
    } else {
        Err(Hindrance::Ask(Need::Answers(unasked)))
    }
}

/// A key as a message names it.
pub(super) fn about(reference: &KeyReference, key: &KeyMetadata) -> String {
    match reference.name {
        KeyName::Id(_) => format!("key {}", key.id),
        KeyName::Alias(_) | KeyName::Name(_) => format!("key {} ({reference})", key.id),
    }
}

/// Judges a key by its own metadata: the evidence that it cannot be used.
pub(super) fn usable(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    key: KeyMetadata,
) -> Identity {
    let about = request::capitalised(&about(reference, &key));
    let (reason, message) = if key.is_deleted() {
        (
            Reason::KeyDeleted,
            format!("{about} was deleted in Key Protect."),
        )
    } else if key.extractable == Some(false) {
        (
            Reason::NotExtractable,
            format!(
                "{about} is a root key, which never leaves the service. Create a standard key \
                 (ibmcloud kp key create NAME -s) and name that one."
            ),
        )
    } else if let Some(date) = key.expiration_date.filter(|date| *date <= observed.now) {
        (Reason::KeyExpired, format!("{about} expired at {date}."))
    } else if let Some(
        state @ (KeyState::Suspended | KeyState::Deactivated | KeyState::PreActivation),
    ) = key.state
    {
        (
            Reason::KeyDisabled,
            format!("{about} is in state {}.", state.as_str()),
        )
    } else {
        return Ok(key);
    };
    let status = observed.object.status.as_ref();
    let remedy = match reason {
        Reason::NotExtractable => "",
        Reason::KeyDeleted => " Restore it, or point the alias, name or spec.key at another one.",
        Reason::KeyExpired => {
            " Create a new key, and point the alias, name or spec.key at that one."
        }
        _ => " Enable it, or point the alias, name or spec.key at another one.",
    };
    let keeps = if status.is_some_and(|status| status.secret.is_some()) {
        " The Secret keeps its last value."
    } else {
        ""
    };
    let again = match reason {
        Reason::NotExtractable => "",
        _ => AGAIN,
    };
    let message = format!("{message}{remedy}{keeps}{again}");
    let mut blocked = Blocked::new(reason, message, reason.as_str());
    if reason == Reason::NotExtractable && matches!(reference.name, KeyName::Alias(_)) {
        // No listing shows root keys, so none shows that the alias left one.
        blocked.next = Some(after(observed.now, request.interval));
    }
    blocked.key = Some(Box::new(key));
    Err(blocked.into())
}

/// Judges an absence: no row, and every single read that the rules permit found nothing.
pub(super) fn missing(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    prior: Option<&SourceKey>,
    refused: Option<&FetchFailure>,
) -> Identity {
    let Some(prior) = prior else {
        // On a key never synced, a refusal and an absence read alike.
        let cause = refused.map_or_else(
            || "no such key among those allowed".to_owned(),
            ToString::to_string,
        );
        return Err(not_available(request, reference, cause).into());
    };
    if let Some(failure) = refused {
        return Err(access_denied(observed, prior, failure).into());
    }
    let catalogue = observed.knowledge.listing.catalogue();
    let row = KeyId::parse(&prior.id).ok().zip(catalogue);
    let row = row.and_then(|(id, catalogue)| catalogue.row(&id));
    if row.is_some_and(|row| request.grant.verdict(row) == Verdict::Denied) {
        let refusal = request::withdrawn(reference, &instance(request));
        return Err(Blocked::new(refusal.reason, refusal.message, refusal.cause).into());
    }
    let counted = match reference.name {
        KeyName::Id(_) => Reason::KeyDeleted,
        KeyName::Alias(_) | KeyName::Name(_) => Reason::AliasMoving,
    };
    let since = pending_since(observed, counted);
    let end = after(since, observed.policy.grace);
    if end <= observed.now {
        return gone(observed, request, reference, prior, (counted, since));
    }
    let mut blocked = match reference.name {
        KeyName::Id(_) => {
            let message = format!(
                "Key {} is not found since {since}. Whether it was deleted is judged at {end}; \
                 until then it is looked up every minute, and a Secret that holds it stays as it is.",
                prior.id
            );
            Blocked::new(Reason::KeyNotAvailable, message, "absent, within the grace")
                .bearing(Bearing::Keep)
        }
        KeyName::Alias(_) | KeyName::Name(_) => {
            let message = format!(
                "{} is gone since {since}. If it is being moved to another key, create it there. A \
                 Secret that holds key {} stays as it is, and Ready, until {end}. It is looked up \
                 every minute.",
                request::capitalised(reference),
                prior.id
            );
            Blocked::new(counted, message, "absent, within the grace").bearing(Bearing::StayReady)
        }
    };
    blocked.pending = Some((counted, since));
    blocked.next = Some(after(observed.now, MOVING_INTERVAL).min(end));
    Err(blocked.into())
}

/// After the grace: what the key itself says, asked by its ID and without a ring.
fn gone(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    prior: &SourceKey,
    (counted, since): (Reason, Timestamp),
) -> Identity {
    let answer = match evidence(request, prior) {
        Some(question) => match known::answer(observed, request, &question) {
            None => return Err(Hindrance::Ask(Need::Answers(vec![question]))),
            Some(answer) => Some(&answer.result),
        },
        None => None,
    };
    let deleted = match answer {
        Some(Ok(key)) => key.is_deleted(),
        Some(Err(failure)) => match failure.kind {
            FailureKind::KeyGone => true,
            FailureKind::KeyNotFound => token_reads(observed),
            FailureKind::Denied => return Err(access_denied(observed, prior, failure).into()),
            _ => return Err(failed(&format!("Key {}", prior.id), failure).into()),
        },
        None => false,
    };
    let mut blocked = if deleted {
        let names_no_other = match reference.name {
            KeyName::Id(_) => format!("is not found since {since}"),
            KeyName::Alias(_) | KeyName::Name(_) => {
                format!("{reference} names no key since {since}")
            }
        };
        Blocked::new(
            Reason::KeyDeleted,
            format!(
                "Key {} was deleted in Key Protect: {names_no_other}. The Secret keeps its last \
                 value. Restore the key, or point the alias, name or spec.key at another one.{AGAIN}",
                prior.id
            ),
            "deleted, after the grace",
        )
    } else {
        not_available(request, reference, "absent, after the grace".to_owned())
    };
    blocked.pending = Some((counted, since));
    Err(blocked.into())
}

/// The read that may show a deletion: by ID, without a ring, and only of a key that the rules
/// let this namespace ask for at all.
fn evidence(request: &SyncRequest<'_>, prior: &SourceKey) -> Option<Question> {
    let key = KeyName::Id(KeyId::parse(&prior.id).ok()?);
    let reference = KeyReference {
        name: key,
        ring: None,
    };
    let permitted = !request.grant.questions(&reference).is_empty();
    permitted.then_some(Question {
        key: reference.name,
        ring: None,
    })
}

/// Whether the same token reads other keys: else a 404 may speak of the wrong instance.
fn token_reads(observed: &Observed<'_>) -> bool {
    let knowledge = observed.knowledge;
    matches!(&knowledge.listing, Listing::Fresh(catalogue) if !catalogue.is_empty())
        || knowledge
            .answers
            .values()
            .any(|answer| answer.result.is_ok())
}

/// A refusal of a key that was readable before. Where the listing is refused too, it is the
/// instance's trouble, and the instance says so once for all.
fn access_denied(observed: &Observed<'_>, prior: &SourceKey, failure: &FetchFailure) -> Blocked {
    let mut blocked = failed(&format!("Key {}", prior.id), failure);
    if !observed.knowledge.listing.is_refused() {
        let message = format!(
            "The service no longer shows key {}: {}. Check the service ID's roles on instance, \
             ring and key, the instance's region, and allowed-IP and context-based rules. The \
             Secret keeps its last value. It is looked up again at growing intervals of up to 15 \
             minutes.",
            prior.id, failure.detail
        );
        blocked.message = request_id(&message, failure);
        blocked.bearing = Bearing::NotReady;
    }
    blocked
}

fn not_available(request: &SyncRequest<'_>, reference: &KeyReference, cause: String) -> Blocked {
    let message = request::not_available(&request::capitalised(reference), &instance(request));
    Blocked::new(Reason::KeyNotAvailable, message, cause)
}

fn instance(request: &SyncRequest<'_>) -> (String, String) {
    (
        request.instance.namespace.to_owned(),
        request.instance.name.to_owned(),
    )
}

fn pending_since(observed: &Observed<'_>, reason: Reason) -> Timestamp {
    observed
        .object
        .status
        .as_ref()
        .and_then(|status| status.pending.as_ref())
        .filter(|pending| pending.reason == reason.as_str())
        .map_or_else(|| whole_second(observed.now), |pending| pending.since.0)
}

/// Cuts to the second, as status keeps times.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

pub(super) fn after(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
