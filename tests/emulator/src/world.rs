//! The whole state of the emulator, and what is shared between its servers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

use crate::clock::Clock;
use crate::connections::Connections;
use crate::domain::history::History;
use crate::domain::instance::{Instance, Random};
use crate::domain::modes::Modes;
use crate::faults::Faults;
use crate::iam::Identities;
use crate::iam::token::Signer;
use crate::journal::Journal;

/// All that the emulator knows.
#[derive(Debug)]
pub struct World {
    /// Instances by ID.
    pub instances: BTreeMap<String, Instance>,
    /// IAM's identities.
    pub identities: Identities,
    /// What tokens are signed with.
    pub signer: Signer,
    /// The switches.
    pub modes: Modes,
    /// The faults in force.
    pub faults: Faults,
    /// What instances were, where the modes have it kept.
    pub histories: BTreeMap<String, History>,
    /// Instances as they once were, by instance and name.
    pub snapshots: BTreeMap<(String, String), Instance>,
    /// How long a token lives.
    pub token_lifetime_seconds: i64,
}

impl World {
    /// Adds an instance, whose past, where one is kept, begins now.
    pub fn add_instance(&mut self, instance: Instance, now: Timestamp) {
        if self.modes.history_seconds > 0 {
            let history = History::begin(now);
            self.histories.insert(instance.id.clone(), history);
        }
        self.instances.insert(instance.id.clone(), instance);
    }

    /// Keeps what an instance is before a change, where a past is kept.
    pub fn keep_past(&mut self, id: &str, now: Timestamp) {
        let seconds = self.modes.history_seconds;
        if let Some((instance, history)) = self.instances.get(id).zip(self.histories.get_mut(id)) {
            history.keep(instance, seconds, now);
        }
    }

    /// Sets the switches. Where a past is to be kept, it begins now.
    pub fn set_modes(&mut self, modes: Modes, now: Timestamp) {
        if modes.history_seconds <= 0 {
            self.histories.clear();
        } else {
            for id in self.instances.keys() {
                let history = self.histories.entry(id.clone());
                history.or_insert_with(|| History::begin(now));
            }
        }
        self.modes = modes;
    }
}

/// What every server and every handle shares.
#[derive(Debug)]
pub struct Shared {
    world: Mutex<World>,
    /// The clock.
    pub clock: Clock,
    /// The journal.
    pub journal: Journal,
    /// The connections to the API.
    pub connections: Connections,
}

impl Shared {
    /// Makes an empty world.
    pub fn new(token_lifetime_seconds: i64) -> Self {
        let world = World {
            instances: BTreeMap::new(),
            identities: Identities::default(),
            signer: Signer::new(&random_bytes()),
            modes: Modes::default(),
            faults: Faults::default(),
            histories: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            token_lifetime_seconds,
        };
        Self {
            world: Mutex::new(world),
            clock: Clock::default(),
            journal: Journal::default(),
            connections: Connections::default(),
        }
    }

    /// Locks the world. A panic of another holder does not spoil it: every
    /// operation checks before it changes.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the emulator's present.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Draws what an operation may need.
pub(crate) fn draw() -> Random {
    let mut iv = [0; 12];
    iv.copy_from_slice(&random_bytes()[..12]);
    Random {
        id: Uuid::new_v4(),
        policies: [Uuid::new_v4(), Uuid::new_v4()],
        payload: random_bytes(),
        iv,
    }
}

/// Draws 32 bytes.
pub(crate) fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // Two UUIDs hold 244 random bits, should the system's source be shut.
        let (front, back) = bytes.split_at_mut(16);
        front.copy_from_slice(Uuid::new_v4().as_bytes());
        back.copy_from_slice(Uuid::new_v4().as_bytes());
    }
    bytes
}
