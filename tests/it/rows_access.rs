//! Credentials, roles and access rules: who may read what, and what is said to whom.

use serde_json::json;

use crate::cluster::eventually;
use crate::scene::{INSTANCE, KEY, SECRET, Scene, open_to_all};
use crate::seen::{condition, version};
use crate::stage::{OPERATOR_NAMESPACE, Stage};

#[test]
fn a_role_that_reads_no_payload_is_told_from_no_access_and_the_roles_that_would_do_are_named() {
    let scene = Stage::shared().scene_prepared("reader", |scene| scene.role("Reader"));
    let id = scene.alias("orders-db", "payload");
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "PayloadForbidden");
    assert_eq!(said.status, "False");
    said.tells(&[
        &id,
        "not its payload",
        "ReaderPlus, Writer or Manager",
        "correlation ID",
    ]);
    scene.until_event("orders-db", "PayloadForbidden");
    // Each is a critical event in the customer's audit log: one with either token.
    assert!(scene.served("get").len() <= 2);
    assert!(scene.find(SECRET, "orders-db").is_none());
    scene.role("ReaderPlus");
    scene.sync("orders-db");
    scene.until_synced("orders-db");
}

#[test]
fn a_good_value_stays_ready_when_the_role_is_taken_away_until_a_new_payload_is_needed() {
    let scene = Stage::shared().scene("demoted");
    scene.alias("orders-db", "first");
    scene.synced_object("orders-db", json!({}));
    let before = scene.get(SECRET, "orders-db");
    scene.role("Reader");
    scene.sync("orders-db");
    scene.until_synced("orders-db");
    let new = scene.key(json!({"name": "second"}));
    scene.move_alias("orders-db", &new);
    scene.sync("orders-db");
    let said = scene.until_reason("orders-db", "PayloadForbidden");
    assert_eq!(said.status, "False");
    said.tells(&[&new]);
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
}

#[test]
fn a_synced_key_that_the_role_no_longer_covers_is_access_denied_and_keeps_its_secret() {
    let scene = Stage::shared().scene("uncovered");
    let id = scene.alias("orders-db", "payload");
    let other = scene.alias("other", "payload");
    scene.synced_object("orders-db", json!({}));
    scene.synced_object("other", json!({}));
    let before = scene.get(SECRET, "orders-db");
    scene.roles(json!([{"instance": scene.guid, "role": "ReaderPlus", "key": other}]));
    scene.sync("orders-db");
    let said = scene.until_reason("orders-db", "AccessDenied");
    assert_eq!(said.status, "False");
    said.tells(&[
        &id,
        "roles on instance, ring and key",
        "context-based rules",
        "keeps its last value",
        "correlation ID",
    ]);
    scene.sync("other");
    scene.until_synced("other");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
    scene.role("ReaderPlus");
    scene.sync("orders-db");
    scene.until_synced("orders-db");
}

#[test]
fn where_single_keys_may_be_read_but_not_listed_they_are_read_singly() {
    let scene = Stage::shared().scene_prepared("single", |scene| {
        scene.fault(json!({"match": {"operation": "list"}, "effect": {"status": 401}}));
    });
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    scene
        .until_instance("Ready", "AccessDenied")
        .tells(&["Keys are looked at singly"]);
    assert_eq!(
        scene.get(INSTANCE, &scene.instance)["status"]["catalogueMode"],
        "Single"
    );
    let object = scene.sync("orders-db");
    assert!(condition(&object, "Stale").is_none());
}

