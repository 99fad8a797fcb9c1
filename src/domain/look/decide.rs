//! One look at one object: from everything that is known to what must be asked first, or to the
//! whole plan. Total and pure: the same values always end in the same step.

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::key::DeletionPolicy;
use crate::domain::audit::Why;
use crate::domain::look::absent;
use crate::domain::look::conclude;
use crate::domain::look::expected::{self, record_of};
use crate::domain::look::hindrance::{Bearing, Blocked, Hindrance, Need};
use crate::domain::look::identify::identify_all;
use crate::domain::look::merge;
use crate::domain::look::observed::{Observed, Sight};
use crate::domain::look::plan::{Plan, Write, WriteFailure};
use crate::domain::look::reading;
use crate::domain::look::report::Success;
use crate::domain::look::request::{self, Refusal, SyncRequest};
use crate::domain::look::revoke;
use crate::domain::look::unread;
use crate::domain::schedule;
use crate::domain::secret::body;
use crate::domain::secret::{Drift, Mark, SecretView};
use crate::domain::service::metadata::KeyMetadata;

/// Conflicts in a row of which status says nothing: the watch is mostly about to show why.
const QUIET_CONFLICTS: u32 = 3;

/// For how long after its creation an object may be in view without its instance.
const NEWBORN: SignedDuration = SignedDuration::from_secs(2);

/// How often an object is looked at whose namespace has more than are served.
const SURPLUS_INTERVAL: SignedDuration = SignedDuration::from_hours(6);
/// How often an object is looked at whose namespace is not in view: its appearance is news too.
const UNSEEN_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// What one look comes to.
#[derive(Clone, Debug)]
pub enum Step {
    /// Ask this first, then look again.
    Ask(Need),
    /// Do this.
    Do(Box<Plan>),
}

/// Looks at an object.
#[must_use]
pub fn look(observed: &Observed<'_>) -> Step {
    if observed.object.metadata.deletion_timestamp.is_some() {
        return Step::Do(Box::new(conclude::nothing(
            observed,
            "the object is being deleted",
        )));
    }
    if observed.object.spec.suspend == Some(true) && !observed.namespace.terminating {
        return revoke::while_suspended(observed);
    }
    let request = match request::resolve(observed) {
        Ok(request) => request,
        Err(refusal) => {
            if let Some(end) = newborn_until(observed)
                && refusal.reason == Reason::KeyNotAvailable
            {
                let mut plan = conclude::nothing(observed, "its instance may come into view yet");
                plan.next = Some(end);
                return Step::Do(Box::new(plan));
            }
            return refused(observed, refusal);
        }
    };
    match sync(observed, &request) {
        Ok(plan) => Step::Do(Box::new(plan)),
        Err(Hindrance::Ask(need)) => Step::Ask(need),
        Err(Hindrance::Held) => Step::Do(Box::new(conclude::held(observed, &request))),
        Err(Hindrance::Blocked(blocked)) => stop(observed, Some(&request), &blocked),
        Err(Hindrance::Failed(blocked, record)) => {
            revoke::end(observed, Some(&request), &blocked, Some(&record)).unwrap_or_else(|| {
                Step::Do(Box::new(conclude::failed(
                    observed, &request, &blocked, &record,
                )))
            })
        }
    }
}

/// Something stands in the way. Where that is evidence that the Secret's key or the right to it is
/// gone, the policy speaks.
fn stop(observed: &Observed<'_>, request: Option<&SyncRequest<'_>>, blocked: &Blocked) -> Step {
    revoke::end(observed, request, blocked, None)
        .unwrap_or_else(|| Step::Do(Box::new(conclude::blocked(observed, request, blocked))))
}

/// An object that is not served, for a reason that needs no key.
fn refused(observed: &Observed<'_>, refusal: Refusal) -> Step {
    match (refusal.reason, &observed.instance) {
        (Reason::AccessWithdrawn, Some(instance)) => {
            let blocked = absent::withdrawal(observed, instance, None, refusal);
            stop(observed, None, &blocked)
        }
        (Reason::Pending, _) if refusal.cause == request::SURPLUS => {
            let mut blocked = Blocked::new(refusal.reason, refusal.message, refusal.cause);
            // It is looked at when its turn comes.
            blocked.next = observed.now.checked_add(SURPLUS_INTERVAL).ok();
            stop(observed, None, &blocked)
        }
        // Not knowing is not withdrawal.
        (Reason::Pending, _) => {
            let mut plan = conclude::nothing(observed, refusal.cause);
            plan.next = observed.now.checked_add(UNSEEN_INTERVAL).ok();
            Step::Do(Box::new(plan))
        }
        _ => {
            let blocked = Blocked::new(refusal.reason, refusal.message, refusal.cause);
            stop(observed, None, &blocked)
        }
    }
}

