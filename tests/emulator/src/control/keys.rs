//! Orders about keys, aliases and rings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::types::{CreateKey, CreateKeys, NewRegistration};
use super::{Control, ControlError, known_instance};
use crate::domain::instance::Instance;
use crate::domain::key::{Damage, Deletion, Key};
use crate::domain::modes::Modes;
use crate::domain::new_key::NewKey;
use crate::domain::policies::key::KeyPolicyChange;
use crate::domain::registrations::RegistrationChange;
use crate::domain::state::KeyState;
use crate::world::draw;

/// How many keys can be made by one order.
const MOST_AT_ONCE: usize = 100_000;

const ADMIN: &str = "iam-ServiceId-admin";

impl Control {
    /// Makes a key, and returns it with its payload.
    pub fn create_key(&self, instance: &str, new: CreateKey) -> Result<Value, ControlError> {
        let id = self.make_key(instance, new)?;
        let now = self.shared.now();
        self.on_instance(instance, |instance, modes| {
            Ok(full(instance, instance.key(&id)?, modes, now))
        })
    }

    fn make_key(&self, instance: &str, new: CreateKey) -> Result<String, ControlError> {
        let now = self.shared.now();
        let new = NewKey {
            id: new.id,
            name: new.name,
            description: new.description,
            tags: new.tags,
            aliases: new.aliases,
            extractable: new.extractable,
            expiration: date(new.expiration_date)?,
            payload: new.payload,
            encryption: None,
            ring: new.key_ring,
            creation_date: date(new.creation_date)?,
            policies: KeyPolicyChange::default(),
        };
        // Tests make keys that expired long ago; the API does not.
        let payload = NewKey {
            expiration: None,
            ..new.clone()
        }
        .check(None, now)?;
        self.on_instance(instance, |instance, _| {
            if !instance.rings.contains_key(new.ring()) {
                instance.create_ring(new.ring(), ADMIN, now)?;
            }
            Ok(instance.create(&new, payload, ADMIN, &draw(), now)?)
        })
    }

    /// Makes many keys, and returns their IDs.
    pub fn create_keys(
        &self,
        instance: &str,
        new: &CreateKeys,
    ) -> Result<Vec<String>, ControlError> {
        if new.count > MOST_AT_ONCE {
            return Err(ControlError::Wrong(format!(
                "count is at most {MOST_AT_ONCE}"
            )));
        }
        let width = new.count.to_string().len();
        (0..new.count)
            .map(|number| {
                let alias = new.alias_prefix.as_ref();
                let key = CreateKey {
                    name: format!("{}{number:0width$}", new.prefix),
                    aliases: alias
                        .map(|prefix| format!("{prefix}{number:0width$}"))
                        .into_iter()
                        .collect(),
                    payload: new.payload.clone(),
                    extractable: new.extractable,
                    key_ring: new.key_ring.clone(),
                    ..CreateKey::default()
                };
                self.make_key(instance, key)
            })
            .collect()
    }

    /// Returns every key of an instance with its payload: a test's truth.
    pub fn keys(&self, instance: &str) -> Result<Vec<Value>, ControlError> {
        let now = self.shared.now();
        self.on_instance(instance, |instance, modes| {
            instance.advance(modes, now, &mut draw);
            Ok(instance
                .keys
                .values()
                .map(|key| full(instance, key, modes, now))
                .collect())
        })
    }

    /// Puts a key in a state, whether or not the service would.
    pub fn set_key_state(
        &self,
        instance: &str,
        key: &str,
        state: &Value,
    ) -> Result<(), ControlError> {
        let number = match state {
            Value::String(name) => match name.as_str() {
                "active" => 1,
                "suspended" => 2,
                "deactivated" => 3,
                "deleted" => 5,
                "purged" => return self.purge_key(instance, key),
                other => return Err(ControlError::Wrong(format!("{other} is no key state"))),
            },
            other => other
                .as_u64()
                .and_then(|number| u8::try_from(number).ok())
                .unwrap_or(u8::MAX),
        };
        let state = KeyState::try_from(number).map_err(ControlError::Wrong)?;
        let now = self.shared.now();
        self.on_key(instance, key, |key| {
            if state == KeyState::Destroyed {
                let from = key.state;
                key.deletion.get_or_insert(Deletion {
                    at: now,
                    by: ADMIN.to_owned(),
                    from,
                });
            } else {
                key.deletion = None;
            }
            key.state = state;
            key.last_update = now;
        })
    }

    /// Takes a deletion back, without the rules about time.
    pub fn restore_key(&self, instance: &str, key: &str) -> Result<(), ControlError> {
        let now = self.shared.now();
        self.on_key(instance, key, |key| {
            if let Some(deletion) = key.deletion.take() {
                key.state = deletion.from;
                key.last_update = now;
            }
        })
    }

