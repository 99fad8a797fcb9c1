//! What follows where there is evidence that a Secret's key, or the right to it, is gone: it stays,
//! it waits for leave, or it is deleted.

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::condition::ConditionType;
use crate::api::key::RevocationPolicy;
use crate::domain::audit::{Account, Why};
use crate::domain::look::absent;
use crate::domain::look::conclude;
use crate::domain::look::decide::{self, Step};
use crate::domain::look::ending::{self, Ending};
use crate::domain::look::evidence::Evidence;
use crate::domain::look::expected;
use crate::domain::look::hindrance::{Blocked, Hindrance, Need};
use crate::domain::look::identify::identify_all;
use crate::domain::look::judge;
use crate::domain::look::observed::{Attempt, Observed, Sight};
use crate::domain::look::plan::{Plan, Write};
use crate::domain::look::report;
use crate::domain::look::request::{self, SyncRequest};
use crate::domain::look::unread;
use crate::domain::revocation::Leave;
use crate::domain::secret::{SecretView, shared};
use crate::domain::service::ids::KeyId;
use crate::domain::status;

/// What stands for the record of a revocation, which is made from no keys.
pub(super) const REVOCATION: &str = "revocation";

/// Ends a look that found evidence, as the policy says; nothing, where there is none or the Secret
/// stays whatever it says. Where it was found in the attempt to make a Secret, `record` is that of
/// its inputs.
pub(super) fn end(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: &Blocked,
    record: Option<&str>,
) -> Option<Step> {
    let evidence = blocked.evidence.as_ref()?;
    if policy(observed, evidence) == RevocationPolicy::Retain {
        return None;
    }
    if let Some(request) = request
        && !evidence.is_withdrawal()
        && !is_of_this_instance(observed, request)
    {
        return None;
    }
    let writes = taking_away(observed);
    let was_there = observed
        .object
        .status
        .as_ref()
        .is_some_and(|status| status.secret.is_some());
    if writes.is_empty() {
        // Gone before: by a revocation, or by a hand just when it came.
        let ending = if was_there {
            Ending::Gone(evidence)
        } else {
            Ending::GoneBefore(evidence)
        };
        let plan = ending::revoked(observed, request, blocked, ending, record);
        return Some(Step::Do(Box::new(plan)));
    }
    if decide::held(observed, REVOCATION) {
        return Some(Step::Do(Box::new(held(observed))));
    }
    if let Err(need) = unread::proven(observed) {
        return Some(Step::Ask(need));
    }
    let plan = match observed.leave {
        None => return Some(Step::Ask(Need::Leave(waits_since(observed)))),
        Some(Leave::Held) => {
            ending::revoked(observed, request, blocked, Ending::Held(evidence), None)
        }
        Some(Leave::Granted) => {
            let ending = Ending::Gone(evidence);
            let mut plan = ending::revoked(observed, request, blocked, ending, record);
            plan.revocation = Some(evidence.clone());
            plan.account = Account {
                why: Some(Why::KeyRevoked),
                ..Account::default()
            };
            plan.writes = writes;
            plan
        }
    };
    Some(Step::Do(Box::new(plan)))
}

/// A Secret could not be written or deleted, and its keys are not to be identified: what failed was a
/// revocation. Like any other attempt, it is not repeated before its time.
pub(super) fn failed(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: Blocked,
) -> Plan {
    let blocked = ending::counting_on(observed, blocked);
    let mut plan = conclude::blocked(observed, request, &blocked);
    plan.memory.attempt = Some(Attempt {
        record: REVOCATION.to_owned(),
        generation: observed.object.metadata.generation,
        seen: observed.seen(),
        at: observed.now,
        until: plan.next,
        blocked: Box::new(blocked),
    });
    plan
}

/// The same revocation failed a while ago, and status says so.
fn held(observed: &Observed<'_>) -> Plan {
    let mut plan = conclude::nothing(observed, "a revocation that failed waits");
    if let Some(attempt) = &observed.memory.attempt {
        plan.outcome = attempt.blocked.reason;
        plan.next = attempt.until;
    }
    plan
}

/// The key's end is the object's matter; that of the right to it, the instance's.
fn policy(observed: &Observed<'_>, evidence: &Evidence) -> RevocationPolicy {
    if evidence.is_withdrawal() {
        observed
            .instance
            .map(|instance| instance.on_access_withdrawn)
            .unwrap_or_default()
    } else {
        observed.object.spec.revocation_policy.unwrap_or_default()
    }
}

