//! Which keys an object means now, judged from what is known of the instance: found, still to be
//! asked for, or in a state in which they cannot be used. Absence, refusal and silence are no
//! evidence that a key is gone; what is, stands in [`judge`] and [`missing`].

use jiff::{SignedDuration, Timestamp};

use super::access::{Question, Verdict};
use super::catalogue::{Answer, Listing, LookUp};
use super::failure::{FailureKind, FetchFailure};
use super::ids::KeyId;
use super::metadata::{KeyMetadata, KeyState};
use super::observed::Observed;
use super::reference::{KeyName, KeyReference};
use super::request::{self, SyncRequest};
use super::schedule::MOVING_INTERVAL;
use super::status::with_request_id;
use crate::api::Reason;
use crate::api::key::SourceKey;

/// Something that is not known yet and must be before a plan can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A listing begun at this time or later (any, for the least time there is).
    Listing(Timestamp),
    /// Single reads of metadata.
    Answers(Vec<Question>),
    /// Payloads.
    Payloads(Vec<PayloadNeed>),
    /// A dry-run create: whether the target's name is free, before a payload is read for it.
    TargetFree,
}

/// A payload that is needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PayloadNeed {
    /// Whose.
    pub id: KeyId,
    /// Ring to name in the request.
    pub ring: Option<super::ids::KeyRing>,
    /// Why, for the audit line.
    pub why: &'static str,
}

/// Why no Secret can be made or confirmed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The reason.
    pub reason: Reason,
    /// What status says.
    pub message: String,
    /// How it bears on a Secret that holds a good value.
    pub bearing: Bearing,
    /// What a grace is counted from.
    pub pending: Option<(Reason, Timestamp)>,
    /// When the server asked to be tried again.
    pub retry_after: Option<std::time::Duration>,
    /// When a grace ends, or something is due to be looked at whatever the back-off says.
    pub next: Option<Timestamp>,
    /// Which case it was: for the operator's own log.
    pub cause: String,
    /// The key, where its metadata was read.
    pub key: Option<Box<KeyMetadata>>,
}

/// How a hindrance bears on an object whose Secret holds a good value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// Ready says nothing new: nothing was learnt.
    Keep,
    /// Ready stays True, with this reason.
    StayReady,
    /// Ready becomes False.
    NotReady,
}

impl Blocked {
    /// A hindrance that makes Ready False.
    #[must_use]
    pub fn new(reason: Reason, message: String, cause: impl Into<String>) -> Self {
        Self {
            reason,
            message,
            bearing: Bearing::NotReady,
            pending: None,
            retry_after: None,
            next: None,
            cause: cause.into(),
            key: None,
        }
    }

    const fn bearing(mut self, bearing: Bearing) -> Self {
        self.bearing = bearing;
        self
    }
}

/// Where the look for one key ends.
pub type Identity = Result<KeyMetadata, Hindrance>;

/// What stands between a reference and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Something must be asked first.
    Ask(Need),
    /// It cannot be used now.
    Blocked(Box<Blocked>),
    /// What was listed is not so any more: look again, with a new listing.
    Relist(&'static str),
}

impl From<Blocked> for Hindrance {
    fn from(blocked: Blocked) -> Self {
        Self::Blocked(Box::new(blocked))
    }
}

/// Turns a failed request into a hindrance, by its kind alone.
#[must_use]
pub fn failed(failure: &FetchFailure) -> Blocked {
    let (reason, remedy) = match failure.kind {
        FailureKind::Unreachable => (Reason::Unreachable, "It is tried again by itself."),
        FailureKind::Throttled => (
            Reason::Throttled,
            "It is tried again when the service allows.",
        ),
        FailureKind::CredentialMissing => (
            Reason::CredentialMissing,
            "The instance's owner has to provide it.",
        ),
        FailureKind::CredentialRejected => (
            Reason::CredentialRejected,
            "The instance's owner has to replace the API key.",
        ),
        FailureKind::Denied => (
            Reason::AccessDenied,
            "Check the service ID's roles, the instance's region, and allowed-IP and \
             context-based rules.",
        ),
        FailureKind::ServiceError
        | FailureKind::Invalid
        | FailureKind::KeyNotFound
        | FailureKind::KeyGone => (Reason::ServiceError, "It is tried again by itself."),
    };
    let what = format!(
        "{}: {}. {remedy}",
        failure.operation.as_str(),
        failure.detail
    );
    let mut blocked = Blocked::new(reason, request_id(&what, failure), failure.to_string());
    blocked.bearing = Bearing::Keep;
    blocked.retry_after = failure.retry_after;
    blocked
}

