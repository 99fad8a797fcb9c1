//! How a look ends: status, when to look again and what to remember, from what was found.
//! Nothing is written that is already so.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::condition::{ConditionType, Reason};
use crate::api::key::{KeyProtectKeyStatus, PendingStatus};
use crate::domain::audit::Account;
use crate::domain::look::announce;
use crate::domain::look::expected;
use crate::domain::look::hindrance::{Bearing, Blocked};
use crate::domain::look::judge::whole_second;
use crate::domain::look::observed::{Attempt, Memory, Observed, Probe};
use crate::domain::look::plan::{Announcement, Plan};
use crate::domain::look::report::{self, Success};
use crate::domain::look::request::{self, SyncRequest};
use crate::domain::look::unread;
use crate::domain::schedule;
use crate::domain::service::catalogue::Listing;
use crate::domain::service::reference::{KeyName, KeyReference};
use crate::domain::status::{self, Is};

/// Nothing is to be done and nothing to be said.
pub(super) fn nothing(observed: &Observed<'_>, cause: &str) -> Plan {
    Plan {
        writes: Vec::new(),
        revocation: None,
        status: None,
        events: Vec::new(),
        next: None,
        memory: observed.memory.clone(),
        outcome: Reason::Pending,
        cause: cause.to_owned(),
        account: Account::default(),
    }
}

/// What was seen is not so any more: look again soon.
pub(super) fn again(observed: &Observed<'_>, cause: &str) -> Plan {
    let mut plan = nothing(observed, cause);
    count_failure(observed, &mut plan.memory);
    let retry = schedule::retry(Reason::Pending);
    let failures = plan.memory.failures;
    plan.next = schedule::retry_at(observed.now, retry, failures, observed.uid(), None);
    plan
}

/// Something stands in the way. No Secret is written or deleted.
pub(super) fn blocked(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: &Blocked,
) -> Plan {
    stopped(observed, request, blocked, None, |_| {})
}

/// The Secret could not be made, or not be written, of these inputs.
pub(super) fn failed(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    blocked: &Blocked,
    record: &str,
) -> Plan {
    stopped(observed, Some(request), blocked, Some(record), |_| {})
}

/// The same attempt failed a while ago, and it is too early to repeat it.
pub(super) fn held(observed: &Observed<'_>, request: &SyncRequest<'_>) -> Plan {
    let Some(attempt) = &observed.memory.attempt else {
        return again(observed, "held, but nothing is remembered");
    };
    let failures = observed.memory.failures;
    let said = say(observed, Some(request), &attempt.blocked, failures, true);
    let mut plan = nothing(observed, &attempt.blocked.cause);
    plan.outcome = attempt.blocked.reason;
    plan.next = earliest([attempt.until, said.stale_at, said.single_read_at]);
    plan.status = changed(observed, said.status);
    plan.events = said.events;
    plan
}

/// Something stands in the way: of an attempt at making the Secret, where there is the record of its
/// inputs. What is said is amended before it is compared.
pub(super) fn stopped(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: &Blocked,
    record: Option<&str>,
    amend: impl FnOnce(&mut KeyProtectKeyStatus),
) -> Plan {
    let mut plan = nothing(observed, &blocked.cause);
    plan.outcome = blocked.reason;
    count_failure(observed, &mut plan.memory);
    let failures = plan.memory.failures;
    let mut said = say(observed, request, blocked, failures, record.is_some());
    amend(&mut said.status);
    let due = pace(observed, request, blocked, &mut plan.memory);
    plan.next = earliest([due, said.stale_at, said.single_read_at]);
    plan.status = changed(observed, said.status);
    plan.events = said.events;
    if let Some(record) = record {
        plan.memory.attempt = Some(Attempt {
            record: record.to_owned(),
            generation: observed.object.metadata.generation,
            seen: observed.seen(),
            at: observed.now,
            until: due,
            blocked: Box::new(blocked.clone()),
        });
    } else if blocked.evidence.is_some() {
        // What failed before the key went says nothing of it when it is back.
        plan.memory.attempt = None;
    }
    plan
}

/// When a look that something stood in the way of is repeated, and what is asked anew then.
pub(super) fn pace(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: &Blocked,
    memory: &mut Memory,
) -> Option<Timestamp> {
    let due = blocked.next.or_else(|| {
        schedule::retry_at(
            observed.now,
            schedule::retry(blocked.reason),
            memory.failures,
            observed.uid(),
            blocked.retry_after,
        )
    });
    let failures = memory.failures;
    let listing = request.and_then(|request| listing_again(observed, request, blocked, failures));
    let due = due.map(|due| listing.map_or(due, |step| shared_moment(due, step)))?;
    if asks_singly(blocked.reason) || blocked.relist {
        memory.answers_after = due;
    }
    if listing.is_some() || blocked.relist {
        memory.fresh_after = due;
    }
    Some(due)
}

