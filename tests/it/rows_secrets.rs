//! The Secret: whose it is, what becomes of edits, and when it goes.

use key_protect_operator::controller::clock::now;
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::form::{Form, leaves_out};
use crate::scene::{KEY, SECRET, Scene, base64};
use crate::seen::version;
use crate::stage::Stage;

fn synced(name: &str) -> Scene {
    let scene = Stage::shared().scene(name);
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    scene
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().expect("a UID")
}

fn owned(secret: &Value) -> bool {
    secret["metadata"]["labels"]["keyprotect.dev/target"] == "owned"
}

#[test]
fn a_foreign_secret_is_never_touched_and_its_name_is_taken_when_it_is_gone() {
    let scene = Stage::shared().scene("foreign");
    scene.alias("orders-db", "payload");
    let theirs = scene.create(
        SECRET,
        "orders-db",
        json!({"stringData": {"theirs": "value"}}),
    );
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "SecretNotOwned");
    assert_eq!(said.status, "False");
    said.tells(&["Secret orders-db exists", "not touched", "spec.target.name"]);
    scene.until_event("orders-db", "SecretNotOwned");
    scene.sync("orders-db");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&theirs));
    assert_eq!(
        scene.served("get").len(),
        1,
        "no payload is read for a name that is known to be taken"
    );
    scene.delete(SECRET, "orders-db");
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"payload");
    assert!(owned(&scene.get(SECRET, "orders-db")));
}

#[test]
fn taking_the_label_off_releases_the_secret() {
    let scene = synced("released");
    let off = json!({"metadata": {"labels": {"keyprotect.dev/target": null}}});
    let released = scene.patch(SECRET, "orders-db", &off);
    scene.until_reason("orders-db", "SecretNotOwned");
    scene.sync("orders-db");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&released));
    let on = json!({"metadata": {"labels": {"keyprotect.dev/target": "owned"}}});
    scene.patch(SECRET, "orders-db", &on);
    scene.until_synced("orders-db");
}

#[test]
fn edits_of_entries_are_undone_and_labels_and_annotations_of_others_are_kept() {
    let scene = synced("edited");
    let is_read = Form::current().reads_secrets();
    let made = scene.get(SECRET, "orders-db");
    let mark =
        json!({"metadata": {"labels": {"team": "payments"}, "annotations": {"note": "theirs"}}});
    let marked = scene.patch(SECRET, "orders-db", &mark);
    scene.sync("orders-db");
    let seen = scene.get(SECRET, "orders-db");
    // Where Secrets are not read, what others put on one is an edit like any other.
    let marked = if is_read {
        assert_eq!(version(&seen), version(&marked), "that is no edit");
        marked
    } else {
        assert_eq!(seen["metadata"]["labels"], made["metadata"]["labels"]);
        made
    };
    for edit in [
        json!({"data": {"key": base64(b"tampered")}}),
        json!({"data": {"more": base64(b"tampered")}}),
        json!({"data": {"key": null}}),
        json!({"metadata": {"annotations": {"keyprotect.dev/record": "forged"}}}),
        json!({"metadata": {"annotations": {"keyprotect.dev/record": null}}}),
    ] {
        let before = scene.get(SECRET, "orders-db");
        let edited = scene.patch(SECRET, "orders-db", &edit);
        if version(&edited) == version(&before) {
            // The record is in status there, so that there was none to take away.
            assert!(!is_read, "{edit}");
            continue;
        }
        if !is_read {
            // Asked for now, instead of waiting for the next look at it.
            scene.ask(KEY, "orders-db");
        }
        let restored = scene.until(SECRET, "orders-db", "the edit is undone", |secret| {
            version(secret) != version(&edited)
        });
        assert_eq!(restored["data"], marked["data"], "after {edit}");
        assert_eq!(
            restored["metadata"]["annotations"],
            marked["metadata"]["annotations"]
        );
        assert_eq!(restored["metadata"]["labels"], marked["metadata"]["labels"]);
        assert_eq!(uid(&restored), uid(&marked));
    }
    let note = scene.until_event("orders-db", "Restored");
    assert!(note.contains("had been edited"), "{note}");
    scene.until_synced("orders-db");
}

