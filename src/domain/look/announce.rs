//! What is announced beside status: Events, and the coming expiry of a key.

use jiff::{SignedDuration, Timestamp};

use crate::api::condition::{ConditionType, Reason};
use crate::api::key::{CreationPolicy, KeyProtectKeyStatus, SourceKey};
use crate::domain::look::ending::Ending;
use crate::domain::look::hindrance::Blocked;
use crate::domain::look::judge::AGAIN;
use crate::domain::look::known;
use crate::domain::look::observed::{Observed, Probe, Sight};
use crate::domain::look::plan::Announcement;
use crate::domain::look::report::Success;
use crate::domain::look::request::{self, SyncRequest};
use crate::domain::secret::render::RenderNote;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::status::{self, Is};

/// One Event per failure reason, and only when the reason is news.
pub(super) fn failure(is: Option<Is>, was: Option<Reason>, blocked: &Blocked) -> Vec<Announcement> {
    let news = is.is_some() && was != Some(blocked.reason);
    if !news
        || matches!(
            blocked.reason,
            Reason::Pending | Reason::NamespaceTerminating
        )
    {
        return Vec::new();
    }
    vec![Announcement {
        reason: blocked.reason.as_str(),
        warning: is == Some(Is::False),
        note: blocked.message.clone(),
    }]
}

/// What the condition MassRevocationHeld says on an object.
pub(super) const HELD: &str = "Too many Secrets of the instance would be deleted by revocations within an hour. \
    Whoever may change the instance lets those go that wait by annotating it with \
    keyprotect.dev/release-revocations and the time of now.";

/// What is said of a revocation: the evidence, and what became of the Secret or the entries.
pub(super) fn revocation(
    observed: &Observed<'_>,
    reason: Reason,
    ending: Ending<'_>,
    now: Timestamp,
) -> String {
    let secret = request::target_name(observed.object);
    let target = observed.object.spec.target.as_ref();
    let merges = target.and_then(|target| target.creation_policy) == Some(CreationPolicy::Merge);
    let (secret, [keeps, went, back]) = if merges {
        let words = ["keep their last values", "were deleted", "They are made"];
        (format!("The entries in Secret {secret}"), words)
    } else {
        let words = ["keeps its last value", "was deleted", "It is made"];
        (format!("Secret {secret}"), words)
    };
    let status = observed.object.status.as_ref();
    let before = status.and_then(|status| status.last_revocation_time.as_ref());
    let (evidence, gone_at) = match ending {
        Ending::Gone(evidence) => (evidence, Some(now)),
        Ending::GoneBefore(evidence) => (evidence, before.map(|time| time.0)),
        Ending::Held(evidence) => {
            return format!("{evidence} {secret} {keeps} for now. {HELD}");
        }
    };
    let (policy, what) = if evidence.is_withdrawal() {
        (
            "the instance's onAccessWithdrawn",
            "the access is given back",
        )
    } else {
        ("spec.revocationPolicy", "the key is back")
    };
    let unless = if observed.sight == Sight::Watched {
        ""
    } else {
        " If somebody had changed or replaced it, it may still be there: the operator cannot look."
    };
    let what_became = gone_at.map_or_else(
        || "There is no Secret.".to_owned(),
        |at| format!("{secret} {went} at {at}, since {policy} is Delete.{unless}"),
    );
    let again = match reason {
        Reason::KeyDeleted | Reason::KeyExpired => AGAIN,
        Reason::KeyNotAvailable => {
            " It is looked up again at growing intervals of up to 5 minutes."
        }
        _ => "",
    };
    format!("{evidence} {what_became} {back} anew when {what}.{again}")
}

/// Another key, a repair, a payload that may not be meant so. None for a routine first sync.
pub(super) fn success(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    success: &Success,
    keys: &[SourceKey],
) -> Vec<Announcement> {
    let mut events = Vec::new();
    for (source, key) in request.target.sources.iter().zip(keys) {
        // Told by status, so that a write whose status was lost is announced all the same.
        if let Some(prior) = known::prior(observed, request, &source.key)
            && prior.id != key.id
        {
            events.push(Announcement {
                reason: "KeyChanged",
                warning: false,
                note: format!(
                    "{} is key {} now, no longer key {}; Secret {} follows.",
                    request::capitalised(&source.key),
                    key.id,
                    prior.id,
                    request.target.name
                ),
            });
        }
    }
    // A write of a shared Secret mostly finds its entries as they were.
    if success.repair && events.is_empty() && !request.target.merges() {
        let what = if observed.secret.is_none() && observed.probe != Some(Probe::Changed) {
            "was missing"
        } else {
            "had been edited"
        };
        events.push(Announcement {
            reason: "Restored",
            warning: false,
            note: format!("Secret {} {what} and was restored.", request.target.name),
        });
    }
    for RenderNote::PayloadNewline { entry } in &success.notes {
        events.push(Announcement {
            reason: "PayloadNewline",
            warning: true,
            note: format!(
                "The payload ends in a newline, and entry {entry} holds it as it is. If that is \
                 not meant, write `encoding: Text` for this entry."
            ),
        });
    }
    events
}

/// Announces an expiry 30, 7 and 1 days ahead; says when the next announcement is due.
pub(super) fn expiry(
    observed: &Observed<'_>,
    new: &mut KeyProtectKeyStatus,
    keys: &[KeyMetadata],
    events: &mut Vec<Announcement>,
) -> Option<Timestamp> {
    const STEPS: [(i64, &str); 3] = [
        (1, "WithinOneDay"),
        (7, "WithinSevenDays"),
        (30, "WithinThirtyDays"),
    ];
    let before =
        |date: Timestamp, days: i64| date.checked_sub(SignedDuration::from_hours(24 * days)).ok();
    let Some((date, key)) = first_expiry(keys) else {
        status::clear(&mut new.conditions, ConditionType::ExpiringSoon);
        return None;
    };
    let due = STEPS
        .iter()
        .filter_map(|(days, _)| before(date, *days))
        .chain([date]);
    let next = due.filter(|at| *at > observed.now).min();
    let step = STEPS
        .iter()
        .find(|(days, _)| before(date, *days).is_some_and(|at| at <= observed.now));
    let Some((_, reason)) = step else {
        status::clear(&mut new.conditions, ConditionType::ExpiringSoon);
        return next;
    };
    let message = format!(
        "Key {} expires at {date}. Create a new key and move the alias to it, or name another key \
         in spec.key, before then.",
        key.id
    );
    let was = status::find(&new.conditions, ConditionType::ExpiringSoon);
    if was.is_none_or(|was| was.reason != *reason) {
        events.push(Announcement {
            reason: "Expiring",
            warning: true,
            note: message.clone(),
        });
    }
    status::set(
        &mut new.conditions,
        ConditionType::ExpiringSoon,
        Is::True,
        reason,
        &message,
        observed.object.metadata.generation,
        observed.now,
    );
    next
}

/// When any of the keys expires first.
fn first_expiry(keys: &[KeyMetadata]) -> Option<(Timestamp, &KeyMetadata)> {
    keys.iter()
        .filter_map(|key| key.expiration_date.map(|date| (date, key)))
        .min_by_key(|(date, _)| *date)
}
