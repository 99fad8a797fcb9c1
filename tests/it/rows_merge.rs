//! Secrets of others: handed over by their owner, or shared entry by entry (creationPolicy Merge).

use key_protect_operator::controller::clock::now;
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::form::{Form, leaves_out};
use crate::scene::{KEY, SECRET, Scene, base64};
use crate::seen::version;
use crate::stage::Stage;

/// A key `orders-db`, and a Secret `app` that its owner shares.
fn sharing(name: &str, offer: &str) -> Scene {
    let scene = Stage::shared().scene(name);
    scene.alias("orders-db", "payload");
    scene.create(SECRET, "app", shared(offer));
    scene
}

fn shared(offer: &str) -> Value {
    json!({
        "metadata": {
            "labels": {"keyprotect.dev/target": "shared", "team": "payments"},
            "annotations": {"keyprotect.dev/entries": offer},
        },
        "stringData": {"theirs": "value", "password": "placeholder"},
    })
}

fn merging(entries: &[&str]) -> Value {
    let data: Vec<Value> = entries.iter().map(|name| json!({"name": name})).collect();
    json!({"target": {"name": "app", "creationPolicy": "Merge", "data": data}})
}

/// Does what the message of an object says, as somebody who pastes it.
fn paste_the_role(scene: &Scene, object: &str) {
    // Before that, it may say that the Secret is not there: its watch may be behind the object's.
    let shown = scene.until(KEY, object, "the command", |object| {
        crate::seen::condition(object, "Ready")
            .is_some_and(|said| said.message.contains("to give: "))
    });
    let said = crate::seen::condition(&shown, "Ready").expect("Ready");
    let (_, rest) = said.message.split_once("to give: ").expect("a command");
    let (commands, _) = rest.split_once(". (").expect("its end");
    for command in commands.split(" && ") {
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("kubectl"));
        let done = scene.kubectl(&words.collect::<Vec<_>>());
        assert!(done.ok, "{command}: {}", done.stderr);
    }
    scene.ask(KEY, object);
}

fn merged(name: &str, offer: &str, entries: &[&str]) -> Scene {
    let scene = sharing(name, offer);
    scene.object("orders-db", merging(entries));
    paste_the_role(&scene, "orders-db");
    scene.until_synced("orders-db");
    scene
}

#[test]
fn a_secret_that_its_owner_hands_over_is_the_operators_from_then_on() {
    let scene = Stage::shared().scene("adopted");
    scene.alias("orders-db", "payload");
    let theirs = scene.create(
        SECRET,
        "orders-db",
        json!({"metadata": {"labels": {"team": "payments"}}, "stringData": {"theirs": "value"}}),
    );
    scene.object("orders-db", json!({}));
    scene
        .until_reason("orders-db", "SecretNotOwned")
        .tells(&["kubectl label secret orders-db keyprotect.dev/target=adopt"]);
    let labelled = scene.kubectl(&[
        "label",
        "secret",
        "orders-db",
        "keyprotect.dev/target=adopt",
    ]);
    assert!(labelled.ok, "{}", labelled.stderr);
    if !Form::current().reads_secrets() {
        // Nothing tells of the label; asked for now, instead of waiting for the next attempt.
        scene.ask(KEY, "orders-db");
    }
    scene.until_synced("orders-db");
    let secret = scene.get(SECRET, "orders-db");
    assert_eq!(secret["metadata"]["uid"], theirs["metadata"]["uid"]);
    assert_eq!(
        secret["metadata"]["labels"]["keyprotect.dev/target"],
        "owned"
    );
    // Where Secrets are not read, what others put on one is lost with the next write.
    if Form::current().reads_secrets() {
        assert_eq!(secret["metadata"]["labels"]["team"], "payments");
    }
    assert_eq!(secret["data"], json!({"key": base64(b"payload")}));
    scene.delete(KEY, "orders-db");
    scene.until_gone(SECRET, "orders-db");
}

