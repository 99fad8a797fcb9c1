//! A key's policies: dual authorisation of its deletion, and rotation.

use jiff::Timestamp;

use super::{DAYS_PER_MONTH, Stamp, check_interval};
use crate::domain::modes::after;
use crate::domain::refusal::Refusal;
use crate::domain::state::KeyClass;

/// How long an authorisation of a key's deletion counts.
pub const AUTHORIZATION_SECONDS: i64 = 7 * 24 * 3600;

/// A policy with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy<R> {
    /// Its UUID.
    pub id: String,
    /// Who and when.
    pub stamp: Stamp,
    /// What it says.
    pub rule: R,
}

/// When a root key is rotated by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Whether it is.
    pub enabled: bool,
    /// Every so many months of 30 days.
    pub interval_month: u8,
}

impl Rotation {
    /// Returns when the next rotation after the last one is due.
    pub fn due(self, last: Timestamp) -> Option<Timestamp> {
        let seconds = i64::from(self.interval_month) * DAYS_PER_MONTH * 24 * 3600;
        self.enabled.then(|| after(last, seconds))
    }
}

/// A first authorisation of a key's deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// By whom.
    pub by: String,
    /// Until when it counts.
    pub expires: Timestamp,
}

/// The policies of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPolicies {
    /// Whether two people must want the key's deletion.
    pub dual_auth_delete: Option<Policy<bool>>,
    /// When it rotates by itself.
    pub rotation: Option<Policy<Rotation>>,
}

/// A change to a key's policies: what is to be set, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPolicyChange {
    /// Dual authorisation.
    pub dual_auth_delete: Option<bool>,
    /// Rotation.
    pub rotation: Option<RotationChange>,
}

/// A change to a rotation policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotationChange {
    /// Whether it is on; yes, when absent.
    pub enabled: Option<bool>,
    /// The interval; as before, when absent.
    pub interval_month: Option<i64>,
}

impl KeyPolicies {
    /// Says whether two people must want the key's deletion.
    pub fn needs_two(&self) -> bool {
        self.dual_auth_delete
            .as_ref()
            .is_some_and(|policy| policy.rule)
    }

    /// Makes a change, all of it or none. `ids` are for policies that are new.
    pub fn change(
        &mut self,
        change: &KeyPolicyChange,
        class: KeyClass,
        imported: bool,
        by: &str,
        ids: [String; 2],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let [dual_id, rotation_id] = ids;
        if self.needs_two() && change.dual_auth_delete == Some(false) {
            return Err(Refusal::because(
                409,
                "AUTHORIZATIONS_NOT_MET",
                "A key's dual authorization policy cannot be taken back.",
            ));
        }
        let rotation = change
            .rotation
            .map(|rotation| self.rotation_after(rotation, class, imported))
            .transpose()?;
        if let Some(rule) = change.dual_auth_delete {
            self.dual_auth_delete = Some(renewed(
                self.dual_auth_delete.take(),
                rule,
                dual_id,
                by,
                now,
            ));
        }
        if let Some(rule) = rotation {
            self.rotation = Some(renewed(self.rotation.take(), rule, rotation_id, by, now));
        }
        Ok(())
    }

    fn rotation_after(
        &self,
        change: RotationChange,
        class: KeyClass,
        imported: bool,
    ) -> Result<Rotation, Refusal> {
        if class == KeyClass::Standard {
            return Err(Refusal::root_key_required());
        }
        if imported {
            return Err(Refusal::field(
                "rotation",
                "A key with imported material cannot rotate by itself.",
            ));
        }
        let before = self
            .rotation
            .as_ref()
            .map(|policy| policy.rule.interval_month);
        let interval_month = match (change.interval_month, before) {
            (Some(months), _) => check_interval(months)?,
            (None, Some(before)) => before,
            (None, None) => {
                return Err(Refusal::field(
                    "interval_month",
                    "A rotation policy has an interval.",
                ));
            }
        };
        Ok(Rotation {
            enabled: change.enabled.unwrap_or(true),
            interval_month,
        })
    }
}

fn renewed<R>(
    before: Option<Policy<R>>,
    rule: R,
    id: String,
    by: &str,
    now: Timestamp,
) -> Policy<R> {
    let stamp = Stamp::renewed(before.as_ref().map(|policy| &policy.stamp), by, now);
    Policy {
        id: before.map_or(id, |policy| policy.id),
        stamp,
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(
        policies: &mut KeyPolicies,
        change: &KeyPolicyChange,
        class: KeyClass,
        imported: bool,
    ) -> Result<(), u16> {
        let ids = ["d", "r"].map(str::to_owned);
        policies
            .change(change, class, imported, "me", ids, Timestamp::UNIX_EPOCH)
            .map_err(|refusal| refusal.status)
    }

    fn rotation(enabled: Option<bool>, interval_month: Option<i64>) -> KeyPolicyChange {
        KeyPolicyChange {
            rotation: Some(RotationChange {
                enabled,
                interval_month,
            }),
            ..KeyPolicyChange::default()
        }
    }

    #[test]
    fn only_generated_root_keys_rotate_by_themselves() {
        let change = rotation(None, Some(3));
        let mut policies = KeyPolicies::default();
        assert_eq!(
            changed(&mut policies, &change, KeyClass::Standard, false),
            Err(400)
        );
        assert_eq!(
            changed(&mut policies, &change, KeyClass::Root, true),
            Err(400)
        );
        assert_eq!(
            changed(&mut policies, &change, KeyClass::Root, false),
            Ok(())
        );
        for wrong in [0, 13, -1] {
            let change = rotation(None, Some(wrong));
            assert_eq!(
                changed(&mut policies, &change, KeyClass::Root, false),
                Err(400)
            );
        }
        // Without an interval, that of before holds.
        assert_eq!(
            changed(
                &mut policies,
                &rotation(Some(false), None),
                KeyClass::Root,
                false
            ),
            Ok(())
        );
        let policy = policies.rotation.unwrap();
        assert_eq!((policy.id.as_str(), policy.rule.interval_month), ("r", 3));
        assert_eq!(policy.rule.due(Timestamp::UNIX_EPOCH), None);
        let none = changed(
            &mut KeyPolicies::default(),
            &rotation(Some(true), None),
            KeyClass::Root,
            false,
        );
        assert_eq!(none, Err(400));
    }

    #[test]
    fn dual_authorisation_is_never_taken_back() {
        let mut policies = KeyPolicies::default();
        let dual = |rule| KeyPolicyChange {
            dual_auth_delete: Some(rule),
            ..KeyPolicyChange::default()
        };
        assert_eq!(
            changed(&mut policies, &dual(false), KeyClass::Standard, false),
            Ok(())
        );
        assert!(!policies.needs_two());
        assert_eq!(
            changed(&mut policies, &dual(true), KeyClass::Standard, false),
            Ok(())
        );
        assert_eq!(
            changed(&mut policies, &dual(false), KeyClass::Standard, false),
            Err(409)
        );
        assert!(policies.needs_two());
    }

    #[test]
    fn a_month_has_thirty_days() {
        let every = Rotation {
            enabled: true,
            interval_month: 2,
        };
        let due = every.due(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(due.as_second(), 60 * 24 * 3600);
    }
}
