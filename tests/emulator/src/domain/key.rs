//! A key, and how the API shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::modes::{Modes, Places, after, date};
use super::policies::key::{Authorization, KeyPolicies, Rotation};
use super::state::{KeyClass, KeyState, PURGE_FROM_SECONDS, PURGED_SECONDS, RESTORE_SECONDS};
use super::versions::Versions;

/// The media type of a key.
pub const KEY_TYPE: &str = "application/vnd.ibm.kms.key+json";

/// What can be broken about a key inside the service, where no caller can see
/// why. Only the admin port does that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Damage {
    /// Its metadata are incomplete: it can only be deleted.
    Metadata,
    /// Its data keys do not pass the check of signatures in the HSM: rewrapping
    /// fails.
    Signature,
}

/// A deletion that has not been taken back.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The state to return to.
    pub from: KeyState,
}

/// A move to another ring that has not taken effect.
#[derive(Debug, Clone)]
pub struct RingMove {
    /// The ring to be.
    pub to: String,
    /// When it counts.
    pub at: Timestamp,
}

/// A key as the API shows it. Borrowed, and written straight to the wire, since
/// a page has thousands of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView<'k> {
    r#type: &'static str,
    id: &'k str,
    name: &'k str,
    /// Absent where a mode has lists omit them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<&'k [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'k str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'k [String],
    /// The number of the state.
    pub state: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date: Option<String>,
    extractable: bool,
    crn: String,
    imported: bool,
    /// Absent where a mode has lists omit it.
    #[serde(rename = "keyRingID", skip_serializing_if = "Option::is_none")]
    pub key_ring_id: Option<&'k str>,
    creation_date: String,
    created_by: &'k str,
    algorithm_type: &'static str,
    algorithm_metadata: AlgorithmView,
    algorithm_bit_size: u8,
    algorithm_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonactive_state_reason: Option<u8>,
    last_update_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_rotate_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_version: Option<VersionView<'k>>,
    dual_auth_delete: DualAuthView,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationView>,
    deleted: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    deletion: Option<DeletionView<'k>>,
    /// The payload in base64, where it may be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AlgorithmView {
    bit_length: &'static str,
    mode: &'static str,
}

/// A version of a root key as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionView<'k> {
    /// Its ID.
    pub id: &'k str,
    /// When it was made; actions show the ID only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DualAuthView {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_set_for_deletion: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_expiration: Option<String>,
}

/// A rotation policy as the API shows it.
#[derive(Debug, Serialize)]
pub struct RotationView {
    enabled: bool,
    interval_month: u8,
}