/// What is said of a hindrance.
struct Said {
    status: KeyProtectKeyStatus,
    events: Vec<Announcement>,
    stale_at: Option<Timestamp>,
    single_read_at: Option<Timestamp>,
}

impl Said {
    fn nothing(observed: &Observed<'_>) -> Self {
        Self {
            status: observed.object.status.clone().unwrap_or_default(),
            events: Vec::new(),
            stale_at: None,
            single_read_at: None,
        }
    }
}

fn say(
    observed: &Observed<'_>,
    request: Option<&SyncRequest<'_>>,
    blocked: &Blocked,
    failures: u32,
    identified: bool,
) -> Said {
    let mut new = prior_status(observed);
    let good = request.is_some_and(|request| expected::holds_good_value(observed, request));
    let was = status::ready_reason(&new);
    let ready = status::holds(&new.conditions, ConditionType::Ready);
    let generation = observed.object.metadata.generation;
    let outlives = new.observed_generation == generation
        && was.is_some_and(|was| outlives_silence(was) && was != blocked.reason);
    // A key that moved while it was read is nothing to speak of, if it happens once.
    if blocked.relist && failures <= 1 && (good || !ready) {
        return Said::nothing(observed);
    }
    let is = match blocked.bearing {
        Bearing::StayReady if good => Some(Is::True),
        Bearing::Keep if good && ready => None,
        Bearing::Keep if !ready && outlives => None,
        Bearing::NotReady | Bearing::StayReady | Bearing::Keep => Some(Is::False),
    };
    if let Some(is) = is {
        let waiting = blocked.reason == Reason::Pending && new.secret.is_none();
        let is = if waiting { Is::Unknown } else { is };
        status::set_ready(
            &mut new,
            is,
            blocked.reason,
            &blocked.message,
            generation,
            observed.now,
        );
        report::note_key(&mut new, blocked.key.as_deref());
    }
    if matches!(blocked.reason, Reason::KeyExpired | Reason::KeyDeleted) {
        status::clear(&mut new.conditions, ConditionType::ExpiringSoon);
    }
    let definite = !matches!(blocked.bearing, Bearing::Keep);
    new.pending = pending(blocked, new.pending, definite, identified);
    if definite {
        // Not by silence: who waits for leave still counts while the service does not answer.
        status::clear(&mut new.conditions, ConditionType::MassRevocationHeld);
        answer_sync_request(observed, &mut new);
    }
    let interval = request.map_or(schedule::DEFAULT_REFRESH, |request| request.interval);
    let stale_at = report::mark_stale(observed, &mut new, interval, !definite && good);
    Said {
        status: new,
        events: announce::failure(is, was, blocked),
        stale_at,
        single_read_at: request.and_then(|request| report::next_single_read(observed, request)),
    }
}

/// What a grace is counted from. A request that failed says nothing against it, and a way back
/// to an older key is not over before the Secret holds that key.
pub(super) fn pending(
    blocked: &Blocked,
    prior: Option<PendingStatus>,
    definite: bool,
    identified: bool,
) -> Option<PendingStatus> {
    let counted = blocked.pending.as_ref().map(|counted| PendingStatus {
        reason: counted.reason.as_str().to_owned(),
        key: counted.key.clone(),
        since: Time(counted.since),
    });
    let going_back = |prior: &PendingStatus| prior.reason == Reason::AliasWentBack.as_str();
    counted.or_else(|| prior.filter(|prior| !definite || (identified && going_back(prior))))
}

/// Verdicts about the key itself, which a request that failed leaves as they are. Others speak
/// of things that are known to be otherwise by the time a request is sent.
const fn outlives_silence(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PayloadForbidden
            | Reason::KeyDeleted
            | Reason::KeyExpired
            | Reason::KeyDisabled
            | Reason::NotExtractable
            | Reason::RenderFailed
    )
}

/// Counts failures in a row, of one generation of spec: a change of spec is a new beginning.
pub(super) fn count_failure(observed: &Observed<'_>, memory: &mut Memory) {
    let generation = observed.object.metadata.generation;
    let before = if memory.generation == generation {
        memory.failures
    } else {
        0
    };
    memory.failures = before.saturating_add(1);
    memory.generation = generation;
}

/// Whether single reads are sent again when the reason is looked into again.
const fn asks_singly(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Unreachable
            | Reason::Throttled
            | Reason::ServiceError
            | Reason::CredentialMissing
            | Reason::CredentialRejected
            | Reason::AccessDenied
            | Reason::KeyNotAvailable
            | Reason::AliasMoving
            | Reason::KeyDeleted
            | Reason::KeyExpired
            | Reason::KeyDisabled
            | Reason::NotExtractable
    )
}