#[test]
fn a_handed_over_secret_keeps_nothing_of_what_kubectl_applied_to_it() {
    let scene = Stage::shared().scene("lastapplied");
    scene.alias("orders-db", "payload");
    let noted = "kubectl.kubernetes.io/last-applied-configuration";
    scene.create(
        SECRET,
        "orders-db",
        json!({
            "metadata": {
                "labels": {"keyprotect.dev/target": "adopt"},
                "annotations": {noted: "{\"data\":{\"key\":\"b2xk\"}}"},
            },
            "stringData": {"key": "old"},
        }),
    );
    scene.synced_object("orders-db", json!({}));
    let annotations = &scene.get(SECRET, "orders-db")["metadata"]["annotations"];
    assert!(annotations.get(noted).is_none(), "{annotations}");
}

#[test]
fn entries_are_written_once_their_owner_gives_the_right_that_the_message_asks_for() {
    if leaves_out(
        "rows_merge::entries_are_written_once_their_owner_gives_the_right_that_the_message_asks_for",
    ) {
        return;
    }
    let scene = sharing("merge", "password, token");
    let before = scene.get(SECRET, "app");
    scene.object("orders-db", merging(&["password"]));
    scene.until_reason("orders-db", "SecretNotOwned").tells(&[
        "kubectl create role key-protect-operator-patch-app",
        "--verb=patch --resource=secrets --resource-name=app",
        "--serviceaccount=key-protect-system:key-protect-operator",
    ]);
    assert_eq!(
        scene.served("get").len(),
        0,
        "no payload is read without the right to write it"
    );
    paste_the_role(&scene, "orders-db");
    scene.until_synced("orders-db");
    let after = scene.get(SECRET, "app");
    let data = json!({"password": base64(b"payload"), "theirs": base64(b"value")});
    assert_eq!(after["data"], data);
    for field in [
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "uid",
    ] {
        assert_eq!(
            after["metadata"][field], before["metadata"][field],
            "{field}"
        );
    }
    // Nothing is left to do.
    scene.sync("orders-db");
    assert_eq!(version(&scene.get(SECRET, "app")), version(&after));
    assert_eq!(scene.served("get").len(), 1);
}

#[test]
fn what_is_not_shared_or_not_offered_is_not_written() {
    if leaves_out("rows_merge::what_is_not_shared_or_not_offered_is_not_written") {
        return;
    }
    let scene = sharing("unoffered", "token");
    scene.object("orders-db", merging(&["password", "token"]));
    scene.until_reason("orders-db", "SecretNotOwned").tells(&[
        "does not offer these entries: password",
        "keyprotect.dev/entries",
    ]);
    let unshared = json!({"metadata": {"labels": {"keyprotect.dev/target": null}}});
    let theirs = scene.patch(SECRET, "app", &unshared);
    scene.until(KEY, "orders-db", "it says so", |object| {
        crate::seen::condition(object, "Ready")
            .is_some_and(|said| said.message.contains("keyprotect.dev/target=shared"))
    });
    assert_eq!(version(&scene.get(SECRET, "app")), version(&theirs));
    assert_eq!(scene.served("get").len(), 0);
}

#[test]
fn an_edit_of_a_shared_entry_is_undone_and_an_edit_beside_it_is_left_alone() {
    if leaves_out(
        "rows_merge::an_edit_of_a_shared_entry_is_undone_and_an_edit_beside_it_is_left_alone",
    ) {
        return;
    }
    let scene = merged("mergedit", "password", &["password"]);
    scene.patch(
        SECRET,
        "app",
        &json!({"data": {"password": base64(b"tampered")}}),
    );
    eventually("the entry is restored", || {
        scene.data("app")["password"] == b"payload"
    });
    let edit = json!({"data": {"theirs": base64(b"new"), "more": base64(b"more")}});
    let edited = scene.patch(SECRET, "app", &edit);
    scene.until(KEY, "orders-db", "it has seen that", |object| {
        object["status"]["secret"]["resourceVersion"] == edited["metadata"]["resourceVersion"]
    });
    assert_eq!(version(&scene.get(SECRET, "app")), version(&edited));
}

