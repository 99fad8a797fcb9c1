//! What an absence amounts to: no row, and every single read that the rules permit found nothing.
//! Absence, refusal and silence are no evidence that a key is gone; what an absence needs beside
//! it to become one is gathered here.

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::key::{RevocationPolicy, SourceKey};
use crate::domain::access::{Question, Verdict};
use crate::domain::look::evidence::{Evidence, Span};
use crate::domain::look::hindrance::{
    Bearing, Blocked, Counted, Hindrance, Identity, Need, failed, request_id,
};
use crate::domain::look::judge::{self, AGAIN, after, counted, instance};
use crate::domain::look::known;
use crate::domain::look::observed::{InstanceView, Observed};
use crate::domain::look::request::{self, Refusal, SyncRequest};
use crate::domain::schedule::MOVING_INTERVAL;
use crate::domain::service::catalogue::Answer;
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::{KeyName, KeyReference};

/// Checks the rules alone, before anything is asked: a key that was used before and that they leave
/// no room for was withdrawn.
///
/// # Errors
/// It was.
pub(super) fn still_permitted(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
) -> Result<(), Hindrance> {
    for source in &request.target.sources {
        let used = known::prior(observed, request, &source.key).is_some();
        if used && !request.grant.permits(&source.key) {
            return Err(withdrawn(observed, request, &source.key).into());
        }
    }
    Ok(())
}

/// Judges an absence.
pub(super) fn missing(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    prior: Option<&SourceKey>,
    refused: Option<&FetchFailure>,
) -> Identity {
    let Some(prior) = prior.filter(|prior| !judge::is_from_elsewhere(request, prior)) else {
        // On a key never synced, a refusal and an absence read alike.
        let cause = refused.map_or_else(
            || "no such key among those allowed".to_owned(),
            ToString::to_string,
        );
        return Err(not_available(request, reference, cause).into());
    };
    if let Some(failure) = refused {
        return Err(denied(observed, &prior.id, failure).into());
    }
    let Ok(id) = KeyId::parse(&prior.id) else {
        let cause = "status names no key".to_owned();
        return Err(not_available(request, reference, cause).into());
    };
    let catalogue = observed.knowledge.listing.catalogue();
    let row = catalogue.and_then(|catalogue| catalogue.row(&id));
    if row.is_some_and(|row| is_denied(request, reference, row)) {
        return Err(withdrawn(observed, request, reference).into());
    }
    match reference.name {
        KeyName::Id(_) => by_id(observed, request, reference, &id),
        KeyName::Alias(_) | KeyName::Name(_) => by_name(observed, request, reference, &id),
    }
}

/// Whether the rules do not allow a key that they allowed. Where a rule goes by aliases, an alias
/// that is gone for a while is no change of the rules: the key is judged as if it had it still.
fn is_denied(request: &SyncRequest<'_>, reference: &KeyReference, key: &KeyMetadata) -> bool {
    let mut key = key.clone();
    if let (KeyName::Alias(alias), Some(aliases)) = (&reference.name, &mut key.aliases) {
        aliases.push(alias.to_string());
    }
    request.grant.verdict(&key) == Verdict::Denied
}

/// A key that is named by its ID and is not found. From the first time that it is not found in
/// whatever ring, a grace is counted; then it is asked for again.
fn by_id(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    id: &KeyId,
) -> Identity {
    let counted = counted(observed, Reason::KeyDeleted, Some(reference));
    let span = span(observed, &counted);
    let over = span.is_over(observed.now);
    let asked_after = if over { span.end() } else { Timestamp::MIN };
    let answer = ask_key(observed, request, id, asked_after)?;
    let listed = observed.knowledge.listing.in_force();
    let is_listed = listed.is_some_and(|listed| listed.row(id).is_some());
    match &answer.result {
        Ok(key) => there(observed, request, reference, key),
        Err(failure) => match failure.kind {
            FailureKind::KeyNotFound | FailureKind::KeyGone if !over => {
                let message = format!(
                    "Key {id} is not found since {}. Whether it was deleted is judged at {}; until \
                     then it is looked up every minute, and a Secret that holds it stays as it is.",
                    counted.since,
                    span.end()
                );
                let cause = "absent, within the grace";
                let mut blocked =
                    Blocked::new(Reason::KeyNotAvailable, message, cause).bearing(Bearing::Keep);
                blocked.next = Some(after(observed.now, MOVING_INTERVAL).min(span.end()));
                blocked.pending = Some(counted);
                Err(blocked.into())
            }
            // Read by its ID it is not found, but it is listed: one of both lags.
            FailureKind::KeyNotFound | FailureKind::KeyGone if is_listed => {
                let cause = "listed, but not found by its ID".to_owned();
                Err(not_available(request, reference, cause).into())
            }
            FailureKind::KeyNotFound | FailureKind::KeyGone => {
                let other = other_found_since(observed, id, span.since)?;
                let evidence = Evidence::not_found(id, span, answer, other);
                let names_no_other = format!("it is not found since {}", counted.since);
                Err(gone(request, reference, id, counted, evidence, &names_no_other).into())
            }
            _ => Err(unknown(observed, id, failure).into()),
        },
    }
}

