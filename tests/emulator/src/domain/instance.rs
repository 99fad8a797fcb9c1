//! An instance: its keys, aliases and rings, and the operations on them.
//!
//! Rights are not decided here; the caller has them checked first. Everything
//! that happens by itself with time (expiry, aliases that linger, moves that
//! take effect late, purges) happens in [`Instance::advance`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::aliases::{self, Alias};
use super::key::{Deletion, Key, RingMove};
use super::modes::{Modes, after};
use super::new_key::NewKey;
use super::refusal::Refusal;
use super::rings::{self, DEFAULT_RING, Ring};
use super::state::{
    Act, KeyState, PURGE_FROM_SECONDS, PURGED_SECONDS, RESTORE_SECONDS, SECONDS_BETWEEN_CHANGES,
    permit,
};

/// Fresh randomness for what an operation makes.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    /// For a key's ID.
    pub id: Uuid,
    /// For a generated payload.
    pub payload: [u8; 32],
}

/// A Key Protect instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its GUID.
    pub id: String,
    /// Its CRN.
    pub crn: String,
    /// The Cloud Foundry organisation and space that name it at the old host.
    pub cloud_foundry: Option<(String, String)>,
    /// Its keys by ID, and so in the order of lists.
    pub keys: BTreeMap<String, Key>,
    /// Its aliases, those that linger included.
    pub aliases: BTreeMap<String, Alias>,
    /// Its rings.
    pub rings: BTreeMap<String, Ring>,
    /// A pass over expired keys that a test asked for.
    pub forced_expiry_pass: Option<Timestamp>,
    /// Counts lists, for lists that disagree.
    pub lists: u64,
}

impl Instance {
    /// Makes an empty instance.
    pub fn new(id: &str, crn: Option<String>) -> Self {
        let crn = crn.unwrap_or_else(|| {
            let account = "0123456789abcdef0123456789abcdef";
            format!("crn:v1:bluemix:public:kms:us-south:a/{account}:{id}::")
        });
        let default = Ring {
            creation_date: None,
            created_by: None,
        };
        Self {
            id: id.to_owned(),
            crn,
            cloud_foundry: None,
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
            rings: BTreeMap::from([(DEFAULT_RING.to_owned(), default)]),
            forced_expiry_pass: None,
            lists: 0,
        }
    }

    /// Lets everything happen that time has brought.
    pub fn advance(&mut self, modes: &Modes, now: Timestamp) {
        let pass = modes
            .last_expiry_pass(now)
            .max(self.forced_expiry_pass.unwrap_or(Timestamp::MIN));
        for key in self.keys.values_mut() {
            let due = key.expiration.is_some_and(|expiration| expiration <= pass);
            if due && key.state != KeyState::Deactivated && key.state != KeyState::Destroyed {
                key.state = KeyState::Deactivated;
                key.last_update = pass;
            }
            if key
                .ring_move
                .as_ref()
                .is_some_and(|moving| moving.at <= now)
                && let Some(moved) = key.ring_move.take()
            {
                key.ring = moved.to;
            }
        }
        let lingers = |alias: &Alias| {
            alias
                .gone_at
                .is_none_or(|gone| after(gone, modes.alias_deletion_delay_seconds) > now)
        };
        self.aliases.retain(|_, alias| lingers(alias));
        let purged: Vec<String> = self
            .keys
            .values()
            .filter(|key| {
                key.deletion
                    .as_ref()
                    .is_some_and(|gone| after(gone.at, PURGED_SECONDS) <= now)
            })
            .map(|key| key.id.clone())
            .collect();
        for id in purged {
            self.remove(&id);
        }
    }

    /// Finds the key that an ID or an alias stands for.
    pub fn resolve(&mut self, id_or_alias: &str) -> Option<String> {
        if self.keys.contains_key(id_or_alias) {
            return Some(id_or_alias.to_owned());
        }
        let alias = self.aliases.get_mut(id_or_alias)?;
        if alias.gone_at.is_some() {
            alias.asked_since += 1;
            if alias.asked_since % 2 == 0 {
                return None;
            }
        }
        Some(alias.key.clone())
    }

    /// Returns a key that is known to be there.
    pub fn key(&self, id: &str) -> Result<&Key, Refusal> {
        self.keys.get(id).ok_or_else(|| Refusal::key_not_found(id))
    }