fn request_id(message: &str, failure: &FetchFailure) -> String {
    with_request_id(message, "correlation ID", failure.request_id.as_deref())
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
    status.keys.iter().find(|key| match &reference.name {
        KeyName::Id(id) => key.alias.is_none() && key.id == id.as_str(),
        KeyName::Alias(alias) => key.alias.as_deref() == Some(alias.as_str()),
        KeyName::Name(name) => key.alias.is_none() && key.name.as_ref() == Some(name),
    })
}

/// Finds the key that a reference means, over catalogue ∩ grant.
///
/// # Errors
/// Says what must be asked first, or why the key cannot be used.
pub fn identify(
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
    if let Some(need) = newer_listing(observed, listing, reference, prior) {
        return Err(Hindrance::Ask(need));
    }
    if let Some(LookUp::Found(row)) = listing
        .catalogue()
        .map(|c| c.look_up(reference, &request.grant))
    {
        return judge(observed, request, reference, row.clone(), prior);
    }
    if let Listing::Failed { failure, .. } = listing
        && failure.kind != FailureKind::Denied
    {
        return Err(failed(failure).into());
    }
    let mut refused = None;
    let mut unasked = Vec::new();
    for question in request.grant.questions(reference) {
        match answer(observed, request, &question) {
            None => unasked.push(question),
            Some(Answer {
                result: Ok(key), ..
            }) if fits(key, reference, request) => {
                return judge(observed, request, reference, key.clone(), prior);
            }
            Some(Answer {
                result: Err(failure),
                ..
            }) => match failure.kind {
                FailureKind::KeyNotFound | FailureKind::KeyGone => {}
                FailureKind::Denied => refused = Some(failure),
                _ => return Err(failed(failure).into()),
            },
            Some(Answer { result: Ok(_), .. }) => {}
        }
    }
    if !unasked.is_empty() {
        return Err(Hindrance::Ask(Need::Answers(unasked)));
    }
    missing(observed, request, reference, prior, refused)
}

/// A name can only be looked up in a listing, and one older than the object may lack the key
/// that the object was made for.
fn newer_listing(
    observed: &Observed<'_>,
    listing: &Listing,
    reference: &KeyReference,
    prior: Option<&SourceKey>,
) -> Option<Need> {
    let created = observed
        .object
        .metadata
        .creation_timestamp
        .as_ref()?
        .0
        .min(observed.now);
    let by_name = matches!(reference.name, KeyName::Name(_)) && prior.is_none();
    let old = matches!(listing, Listing::Fresh(catalogue) if catalogue.listed_at() < created);
    (by_name && old).then_some(Need::Listing(created))
}

/// What counts as fresh: nothing older than an open sync request, nor than what memory asks for.
#[must_use]
pub fn fresh_after(observed: &Observed<'_>) -> Timestamp {
    let asked = observed.open_sync_request().and_then(|asked| {
        observed
            .memory
            .sync_request
            .as_ref()
            .filter(|(seen, _)| seen == asked)
            .map(|(_, at)| *at)
    });
    observed
        .memory
        .fresh_after
        .max(asked.unwrap_or(Timestamp::MIN))
}

/// An answer that is fresh enough, if there is one.
fn answer<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    question: &Question,
) -> Option<&'a Answer> {
    let knowledge = observed.knowledge;
    let answer = knowledge.answers.get(question)?;
    let old = answer.asked_at <= observed.memory.answers_after
        || answer.asked_at < fresh_after(observed)
        || answer
            .asked_at
            .checked_add(request.interval)
            .is_ok_and(|due| due <= observed.now);
    (!old).then_some(answer)
}