/// An alias or a name that no key has which may be used. It may be moving; after a grace, the key
/// that had it last is asked for.
fn by_name(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    id: &KeyId,
) -> Identity {
    let is_name = matches!(reference.name, KeyName::Name(_));
    if is_name && judge::counts(observed, Reason::KeyDeleted, reference) {
        return by_id(observed, request, reference, id);
    }
    let counted = counted(observed, Reason::AliasMoving, Some(reference));
    let span = span(observed, &counted);
    if !span.is_over(observed.now) {
        let message = format!(
            "{} is gone since {}. If it is being moved to another key, create it there. A Secret \
             that holds key {id} stays as it is, and Ready, until {}. It is looked up every minute.",
            request::capitalised(reference),
            counted.since,
            span.end()
        );
        let cause = "absent, within the grace";
        let mut blocked =
            Blocked::new(Reason::AliasMoving, message, cause).bearing(Bearing::StayReady);
        blocked.next = Some(after(observed.now, MOVING_INTERVAL).min(span.end()));
        blocked.pending = Some(counted);
        return Err(blocked.into());
    }
    let again = last_asked(observed, request, reference, span.end())?;
    let answer = ask_key(observed, request, id, span.end())?;
    let mut blocked = match &answer.result {
        Ok(key) if is_denied(request, reference, key) => {
            return Err(withdrawn(observed, request, reference).into());
        }
        Ok(key) => match judge::usable(observed, request, reference, key.clone()) {
            Err(Hindrance::Blocked(blocked)) => *blocked,
            Err(other) => return Err(other),
            Ok(key) => {
                let cause = "absent, after the grace".to_owned();
                let mut blocked = not_available(request, reference, cause);
                // A name is told from a listing, which may leave keys out.
                if matches!(reference.name, KeyName::Alias(_)) {
                    let read = Some(answer.asked_at);
                    blocked.evidence = Evidence::vanished(reference, &key.id, span, again, read);
                }
                blocked
            }
        },
        Err(failure) => match failure.kind {
            // That a listing has no such name is no evidence beside it: the key itself has to be
            // missed twice.
            FailureKind::KeyNotFound | FailureKind::KeyGone if is_name => {
                return by_id(observed, request, reference, id);
            }
            FailureKind::KeyNotFound | FailureKind::KeyGone => {
                let other = other_found_since(observed, id, span.since)?;
                let evidence = Evidence::vanished(reference, id, span, again, other);
                let names_no_other = format!("{reference} names no key since {}", counted.since);
                gone(
                    request,
                    reference,
                    id,
                    counted.clone(),
                    evidence,
                    &names_no_other,
                )
            }
            _ => return Err(unknown(observed, id, failure).into()),
        },
    };
    blocked.pending = Some(counted);
    Err(blocked.into())
}

/// What its ID says of a key that was not found as the object names it: it is there.
fn there(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    key: &KeyMetadata,
) -> Identity {
    if is_denied(request, reference, key) {
        return Err(withdrawn(observed, request, reference).into());
    }
    judge::usable(observed, request, reference, key.clone())?;
    let cause = "it is in another ring than the object asks for".to_owned();
    Err(not_available(request, reference, cause).into())
}

/// A key that is gone for good, if there is evidence; else it is not known where it is.
fn gone(
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    id: &KeyId,
    counted: Counted,
    evidence: Option<Evidence>,
    names_no_other: &str,
) -> Blocked {
    let mut blocked = if evidence.is_some() {
        Blocked::new(
            Reason::KeyDeleted,
            format!(
                "Key {id} was deleted in Key Protect: {names_no_other}. The Secret keeps its last \
                 value. Restore the key, or point the alias, name or spec.key at another one.{AGAIN}"
            ),
            "deleted, after the grace",
        )
    } else {
        not_available(request, reference, "absent, after the grace".to_owned())
    };
    blocked.evidence = evidence;
    blocked.pending = Some(counted);
    blocked
}

fn span(observed: &Observed<'_>, counted: &Counted) -> Span {
    Span {
        since: counted.since,
        grace: observed.policy.grace,
    }
}

/// Asks for a key by its ID, in whatever ring; nothing older than a time counts. Only a key that
/// the rules let this namespace ask for at all is asked for.
fn ask_key<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    id: &KeyId,
    asked_after: Timestamp,
) -> Result<&'a Answer, Hindrance> {
    let reference = KeyReference {
        name: KeyName::Id(id.clone()),
        ring: None,
    };
    if !request.grant.permits(&reference) {
        return Err(withdrawn(observed, request, &reference).into());
    }
    let question = Question {
        key: reference.name,
        ring: None,
    };
    let asked_after = asked_after.max(known::answers_after(observed));
    known::answer(observed, request, &question)
        .filter(|answer| answer.asked_at >= asked_after)
        .ok_or(Hindrance::Ask(Need::Answers(vec![question], asked_after)))
}

