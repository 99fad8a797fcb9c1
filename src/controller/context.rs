//! What looks at objects share: the world, the queue, the connections, the way to the cluster.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::sync::{Notify, watch};

use super::audit;
use super::clock::Heartbeat;
use super::connection::Connection;
use super::fence::Fence;
use super::forced::Forced;
use super::installed::Installed;
use super::leadership::{Leadership, NotLeading, Term};
use super::lock;
use super::queue::{ObjectKey, Queue};
use super::turns::Standing;
use super::world::{Concerned, World};
use super::writes::{Permit, Writes};
use crate::api::{KeyProtectKey, Reason};
use crate::cluster::events::Announcer;
use crate::domain::account::Account;
use crate::domain::form::{Form, Scope};
use crate::domain::look::observed::Policy;
use crate::domain::service::endpoint::AllowedHosts;
use crate::domain::status;
use crate::metrics::Metrics;

/// Writes towards the API server in flight at once: more make each of them slower, and none faster.
const WRITES: usize = 8;

/// Settings of the controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What decisions depend on.
    pub policy: Policy,
    /// How many KeyProtectKeys of a namespace are served.
    pub max_keys_per_namespace: usize,
    /// The namespaces that are served.
    pub scope: Scope,
    /// How often it is tried whether the fence holds; nothing where there need not be one.
    pub fence: Option<Duration>,
    /// How often it is asked whether a Secret is as it was written, in the form without the right to
    /// read Secrets.
    pub drift_interval: SignedDuration,
    /// The operator's own namespace: only instances there may use mounted API keys.
    pub namespace: String,
    /// Folder of the mounted API keys.
    pub credentials_dir: PathBuf,
    /// File of the ServiceAccount token that trusted profiles are had for.
    pub service_account_token_file: PathBuf,
    /// The mounted API key of instances that name none.
    pub default_credential: String,
    /// Hosts that an admin allows beside IBM Cloud's own.
    pub allowed_hosts: AllowedHosts,
    /// The operator's name in Events (the Pod's).
    pub instance_name: String,
    /// Who this process is among several replicas: the same for every container of one Pod.
    pub identity: String,
    /// How long other replicas wait for a leader that says nothing.
    pub lease_duration: Duration,
}

/// What looks share.
pub struct Context {
    /// The way to the cluster.
    pub client: Client,
    /// What is counted.
    pub metrics: Metrics,
    /// Where it is written down what was read and written, for whom and why.
    pub audit: Arc<dyn audit::Sink>,
    /// When the operator was started.
    pub started: Timestamp,
    /// Settings.
    pub settings: Settings,
    /// Events.
    pub announcer: Announcer,
    /// Whether the fence holds.
    pub fence: Fence,
    /// Who the operator is, and what it may do.
    pub(super) installed: Installed,
    /// Who leads.
    pub leadership: Leadership,
    writes: Writes,
    world: Mutex<World>,
    queue: Mutex<Queue>,
    connections: Mutex<HashMap<ObjectKey, Arc<Connection>>>,
    forced: Mutex<Forced>,
    /// Wakes the dispatcher.
    pub wake: Notify,
    /// The dispatcher's sign of life.
    pub heartbeat: Heartbeat,
    ready: watch::Sender<bool>,
}

/// Lets one write go out, in a term.
pub struct WritePermit<'a> {
    term: &'a Term,
    _permit: Permit,
}

impl WritePermit<'_> {
    /// Whether the write may still go out, after something else that took time.
    ///
    /// # Errors
    /// The term is over.
    pub fn still_good(&self) -> Result<(), NotLeading> {
        if self.term.is_good() {
            Ok(())
        } else {
            Err(NotLeading)
        }
    }
}

impl Context {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(
        client: Client,
        metrics: Metrics,
        audit: Arc<dyn audit::Sink>,
        settings: Settings,
        started: Timestamp,
    ) -> Self {
        Self {
            metrics,
            audit,
            started,
            announcer: Announcer::new(client.clone(), settings.instance_name.clone()),
            fence: Fence::new(settings.fence.is_some()),
            installed: Installed::default(),
            world: Mutex::new(World::new(
                settings.policy.default_instance.clone(),
                settings.max_keys_per_namespace,
                started,
            )),
            queue: Mutex::default(),
            connections: Mutex::default(),
            forced: Mutex::default(),
            leadership: Leadership::default(),
            writes: Writes::new(WRITES),
            wake: Notify::new(),
            heartbeat: Heartbeat::start(),
            ready: watch::Sender::new(false),
            client,
            settings,
        }
    }

    /// The form in which the operator was installed: whether it reads Secrets, and where it works.
    pub fn form(&self) -> &Form {
        self.installed.form()
    }

    /// Whom the API server takes the operator for; nothing before that is known.
    pub fn account(&self) -> Option<&Account> {
        self.installed.account()
    }