/// Tells whether a single read found the key that was meant, and the grant allows it.
fn fits(key: &KeyMetadata, reference: &KeyReference, request: &SyncRequest<'_>) -> bool {
    let named = match &reference.name {
        KeyName::Id(id) => key.id == *id,
        KeyName::Alias(alias) => key
            .aliases
            .as_ref()
            .is_none_or(|aliases| aliases.iter().any(|a| a == alias.as_str())),
        KeyName::Name(name) => key.name.as_ref() == Some(name),
    };
    let ring = reference.ring.as_ref().is_none_or(|ring| {
        key.key_ring
            .as_deref()
            .is_none_or(|found| found == ring.as_str())
    });
    named && ring && request.grant.verdict(key) == Verdict::Allowed
}

/// Judges a key that was found: may its payload be used now?
fn judge(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    key: KeyMetadata,
    prior: Option<&SourceKey>,
) -> Identity {
    let moved = prior.is_some_and(|prior| prior.id != key.id.as_str());
    let forced = observed.open_sync_request().is_some();
    if moved
        && request.pinned
        && !forced
        && !object_changed(observed)
        && let Some(last) = prior.and_then(|prior| last_key(observed, request, prior))
    {
        return usable(observed, reference, last);
    }
    if moved
        && !forced
        && let Some(prior) = prior
        && went_back(prior, &key)
    {
        let since = pending_since(observed, Reason::AliasWentBack);
        let end = after(since, observed.policy.grace);
        if observed.now < end {
            let message = format!(
                "{} points to key {} again, which is older than key {} in the Secret, as after a \
                 failover to old data. The Secret keeps its value until {}. If this was meant, \
                 annotate this object with keyprotect.dev/sync-requested-at.",
                request::capitalised(reference),
                key.id,
                prior.id,
                end
            );
            let mut blocked =
                Blocked::new(Reason::AliasWentBack, message, "went back to an older key")
                    .bearing(Bearing::StayReady);
            blocked.pending = Some((Reason::AliasWentBack, since));
            blocked.next = Some(end);
            return Err(blocked.into());
        }
    }
    usable(observed, reference, key)
}

fn object_changed(observed: &Observed<'_>) -> bool {
    let seen = observed
        .object
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    seen != observed.object.metadata.generation
}

fn went_back(prior: &SourceKey, key: &KeyMetadata) -> bool {
    let then: Option<Timestamp> = prior
        .creation_date
        .as_deref()
        .and_then(|date| date.parse().ok());
    matches!((then, key.creation_date), (Some(then), Some(now)) if now < then)
}

/// What is known of the key in the Secret, for an object that does not follow its alias.
fn last_key(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    prior: &SourceKey,
) -> Option<KeyMetadata> {
    let id = KeyId::parse(&prior.id).ok()?;
    let row = observed.knowledge.listing.catalogue()?.row(&id)?;
    (request.grant.verdict(row) == Verdict::Allowed).then(|| row.clone())
}

/// Judges a key by its own metadata: the evidence that it cannot be used.
fn usable(observed: &Observed<'_>, reference: &KeyReference, key: KeyMetadata) -> Identity {
    let about = format!("Key {} ({reference})", key.id);
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
    let remedy = if reason == Reason::NotExtractable {
        ""
    } else {
        " The Secret keeps its last value. Restore or enable the key, or move the alias or spec.key to another one."
    };
    let mut blocked = Blocked::new(reason, format!("{message}{remedy}"), reason.as_str());
    blocked.key = Some(Box::new(key));
    Err(blocked.into())
}

