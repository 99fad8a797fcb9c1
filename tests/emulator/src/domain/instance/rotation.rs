//! Versions and policies of keys: rotated by hand, by policy, and governed.

use jiff::Timestamp;

use super::{Instance, Random};
use crate::domain::import::{self, Encryption};
use crate::domain::key::Key;
use crate::domain::modes::after;
use crate::domain::new_key::NewKey;
use crate::domain::policies::key::{KeyPolicies, KeyPolicyChange, RotationChange};
use crate::domain::refusal::Refusal;
use crate::domain::state::{Act, KeyClass, KeyState, SECONDS_BETWEEN_ROTATIONS, permit};
use crate::domain::versions::Version;

impl Instance {
    /// Makes a new version of a root key: with material that is brought along,
    /// for a key that was imported, and else with what is drawn.
    pub fn rotate(
        &mut self,
        id: &str,
        brought: Option<(&str, Option<&Encryption>)>,
        random: &Random,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = self.key(id)?;
        permit(key.class, key.state, Act::Rotate)?;
        let material = match (key.imported, brought) {
            (true, None) => {
                return Err(Refusal::because(
                    400,
                    "KEY_PAYLOAD_REQ_ERR",
                    "This root key was created with user-supplied key material: Key material is \
                     required to perform a 'rotate' action.",
                ));
            }
            (false, Some(_)) => {
                return Err(Refusal::field(
                    "payload",
                    "A key that the service generated rotates without a payload.",
                ));
            }
            (true, Some((payload, encryption))) => {
                let token = self.import_token.as_ref();
                import::material(KeyClass::Root, payload, encryption, token, now)?
            }
            (false, None) => random.payload.to_vec(),
        };
        if key.imported {
            let by_token = brought.is_some_and(|(_, encryption)| encryption.is_some());
            self.policies
                .check_creation(KeyClass::Root, true, by_token)?;
        }
        let early = key
            .last_rotate
            .is_some_and(|last| after(last, SECONDS_BETWEEN_ROTATIONS) > now);
        if early {
            return Err(Refusal::because(
                409,
                "KEY_ROTATION_NOT_PERMITTED",
                "This root key has been rotated within the last hour.",
            ));
        }
        add_version(self.key_mut(id)?, random.id.to_string(), material, now);
        Ok(())
    }

    /// Rotates what a policy says is due. A key that several intervals went by
    /// for is rotated once.
    pub(super) fn rotate_what_is_due(&mut self, now: Timestamp, draw: &mut dyn FnMut() -> Random) {
        for key in self.keys.values_mut() {
            if due(key).is_some_and(|due| due <= now) {
                let random = draw();
                self.rows.remove(&key.id);
                add_version(key, random.id.to_string(), random.payload.to_vec(), now);
            }
        }
    }

    /// Sets policies of a key.
    pub fn set_key_policies(
        &mut self,
        id: &str,
        change: &KeyPolicyChange,
        by: &str,
        random: &Random,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let ids = random.policies.map(|id| id.to_string());
        let key = self.key_mut(id)?;
        permit(key.class, key.state, Act::Govern)?;
        let (class, imported) = (key.class, key.imported);
        key.policies.change(change, class, imported, by, ids, now)?;
        key.last_update = now;
        Ok(())
    }

    /// Makes the policies of a key to be: those that it asks for, and else
    /// those that the instance has for new keys.
    pub(super) fn policies_of_new_key(
        &self,
        new: &NewKey,
        imported: bool,
        by: &str,
        random: &Random,
        now: Timestamp,
    ) -> Result<KeyPolicies, Refusal> {
        let rotates = new.class() == KeyClass::Root && !imported;
        let inherited = self.policies.rotation_of_new_keys().filter(|_| rotates);
        let dual_auth = self.policies.new_keys_need_two().then_some(true);
        let change = KeyPolicyChange {
            dual_auth_delete: new.policies.dual_auth_delete.or(dual_auth),
            rotation: new
                .policies
                .rotation
                .or(inherited.map(|months| RotationChange {
                    enabled: Some(true),
                    interval_month: Some(i64::from(months)),
                })),
        };
        let mut policies = KeyPolicies::default();
        let ids = random.policies.map(|id| id.to_string());
        policies.change(&change, new.class(), imported, by, ids, now)?;
        Ok(policies)
    }
}

/// Returns when a key rotates by itself: an interval after the last rotation,
/// or after its creation. Only an active key does.
pub(super) fn due(key: &Key) -> Option<Timestamp> {
    let policy = key.policies.rotation.as_ref()?;
    let last = key.last_rotate.unwrap_or(key.creation_date);
    policy
        .rule
        .due(last)
        .filter(|_| key.state == KeyState::Active)
}

fn add_version(key: &mut Key, id: String, material: Vec<u8>, now: Timestamp) {
    key.versions.rotate(Version {
        id,
        creation_date: now,
        material,
    });
    key.last_rotate = Some(now);
    key.last_update = now;
}
