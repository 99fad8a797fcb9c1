//! What looks at objects share: the world, the queue, the connections, the way to the cluster.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::{Notify, Semaphore};

use super::clock::Heartbeat;
use super::connection::Connection;
use super::fence::Fence;
use super::forced::Forced;
use super::lock;
use super::queue::{ObjectKey, Queue};
use super::world::{Concerned, World};
use crate::api::{KeyProtectKey, Reason};
use crate::cluster::events::Announcer;
use crate::domain::look::observed::Policy;
use crate::domain::service::endpoint::AllowedHosts;
use crate::domain::status;

/// Writes towards the API server in flight at once: more make it queue, not faster.
const WRITES: usize = 32;

/// Settings of the controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What decisions depend on.
    pub policy: Policy,
    /// How often it is tried whether the fence holds; nothing where there need not be one.
    pub fence: Option<Duration>,
    /// The operator's own namespace: only instances there may use mounted API keys.
    pub namespace: String,
    /// Folder of the mounted API keys.
    pub credentials_dir: PathBuf,
    /// The mounted API key of instances that name none.
    pub default_credential: String,
    /// Hosts that an admin allows beside IBM Cloud's own.
    pub allowed_hosts: AllowedHosts,
    /// The operator's name in Events (the Pod's).
    pub instance_name: String,
}

/// What looks share.
pub struct Context {
    /// The way to the cluster.
    pub client: Client,
    /// Settings.
    pub settings: Settings,
    /// Events.
    pub announcer: Announcer,
    /// Whether the fence holds.
    pub fence: Fence,
    /// Permits for writes.
    pub writes: Semaphore,
    world: Mutex<World>,
    queue: Mutex<Queue>,
    connections: Mutex<HashMap<ObjectKey, Arc<Connection>>>,
    forced: Mutex<Forced>,
    /// Wakes the dispatcher.
    pub wake: Notify,
    /// The dispatcher's sign of life.
    pub heartbeat: Heartbeat,
    ready: AtomicBool,
}

impl Context {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(client: Client, settings: Settings, started: Timestamp) -> Self {
        Self {
            announcer: Announcer::new(client.clone(), settings.instance_name.clone()),
            fence: Fence::new(settings.fence.is_some()),
            world: Mutex::new(World::new(
                settings.policy.default_instance.clone(),
                started,
            )),
            queue: Mutex::default(),
            connections: Mutex::default(),
            forced: Mutex::default(),
            writes: Semaphore::new(WRITES),
            wake: Notify::new(),
            heartbeat: Heartbeat::start(),
            ready: AtomicBool::new(false),
            client,
            settings,
        }
    }

    /// The world. Held for short, never across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The queue. Held for short, never across an await.
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// The connections. Held for short, never across an await.
    pub fn connections(&self) -> MutexGuard<'_, HashMap<ObjectKey, Arc<Connection>>> {
        lock(&self.connections)
    }

    /// When forced syncs are let through. Held for short, never across an await.
    pub fn forced(&self) -> MutexGuard<'_, Forced> {
        lock(&self.forced)
    }

    /// Asks for a look at each of these now: something changed that a back-off knows nothing of.
    pub fn look_now(&self, concerned: Concerned, now: Timestamp) {
        if concerned.is_empty() {
            return;
        }
        {
            let mut queue = self.queue();
            for (key, lane) in concerned {
                queue.schedule(&key, now, lane);
            }
        }
        self.wake.notify_one();
    }

    /// Asks for a look at each of these, whose Secret changed, when its back-off allows: a Secret
    /// that somebody edits or deletes in a loop must not become a loop of refused reads. Where the
    /// Secret itself stood in the way, that is over now.
    pub fn look_when_due(&self, concerned: Concerned, now: Timestamp) {
        for (key, lane) in concerned {
            let known = self.world().known(&key);
            let not_before = known
                .filter(|(object, _)| !is_blocked_by_its_secret(object))
                .map_or(now, |(_, remembered)| remembered.not_before);
            self.look_now(vec![(key, lane)], now.max(not_before));
        }
    }

    /// Says that every watch has shown its first listing.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether every watch has shown its first listing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

fn is_blocked_by_its_secret(object: &KeyProtectKey) -> bool {
    let status = object.status.as_ref();
    matches!(
        status.and_then(status::ready_reason),
        Some(
            Reason::Pending
                | Reason::SecretNotOwned
                | Reason::SecretImmutable
                | Reason::SecretRejected
        )
    )
}

#[cfg(test)]
impl Context {
    /// A context whose API server is nowhere.
    pub(crate) fn nowhere() -> Self {
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let settings = Settings {
            policy: Policy {
                grace: jiff::SignedDuration::from_mins(15),
                default_instance: ("n".to_owned(), "default".to_owned()),
                metadata_prefixes: Vec::new(),
            },
            fence: None,
            namespace: "elsewhere".to_owned(),
            credentials_dir: PathBuf::new(),
            default_credential: "default".to_owned(),
            allowed_hosts: AllowedHosts::default(),
            instance_name: "test".to_owned(),
        };
        Self::new(
            Client::try_from(config).unwrap(),
            settings,
            super::clock::now(),
        )
    }
}