/// Judges an absence: no row, and every single read that the rules permit found nothing.
fn missing(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    prior: Option<&SourceKey>,
    refused: Option<&FetchFailure>,
) -> Identity {
    let instance = (
        request.instance.namespace.to_owned(),
        request.instance.name.to_owned(),
    );
    let Some(prior) = prior else {
        // On a key never synced, a refusal and an absence read alike.
        let message = request::not_available(&request::capitalised(reference), &instance);
        let cause = refused.map_or_else(
            || "no such key among those allowed".to_owned(),
            ToString::to_string,
        );
        return Err(Blocked::new(Reason::KeyNotAvailable, message, cause).into());
    };
    if let Some(failure) = refused {
        return Err(access_denied(observed, prior, failure).into());
    }
    let known = KeyId::parse(&prior.id).ok();
    let row = known
        .as_ref()
        .and_then(|id| observed.knowledge.listing.catalogue()?.row(id));
    if row.is_some_and(|row| request.grant.verdict(row) == Verdict::Denied) {
        let refusal = request::withdrawn(reference, &instance);
        return Err(Blocked::new(refusal.reason, refusal.message, refusal.cause).into());
    }
    let (reason, bearing) = match reference.name {
        KeyName::Id(_) => (Reason::KeyDeleted, Bearing::Keep),
        KeyName::Alias(_) | KeyName::Name(_) => (Reason::AliasMoving, Bearing::StayReady),
    };
    let since = pending_since(observed, reason);
    let end = after(since, observed.policy.grace);
    if observed.now < end {
        let message = format!(
            "{} is gone since {since}. If it is being moved to another key, create it there: the \
             Secret keeps the value of key {} and is Ready until {end}. It is looked up every minute.",
            request::capitalised(reference),
            prior.id
        );
        let mut blocked =
            Blocked::new(reason, message, "absent, within the grace").bearing(bearing);
        blocked.pending = Some((reason, since));
        blocked.next = Some(after(observed.now, MOVING_INTERVAL).min(end));
        return Err(blocked.into());
    }
    gone(observed, request, reference, prior, (reason, since))
}

/// After the grace: what the key itself says, asked by its ID and without a ring.
fn gone(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    prior: &SourceKey,
    (reason, since): (Reason, Timestamp),
) -> Identity {
    let instance = (
        request.instance.namespace.to_owned(),
        request.instance.name.to_owned(),
    );
    let evidence = KeyId::parse(&prior.id).ok().map(|id| Question {
        key: KeyName::Id(id),
        ring: None,
    });
    let answer = match &evidence {
        Some(question) => match answer(observed, request, question) {
            None => return Err(Hindrance::Ask(Need::Answers(vec![question.clone()]))),
            Some(answer) => Some(&answer.result),
        },
        None => None,
    };
    let deleted = match answer {
        Some(Ok(key)) => key.is_deleted(),
        Some(Err(failure)) => matches!(
            failure.kind,
            FailureKind::KeyNotFound | FailureKind::KeyGone
        ),
        None => false,
    };
    let mut blocked = if deleted {
        Blocked::new(
            Reason::KeyDeleted,
            format!(
                "Key {} was deleted in Key Protect, and {reference} names no other since {since}. \
                 The Secret keeps its last value. Restore the key, or point the alias, name or \
                 spec.key at another one.",
                prior.id
            ),
            "deleted, after the grace",
        )
    } else {
        let message = request::not_available(&request::capitalised(reference), &instance);
        Blocked::new(Reason::KeyNotAvailable, message, "absent, after the grace")
    };
    blocked.pending = Some((reason, since));
    Err(blocked.into())
}

/// A refusal of a key that was readable before. Where the listing is refused too, it is the
/// instance's trouble, and the instance says so once for all.
fn access_denied(observed: &Observed<'_>, prior: &SourceKey, failure: &FetchFailure) -> Blocked {
    let mut blocked = failed(failure);
    let everywhere = matches!(&observed.knowledge.listing, Listing::Failed { failure, .. } if failure.kind == FailureKind::Denied);
    if !everywhere {
        let message = format!(
            "The service no longer shows key {}: {}. Check the service ID's roles on instance, \
             ring and key, the instance's region, and allowed-IP and context-based rules. The \
             Secret keeps its last value.",
            prior.id, failure.detail
        );
        blocked.message = request_id(&message, failure);
        blocked.bearing = Bearing::NotReady;
    }
    blocked
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
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn after(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
