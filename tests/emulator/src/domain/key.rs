//! A key, and how the API shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::modes::{Modes, after, date};
use super::state::{KeyClass, KeyState, PURGE_FROM_SECONDS, PURGED_SECONDS, RESTORE_SECONDS};

/// The media type of a key.
pub const KEY_TYPE: &str = "application/vnd.ibm.kms.key+json";

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
    /// The material.
    pub payload: Vec<u8>,
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
    /// The newest version (root keys).
    pub version: String,
}

impl Key {
    /// Returns the state that answers show.
    pub fn shown_state(&self, modes: &Modes) -> KeyState {
        if self.state == KeyState::Destroyed && modes.deleted_reads_as3 {
            return KeyState::Deactivated;
        }
        self.state
    }

    /// Renders the metadata, as GET metadata and lists do.
    pub fn metadata(&self, instance_crn: &str, modes: &Modes, now: Timestamp) -> Value {
        let mut value = json!({
            "type": KEY_TYPE,
            "id": self.id,
            "name": self.name,
            "aliases": self.aliases,
            "state": self.shown_state(modes).number(),
            "extractable": self.class == KeyClass::Standard,
            "crn": format!("{}key:{}", instance_crn.strip_suffix(':').unwrap_or(instance_crn), self.id),
            "imported": self.imported,
            "keyRingID": self.ring,
            "creationDate": date(self.creation_date),
            "createdBy": self.created_by,
            "algorithmType": "Deprecated",
            "algorithmMetadata": { "bitLength": "0", "mode": "Deprecated" },
            "algorithmBitSize": 0,
            "algorithmMode": "Deprecated",
            "lastUpdateDate": date(self.last_update),
            "dualAuthDelete": { "enabled": false },
            "deleted": self.deletion.is_some(),
        });
        if let Some(description) = &self.description {
            value["description"] = json!(description);
        }
        if !self.tags.is_empty() {
            value["tags"] = json!(self.tags);
        }
        if let Some(expiration) = self.expiration {
            value["expirationDate"] = json!(date(expiration));
        }
        if self.class == KeyClass::Root {
            value["keyVersion"] =
                json!({ "id": self.version, "creationDate": date(self.creation_date) });
        }
        if self.state == KeyState::Deactivated {
            value["nonactiveStateReason"] = json!(3);
        }
        if let Some(deletion) = &self.deletion {
            let restore_until = after(deletion.at, RESTORE_SECONDS);
            let purge_from = after(deletion.at, PURGE_FROM_SECONDS);
            value["nonactiveStateReason"] = json!(2);
            value["deletionDate"] = json!(date(deletion.at));
            value["deletedBy"] = json!(deletion.by);
            value["restoreExpirationDate"] = json!(date(restore_until));
            value["restoreAllowed"] = json!(now < restore_until && !self.has_expired(now));
            value["purgeAllowed"] = json!(now >= purge_from);
            value["purgeAllowedFrom"] = json!(date(purge_from));
            value["purgeScheduledOn"] = json!(date(after(deletion.at, PURGED_SECONDS)));
        }
        value
    }

    /// Renders the key as GET does: with the payload, where there is one to see.
    pub fn with_payload(&self, instance_crn: &str, modes: &Modes, now: Timestamp) -> Value {
        let mut value = self.metadata(instance_crn, modes, now);
        if self.payload_is_readable(modes, now) {
            let payload: &[u8] = if modes.payload_empty {
                &[]
            } else {
                &self.payload
            };
            value["payload"] = json!(encode(payload, modes.payload_line_breaks));
        }
        value
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