/// When an alias was last asked for, or a name was last listed; nothing older than a time counts.
fn last_asked(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
    asked_after: Timestamp,
) -> Result<Timestamp, Hindrance> {
    let questions = request.grant.questions(reference);
    if questions.is_empty() {
        let listed = observed.knowledge.listing.attempted_at();
        return listed
            .filter(|listed| *listed >= asked_after)
            .ok_or(Hindrance::Ask(Need::Listing(asked_after)));
    }
    let asked_after = asked_after.max(known::answers_after(observed));
    let mut unasked = Vec::new();
    let mut oldest = observed.now;
    for question in questions {
        match known::answer(observed, request, &question) {
            Some(answer) if answer.asked_at >= asked_after => oldest = oldest.min(answer.asked_at),
            _ => unasked.push(question),
        }
    }
    if unasked.is_empty() {
        Ok(oldest)
    } else {
        Err(Hindrance::Ask(Need::Answers(unasked, asked_after)))
    }
}

/// When another key was found since a time, by whatever read: else a 404 may speak of the wrong
/// instance. Where none was, a listing is asked for that may show one.
fn other_found_since(
    observed: &Observed<'_>,
    missing: &KeyId,
    since: Timestamp,
) -> Result<Option<Timestamp>, Hindrance> {
    let knowledge = observed.knowledge;
    let found = knowledge.other_found_at(missing);
    let found = found.filter(|found| *found >= since);
    let listed = knowledge.listing.attempted_at();
    if found.is_none() && listed.is_none_or(|listed| listed < since) {
        return Err(Hindrance::Ask(Need::Listing(since)));
    }
    Ok(found)
}

/// The rules do not allow a key that status names any more.
pub(super) fn withdrawn(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
) -> Blocked {
    let refusal = request::withdrawn(reference, &instance(request));
    withdrawal(observed, &request.instance, Some(reference), refusal)
}

/// The rules do not allow what they allowed. Nothing is fetched from now on; what becomes of the
/// Secret, the instance's owner says, after a grace.
pub(super) fn withdrawal(
    observed: &Observed<'_>,
    instance: &InstanceView<'_>,
    reference: Option<&KeyReference>,
    refusal: Refusal,
) -> Blocked {
    let counted = counted(observed, Reason::AccessWithdrawn, reference);
    let span = span(observed, &counted);
    let mut blocked = Blocked::new(refusal.reason, refusal.message, refusal.cause);
    if instance.on_access_withdrawn == RevocationPolicy::Delete {
        if span.is_over(observed.now) {
            let named = (instance.namespace.to_owned(), instance.name.to_owned());
            blocked.evidence = Evidence::withdrawn(&named, span, observed.now);
        } else {
            let end = span.end();
            blocked.message = format!(
                "{} It is deleted at {end}, as the instance's onAccessWithdrawn says, unless the \
                 access is given back before.",
                blocked.message
            );
            blocked.next = Some(end);
        }
    }
    blocked.pending = Some(counted);
    blocked
}

fn unknown(observed: &Observed<'_>, id: &KeyId, failure: &FetchFailure) -> Blocked {
    match failure.kind {
        FailureKind::Denied => denied(observed, id.as_str(), failure),
        _ => failed(&format!("Key {id}"), failure),
    }
}

/// A refusal of a key that was readable before. Where the listing is refused too, it is the
/// instance's trouble, and the instance says so once for all.
fn denied(observed: &Observed<'_>, id: &str, failure: &FetchFailure) -> Blocked {
    let mut blocked = failed(&format!("Key {id}"), failure);
    if !observed.knowledge.listing.is_refused() {
        let message = format!(
            "The service no longer shows key {id}: {}. Check the service ID's roles on instance, \
             ring and key, the instance's region, and allowed-IP and context-based rules. The \
             Secret keeps its last value. It is looked up again at growing intervals of up to 15 \
             minutes.",
            failure.detail
        );
        blocked.message = request_id(&message, failure);
        blocked.bearing = Bearing::NotReady;
    }
    blocked
}

/// An answer that does not say what the rules go by: no absence, and no refusal.
pub(super) fn untold(request: &SyncRequest<'_>, reference: &KeyReference) -> Blocked {
    let (namespace, name) = instance(request);
    let message = format!(
        "Key Protect shows {reference}, but not its key ring or its aliases, by which the access \
         rules of instance {namespace}/{name} go. The Secret keeps its last value. It is tried again \
         at growing intervals of up to 5 minutes."
    );
    let cause = "the answer lacks what the rules go by";
    Blocked::new(Reason::ServiceError, message, cause).bearing(Bearing::Keep)
}

fn not_available(request: &SyncRequest<'_>, reference: &KeyReference, cause: String) -> Blocked {
    let message = request::not_available(&request::capitalised(reference), &instance(request));
    Blocked::new(Reason::KeyNotAvailable, message, cause)
}
