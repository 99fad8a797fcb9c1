//! How often the operator asks: together, when it was told to, and never in a storm.

use serde_json::json;

use crate::cluster::eventually;
use crate::scene::{INSTANCE, KEY, SECRET};
use crate::seen::version;
use crate::stage::{OPERATOR_NAMESPACE, Stage};

/// Those that need a newer answer than one under way wait for a new one together, and not for each
/// other round after round.
#[test]
fn a_read_that_is_too_old_for_many_is_made_anew_once_for_all() {
    let stage = Stage::shared();
    let scene = stage.scene_prepared("too-old", |scene| {
        scene.alias("shared-key", "payload");
        // So the alias is asked for singly.
        scene.modes(json!({"listOmitsAliases": true}));
    });
    let names: Vec<String> = (0..5).map(|n| format!("object-{n}")).collect();
    for name in &names {
        scene.synced_object(name, json!({"key": {"alias": "shared-key"}}));
    }
    let journal = scene.emulator.last_request();
    let slow = json!({"match": {"operation": "metadata"}, "effect": {"delayMs": 4000}});
    scene.fault(slow);
    let mut asked = vec![(&names[0], scene.ask(KEY, &names[0]))];
    // Its own read is sent after this, and answered seconds later.
    scene.until_served("list", journal, 10);
    asked.extend(names[1..].iter().map(|name| (name, scene.ask(KEY, name))));
    for (name, stamp) in asked {
        scene.until_answered(KEY, name, &stamp);
        scene.until_synced(name);
    }
    // Two; one more where the machine took a second for the requests above.
    let reads = scene.served_since("metadata", journal).len();
    assert!((2..names.len()).contains(&reads), "{reads}");
    let given_up = "a look did not come to an end";
    let of_these = |line: &&str| line.contains(given_up) && line.contains(&scene.namespace);
    assert_eq!(stage.log().lines().find(of_these), None);
}

#[test]
fn objects_that_want_one_key_at_once_share_one_listing_and_one_read() {
    let scene = Stage::shared().scene("shared");
    scene.until_instance("Ready", "Available");
    let id = scene.alias("orders-db", "payload");
    scene.fault(json!({"match": {"operation": "get"}, "effect": {"delayMs": 3000}}));
    let journal = scene.emulator.last_request();
    let names: Vec<String> = (0..12).map(|number| format!("object-{number}")).collect();
    for name in &names {
        scene.object(name, json!({"key": {"id": id}}));
    }
    for name in &names {
        scene.until_synced(name);
        assert_eq!(scene.data(name)["key"], b"payload");
    }
    assert_eq!(scene.served_since("get", journal).len(), 1);
    // The first few that miss the key's row ask for it singly, the rest of them list together.
    let reads = scene.served_since("metadata", journal).len();
    let lists = scene.served_since("list", journal).len();
    assert!(reads + lists < names.len(), "{reads} and {lists}");
}

/// However the two come into view.
#[test]
fn an_object_made_together_with_its_instance_is_not_told_that_there_is_none() {
    let scene = Stage::shared().bare_scene("together", "made-together");
    scene.alias("orders-db", "payload");
    scene.object("orders-db", json!({}));
    scene.apply_instance(crate::scene::open_to_all());
    scene.until_synced("orders-db");
    assert_eq!(scene.events("orders-db"), []);
}

/// The instance's own sync request overrides a back-off, but not what the service bade.
#[test]
fn a_retry_after_holds_for_the_whole_instance_whoever_asks() {
    let scene = Stage::shared().scene("bidden");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    scene.until_instance("Ready", "Available");
    let journal = scene.emulator.last_request();
    scene.fault(json!({
        "match": {"operation": "list"}, "times": 1,
        "effect": {"status": 429, "retryAfter": 8},
    }));
    scene.ask(INSTANCE, &scene.instance);
    scene.until_instance("Ready", "Throttled");
    let asked = scene.ask(INSTANCE, &scene.instance);
    let key_asked = scene.ask(KEY, "orders-db");
    scene.until_answered(INSTANCE, &scene.instance, &asked);
    scene.until_answered(KEY, "orders-db", &key_asked);
    let lists = scene.served_since("list", journal);
    let at = |number: usize| -> jiff::Timestamp { lists[number].at.parse().expect("a time") };
    assert_eq!(lists[0].status, Some(429));
    let waited = at(1).duration_since(at(0));
    assert!(waited >= jiff::SignedDuration::from_secs(8), "{waited:#}");
    assert!(lists.len() <= 3, "{lists:?}");
}