/// Until when an object that was made just now is not told that it gets nothing: each kind has a
/// watch of its own, so it may come into view before the instance that was made with it. Whether
/// that instance is missing or not for this namespace, the wait is the same, so that the two
/// cannot be told apart by time.
fn newborn_until(observed: &Observed<'_>) -> Option<Timestamp> {
    let made = observed.object.metadata.creation_timestamp.as_ref()?.0;
    let end = made.checked_add(NEWBORN).ok()?;
    (made <= observed.now && observed.now < end).then_some(end)
}

/// Looks at an object one of whose Secrets, `name`, could not be written or deleted.
#[must_use]
pub fn look_after_failed_write(
    observed: &Observed<'_>,
    name: &str,
    failure: &WriteFailure,
) -> Plan {
    let unseen = observed.sight != Sight::Watched;
    let blocked = match failure {
        WriteFailure::AlreadyExists if unseen && !observed.memory.target_taken => {
            // It may be the operator's own, of whose write the status was lost.
            let mut plan = conclude::again(observed, "a Secret of that name is there");
            plan.memory.target_taken = true;
            return plan;
        }
        WriteFailure::Conflict if unseen && !observed.memory.doubted => {
            let mut plan = conclude::again(observed, "the Secret is not as it was written");
            plan.memory.doubted = true;
            return plan;
        }
        WriteFailure::AlreadyExists | WriteFailure::NotOurs => reading::taken(name),
        WriteFailure::Finalizers => Blocked::new(
            Reason::SecretImmutable,
            format!(
                "Secret {name} was changed, and carries a finalizer of somebody else. An operator \
                 without the right to read Secrets cannot keep it, so it does not write. Take the \
                 finalizer off, or delete the Secret. It is tried again at growing intervals of \
                 up to 5 minutes."
            ),
            "somebody's finalizer",
        ),
        WriteFailure::Conflict if observed.memory.failures < QUIET_CONFLICTS => {
            return conclude::again(observed, "the Secret changed meanwhile");
        }
        WriteFailure::Conflict => Blocked::new(
            Reason::OperatorError,
            format!(
                "Secret {name} changed each time between look and write. Find out who or what writes \
                 it. It is tried again at growing intervals of up to 1 minute."
            ),
            "conflicts in a row",
        ),
        WriteFailure::ObjectGone => return conclude::nothing(observed, "the object is gone"),
        WriteFailure::Immutable => Blocked::new(
            Reason::SecretImmutable,
            format!(
                "Secret {name} is immutable, so its content cannot follow the key. Delete the \
                 Secret; it is made anew. It is tried again at growing intervals of up to 5 minutes."
            ),
            "immutable",
        ),
        WriteFailure::NamespaceTerminating => Blocked::new(
            Reason::NamespaceTerminating,
            "The namespace is being deleted; nothing is written in it.".to_owned(),
            "namespace terminating",
        ),
        WriteFailure::Rejected(rule) => Blocked::new(
            Reason::SecretRejected,
            format!(
                "The API server refused Secret {name}: {rule}. It is tried again at growing \
                 intervals of up to 5 minutes."
            ),
            *rule,
        ),
        WriteFailure::Failed(what) => Blocked::new(
            Reason::OperatorError,
            format!(
                "Secret {name} could not be written: {what}. It is tried again at growing intervals of \
                 up to 1 minute."
            ),
            *what,
        ),
    };
    let request = request::resolve(observed).ok();
    let keys = request
        .as_ref()
        .and_then(|request| Some((request, identify_all(observed, request).ok()?)));
    let mut plan = match keys {
        Some((request, keys)) => {
            conclude::failed(observed, request, &blocked, &record_of(request, &keys))
        }
        None => revoke::failed(observed, request.as_ref(), blocked),
    };
    plan.memory.target_taken |=
        matches!(failure, WriteFailure::AlreadyExists | WriteFailure::NotOurs);
    plan
}

