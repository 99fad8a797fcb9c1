//! Nothing is lost on a service that is down, slow, or lies: every Secret stays as it is, a key
//! that holds a good value stays Ready, the instance says what is wrong, and all recovers by
//! itself.

use key_protect_emulator::control::types::Failover;
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::scene::{INSTANCE, KEY, SECRET, Scene, base64};
use crate::seen::{Said, condition, version};
use crate::stage::Stage;

/// Two synced objects, one by alias and one by ID.
struct Held {
    scene: Scene,
    before: Vec<(&'static str, Value, Value)>,
}

impl Held {
    fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    fn with(name: &str, prepare: impl FnOnce(&Scene)) -> Self {
        let scene = Stage::shared().scene_prepared(name, prepare);
        scene.alias("orders-db", "kept");
        let id = scene.alias("other", "kept too");
        scene.synced_object("orders-db", json!({}));
        scene.synced_object("by-id", json!({"key": {"id": id}}));
        scene.until_instance("Ready", "Available");
        let before = ["orders-db", "by-id"]
            .map(|name| (name, scene.get(KEY, name), scene.get(SECRET, name)))
            .to_vec();
        Self { scene, before }
    }

    /// Asks every object and the instance for a look, waits until each object was looked at, and
    /// until the instance tells why; asserts that nothing was touched.
    fn fails_safely(&self, reason: &str) -> Said {
        let scene = &self.scene;
        let logged = scene.stage.log().len();
        scene.ask(INSTANCE, &scene.instance);
        let said = scene.until_instance("Ready", reason);
        assert_eq!(said.status, "False");
        for (name, ..) in &self.before {
            scene.ask(KEY, name);
            scene.until_looked_at(name, logged);
        }
        self.unchanged();
        said.tells(&["Secrets keep their last values"]);
        said
    }

    fn unchanged(&self) {
        for (name, object, secret) in &self.before {
            let now = self.scene.get(SECRET, name);
            assert_eq!(version(&now), version(secret), "Secret {name}");
            let now = self.scene.get(KEY, name);
            assert_eq!(condition(&now, "Ready"), condition(object, "Ready"));
            assert_eq!(now["status"]["keys"], object["status"]["keys"]);
        }
    }

