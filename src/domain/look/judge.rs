//! What a key that was found amounts to; what its absence does stands in
//! [`crate::domain::look::absent`].

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::key::SourceKey;
use crate::domain::look::evidence::Evidence;
use crate::domain::look::hindrance::{Bearing, Blocked, Counted, Hindrance, Identity, Need};
use crate::domain::look::known;
use crate::domain::look::observed::Observed;
use crate::domain::look::request::{self, SyncRequest};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::{KeyMetadata, KeyState};
use crate::domain::service::reference::{KeyName, KeyReference};

/// When a key whose own metadata say that it cannot be used is looked at again.
pub(super) const AGAIN: &str = " It is looked up again at growing intervals of up to 1 hour.";

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
    let counted = counted(observed, Reason::AliasWentBack, Some(reference));
    // Only whoever has been told of the way back can have meant it: a pipeline's routine request must
    // not bring old data in.
    if observed.is_asked_since(counted.since) && is_counted(observed, &counted) {
        return usable(observed, request, reference, key);
    }
    let end = after(counted.since, observed.policy.grace);
    if end <= observed.now {
        return usable(observed, request, reference, key).map_err(|hindrance| match hindrance {
            // The older key cannot be used: the grace is over all the same.
            Hindrance::Blocked(mut blocked) => {
                blocked.pending = Some(counted);
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
    blocked.pending = Some(counted);
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
        Err(Hindrance::Ask(Need::Answers(
            unasked,
            known::answers_after(observed),
        )))
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
    if made_the_secret(observed, request, &key) {
        blocked.evidence = match reason {
            Reason::KeyDeleted => Evidence::deleted(&key),
            Reason::KeyExpired => Evidence::expired(&key, observed.now),
            _ => None,
        };
    }
    blocked.key = Some(Box::new(key));
    Err(blocked.into())
}

/// Whether the Secret was made from this key, as status says: what is said of another key is no
/// evidence about what the Secret holds.
fn made_the_secret(observed: &Observed<'_>, request: &SyncRequest<'_>, key: &KeyMetadata) -> bool {
    let instance = instance(request);
    request::was_synced_from(observed, &instance)
        && observed
            .object
            .status
            .iter()
            .flat_map(|status| &status.keys)
            .any(|prior| prior.id == key.id.as_str() && !is_from_elsewhere(request, prior))
}

/// Whether a key that status names is one of another instance in IBM Cloud than the
/// KeyProtectInstance means now: what is absent here may be there.
pub(super) fn is_from_elsewhere(request: &SyncRequest<'_>, prior: &SourceKey) -> bool {
    let crn = prior.crn.as_deref();
    let instance = crn.and_then(|crn| crn.split(':').nth(7));
    // A Cloud Foundry org and space name no instance that a CRN would.
    let names_one = !request.instance.instance_id.contains('/');
    names_one && instance.is_some_and(|instance| instance != request.instance.instance_id)
}

pub(super) fn instance(request: &SyncRequest<'_>) -> (String, String) {
    (
        request.instance.namespace.to_owned(),
        request.instance.name.to_owned(),
    )
}

/// What a grace is counted from: since now, unless status says since when already.
pub(super) fn counted(
    observed: &Observed<'_>,
    reason: Reason,
    reference: Option<&KeyReference>,
) -> Counted {
    let key = reference.map(|reference| reference.name.to_string());
    let status = observed.object.status.as_ref();
    let pending = status.and_then(|status| status.pending.as_ref());
    let same = pending
        .filter(|pending| pending.reason == reason.as_str() && pending.key == key)
        .map(|pending| pending.since.0);
    Counted {
        reason,
        since: same.unwrap_or_else(|| whole_second(observed.now)),
        key,
    }
}

/// Whether status says that something is counted for this reason and key.
pub(super) fn counts(observed: &Observed<'_>, reason: Reason, reference: &KeyReference) -> bool {
    is_counted(observed, &counted(observed, reason, Some(reference)))
}

/// Whether status says already what something is counted from.
fn is_counted(observed: &Observed<'_>, counted: &Counted) -> bool {
    let status = observed.object.status.as_ref();
    let pending = status.and_then(|status| status.pending.as_ref());
    pending.is_some_and(|pending| {
        pending.reason == counted.reason.as_str() && pending.key == counted.key
    })
}

/// Cuts to the second, as status keeps times.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

pub(super) fn after(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
