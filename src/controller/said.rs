//! What an object's status says of it, as far as it is asked for again and again: kept as values,
//! since the text would have to be read each time.

use jiff::Timestamp;

use super::queue::Lane;
use crate::api::condition::{ConditionType, Reason};
use crate::api::{KeyProtectKey, KeyProtectKeyStatus};
use crate::domain::status;

/// What no list of words knows.
pub(super) const UNKNOWN: &str = "Unknown";

/// What an object says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Status and reason of Ready.
    pub ready: (&'static str, &'static str),
    /// Whether it is Stale.
    pub stale: bool,
    /// Whether the deletion of its Secret by a revocation waits for leave.
    pub held: bool,
    /// When its Secret was last deleted by a revocation.
    pub revoked_at: Option<Timestamp>,
    /// Whether it has a Secret.
    pub has_secret: bool,
    /// When the keys expire that its Secret was made from.
    pub expirations: Box<[Timestamp]>,
    synced: bool,
}

impl Said {
    /// Reads a status.
    #[must_use]
    pub fn of(status: Option<&KeyProtectKeyStatus>) -> Self {
        let conditions = status.map(|status| &*status.conditions).unwrap_or_default();
        let ready = status::find(conditions, ConditionType::Ready);
        let ready = ready.map_or((UNKNOWN, Reason::Pending.as_str()), |ready| {
            let reason = Reason::parse(&ready.reason).map_or(UNKNOWN, Reason::as_str);
            (word(&ready.status), reason)
        });
        let keys = status.iter().flat_map(|status| &status.keys);
        Self {
            ready,
            stale: status::holds(conditions, ConditionType::Stale),
            expirations: keys
                .filter_map(|key| key.expiration_date.as_deref()?.parse().ok())
                .collect(),
            held: status::holds(conditions, ConditionType::MassRevocationHeld),
            revoked_at: status
                .and_then(|status| status.last_revocation_time.as_ref())
                .map(|time| time.0),
            has_secret: status.is_some_and(|status| status.secret.is_some()),
            synced: status.is_some_and(|status| {
                status.secret.is_some() || status.last_revocation_time.is_some()
            }),
        }
    }

    /// Whether it knows why the Secret of its status may not be in view: its owner took it back, or
    /// the object is suspended.
    #[must_use]
    pub fn expects_no_secret(&self) -> bool {
        [Reason::SecretNotOwned, Reason::Suspended]
            .iter()
            .any(|reason| reason.as_str() == self.ready.1)
    }

    /// The lane of such an object: those that never synced go first.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        if self.synced {
            Lane::Routine
        } else {
            Lane::First
        }
    }
}

/// The lane in which an object is looked at.
#[must_use]
pub fn lane_of(object: &KeyProtectKey) -> Lane {
    Said::of(object.status.as_ref()).lane()
}

fn word(status: &str) -> &'static str {
    match status {
        "True" => "True",
        "False" => "False",
        _ => UNKNOWN,
    }
}