    /// Ends what is wrong, and asserts that all is as before.
    fn recovers(&self) {
        let scene = &self.scene;
        scene.heal();
        let stamp = scene.ask(INSTANCE, &scene.instance);
        scene.until_answered(INSTANCE, &scene.instance, &stamp);
        assert_eq!(scene.until_instance("Ready", "Available").status, "True");
        for (name, ..) in &self.before {
            scene.sync(name);
        }
        self.unchanged();
    }
}

fn survives(name: &str, fault: Value, reason: &str, words: &[&str]) {
    let held = Held::new(name);
    held.scene.fault(fault);
    held.fails_safely(reason).tells(words);
    held.recovers();
}

const CALLS: [&str; 3] = ["list", "metadata", "get"];

#[test]
fn a_service_that_is_down_changes_nothing() {
    let fault = json!({"match": {"operation": CALLS}, "effect": {"status": 503, "retryAfter": 1}});
    survives(
        "down",
        fault,
        "ServiceError",
        &["list keys: the service failed", "correlation ID"],
    );
}

#[test]
fn throttling_changes_nothing() {
    let fault = json!({"match": {"operation": CALLS}, "effect": {"status": 429, "retryAfter": 1}});
    survives(
        "throttled",
        fault,
        "Throttled",
        &["asks for fewer requests"],
    );
}

#[test]
fn a_gateways_page_changes_nothing() {
    let fault = json!({"match": {"operation": CALLS}, "effect": {"body": "html"}});
    survives("html", fault, "ServiceError", &[]);
}

#[test]
fn half_an_answer_changes_nothing() {
    let fault = json!({"match": {"operation": CALLS}, "effect": {"body": "truncatedJson"}});
    survives("truncated", fault, "ServiceError", &[]);
}

#[test]
fn cut_connections_change_nothing() {
    let fault = json!({"match": {"operation": CALLS}, "effect": {"cut": "connection"}});
    survives("cut", fault, "Unreachable", &["127.0.1."]);
}

#[test]
fn four_hundred_and_one_to_everything_changes_nothing() {
    let fault = json!({"match": {"operation": CALLS}, "effect": {"status": 401}});
    let words = ["role", "instance ID and region", "context-based rules"];
    survives("denied", fault, "AccessDenied", &words);
}

/// The service's own instance ended, or its ID is wrong: no evidence about any key.
#[test]
fn an_instance_that_the_service_does_not_know_changes_nothing() {
    for (name, answer, reason) in [
        ("gone", 404, "ServiceError"),
        ("gone-401", 401, "AccessDenied"),
    ] {
        let held = Held::new(name);
        let (emulator, guid) = (&held.scene.emulator, &held.scene.guid);
        emulator.take_snapshot(guid, "before").expect("a snapshot");
        held.scene.modes(json!({"unknownInstance": answer}));
        emulator.delete_instance(guid).expect("no instance");
        held.fails_safely(reason);
        emulator
            .restore_snapshot(guid, "before")
            .expect("the instance");
        held.recovers();
    }
}

/// Key Protect Dedicated before its crypto units are initialised, or after.
#[test]
fn a_service_without_a_crypto_unit_changes_nothing() {
    let held = Held::new("no-crypto-unit");
    held.scene.modes(json!({"cryptoUnitUninitialized": true}));
    held.fails_safely("ServiceError");
    held.recovers();
}

/// For hours after a failover to another region nothing can be changed there, only read.
#[test]
fn a_service_that_is_read_only_is_read_as_ever() {
    let held = Held::new("read-only");
    held.scene.modes(json!({"readOnly": true}));
    held.scene.sync_instance();
    for (name, ..) in &held.before {
        held.scene.sync(name);
    }
    held.unchanged();
    held.recovers();
}

/// Another region's copy is older than what Secrets hold: an alias means what it meant then, and
/// keys that were made since are not there. Nobody believes it at once, and a key's absence takes
/// no value away.
#[test]
fn a_failover_to_an_old_copy_is_waited_out() {
    let scene = Stage::shared().scene("failover");
    scene.modes(json!({"historySeconds": 3600}));
    let older = scene.alias("moved", "older");
    scene.emulator.set_clock_offset(600);
    let newer = scene.key(json!({"name": "newer", "payload": base64(b"newer")}));
    scene.move_alias("moved", &newer);
    scene.synced_object("moved", json!({}));
    scene.synced_object("by-id", json!({"key": {"id": newer}}));
    let secrets = ["moved", "by-id"].map(|name| (name, scene.get(SECRET, name)));
    let unchanged = |(name, secret): &(&str, Value)| {
        assert_eq!(version(&scene.get(SECRET, name)), version(secret), "{name}");
    };
    let (emulator, guid) = (&scene.emulator, &scene.guid);
    emulator.take_snapshot(guid, "newest").expect("a snapshot");
    emulator.set_clock_offset(900);
    let failover = Failover {
        age_seconds: 600,
        read_only_seconds: 3600,
    };
    emulator.fail_over(guid, failover).expect("an old copy");
    scene.sync_instance();
    let said = scene.until_reason("moved", "AliasWentBack");
    unchanged(&secrets[0]);
    assert_eq!(said.status, "True");
    said.tells(&[&older, &newer]);
    scene.ask(KEY, "by-id");
    scene.until_reason("by-id", "KeyDeleted").tells(&[
        &newer,
        "not found since",
        "keeps its last value",
    ]);
    unchanged(&secrets[1]);
    emulator
        .restore_snapshot(guid, "newest")
        .expect("all of it");
    scene.sync_instance();
    for name in ["moved", "by-id"] {
        scene.sync(name);
        scene.until_synced(name);
        assert_eq!(scene.data(name)["key"], b"newer");
    }
    unchanged(&secrets[1]);
}

/// The object that names the instance is deleted and made again.
#[test]
fn a_deleted_key_protect_instance_takes_no_secret_along() {
    let held = Held::new("no-instance");
    let scene = &held.scene;
    scene.delete(INSTANCE, &scene.instance);
    for (name, _, secret) in &held.before {
        let said = scene.until_reason(name, "KeyNotAvailable");
        said.tells(&["no such instance", "ask the instance's owner"]);
        assert_eq!(version(&scene.get(SECRET, name)), version(secret));
    }
    let journal = scene.emulator.last_request();
    scene.apply_instance(crate::scene::open_to_all());
    for (name, ..) in &held.before {
        scene.until_synced(name);
    }
    held.unchanged();
    assert!(scene.served_since("get", journal).is_empty());
}

/// Until the token has run out, the outage is not even noticed.
#[test]
fn an_outage_of_iam_changes_nothing() {
    let held = Held::with("iam", |scene| scene.emulator.set_token_lifetime(2));
    held.scene
        .fault(json!({"match": {"operation": "token"}, "effect": {"status": 503}}));
    // A look that comes while the token still lives is answered.
    eventually("the outage is noticed", || {
        let scene = &held.scene;
        scene.ask(INSTANCE, &scene.instance);
        let instance = scene.get(INSTANCE, &scene.instance);
        condition(&instance, "Ready").is_some_and(|said| said.reason == "ServiceError")
    });
    held.fails_safely("ServiceError").tells(&["IAM token"]);
    held.recovers();
}

#[test]
fn a_certificate_of_another_authority_changes_nothing_and_is_named() {
    let held = Held::new("tls");
    let other = held.scene.stage.emulator("another");
    let url = held.scene.emulator.api_url();
    let all = json!([{"namespaces": {"from": "All"}}]);
    let endpoint = json!({"url": url, "iamURL": url, "caBundle": other.ca_pem()});
    held.scene
        .apply_instance(json!({"access": all, "endpoint": endpoint}));
    held.fails_safely("Unreachable")
        .tells(&["certificate cannot be verified", "spec.endpoint.caBundle"]);
    held.scene.apply_instance(json!({"access": all}));
    held.recovers();
}

/// Lists that lie are no evidence: what they do not show is asked for by itself.
#[test]
fn lists_that_are_empty_or_lose_half_of_the_keys_change_nothing() {
    let held = Held::new("lies");
    for lie in ["listEmpty", "listHalf", "listDisagrees"] {
        held.scene.modes(json!({lie: true}));
        for _ in 0..2 {
            held.scene.sync_instance();
            for (name, ..) in &held.before {
                held.scene.sync(name);
            }
        }
        held.unchanged();
    }
    assert!(!held.scene.served("metadata").is_empty());
    held.recovers();
}

/// A name cannot be asked for singly, but the key that had it can.
#[test]
fn a_name_that_lists_hide_for_longer_than_the_grace_keeps_its_key() {
    let scene = Stage::shared().scene("hidden-name");
    let key = json!({"name": "orders", "keyRing": "payments"});
    let old = scene.key(
        json!({"name": "orders", "keyRing": "payments", "creationDate": "2026-01-01T00:00:00Z"}),
    );
    let new = scene.key(key.clone());
    scene.synced_object("orders", json!({"key": key}));
    let before = scene.get(SECRET, "orders");
    assert_eq!(
        scene.get(KEY, "orders")["status"]["keys"][0]["id"],
        json!(new)
    );
    for hidden in [vec![&new], vec![&old, &new]] {
        scene.modes(json!({"listOmitKeys": hidden}));
        scene.sync_instance();
        for _ in 0..3 {
            let object = scene.sync("orders");
            assert_eq!(
                condition(&object, "Ready")
                    .map(|ready| ready.reason)
                    .as_deref(),
                Some("Synced")
            );
        }
    }
    assert_eq!(version(&scene.get(SECRET, "orders")), version(&before));
}

/// A key that never synced says what is wrong, and by itself goes on when it is over.
#[test]
fn a_key_that_never_synced_tells_of_the_outage_and_goes_on_by_itself() {
    let scene = Stage::shared().scene("never");
    scene.until_instance("Ready", "Available");
    scene.fault(json!({"effect": {"status": 503}}));
    scene.sync_instance_fails("ServiceError");
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "ServiceError");
    assert_eq!(said.status, "False");
    said.tells(&[
        "cannot be read now: ",
        "the service failed",
        "tried again at growing intervals of up to 5 minutes",
        "correlation ID",
    ]);
    assert!(scene.find(SECRET, "orders-db").is_none());
    scene.until_event("orders-db", "ServiceError");
    scene.alias("orders-db", "late");
    scene.heal();
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"late");
}

impl Scene {
    fn sync_instance_fails(&self, reason: &str) -> Said {
        self.ask(INSTANCE, &self.instance);
        self.until_instance("Ready", reason)
    }
}
