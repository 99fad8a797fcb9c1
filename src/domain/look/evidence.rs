//! What counts as evidence that a Secret's key, or the right to it, is gone. A deletion carries one
//! of these, and none can be made but from facts that bear it out: absence from a list, a refusal, a
//! missing instance or silence make none.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::domain::service::catalogue::Answer;
use crate::domain::service::failure::FailureKind;
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::{KeyName, KeyReference};

/// Evidence that a Secret's key, or the right to it, is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence(Fact);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Deleted {
        key: KeyId,
    },
    NotFound {
        key: KeyId,
        since: Timestamp,
    },
    Expired {
        key: KeyId,
        date: Timestamp,
    },
    Vanished {
        name: String,
        key: KeyId,
        since: Timestamp,
    },
    Withdrawn {
        instance: String,
        since: Timestamp,
    },
}

/// A time that began when something was first seen, and has to last before it counts.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// When it was first seen.
    pub since: Timestamp,
    /// How long it has to last.
    pub grace: SignedDuration,
}

impl Span {
    /// When it is over.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.since.checked_add(self.grace).unwrap_or(Timestamp::MAX)
    }

    /// Whether what was seen at this time lies a grace after the beginning.
    #[must_use]
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.end() <= at
    }
}

impl Evidence {
    /// The key's own metadata say that it is in state 5, or deleted.
    #[must_use]
    pub fn deleted(key: &KeyMetadata) -> Option<Self> {
        let key = key.is_deleted().then(|| key.id.clone())?;
        Some(Self(Fact::Deleted { key }))
    }

    /// The key's own metadata name an expiration date, and it has passed.
    #[must_use]
    pub fn expired(key: &KeyMetadata, now: Timestamp) -> Option<Self> {
        let date = key.expiration_date.filter(|date| *date <= now)?;
        Some(Self(Fact::Expired {
            key: key.id.clone(),
            date,
        }))
    }

    /// The key was not found by its ID, in whatever ring, when the span began, and again after it;
    /// and another key was found since. `other` is when that was asked for.
    #[must_use]
    pub fn not_found(
        key: &KeyId,
        span: Span,
        again: &Answer,
        other: Option<Timestamp>,
    ) -> Option<Self> {
        let missing = |kind| matches!(kind, FailureKind::KeyNotFound | FailureKind::KeyGone);
        let twice = again
            .result
            .as_ref()
            .is_err_and(|failure| missing(failure.kind))
            && span.is_over(again.asked_at);
        let reads = other.is_some_and(|other| other >= span.since);
        (twice && reads).then(|| {
            Self(Fact::NotFound {
                key: key.clone(),
                since: span.since,
            })
        })
    }

    /// The alias or name means no key when the span began, nor after it; and a key was found since.
    #[must_use]
    pub fn vanished(
        reference: &KeyReference,
        key: &KeyId,
        span: Span,
        again: Timestamp,
        read: Option<Timestamp>,
    ) -> Option<Self> {
        let moves = !matches!(reference.name, KeyName::Id(_));
        let reads = read.is_some_and(|read| read >= span.since);
        (moves && reads && span.is_over(again)).then(|| {
            Self(Fact::Vanished {
                name: reference.to_string(),
                key: key.clone(),
                since: span.since,
            })
        })
    }

    /// The instance's rules do not allow what they allowed, from the span's beginning to now.
    #[must_use]
    pub fn withdrawn(instance: &(String, String), span: Span, now: Timestamp) -> Option<Self> {
        let (namespace, name) = instance;
        span.is_over(now).then(|| {
            Self(Fact::Withdrawn {
                instance: format!("{namespace}/{name}"),
                since: span.since,
            })
        })
    }

    /// Whether it is the right to the key that is gone, so that the instance's owner decides.
    #[must_use]
    pub const fn is_withdrawal(&self) -> bool {
        matches!(self.0, Fact::Withdrawn { .. })
    }

    /// Whether a look that found it may end with this reason.
    #[must_use]
    pub const fn bears_out(&self, reason: Reason) -> bool {
        match self.0 {
            Fact::Deleted { .. } | Fact::NotFound { .. } => matches!(reason, Reason::KeyDeleted),
            Fact::Expired { .. } => matches!(reason, Reason::KeyExpired),
            Fact::Vanished { .. } => {
                matches!(reason, Reason::KeyNotAvailable | Reason::KeyDeleted)
            }
            Fact::Withdrawn { .. } => matches!(reason, Reason::AccessWithdrawn),
        }
    }
}