#[test]
fn a_deleted_secret_is_back_at_once() {
    let scene = synced("gone");
    let old = scene.get(SECRET, "orders-db");
    let begun = now();
    scene.delete(SECRET, "orders-db");
    scene.until(SECRET, "orders-db", "made anew", |secret| {
        uid(secret) != uid(&old)
    });
    let took = now().duration_since(begun);
    // By the watch: milliseconds, were the machine idle, and not at the next refresh in an hour.
    assert!(took < jiff::SignedDuration::from_secs(30), "{took:#}");
    assert_eq!(scene.data("orders-db")["key"], b"payload");
    let note = scene.until_event("orders-db", "Restored");
    assert!(note.contains("was missing"), "{note}");
}

#[test]
fn a_target_keeps_what_others_own_when_the_key_changes_and_drops_what_it_no_longer_wants() {
    if leaves_out(
        "rows_secrets::a_target_keeps_what_others_own_when_the_key_changes_and_drops_what_it_no_longer_wants",
    ) {
        return;
    }
    let scene = Stage::shared().scene("metadata");
    scene.alias("orders-db", "first");
    let metadata = |label: &str| json!({"target": {"metadata": {"labels": {label: "yes"}, "annotations": {"app.kubernetes.io/note": label}}}});
    scene.synced_object("orders-db", metadata("one"));
    let mark =
        json!({"metadata": {"labels": {"team": "payments"}, "finalizers": ["example.com/hold"]}});
    scene.patch(SECRET, "orders-db", &mark);
    let new = scene.key(json!({"name": "new", "payload": base64(b"second")}));
    scene.move_alias("orders-db", &new);
    scene.object("orders-db", metadata("two"));
    scene.sync("orders-db");
    let secret = scene.get(SECRET, "orders-db");
    let labels = &secret["metadata"]["labels"];
    assert_eq!(
        labels,
        &json!({"two": "yes", "team": "payments", "keyprotect.dev/target": "owned"})
    );
    assert_eq!(
        secret["metadata"]["finalizers"],
        json!(["example.com/hold"])
    );
    assert_eq!(
        secret["metadata"]["annotations"]["app.kubernetes.io/note"],
        "two"
    );
    assert_eq!(scene.data("orders-db")["key"], b"second");
    scene.patch(
        SECRET,
        "orders-db",
        &json!({"metadata": {"finalizers": null}}),
    );
}

#[test]
fn an_immutable_secret_is_named_and_made_anew_when_it_is_deleted() {
    let scene = synced("immutable");
    let frozen = scene.patch(SECRET, "orders-db", &json!({"immutable": true}));
    let new = scene.key(json!({"name": "new", "payload": base64(b"second")}));
    scene.move_alias("orders-db", &new);
    scene.sync("orders-db");
    let said = scene.until_reason("orders-db", "SecretImmutable");
    assert_eq!(said.status, "False");
    said.tells(&["Secret orders-db is immutable", "Delete the Secret"]);
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&frozen));
    scene.delete(SECRET, "orders-db");
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"second");
}

#[test]
fn a_quota_that_is_used_up_is_named_and_the_key_goes_on_when_there_is_room() {
    let scene = Stage::shared().scene("quota");
    scene.alias("orders-db", "payload");
    scene.create(
        "resourcequota",
        "none",
        json!({"spec": {"hard": {"count/secrets": "0"}}}),
    );
    scene.until("resourcequota", "none", "it counts", |quota| {
        quota["status"]["used"].is_object()
    });
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "SecretRejected");
    assert_eq!(said.status, "False");
    said.tells(&["Secret orders-db", "ResourceQuota", "raise it"]);
    scene.delete("resourcequota", "none");
    scene.sync("orders-db");
    scene.until_synced("orders-db");
}

#[test]
fn an_admission_policy_that_refuses_is_told_without_its_words() {
    let scene = Stage::shared().scene("policy");
    scene.alias("orders-db", "payload");
    let name = format!("tests-{}", scene.namespace);
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]});
    let only = json!({"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}});
    let kind = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let validation =
        json!({"expression": "false", "messageExpression": "'canary ' + string(object.data.key)"});
    let policy = kind(
        "ValidatingAdmissionPolicy",
        json!({"matchConstraints": {"resourceRules": [rule], "namespaceSelector": only}, "validations": [validation]}),
    );
    let binding = kind(
        "ValidatingAdmissionPolicyBinding",
        json!({"policyName": name, "validationActions": ["Deny"]}),
    );
    let cluster = scene.stage.cluster;
    for object in [&policy, &binding] {
        cluster.kubectl_ok(&["apply", "-f", "-"], &object.to_string());
    }
    eventually("the policy counts", || {
        !scene
            .kubectl(&["create", "secret", "generic", "try", "--dry-run=server"])
            .ok
    });
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "SecretRejected");
    said.tells(&[
        "Secret orders-db",
        "admission policy",
        "ask the cluster's admin",
    ]);
    let note = scene.until_event("orders-db", "SecretRejected");
    for text in [said.message, note, scene.stage.log()] {
        assert!(!text.contains("canary"), "the policy's words went further");
    }
    for object in [&binding, &policy] {
        cluster.kubectl_ok(&["delete", "-f", "-"], &object.to_string());
    }
    eventually("the policy counts no more", || {
        scene
            .kubectl(&["create", "secret", "generic", "try", "--dry-run=server"])
            .ok
    });
    scene.sync("orders-db");
    scene.until_synced("orders-db");
}

