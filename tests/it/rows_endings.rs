//! When an object, its target's name or its namespace goes, and what becomes of the Secret.

use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::form::{Form, leaves_out};
use crate::scene::{KEY, SECRET, Scene};
use crate::seen::version;
use crate::stage::Stage;

fn synced(name: &str, spec: Value) -> Scene {
    let scene = Stage::shared().scene(name);
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", spec);
    scene
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().expect("a UID")
}

fn retain() -> Value {
    json!({"target": {"deletionPolicy": "Retain"}})
}

fn owners(secret: &Value) -> usize {
    secret["metadata"]["ownerReferences"]
        .as_array()
        .map_or(0, Vec::len)
}

#[test]
fn with_deletion_policy_delete_the_secret_goes_with_its_object() {
    let scene = synced("goes", json!({}));
    let secret = scene.get(SECRET, "orders-db");
    let owner = &secret["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], json!(uid(&scene.get(KEY, "orders-db"))));
    assert_eq!(owner.get("controller"), None);
    assert_eq!(owner.get("blockOwnerDeletion"), None);
    scene.delete(KEY, "orders-db");
    scene.until_gone(SECRET, "orders-db");
}

#[test]
fn with_deletion_policy_retain_the_secret_stays_and_a_new_object_takes_it_up() {
    let scene = synced("stays", retain());
    let before = scene.get(SECRET, "orders-db");
    assert_eq!(
        before["metadata"]["annotations"]["keyprotect.dev/retain"],
        "true"
    );
    assert_eq!(owners(&before), 0);
    scene.delete(KEY, "orders-db");
    scene.until_gone(KEY, "orders-db");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
    scene.synced_object("orders-db", retain());
    // Who may not read Secrets cannot tell what it was made of, and writes it over.
    if Form::current().reads_secrets() {
        assert_eq!(
            version(&scene.get(SECRET, "orders-db")),
            version(&before),
            "the same inputs: nothing to write"
        );
        assert_eq!(scene.served("get").len(), 1);
    }
    assert_eq!(scene.get(SECRET, "orders-db")["data"], before["data"]);
    scene.object("orders-db", json!({"target": {"deletionPolicy": "Delete"}}));
    let taken = scene.until(
        SECRET,
        "orders-db",
        "it goes with its object now",
        |secret| owners(secret) == 1,
    );
    assert_eq!(uid(&taken), uid(&before));
    assert_eq!(
        taken["metadata"]["annotations"]["keyprotect.dev/retain"],
        Value::Null
    );
}

#[test]
fn a_new_target_name_makes_the_new_secret_first_and_then_the_old_one_goes() {
    let scene = synced("renamed", json!({}));
    scene.object("orders-db", json!({"target": {"name": "renamed"}}));
    scene.until(SECRET, "renamed", "it is there", |_| true);
    scene.until_gone(SECRET, "orders-db");
    scene.until_synced("orders-db").tells(&["Secret renamed"]);
    assert_eq!(scene.data("renamed")["key"], b"payload");
    assert_eq!(
        scene.get(KEY, "orders-db")["status"]["secret"]["name"],
        "renamed"
    );
}

#[test]
fn a_new_target_name_leaves_a_retained_secret_where_it_is() {
    let scene = synced("renamed-kept", retain());
    let old = scene.get(SECRET, "orders-db");
    scene.object(
        "orders-db",
        json!({"target": {"name": "renamed", "deletionPolicy": "Retain"}}),
    );
    scene.until(SECRET, "renamed", "it is there", |_| true);
    scene.until_synced("orders-db").tells(&["Secret renamed"]);
    scene.sync("orders-db");
    assert_eq!(scene.get(SECRET, "orders-db")["data"], old["data"]);
}

#[test]
fn both_policy_and_name_changed_at_once_leave_the_old_secret_marked() {
    if leaves_out("rows_endings::both_policy_and_name_changed_at_once_leave_the_old_secret_marked")
    {
        return;
    }
    let scene = synced("both", json!({}));
    scene.object(
        "orders-db",
        json!({"target": {"name": "renamed", "deletionPolicy": "Retain"}}),
    );
    scene.until_synced("orders-db");
    for name in ["orders-db", "renamed"] {
        let secret = scene.until(SECRET, name, "it is marked", |secret| owners(secret) == 0);
        assert_eq!(
            secret["metadata"]["annotations"]["keyprotect.dev/retain"],
            "true"
        );
        assert_eq!(scene.data(name)["key"], b"payload");
    }
    scene.delete(KEY, "orders-db");
    scene.until_gone(KEY, "orders-db");
    scene.get(SECRET, "orders-db");
}

#[test]
fn an_object_made_anew_under_its_name_gets_a_secret_of_its_own() {
    let scene = synced("anew", json!({}));
    let (key, secret) = (scene.get(KEY, "orders-db"), scene.get(SECRET, "orders-db"));
    scene.delete(KEY, "orders-db");
    scene.object("orders-db", json!({}));
    scene.until_synced("orders-db");
    let object = scene.get(KEY, "orders-db");
    // Where Secrets are not read, the old one may be written over before it is collected.
    let now = scene.until(SECRET, "orders-db", "made anew", |now| {
        if Form::current().reads_secrets() {
            uid(now) != uid(&secret)
        } else {
            now["metadata"]["ownerReferences"][0]["uid"] == json!(uid(&object))
        }
    });
    assert_ne!(uid(&object), uid(&key));
    assert_eq!(
        now["metadata"]["ownerReferences"][0]["uid"],
        json!(uid(&object))
    );
    assert_eq!(owners(&now), 1);
    scene.sync("orders-db");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&now));
}

