//! An instance: its keys, aliases and rings.
//!
//! The operations are in `life` (of keys), `deletion` (its authorisation),
//! `rotation` (versions and policies), `places` (names and rings) and
//! `protection` (registrations).
//!
//! Rights are not decided here; the caller has them checked first. Everything
//! that happens by itself with time (expiry, aliases that linger, moves that
//! take effect late, purges) happens in [`Instance::advance`].

mod deletion;
mod life;
mod places;
mod protection;
mod rotation;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::aliases::Alias;
use super::import_token::ImportToken;
use super::key::Key;
use super::kmip::Adapters;
use super::modes::{Modes, after};
use super::policies::instance::InstancePolicies;
use super::refusal::Refusal;
use super::registrations::Registration;
use super::rings::{DEFAULT_RING, Ring};
use super::state::{KeyState, PURGED_SECONDS};

/// Fresh randomness for what an operation makes.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    /// For the ID of a key, a version or a token.
    pub id: Uuid,
    /// For the IDs of a key's policies.
    pub policies: [Uuid; 2],
    /// For generated material, or a data key.
    pub payload: [u8; 32],
    /// For a cipher's IV, or a nonce.
    pub iv: [u8; 12],
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
    /// Its policies.
    pub policies: InstancePolicies,
    /// Its import token.
    pub import_token: Option<ImportToken>,
    /// Which cloud resources its root keys protect.
    pub registrations: Vec<Registration>,
    /// Its KMIP adapters.
    pub kmip: Adapters,
    /// Until when nothing in it can be changed, after a failover.
    pub read_only_until: Option<Timestamp>,
    /// A pass over expired keys that a test asked for.
    pub forced_expiry_pass: Option<Timestamp>,
    /// Rows of lists as they were last written, by key. Who changes a key drops
    /// its row: a page of thousands would else be written anew each time.
    pub(super) rows: HashMap<String, Arc<str>>,
    /// When something next happens by itself; unknown after a change.
    due: Option<Timestamp>,
    /// The modes that this was worked out under.
    seen: Option<Modes>,
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
            policies: InstancePolicies::default(),
            import_token: None,
            registrations: Vec::new(),
            kmip: Adapters::default(),
            read_only_until: None,
            forced_expiry_pass: None,
            rows: HashMap::new(),
            due: None,
            seen: None,
            lists: 0,
        }
    }

    /// Says that nothing has become due since it was last looked at.
    pub fn is_settled(&self, modes: &Modes, now: Timestamp) -> bool {
        self.due.is_some_and(|due| now < due) && self.seen.as_ref() == Some(modes)
    }

    /// Lets everything happen that time has brought. `draw` is for the versions
    /// of keys that rotate by themselves.
    pub fn advance(&mut self, modes: &Modes, now: Timestamp, draw: &mut dyn FnMut() -> Random) {
        if self.is_settled(modes, now) {
            return;
        }
        let pass = modes
            .last_expiry_pass(now)
            .max(self.forced_expiry_pass.unwrap_or(Timestamp::MIN));
        for key in self.keys.values_mut() {
            let due = key.expiration.is_some_and(|expiration| expiration <= pass);
            if due && key.state.can_expire() {
                key.state = KeyState::Deactivated;
                key.last_update = pass;
                self.rows.remove(&key.id);
            }
            if key
                .ring_move
                .as_ref()
                .is_some_and(|moving| moving.at <= now)
                && let Some(moved) = key.ring_move.take()
            {
                key.ring = moved.to;
                self.rows.remove(&key.id);
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
        self.rotate_what_is_due(now, draw);
        self.due = Some(self.next_due(modes, now));
        self.seen = Some(modes.clone());
    }

    /// Returns when something will next happen by itself. Looking at every key
    /// for every request would make large instances slow.
    fn next_due(&self, modes: &Modes, now: Timestamp) -> Timestamp {
        let next_pass = after(
            modes.last_expiry_pass(now),
            modes.expiry_pass_seconds.max(1),
        );
        let keys = self.keys.values().flat_map(|key| {
            [
                key.expiration
                    .filter(|_| key.state.can_expire())
                    .map(|date| date.max(next_pass)),
                key.ring_move.as_ref().map(|moving| moving.at),
                key.deletion
                    .as_ref()
                    .map(|gone| after(gone.at, PURGED_SECONDS)),
                rotation::due(key),
            ]
        });
        let aliases = self.aliases.values().map(|alias| {
            alias
                .gone_at
                .map(|gone| after(gone, modes.alias_deletion_delay_seconds))
        });
        keys.chain(aliases)
            .flatten()
            .min()
            .unwrap_or(Timestamp::MAX)
    }

    /// Says that something has changed that time may have a say in.
    pub fn touch(&mut self) {
        self.due = None;
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

    /// Returns a key to change.
    pub fn key_mut(&mut self, id: &str) -> Result<&mut Key, Refusal> {
        self.touch();
        self.rows.remove(id);
        self.keys
            .get_mut(id)
            .ok_or_else(|| Refusal::key_not_found(id))
    }

    /// Returns the registrations of a key.
    pub fn registrations_of(&self, id: &str) -> impl Iterator<Item = &Registration> {
        self.registrations
            .iter()
            .filter(move |registration| registration.key == id)
    }

    /// Removes a key and its aliases without a trace.
    pub fn remove(&mut self, id: &str) -> Option<Key> {
        self.aliases.retain(|_, alias| alias.key != id);
        self.registrations
            .retain(|registration| registration.key != id);
        self.rows.remove(id);
        self.keys.remove(id)
    }
}
