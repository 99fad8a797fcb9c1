//! The rules about one key.

use crate::operations::{Act, Caller, Policies};

pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Why not: a status and a reason code.
pub(crate) type Refused = (u16, Option<&'static str>);

pub(crate) fn no<T>(status: u16, code: &'static str) -> Result<T, Refused> {
    Err((status, Some(code)))
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) root: bool,
    pub(crate) imported: bool,
    pub(crate) state: u8,
    pub(crate) ring: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) created: i64,
    pub(crate) expires: Option<i64>,
    /// When it was deleted, and in which state.
    pub(crate) deleted: Option<(i64, u8)>,
    pub(crate) purged: bool,
    /// When its state changed last.
    pub(crate) changed: Option<i64>,
    pub(crate) rotated: Option<i64>,
    pub(crate) versions: usize,
    pub(crate) dual: Option<bool>,
    /// Who set it for deletion, and until when that counts.
    pub(crate) set: Option<(Caller, i64)>,
    pub(crate) rotation: Option<(bool, i64)>,
    /// For each resource that it protects, whether it is retained.
    pub(crate) protects: Vec<bool>,
}

impl Key {
    pub(crate) fn check_deleted(&self) -> Result<(), Refused> {
        if self.state == 5 {
            return no(410, "KEY_DELETED_ERR");
        }
        Ok(())
    }

    /// Section 5: actions are for root keys, in some states.
    pub(crate) fn check_action(&self, states: &[u8]) -> Result<(), Refused> {
        if !self.root {
            return no(400, "KEY_ROOT_REQ_ERR");
        }
        self.check_deleted()?;
        if !states.contains(&self.state) {
            return no(409, "KEY_ACTION_INVALID_STATE_ERR");
        }
        Ok(())
    }

    fn check_thirty_seconds(&self, now: i64) -> Result<(), Refused> {
        if self.changed.is_some_and(|changed| now - changed < 30) {
            return no(409, "REQ_TOO_EARLY_ERR");
        }
        Ok(())
    }

    pub(crate) fn act(&mut self, caller: Caller, act: &Act, now: i64) -> Result<u16, Refused> {
        match act {
            Act::Registrations if !self.root => no(400, "KEY_ROOT_REQ_ERR"),
            Act::Metadata | Act::Get | Act::Policies | Act::Registrations => Ok(200),
            Act::Versions => self.check_action(&[0, 1, 2, 3]).map(|()| 200),
            Act::Wrap { .. } => self.check_action(&[1]).map(|()| 200),
            Act::Patch(ring) => {
                self.check_deleted()?;
                (*ring).clone_into(&mut self.ring);
                Ok(200)
            }
            Act::Delete { force } => self.delete(caller, *force, now),
            Act::Restore => self.restore(now),
            Act::Purge => match self.deleted {
                None => no(409, "KEY_ACTION_INVALID_STATE_ERR"),
                Some((at, _)) if now - at < 4 * HOUR => no(409, "REQ_TOO_EARLY_ERR"),
                Some(_) => {
                    self.purged = true;
                    self.aliases.clear();
                    Ok(200)
                }
            },
            Act::Rotate { payload } => self.rotate(*payload, now),
            Act::Enable => {
                self.check_action(&[2])?;
                self.check_thirty_seconds(now)?;
                (self.state, self.changed) = (1, Some(now));
                Ok(204)
            }
            Act::Disable => {
                self.check_action(&[1])?;
                (self.state, self.changed) = (2, Some(now));
                Ok(204)
            }
            Act::SetForDeletion | Act::UnsetForDeletion => {
                self.check_deleted()?;
                if self.dual != Some(true) {
                    return no(409, "NOT_DUAL_AUTH_ERR");
                }
                let set = matches!(act, Act::SetForDeletion);
                self.set = set.then_some((caller, now + 7 * DAY));
                Ok(204)
            }
            Act::Sync => self.check_deleted().map(|()| 204),
            Act::SetPolicies(policies) => {
                self.check_deleted()?;
                self.set_policies(policies).map(|()| 200)
            }
            Act::DeleteAlias(alias) => {
                let Some(at) = self.aliases.iter().position(|other| other == alias) else {
                    return no(404, "KEY_ALIAS_NOT_FOUND_ERR");
                };
                self.aliases.remove(at);
                Ok(204)
            }
            Act::CreateAlias(_) | Act::Unwrap { .. } | Act::Rewrap { .. } => {
                unreachable!("the instance's own")
            }
        }
    }

    fn delete(&mut self, caller: Caller, force: bool, now: i64) -> Result<u16, Refused> {
        self.check_deleted()?;
        let second = self
            .set
            .is_some_and(|(by, until)| by != caller && now < until);
        if self.dual == Some(true) && !second {
            return no(409, "AUTHORIZATIONS_NOT_MET");
        }
        if !self.protects.is_empty() && !force {
            return no(409, "PROTECTED_RESOURCE_ERR");
        }
        if self.protects.contains(&true) {
            return no(409, "PREV_KEY_DEL_ERR");
        }
        self.protects.clear();
        self.deleted = Some((now, self.state));
        (self.state, self.changed, self.set) = (5, Some(now), None);
        Ok(200)
    }

    fn restore(&mut self, now: i64) -> Result<u16, Refused> {
        let Some((at, before)) = self.deleted else {
            return no(409, "KEY_ACTION_INVALID_STATE_ERR");
        };
        if now - at >= 30 * DAY {
            return no(400, "KEY_RESTORE_EXPIRED");
        }
        if before != 3 && self.expires.is_some_and(|expires| expires <= now) {
            return no(400, "KEY_EXPIRED_ERR");
        }
        self.check_thirty_seconds(now)?;
        (self.state, self.changed, self.deleted) = (before, Some(now), None);
        Ok(201)
    }

    fn rotate(&mut self, payload: bool, now: i64) -> Result<u16, Refused> {
        self.check_action(&[1, 3])?;
        if self.imported && !payload {
            return no(400, "KEY_PAYLOAD_REQ_ERR");
        }
        if !self.imported && payload {
            return no(400, "INVALID_FIELD_ERR");
        }
        if self.rotated.is_some_and(|rotated| now - rotated < HOUR) {
            return no(409, "KEY_ROTATION_NOT_PERMITTED");
        }
        self.versions += 1;
        self.rotated = Some(now);
        Ok(204)
    }

    pub(crate) fn set_policies(&mut self, new: &Policies) -> Result<(), Refused> {
        if self.dual == Some(true) && new.dual == Some(false) {
            return no(409, "AUTHORIZATIONS_NOT_MET");
        }
        if let Some((enabled, interval)) = new.rotation {
            if !self.root {
                return no(400, "KEY_ROOT_REQ_ERR");
            }
            let interval = interval.or(self.rotation.map(|(_, interval)| interval));
            let Some(interval) =
                interval.filter(|months| (1..=12).contains(months) && !self.imported)
            else {
                return no(400, "INVALID_FIELD_ERR");
            };
            self.rotation = Some((enabled.unwrap_or(true), interval));
        }
        self.dual = new.dual.or(self.dual);
        Ok(())
    }
}
