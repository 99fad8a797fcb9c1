//! When to look again: back-off by class of failure, durations as the schema has them, and a
//! spread that comes from the object's UID, so that it is the same on every run.

use jiff::{SignedDuration, Timestamp};

use crate::api::{KeyProtectInstance, KeyProtectKey, Reason};

/// Refresh interval of an instance that names none.
pub const DEFAULT_REFRESH: SignedDuration = SignedDuration::from_hours(1);
/// How often a vanished alias or name is looked up during its grace.
pub const MOVING_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// How often a revocation that waits for leave is looked at, where only rules say that it is one.
pub const HELD_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// Longest Retry-After that is obeyed: a server that asks for more is mistaken, and an object
/// must not sleep for ever.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);
/// Shortest refresh interval, whatever an object made under another schema says.
pub const SHORTEST_REFRESH: SignedDuration = SignedDuration::from_mins(1);

/// Reads a Go-style duration of hours, minutes and seconds; the schema lets nothing else in.
#[must_use]
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let mut total = SignedDuration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        let seconds = match rest.as_bytes().get(digits)? {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = total.checked_add(SignedDuration::from_secs(number.checked_mul(seconds)?))?;
        rest = rest.get(digits + 1..)?;
    }
    Some(total)
}

/// How often an instance's keys are looked at.
#[must_use]
pub fn refresh_interval(instance: &KeyProtectInstance) -> SignedDuration {
    instance
        .spec
        .refresh_interval
        .as_deref()
        .and_then(parse_duration)
        .unwrap_or(DEFAULT_REFRESH)
}

/// How old what is known of an object's keys may get: its own interval, else its instance's.
#[must_use]
pub fn interval_of(object: &KeyProtectKey, instance: SignedDuration) -> SignedDuration {
    let own = object.spec.refresh_interval.as_deref();
    own.and_then(parse_duration)
        .filter(|own| !own.is_zero())
        .unwrap_or(instance)
        .max(SHORTEST_REFRESH)
}

/// Whether an object takes a new key behind its alias or name only when it changes itself.
#[must_use]
pub fn is_pinned(object: &KeyProtectKey) -> bool {
    let own = object.spec.refresh_interval.as_deref();
    own.and_then(parse_duration)
        .is_some_and(|own| own.is_zero())
}

/// How a failure is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After this long at first, doubling up to this long at most.
    Backoff {
        /// First delay.
        first: SignedDuration,
        /// Longest delay.
        longest: SignedDuration,
    },
    /// Only when something changes: the object, its key in the catalogue, or its instance.
    OnChange,
}

const fn backoff(first_seconds: i64, longest_seconds: i64) -> Retry {
    Retry::Backoff {
        first: SignedDuration::from_secs(first_seconds),
        longest: SignedDuration::from_secs(longest_seconds),
    }
}

/// How each reason is tried again. Every refusal is a critical event in the customer's audit
/// log, so refusals are asked for slowly.
#[must_use]
pub const fn retry(reason: Reason) -> Retry {
    match reason {
        Reason::Unreachable | Reason::Throttled | Reason::ServiceError => backoff(2, 300),
        Reason::OperatorError => backoff(1, 60),
        Reason::Pending => backoff(1, 30),
        Reason::CredentialMissing | Reason::CredentialRejected => backoff(10, 300),
        Reason::KeyNotAvailable => backoff(5, 300),
        Reason::AccessDenied | Reason::PayloadForbidden => backoff(60, 900),
        Reason::SecretNotOwned | Reason::SecretImmutable | Reason::SecretRejected => {
            backoff(10, 300)
        }
        Reason::AliasMoving | Reason::AliasWentBack => backoff(60, 60),
        Reason::KeyDeleted | Reason::KeyExpired | Reason::KeyDisabled => backoff(300, 3600),
        Reason::NamespaceTerminating => backoff(30, 300),
        Reason::Synced
        | Reason::Suspended
        | Reason::AccessWithdrawn
        | Reason::NotExtractable
        | Reason::RenderFailed
        | Reason::TargetConflict
        | Reason::EntryConflict => Retry::OnChange,
    }
}

/// When to try again after the n-th failure in a row (n from 1): at least half of the doubled
/// delay, the rest by the object's spread.
#[must_use]
pub fn retry_at(
    now: Timestamp,
    retry: Retry,
    failures: u32,
    uid: &str,
    at_least: Option<std::time::Duration>,
) -> Option<Timestamp> {
    let Retry::Backoff { first, longest } = retry else {
        return None;
    };
    let doublings = failures.saturating_sub(1).min(20);
    let whole = first
        .saturating_mul(1_i32 << doublings.min(20))
        .min(longest);
    let half = whole / 2;
    let spread = half.as_millis().max(1);
    let offset = i64::from(spread_of(uid, failures)) % i64::try_from(spread).unwrap_or(i64::MAX);
    let mut delay = half + SignedDuration::from_millis(offset);
    if let Some(asked) = at_least {
        let asked = SignedDuration::try_from(asked).unwrap_or(LONGEST_WAIT);
        let asked = asked.min(LONGEST_WAIT);
        delay = delay.max(asked + SignedDuration::from_millis(offset));
    }
    now.checked_add(delay).ok()
}