fn sync(observed: &Observed<'_>, request: &SyncRequest<'_>) -> Result<Plan, Hindrance> {
    absent::still_permitted(observed, request)?;
    if let Some((reason, message)) = request.instance.unusable {
        let blocked = Blocked::new(reason, message.to_owned(), "the instance cannot be used");
        return Err(blocked.bearing(Bearing::Keep).into());
    }
    let keys = identify_all(observed, request)?;
    let record = record_of(request, &keys);
    let unseen = observed.sight != Sight::Watched;
    let drift = match observed.secret {
        _ if unseen && request.target.merges() => {
            return Err(unread::merge_unsupported(&request.target.name).into());
        }
        _ if unseen => unread::judge(observed, request, &record)?,
        _ if request.target.merges() => {
            let shared = merge::shared_target(observed, request)?;
            merge::judge(observed, shared, &record).err().map(Some)
        }
        None => Some(None),
        Some(secret) => match judge_target(observed, request, secret, &record)? {
            Ok(()) => None,
            Err(drift) => Some(Some(drift)),
        },
    };
    let made = make(observed, request, &keys, &record, drift).map_err(|h| h.of(&record))?;
    Ok(conclude::synced(
        observed,
        request,
        Success { keys, ..made },
    ))
}

/// Makes the writes that are needed; reads payloads only where there are some.
fn make(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
    record: &str,
    drift: Option<Option<Drift>>,
) -> Result<Success, Hindrance> {
    let mut made = Success {
        correlation: vec![None; keys.len()],
        ..Success::default()
    };
    // What is being deleted goes by itself, and what another object owns too is not this one's.
    let superseded: Vec<&SecretView> = observed
        .superseded
        .iter()
        .filter(|old| old.is_owned() && !old.deleting)
        .filter(|old| old.other_owner(observed.uid()).is_none())
        .collect();
    let given_back = merge::given_back(observed, request);
    let left_behind = unread::left_behind(observed, request).map_err(Hindrance::Ask)?;
    if drift.is_none() && superseded.is_empty() && given_back.is_empty() && left_behind.is_none() {
        return Ok(made);
    }
    if held(observed, record) {
        return Err(Hindrance::Held);
    }
    let why = why(observed, request, drift);
    made.why = Some(why);
    let stay = request.target.deletion_policy == DeletionPolicy::Retain;
    if drift.is_some() || (stay && !superseded.is_empty()) {
        made.repair = is_repair(observed, request, drift);
        if made.repair {
            not_too_often(observed, request)?;
        }
        let payloads = reading::payloads(observed, request, keys, why)?;
        made.correlation = payloads
            .iter()
            .map(|payload| Some(payload.correlation_id.clone()))
            .collect();
        let data = reading::render(request, keys, &payloads)?;
        made.notes = data.notes;
        if let Some(view) = observed.secret.filter(|_| request.target.merges()) {
            if drift.is_some() {
                merge::all_offered(view, merge::names(&data.entries).into_iter())?;
                let entries = data.entries.clone();
                made.writes
                    .push(merge::write(observed, request, view, entries));
            }
        } else if let Some(drift) = drift.filter(|_| observed.sight != Sight::Watched) {
            let entries = data.entries.clone();
            made.writes
                .push(unread::write(observed, request, record, entries, drift));
        } else if drift.is_some() {
            let entries = data.entries.clone();
            made.writes.push(body::write(
                observed,
                request,
                observed.secret,
                record,
                entries,
            ));
        }
        for old in superseded.iter().filter(|_| stay) {
            let entries = data.entries.clone();
            made.writes
                .push(body::write(observed, request, Some(old), record, entries));
        }
    }
    if !stay {
        made.writes
            .extend(superseded.iter().map(|old| Write::Delete {
                name: old.name.clone(),
                uid: old.uid.clone(),
                resource_version: Some(old.resource_version.clone()),
                unseen: false,
            }));
        made.writes.extend(left_behind);
    }
    // Of one Secret, one write at a time: the next look sees what this one made of it.
    let written: Vec<&str> = made.writes.iter().map(Write::name).collect();
    let (later, given_back): (Vec<Write>, Vec<Write>) = given_back
        .into_iter()
        .partition(|write| written.contains(&write.name()));
    made.unfinished =
        !later.is_empty() || (drift.is_some() && merge::changes_manager(observed, request));
    made.writes.extend(given_back);
    Ok(made)
}

