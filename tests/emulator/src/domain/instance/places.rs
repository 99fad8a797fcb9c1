//! Where a key is found: its ring and its aliases.

use jiff::Timestamp;

use super::Instance;
use crate::domain::aliases::{self, Alias};
use crate::domain::key::{Key, RingMove};
use crate::domain::modes::{Modes, after};
use crate::domain::refusal::Refusal;
use crate::domain::rings::{self, DEFAULT_RING, Ring};
use crate::domain::state::{Act, KeyState, permit};

impl Instance {
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
        modes: &Modes,
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
        self.check_room_for_aliases(1, modes)?;
        self.put_alias(alias, id, by, now);
        self.key_mut(id)?.last_update = now;
        Ok(())
    }

    /// Refuses so many new aliases where the instance may not have them.
    pub fn check_room_for_aliases(&self, new: usize, modes: &Modes) -> Result<(), Refusal> {
        let limit = modes.aliases_per_instance;
        if limit == 0 || new == 0 {
            return Ok(());
        }
        // One that lingers is deleted for its key, and so for the count.
        let there = self.aliases.values().filter(|one| one.gone_at.is_none());
        if there.count() + new > limit {
            return Err(aliases::too_many_in_instance(limit));
        }
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
        self.touch();
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
        if let Ok(key) = self.key_mut(id) {
            key.aliases.push(alias.to_owned());
        }
    }

    /// Removes an alias at once, and says whether there was one.
    pub fn drop_alias(&mut self, alias: &str) -> bool {
        let Some(entry) = self.aliases.remove(alias) else {
            return false;
        };
        if let Ok(key) = self.key_mut(&entry.key) {
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
        // A key that is on its way there counts as there.
        let is_inside = |key: &Key| {
            let moving = key.ring_move.as_ref();
            key.ring == ring || moving.is_some_and(|moving| moving.to == ring)
        };
        let inside = self.keys.values().filter(|key| is_inside(key));
        let (keys, live) = inside.fold((0, 0), |(keys, live), key| {
            (
                keys + 1,
                live + usize::from(key.state != KeyState::Destroyed),
            )
        });
        rings::check_deletion(ring, keys, live, force)?;
        for key in self.keys.values_mut().filter(|key| is_inside(key)) {
            DEFAULT_RING.clone_into(&mut key.ring);
            key.ring_move = None;
            self.rows.remove(&key.id);
        }
        self.rings.remove(ring);
        Ok(())
    }
}
