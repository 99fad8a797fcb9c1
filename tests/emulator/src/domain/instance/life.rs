//! The life of a key: created, suspended, deleted, restored, purged.

use jiff::Timestamp;

use super::{Instance, Random, deletion};
use crate::domain::aliases;
use crate::domain::import::{self, Encryption};
use crate::domain::key::{Deletion, Key};
use crate::domain::modes::after;
use crate::domain::new_key::NewKey;
use crate::domain::refusal::Refusal;
use crate::domain::registrations;
use crate::domain::rings;
use crate::domain::state::{
    Act, KeyState, PURGE_FROM_SECONDS, RESTORE_SECONDS, SECONDS_BETWEEN_CHANGES, permit,
};
use crate::domain::versions::{Version, Versions};

impl Instance {
    /// Makes a key and returns its ID.
    pub fn create(
        &mut self,
        new: &NewKey,
        payload: Option<Vec<u8>>,
        by: &str,
        random: &Random,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let id = new
            .id
            .as_ref()
            .map_or_else(|| random.id.to_string(), |id| id.to_lowercase());
        if self.keys.contains_key(&id) {
            return Err(Refusal::field("id", "This key exists."));
        }
        if !self.rings.contains_key(new.ring()) {
            return Err(rings::not_found(new.ring()));
        }
        if let Some(taken) = new
            .aliases
            .iter()
            .find(|alias| self.aliases.contains_key(*alias))
        {
            return Err(aliases::not_unique(taken));
        }
        let imported = payload.is_some();
        let by_token = new.encryption.is_some();
        self.policies
            .check_creation(new.class(), imported, by_token)?;
        let policies = self.policies_of_new_key(new, imported, by, random, now)?;
        self.touch();
        let created = new.creation_date.unwrap_or(now);
        let version = Version {
            id: id.clone(),
            creation_date: created,
            material: payload.unwrap_or_else(|| random.payload.to_vec()),
        };
        let key = Key {
            id: id.clone(),
            name: new.name.clone(),
            description: new.description.clone().filter(|text| !text.is_empty()),
            tags: new.tags.clone(),
            aliases: Vec::new(),
            class: new.class(),
            state: KeyState::Active,
            ring: new.ring().to_owned(),
            ring_move: None,
            imported,
            versions: Versions::new(version),
            created_by: by.to_owned(),
            creation_date: created,
            last_update: created,
            last_state_change: None,
            expiration: new.expiration,
            deletion: None,
            last_rotate: None,
            policies,
            authorization: None,
            damage: None,
        };
        self.keys.insert(id.clone(), key);
        for alias in &new.aliases {
            self.put_alias(alias, &id, by, created);
        }
        Ok(id)
    }

    /// Deletes a key, which can be restored for a while. `force` gives up the
    /// registrations of what it protects.
    pub fn delete(
        &mut self,
        id: &str,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = self.key(id)?;
        permit(key.class, key.state, Act::Delete)?;
        deletion::check_authorization(key, by, now)?;
        registrations::check_deletion(self.registrations_of(id), force)?;
        self.registrations
            .retain(|registration| registration.key != id);
        let key = self.key_mut(id)?;
        key.authorization = None;
        key.deletion = Some(Deletion {
            at: now,
            by: by.to_owned(),
            from: key.state,
        });
        key.state = KeyState::Destroyed;
        key.last_update = now;
        key.last_state_change = Some(now);
        Ok(())
    }

    /// Refuses a restoration that brings other material along than the deleted
    /// key's, or any at all for a key that was not imported.
    pub fn check_restoration(
        &self,
        id: &str,
        payload: &str,
        encryption: Option<&Encryption>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = self.key(id)?;
        permit(key.class, key.state, Act::Restore)?;
        if !key.imported {
            return Err(Refusal::because(
                400,
                "KEY_IMPT_REQ_ERR",
                "Only imported keys can be restored.",
            ));
        }
        let token = self.import_token.as_ref();
        let material = import::material(key.class, payload, encryption, token, now)?;
        if material != key.versions.newest().material {
            return Err(Refusal::field(
                "payload",
                "The payload is not the material of the deleted key.",
            ));
        }
        Ok(())
    }

    /// Takes a deletion back.
    pub fn restore(&mut self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        let key = self.key_mut(id)?;
        permit(key.class, key.state, Act::Restore)?;
        let Some(deletion) = key.deletion.clone() else {
            return Err(Refusal::bare(500, "A destroyed key has no deletion."));
        };
        if after(deletion.at, RESTORE_SECONDS) <= now {
            return Err(Refusal::because(
                400,
                "KEY_RESTORE_EXPIRED",
                "Key restore has expired: the key was deleted more than 30 days ago.",
            ));
        }
        if key.has_expired(now) && deletion.from != KeyState::Deactivated {
            return Err(Refusal::because(
                400,
                "KEY_EXPIRED_ERR",
                "The key has expired.",
            ));
        }
        not_too_early(key, now)?;
        key.state = deletion.from;
        key.deletion = None;
        key.last_update = now;
        key.last_state_change = Some(now);
        Ok(())
    }

    /// Purges a deleted key.
    pub fn purge(&mut self, id: &str, now: Timestamp) -> Result<Key, Refusal> {
        let key = self.key(id)?;
        let deleted_at = key.deletion.as_ref().map(|deletion| deletion.at);
        let Some(deleted_at) = deleted_at else {
            return Err(Refusal::because(
                409,
                "KEY_ACTION_INVALID_STATE_ERR",
                "Only a deleted key can be purged.",
            ));
        };
        if after(deleted_at, PURGE_FROM_SECONDS) > now {
            return Err(too_early("A key can be purged 4 hours after its deletion."));
        }
        self.remove(id).ok_or_else(|| Refusal::key_not_found(id))
    }

    /// Suspends a root key, or ends its suspension.
    pub fn set_enabled(&mut self, id: &str, enable: bool, now: Timestamp) -> Result<(), Refusal> {
        let key = self.key_mut(id)?;
        permit(
            key.class,
            key.state,
            if enable { Act::Enable } else { Act::Disable },
        )?;
        if enable {
            not_too_early(key, now)?;
        }
        key.state = if enable {
            KeyState::Active
        } else {
            KeyState::Suspended
        };
        key.last_update = now;
        key.last_state_change = Some(now);
        Ok(())
    }
}

fn not_too_early(key: &Key, now: Timestamp) -> Result<(), Refusal> {
    let early = key
        .last_state_change
        .is_some_and(|changed| after(changed, SECONDS_BETWEEN_CHANGES) > now);
    if early {
        return Err(too_early(
            "Wait 30 seconds after the last change of the key's state.",
        ));
    }
    Ok(())
}

fn too_early(message: &str) -> Refusal {
    Refusal::because(409, "REQ_TOO_EARLY_ERR", message)
}
