//! Which key an object gets, and what its status says where it gets none.

use key_protect_operator::controller::clock::now;
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::scene::{KEY, SECRET, Scene, base64};
use crate::seen::{condition, version};
use crate::stage::Stage;

/// A Secret that is there and must not change.
fn kept(scene: &Scene, name: &str) -> impl Fn(&Scene) + use<> {
    let before = version(&scene.get(SECRET, name)).to_owned();
    let name = name.to_owned();
    move |scene| assert_eq!(version(&scene.get(SECRET, &name)), before)
}

fn first_id(object: &Value) -> &str {
    object["status"]["keys"][0]["id"].as_str().expect("an ID")
}

#[test]
fn an_unknown_alias_is_named_and_is_taken_when_it_appears() {
    let scene = Stage::shared().scene("unknown");
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "KeyNotAvailable");
    assert_eq!(said.status, "False");
    said.tells(&[
        "Alias orders-db",
        &scene.instance,
        "access rules",
        "ask the instance's owner",
    ]);
    assert!(scene.find(SECRET, "orders-db").is_none());
    let note = scene.until_event("orders-db", "KeyNotAvailable");
    assert!(note.contains("orders-db"), "{note}");
    scene.alias("orders-db", "late");
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"late");
}

#[test]
fn id_alias_and_name_with_ring_each_find_their_key() {
    let scene = Stage::shared().scene("named");
    let id = scene.key(json!({"name": "plain", "payload": base64(b"by id")}));
    scene.alias("by-alias", "by alias");
    let named = |payload: &str, date: &str| {
        let payload = base64(payload.as_bytes());
        json!({"name": "orders", "keyRing": "payments", "payload": payload, "creationDate": date})
    };
    scene.key(named("older", "2026-01-01T00:00:00Z"));
    let newest = scene.key(named("newest", "2026-03-01T00:00:00Z"));
    let suspended = scene.key(named("newer, but suspended", "2026-04-01T00:00:00Z"));
    let state = scene
        .emulator
        .set_key_state(&scene.guid, &suspended, &json!("suspended"));
    state.expect("a suspended key");
    scene.key(json!({"name": "orders", "payload": base64(b"other ring")}));
    scene.synced_object("by-id", json!({"key": {"id": id}}));
    scene.synced_object("by-alias", json!({"key": {"alias": "by-alias"}}));
    scene.synced_object(
        "by-name",
        json!({"key": {"name": "orders", "keyRing": "payments"}}),
    );
    assert_eq!(scene.data("by-id")["key"], b"by id");
    assert_eq!(scene.data("by-alias")["key"], b"by alias");
    assert_eq!(scene.data("by-name")["key"], b"newest");
    let object = scene.get(KEY, "by-name");
    assert_eq!(first_id(&object), newest);
    assert_eq!(object["status"]["keys"][0]["keyRing"], "payments");
    assert_eq!(object["status"]["keys"][0]["state"], "Active");
    scene
        .ready("by-id")
        .tells(&["Secret by-id", &id, &scene.instance]);
    scene.ready("by-alias").tells(&["alias by-alias"]);
}

#[test]
fn a_key_in_another_ring_than_asked_is_not_available() {
    let scene = Stage::shared().scene("ring");
    let id = scene.key(json!({"name": "key", "aliases": ["web"], "keyRing": "payments"}));
    for (name, key) in [
        ("by-alias", json!({"alias": "web"})),
        ("by-id", json!({"id": id})),
    ] {
        let mut key = key;
        key["keyRing"] = json!("web");
        scene.object(name, json!({"key": key}));
        scene.until_reason(name, "KeyNotAvailable").tells(&["web"]);
        key["keyRing"] = json!("payments");
        scene.synced_object(name, json!({"key": key}));
    }
}

#[test]
fn a_root_key_is_not_extractable_and_the_message_says_what_to_do() {
    let scene = Stage::shared().scene("root");
    scene.until_instance("Ready", "Available");
    let id = scene.key(json!({"name": "root", "aliases": ["root"], "extractable": false}));
    scene.object("root", json!({}));
    let said = scene.until_reason("root", "NotExtractable");
    said.tells(&[&id, "root key", "ibmcloud kp key create NAME -s"]);
    let object = scene.get(KEY, "root");
    assert_eq!(
        condition(&object, "Stalled").expect("Stalled").status,
        "True"
    );
    assert!(scene.served("get").is_empty());
    assert!(scene.find(SECRET, "root").is_none());
    scene.sync("root");
    let asked = scene.served("metadata").len();
    assert_eq!(asked, 2, "once for each look that somebody asked for");
}