    fn key_mut(&mut self, id: &str) -> Result<&mut Key, Refusal> {
        self.keys
            .get_mut(id)
            .ok_or_else(|| Refusal::key_not_found(id))
    }

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
        let created = new.creation_date.unwrap_or(now);
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
            imported: payload.is_some(),
            payload: payload.unwrap_or_else(|| random.payload.to_vec()),
            created_by: by.to_owned(),
            creation_date: created,
            last_update: created,
            last_state_change: None,
            expiration: new.expiration,
            deletion: None,
            version: id.clone(),
        };
        self.keys.insert(id.clone(), key);
        for alias in &new.aliases {
            self.put_alias(alias, &id, by, created);
        }
        Ok(id)
    }

    /// Deletes a key, which can be restored for a while.
    pub fn delete(&mut self, id: &str, by: &str, now: Timestamp) -> Result<(), Refusal> {
        let key = self.key_mut(id)?;
        permit(key.class, key.state, Act::Delete)?;
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

    /// Moves a key to another ring, at once or late.
    pub fn move_to_ring(
        &mut self,
        id: &str,
        ring: &str,
        delay_seconds: i64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if !self.rings.contains_key(ring) {
            return Err(rings::not_found(ring));
        }
        let key = self.key_mut(id)?;
        permit(key.class, key.state, Act::Patch)?;
        key.last_update = now;
        if delay_seconds > 0 {
            key.ring_move = Some(RingMove {
                to: ring.to_owned(),
                at: after(now, delay_seconds),
            });
        } else {
            ring.clone_into(&mut key.ring);
            key.ring_move = None;
        }
        Ok(())
    }

    /// Gives a key an alias.
    pub fn create_alias(
        &mut self,
        id: &str,
        alias: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        aliases::check_name(alias)?;
        let key = self.key(id)?;
        permit(key.class, key.state, Act::Alias)?;
        if self.aliases.contains_key(alias) {
            return Err(aliases::not_unique(alias));
        }
        if key.aliases.len() >= aliases::MAX_ALIASES {
            return Err(aliases::too_many());
        }
        self.put_alias(alias, id, by, now);
        self.key_mut(id)?.last_update = now;
        Ok(())
    }

    /// Takes an alias from the key that has it.
    pub fn delete_alias(
        &mut self,
        id: &str,
        alias: &str,
        modes: &Modes,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let missing = || {
            Refusal::because(
                404,
                "KEY_ALIAS_NOT_FOUND_ERR",
                format!("Key has no alias {alias}."),
            )
        };
        let entry = self.aliases.get_mut(alias).ok_or_else(missing)?;
        if entry.key != id || entry.gone_at.is_some() {
            return Err(missing());
        }
        if modes.alias_deletion_delay_seconds > 0 {
            entry.gone_at = Some(now);
            entry.asked_since = 0;
        } else {
            self.aliases.remove(alias);
        }
        let key = self.key_mut(id)?;
        key.aliases.retain(|other| other != alias);
        key.last_update = now;
        Ok(())
    }

    /// Makes an alias stand for a key, whatever it stood for before.
    pub fn put_alias(&mut self, alias: &str, id: &str, by: &str, now: Timestamp) {
        self.drop_alias(alias);
        self.aliases.insert(
            alias.to_owned(),
            Alias {
                key: id.to_owned(),
                created_by: by.to_owned(),
                creation_date: now,
                gone_at: None,
                asked_since: 0,
            },
        );
        if let Some(key) = self.keys.get_mut(id) {
            key.aliases.push(alias.to_owned());
        }
    }

    /// Removes an alias at once, and says whether there was one.
    pub fn drop_alias(&mut self, alias: &str) -> bool {
        let Some(entry) = self.aliases.remove(alias) else {
            return false;
        };
        if let Some(key) = self.keys.get_mut(&entry.key) {
            key.aliases.retain(|other| other != alias);
        }
        true
    }

    /// Makes a ring.
    pub fn create_ring(&mut self, ring: &str, by: &str, now: Timestamp) -> Result<(), Refusal> {
        rings::check_creation(ring, self.rings.contains_key(ring), self.rings.len())?;
        let made = Ring {
            creation_date: Some(now),
            created_by: Some(by.to_owned()),
        };
        self.rings.insert(ring.to_owned(), made);
        Ok(())
    }

    /// Deletes a ring; destroyed keys that were left in it go to `default`.
    pub fn delete_ring(&mut self, ring: &str, force: bool) -> Result<(), Refusal> {
        if !self.rings.contains_key(ring) {
            return Err(rings::not_found(ring));
        }
        let inside = self.keys.values().filter(|key| key.ring == ring);
        let (keys, live) = inside.fold((0, 0), |(keys, live), key| {
            (
                keys + 1,
                live + usize::from(key.state != KeyState::Destroyed),
            )
        });
        rings::check_deletion(ring, keys, live, force)?;
        for key in self.keys.values_mut().filter(|key| key.ring == ring) {
            DEFAULT_RING.clone_into(&mut key.ring);
        }
        self.rings.remove(ring);
        Ok(())
    }

    /// Removes a key and its aliases without a trace.
    pub fn remove(&mut self, id: &str) -> Option<Key> {
        self.aliases.retain(|_, alias| alias.key != id);
        self.keys.remove(id)
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
