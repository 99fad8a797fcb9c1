//! Several replicas of the operator before a real API server: one leads, the others wait, and no
//! way of losing the lead undoes what a later leader wrote.
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real processes and measure how long they take"
)]

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::rows_process::{asked, between, counts, served};
use crate::scene::{INSTANCE, KEY, SECRET, Scene, base64, value};
use crate::seen::{data, version};
use crate::stage::{OPERATOR_NAMESPACE, Stage, answers_ok, spawn};

const NAME: &str = "key-protect-operator";
/// The default lease, and one whose end a test can wait for.
const LONG: u64 = 15;
const SHORT: u64 = 6;

/// One replica of the operator.
struct Replica {
    stage: &'static Stage,
    uid: String,
    child: Child,
    log: String,
    port: u16,
}

impl Replica {
    /// Starts one, and waits until its watches have shown their listings.
    fn start(stage: &'static Stage, uid: &str, lease: u64) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let log = format!("{uid}-{}.log", COUNT.fetch_add(1, Ordering::Relaxed));
        let (mut command, port) = stage.operator_command(&log);
        command.args(["--pod-uid", uid, "--lease-duration", &format!("{lease}s")]);
        let replica = Self {
            stage,
            uid: uid.to_owned(),
            child: spawn(command),
            log,
            port,
        };
        eventually("a replica is ready", || replica.is_ready());
        replica
    }

    fn is_ready(&self) -> bool {
        answers_ok(self.port, "/readyz")
    }

    fn identity(&self) -> String {
        format!("{NAME}_{}", self.uid)
    }

    fn log(&self) -> String {
        self.stage.log_named(&self.log)
    }

    /// Its audit lines.
    fn audit(&self) -> Vec<Value> {
        self.stage.audit_named(&self.log)
    }

    /// How far its log and its audit stream have come: bytes, and lines.
    fn so_far(&self) -> (usize, usize) {
        (self.log().len(), self.audit().len())
    }

    fn signal(&self, signal: &str) {
        let told = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(told.success());
    }

    /// Waits until the Lease names this replica.
    #[track_caller]
    fn until_leading(&self) -> Lease {
        until_lease(self.stage, "it leads", |lease| {
            holder(lease) == self.identity()
        })
    }

    /// Ends it by SIGKILL.
    fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }

    /// Ends it by SIGTERM.
    fn stop(mut self) {
        self.signal("TERM");
        let ended = self.child.wait().expect("its end");
        assert!(ended.success(), "{ended}");
    }

    /// Asserts that it never read a payload, nor looked at any object, since its log and its audit
    /// stream had come so far. Of so many payloads whose requests had been sent before then it may
    /// say what became of them.
    #[track_caller]
    fn did_nothing_since(&self, (bytes, lines): (usize, usize), read: usize) {
        let audit = self.audit();
        let audit = &audit[lines..];
        let reads = audit.iter().filter(|line| line["action"] == "ReadPayload");
        assert!(
            reads.count() == audit.len() && audit.len() <= read,
            "{audit:?}"
        );
        let log = self.log();
        for line in log.get(bytes..).unwrap_or_default().lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let target = line["target"].as_str().unwrap_or_default();
            let acts = ["controller::execute", "controller::reconcile"];
            assert!(!acts.iter().any(|word| target.contains(word)), "{line}");
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One cluster for these tests, which take turns: there is one Lease in it.
struct Turn {
    stage: &'static Stage,
    _turn: MutexGuard<'static, ()>,
}

/// Tests that take a turn: the last one ends the cluster.
const TURNS: usize = 6;

impl Turn {
    fn take() -> Option<Self> {
        static STAGE: OnceLock<Option<&'static Stage>> = OnceLock::new();
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = (*STAGE.get_or_init(|| Stage::empty("replicas")))?;
        // What the one before left has no service any more, and would be looked at all the same.
        let left = "keyprotectkeys,keyprotectinstances";
        let cluster = stage.cluster;
        cluster.kubectl_ok(&["delete", left, "--all", "--all-namespaces"], "");
        Some(Self { stage, _turn: turn })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        if TAKEN.fetch_add(1, Ordering::SeqCst) + 1 == TURNS {
            self.stage.strike();
        }
    }
}

fn holder(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

fn acquired(lease: &Lease) -> jiff::Timestamp {
    let spec = lease.spec.as_ref().expect("a spec");
    spec.acquire_time.as_ref().expect("a time").0
}

fn transitions(lease: &Lease) -> i32 {
    let spec = lease.spec.as_ref().expect("a spec");
    spec.lease_transitions.expect("a number")
}

/// Waits, on a watch, until the Lease is as asked.
#[track_caller]
fn until_lease(stage: &Stage, what: &str, holds: impl Fn(&Lease) -> bool) -> Lease {
    let api: Api<Lease> = Api::namespaced(stage.client.clone(), OPERATOR_NAMESPACE);
    let condition = |lease: Option<&Lease>| lease.is_some_and(&holds);
    let waited = stage.block_on(async {
        let waited = await_condition(api, NAME, condition);
        tokio::time::timeout(Duration::from_secs(40), waited).await
    });
    match waited {
        Ok(lease) => lease.expect("a watch").expect("the Lease"),
        Err(_) => panic!("not in time: {what}"),
    }
}

/// A Secret's name, and its data in one of its versions.
type Version = (String, BTreeMap<String, Vec<u8>>);

/// Every version of the Secrets in a namespace, as a watch shows them.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Version>>>);

impl Recorder {
    fn start(scene: &Scene) -> Self {
        let recorder = Self::default();
        let (api, versions) = (scene.api(SECRET), Arc::clone(&recorder.0));
        scene.stage.spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                if let Ok(Event::InitApply(secret) | Event::Apply(secret)) = event {
                    let secret = value(secret);
                    let name = secret["metadata"]["name"].as_str().expect("a name");
                    let version = (name.to_owned(), data(&secret));
                    versions.lock().expect("versions").push(version);
                }
            }
        });
        recorder
    }

    /// What the entry `key` of a Secret was, one version after the other.
    fn of(&self, name: &str) -> Vec<String> {
        let versions = self.0.lock().expect("versions");
        let of_it = versions.iter().filter(|(secret, _)| secret == name);
        of_it
            .map(|(_, data)| String::from_utf8_lossy(&data["key"]).into_owned())
            .collect()
    }

    #[track_caller]
    fn until(&self, name: &str, payload: &str) {
        eventually(&format!("{name} is {payload}"), || {
            self.of(name).last().is_some_and(|last| last == payload)
        });
    }
}