/// As a sentence.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fact::Deleted { key } => write!(
                f,
                "Key {key} was deleted in Key Protect, as its own metadata say."
            ),
            Fact::NotFound { key, since } => write!(
                f,
                "Key {key} was deleted in Key Protect: by its ID it is not found since {since}, \
                 while other keys are."
            ),
            Fact::Expired { key, date } => write!(f, "Key {key} expired at {date}."),
            Fact::Vanished { name, key, since } => write!(
                f,
                "No key that may be used has had {name} since {since}; it was key {key}."
            ),
            Fact::Withdrawn { instance, since } => write!(
                f,
                "The access rules of instance {instance} have not let this namespace use the key \
                 since {since}."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::failure::Operation;
    use crate::domain::service::metadata::KeyState;
    use crate::domain::testing::{at, by_alias, failure, key, key_id, minutes};

    fn span() -> Span {
        Span {
            since: at(0),
            grace: minutes(15),
        }
    }

    fn answer(kind: FailureKind, seconds: i64) -> Answer {
        Answer {
            result: Err(failure(Operation::GetKeyMetadata, kind)),
            asked_at: at(seconds),
        }
    }

    #[test]
    fn a_key_is_deleted_when_its_own_metadata_say_so_and_not_when_it_is_disabled() {
        let with = |state, deleted| {
            let mut key = key(1);
            key.state = state;
            key.deleted = deleted;
            Evidence::deleted(&key).is_some()
        };
        assert!(with(Some(KeyState::Destroyed), None));
        assert!(with(Some(KeyState::Active), Some(true)));
        for state in [
            None,
            Some(KeyState::Active),
            Some(KeyState::Suspended),
            Some(KeyState::Deactivated),
        ] {
            for deleted in [None, Some(false)] {
                assert!(!with(state, deleted), "{state:?} {deleted:?}");
            }
        }
    }

    #[test]
    fn a_key_expires_at_its_date_and_not_before() {
        let mut key = key(1);
        assert_eq!(Evidence::expired(&key, at(0)), None);
        key.expiration_date = Some(at(60));
        assert_eq!(Evidence::expired(&key, at(59)), None);
        assert!(Evidence::expired(&key, at(60)).is_some());
    }

    #[test]
    fn a_404_counts_twice_a_grace_apart_and_while_another_key_is_found() {
        let minute = 60;
        for (kind, asked, other, counts) in [
            (FailureKind::KeyNotFound, 15 * minute, Some(minute), true),
            (FailureKind::KeyGone, 15 * minute, Some(0), true),
            (
                FailureKind::KeyNotFound,
                15 * minute - 1,
                Some(minute),
                false,
            ),
            (FailureKind::KeyNotFound, 0, Some(minute), false),
            (FailureKind::KeyNotFound, 15 * minute, None, false),
            (FailureKind::KeyNotFound, 15 * minute, Some(-1), false),
            (FailureKind::Denied, 15 * minute, Some(minute), false),
            (FailureKind::Unreachable, 15 * minute, Some(minute), false),
            (FailureKind::Throttled, 15 * minute, Some(minute), false),
            (FailureKind::ServiceError, 15 * minute, Some(minute), false),
            (
                FailureKind::CredentialMissing,
                15 * minute,
                Some(minute),
                false,
            ),
            (
                FailureKind::CredentialRejected,
                15 * minute,
                Some(minute),
                false,
            ),
            (FailureKind::Invalid, 15 * minute, Some(minute), false),
        ] {
            let answer = answer(kind, asked);
            let found = Evidence::not_found(&key_id(1), span(), &answer, other.map(at));
            assert_eq!(found.is_some(), counts, "{kind:?} {asked} {other:?}");
        }
        let there = Answer {
            result: Ok(key(1)),
            asked_at: at(15 * minute),
        };
        assert_eq!(
            Evidence::not_found(&key_id(1), span(), &there, Some(at(1))),
            None
        );
    }

    #[test]
    fn an_alias_has_vanished_after_a_grace_while_keys_are_found_and_an_id_never_has() {
        let alias = KeyReference::from_selector(Some(&by_alias("orders")), "").unwrap();
        let id = KeyReference {
            name: KeyName::Id(key_id(1)),
            ring: None,
        };
        let vanished = |reference: &KeyReference, again, read: Option<i64>| {
            Evidence::vanished(reference, &key_id(1), span(), at(again), read.map(at)).is_some()
        };
        assert!(vanished(&alias, 900, Some(1)));
        assert!(!vanished(&alias, 899, Some(1)));
        assert!(!vanished(&alias, 900, None));
        assert!(!vanished(&alias, 900, Some(-1)));
        assert!(!vanished(&id, 900, Some(1)));
    }

    #[test]
    fn a_right_is_withdrawn_after_the_grace() {
        let instance = ("n".to_owned(), "default".to_owned());
        assert_eq!(Evidence::withdrawn(&instance, span(), at(899)), None);
        let evidence = Evidence::withdrawn(&instance, span(), at(900)).unwrap();
        assert!(evidence.is_withdrawal());
    }

    #[test]
    fn no_evidence_bears_out_a_reason_that_is_no_revocation() {
        let mut gone = key(1);
        gone.deleted = Some(true);
        gone.expiration_date = Some(at(0));
        let alias = KeyReference::from_selector(Some(&by_alias("orders")), "").unwrap();
        let instance = ("n".to_owned(), "default".to_owned());
        let all = [
            Evidence::deleted(&gone),
            Evidence::expired(&gone, at(0)),
            Evidence::not_found(
                &key_id(1),
                span(),
                &answer(FailureKind::KeyNotFound, 900),
                Some(at(0)),
            ),
            Evidence::vanished(&alias, &key_id(1), span(), at(900), Some(at(0))),
            Evidence::withdrawn(&instance, span(), at(900)),
        ];
        let revocations = [
            Reason::KeyDeleted,
            Reason::KeyExpired,
            Reason::KeyNotAvailable,
            Reason::AccessWithdrawn,
        ];
        for evidence in all {
            let evidence = evidence.unwrap();
            for reason in Reason::ALL {
                let bears = evidence.bears_out(*reason);
                assert!(
                    !bears || revocations.contains(reason),
                    "{evidence} {reason:?}"
                );
            }
            assert!(Reason::ALL.iter().any(|reason| evidence.bears_out(*reason)));
        }
    }
}
