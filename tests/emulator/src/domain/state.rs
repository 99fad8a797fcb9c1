//! Key states, and what may be done to a key in each of them.
//!
//! This is the service's published table of states, and nothing else: it knows
//! neither aliases nor rights. Deletion is the one act that ends in another
//! refusal (410) than a wrong state (409).

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// A key state by its number in NIST SP 800-57. 4 is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum KeyState {
    /// 0, which does not occur in practice.
    PreActivation,
    /// 1, what creation makes.
    Active,
    /// 2, a root key that was disabled.
    Suspended,
    /// 3, a key that expired.
    Deactivated,
    /// 5, a key that was deleted.
    Destroyed,
}

impl KeyState {
    /// Returns the number that the API shows.
    pub fn number(self) -> u8 {
        match self {
            Self::PreActivation => 0,
            Self::Active => 1,
            Self::Suspended => 2,
            Self::Deactivated => 3,
            Self::Destroyed => 5,
        }
    }
}

impl KeyState {
    /// Says whether an expiration date still matters in this state.
    pub fn can_expire(self) -> bool {
        !matches!(self, Self::Deactivated | Self::Destroyed)
    }
}

impl From<KeyState> for u8 {
    fn from(state: KeyState) -> Self {
        state.number()
    }
}

impl TryFrom<u8> for KeyState {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::PreActivation),
            1 => Ok(Self::Active),
            2 => Ok(Self::Suspended),
            3 => Ok(Self::Deactivated),
            5 => Ok(Self::Destroyed),
            other => Err(format!("{other} is no key state")),
        }
    }
}

/// Whether a key's material can leave the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyClass {
    /// `extractable: true`: its payload can be read.
    Standard,
    /// `extractable: false`: it only wraps and unwraps.
    Root,
}

/// What is done to a key, as far as its state has a say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Encrypt a data key.
    Wrap,
    /// Decrypt a data key.
    Unwrap,
    /// Encrypt a data key again under the newest version.
    Rewrap,
    /// Make a new version.
    Rotate,
    /// Suspend.
    Disable,
    /// End a suspension.
    Enable,
    /// Delete.
    Delete,
    /// Take a deletion back.
    Restore,
    /// Move to another ring.
    Patch,
    /// Give or take an alias.
    Alias,
    /// Set policies, or authorise a deletion, or tell other services.
    Govern,
}

/// How long the service wants between two rotations of a key.
pub const SECONDS_BETWEEN_ROTATIONS: i64 = 3600;
/// How long the service wants between two changes of a key's state.
pub const SECONDS_BETWEEN_CHANGES: i64 = 30;
/// How long a deleted key can be restored.
pub const RESTORE_SECONDS: i64 = 30 * 24 * 3600;
/// How long after its deletion a key may be purged.
pub const PURGE_FROM_SECONDS: i64 = 4 * 3600;
/// How long after its deletion a key is purged by itself.
pub const PURGED_SECONDS: i64 = 90 * 24 * 3600;

/// Refuses what a key of this class in this state is not open to.
pub fn permit(class: KeyClass, state: KeyState, act: Act) -> Result<(), Refusal> {
    use Act::{
        Alias, Delete, Disable, Enable, Govern, Patch, Restore, Rewrap, Rotate, Unwrap, Wrap,
    };
    use KeyState::{Active, Deactivated, Destroyed, Suspended};

    let root_only = matches!(act, Wrap | Unwrap | Rewrap | Rotate | Disable | Enable);
    if root_only && class == KeyClass::Standard {
        return Err(Refusal::root_key_required());
    }
    let allowed = match act {
        Wrap | Disable => state == Active,
        Unwrap | Rewrap | Rotate => matches!(state, Active | Deactivated),
        Enable => state == Suspended,
        Restore => state == Destroyed,
        Delete | Patch | Alias | Govern => state != Destroyed,
    };
    if allowed {
        return Ok(());
    }
    if state == Destroyed {
        return Err(Refusal::key_deleted());
    }
    Err(Refusal::because(
        409,
        "KEY_ACTION_INVALID_STATE_ERR",
        format!(
            "Key is not in a valid state: it is in state {}.",
            state.number()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Act::*;
    use KeyState::*;

    const ACTS: [Act; 10] = [
        Wrap, Unwrap, Rewrap, Rotate, Disable, Enable, Delete, Restore, Patch, Alias,
    ];

    fn outcomes(class: KeyClass, state: KeyState) -> Vec<u16> {
        ACTS.iter()
            .map(|act| permit(class, state, *act).map_or_else(|refusal| refusal.status, |()| 200))
            .collect()
    }

    #[test]
    fn every_state_allows_what_the_published_table_says() {
        let root = KeyClass::Root;
        //                                             wrap unw  rew  rot  dis  ena  del  res  pat  alias
        assert_eq!(
            outcomes(root, Active),
            [200, 200, 200, 200, 200, 409, 200, 409, 200, 200]
        );
        assert_eq!(
            outcomes(root, Suspended),
            [409, 409, 409, 409, 409, 200, 200, 409, 200, 200]
        );
        assert_eq!(
            outcomes(root, Deactivated),
            [409, 200, 200, 200, 409, 409, 200, 409, 200, 200]
        );
        assert_eq!(
            outcomes(root, Destroyed),
            [410, 410, 410, 410, 410, 410, 410, 200, 410, 410]
        );
    }

    #[test]
    fn standard_keys_refuse_what_only_root_keys_do() {
        let standard = KeyClass::Standard;
        assert_eq!(
            outcomes(standard, Active),
            [400, 400, 400, 400, 400, 400, 200, 409, 200, 200]
        );
        let refusal = permit(standard, Active, Disable).unwrap_err();
        assert_eq!(refusal.code(), Some("KEY_ROOT_REQ_ERR"));
    }

    #[test]
    fn numbers_and_states_agree_and_four_is_none() {
        for state in [PreActivation, Active, Suspended, Deactivated, Destroyed] {
            assert_eq!(KeyState::try_from(state.number()), Ok(state));
        }
        assert!(KeyState::try_from(4).is_err());
    }
}