#[test]
fn a_type_whose_entries_the_payload_does_not_bring_is_named() {
    let scene = Stage::shared().scene("tls-type");
    scene.alias("web", r#"{"tls.key": "canary"}"#);
    scene.object(
        "web",
        json!({"target": {"type": "kubernetes.io/tls", "expand": "JSON"}}),
    );
    let said = scene.until_reason("web", "RenderFailed");
    said.tells(&["kubernetes.io/tls", "tls.crt"]);
    assert!(!said.message.contains("canary"));
    let entries =
        json!([{"name": "tls.key", "property": "tls.key"}, {"name": "tls.crt", "value": "cert"}]);
    scene.object(
        "web",
        json!({"target": {"type": "kubernetes.io/tls", "data": entries}}),
    );
    scene.until_synced("web");
    assert_eq!(scene.get(SECRET, "web")["type"], "kubernetes.io/tls");
}

#[test]
fn a_type_that_changed_since_the_secret_was_made_is_named() {
    let scene = synced("type");
    let target = json!({"type": "kubernetes.io/basic-auth", "data": [{"name": "password"}]});
    scene.delete(KEY, "orders-db");
    scene.until_gone(SECRET, "orders-db");
    let mark = json!({"metadata": {"labels": {"keyprotect.dev/target": "owned"}}, "stringData": {"a": "b"}});
    scene.create(SECRET, "orders-db", mark);
    scene.object("orders-db", json!({"target": target}));
    scene
        .until_reason("orders-db", "SecretRejected")
        .tells(&["type cannot be changed", "delete that Secret"]);
    scene.delete(SECRET, "orders-db");
    scene.until_synced("orders-db");
}

#[test]
fn of_two_objects_with_one_target_the_older_has_it_and_the_younger_takes_over() {
    let scene = synced("rivals");
    scene.alias("younger", "of the younger");
    let before = scene.get(SECRET, "orders-db");
    // Ages are told apart by the second.
    eventually("a second has passed", || {
        let made = scene.get(KEY, "orders-db")["metadata"]["creationTimestamp"].clone();
        let made: jiff::Timestamp = made.as_str().expect("a time").parse().expect("a time");
        now().as_second() > made.as_second()
    });
    scene.object("younger", json!({"target": {"name": "orders-db"}}));
    let said = scene.until_reason("younger", "TargetConflict");
    assert_eq!(said.status, "False");
    said.tells(&[
        "Secret orders-db",
        "older KeyProtectKey orders-db",
        "spec.target.name",
    ]);
    scene.until_event("younger", "TargetConflict");
    scene.sync("younger");
    scene.sync("orders-db");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
    scene.delete(KEY, "orders-db");
    scene.until_synced("younger");
    assert_eq!(scene.data("orders-db")["key"], b"of the younger");
    let taken = scene.get(SECRET, "orders-db");
    let owner = &taken["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(owner, uid(&scene.get(KEY, "younger")));
    // Who may not read Secrets writes over one that its owner left, where the garbage collector has
    // not been yet.
    if Form::current().reads_secrets() {
        assert_ne!(uid(&taken), uid(&before));
    }
}

#[test]
fn suspend_stops_refreshes_and_resuming_catches_up() {
    let scene = synced("suspend");
    scene.object("orders-db", json!({"suspend": true}));
    let said = scene.until_reason("orders-db", "Suspended");
    assert_eq!(said.status, "True");
    said.tells(&["spec.suspend is true"]);
    let before = scene.get(SECRET, "orders-db");
    let new = scene.key(json!({"name": "new", "payload": base64(b"second")}));
    scene.move_alias("orders-db", &new);
    let logged = scene.stage.log().len();
    scene.sync_instance();
    scene.until_looked_at("orders-db", logged);
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
    scene.object("orders-db", json!({"suspend": false}));
    scene.until_synced("orders-db");
    assert_eq!(scene.data("orders-db")["key"], b"second");
}
