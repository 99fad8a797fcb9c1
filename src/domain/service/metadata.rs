//! What is known of a key without its payload. Every field may be missing: list rows and older
//! services leave some out, and a missing field is unknown, never a default.

use jiff::Timestamp;

use crate::domain::service::ids::KeyId;

/// State of a key (Key Protect docs, "Key states").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// 0: does not occur in practice.
    PreActivation,
    /// 1: in use.
    Active,
    /// 2: disabled (root keys only).
    Suspended,
    /// 3: its expiration date has passed.
    Deactivated,
    /// 5: deleted.
    Destroyed,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::PreActivation,
        Self::Active,
        Self::Suspended,
        Self::Deactivated,
        Self::Destroyed,
    ];

    /// Reads the service's number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::PreActivation),
            1 => Some(Self::Active),
            2 => Some(Self::Suspended),
            3 => Some(Self::Deactivated),
            5 => Some(Self::Destroyed),
            _ => None,
        }
    }

    /// Names the state as the docs do.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreActivation => "Pre-activation",
            Self::Active => "Active",
            Self::Suspended => "Suspended",
            Self::Deactivated => "Deactivated",
            Self::Destroyed => "Destroyed",
        }
    }
}

/// A key without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMetadata {
    /// Its ID.
    pub id: KeyId,
    /// Its name; not unique.
    pub name: Option<String>,
    /// Its aliases (up to five).
    pub aliases: Option<Vec<String>>,
    /// Its key ring.
    pub key_ring: Option<String>,
    /// Its state.
    pub state: Option<KeyState>,
    /// Whether its payload can be read: true for standard keys, false for root keys.
    pub extractable: Option<bool>,
    /// Whether it was deleted.
    pub deleted: Option<bool>,
    /// Its CRN.
    pub crn: Option<String>,
    /// When it was created.
    pub creation_date: Option<Timestamp>,
    /// When it expires.
    pub expiration_date: Option<Timestamp>,
}

impl KeyMetadata {
    /// Makes one of which only the ID is known.
    #[must_use]
    pub const fn unknown(id: KeyId) -> Self {
        Self {
            id,
            name: None,
            aliases: None,
            key_ring: None,
            state: None,
            extractable: None,
            deleted: None,
            crn: None,
            creation_date: None,
            expiration_date: None,
        }
    }

    /// Tells whether the service itself says that the key was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted == Some(true) || self.state == Some(KeyState::Destroyed)
    }

    /// Its state, as far as it is known: what was deleted is destroyed, whatever else is said.
    #[must_use]
    pub fn known_state(&self) -> Option<KeyState> {
        if self.is_deleted() {
            Some(KeyState::Destroyed)
        } else {
            self.state
        }
    }

    /// Tells whether it is what a look-up by name may find: known to be active, and no root key.
    #[must_use]
    pub fn is_active_standard(&self) -> bool {
        self.state == Some(KeyState::Active)
            && !self.is_deleted()
            && self.extractable != Some(false)
    }
}
