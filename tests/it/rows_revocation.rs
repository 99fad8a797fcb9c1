//! A Secret's key, or the right to it, is gone: what a policy that says Delete takes away, and what
//! holds too many deletions back.

use jiff::SignedDuration;
use key_protect_operator::controller::clock::now;
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::scene::{INSTANCE, KEY, SECRET, Scene, base64, open_to_all};
use crate::seen::condition;
use crate::stage::{OPERATOR_NAMESPACE, Stage};

fn deleting(mut spec: Value) -> Value {
    spec["revocationPolicy"] = json!("Delete");
    spec
}

fn set_state(scene: &Scene, id: &str, state: &str) {
    let set = scene.emulator.set_key_state(&scene.guid, id, &json!(state));
    set.expect("a state");
}

/// Waits until the Secret went by a revocation, and everything says so; returns the Event's note.
#[track_caller]
fn until_revoked(scene: &Scene, name: &str, reason: &str) -> String {
    scene.until_gone(SECRET, name);
    let object = scene.until(KEY, name, "its status says so", |object| {
        condition(object, "Ready").is_some_and(|ready| ready.reason == reason)
            && object["status"]["lastRevocationTime"].is_string()
    });
    assert_eq!(object["status"]["secret"], Value::Null);
    let ready = condition(&object, "Ready").expect("Ready");
    assert_eq!(ready.status, "False");
    scene.until_event(name, "Revoked")
}

#[test]
fn a_deleted_key_takes_its_secret_along_and_brings_it_back() {
    let scene = Stage::shared().scene("revoked");
    let id = scene.alias("by-alias", "payload");
    scene.alias("other", "other");
    scene.synced_object("by-alias", deleting(json!({})));
    scene.synced_object("by-id", deleting(json!({"key": {"id": id}})));
    scene.synced_object("kept", json!({"key": {"id": id}}));
    set_state(&scene, &id, "deleted");
    scene.sync_instance();
    for name in ["by-alias", "by-id"] {
        scene.sync(name);
        let note = until_revoked(&scene, name, "KeyDeleted");
        assert!(
            note.contains(&id) && note.contains("own metadata"),
            "{note}"
        );
        scene
            .ready(name)
            .tells(&["was deleted at", "revocationPolicy is Delete", "made anew"]);
    }
    scene.sync("kept");
    scene.until_reason("kept", "KeyDeleted");
    assert_eq!(scene.data("kept")["key"], b"payload");
    scene
        .emulator
        .restore_key(&scene.guid, &id)
        .expect("a restored key");
    for name in ["by-alias", "by-id"] {
        scene.sync(name);
        scene.until_synced(name);
        assert_eq!(scene.data(name)["key"], b"payload");
    }
}

#[test]
fn suspended_and_pinned_objects_lose_their_secrets_all_the_same() {
    let scene = Stage::shared().scene("watched");
    let id = scene.alias("suspended", "payload");
    scene.alias("other", "other");
    scene.synced_object("suspended", deleting(json!({})));
    let pinned = json!({"key": {"id": id}, "refreshInterval": "0s"});
    scene.synced_object("pinned", deleting(pinned));
    scene.object("suspended", deleting(json!({"suspend": true})));
    assert_eq!(scene.until_reason("suspended", "Suspended").status, "True");
    set_state(&scene, &id, "deleted");
    // Nobody asks for a look at the objects: the listing tells them.
    scene.sync_instance();
    until_revoked(&scene, "pinned", "KeyDeleted");
    until_revoked(&scene, "suspended", "Suspended");
}

#[test]
fn an_expired_key_takes_its_secret_along() {
    let scene = Stage::shared().scene("expired");
    let id = scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", deleting(json!({})));
    let date = now() - SignedDuration::from_hours(1);
    let date = jiff::Timestamp::from_second(date.as_second()).expect("a time");
    scene
        .emulator
        .set_key_expiration(&scene.guid, &id, Some(date.to_string()))
        .expect("a date");
    scene.sync("orders-db");
    let note = until_revoked(&scene, "orders-db", "KeyExpired");
    assert!(note.contains(&date.to_string()), "{note}");
}

#[test]
fn a_vanished_alias_and_a_purged_key_take_their_secrets_along_after_the_grace() {
    let scene = Stage::shared().scene("vanish");
    scene.alias("by-alias", "payload");
    let purged = scene.key(json!({"name": "purged", "payload": base64(b"payload")}));
    scene.alias("other", "other");
    scene.synced_object("by-alias", deleting(json!({})));
    scene.synced_object("by-id", deleting(json!({"key": {"id": purged}})));
    scene
        .emulator
        .delete_alias(&scene.guid, "by-alias")
        .expect("no alias");
    set_state(&scene, &purged, "deleted");
    scene
        .emulator
        .purge_key(&scene.guid, &purged)
        .expect("a purged key");
    for name in ["by-alias", "by-id"] {
        scene.sync(name);
    }
    let note = until_revoked(&scene, "by-id", "KeyDeleted");
    assert!(
        note.contains(&purged) && note.contains("while other keys are"),
        "{note}"
    );
    let note = until_revoked(&scene, "by-alias", "KeyNotAvailable");
    assert!(note.contains("alias by-alias"), "{note}");
    for name in ["by-alias", "by-id"] {
        let status = &scene.get(KEY, name)["status"];
        let time = |value: &Value| -> jiff::Timestamp {
            let text = value.as_str().expect("a time");
            text.parse().expect("a time")
        };
        let since = time(&status["pending"]["since"]);
        let lasted = time(&status["lastRevocationTime"]).duration_since(since);
        assert!(lasted >= SignedDuration::from_secs(4), "{name}: {lasted:?}");
    }
    let new = scene.key(json!({"name": "new", "payload": base64(b"new"), "aliases": ["by-alias"]}));
    scene.sync("by-alias");
    scene.until_synced("by-alias");
    assert_eq!(scene.get(KEY, "by-alias")["status"]["keys"][0]["id"], new);
}