#[test]
fn a_deleted_key_keeps_its_secret_and_a_restored_one_is_synced_again() {
    let scene = Stage::shared().scene("deleted");
    let id = scene.alias("orders-db", "kept");
    scene.synced_object("orders-db", json!({}));
    scene.synced_object("by-id", json!({"key": {"id": id}}));
    let keeps = [kept(&scene, "orders-db"), kept(&scene, "by-id")];
    let deleted = scene
        .emulator
        .set_key_state(&scene.guid, &id, &json!("deleted"));
    deleted.expect("a deleted key");
    for name in ["orders-db", "by-id"] {
        scene.sync(name);
        let said = scene.until_reason(name, "KeyDeleted");
        assert_eq!(said.status, "False");
        said.tells(&[
            &id,
            "was deleted in Key Protect",
            "keeps its last value",
            "Restore",
        ]);
        let note = scene.until_event(name, "KeyDeleted");
        assert!(note.contains(&id), "{note}");
        assert_eq!(
            scene.get(KEY, name)["status"]["keys"][0]["state"],
            "Destroyed"
        );
    }
    scene
        .emulator
        .restore_key(&scene.guid, &id)
        .expect("a restored key");
    for (name, keep) in ["orders-db", "by-id"].iter().zip(&keeps) {
        scene.sync(name);
        scene.until_synced(name);
        keep(&scene);
    }
}

#[test]
fn a_key_that_is_about_to_expire_is_announced_and_an_expired_one_is_not_ready() {
    let scene = Stage::shared().scene("expiry");
    let id = scene.alias("orders-db", "kept");
    scene.synced_object("orders-db", json!({}));
    let keep = kept(&scene, "orders-db");
    let expire = |date: String| {
        let set = scene
            .emulator
            .set_key_expiration(&scene.guid, &id, Some(date));
        set.expect("an expiration date");
        scene.sync("orders-db")
    };
    let in_hours = |hours: i64| {
        let at = now().checked_add(jiff::SignedDuration::from_hours(hours));
        jiff::Timestamp::from_second(at.expect("a time").as_second())
            .expect("a time")
            .to_string()
    };
    for (hours, reason) in [
        (24 * 20, "WithinThirtyDays"),
        (24 * 3, "WithinSevenDays"),
        (3, "WithinOneDay"),
    ] {
        let date = in_hours(hours);
        let object = expire(date.clone());
        let soon = condition(&object, "ExpiringSoon").expect("ExpiringSoon");
        assert_eq!(
            (soon.status.as_str(), soon.reason.as_str()),
            ("True", reason)
        );
        soon.tells(&[&id, &date, "Create a new key"]);
        assert_eq!(condition(&object, "Ready").expect("Ready").status, "True");
        assert_eq!(object["status"]["keys"][0]["expirationDate"], json!(date));
    }
    scene.until_event("orders-db", "Expiring");
    let gone = in_hours(-1);
    expire(gone.clone());
    let said = scene.until_reason("orders-db", "KeyExpired");
    assert_eq!(said.status, "False");
    said.tells(&[&id, "expired at", &gone, "keeps its last value"]);
    keep(&scene);
    let new = scene.key(json!({"name": "new", "payload": base64(b"new")}));
    scene.move_alias("orders-db", &new);
    let object = scene.sync("orders-db");
    assert!(condition(&object, "ExpiringSoon").is_none());
    assert_eq!(scene.data("orders-db")["key"], b"new");
}

#[test]
fn a_suspended_key_is_disabled_until_it_is_enabled() {
    let scene = Stage::shared().scene("disabled");
    let id = scene.alias("orders-db", "kept");
    scene.synced_object("orders-db", json!({}));
    let keep = kept(&scene, "orders-db");
    let state = |state: &str| {
        let set = scene
            .emulator
            .set_key_state(&scene.guid, &id, &json!(state));
        set.expect("a state");
        scene.sync("orders-db");
    };
    state("suspended");
    let said = scene.until_reason("orders-db", "KeyDisabled");
    said.tells(&[&id, "Suspended", "keeps its last value", "Enable it"]);
    state("active");
    scene.until_synced("orders-db");
    keep(&scene);
}

#[test]
fn a_vanished_alias_is_ready_for_the_grace_and_follows_when_it_comes_back_on_another_key() {
    let scene = Stage::shared().scene("moving");
    let old = scene.alias("orders-db", "old");
    scene.synced_object("orders-db", json!({}));
    let keep = kept(&scene, "orders-db");
    scene
        .emulator
        .delete_alias(&scene.guid, "orders-db")
        .expect("no alias");
    scene.sync("orders-db");
    let said = scene.until_reason("orders-db", "AliasMoving");
    assert_eq!(said.status, "True");
    said.tells(&[
        "Alias orders-db is gone since",
        &old,
        "looked up every minute",
    ]);
    assert!(scene.get(KEY, "orders-db")["status"]["pending"]["since"].is_string());
    keep(&scene);
    let new =
        scene.key(json!({"name": "new", "payload": base64(b"new"), "aliases": ["orders-db"]}));
    scene.sync("orders-db");
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"new");
    let object = scene.get(KEY, "orders-db");
    assert_eq!(first_id(&object), new);
    assert_eq!(object["status"]["pending"], Value::Null);
    let note = scene.until_event("orders-db", "KeyChanged");
    assert!(note.contains(&old) && note.contains(&new), "{note}");
}

