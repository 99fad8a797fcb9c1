//! Status as a value: what would be written, and whether that says anything new.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::condition::{ConditionType, Reason};
use crate::api::key::KeyProtectKeyStatus;

/// Where a message's request ID begins. Text from here on does not make a status new: the same
/// failure has another ID at each try.
const REQUEST_ID_MARK: &str = " [";

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl Is {
    /// Names it as status shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Finds a condition.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// Tells whether a condition is there and True.
#[must_use]
pub fn holds(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Is::True.as_str())
}

/// Sets a condition. The transition time moves only with the status, and a message that differs
/// only in its request ID stays as it was.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    is: Is,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let fresh = Condition {
        type_: type_.as_str().to_owned(),
        status: is.as_str().to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    match conditions
        .iter_mut()
        .find(|condition| condition.type_ == fresh.type_)
    {
        None => conditions.push(fresh),
        Some(old) => {
            let same_status = old.status == fresh.status;
            let same_words =
                old.reason == fresh.reason && words(&old.message) == words(&fresh.message);
            *old = Condition {
                last_transition_time: if same_status {
                    old.last_transition_time.clone()
                } else {
                    Time(now)
                },
                message: if same_status && same_words {
                    std::mem::take(&mut old.message)
                } else {
                    fresh.message
                },
                ..fresh
            };
        }
    }
}

/// Removes a condition that does not hold any more (abnormal-true ones are absent when False).
pub fn clear(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|condition| condition.type_ != type_.as_str());
}

fn words(message: &str) -> &str {
    message
        .split_once(REQUEST_ID_MARK)
        .map_or(message, |(words, _)| words)
}

/// Appends a request ID to a message, where nothing of it counts as news.
#[must_use]
pub fn with_request_id(message: &str, name: &str, id: Option<&str>) -> String {
    id.map_or_else(
        || message.to_owned(),
        |id| format!("{message}{REQUEST_ID_MARK}{name} {id}]"),
    )
}

/// Sets Ready, and the two conditions of kstatus that follow from it.
pub fn set_ready(
    status: &mut KeyProtectKeyStatus,
    is: Is,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let conditions = &mut status.conditions;
    set(
        conditions,
        ConditionType::Ready,
        is,
        reason.as_str(),
        message,
        generation,
        now,
    );
    let stalled = is == Is::False && reason.stalls();
    let reconciling = is != Is::True && !stalled && reason != Reason::Suspended;
    for (type_, wanted) in [
        (ConditionType::Stalled, stalled),
        (ConditionType::Reconciling, reconciling),
    ] {
        if wanted {
            set(
                conditions,
                type_,
                Is::True,
                reason.as_str(),
                message,
                generation,
                now,
            );
        } else {
            clear(conditions, type_);
        }
    }
    status.observed_generation = generation;
}

/// Reads Ready's reason back.
#[must_use]
pub fn ready_reason(status: &KeyProtectKeyStatus) -> Option<Reason> {
    find(&status.conditions, ConditionType::Ready).and_then(|ready| Reason::parse(&ready.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_same_failure_with_another_request_id_is_no_news() {
        let mut status = KeyProtectKeyStatus::default();
        let message = |id| with_request_id("Key Protect answered 503.", "correlation ID", Some(id));
        set_ready(
            &mut status,
            Is::False,
            Reason::ServiceError,
            &message("a"),
            Some(1),
            at(1),
        );
        let before = status.clone();
        set_ready(
            &mut status,
            Is::False,
            Reason::ServiceError,
            &message("b"),
            Some(1),
            at(9),
        );
        assert_eq!(status, before);
        set_ready(
            &mut status,
            Is::False,
            Reason::ServiceError,
            "Key Protect answered 500.",
            Some(1),
            at(9),
        );
        assert_ne!(status, before);
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut status = KeyProtectKeyStatus::default();
        set_ready(
            &mut status,
            Is::False,
            Reason::ServiceError,
            "a",
            Some(1),
            at(1),
        );
        set_ready(
            &mut status,
            Is::False,
            Reason::Throttled,
            "b",
            Some(1),
            at(9),
        );
        let ready = |status: &KeyProtectKeyStatus| {
            find(&status.conditions, ConditionType::Ready).map(|c| c.last_transition_time.0)
        };
        assert_eq!(ready(&status), Some(at(1)));
        set_ready(&mut status, Is::True, Reason::Synced, "c", Some(1), at(9));
        assert_eq!(ready(&status), Some(at(9)));
    }

    #[test]
    fn kstatus_conditions_follow_from_ready() {
        let mut status = KeyProtectKeyStatus::default();
        for (is, reason, stalled, reconciling) in [
            (Is::False, Reason::Unreachable, false, true),
            (Is::False, Reason::KeyNotAvailable, true, false),
            (Is::True, Reason::Synced, false, false),
            (Is::True, Reason::AliasMoving, false, false),
            (Is::Unknown, Reason::Pending, false, true),
            (Is::Unknown, Reason::Suspended, false, false),
        ] {
            set_ready(&mut status, is, reason, "", Some(1), at(1));
            assert_eq!(
                holds(&status.conditions, ConditionType::Stalled),
                stalled,
                "{reason:?}"
            );
            assert_eq!(
                holds(&status.conditions, ConditionType::Reconciling),
                reconciling,
                "{reason:?}"
            );
        }
    }
}