#[test]
fn one_replica_leads_and_another_asks_nothing_and_writes_nothing_until_it_takes_over() {
    let Some(turn) = Turn::take() else { return };
    let stage = turn.stage;
    let scene = stage.scene("standby");
    scene.alias("orders-db", "payload");
    let first = Replica::start(stage, "first", LONG);
    first.until_leading();
    let second = Replica::start(stage, "second", LONG);
    eventually("it stands by", || second.log().contains("stands by"));
    scene.until_instance("Ready", "Available");

    // All that is asked of anybody is what one operator asks.
    let before = asked(stage);
    scene.create(KEY, "orders-db", scene_object(&scene));
    scene.until_synced("orders-db");
    scene.until(INSTANCE, &scene.instance, "its keys", |instance| {
        instance["status"]["keysInUse"] == 1
    });
    scene.patch(SECRET, "orders-db", &json!({"data": {"key": base64(b"x")}}));
    scene.until(SECRET, "orders-db", "the edit is undone", |secret| {
        data(secret)["key"] == b"payload"
    });
    scene.until_event("orders-db", "Restored");
    let expected = [
        ("POST keyprotectkeys", 1),
        ("POST secrets", 1),
        // The second says which version of the Secret is the right one now.
        ("PUT keyprotectkeys/status", 2),
        ("PATCH secrets", 1),
        ("PUT secrets", 1),
        ("POST events", 1),
    ];
    let mut rose = between(&before, &asked(stage));
    // This test's own looks.
    rose.retain(|what, _| !what.starts_with("LIST") && !what.starts_with("GET"));
    assert_eq!(rose, counts(&expected));
    let mut upstream = served(&scene, 0);
    upstream.sort();
    assert_eq!(upstream, ["get", "get", "list", "token"]);
    second.did_nothing_since((0, 0), 0);
    assert!(second.is_ready(), "a standby is ready");

    // Told to stop while a look hangs, the leader lets the other one take over all the same.
    scene.alias("hangs", "late");
    scene.fault(json!({"match": {"operation": "get"}, "effect": {"delayMs": 60_000}}));
    let journal = scene.emulator.last_request();
    scene.object("hangs", json!({}));
    scene.until_served("metadata", journal, 20);
    let old = scene.get(SECRET, "orders-db");
    let before = asked(stage);
    let told = Instant::now();
    first.signal("TERM");
    second.until_leading();
    let mut took = vec![told.elapsed()];
    scene.heal();
    scene.until_synced("hangs");
    first.stop();
    // What was in sync was neither read nor written.
    let mut rose = between(&before, &asked(stage));
    rose.retain(|what, _| !what.starts_with("LIST") && !what.starts_with("GET"));
    let expected = [("POST secrets", 1), ("PUT keyprotectkeys/status", 1)];
    assert_eq!(rose, counts(&expected));
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&old));

    let third = Replica::start(stage, "third", LONG);
    let told = Instant::now();
    second.signal("TERM");
    let lease = third.until_leading();
    took.push(told.elapsed());
    assert!(transitions(&lease) >= 2);
    // No lease was waited for; and the machine was not busy both times.
    let longest = Duration::from_secs(LONG / 2);
    assert!(took.iter().all(|took| *took < longest), "{took:?}");
    let at_once = Duration::from_secs(2);
    assert!(took.iter().any(|took| *took < at_once), "{took:?}");
    second.stop();
    third.stop();
    // Nobody leads, and says so.
    until_lease(stage, "nobody leads", |lease| holder(lease).is_empty());
}