    /// Purges a key, deleted or not.
    pub fn purge_key(&self, instance: &str, key: &str) -> Result<(), ControlError> {
        self.on_instance(instance, |instance, _| {
            instance
                .remove(key)
                .map(drop)
                .ok_or_else(|| missing_key(key))
        })
    }

    /// Puts a key in a ring at once; the ring is made when there is none such.
    pub fn set_key_ring(&self, instance: &str, key: &str, ring: &str) -> Result<(), ControlError> {
        let now = self.shared.now();
        self.on_instance(instance, |instance, _| {
            if !instance.rings.contains_key(ring) {
                instance.create_ring(ring, ADMIN, now)?;
            }
            let key = instance.key_mut(key).map_err(|_| missing_key(key))?;
            ring.clone_into(&mut key.ring);
            key.ring_move = None;
            key.last_update = now;
            Ok(())
        })
    }

    /// Changes when a key expires.
    pub fn set_key_expiration(
        &self,
        instance: &str,
        key: &str,
        expiration: Option<String>,
    ) -> Result<(), ControlError> {
        let expiration = date(expiration)?;
        let now = self.shared.now();
        self.on_key(instance, key, |key| {
            key.expiration = expiration;
            key.last_update = now;
        })
    }

    /// Makes an alias stand for a key at once, whatever it stood for.
    pub fn put_alias(&self, instance: &str, alias: &str, key: &str) -> Result<(), ControlError> {
        let now = self.shared.now();
        self.on_instance(instance, |instance, _| {
            if !instance.keys.contains_key(key) {
                return Err(missing_key(key));
            }
            instance.put_alias(alias, key, ADMIN, now);
            Ok(())
        })
    }

    /// Removes an alias at once.
    pub fn delete_alias(&self, instance: &str, alias: &str) -> Result<(), ControlError> {
        self.on_instance(instance, |instance, _| {
            if instance.drop_alias(alias) {
                return Ok(());
            }
            Err(ControlError::Missing(format!("alias {alias}")))
        })
    }

    /// Has a root key protect a cloud resource, as another service would.
    pub fn register(
        &self,
        instance: &str,
        key: &str,
        new: NewRegistration,
    ) -> Result<(), ControlError> {
        let now = self.shared.now();
        self.on_instance(instance, |instance, _| {
            if !instance.keys.contains_key(key) {
                return Err(missing_key(key));
            }
            let change = RegistrationChange {
                description: new.description,
                prevent_key_deletion: Some(new.prevent_key_deletion),
                key_version: None,
            };
            instance.register(key, &new.resource_crn, change, ADMIN, now)?;
            Ok(())
        })
    }

    /// Breaks a key inside the service, or mends it.
    pub fn damage_key(
        &self,
        instance: &str,
        key: &str,
        damage: Option<Damage>,
    ) -> Result<(), ControlError> {
        self.on_instance(instance, |instance, _| {
            let found = instance.keys.get_mut(key).ok_or_else(|| missing_key(key))?;
            found.damage = damage;
            Ok(())
        })
    }

    /// Runs the background pass over expired keys now.
    pub fn run_expiry_pass(&self, instance: &str) -> Result<(), ControlError> {
        let now = self.shared.now();
        self.on_instance(instance, |instance, modes| {
            instance.forced_expiry_pass = Some(now);
            instance.touch();
            instance.advance(modes, now, &mut draw);
            Ok(())
        })
    }

    /// Acts on an instance, which may change by it.
    fn on_instance<T>(
        &self,
        instance: &str,
        act: impl FnOnce(&mut Instance, &Modes) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut world = self.shared.world();
        world.keep_past(instance, self.shared.now());
        let modes = world.modes.clone();
        act(known_instance(&mut world, instance)?, &modes)
    }

    fn on_key(
        &self,
        instance: &str,
        key: &str,
        act: impl FnOnce(&mut Key),
    ) -> Result<(), ControlError> {
        self.on_instance(instance, |instance, _| {
            act(instance.key_mut(key).map_err(|_| missing_key(key))?);
            Ok(())
        })
    }
}

/// Renders a key with its payload, whatever the API would show of it.
fn full(instance: &Instance, key: &Key, modes: &Modes, now: Timestamp) -> Value {
    let mut view = key.metadata(&instance.crn, modes, now);
    view.state = key.state.number();
    view.payload = Some(STANDARD.encode(&key.versions.newest().material));
    json!(view)
}

fn date(text: Option<String>) -> Result<Option<Timestamp>, ControlError> {
    text.map(|text| {
        text.parse()
            .map_err(|_| ControlError::Wrong(format!("{text} is no date of RFC 3339")))
    })
    .transpose()
}

fn missing_key(key: &str) -> ControlError {
    ControlError::Missing(format!("key {key}"))
}