impl From<Rotation> for RotationView {
    fn from(rotation: Rotation) -> Self {
        Self {
            enabled: rotation.enabled,
            interval_month: rotation.interval_month,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletionView<'k> {
    deletion_date: String,
    deleted_by: &'k str,
    restore_expiration_date: String,
    restore_allowed: bool,
    purge_allowed: bool,
    purge_allowed_from: String,
    purge_scheduled_on: String,
}

/// A key with its material.
#[derive(Debug, Clone)]
pub struct Key {
    /// The v4 UUID.
    pub id: String,
    /// The name, which need not be unique.
    pub name: String,
    /// A description.
    pub description: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// The live aliases, in the order of their creation.
    pub aliases: Vec<String>,
    /// Standard or root.
    pub class: KeyClass,
    /// The state that the service knows of; expiry shows only after a pass.
    pub state: KeyState,
    /// The ring.
    pub ring: String,
    /// A ring to be.
    pub ring_move: Option<RingMove>,
    /// The material, and for a root key what it was before.
    pub versions: Versions,
    /// Whether the material was brought along.
    pub imported: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub creation_date: Timestamp,
    /// When anything about it last changed.
    pub last_update: Timestamp,
    /// When its state last changed, for the 30 s rule.
    pub last_state_change: Option<Timestamp>,
    /// When it expires.
    pub expiration: Option<Timestamp>,
    /// Its deletion.
    pub deletion: Option<Deletion>,
    /// When it was rotated last.
    pub last_rotate: Option<Timestamp>,
    /// Its policies.
    pub policies: KeyPolicies,
    /// A first authorisation of its deletion.
    pub authorization: Option<Authorization>,
    /// What is broken about it inside the service.
    pub damage: Option<Damage>,
}

impl Key {
    /// Returns the state that is shown in some place.
    pub fn shown_state(&self, place: Places, modes: &Modes, now: Timestamp) -> KeyState {
        let late_here = [Places::Everywhere, place].contains(&modes.deleted_reads_as3_in);
        let recent = self
            .deletion
            .as_ref()
            .is_some_and(|gone| now < after(gone.at, modes.deleted_reads_as3_seconds));
        if self.state == KeyState::Destroyed && late_here && recent {
            return KeyState::Deactivated;
        }
        self.state
    }

    /// Returns the metadata, as GET metadata shows them.
    pub fn metadata(&self, instance_crn: &str, modes: &Modes, now: Timestamp) -> KeyView<'_> {
        let root = self.class == KeyClass::Root;
        let newest = self.versions.newest();
        let deletion = self.deletion.as_ref();
        KeyView {
            r#type: KEY_TYPE,
            id: &self.id,
            name: &self.name,
            aliases: Some(&self.aliases),
            description: self.description.as_deref(),
            tags: &self.tags,
            state: self.shown_state(Places::Reads, modes, now).number(),
            expiration_date: self.expiration.map(date),
            extractable: !root,
            crn: format!(
                "{}key:{}",
                instance_crn.strip_suffix(':').unwrap_or(instance_crn),
                self.id
            ),
            imported: self.imported,
            key_ring_id: Some(&self.ring),
            creation_date: date(self.creation_date),
            created_by: &self.created_by,
            algorithm_type: "Deprecated",
            algorithm_metadata: AlgorithmView {
                bit_length: "0",
                mode: "Deprecated",
            },
            algorithm_bit_size: 0,
            algorithm_mode: "Deprecated",
            nonactive_state_reason: match (deletion, self.state) {
                (Some(_), _) => Some(2),
                (None, KeyState::Deactivated) => Some(3),
                (None, _) => None,
            },
            last_update_date: date(self.last_update),
            last_rotate_date: self.last_rotate.map(date),
            key_version: root.then(|| VersionView {
                id: &newest.id,
                creation_date: Some(date(newest.creation_date)),
            }),
            dual_auth_delete: self.dual_auth_view(now),
            rotation: self
                .policies
                .rotation
                .as_ref()
                .map(|policy| policy.rule.into()),
            deleted: deletion.is_some(),
            deletion: deletion.map(|deletion| self.deletion_view(deletion, now)),
            payload: None,
        }
    }

    fn dual_auth_view(&self, now: Timestamp) -> DualAuthView {
        let enabled = self.policies.needs_two();
        let authorization = self.valid_authorization(now).filter(|_| enabled);
        DualAuthView {
            enabled,
            key_set_for_deletion: enabled.then_some(authorization.is_some()),
            auth_expiration: authorization.map(|authorization| date(authorization.expires)),
        }
    }

    fn deletion_view<'k>(&self, deletion: &'k Deletion, now: Timestamp) -> DeletionView<'k> {
        let restore_until = after(deletion.at, RESTORE_SECONDS);
        let purge_from = after(deletion.at, PURGE_FROM_SECONDS);
        DeletionView {
            deletion_date: date(deletion.at),
            deleted_by: &deletion.by,
            restore_expiration_date: date(restore_until),
            // A key that had expired when it was deleted is restored as it was.
            restore_allowed: now < restore_until
                && (deletion.from == KeyState::Deactivated || !self.has_expired(now)),
            purge_allowed: now >= purge_from,
            purge_allowed_from: date(purge_from),
            purge_scheduled_on: date(after(deletion.at, PURGED_SECONDS)),
        }
    }

    /// Returns the key as GET shows it: with the payload, where there is one to
    /// see.
    pub fn with_payload(&self, instance_crn: &str, modes: &Modes, now: Timestamp) -> KeyView<'_> {
        let mut view = self.metadata(instance_crn, modes, now);
        if self.payload_is_readable(modes, now) {
            let material = &self.versions.newest().material;
            let payload: &[u8] = if modes.payload_empty { &[] } else { material };
            view.payload = Some(encode(payload, modes.payload_line_breaks));
        }
        view
    }

    /// Returns the first authorisation of the deletion, while it counts.
    pub fn valid_authorization(&self, now: Timestamp) -> Option<&Authorization> {
        self.authorization
            .as_ref()
            .filter(|authorization| now < authorization.expires)
    }

    /// Says whether a GET by a caller with the right to it has the payload.
    fn payload_is_readable(&self, modes: &Modes, now: Timestamp) -> bool {
        let made = modes.payload_delay_seconds <= 0
            || now >= after(self.creation_date, modes.payload_delay_seconds);
        !modes.payload_missing
            && self.class == KeyClass::Standard
            && self.state != KeyState::Destroyed
            && made
    }

    /// Says whether the expiration date has passed, whatever the state says.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expiration.is_some_and(|expiration| expiration <= now)
    }
}

fn encode(payload: &[u8], line_breaks: bool) -> String {
    let text = STANDARD.encode(payload);
    if !line_breaks {
        return text;
    }
    let mut broken = String::with_capacity(text.len() + text.len() / 76 + 1);
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 76 == 0 {
            broken.push('\n');
        }
        broken.push(character);
    }
    broken
}
