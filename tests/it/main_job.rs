//! The main job on real parts: a KeyProtectKey becomes a Secret, and the Secret follows the key.

use serde_json::json;

use crate::stage::Stage;

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Alias → Secret → alias moved → Secret follows → Secret deleted → restored.
#[test]
fn a_secret_follows_its_alias_and_comes_back_when_deleted() {
    let scene = Stage::shared().scene("main");
    let first =
        scene.key(json!({"name": "orders", "payload": base64(b"first"), "aliases": ["orders-db"]}));
    scene.object("orders-db", json!({}));
    scene.wait("keyprotectkey", "orders-db", "condition=Ready");
    assert_eq!(scene.data("orders-db")["key"], b"first");

    let second = scene.key(json!({"name": "orders", "payload": base64(b"second")}));
    scene
        .stage
        .emulator
        .put_alias(&scene.guid, "orders-db", &second)
        .expect("a moved alias");
    scene.sync("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"second");
    let object = scene.get("keyprotectkey", "orders-db");
    assert_eq!(object["status"]["keys"][0]["id"], json!(second));
    assert_ne!(first, second);

    let uid = scene.get("secret", "orders-db")["metadata"]["uid"].clone();
    scene.kubectl_ok(&["delete", "secret", "orders-db"]);
    scene.wait("secret", "orders-db", "create");
    assert_eq!(scene.data("orders-db")["key"], b"second");
    assert_ne!(scene.get("secret", "orders-db")["metadata"]["uid"], uid);
    crate::cluster::eventually("Events tell of both", || {
        let events = scene.events("orders-db");
        events.contains(&"KeyChanged".to_owned()) && events.contains(&"Restored".to_owned())
    });
}
