//! What many objects cost, and what they do to each other: one listing for all, one probe for
//! all, and nobody waits for somebody else's instance.

use jiff::{SignedDuration, Timestamp};
use key_protect_emulator::Served;
use serde_json::json;

use crate::cluster::eventually;
use crate::scene::{INSTANCE, SECRET, Scene, open_to_all};
use crate::stage::{OPERATOR_NAMESPACE, Stage};

/// Makes keys with an alias each, before anything is listed.
fn keys(scene: &Scene, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("object-{n}")).collect();
    for name in &names {
        scene.alias(name, "payload");
    }
    names
}

#[test]
fn a_refused_operation_is_not_tried_by_each_of_many_objects() {
    let stage = Stage::shared();
    let mut names = Vec::new();
    let scene = stage.scene_prepared("refused", |scene| {
        names = keys(scene, 40);
        // Metadata may be read, payloads may not.
        scene.role("Reader");
    });
    scene.until_instance("Ready", "Available");
    for name in &names {
        scene.object(name, json!({}));
    }
    for name in &names {
        scene.until_reason(name, "PayloadForbidden");
    }
    // What is in flight before the third refusal has come: each with the first token and, once
    // more, with a new one.
    let reads = scene.served("get").len();
    assert!(reads <= 20, "{reads} critical events for 40 objects");
    assert_eq!(scene.served("list").len(), 1);
}

#[test]
fn an_endpoint_that_answers_no_read_is_probed_once_a_step_and_all_recover_together() {
    let stage = Stage::shared();
    let mut names = Vec::new();
    let scene = stage.scene_prepared("dead", |scene| names = keys(scene, 40));
    scene.until_instance("Ready", "Available");
    let broken = json!({"match": {"operation": "get"}, "effect": {"status": 502}});
    scene.fault(broken);
    for name in &names {
        scene.object(name, json!({}));
    }
    for name in &names {
        scene.until_reason(name, "ServiceError");
    }
    let said = scene.until_instance("Ready", "ServiceError");
    said.tells(&["One request tries it for all"]);
    let reads = scene.served("get").len();
    assert!(reads <= 16, "{reads} reads for 40 objects");
    scene.heal();
    for name in &names {
        scene.until_synced(name);
    }
    scene.until_instance("Ready", "Available");
}

#[test]
fn few_keys_of_a_large_instance_are_read_one_by_one() {
    let stage = Stage::shared();
    let mut names = Vec::new();
    let scene = stage.scene_prepared("large", |scene| names = keys(scene, 170));
    let name = &names[3];
    scene.synced_object(name, json!({}));
    scene.sync_instance();
    eventually("the instance reads singly", || {
        scene.get(INSTANCE, &scene.instance)["status"]["catalogueMode"] == "Single"
    });
    let journal = scene.emulator.last_request();
    let id = scene.key(json!({"name": "newer", "payload": crate::scene::base64(b"newer")}));
    scene.move_alias(name, &id);
    scene.sync_instance();
    eventually("the Secret follows", || scene.data(name)["key"] == b"newer");
    assert!(scene.served_since("list", journal).is_empty());
    let reads = scene.served_since("metadata", journal).len();
    assert!((1..=2).contains(&reads), "{reads}");
    // A key that is named by name can be looked up in a listing only.
    let by_name = json!({"key": {"name": "newer", "keyRing": "default"}});
    scene.synced_object("by-name", by_name);
    assert_eq!(scene.data("by-name")["key"], b"newer");
    eventually("the instance lists again", || {
        scene.get(INSTANCE, &scene.instance)["status"]["catalogueMode"] == "List"
    });
}

#[test]
fn a_burst_of_new_objects_with_new_keys_costs_a_few_listings_and_not_a_read_each() {
    let scene = Stage::shared().scene("burst");
    scene.until_instance("Ready", "Available");
    let names = keys(&scene, 60);
    let journal = scene.emulator.last_request();
    for name in &names {
        scene.object(name, json!({}));
    }
    for name in &names {
        scene.until_synced(name);
    }
    let served = |operation| scene.served_since(operation, journal).len();
    assert_eq!(served("get"), 60);
    let (reads, lists) = (served("metadata"), served("list"));
    // Before each listing a few are read singly, so that one alone does not wait.
    assert!(reads + lists < 45, "{reads} reads and {lists} listings");
    assert!(lists >= 1);
}

#[test]
fn one_payload_is_read_once_for_all_objects_that_name_its_key() {
    let scene = Stage::shared().bare_scene("fan-out", "fan-out");
    scene.alias("shared-key", "payload");
    let names: Vec<String> = (0..150).map(|n| format!("object-{n}")).collect();
    for name in &names {
        scene.object(name, json!({"key": {"alias": "shared-key"}}));
    }
    // All of them have waited for it.
    scene.apply_instance(open_to_all());
    for name in &names {
        scene.until_synced(name);
    }
    // It is kept for five seconds and wiped, and a slow machine takes longer to write them all.
    let reads = scene.served("get");
    let read_at = |read: &Served| read.at.parse::<Timestamp>().expect("a time");
    for pair in reads.windows(2) {
        let apart = read_at(&pair[1]).duration_since(read_at(&pair[0]));
        assert!(apart >= SignedDuration::from_secs(4), "{apart} apart");
    }
}

#[test]
fn an_instance_that_hangs_delays_no_other() {
    let stage = Stage::shared();
    let mut names = Vec::new();
    let hung = stage.scene_prepared("hung", |scene| names = keys(scene, 130));
    let well = stage.scene_prepared("well", |scene| {
        scene.alias("orders-db", "payload");
    });
    hung.until_instance("Ready", "Available");
    well.until_instance("Ready", "Available");
    hung.fault(json!({"match": {"operation": "get"}, "effect": {"delayMs": 20_000}}));
    for name in &names {
        hung.object(name, json!({}));
    }
    hung.until_served("get", 0, 30);
    well.object("orders-db", json!({}));
    well.until_synced("orders-db");
    let is_synced = |name: &&String| hung.find(SECRET, name).is_some();
    let synced = names.iter().filter(is_synced).count();
    assert!(synced < names.len() / 2, "it came after {synced} others");
    hung.heal();
    for name in &names {
        hung.until_synced(name);
    }
}

#[test]
fn a_tenant_that_names_what_is_refused_keeps_nobody_else_from_theirs() {
    let stage = Stage::shared();
    let scene = stage.scene("two-tenants");
    let allowed = scene.alias("orders-db", "payload");
    let mut refused = Vec::new();
    for n in 0..8 {
        refused.push(scene.alias(&format!("refused-{n}"), "payload"));
    }
    // The credential may read one key of the instance alone, and list nothing.
    scene.roles(json!([{"role": "ReaderPlus", "instance": scene.guid, "key": allowed}]));
    let other = stage.cluster.namespace_blocking("two-tenants-other");
    for (n, id) in refused.iter().enumerate() {
        let object = json!({
            "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
            "metadata": {"name": format!("refused-{n}"), "namespace": other},
            "spec": {"key": {"id": id}, "instanceRef":
                {"name": scene.instance, "namespace": OPERATOR_NAMESPACE}},
        });
        let made = stage
            .cluster
            .kubectl(&["apply", "-f", "-"], &object.to_string());
        assert!(made.ok, "{}", made.stderr);
    }
    eventually("the other tenant is refused", || {
        scene.served("metadata").len() >= 3
    });
    scene.synced_object("orders-db", json!({}));
}