#[test]
fn after_the_grace_a_vanished_alias_says_whether_its_key_is_deleted_and_the_secret_stays() {
    let scene = Stage::shared().scene("vanished");
    let deleted = scene.alias("deleted", "kept");
    scene.alias("renamed", "kept");
    for name in ["deleted", "renamed"] {
        scene.synced_object(name, json!({}));
    }
    let keeps = [kept(&scene, "deleted"), kept(&scene, "renamed")];
    for name in ["deleted", "renamed"] {
        scene
            .emulator
            .delete_alias(&scene.guid, name)
            .expect("no alias");
    }
    scene
        .emulator
        .set_key_state(&scene.guid, &deleted, &json!("deleted"))
        .expect("a state");
    for name in ["deleted", "renamed"] {
        scene.sync(name);
        scene.until_reason(name, "AliasMoving");
    }
    let said = scene.until_reason("deleted", "KeyDeleted");
    assert_eq!(said.status, "False");
    said.tells(&[
        &deleted,
        "was deleted in Key Protect",
        "keeps its last value",
    ]);
    let said = scene.until_reason("renamed", "KeyNotAvailable");
    assert_eq!(said.status, "False");
    keeps.iter().for_each(|keep| keep(&scene));
    scene.until_event("deleted", "KeyDeleted");
}

#[test]
fn an_alias_that_goes_back_to_an_older_key_waits_unless_a_sync_is_forced() {
    let scene = Stage::shared().scene("back");
    let older = scene.key(
        json!({"name": "first", "payload": base64(b"older"), "creationDate": "2026-01-01T00:00:00Z"}),
    );
    let newer = scene
        .key(json!({"name": "second", "payload": base64(b"newer"), "aliases": ["one", "two"]}));
    for name in ["one", "two"] {
        scene.synced_object(name, json!({}));
        scene.move_alias(name, &older);
    }
    let keep = kept(&scene, "one");
    scene.sync_instance();
    let said = scene.until_reason("one", "AliasWentBack");
    assert_eq!(said.status, "True");
    said.tells(&[
        &older,
        &newer,
        "failover to old data",
        "keyprotect.dev/sync-requested-at",
    ]);
    keep(&scene);
    scene.sync("one");
    scene.until_synced("one");
    assert_eq!(scene.data("one")["key"], b"older");
    // Without a word from anybody, it is taken after the grace.
    scene.until_synced("two");
    assert_eq!(scene.data("two")["key"], b"older");
    let events: Vec<String> = scene
        .events("two")
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    assert!(events.contains(&"AliasWentBack".to_owned()), "{events:?}");
}

/// For up to a day, a deleted key reads as Deactivated in places: it is deleted all the same.
#[test]
fn a_deleted_key_that_reads_as_deactivated_is_told_as_deleted_and_keeps_its_value() {
    let scene = Stage::shared().scene("reads-as-3");
    scene.modes(json!({"deletedReadsAs3Seconds": 86_400}));
    let id = scene.key(json!({"name": "orders", "payload": base64(b"kept")}));
    scene.synced_object("orders", json!({"key": {"id": id}}));
    let keep = kept(&scene, "orders");
    scene
        .emulator
        .set_key_state(&scene.guid, &id, &json!("deleted"))
        .expect("a deleted key");
    scene.sync_instance();
    let said = scene.until_reason("orders", "KeyDeleted");
    said.tells(&[&id, "was deleted in Key Protect", "keeps its last value"]);
    keep(&scene);
}

#[test]
fn a_missing_payload_is_waited_for() {
    let scene = Stage::shared().scene("payload");
    scene.modes(json!({"payloadMissing": true}));
    let id = scene.alias("orders-db", "late");
    scene.object("orders-db", json!({}));
    scene.until(KEY, "orders-db", "no payload yet", |object| {
        condition(object, "Ready").is_some_and(|ready| {
            ready.message.contains(&id) && ready.message.contains("no payload yet")
        })
    });
    assert!(scene.find(SECRET, "orders-db").is_none());
    scene.heal();
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"late");
}

#[test]
fn refresh_zero_takes_a_new_key_only_when_the_object_changes() {
    let scene = Stage::shared().scene("pinned");
    scene.alias("orders-db", "first");
    scene.synced_object("orders-db", json!({"refreshInterval": "0s"}));
    let keep = kept(&scene, "orders-db");
    let new = scene.key(json!({"name": "new", "payload": base64(b"second")}));
    scene.move_alias("orders-db", &new);
    let logged = scene.stage.log().len();
    scene.sync_instance();
    scene.until_looked_at("orders-db", logged);
    keep(&scene);
    scene.object(
        "orders-db",
        json!({"refreshInterval": "0s", "target": {"data": [{"name": "key"}]}}),
    );
    eventually("the new key is taken", || {
        scene.data("orders-db")["key"] == b"second"
    });
}