/// Whether the same attempt failed before and its time to be repeated has not come.
pub(super) fn held(observed: &Observed<'_>, record: &str) -> bool {
    observed.memory.attempt.as_ref().is_some_and(|attempt| {
        // A revocation is told in the words of the policy, which is no input.
        let of_policy = attempt.blocked.evidence.is_some() || record == revoke::REVOCATION;
        let same_spec = !of_policy || attempt.generation == observed.object.metadata.generation;
        attempt.record == record
            && same_spec
            && (attempt.failed_on_payloads() || attempt.seen == observed.seen())
            && attempt.until.is_none_or(|until| observed.now < until)
            && observed
                .forced_at()
                .is_none_or(|forced| forced <= attempt.at)
    })
}

/// Whether somebody else undid what was right.
fn is_repair(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    drift: Option<Option<Drift>>,
) -> bool {
    let status = observed.object.status.as_ref();
    let written = status.and_then(|status| status.secret.as_ref());
    match drift {
        Some(None) => written.is_some_and(|written| written.name == request.target.name),
        Some(Some(drift)) => matches!(drift, Drift::Edited | Drift::Touched),
        None => false,
    }
}

fn not_too_often(observed: &Observed<'_>, request: &SyncRequest<'_>) -> Result<(), Hindrance> {
    let due = schedule::repair_at(observed.memory.repairs, observed.uid());
    if due <= observed.now {
        return Ok(());
    }
    let message = format!(
        "Secret {} was deleted or edited again and again. It is restored at growing intervals of \
         up to 5 minutes: find out who or what does that.",
        request.target.name
    );
    let mut blocked = Blocked::new(Reason::Pending, message, "repaired too often");
    blocked.next = Some(due);
    Err(Hindrance::Blocked(Box::new(blocked)))
}

/// Judges a Secret that is in view, and so carries the operator's mark.
fn judge_target(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    secret: &SecretView,
    record: &str,
) -> Result<Result<(), Drift>, Hindrance> {
    if secret.deleting {
        let message = format!(
            "Secret {} is being deleted; it is made anew when it is gone.",
            secret.name
        );
        return Err(Blocked::new(Reason::Pending, message, "the Secret is being deleted").into());
    }
    if secret.mark() == Some(Mark::Shared) {
        return Err(reading::taken(&secret.name).into());
    }
    match secret.other_owner(observed.uid()) {
        None if secret.mark() == Some(Mark::Adopt) => Ok(Err(Drift::HandedOver)),
        None => Ok(expected::judge(observed, request, secret, record)),
        // The others have no claim: this object is the oldest that names the target. Were it to
        // wait for them, two objects that exchange their targets would wait for ever.
        Some(_) if observed.owners_live => Ok(Err(Drift::OwnerReference)),
        Some(owner) => {
            let message = format!(
                "Secret {} still belongs to KeyProtectKey {} (UID {}), which is being removed; it \
                 is made anew when that Secret is gone.",
                secret.name, owner.name, owner.uid
            );
            let cause = "waiting for the garbage collector";
            Err(Blocked::new(Reason::Pending, message, cause).into())
        }
    }
}

/// Why something is written: of the target, or else of a target of before.
fn why(observed: &Observed<'_>, request: &SyncRequest<'_>, drift: Option<Option<Drift>>) -> Why {
    let status = observed.object.status.as_ref();
    let written = status.and_then(|status| status.secret.as_ref());
    match drift {
        None => Why::TargetRenamed,
        Some(None) => match written {
            None if status.is_some_and(|status| status.last_revocation_time.is_some()) => {
                Why::KeyBack
            }
            None => Why::FirstSync,
            Some(written) if written.name == request.target.name => Why::SecretMissing,
            Some(_) => Why::TargetRenamed,
        },
        Some(Some(Drift::Edited)) => Why::SecretEdited,
        Some(Some(Drift::OwnerReference)) => Why::OwnerReferenceChanged,
        Some(Some(Drift::HandedOver)) => Why::SecretHandedOver,
        Some(Some(Drift::Touched)) => Why::SharedSecretChanged,
        Some(Some(_)) => Why::KeyOrTargetChanged,
    }
}