/// Two objects: one names a key that is there but not allowed, the other one that is not there.
#[test]
fn a_key_that_is_not_allowed_and_one_that_does_not_exist_look_the_same() {
    let scene = Stage::shared().scene("secret");
    scene.apply_instance(
        json!({"access": [{"namespaces": {"from": "All"}, "keyRings": ["payments"]}]}),
    );
    scene.until_instance("Ready", "Available");
    scene.key(json!({"name": "hidden", "aliases": ["not-mine"], "keyRing": "secret"}));
    let id = scene.key(json!({"name": "hidden", "keyRing": "secret"}));
    let unknown = uuid::Uuid::new_v4().to_string();
    let told = |name: &str, named: &str, key: serde_json::Value| {
        let journal = scene.emulator.last_request();
        scene.object(name, json!({"key": key}));
        let said = scene.until_reason(name, "KeyNotAvailable");
        let note = scene.until_event(name, "KeyNotAvailable");
        let same = |text: &str| text.replace(named, "THE KEY").replace(name, "THE OBJECT");
        let object = scene.get(KEY, name);
        assert_eq!(object["status"]["keys"], serde_json::Value::Null);
        let asked: Vec<_> = scene
            .served_since("metadata", journal)
            .into_iter()
            .filter(|asked| asked.path.contains(named))
            .map(|asked| (asked.path.replace(named, "THE KEY"), asked.key_ring))
            .collect();
        (said.status, same(&said.message), same(&note), asked)
    };
    let there = told("object-1", "not-mine", json!({"alias": "not-mine"}));
    let absent = told("object-2", "nowhere", json!({"alias": "nowhere"}));
    assert_eq!(there, absent);
    assert_eq!(
        told("object-3", &id, json!({"id": id})),
        told("object-4", &unknown, json!({"id": unknown}))
    );
    // The operator's log, for its admin, knows no such discretion about instances.
    let nowhere = json!({"spec": {"instanceRef": {"name": "no-such-instance", "namespace": OPERATOR_NAMESPACE}}});
    scene.apply(KEY, "homeless", nowhere);
    scene
        .until_reason("homeless", "KeyNotAvailable")
        .tells(&["no such instance or key"]);
    assert!(scene.stage.log().contains("no such instance"));
}

#[test]
fn a_namespace_that_the_rules_do_not_name_gets_nothing_and_asks_nothing() {
    let scene = Stage::shared().scene("stranger");
    scene.apply_instance(
        json!({"access": [{"namespaces": {"from": "Names", "names": ["elsewhere"]}}]}),
    );
    scene.alias("orders-db", "payload");
    let journal = scene.emulator.last_request();
    scene.object("orders-db", json!({}));
    scene
        .until_reason("orders-db", "KeyNotAvailable")
        .tells(&["access rules do not let this namespace"]);
    assert!(scene.served_since("metadata", journal).is_empty());
    assert!(scene.served_since("get", journal).is_empty());
    scene.apply_instance(open_to_all());
    scene.until_synced("orders-db");
}

#[test]
fn withdrawn_access_stops_refreshes_and_keeps_the_secret() {
    let scene = Stage::shared().scene("withdrawn");
    scene.alias("orders-db", "first");
    scene.synced_object("orders-db", json!({}));
    let before = scene.get(SECRET, "orders-db");
    let withdraw = [
        json!({"access": [{"namespaces": {"from": "Same"}}]}),
        json!({"access": [{"namespaces": {"from": "All"}, "keyRings": ["elsewhere"]}]}),
    ];
    for rules in withdraw {
        scene.apply_instance(rules);
        let said = scene.until_reason("orders-db", "AccessWithdrawn");
        assert_eq!(said.status, "False");
        said.tells(&[
            "no longer let this namespace use alias orders-db",
            "keeps its last value",
            "instance's owner",
        ]);
        let journal = scene.emulator.last_request();
        scene.sync("orders-db");
        assert!(scene.served_since("get", journal).is_empty());
        assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
        scene.apply_instance(open_to_all());
        scene.until_synced("orders-db");
    }
    scene.until_event("orders-db", "AccessWithdrawn");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
}

#[test]
fn a_namespaces_label_gives_and_takes_access() {
    let scene = Stage::shared().scene("label");
    let label = "access.keyprotect.dev/payments";
    let selector = json!({"matchLabels": {label: "yes"}});
    scene.apply_instance(
        json!({"access": [{"namespaces": {"from": "Selector", "selector": selector}}]}),
    );
    scene.until_instance("Ready", "Available");
    scene.alias("orders-db", "payload");
    scene.object("orders-db", json!({}));
    scene.until_reason("orders-db", "KeyNotAvailable");
    let mark = |value: Option<&str>| {
        let labels = json!({"metadata": {"labels": {label: value}}});
        scene.patch("namespace", &scene.namespace, &labels);
    };
    mark(Some("yes"));
    scene.until_synced("orders-db");
    let before = scene.get(SECRET, "orders-db");
    mark(None);
    scene.until_reason("orders-db", "AccessWithdrawn");
    mark(Some("yes"));
    scene.until_synced("orders-db");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
}

pub(crate) fn new_api_key(scene: &Scene) -> String {
    let key = format!("new-{}", uuid::Uuid::new_v4());
    let new = json!({"serviceId": "operator", "apiKey": key});
    scene
        .emulator
        .create_api_key(serde_json::from_value(new).expect("an API key"))
        .expect("an API key");
    key
}

