//! The main job on real parts: a KeyProtectKey becomes a Secret, and the Secret follows the key.

use serde_json::json;

use crate::scene::{KEY, SECRET, base64};
use crate::seen::data;
use crate::stage::Stage;

/// Alias → Secret → alias moved → Secret follows → Secret deleted → restored.
#[test]
fn a_secret_follows_its_alias_and_comes_back_when_deleted() {
    let scene = Stage::shared().scene("main");
    let first = scene.alias("orders-db", "first");
    scene.synced_object("orders-db", json!({}));
    assert_eq!(scene.data("orders-db")["key"], b"first");
    // The read can be found in IBM's logs and in the operator's own.
    let read = scene.served("get")[0].correlation_id.clone();
    let read = read.expect("a correlation ID");
    let object = scene.get(KEY, "orders-db");
    assert_eq!(object["status"]["keys"][0]["correlationID"], json!(read));
    let audit = scene.stage.audit();
    let line = audit
        .iter()
        .find(|line| line["keys"][0]["correlationID"] == json!(read));
    let line = line.expect("an audit line");
    assert_eq!(line["keys"][0]["id"], json!(first));
    assert_eq!(line["reason"], "FirstSync");
    assert_eq!(line["outcome"], "Succeeded");

    let second = scene.key(json!({"name": "orders", "payload": base64(b"second")}));
    scene.move_alias("orders-db", &second);
    scene.sync("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"second");
    let object = scene.get(KEY, "orders-db");
    assert_eq!(object["status"]["keys"][0]["id"], json!(second));
    let note = scene.until_event("orders-db", "KeyChanged");
    assert!(note.contains(&first) && note.contains(&second), "{note}");

    let uid = scene.get(SECRET, "orders-db")["metadata"]["uid"].clone();
    scene.delete(SECRET, "orders-db");
    scene.until(SECRET, "orders-db", "made anew", |secret| {
        secret["metadata"]["uid"] != uid
    });
    assert_eq!(scene.data("orders-db")["key"], b"second");
    scene.until_event("orders-db", "Restored");
}

/// By the interval alone, which is a minute at least.
#[test]
fn a_moved_alias_is_followed_at_the_next_refresh_without_a_word_from_anybody() {
    let scene = Stage::shared().scene("refresh");
    scene.alias("orders-db", "first");
    scene.synced_object("orders-db", json!({"refreshInterval": "1m"}));
    let new = scene.key(json!({"name": "new", "payload": base64(b"second")}));
    scene.move_alias("orders-db", &new);
    let journal = scene.emulator.last_request();
    scene.until_served("list", journal, 90);
    scene.until(SECRET, "orders-db", "it follows", |secret| {
        data(secret)["key"] == b"second"
    });
    assert_eq!(scene.served_since("list", journal).len(), 1);
    assert!(scene.served_since("metadata", journal).is_empty());
}