#[test]
fn refusals_bring_one_new_token_and_no_storm() {
    let scene = Stage::shared().scene("storm");
    let names: Vec<String> = (0..6).map(|number| format!("object-{number}")).collect();
    for name in &names {
        scene.alias(name, "payload");
        scene.object(name, json!({}));
    }
    for name in &names {
        scene.until_synced(name);
    }
    let journal = scene.emulator.last_request();
    let calls = json!({"operation": ["list", "metadata", "get"]});
    scene.fault(json!({"match": calls, "effect": {"status": 401}}));
    scene.ask(INSTANCE, &scene.instance);
    scene.until_instance("Ready", "AccessDenied");
    let logged = scene.stage.log().len();
    for name in &names {
        scene.ask(KEY, name);
    }
    for name in &names {
        scene.until_looked_at(name, logged);
    }
    assert!(scene.served_since("token", journal).len() <= 1);
    // With the first token and with the second one.
    assert!(scene.served_since("list", journal).len() <= 2);
    assert!(scene.served_since("metadata", journal).len() <= names.len());
    assert!(scene.served_since("get", journal).is_empty());
}

#[test]
fn a_secret_that_is_lost_during_an_outage_is_back_when_the_service_is() {
    let scene = Stage::shared().scene("lost");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    scene.until_instance("Ready", "Available");
    scene.fault(json!({"effect": {"status": 503}}));
    scene.ask(INSTANCE, &scene.instance);
    scene.until_instance("Ready", "ServiceError");
    scene.delete(SECRET, "orders-db");
    let said = scene.until_reason("orders-db", "ServiceError");
    assert_eq!(said.status, "False");
    said.tells(&["the service failed"]);
    scene.heal();
    scene.sync_instance();
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"payload");
}

#[test]
fn an_edit_during_an_outage_is_undone_when_the_service_is_back() {
    let scene = Stage::shared().scene("edited-down");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    scene.until_instance("Ready", "Available");
    scene.fault(json!({"effect": {"status": 503}}));
    scene.ask(INSTANCE, &scene.instance);
    scene.until_instance("Ready", "ServiceError");
    let edit = json!({"data": {"key": crate::scene::base64(b"tampered")}});
    scene.patch(SECRET, "orders-db", &edit);
    assert_eq!(
        scene.until_reason("orders-db", "ServiceError").status,
        "False"
    );
    scene.heal();
    scene.sync_instance();
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"payload");
}

#[test]
fn a_host_that_no_admin_allowed_is_not_called_and_the_flag_is_named() {
    let scene = Stage::shared().bare_scene("host", "host-not-allowed");
    scene.alias("orders-db", "payload");
    let endpoint = json!({"url": "https://keys.example.com", "iamURL": scene.emulator.api_url()});
    scene.apply_instance(json!({
        "access": [{"namespaces": {"from": "All"}}], "endpoint": endpoint,
    }));
    let said = scene.until_instance("Ready", "Unreachable");
    said.tells(&["keys.example.com", "--allowed-key-hosts"]);
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "Unreachable");
    said.tells(&["keys.example.com"]);
    assert!(scene.served("token").is_empty());
}

#[test]
fn an_object_that_names_another_instance_gets_that_instances_key() {
    let stage = Stage::shared();
    let (scene, other) = (stage.scene("one"), stage.scene("two"));
    scene.alias("orders-db", "of one");
    let id = other.alias("orders-db", "of two");
    scene.synced_object("orders-db", json!({}));
    let before = scene.get(SECRET, "orders-db");
    let named = json!({"name": other.instance, "namespace": OPERATOR_NAMESPACE});
    scene.apply(KEY, "orders-db", json!({"spec": {"instanceRef": named}}));
    let said = scene.until_synced("orders-db");
    said.tells(&[&other.instance, &id]);
    assert_eq!(scene.data("orders-db")["key"], b"of two");
    let after = scene.get(SECRET, "orders-db");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    eventually("both instances count their keys", || {
        let count = |name: &str| scene.get(INSTANCE, name)["status"]["keysInUse"].clone();
        count(&scene.instance) == 0 && count(&other.instance) == 1
    });
    let settled = scene.sync("orders-db");
    assert_eq!(settled["status"]["keys"][0]["id"], json!(id));
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&after));
}
