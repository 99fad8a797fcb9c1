//! How a look ends: status, Events, when to look again and what to remember, from what was
//! found. Nothing is written that is already so.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::catalogue::{Catalogue, Listing};
use super::decide::{alias_of, first_expiry};
use super::identify::{self, Bearing, Blocked};
use super::metadata::KeyMetadata;
use super::observed::{Memory, Observed};
use super::plan::{Announcement, Plan, Write};
use super::reference::KeyName;
use super::render::RenderNote;
use super::request::{self, SyncRequest};
use super::schedule::{self, staleness_limit};
use super::secret::Drift;
use super::status::{self, Is};
use crate::api::condition::{ConditionType, Reason};
use crate::api::key::{KeyProtectKeyStatus, PendingStatus, SecretStatus, SourceKey};

/// What a look found when every key is there.
pub(super) struct Success {
    /// The keys, in the order of the target's sources.
    pub(super) keys: Vec<KeyMetadata>,
    /// Correlation IDs of the reads of their payloads, where they were read.
    pub(super) correlation: Vec<Option<String>>,
    /// What is to be written.
    pub(super) writes: Vec<Write>,
    /// What rendering noticed.
    pub(super) notes: Vec<RenderNote>,
    /// In which way the Secret was not what it should be, if it was there.
    pub(super) drift: Option<Drift>,
}

/// Nothing is to be done and nothing to be said.
pub(super) fn nothing(observed: &Observed<'_>, cause: &str) -> Plan {
    Plan {
        writes: Vec::new(),
        status: None,
        events: Vec::new(),
        next: None,
        memory: observed.memory.clone(),
        outcome: Reason::Pending,
        cause: cause.to_owned(),
    }
}

/// What was seen is not so any more: look again soon, with a new listing if asked.
pub(super) fn again(observed: &Observed<'_>, cause: &str, relist: bool) -> Plan {
    let mut plan = nothing(observed, cause);
    plan.memory.failures = observed.memory.failures.saturating_add(1);
    if relist {
        plan.memory.fresh_after = observed.now;
        plan.memory.answers_after = observed.now;
    }
    let retry = schedule::retry(Reason::Pending);
    plan.next = schedule::retry_at(
        observed.now,
        retry,
        plan.memory.failures,
        observed.uid(),
        None,
    );
    plan
}

/// Nothing is fetched or written while `spec.suspend` is true. Ready keeps its status.
pub(super) fn suspended(observed: &Observed<'_>) -> Plan {
    let mut plan = nothing(observed, "suspended");
    let mut new = prior_status(observed);
    let is = match status::find(&new.conditions, ConditionType::Ready).map(|c| c.status.as_str()) {
        Some("True") => Is::True,
        Some("False") => Is::False,
        _ => Is::Unknown,
    };
    let message = "spec.suspend is true: the Secret is not refreshed. Set it to false to go on.";
    let generation = observed.object.metadata.generation;
    status::set_ready(
        &mut new,
        is,
        Reason::Suspended,
        message,
        generation,
        observed.now,
    );
    plan.outcome = Reason::Suspended;
    plan.status = changed(observed, new);
    plan
}

