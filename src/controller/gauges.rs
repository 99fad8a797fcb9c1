//! What can be told of the operator at any moment from what is there anyway: gathered when
//! somebody asks, so that it costs nothing while nobody does, and nothing is left of an instance
//! that is gone. Locks are held for as long as it takes to copy pointers.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::clock::now;
use super::connection::Connection;
use super::context::Context;
use super::queue::{Lane, ObjectKey};
use super::said::{Said, UNKNOWN};
use super::world::World;
use crate::api::condition::ConditionType;
use crate::api::{KeyProtectInstance, Reason};
use crate::domain::service::catalogue::{Catalogue, Listing};
use crate::domain::service::metadata::KeyState;
use crate::domain::status;

/// Instances that are told of by themselves. Where tenants may make instances, they must not be
/// able to make series without end.
const INSTANCES: usize = 100;

/// One moment.
#[derive(Debug, Default, PartialEq)]
pub struct Gauges {
    /// Whether this replica is the one that writes.
    pub leads: bool,
    /// KeyProtectKeys by status and reason of Ready.
    pub objects: BTreeMap<(&'static str, &'static str), usize>,
    /// KeyProtectKeys that are Stale.
    pub stale: usize,
    /// By lane: its name, how many wait, how many seconds the first of them.
    pub waiting: Vec<(&'static str, usize, f64)>,
    /// Instances that are told of.
    pub instances: Vec<InstanceGauges>,
    /// Instances that are not, since there are too many.
    pub omitted: usize,
}

/// One instance at one moment.
#[derive(Debug, Default, PartialEq)]
pub struct InstanceGauges {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it is Ready, and the reason.
    pub ready: (bool, &'static str),
    /// KeyProtectKeys that use it.
    pub keys_in_use: i64,
    /// Revocations of Secrets that wait.
    pub held_revocations: usize,
    /// Its keys, by state; nothing, where they were not listed yet.
    pub keys: Vec<(&'static str, usize)>,
    /// Seconds since the last listing that succeeded.
    pub catalogue_age: Option<f64>,
    /// Seconds until the next of the keys in use expires.
    pub next_key_expiry: Option<f64>,
    /// Seconds until its token ends.
    pub token_expiry: Option<f64>,
    /// How many of its breakers are open, by what they are for.
    pub breakers: Vec<(&'static str, usize)>,
}

impl Context {
    /// Gathers what can be told at this moment.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let now = now();
        let waiting = {
            let queue = self.queue();
            [(Lane::First, "first"), (Lane::Routine, "routine")].map(|(lane, name)| {
                let (count, since) = queue.waiting(lane, now);
                (name, count, since.map_or(0.0, |since| seconds(since, now)))
            })
        };
        let (objects, instances) = {
            let world = self.world();
            let objects = world.meant().map(|key| (key.clone(), said_by(&world, key)));
            let instances = world.instances();
            let instances = instances.map(|(key, instance)| (key.clone(), Arc::clone(instance)));
            (objects.collect::<Vec<_>>(), instances.collect::<Vec<_>>())
        };
        let all = instances.len();
        let shown = shown(instances, &self.settings.namespace);
        let connections: Vec<Option<Arc<Connection>>> = {
            let connections = self.connections();
            let known = |(key, _): &(ObjectKey, _)| connections.get(key).cloned();
            shown.iter().map(known).collect()
        };
        let mut gauges = Gauges {
            leads: self.leadership.is_acting(),
            waiting: waiting.to_vec(),
            omitted: all - shown.len(),
            ..tally(objects.iter().flat_map(|(_, objects)| objects))
        };
        let used: BTreeMap<_, _> = objects.iter().map(|(key, used)| (key, used)).collect();
        for ((key, instance), connection) in shown.iter().zip(connections) {
            let used = used.get(key).map(|used| used.as_slice());
            let mut instance = of_instance(instance, used.unwrap_or_default(), now);
            if let Some(connection) = connection {
                of_connection(&mut instance, &connection, now);
            }
            gauges.instances.push(instance);
        }
        gauges
    }
}

/// What the objects that mean an instance say.
fn said_by(world: &World, instance: &ObjectKey) -> Vec<Arc<Said>> {
    let objects = world.objects_of(instance);
    objects
        .map(|(_, known)| Arc::clone(&known.held.said))
        .collect()
}

/// The instances that are told of: the operator's own namespace first, which is an admin's, then
/// the older before the younger, so that whoever makes many hides no other's.
fn shown(
    mut instances: Vec<(ObjectKey, Arc<KeyProtectInstance>)>,
    own: &str,
) -> Vec<(ObjectKey, Arc<KeyProtectInstance>)> {
    instances.sort_by_cached_key(|(key, instance)| {
        let created = instance.creation_timestamp().map(|time| time.0);
        (Reverse(key.namespace == own), created, key.clone())
    });
    instances.truncate(INSTANCES);
    instances
}

/// Counts objects by what they say of themselves.
fn tally<'a>(objects: impl Iterator<Item = &'a Arc<Said>>) -> Gauges {
    let mut gauges = Gauges::default();
    for said in objects {
        *gauges.objects.entry(said.ready).or_default() += 1;
        gauges.stale += usize::from(said.stale);
    }
    gauges
}

/// What the watches know of an instance and the objects that mean it.
fn of_instance(
    instance: &KeyProtectInstance,
    used: &[Arc<Said>],
    now: Timestamp,
) -> InstanceGauges {
    let status = instance.status.as_ref();
    let ready = status.and_then(|status| status::find(&status.conditions, ConditionType::Ready));
    let ready = ready.map_or((false, Reason::Pending.as_str()), |ready| {
        (ready.status == "True", instance_reason(&ready.reason))
    });
    InstanceGauges {
        namespace: instance.namespace().unwrap_or_default(),
        name: instance.name_any(),
        ready,
        keys_in_use: status.and_then(|status| status.keys_in_use).unwrap_or(0),
        held_revocations: used.iter().filter(|said| said.held).count(),
        next_key_expiry: next_expiry(used, now).map(|at| seconds(now, at)),
        ..InstanceGauges::default()
    }
}

fn instance_reason(reason: &str) -> &'static str {
    const AVAILABLE: &str = "Available";
    if reason == AVAILABLE {
        return AVAILABLE;
    }
    Reason::parse(reason).map_or(UNKNOWN, Reason::as_str)
}

/// When the next of the keys that Secrets were made from expires. What is expired already is no
/// news, and must not hide what is about to.
fn next_expiry(used: &[Arc<Said>], now: Timestamp) -> Option<Timestamp> {
    let expirations = used.iter().flat_map(|said| &said.expirations);
    expirations.copied().filter(|at| *at > now).min()
}

/// What the connection knows.
fn of_connection(gauges: &mut InstanceGauges, connection: &Connection, now: Timestamp) {
    let listing: Listing = connection.listing();
    if let Some(catalogue) = listing.catalogue() {
        gauges.keys = by_state(catalogue);
        gauges.catalogue_age = Some(seconds(catalogue.listed_at(), now));
    }
    if let Ok(usable) = &connection.usable {
        let left = usable.client.token_source().expires_in();
        gauges.token_expiry = left.map(|left| left.as_secs_f64());
    }
    let opened = connection.limiter.opened();
    gauges.breakers = vec![
        ("outage", usize::from(opened.outage)),
        ("withdrawal", usize::from(opened.withdrawal)),
        ("refusal", opened.refusals),
    ];
}

fn by_state(catalogue: &Catalogue) -> Vec<(&'static str, usize)> {
    let states = KeyState::ALL.into_iter().map(Some).chain([None]);
    states
        .map(|state| {
            let name = state.map_or(UNKNOWN, KeyState::as_str);
            (name, catalogue.in_state(state))
        })
        .collect()
}

/// Seconds from one time to the other; none, where a clock was set back between them.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from)
        .max(SignedDuration::ZERO)
        .as_secs_f64()
}

#[cfg(test)]
#[path = "gauges_tests.rs"]
mod tests;