/// Whether a listing is made for this object before the next is due, and at which steps of the
/// clock: a name is found by a listing alone. One that failed is the shell's to repeat. After the
/// first failure it is soon: creation times are cut to the second, so a listing of that second may
/// lack the key that the object was made for.
fn listing_again(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    blocked: &Blocked,
    failures: u32,
) -> Option<i64> {
    let mut sources = request.target.sources.iter();
    let by_name = sources.any(|source| matches!(source.key.name, KeyName::Name(_)));
    let listed = matches!(observed.knowledge.listing, Listing::Fresh(_));
    match blocked.reason {
        Reason::KeyNotAvailable if by_name && listed && failures <= 1 => Some(5),
        Reason::KeyNotAvailable if by_name && listed => Some(300),
        Reason::AliasMoving if by_name && listed => Some(60),
        _ => None,
    }
}

/// The next full step of the clock, where all that wait for a listing share one.
fn shared_moment(due: Timestamp, step: i64) -> Timestamp {
    let seconds = due.as_second().div_euclid(step) * step + step;
    Timestamp::from_second(seconds).unwrap_or(due)
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
    let keys = report::source_keys(observed, request, &success);
    plan.events = announce::success(observed, request, &success, &keys);
    let ids = |keys: &[crate::api::key::SourceKey]| -> Vec<String> {
        keys.iter().map(|key| key.id.clone()).collect()
    };
    // A write whose status was lost shows by the keys.
    if report::written(request, &success).is_some()
        || new.last_change_time.is_none()
        || ids(&new.keys) != ids(&keys)
    {
        new.last_change_time = Some(Time(whole_second(observed.now)));
    }
    status::clear(&mut new.conditions, ConditionType::MassRevocationHeld);
    new.keys = keys;
    new.instance_ref = Some(request::reference_to(&instance));
    new.pending = None;
    new.secret = Some(report::secret_status(observed, request, &success));
    let fresh = report::is_confirmed(observed, request, &success.keys);
    if fresh {
        answer_sync_request(observed, &mut new);
    }
    status::set_ready(
        &mut new,
        Is::True,
        Reason::Synced,
        &report::synced_message(request, &success.keys, &instance),
        observed.object.metadata.generation,
        observed.now,
    );
    let expiry_at = announce::expiry(observed, &mut new, &success.keys, &mut plan.events);
    remember_success(observed, &success, fresh, &mut plan.memory);
    let stale_at = report::mark_stale(observed, &mut new, request.interval, !fresh);
    plan.next = earliest([
        success.unfinished.then_some(observed.now),
        unread::next_probe(observed, plan.memory.probed_at),
        expiry_at,
        stale_at,
        report::next_single_read(observed, request),
    ]);
    plan.account = success.account();
    plan.writes = success.writes;
    plan.status = changed(observed, new);
    plan
}

fn remember_success(observed: &Observed<'_>, success: &Success, fresh: bool, memory: &mut Memory) {
    memory.failures = 0;
    memory.target_taken = false;
    memory.doubted = false;
    let asked = matches!(
        observed.probe,
        Some(Probe::Same | Probe::Changed | Probe::Gone)
    );
    if asked || !success.writes.is_empty() {
        memory.probed_at = observed.now;
    }
    memory.attempt = None;
    if fresh {
        memory.confirmed_at = observed.now;
    }
    if success.repair {
        let (count, last) = memory.repairs;
        let window = last.checked_add(schedule::REPAIR_WINDOW);
        let in_a_row = window.is_ok_and(|end| observed.now < end);
        let count = if in_a_row { count.saturating_add(1) } else { 1 };
        memory.repairs = (count, observed.now);
    }
}

fn answer_sync_request(observed: &Observed<'_>, new: &mut KeyProtectKeyStatus) {
    if let Some(asked) = observed.open_sync_request() {
        new.last_handled_sync_request = Some(asked.to_owned());
    }
}

/// The status that there is, as the next one begins.
pub(super) fn prior_status(observed: &Observed<'_>) -> KeyProtectKeyStatus {
    let mut status = observed.object.status.clone().unwrap_or_default();
    let named = KeyReference::from_selector(observed.object.spec.key.as_ref(), observed.name());
    status.key = named.ok().map(|named| named.name.to_string());
    status
}

pub(super) fn changed(
    observed: &Observed<'_>,
    new: KeyProtectKeyStatus,
) -> Option<Box<KeyProtectKeyStatus>> {
    (observed.object.status.as_ref() != Some(&new)).then(|| Box::new(new))
}

fn earliest<const N: usize>(times: [Option<Timestamp>; N]) -> Option<Timestamp> {
    times.into_iter().flatten().min()
}
