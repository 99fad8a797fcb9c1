//! Who may do what: service roles, and the scope that each is granted on.
//!
//! Decides rights only. Whether a key exists or is in a fit state is decided
//! elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service role. Each one includes those before it, except that a Writer's
/// and a Manager's further rights are spelled out in [`Role::allows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// Lists and reads metadata; wraps; never reads a payload.
    Reader,
    /// A Reader who reads payloads.
    ReaderPlus,
    /// Also creates keys, aliases and rings.
    Writer,
    /// Also deletes, restores, moves and disables.
    Manager,
    /// Purges, and does nothing else.
    KeyPurge,
}

/// What a right is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// List keys, or count them.
    List,
    /// Read metadata and versions, list rings and registrations.
    Read,
    /// Wrap, unwrap, rewrap.
    Wrap,
    /// Read a payload.
    ReadPayload,
    /// Create keys, aliases, rings and import tokens; rotate; authorise a
    /// deletion.
    Write,
    /// Delete, restore, move, enable, disable, delete rings; policies and KMIP.
    Manage,
    /// Purge.
    Purge,
}

impl Role {
    /// Says whether the role includes the action.
    pub fn allows(self, action: Action) -> bool {
        match action {
            Action::List | Action::Read | Action::Wrap => self != Self::KeyPurge,
            Action::ReadPayload => {
                matches!(self, Self::ReaderPlus | Self::Writer | Self::Manager)
            }
            Action::Write => matches!(self, Self::Writer | Self::Manager),
            Action::Manage => self == Self::Manager,
            Action::Purge => self == Self::KeyPurge,
        }
    }
}

/// A role on an instance, on one of its rings or on one of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// The instance's ID.
    pub instance: String,
    /// The role.
    pub role: Role,
    /// Narrows the grant to one key ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ring: Option<String>,
    /// Narrows the grant to one key, by ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The grants that one caller holds on one instance.
#[derive(Debug, Clone, Default)]
pub struct Rights(Vec<Grant>);

impl Rights {
    /// Picks a caller's grants on one instance.
    pub fn on_instance(grants: &[Grant], instance: &str) -> Self {
        Self(
            grants
                .iter()
                .filter(|grant| grant.instance == instance)
                .cloned()
                .collect(),
        )
    }

    /// Says whether the caller holds nothing at all on the instance.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether the caller may do this to the key.
    pub fn on_key(&self, action: Action, key: &str, ring: &str) -> bool {
        self.0.iter().any(|grant| {
            grant.role.allows(action)
                && grant
                    .key_ring
                    .as_deref()
                    .is_none_or(|granted| granted == ring)
                && grant.key.as_deref().is_none_or(|granted| granted == key)
        })
    }

    /// Says whether the key shows in lists. Keys that are granted singly do
    /// not, unless the mode says so: the service aggregates by ring.
    pub fn lists_key(&self, key: &str, ring: &str, single_grants_listed: bool) -> bool {
        if single_grants_listed {
            return self.on_key(Action::List, key, ring);
        }
        self.on_ring(Action::List, ring)
    }

    /// Says whether the caller may do this in the ring, for every key in it.
    pub fn on_ring(&self, action: Action, ring: &str) -> bool {
        self.0.iter().any(|grant| {
            grant.role.allows(action)
                && grant.key.is_none()
                && grant
                    .key_ring
                    .as_deref()
                    .is_none_or(|granted| granted == ring)
        })
    }

    /// Says whether the caller may do this on the instance as a whole.
    pub fn on_whole(&self, action: Action) -> bool {
        self.0.iter().any(|grant| {
            grant.role.allows(action) && grant.key.is_none() && grant.key_ring.is_none()
        })
    }

    /// Says whether any grant has the action, whatever its scope.
    pub fn anywhere(&self, action: Action) -> bool {
        self.0.iter().any(|grant| grant.role.allows(action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, ring: Option<&str>, key: Option<&str>) -> Grant {
        Grant {
            instance: "i".to_owned(),
            role,
            key_ring: ring.map(str::to_owned),
            key: key.map(str::to_owned),
        }
    }

    #[test]
    fn roles_allow_what_the_published_table_says() {
        use Action::*;
        let table = [
            (Role::Reader, [true, true, true, false, false, false, false]),
            (
                Role::ReaderPlus,
                [true, true, true, true, false, false, false],
            ),
            (Role::Writer, [true, true, true, true, true, false, false]),
            (Role::Manager, [true, true, true, true, true, true, false]),
            (
                Role::KeyPurge,
                [false, false, false, false, false, false, true],
            ),
        ];
        for (role, expected) in table {
            let actual = [List, Read, Wrap, ReadPayload, Write, Manage, Purge]
                .map(|action| role.allows(action));
            assert_eq!(actual, expected, "{role:?}");
        }
    }

    #[test]
    fn a_grant_reaches_no_further_than_its_scope() {
        let grants = [
            grant(Role::ReaderPlus, Some("a"), None),
            grant(Role::ReaderPlus, None, Some("k")),
        ];
        let rights = Rights::on_instance(&grants, "i");
        assert!(rights.on_key(Action::ReadPayload, "other", "a"));
        assert!(rights.on_key(Action::ReadPayload, "k", "b"));
        assert!(!rights.on_key(Action::ReadPayload, "other", "b"));
        assert!(!rights.on_whole(Action::List));
        assert!(!rights.lists_key("k", "b", false));
        assert!(rights.lists_key("k", "b", true));
        assert!(Rights::on_instance(&grants, "elsewhere").is_empty());
    }
}