#[test]
fn after_a_crash_another_replica_leads_within_the_lease() {
    let Some(turn) = Turn::take() else { return };
    let stage = turn.stage;
    let scene = stage.scene("crash");
    scene.alias("orders-db", "payload");
    let first = Replica::start(stage, "crash-1", SHORT);
    first.until_leading();
    scene.synced_object("orders-db", json!({}));
    let second = Replica::start(stage, "crash-2", SHORT);
    eventually("it stands by", || second.log().contains("stands by"));
    let killed = Instant::now();
    first.kill();
    second.until_leading();
    let took = killed.elapsed();
    // Counted from the last renewal, which was a moment before, and never before the leader's own
    // deadline.
    assert!(took > Duration::from_secs(SHORT / 2), "{took:?}");
    assert!(took < Duration::from_secs(2 * SHORT), "{took:?}");
    scene.delete(SECRET, "orders-db");
    scene.until(
        SECRET,
        "orders-db",
        "the new leader restores it",
        |secret| data(secret)["key"] == b"payload",
    );
    second.stop();
}

#[test]
fn a_container_that_is_restarted_in_its_pod_leads_on_at_once() {
    let Some(turn) = Turn::take() else { return };
    let stage = turn.stage;
    let first = Replica::start(stage, "pod", LONG);
    let before = first.until_leading();
    first.kill();
    let begun = Instant::now();
    let again = Replica::start(stage, "pod", LONG);
    let after = until_lease(stage, "a new term", |lease| {
        holder(lease) == again.identity() && acquired(lease) > acquired(&before)
    });
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(LONG - 5), "{took:?}");
    assert_eq!(transitions(&after), transitions(&before));
    again.stop();
}

#[test]
fn a_leader_that_was_stopped_and_wakes_late_undoes_nothing_and_stands_by() {
    let Some(turn) = Turn::take() else { return };
    let stage = turn.stage;
    let scene = stage.scene("late");
    for name in ["orders-db", "restored"] {
        scene.alias(name, "first");
    }
    let first = Replica::start(stage, "late-1", SHORT);
    first.until_leading();
    let versions = Recorder::start(&scene);
    for name in ["orders-db", "restored"] {
        scene.synced_object(name, json!({}));
        versions.until(name, "first");
    }
    let second = Replica::start(stage, "late-2", SHORT);
    eventually("it stands by", || second.log().contains("stands by"));
    // One look is under way: the answer with its payload waits for whoever asked.
    scene.alias("under-way", "first");
    scene.fault(json!({"match": {"operation": "get"}, "effect": {"delayMs": 1_000}}));
    let journal = scene.emulator.last_request();
    scene.object("under-way", json!({}));
    scene.until_served("metadata", journal, 20);
    first.signal("STOP");
    second.until_leading();
    scene.heal();

    // Another leads, and the keys move.
    let new = scene.key(json!({"name": "new", "payload": base64(b"second")}));
    for name in ["orders-db", "restored", "under-way"] {
        scene.move_alias(name, &new);
        scene.sync(name);
        versions.until(name, "second");
    }
    scene.delete(SECRET, "restored");
    let count = versions.of("restored").len();
    eventually("it is restored", || versions.of("restored").len() > count);
    let settled = ["orders-db", "restored", "under-way"]
        .map(|name| (name, scene.get(SECRET, name), scene.get(KEY, name)));

    // The old one wakes: its watches bring it up to date, beside a listing of before.
    let logged = first.so_far();
    first.signal("CONT");
    eventually("it stands by", || {
        let log = first.log();
        let since = log.get(logged.0..).unwrap_or_default();
        since.contains("does not lead any more") && since.contains("stands by")
    });
    eventually("it is ready", || first.is_ready());
    // What happens from here on is one leader's to see, the new one.
    scene.patch(SECRET, "orders-db", &json!({"data": {"key": base64(b"x")}}));
    versions.until("orders-db", "second");
    scene.sync("under-way");
    first.did_nothing_since(logged, 1);
    second.until_leading();
    for (name, secret, object) in settled {
        let payloads = versions.of(name);
        let moved = payloads.iter().position(|payload| payload == "second");
        let after = &payloads[moved.expect("it moved")..];
        assert!(!after.contains(&"first".to_owned()), "{name}: {payloads:?}");
        assert_eq!(scene.data(name)["key"], b"second");
        let now = scene.get(KEY, name);
        assert_eq!(now["status"]["keys"][0]["id"], json!(new));
        if name == "restored" {
            assert_eq!(version(&scene.get(SECRET, name)), version(&secret));
            assert_eq!(version(&now), version(&object));
        }
    }

    // And when its time comes again, it leads with what is so.
    let third = scene.key(json!({"name": "third", "payload": base64(b"third")}));
    scene.move_alias("orders-db", &third);
    second.stop();
    first.until_leading();
    versions.until("orders-db", "third");
    first.stop();
}

