//! Policies: rules that a key or a whole instance is under.
//!
//! A key's are in [`key`], an instance's in [`instance`]. An instance's policy
//! takes effect on keys that are made after it, and never on those before.

pub mod instance;
pub mod key;

use jiff::Timestamp;

use super::refusal::Refusal;

/// The media type of a policy.
pub const POLICY_TYPE: &str = "application/vnd.ibm.kms.policy+json";

/// How many days a month of a rotation policy has.
pub const DAYS_PER_MONTH: i64 = 30;

/// Who made a policy and who changed it last, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When it was made.
    pub creation_date: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was changed last.
    pub last_update: Timestamp,
    /// By whom.
    pub updated_by: String,
}

impl Stamp {
    /// The stamp of a policy that is made.
    pub fn new(by: &str, now: Timestamp) -> Self {
        Self {
            creation_date: now,
            created_by: by.to_owned(),
            last_update: now,
            updated_by: by.to_owned(),
        }
    }

    /// The stamp of a policy that is changed, or made if there was none.
    pub fn renewed(before: Option<&Self>, by: &str, now: Timestamp) -> Self {
        let Some(before) = before else {
            return Self::new(by, now);
        };
        Self {
            last_update: now,
            updated_by: by.to_owned(),
            ..before.clone()
        }
    }
}

/// Refuses what is no interval of rotation.
pub fn check_interval(months: i64) -> Result<u8, Refusal> {
    u8::try_from(months)
        .ok()
        .filter(|months| (1..=12).contains(months))
        .ok_or_else(|| {
            Refusal::field(
                "interval_month",
                "A rotation interval is from 1 to 12 months.",
            )
        })
}