#[test]
fn withdrawn_access_takes_secrets_along_where_the_instances_owner_says_so() {
    let scene = Stage::shared().scene("taken");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    scene.apply_instance(json!({"access": [], "onAccessWithdrawn": "Delete"}));
    scene
        .until_reason("orders-db", "AccessWithdrawn")
        .tells(&["It is deleted at", "onAccessWithdrawn"]);
    assert!(scene.find(SECRET, "orders-db").is_some(), "a grace first");
    let journal = scene.emulator.last_request();
    let note = until_revoked(&scene, "orders-db", "AccessWithdrawn");
    assert!(note.contains(&scene.instance), "{note}");
    assert!(scene.served_since("get", journal).is_empty());
    scene.apply_instance(open_to_all());
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"payload");
}

#[test]
fn an_outage_and_a_refusal_take_nothing_along() {
    let scene = Stage::shared().scene("doubt");
    let id = scene.alias("by-alias", "payload");
    scene.synced_object("by-alias", deleting(json!({})));
    scene.synced_object("by-id", deleting(json!({"key": {"id": id}})));
    for status in [401, 403, 500, 503] {
        scene.fault(json!({"match": {}, "effect": {"status": status}}));
        let logged = scene.stage.log().len();
        for name in ["by-alias", "by-id"] {
            scene.ask(KEY, name);
            scene.until_looked_at(name, logged);
        }
        scene.heal();
        for name in ["by-alias", "by-id"] {
            assert!(scene.find(SECRET, name).is_some(), "{status} {name}");
        }
    }
}

#[test]
fn too_many_revocations_wait_until_an_admin_lets_them_go() {
    // By itself: of many instances only a hundred have metrics of their own.
    let Some(stage) = Stage::alone("mass") else {
        return;
    };
    let scene = stage.scene("mass");
    scene.alias("other", "other");
    let names: Vec<String> = (0..6).map(|number| format!("o{number}")).collect();
    let ids: Vec<String> = names
        .iter()
        .map(|name| scene.alias(name, "payload"))
        .collect();
    for (name, id) in names.iter().zip(&ids) {
        scene.synced_object(name, deleting(json!({"key": {"id": id}})));
    }
    for id in &ids {
        set_state(&scene, id, "deleted");
    }
    scene.sync_instance();
    let object = scene.until(INSTANCE, &scene.instance, "three wait", |object| {
        condition(object, "MassRevocationHeld")
            .is_some_and(|held| held.message.contains("deletion of 3 Secrets"))
    });
    let held = condition(&object, "MassRevocationHeld").expect("the condition");
    assert_eq!((&*held.status, &*held.reason), ("True", "TooMany"));
    held.tells(&["more than 3 within an hour", "release-revocations"]);
    eventually("an Event about the instance", || {
        let field = format!("regarding.name={}", scene.instance);
        let events = scene.stage.cluster.kubectl_ok(
            &[
                "get",
                "events.events.k8s.io",
                "-n",
                OPERATOR_NAMESPACE,
                "-o",
                "name",
                "--field-selector",
                &format!("{field},reason=MassRevocationHeld"),
            ],
            "",
        );
        !events.trim().is_empty()
    });
    let there = || {
        let found = names
            .iter()
            .filter(|name| scene.find(SECRET, name).is_some());
        found.cloned().collect::<Vec<String>>()
    };
    eventually("three went", || there().len() == 3);
    let waiting = there();
    for name in &waiting {
        let object = scene.until(KEY, name, "it says that it waits", |object| {
            condition(object, "MassRevocationHeld").is_some()
        });
        let ready = condition(&object, "Ready").expect("Ready");
        assert_eq!((&*ready.status, &*ready.reason), ("False", "KeyDeleted"));
        ready.tells(&["keeps its last value", "release-revocations"]);
    }
    let line = format!(
        "keyprotect_held_revocations{{instance_namespace=\"key-protect-system\",instance_name=\"{}\"}} 3",
        scene.instance
    );
    let page = scene.stage.metrics("");
    assert!(page.contains(&line), "{line} is not in\n{page}");
    // A look at them changes nothing.
    scene.sync(&waiting[0]);
    assert_eq!(there(), waiting);
    let release = |time: String| {
        let annotations =
            json!({"metadata": {"annotations": {"keyprotect.dev/release-revocations": time}}});
        scene.patch(INSTANCE, &scene.instance, &annotations);
    };
    // A time to come is no standing permission.
    release((now() + SignedDuration::from_hours(24)).to_string());
    scene.sync(&waiting[1]);
    assert_eq!(there(), waiting);
    release(now().to_string());
    for name in &waiting {
        until_revoked(&scene, name, "KeyDeleted");
    }
    scene.until(INSTANCE, &scene.instance, "none waits", |object| {
        condition(object, "MassRevocationHeld").is_none()
    });
    // What comes after it waits again.
    let late = scene.alias("late", "payload");
    scene.synced_object("late", deleting(json!({"key": {"id": late}})));
    set_state(&scene, &late, "deleted");
    scene.sync("late");
    scene.until(KEY, "late", "it waits", |object| {
        condition(object, "MassRevocationHeld").is_some()
    });
    assert!(scene.find(SECRET, "late").is_some());
    stage.strike();
}