#[test]
fn a_leader_that_loses_the_api_server_for_longer_than_its_lease_stands_by_and_leads_again() {
    let Some(turn) = Turn::take() else { return };
    let stage = turn.stage;
    let scene = stage.scene("lapse");
    scene.alias("orders-db", "first");
    let only = Replica::start(stage, "lapse", SHORT);
    let before = only.until_leading();
    scene.synced_object("orders-db", json!({}));
    stage.cluster.order("stop", "apiserver");
    let logged = only.log().len();
    eventually("it gives up", || {
        let log = only.log();
        log.get(logged..)
            .is_some_and(|log| log.contains("could not be renewed in time"))
    });
    assert!(only.is_ready(), "it goes on");
    // The key moves meanwhile, which only a new listing shows.
    let new = scene.key(json!({"name": "new", "payload": base64(b"second")}));
    scene.move_alias("orders-db", &new);
    stage.cluster.order("start", "apiserver");
    eventually("the API server is back", || {
        stage.cluster.kubectl(&["get", "--raw", "/readyz"], "").ok
    });
    let after = until_lease(stage, "a new term", |lease| {
        holder(lease) == only.identity() && acquired(lease) > acquired(&before)
    });
    assert_eq!(transitions(&after), transitions(&before));
    scene.until(SECRET, "orders-db", "it is listed anew", |secret| {
        data(secret)["key"] == b"second"
    });
    only.stop();
}

#[test]
fn a_lease_that_somebody_deletes_is_made_anew_by_whoever_led() {
    let Some(turn) = Turn::take() else { return };
    let stage = turn.stage;
    let scene = stage.scene("deleted");
    scene.alias("orders-db", "payload");
    let first = Replica::start(stage, "deleted-1", LONG);
    first.until_leading();
    let second = Replica::start(stage, "deleted-2", LONG);
    eventually("it stands by", || second.log().contains("stands by"));
    stage
        .cluster
        .kubectl_ok(&["delete", "lease", "-n", OPERATOR_NAMESPACE, NAME], "");
    first.until_leading();
    scene.synced_object("orders-db", json!({}));
    second.did_nothing_since((0, 0), 0);
    // One whose holder somebody took out goes to whoever is the first to see it.
    let emptied = json!({"spec": {"holderIdentity": ""}}).to_string();
    let patch = [
        "patch",
        "lease",
        "-n",
        OPERATOR_NAMESPACE,
        NAME,
        "--type=merge",
        "-p",
        &emptied,
    ];
    stage.cluster.kubectl_ok(&patch, "");
    until_lease(stage, "one of them leads", |lease| {
        !holder(lease).is_empty()
    });
    scene.delete(SECRET, "orders-db");
    scene.until(SECRET, "orders-db", "it is restored", |secret| {
        data(secret)["key"] == b"payload"
    });
    second.stop();
    first.stop();
}

/// An object that names the scene's instance, and nothing else.
fn scene_object(scene: &Scene) -> Value {
    json!({"spec": {"instanceRef": {"name": scene.instance, "namespace": OPERATOR_NAMESPACE}}})
}