/// When a status is tried again that could not be written so often in a row (from 1): after a
/// conflict at once at first, since the watch is about to show why.
#[must_use]
pub fn status_at(now: Timestamp, conflict: bool, failures: u32, uid: &str) -> Timestamp {
    let retry = if conflict {
        Retry::Backoff {
            first: SignedDuration::from_millis(200),
            longest: SignedDuration::from_secs(30),
        }
    } else {
        backoff(5, 60)
    };
    retry_at(now, retry, failures, uid, None).unwrap_or(now)
}

/// Within this long after a repair, another one counts as one in a row.
pub const REPAIR_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Repairs in a row that are made at once.
const PROMPT_REPAIRS: u32 = 3;

/// When a Secret that was restored so often in a row, last at `last`, may be restored again: two
/// that fight over a Secret must not cost a payload read per round.
#[must_use]
pub fn repair_at((count, last): (u32, Timestamp), uid: &str) -> Timestamp {
    let late = count.saturating_sub(PROMPT_REPAIRS - 1);
    if late == 0 {
        return Timestamp::MIN;
    }
    retry_at(last, backoff(10, 300), late, uid, None).unwrap_or(last)
}

/// A number that is the same for an object on every run (FNV-1a).
#[must_use]
pub fn spread_of(uid: &str, round: u32) -> u32 {
    uid.bytes()
        .chain(round.to_le_bytes())
        .fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
}

/// The first turn of an object after a time, where each has one turn in every interval: its own
/// place in it, the same on every run.
#[must_use]
pub fn next_turn(after: Timestamp, interval: SignedDuration, uid: &str) -> Option<Timestamp> {
    let interval = i64::try_from(interval.as_millis())
        .ok()
        .filter(|i| *i > 0)?;
    let place = i64::from(spread_of(uid, 0)) % interval;
    let since = (after.as_millisecond() - place).rem_euclid(interval);
    after
        .checked_add(SignedDuration::from_millis(interval - since))
        .ok()
}

/// How long what is known may be unconfirmed before `Stale` says so: three intervals, at least
/// an hour.
#[must_use]
pub fn staleness_limit(interval: SignedDuration) -> SignedDuration {
    interval
        .saturating_mul(3)
        .max(SignedDuration::from_hours(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_hours_minutes_and_seconds() {
        for (text, seconds) in [
            ("1h", 3600),
            ("10m", 600),
            ("1h30m5s", 5405),
            ("0s", 0),
            ("90s", 90),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(SignedDuration::from_secs(seconds)),
                "{text}"
            );
        }
        for bad in ["", "1d", "10", "m", "-1h", "1.5h", "99999999999999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn back_off_doubles_is_capped_and_the_same_on_every_run() {
        let now = Timestamp::UNIX_EPOCH;
        let retry = backoff(2, 300);
        let delay = |failures| {
            retry_at(now, retry, failures, "uid-1", None).map_or(0, Timestamp::as_second)
        };
        for failures in 1..40 {
            let whole = 2_i64.saturating_mul(1 << failures.min(20)) / 2;
            let whole = whole.min(300);
            assert!(
                (whole / 2..=whole).contains(&delay(failures)),
                "{failures}: {}",
                delay(failures)
            );
            assert_eq!(delay(failures), delay(failures));
        }
    }

    #[test]
    fn retry_after_is_obeyed() {
        let at = retry_at(
            Timestamp::UNIX_EPOCH,
            backoff(2, 300),
            1,
            "u",
            Some(std::time::Duration::from_secs(700)),
        );
        assert!(at.is_some_and(|at| at.as_second() >= 700));
    }

    #[test]
    fn each_object_has_one_turn_in_every_interval_and_not_all_the_same() {
        let interval = SignedDuration::from_mins(10);
        let mut places = std::collections::BTreeSet::new();
        for object in 0..100 {
            let uid = format!("uid-{object}");
            let mut turn = Timestamp::UNIX_EPOCH;
            for _ in 0..3 {
                let next = next_turn(turn, interval, &uid).unwrap();
                assert!(next > turn && next.duration_since(turn) <= interval);
                assert_eq!(
                    next_turn(next, interval, &uid),
                    next.checked_add(interval).ok()
                );
                turn = next;
            }
            places.insert(turn.as_second() / 60);
        }
        assert!(places.len() >= 8, "{places:?}");
        assert_eq!(
            next_turn(Timestamp::UNIX_EPOCH, SignedDuration::ZERO, "u"),
            None
        );
    }

    #[test]
    fn what_only_a_change_can_mend_is_not_tried_again() {
        assert_eq!(
            retry_at(
                Timestamp::UNIX_EPOCH,
                retry(Reason::NotExtractable),
                1,
                "u",
                None
            ),
            None
        );
    }

    #[test]
    fn a_status_that_cannot_be_written_is_tried_at_growing_intervals() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |conflict, n| status_at(now, conflict, n, "uid").duration_since(now);
        assert!(after(true, 1) <= SignedDuration::from_millis(200));
        assert!(after(true, 1) > SignedDuration::ZERO);
        assert!(after(true, 20) >= SignedDuration::from_secs(15));
        assert!(after(false, 1) >= SignedDuration::from_millis(2500));
        assert!(after(false, 20) >= SignedDuration::from_secs(30));
        assert!(after(false, 20) <= SignedDuration::from_secs(60));
    }
}
