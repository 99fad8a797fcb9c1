//! What is really so, told without a line of what decides: whether a Secret's key, or the right to
//! it, is gone, for how long, and how many Secrets went for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::events::NAMES;
use crate::domain::access::{self, Verdict};
use crate::domain::look::request::target_name;
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyState;
use crate::domain::service::reference::{KeyName, KeyReference};
use crate::domain::testing::world::World;
use crate::domain::testing::{INSTANCE_NAMESPACE, NAMESPACE};

/// What the test knows.
#[derive(Default)]
pub(super) struct Truth {
    /// Time that has passed, whatever the clock says.
    passed: SignedDuration,
    clock: Option<Timestamp>,
    /// Since when something is so that has to last for a grace.
    since: BTreeMap<String, SignedDuration>,
    /// When which object's Secret went by a revocation.
    revoked: BTreeMap<String, SignedDuration>,
    released: bool,
}

/// In which way a key is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// It says so itself.
    Surely,
    /// It has to last.
    ForNow,
}

impl Truth {
    /// Notes what is so.
    pub(super) fn note(&mut self, world: &World) {
        if let Some(before) = self.clock {
            let passed = world.now.duration_since(before);
            self.passed += passed.max(SignedDuration::ZERO);
        }
        self.clock = Some(world.now);
        for name in NAMES {
            if gone(world, name).is_some() {
                self.since.entry(name.to_owned()).or_insert(self.passed);
            } else if world.status(name).pending.is_none() {
                // What came back and went again between two looks, nobody has seen.
                self.since.remove(name);
            }
        }
    }

    /// The clock was set; no time has passed.
    pub(super) fn clock_was_set(&mut self, now: Timestamp) {
        self.clock = Some(now);
    }

    /// Somebody lets revocations go: how many, is not counted any more.
    pub(super) fn released(&mut self) {
        self.released = true;
    }

    /// An object was made anew: what went with the old one is its own.
    pub(super) fn forget(&mut self, name: &str) {
        self.revoked.remove(name);
        self.since.remove(name);
    }

    /// A Secret goes by a revocation: its key or the right to it is gone for long enough, and there
    /// are not too many.
    pub(super) fn assert_revocation(&mut self, world: &World, name: &str, evidence: &str) {
        let Some(gone) = gone(world, name) else {
            panic!("{name} is revoked, and its key is there: {evidence}");
        };
        let lasted = self.since.get(name).map(|since| self.passed - *since);
        // Times in status are of whole seconds.
        let grace = world.policy.grace - SignedDuration::from_secs(1);
        let long = lasted.is_some_and(|lasted| lasted > grace);
        assert!(
            gone == Gone::Surely || long,
            "{name} is revoked after {lasted:?}: {evidence}"
        );
        self.revoked.insert(name.to_owned(), self.passed);
        let hour = SignedDuration::from_hours(1);
        let within = self.revoked.iter().filter(|(other, at)| {
            let target = target_name(&world.objects[*other]);
            let back = *other != name && world.cluster.secrets.contains_key(target);
            self.passed - **at < hour && !back
        });
        let within: BTreeSet<_> = within.map(|(name, _)| name).collect();
        assert!(self.released || within.len() <= 3, "{within:?}");
    }

    /// Whether any Secret went by a revocation.
    pub(super) fn was_revoked(&self, world: &World) -> bool {
        self.revoked
            .keys()
            .any(|name| world.status(name).last_revocation_time.is_some())
    }
}

fn gone(world: &World, name: &str) -> Option<Gone> {
    let object = &world.objects[name];
    let used = world.status(name).keys.first()?.id.clone();
    let id = KeyId::parse(&used).unwrap();
    let reference = KeyReference::from_selector(object.spec.key.as_ref(), name).unwrap();
    let grant = access::grant(
        INSTANCE_NAMESPACE,
        world.access.as_deref(),
        NAMESPACE,
        access::Labels::Known(&world.labels),
    );
    let Some(grant) = grant else {
        return Some(Gone::ForNow);
    };
    let Some(key) = world.service.keys.get(&id) else {
        return Some(Gone::ForNow);
    };
    let expired = key.expiration_date.is_some_and(|date| date <= world.now);
    if key.deleted == Some(true) || key.state == Some(KeyState::Destroyed) || expired {
        return Some(Gone::Surely);
    }
    if grant.verdict(key) == Verdict::Denied {
        return Some(Gone::ForNow);
    }
    let KeyName::Alias(alias) = &reference.name else {
        return None;
    };
    let mut keys = world.service.keys.values();
    let has = keys.any(|key| {
        let mut aliases = key.aliases.iter().flatten();
        aliases.any(|a| a == alias.as_str()) && grant.verdict(key) == Verdict::Allowed
    });
    (!has).then_some(Gone::ForNow)
}
