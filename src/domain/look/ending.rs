//! How a look ends that makes no Secret, and may take one away: suspended, revoked, or held.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::condition::{ConditionType, Reason};
use crate::api::key::KeyProtectKeyStatus;
use crate::domain::look::announce;
use crate::domain::look::conclude::{
    changed, count_failure, nothing, pace, pending, prior_status, stopped,
};
use crate::domain::look::evidence::Evidence;
use crate::domain::look::hindrance::{Bearing, Blocked, Counted};
use crate::domain::look::judge::{after, whole_second};
use crate::domain::look::observed::Observed;
use crate::domain::look::plan::{Announcement, Plan};
use crate::domain::look::request::SyncRequest;
use crate::domain::schedule;
use crate::domain::status::{self, Is};

/// Nothing is fetched or written while `spec.suspend` is true. Ready keeps its status. What was
/// seen of the key is noted, where it is looked at all the same: `blocked` stands in its way, or it
/// is to be looked at again `next`.
pub(super) fn suspended(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: Option<&Blocked>,
    next: Option<Timestamp>,
) -> Plan {
    let mut plan = nothing(observed, "suspended");
    plan.outcome = Reason::Suspended;
    plan.next = next;
    let mut new = prior_status(observed);
    let prior = new.pending.take();
    let mut definite = true;
    if let Some(blocked) = blocked {
        count_failure(observed, &mut plan.memory);
        plan.next = pace(observed, request, blocked, &mut plan.memory);
        definite = !matches!(blocked.bearing, Bearing::Keep);
        new.pending = pending(blocked, prior, definite, false);
    }
    if definite {
        status::clear(&mut new.conditions, ConditionType::MassRevocationHeld);
    }
    say_suspended(observed, &mut new);
    plan.status = changed(observed, new);
    plan
}

/// Says that an object is suspended: Ready is what it was, but False where the Secret is gone.
fn say_suspended(observed: &Observed<'_>, new: &mut KeyProtectKeyStatus) {
    let was = observed.object.status.as_ref();
    let conditions = was
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let ready = status::find(conditions, ConditionType::Ready);
    let revoked = new
        .last_revocation_time
        .as_ref()
        .filter(|_| new.secret.is_none());
    let is = match ready.map(|ready| ready.status.as_str()) {
        _ if revoked.is_some() => Is::False,
        Some("True") => Is::True,
        Some("False") => Is::False,
        _ => Is::Unknown,
    };
    let message = match revoked {
        Some(time) => format!(
            "The Secret was deleted at {}, since its key or the right to it was gone. Nothing is \
             written, since spec.suspend is true. Set it to false to go on.",
            time.0
        ),
        None if status::holds(&new.conditions, ConditionType::MassRevocationHeld) => {
            "The Secret is not refreshed, since spec.suspend is true. Its key or the right to it is \
             gone, and its deletion waits: see the condition MassRevocationHeld."
                .to_owned()
        }
        None => "The Secret is not refreshed, since spec.suspend is true. Set it to false to go on."
            .to_owned(),
    };
    let generation = observed.object.metadata.generation;
    let now = observed.now;
    status::set_ready(new, is, Reason::Suspended, &message, generation, now);
}

/// How a look ends that found the Secret's key, or the right to it, gone, and a policy that says
/// Delete.
#[derive(Clone, Copy)]
pub(super) enum Ending<'a> {
    /// The Secret goes now, or went just before.
    Gone(&'a Evidence),
    /// It went before, and status says so.
    GoneBefore(&'a Evidence),
    /// Its deletion waits.
    Held(&'a Evidence),
}

/// The Secret goes, went, or waits to go. Where a payload shows that its key is gone, which the
/// listing does not yet, `record` is that of the inputs that it was read for: once the Secret is gone
/// it is not to be read again at each look.
pub(super) fn revoked(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: &Blocked,
    ending: Ending<'_>,
    record: Option<&str>,
) -> Plan {
    let now = whole_second(observed.now);
    let message = announce::revocation(observed, blocked.reason, ending, now);
    let mut blocked = Blocked {
        message: message.clone(),
        bearing: Bearing::NotReady,
        ..blocked.clone()
    };
    let held = matches!(ending, Ending::Held(_));
    if held && schedule::retry(blocked.reason) == schedule::Retry::OnChange {
        blocked.next = Some(after(observed.now, schedule::HELD_INTERVAL));
    }
    let suspended = observed.object.spec.suspend == Some(true);
    let amend = |new: &mut KeyProtectKeyStatus| {
        if matches!(ending, Ending::Gone(_)) {
            new.secret = None;
            new.last_revocation_time = Some(Time(now));
            new.last_change_time = Some(Time(now));
        }
        if held {
            // Since when it waits stays as it was.
            let since = observed.object.status.iter();
            let since = since.flat_map(|status| &status.conditions);
            let type_ = ConditionType::MassRevocationHeld.as_str();
            new.conditions
                .extend(since.filter(|was| was.type_ == type_).cloned());
            status::set(
                &mut new.conditions,
                ConditionType::MassRevocationHeld,
                Is::True,
                "TooMany",
                announce::HELD,
                observed.object.metadata.generation,
                observed.now,
            );
        }
        if suspended {
            if matches!(ending, Ending::Gone(_)) {
                // Nothing is watched any more.
                new.pending = None;
            }
            say_suspended(observed, new);
        }
    };
    let mut plan = stopped(observed, request, &blocked, record, amend);
    if let Ending::Gone(_) = ending {
        plan.events = vec![Announcement {
            reason: "Revoked",
            warning: true,
            note: message,
        }];
    } else if suspended {
        plan.events.clear();
    }
    plan
}

/// A write that failed says nothing against what a grace is counted from.
pub(super) fn counting_on(observed: &Observed<'_>, blocked: Blocked) -> Blocked {
    let status = observed.object.status.as_ref();
    let pending = status.and_then(|status| status.pending.as_ref());
    let counted = pending.and_then(|pending| {
        Some(Counted {
            reason: Reason::parse(&pending.reason)?,
            since: pending.since.0,
            key: pending.key.clone(),
        })
    });
    Blocked {
        pending: counted,
        ..blocked
    }
}
