//! The cluster itself in trouble: rights that are missing, an API server that restarts, a
//! namespace that is being deleted.

use serde_json::json;

use crate::scene::{KEY, SECRET};
use crate::seen::version;
use crate::stage::Stage;

#[test]
fn a_missing_right_to_write_secrets_is_named_and_a_restarted_api_server_costs_nothing() {
    let Some(stage) = Stage::alone("trouble") else {
        return;
    };
    let scene = stage.scene("trouble");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    let role = [
        "get",
        "clusterrole",
        "key-protect-operator-secrets",
        "-o",
        "json",
    ];
    let role = stage.cluster.kubectl_ok(&role, "");
    let mut less: serde_json::Value = serde_json::from_str(&role).expect("JSON");
    for rule in less["rules"].as_array_mut().expect("rules") {
        if rule["resources"] == json!(["secrets"]) {
            rule["verbs"] = json!(["update", "delete", "list", "watch"]);
        }
    }
    let replace = |role: &str| stage.cluster.kubectl_ok(&["replace", "-f", "-"], role);
    replace(&less.to_string());
    // Rights take a moment to count.
    crate::cluster::eventually("the right is gone", || {
        let account = "system:serviceaccount:key-protect-system:key-protect-operator";
        let may = ["auth", "can-i", "create", "secrets", "--as", account];
        !stage.cluster.kubectl(&may, "").ok
    });
    scene.alias("second", "payload");
    scene.object("second", json!({}));
    let said = scene.until_reason("second", "OperatorError");
    assert_eq!(said.status, "False");
    said.tells(&["no right to write Secrets", "RBAC"]);
    scene.until_event("second", "OperatorError");
    let mut whole: serde_json::Value = serde_json::from_str(&role).expect("JSON");
    whole["metadata"]["resourceVersion"] = serde_json::Value::Null;
    replace(&whole.to_string());
    scene.until_synced("second");

    let before = ["orders-db", "second"].map(|name| (name, scene.get(SECRET, name)));
    let journal = scene.emulator.last_request();
    stage.cluster.order("restart", "apiserver");
    crate::cluster::eventually("the API server is back", || {
        stage.cluster.kubectl(&["get", "--raw", "/readyz"], "").ok
    });
    // What happens while no watch runs is seen by the next listings.
    scene.patch(
        SECRET,
        "second",
        &json!({"data": {"key": crate::scene::base64(b"tampered")}}),
    );
    scene.until(SECRET, "second", "the edit is undone", |secret| {
        crate::seen::data(secret)["key"] == b"payload"
    });
    scene.sync("orders-db");
    assert_eq!(
        version(&scene.get(SECRET, "orders-db")),
        version(&before[0].1)
    );
    assert_eq!(scene.served_since("get", journal).len(), 1);
    assert_eq!(
        scene.get(KEY, "second")["status"]["keys"][0]["state"],
        "Active"
    );
    stage.strike();
}

/// Without a controller manager, a namespace that is being deleted stays as it is.
#[test]
fn in_a_namespace_that_is_being_deleted_nothing_is_written_and_status_says_why() {
    let Some(stage) = Stage::alone("terminating") else {
        return;
    };
    let scene = stage.scene("terminating");
    scene.alias("synced", "payload");
    scene.synced_object("synced", json!({}));
    scene.object("waits", json!({}));
    scene.until_reason("waits", "KeyNotAvailable");
    stage.cluster.order("stop", "controller-manager");
    let before = scene.get(SECRET, "synced");
    let deleted = scene.kubectl(&["delete", "namespace", &scene.namespace, "--wait=false"]);
    assert!(deleted.ok, "{}", deleted.stderr);
    scene.alias("waits", "payload");
    let said = scene.until_reason("waits", "NamespaceTerminating");
    said.tells(&["namespace is being deleted", "nothing is written"]);
    scene.until_reason("synced", "NamespaceTerminating");
    let new = scene.key(json!({"name": "new"}));
    scene.move_alias("synced", &new);
    let journal = scene.emulator.last_request();
    scene.sync("synced");
    scene.sync("waits");
    assert_eq!(version(&scene.get(SECRET, "synced")), version(&before));
    assert!(scene.find(SECRET, "waits").is_none());
    assert!(scene.served_since("get", journal).is_empty());
    let about = |event: &(String, String)| event.0 == "NamespaceTerminating";
    assert!(
        !scene.events("waits").iter().any(about),
        "an Event could not be made there"
    );
    stage.strike();
}