#[test]
fn entries_go_with_their_object_and_what_is_the_owners_stays() {
    if leaves_out("rows_merge::entries_go_with_their_object_and_what_is_the_owners_stays") {
        return;
    }
    let scene = merged("mergegone", "password", &["password"]);
    scene.delete(KEY, "orders-db");
    eventually("the entry is given back", || {
        !scene.data("app").contains_key("password")
    });
    assert_eq!(scene.data("app")["theirs"], b"value");
}

#[test]
fn entries_that_are_to_stay_stay() {
    if leaves_out("rows_merge::entries_that_are_to_stay_stay") {
        return;
    }
    let scene = sharing("mergestays", "password");
    let mut spec = merging(&["password"]);
    spec["target"]["deletionPolicy"] = json!("Retain");
    scene.object("orders-db", spec);
    paste_the_role(&scene, "orders-db");
    scene.until_synced("orders-db");
    let before = scene.get(SECRET, "app");
    scene.delete(KEY, "orders-db");
    // The operator has seen that it is gone, once another object is in sync after it.
    scene.alias("later", "later");
    scene.synced_object("later", json!({}));
    assert_eq!(version(&scene.get(SECRET, "app")), version(&before));
}

#[test]
fn entries_of_an_object_that_went_while_no_operator_ran_are_given_back_at_the_next_start() {
    if leaves_out(
        "rows_merge::entries_of_an_object_that_went_while_no_operator_ran_are_given_back_at_the_next_start",
    ) {
        return;
    }
    let Some(stage) = Stage::alone("mergesweep") else {
        return;
    };
    let scene = stage.scene("mergesweep");
    scene.alias("orders-db", "payload");
    scene.create(SECRET, "app", shared("password"));
    scene.object("orders-db", merging(&["password"]));
    paste_the_role(&scene, "orders-db");
    scene.until_synced("orders-db");
    stage.stop_operator();
    scene.delete(KEY, "orders-db");
    assert_eq!(scene.data("app")["password"], b"payload");
    stage.start_operator();
    eventually("the entry is given back", || {
        !scene.data("app").contains_key("password")
    });
    assert_eq!(scene.data("app")["theirs"], b"value");
    stage.strike();
}

#[test]
fn two_objects_share_a_secret_and_an_entry_has_one_of_them() {
    if leaves_out("rows_merge::two_objects_share_a_secret_and_an_entry_has_one_of_them") {
        return;
    }
    let scene = merged("mergetwo", "password,token", &["password"]);
    scene.alias("second", "other");
    // Ages are told apart by the second.
    eventually("a second has passed", || {
        let made = scene.get(KEY, "orders-db")["metadata"]["creationTimestamp"].clone();
        let made: jiff::Timestamp = made.as_str().expect("a time").parse().expect("a time");
        now().as_second() > made.as_second()
    });
    scene.object("second", merging(&["password"]));
    scene
        .until_reason("second", "EntryConflict")
        .tells(&["entry password", "older KeyProtectKey orders-db"]);
    scene.object("second", merging(&["token"]));
    scene.until_synced("second");
    scene.sync("orders-db");
    scene.sync("second");
    let data = scene.data("app");
    assert_eq!(data["password"], b"payload");
    assert_eq!(data["token"], b"other");
    let settled = scene.get(SECRET, "app");
    scene.sync("orders-db");
    scene.sync("second");
    assert_eq!(version(&scene.get(SECRET, "app")), version(&settled));
}

#[test]
fn the_target_moves_new_entries_first() {
    if leaves_out("rows_merge::the_target_moves_new_entries_first") {
        return;
    }
    let scene = merged("mergemove", "password", &["password"]);
    scene.create(SECRET, "other", shared("password"));
    let mut spec = merging(&["password"]);
    spec["target"]["name"] = json!("other");
    scene.object("orders-db", spec);
    paste_the_role(&scene, "orders-db");
    scene.until_synced("orders-db");
    assert_eq!(scene.data("other")["password"], b"payload");
    eventually("the old entry is given back", || {
        !scene.data("app").contains_key("password")
    });
}