/// Whether the keys in status are known to be of the instance that is meant now: by their CRNs, or
/// by the record of the Secret that was made from them.
fn is_of_this_instance(observed: &Observed<'_>, request: &SyncRequest<'_>) -> bool {
    let keys = observed
        .object
        .status
        .iter()
        .flat_map(|status| &status.keys);
    let mut keys = keys;
    let by_crn = !request.instance.instance_id.contains('/')
        && keys.all(|key| key.crn.is_some() && !judge::is_from_elsewhere(request, key));
    let status = observed.object.status.as_ref();
    let written = status.and_then(|status| status.secret.as_ref());
    let written = written.and_then(|written| written.record.as_deref());
    let record = observed.secret.and_then(SecretView::record).or(written);
    by_crn || record.is_none() || expected::record_of_status(observed, request).as_deref() == record
}

/// The writes that take away what the operator made for this object: its target and targets of
/// before, or its entries in Secrets of others. Where Secrets are not seen, status names it.
fn taking_away(observed: &Observed<'_>) -> Vec<Write> {
    if observed.sight != Sight::Watched {
        return unread::deletion_of_written(observed).into_iter().collect();
    }
    let uid = observed.uid();
    let status = observed.object.status.as_ref();
    let last = status.and_then(|status| status.secret.as_ref());
    let last = last.and_then(|secret| secret.uid.as_deref());
    let own = |secret: &&SecretView| {
        secret.is_owned()
            && !secret.deleting
            && secret.other_owner(uid).is_none()
            && (secret.is_owned_by(uid) || last == Some(&secret.uid))
    };
    let target = observed.secret.into_iter().filter(own);
    let all = target.chain(observed.superseded.iter().filter(own));
    let deletions = all.map(|secret| Write::Delete {
        name: secret.name.clone(),
        uid: secret.uid.clone(),
        resource_version: Some(secret.resource_version.clone()),
        unseen: false,
    });
    let ours = |manager: &&String| {
        let whose = shared::object_of(manager);
        whose.is_some_and(|(object, _)| object == observed.name())
    };
    let entries = observed.merged.iter().filter_map(|view| {
        let manager = view.fields.merged.keys().find(ours)?;
        shared::give_back(view, manager)
    });
    deletions.chain(entries).collect()
}

/// Since when the revocation has waited for leave.
fn waits_since(observed: &Observed<'_>) -> Timestamp {
    let conditions = observed
        .object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    status::find(conditions, ConditionType::MassRevocationHeld)
        .map_or(observed.now, |held| held.last_transition_time.0)
}

/// Looks at a suspended object. Nothing is fetched or written for it; but where a policy says
/// Delete, whether its key may still be used is looked at all the same.
pub(super) fn while_suspended(observed: &Observed<'_>) -> Step {
    let plain = || Step::Do(Box::new(ending::suspended(observed, None, None, None)));
    let deletes = RevocationPolicy::Delete;
    let may_delete = observed.object.spec.revocation_policy == Some(deletes)
        || observed
            .instance
            .is_some_and(|instance| instance.on_access_withdrawn == deletes);
    if !may_delete || taking_away(observed).is_empty() {
        return plain();
    }
    let (request, blocked) = match request::resolve(observed) {
        Ok(request) => match watch(observed, &request) {
            Ok(next) => {
                let plan = ending::suspended(observed, Some(&request), None, next);
                return Step::Do(Box::new(plan));
            }
            Err(Hindrance::Ask(need)) => return Step::Ask(need),
            Err(Hindrance::Blocked(blocked) | Hindrance::Failed(blocked, _)) => {
                (Some(request), *blocked)
            }
            Err(Hindrance::Held) => return plain(),
        },
        Err(refusal) if refusal.reason == Reason::AccessWithdrawn => {
            let Some(instance) = &observed.instance else {
                return plain();
            };
            (None, absent::withdrawal(observed, instance, None, refusal))
        }
        Err(_) => return plain(),
    };
    end(observed, request.as_ref(), &blocked, None).unwrap_or_else(|| {
        let plan = ending::suspended(observed, request.as_ref(), Some(&blocked), None);
        Step::Do(Box::new(plan))
    })
}

/// Finds the keys as a look would; says when one of them expires, or is to be read again.
fn watch(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
) -> Result<Option<Timestamp>, Hindrance> {
    absent::still_permitted(observed, request)?;
    if request.instance.unusable.is_some() {
        return Ok(None);
    }
    let keys = identify_all(observed, request)?;
    let used = |id: &KeyId| {
        let status = observed.object.status.iter();
        let mut used = status.flat_map(|status| &status.keys);
        used.any(|key| key.id == id.as_str())
    };
    let expiries = keys.iter().filter(|key| used(&key.id));
    let expiry = expiries.filter_map(|key| key.expiration_date).min();
    Ok([expiry, report::next_single_read(observed, request)]
        .into_iter()
        .flatten()
        .min())
}