#[test]
fn a_rotated_api_key_is_picked_up_without_a_restart() {
    let scene = Stage::shared().scene("rotated");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    let journal = scene.emulator.last_request();
    scene.put_api_key(&new_api_key(&scene));
    scene
        .emulator
        .delete_api_key(&scene.api_key)
        .expect("no old key");
    eventually("a token is had for the new key", || {
        scene.sync("orders-db");
        let tokens = scene.served_since("token", journal);
        tokens.iter().any(|token| token.status == Some(200))
    });
    assert!(
        scene
            .served_since("token", journal)
            .iter()
            .all(|token| token.status == Some(200))
    );
    scene.emulator.revoke_tokens();
    scene.sync("orders-db");
    scene.until_instance("Authenticated", "TokenIssued");
    scene.until_synced("orders-db");
}

#[test]
fn a_refused_api_key_is_told_with_iams_code_and_request_id_and_a_new_one_is_taken_at_once() {
    let scene = Stage::shared().scene("refused");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    let before = scene.get(SECRET, "orders-db");
    scene
        .emulator
        .delete_api_key(&scene.api_key)
        .expect("no key");
    scene.emulator.revoke_tokens();
    scene.ask(INSTANCE, &scene.instance);
    let said = scene.until_instance("Authenticated", "CredentialRejected");
    assert_eq!(said.status, "False");
    said.tells(&["BXNIM0415E", "request ID", "Make a new API key"]);
    scene
        .until_instance("Ready", "CredentialRejected")
        .tells(&["Secrets keep their last values"]);
    scene.alias("late", "payload");
    scene.object("late", json!({}));
    let said = scene.until_reason("late", "CredentialRejected");
    assert_eq!(said.status, "False");
    said.tells(&["instance's owner has to replace the API key", "request ID"]);
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
    assert_eq!(scene.ready("orders-db").status, "True");
    let refused = scene
        .served("token")
        .iter()
        .filter(|token| token.status != Some(200))
        .count();
    assert!(refused <= 2, "{refused} tries");
    scene.put_api_key(&new_api_key(&scene));
    scene.until_instance("Authenticated", "TokenIssued");
    scene.until_synced("late");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
}

#[test]
fn a_missing_credential_file_is_named_and_taken_when_it_appears() {
    let scene = Stage::shared().scene_prepared("missing", Scene::remove_api_key);
    scene.alias("orders-db", "payload");
    let said = scene.until_instance("Ready", "CredentialMissing");
    assert_eq!(said.status, "False");
    said.tells(&["API key file", "apikey", "mounted into the operator's Pod"]);
    assert_eq!(
        scene
            .until_instance("Authenticated", "CredentialMissing")
            .status,
        "False"
    );
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "CredentialMissing");
    said.tells(&["instance's owner has to put it right"]);
    assert!(scene.served("token").is_empty());
    scene.put_api_key(&scene.api_key);
    scene.until_synced("orders-db");
    scene.until_instance("Ready", "Available");
}

#[test]
fn an_instance_outside_of_the_operators_namespace_may_not_use_its_credentials() {
    let scene = Stage::shared().scene("outside");
    scene.until_instance("Ready", "Available");
    scene.alias("orders-db", "payload");
    let mut instance = scene.get(INSTANCE, &scene.instance);
    let theirs = json!({"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectInstance",
        "metadata": {"name": "own", "namespace": scene.namespace}, "spec": instance["spec"].take()});
    let apply = || {
        let cluster = scene.stage.cluster;
        cluster.kubectl(&["apply", "-f", "-"], &theirs.to_string())
    };
    // The fence says so at once.
    let refused = apply();
    assert!(!refused.ok, "{refused:?}");
    for words in [
        "needs spec.credentials.apiKeySecretRef",
        "access rule",
        OPERATOR_NAMESPACE,
    ] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    // One that is there from before the fence gets no further.
    let policy = "validatingadmissionpolicybinding/instances.fence.keyprotect.dev";
    let cluster = scene.stage.cluster;
    cluster.kubectl_ok(&["delete", policy], "");
    eventually("the policy counts no more", || apply().ok);
    cluster.kubectl_ok(&["apply", "-k", "deploy/fence"], "");
    let journal = scene.emulator.last_request();
    scene.apply(
        KEY,
        "orders-db",
        json!({"spec": {"instanceRef": {"name": "own"}}}),
    );
    let said = scene.until_reason("orders-db", "CredentialMissing");
    said.tells(&[
        "only for instances in its own namespace",
        OPERATOR_NAMESPACE,
    ]);
    assert_eq!(
        scene.emulator.last_request(),
        journal,
        "no request was made for it"
    );
}