/// Something stands in the way. No Secret is written or deleted.
pub(super) fn blocked(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: &Blocked,
) -> Plan {
    let mut plan = nothing(observed, &blocked.cause);
    plan.outcome = blocked.reason;
    let mut new = prior_status(observed);
    let good = holds_good_value(observed);
    let was = status::ready_reason(&new);
    let ready = status::holds(&new.conditions, ConditionType::Ready);
    let generation = observed.object.metadata.generation;
    let is = match blocked.bearing {
        Bearing::StayReady if good => Some(Is::True),
        // A good value stays good, and a verdict that only a person can change stays too: a
        // request that failed said nothing new.
        Bearing::Keep if good && ready => None,
        Bearing::Keep if !ready && was.is_some_and(|was| was.stalls() && was != blocked.reason) => {
            None
        }
        Bearing::NotReady | Bearing::StayReady | Bearing::Keep => Some(Is::False),
    };
    if let Some(is) = is {
        let is = if blocked.reason == Reason::Pending && !ready {
            Is::Unknown
        } else {
            is
        };
        status::set_ready(
            &mut new,
            is,
            blocked.reason,
            &blocked.message,
            generation,
            observed.now,
        );
        note_key(&mut new, blocked.key.as_deref());
    }
    new.pending = blocked.pending.map(|(reason, since)| PendingStatus {
        reason: reason.as_str().to_owned(),
        since: Time(since),
    });
    let definite = !matches!(blocked.bearing, Bearing::Keep);
    if definite {
        answer_sync_request(observed, &mut new);
    }
    let interval = request.map_or(schedule::DEFAULT_REFRESH, |request| request.interval);
    let stale_at = mark_stale(observed, &mut new, interval, !definite && good);
    plan.memory = after_failure(observed, request, blocked.reason);
    plan.events = failure_event(is, was, blocked);
    plan.status = changed(observed, new);
    let retry = schedule::retry_at(
        observed.now,
        schedule::retry(blocked.reason),
        plan.memory.failures,
        observed.uid(),
        blocked.retry_after,
    );
    plan.next = match blocked.next {
        Some(due) => Some(due),
        None => earliest([retry, stale_at]),
    };
    plan
}

fn after_failure(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    reason: Reason,
) -> Memory {
    let mut memory = observed.memory.clone();
    memory.failures = memory.failures.saturating_add(1);
    memory.answers_after = observed.now;
    let by_name = request.is_some_and(|request| {
        request
            .target
            .sources
            .iter()
            .any(|source| matches!(source.key.name, KeyName::Name(_)))
    });
    if by_name && matches!(reason, Reason::KeyNotAvailable | Reason::AliasMoving) {
        // A name is found by a listing alone.
        memory.fresh_after = observed.now;
    }
    memory
}