#[test]
fn an_object_orphaned_by_hand_leaves_its_secret() {
    let scene = synced("orphan", json!({}));
    let before = scene.get(SECRET, "orders-db");
    let deleted = scene.kubectl(&["delete", "kpk", "orders-db", "--cascade=orphan"]);
    assert!(deleted.ok, "{}", deleted.stderr);
    scene.until_gone(KEY, "orders-db");
    // Another object's sync in the same namespace comes after whatever the deletion set off, and
    // so does a collection of garbage that is known to happen.
    scene.alias("other", "payload");
    scene.synced_object("other", json!({}));
    scene.delete(KEY, "other");
    scene.until_gone(SECRET, "other");
    let secret = scene.get(SECRET, "orders-db");
    assert_eq!(owners(&secret), 0);
    assert_eq!(uid(&secret), uid(&before));
    assert_eq!(secret["data"], before["data"]);
    scene.synced_object("orders-db", json!({}));
    assert_eq!(
        uid(&scene.get(SECRET, "orders-db")),
        uid(&before),
        "a new object takes it up"
    );
}

#[test]
fn a_namespace_goes_without_waiting_for_the_operator() {
    let scene = synced("namespace", json!({}));
    let deleted = scene.kubectl(&["delete", "namespace", &scene.namespace, "--timeout=80s"]);
    assert!(deleted.ok, "{}", deleted.stderr);
    eventually("the instance no longer counts its key", || {
        let instance = scene.get(crate::scene::INSTANCE, &scene.instance);
        instance["status"]["keysInUse"] == 0
    });
}

#[test]
fn an_object_in_a_namespace_that_is_being_deleted_says_so_and_writes_nothing() {
    let scene = Stage::shared().scene("terminating");
    scene.alias("orders-db", "payload");
    // Something that somebody has to let go of keeps the namespace for a while.
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}, "spec": {"suspend": true}});
    scene.apply(KEY, "orders-db", held);
    let deleted = scene.kubectl(&["delete", "namespace", &scene.namespace, "--wait=false"]);
    assert!(deleted.ok, "{}", deleted.stderr);
    eventually("the object is being deleted", || {
        scene.get(KEY, "orders-db")["metadata"]["deletionTimestamp"].is_string()
    });
    scene.patch(KEY, "orders-db", &json!({"spec": {"suspend": false}}));
    assert!(scene.find(SECRET, "orders-db").is_none());
    scene.patch(KEY, "orders-db", &json!({"metadata": {"finalizers": null}}));
    scene.until_gone(KEY, "orders-db");
    assert!(scene.served("get").is_empty());
}
