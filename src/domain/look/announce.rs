//! What is announced beside status: Events, and the coming expiry of a key.

use jiff::{SignedDuration, Timestamp};

use crate::api::condition::{ConditionType, Reason};
use crate::api::key::{KeyProtectKeyStatus, SourceKey};
use crate::domain::look::hindrance::Blocked;
use crate::domain::look::known;
use crate::domain::look::observed::{Observed, Probe};
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