/// One Event per failure reason, and only when the reason is news.
fn failure_event(is: Option<Is>, was: Option<Reason>, blocked: &Blocked) -> Vec<Announcement> {
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

/// Every key is there: the Secret is right, or will be once the plan's writes are made.
pub(super) fn synced(observed: &Observed<'_>, request: &SyncRequest<'_>, success: Success) -> Plan {
    let mut plan = nothing(observed, "synced");
    plan.outcome = Reason::Synced;
    let mut new = prior_status(observed);
    let instance = (
        request.instance.namespace.to_owned(),
        request.instance.name.to_owned(),
    );
    let keys = source_keys(observed, request, &success);
    plan.events = success_events(observed, request, &success, &keys);
    new.keys = keys;
    new.instance_ref = Some(request::reference_to(&instance));
    new.pending = None;
    new.secret = Some(secret_status(observed, request, &success));
    if !success.writes.is_empty() {
        new.last_change_time = Some(Time(observed.now));
    }
    answer_sync_request(observed, &mut new);
    let generation = observed.object.metadata.generation;
    let message = synced_message(request, &success.keys, &instance);
    status::set_ready(
        &mut new,
        Is::True,
        Reason::Synced,
        &message,
        generation,
        observed.now,
    );
    let expiry_at = mark_expiring(observed, &mut new, &success.keys, &mut plan.events);
    let fresh =
        matches!(observed.knowledge.listing, Listing::Fresh(_)) || request.target.is_literal_only();
    plan.memory.failures = 0;
    plan.memory.target_taken = false;
    if fresh {
        plan.memory.confirmed_at = observed.now;
    }
    let stale_at = mark_stale(observed, &mut new, request.interval, !fresh);
    plan.next = earliest([
        expiry_at,
        stale_at,
        next_single_read(observed, request, &success.keys),
    ]);
    plan.writes = success.writes;
    plan.status = changed(observed, new);
    plan
}

fn synced_message(
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
    (namespace, name): &(String, String),
) -> String {
    let secret = &request.target.name;
    match (keys, request.target.sources.first()) {
        ([key], Some(source)) => match &source.key.name {
            KeyName::Id(id) => {
                format!("Secret {secret} holds key {id} of instance {namespace}/{name}.")
            }
            KeyName::Alias(_) | KeyName::Name(_) => format!(
                "Secret {secret} holds key {} ({}) of instance {namespace}/{name}.",
                key.id, source.key
            ),
        },
        ([], _) => format!("Secret {secret} holds literals only."),
        (keys, _) => {
            format!(
                "Secret {secret} holds {} keys of instance {namespace}/{name}.",
                keys.len()
            )
        }
    }
}

fn source_keys(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    success: &Success,
) -> Vec<SourceKey> {
    let sources = request.target.sources.iter();
    let read = success
        .correlation
        .iter()
        .cloned()
        .chain(std::iter::repeat(None));
    sources
        .zip(&success.keys)
        .zip(read)
        .map(|((source, key), correlation_id)| {
            let prior = observed
                .object
                .status
                .iter()
                .flat_map(|status| &status.keys)
                .find(|prior| prior.id == key.id.as_str());
            SourceKey {
                entry: source.entry.clone(),
                id: key.id.to_string(),
                crn: key.crn.clone(),
                name: key.name.clone(),
                alias: alias_of(&source.key.name).map(str::to_owned),
                key_ring: key.key_ring.clone(),
                state: key.state.map(|state| state.as_str().to_owned()),
                creation_date: key.creation_date.map(|date| date.to_string()),
                expiration_date: key.expiration_date.map(|date| date.to_string()),
                correlation_id: correlation_id
                    .or_else(|| prior.and_then(|prior| prior.correlation_id.clone())),
            }
        })
        .collect()
}

/// UID and resourceVersion of a Secret that is written come from the API server's answer; the
/// shell fills them in.
fn secret_status(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    success: &Success,
) -> SecretStatus {
    let name = request.target.name.clone();
    let written = success.writes.iter().find_map(|write| match write {
        Write::Create(body) | Write::Replace { body, .. } if body.name == name => Some(body),
        _ => None,
    });
    let prior = observed
        .object
        .status
        .as_ref()
        .and_then(|status| status.secret.as_ref());
    match (written, observed.secret) {
        (Some(body), _) => SecretStatus {
            name,
            uid: None,
            resource_version: None,
            entries: body.entries.keys().cloned().collect(),
        },
        (None, Some(view)) => {
            let same = prior.filter(|prior| prior.uid.as_deref() == Some(&view.uid));
            SecretStatus {
                name,
                uid: Some(view.uid.clone()),
                resource_version: same
                    .and_then(|prior| prior.resource_version.clone())
                    .or_else(|| Some(view.resource_version.clone())),
                entries: view.fields.entries.iter().cloned().collect(),
            }
        }
        (None, None) => SecretStatus {
            name,
            ..SecretStatus::default()
        },
    }
}

fn success_events(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    success: &Success,
    keys: &[SourceKey],
) -> Vec<Announcement> {
    let mut events = Vec::new();
    if success.writes.is_empty() {
        return events;
    }
    for (source, key) in request.target.sources.iter().zip(keys) {
        if let Some(prior) = identify::prior(observed, request, &source.key)
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
    let had = observed
        .object
        .status
        .as_ref()
        .and_then(|status| status.secret.as_ref());
    let missing =
        observed.secret.is_none() && had.is_some_and(|had| had.name == request.target.name);
    if events.is_empty() && (missing || success.drift == Some(Drift::Edited)) {
        let what = if missing {
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
fn mark_expiring(
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
        .rev()
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
    let was = status::find(&new.conditions, ConditionType::ExpiringSoon).map(|c| c.reason.clone());
    if was.as_deref() != Some(*reason) {
        events.push(Announcement {
            reason: "Expiring",
            warning: true,
            note: message.clone(),
        });
    }
    let generation = observed.object.metadata.generation;
    status::set(
        &mut new.conditions,
        ConditionType::ExpiringSoon,
        Is::True,
        reason,
        &message,
        generation,
        observed.now,
    );
    next
}

/// Says so when a value has not been confirmed for long; says when that would be.
fn mark_stale(
    observed: &Observed<'_>,
    new: &mut KeyProtectKeyStatus,
    interval: SignedDuration,
    unconfirmed: bool,
) -> Option<Timestamp> {
    if !unconfirmed {
        status::clear(&mut new.conditions, ConditionType::Stale);
        return None;
    }
    let limit = staleness_limit(interval);
    // A listing confirms every object that it says nothing new of, without a look at it.
    let listed = observed
        .knowledge
        .listing
        .catalogue()
        .map(Catalogue::listed_at);
    let confirmed = observed
        .memory
        .confirmed_at
        .max(listed.unwrap_or(Timestamp::MIN));
    let due = confirmed.checked_add(limit).ok()?;
    if observed.now < due {
        return Some(due);
    }
    let message = format!(
        "The key could not be looked at for {limit:#}; the Secret keeps its last value. See the \
         conditions of the KeyProtectInstance."
    );
    let generation = observed.object.metadata.generation;
    status::set(
        &mut new.conditions,
        ConditionType::Stale,
        Is::True,
        "NotConfirmed",
        &message,
        generation,
        observed.now,
    );
    None
}

/// A key that no listing shows is asked for singly, an interval after the last time.
fn next_single_read(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
) -> Option<Timestamp> {
    let catalogue = observed.knowledge.listing.catalogue();
    keys.iter()
        .zip(&request.target.sources)
        .filter(|(key, _)| catalogue.is_none_or(|catalogue| catalogue.row(&key.id).is_none()))
        .flat_map(|(_, source)| request.grant.questions(&source.key))
        .filter_map(|question| observed.knowledge.answers.get(&question))
        .filter_map(|answer| answer.asked_at.checked_add(request.interval).ok())
        .min()
}

/// Whether the Secret holds what was last written for the object as it is now: nothing is known
/// against it, though nothing new may be known either.
fn holds_good_value(observed: &Observed<'_>) -> bool {
    let Some((status, view)) = observed.object.status.as_ref().zip(observed.secret) else {
        return false;
    };
    let written = status.secret.as_ref();
    let whole = written.is_some_and(|written| {
        written.uid.as_deref() == Some(&view.uid)
            && written.entries.iter().map(String::as_str).eq(view
                .fields
                .entries
                .iter()
                .map(String::as_str))
    });
    whole
        && !view.deleting
        && view.fields.foreign_entries.is_empty()
        && status.observed_generation == observed.object.metadata.generation
}

/// Shows the state of a key that was read but cannot be used, where it is the one in the Secret.
fn note_key(new: &mut KeyProtectKeyStatus, key: Option<&KeyMetadata>) {
    let Some(key) = key else { return };
    for known in new
        .keys
        .iter_mut()
        .filter(|known| known.id == key.id.as_str())
    {
        known.state = key.state.map(|state| state.as_str().to_owned());
        known.expiration_date = key.expiration_date.map(|date| date.to_string());
    }
}

fn answer_sync_request(observed: &Observed<'_>, new: &mut KeyProtectKeyStatus) {
    if let Some(asked) = observed.open_sync_request() {
        new.last_handled_sync_request = Some(asked.to_owned());
    }
}

fn prior_status(observed: &Observed<'_>) -> KeyProtectKeyStatus {
    observed.object.status.clone().unwrap_or_default()
}

fn changed(observed: &Observed<'_>, new: KeyProtectKeyStatus) -> Option<Box<KeyProtectKeyStatus>> {
    (observed.object.status.as_ref() != Some(&new)).then(|| Box::new(new))
}

fn earliest<const N: usize>(times: [Option<Timestamp>; N]) -> Option<Timestamp> {
    times.into_iter().flatten().min()
}
