//! The service under the harness's hand: the emulator, and a ledger of all that it ever held.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use key_protect_emulator::{ConnectionFault, Emulator, Modes, Options, Tls};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::ledger::{Ledger, Named};
use crate::recorder::Recorder;
use crate::settled::ROOT;

/// The KeyProtectInstances, each with an instance, a service ID and an API key of its own.
pub(crate) const INSTANCES: [&str; 2] = ["main", "side"];
/// Aliases that move, beside those that are called like an object.
pub(crate) const ALIASES: [&str; 6] = ["al-0", "al-1", "al-2", "al-3", "al-4", "al-5"];
/// Objects that have the key of their own name.
pub(crate) const OWN: [&str; 4] = ["o-0", "o-1", "o-2", "o-3"];
/// Names of several keys each, of which the newest counts.
pub(crate) const NAMES: [&str; 2] = ["rot-0", "rot-1"];
pub(crate) const RING: &str = "payments";
/// Keys that are only named by their ID.
const FIXED: u64 = 3;

/// The ID of one of them, which a schedule can name before it is made.
pub(crate) fn fixed_id(instance: usize, nth: u64) -> String {
    format!("0000000{nth}-0000-4000-8000-00000000000{instance}")
}

pub(crate) struct Service {
    pub(crate) emulator: Emulator,
    ledger: Mutex<Ledger>,
    guids: [String; 2],
    recorder: Arc<Recorder>,
    chance: Mutex<Chance>,
    made: AtomicU64,
    api_keys: Mutex<[String; 2]>,
}