    /// Why the operator cannot begin yet, where that is so.
    pub fn problem(&self) -> Option<String> {
        self.fence.problem().or_else(|| self.installed.problem())
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

    /// Waits for leave to write something that was decided in a term. Every write passes here,
    /// just before it goes out.
    ///
    /// # Errors
    /// The term is over: what was decided in it is not written.
    pub async fn permit_to_write<'a>(
        &'a self,
        term: &'a Term,
        namespace: &str,
        standing: Standing,
    ) -> Result<WritePermit<'a>, NotLeading> {
        let permit = self.writes.acquire(namespace, standing).await;
        term.settled().await?;
        Ok(WritePermit {
            term,
            _permit: permit,
        })
    }

    /// Begins a term: with what the watches show, and nothing that was learnt or planned in an
    /// earlier one. A process that was stopped while another led may have fresh watches beside an
    /// old listing.
    pub(super) fn begin_term(&self, term: &Term, now: Timestamp) {
        self.forget_connections();
        *self.queue() = Queue::default();
        self.world().forget_looks(now);
        // From here on, what the watches bring is looked at.
        self.leadership.act(term);
        let everything = self.world().everything();
        self.look_now(everything, now);
    }

    /// Forgets tokens, listings and whatever was read.
    pub(super) fn forget_connections(&self) {
        self.connections().clear();
    }

    /// Asks for a look at each of these now: something changed that a back-off knows nothing of.
    /// A standby looks at nothing; it looks at everything when it leads.
    pub fn look_now(&self, concerned: Concerned, now: Timestamp) {
        if concerned.is_empty() || !self.leadership.is_acting() {
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
            let not_before = self.not_before(&key).unwrap_or(now);
            self.look_now(vec![(key, lane)], now.max(not_before));
        }
    }

    /// When the back-off of an object allows a look for its Secret's sake; any time, where there is
    /// none, or the Secret itself was what stood in the way.
    fn not_before(&self, key: &ObjectKey) -> Option<Timestamp> {
        let world = self.world();
        let known = world.known(key)?;
        let not_before = known.remembered.as_ref()?.not_before;
        let object = known.held.object(key)?;
        (!is_blocked_by_its_secret(&object)).then_some(not_before)
    }

    /// Says that every watch has shown its first listing.
    pub fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Whether every watch has shown its first listing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until every watch has shown its first listing.
    pub async fn until_ready(&self) {
        drop(self.ready.subscribe().wait_for(|ready| *ready).await);
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

/// An audit stream that nobody reads.
#[cfg(test)]
#[derive(Debug)]
struct Unwritten;

#[cfg(test)]
impl audit::Sink for Unwritten {
    fn write(&self, _: &crate::domain::audit::Line<'_>) {}
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
            max_keys_per_namespace: 1000,
            scope: Scope::Cluster,
            fence: None,
            drift_interval: SignedDuration::from_mins(10),
            namespace: "elsewhere".to_owned(),
            credentials_dir: PathBuf::new(),
            service_account_token_file: PathBuf::new(),
            default_credential: "default".to_owned(),
            allowed_hosts: AllowedHosts::default(),
            instance_name: "test".to_owned(),
            identity: "test".to_owned(),
            lease_duration: Duration::from_secs(15),
        };
        Self::new(
            Client::try_from(config).unwrap(),
            Metrics::default(),
            Arc::new(Unwritten),
            settings,
            super::clock::now(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::controller::clock::now;
    use serde_json::json;

    fn object(name: &str) -> KeyProtectKey {
        serde_json::from_value(json!({
            "apiVersion": "keyprotect.dev/v1alpha1",
            "kind": "KeyProtectKey",
            "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "1"},
            "spec": {},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_standby_looks_at_nothing_and_a_term_begins_with_everything_and_no_old_listing() {
        let context = Context::nowhere();
        let shows = |name: &str| {
            let concerned = context.world().key_applied(object(name));
            context.look_now(concerned, now());
        };
        let connect = || {
            let unusable = Err((Reason::Unreachable, String::new()));
            let connection = Connection::new("u".to_owned(), Some(1), unusable);
            let key = ObjectKey::new("n", "default");
            context.connections().insert(key, Arc::new(connection));
        };
        shows("a");
        connect();
        assert_eq!(context.queue().next_due(), None);
        for _ in 0..2 {
            let term = context.leadership.win();
            context.begin_term(&term, now());
            assert!(context.connections().is_empty());
            let mut waiting = Vec::new();
            let pop = || {
                context
                    .queue()
                    .pop(now(), |_| ObjectKey::new("n", "default"))
            };
            while let Some((key, _)) = pop() {
                waiting.push(key.name);
            }
            waiting.sort();
            assert_eq!(waiting, ["a"]);
            connect();
            context.leadership.rest();
        }
        let term = context.leadership.win();
        context.begin_term(&term, now());
        shows("b");
        assert!(context.queue().next_due().is_some());
    }

    #[tokio::test]
    async fn what_was_decided_in_a_term_that_is_over_is_not_written_in_the_next() {
        let context = Context::nowhere();
        let permit = async |term| {
            let permit = context.permit_to_write(term, "n", Standing::InCrowd).await;
            permit.map(|permit| permit.still_good())
        };
        let old = context.leadership.win();
        let held = context.permit_to_write(&old, "n", Standing::Alone).await;
        let held = held.ok().unwrap();
        assert_eq!(held.still_good(), Ok(()));
        context.leadership.lose();
        assert_eq!(held.still_good(), Err(NotLeading));
        let new = context.leadership.win();
        assert!(permit(&old).await.is_err());
        assert!(permit(&new).await.is_ok());
    }
}