impl Service {
    pub(crate) async fn start(recorder: &Arc<Recorder>, chance: Chance) -> Self {
        let options = Options {
            tls: Some(Tls::Make { names: vec![] }),
            ..Options::default()
        };
        let guids = INSTANCES.map(|_| uuid::Uuid::new_v4().to_string());
        let service = Self {
            emulator: Emulator::start(options).await.expect("an emulator"),
            ledger: Mutex::default(),
            guids,
            recorder: Arc::clone(recorder),
            chance: Mutex::new(chance),
            made: AtomicU64::new(0),
            api_keys: Mutex::new(INSTANCES.map(|name| format!("api-key-{name}-0"))),
        };
        for (at, name) in INSTANCES.iter().enumerate() {
            let guid = service.guids[at].clone();
            let new = json!({"id": guid, "rings": [RING]});
            let new = serde_json::from_value(new).expect("an instance");
            service.emulator.create_instance(new).expect("an instance");
            let new = json!({"name": name, "apiKey": service.api_key(at)});
            let new = serde_json::from_value(new).expect("a service ID");
            service
                .emulator
                .create_service_id(new)
                .expect("a service ID");
            service.role(at, Some("ReaderPlus"));
            for alias in ALIASES.iter().chain(&OWN) {
                service.move_alias(at, alias);
            }
            for name in NAMES {
                service.renew(at, name);
            }
            for nth in 0..FIXED {
                service.key(at, &json!({"name": "fixed", "id": fixed_id(at, nth)}));
            }
            let root = json!({"name": ROOT, "aliases": [ROOT], "extractable": false});
            let root = serde_json::from_value(root).expect("a root key");
            service
                .emulator
                .create_key(&guid, root)
                .expect("a root key");
        }
        service
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn guid(&self, instance: usize) -> &str {
        &self.guids[instance]
    }

    pub(crate) fn api_key(&self, instance: usize) -> String {
        let keys = self.api_keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys[instance].clone()
    }

    /// Makes another API key, which is the one from now on; returns the one before.
    pub(crate) fn renew_api_key(&self, instance: usize) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = INSTANCES[instance];
        let new = format!("api-key-{name}-{number}");
        let order = json!({"serviceId": name, "apiKey": new});
        let order = serde_json::from_value(order).expect("an API key");
        self.emulator.create_api_key(order).expect("an API key");
        let mut keys = self.api_keys.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut keys[instance], new)
    }

    /// Gives the operator's service ID this role, or none.
    pub(crate) fn role(&self, instance: usize, role: Option<&str>) {
        let roles = role.map(|role| json!({"instance": self.guids[instance], "role": role}));
        let roles: Vec<Value> = roles.into_iter().collect();
        let roles = serde_json::from_value(json!(roles)).expect("roles");
        let set = self.emulator.set_roles(INSTANCES[instance], roles);
        set.expect("roles");
    }

    /// Makes a key; returns its ID.
    fn key(&self, instance: usize, new: &Value) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let payload = self.payload(number);
        let begin: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a date");
        let second = begin.as_second() + i64::try_from(number).expect("a number");
        let mut new = new.clone();
        new["payload"] = json!(STANDARD.encode(&payload));
        // Dates are told in seconds, and which key is the newest must not depend on luck.
        let date = jiff::Timestamp::from_second(second).expect("a date");
        new["creationDate"] = json!(date.to_string());
        let before = self.recorder.now();
        let new = serde_json::from_value(new).expect("a key");
        let made = self.emulator.create_key(&self.guids[instance], new);
        let id = made.expect("a key")["id"]
            .as_str()
            .expect("its ID")
            .to_owned();
        self.ledger()
            .made(INSTANCES[instance], &id, &payload, before);
        id
    }

    /// A payload like no other: JSON, from short to nearly as long as may be.
    fn payload(&self, number: u64) -> Vec<u8> {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = *chance.pick(&[10, 200, 3_000, 3_000]);
        let words = chance.between(2, longest / 8 + 2);
        let pad: String = (0..words)
            .map(|_| format!("{:016x}", chance.next()))
            .collect();
        let password = format!("{:016x}{:016x}", chance.next(), chance.next());
        json!({"number": number.to_string(), "password": password, "pad": pad})
            .to_string()
            .into_bytes()
    }

    /// Makes a key and lets an alias stand for it.
    pub(crate) fn move_alias(&self, instance: usize, alias: &str) {
        let id = self.key(instance, &json!({"name": alias}));
        let before = self.recorder.now();
        let moved = self.emulator.put_alias(&self.guids[instance], alias, &id);
        moved.expect("a moved alias");
        self.stands_for(instance, &Named::Alias(alias.to_owned()), &id, before);
    }

    /// Takes an alias away. What it last stood for is what a Secret may go on holding.
    pub(crate) fn drop_alias(&self, instance: usize, alias: &str) {
        let gone = self.emulator.delete_alias(&self.guids[instance], alias);
        gone.expect("an alias that goes");
    }

    /// Makes a newer key of a name.
    pub(crate) fn renew(&self, instance: usize, name: &str) {
        let before = self.recorder.now();
        let id = self.key(instance, &json!({"name": name, "keyRing": RING}));
        let named = Named::Name {
            name: name.to_owned(),
            ring: RING.to_owned(),
        };
        self.stands_for(instance, &named, &id, before);
    }

    fn stands_for(&self, instance: usize, named: &Named, id: &str, before: u64) {
        let done = self.recorder.now();
        self.ledger()
            .stands_for(INSTANCES[instance], named, id, (before, done));
    }

    pub(crate) fn delete_key(&self, instance: usize, id: &str) {
        let state = json!("deleted");
        let before = self.recorder.now();
        self.ledger().deleted(id, before);
        let done = self
            .emulator
            .set_key_state(&self.guids[instance], id, &state);
        done.expect("a deleted key");
    }

    pub(crate) fn restore_key(&self, instance: usize, id: &str) {
        let done = self.emulator.restore_key(&self.guids[instance], id);
        done.expect("a restored key");
        let done = self.recorder.now();
        self.ledger().restored(id, done);
    }

    /// Notes that lists are about to lack keys.
    pub(crate) fn note_partial_lists(&self) {
        let before = self.recorder.now();
        self.ledger().lists_are_partial(before);
    }

    /// Keeps everything as it is, under a name.
    pub(crate) fn keep(&self, name: &str) {
        for guid in &self.guids {
            self.emulator.take_snapshot(guid, name).expect("a snapshot");
        }
    }

    /// Makes everything as it was under a name.
    pub(crate) fn go_back_to(&self, name: &str) {
        for guid in &self.guids {
            self.emulator
                .restore_snapshot(guid, name)
                .expect("a snapshot");
        }
    }

    /// Nothing is wrong any more; says whether IAM refused API keys before.
    pub(crate) fn heal(&self) -> bool {
        let faults = self.emulator.faults();
        let refused = faults.iter().any(|(name, ..)| name == "iam-refuses");
        self.emulator.clear_faults();
        self.emulator.set_modes(Modes::default());
        self.emulator.set_clock_offset(0);
        self.emulator.set_token_lifetime(3600);
        self.emulator.set_connection_fault(ConnectionFault::None);
        for instance in 0..INSTANCES.len() {
            self.role(instance, Some("ReaderPlus"));
        }
        refused
    }
}
