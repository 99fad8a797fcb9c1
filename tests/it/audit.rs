//! The audit stream: a line for every request for a payload that reaches the service, and for every
//! write of a Secret, whoever asks, however it ends, and whatever the log is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::scene::{KEY, SECRET, Scene, base64};
use crate::stage::Stage;

/// The lines about a scene's objects.
fn lines(scene: &Scene) -> Vec<Value> {
    let mut lines = scene.stage.audit();
    lines.retain(|line| line["object"]["namespace"] == *scene.namespace);
    lines
}

fn of<'a>(lines: &'a [Value], action: &str) -> Vec<&'a Value> {
    let lines = lines.iter();
    lines.filter(|line| line["action"] == action).collect()
}

/// How often each correlation ID is there.
fn counted<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

/// Asserts that every request for a payload that the emulator has served is one line, and every
/// line one request.
#[track_caller]
fn assert_reads_are_lines(scene: &Scene) {
    let served = scene.served("get");
    let lines = lines(scene);
    let reads = of(&lines, "ReadPayload");
    let told = reads.iter().map(|line| {
        let id = &line["keys"][0]["correlationID"];
        id.as_str().expect("a correlation ID")
    });
    let served_ids = served.iter().map(|served| {
        let id = served.correlation_id.as_deref();
        id.expect("a correlation ID")
    });
    assert_eq!(counted(told), counted(served_ids));
    for line in reads {
        let id = &line["keys"][0]["correlationID"];
        let served = served
            .iter()
            .find(|served| json!(served.correlation_id) == *id);
        let served = served.expect("the request");
        assert_eq!(line["keys"][0]["id"], json!(served.key_id), "{line}");
        let outcome = match served.status {
            Some(200) => "Succeeded",
            Some(401 | 403) => "Denied",
            _ => "Failed",
        };
        assert_eq!(line["outcome"], outcome, "{line}");
        if outcome != "Succeeded" {
            assert_eq!(line["status"], json!(served.status), "{line}");
        }
    }
}

#[test]
fn every_payload_that_is_asked_for_is_one_line_however_the_service_answers() {
    let scene = Stage::shared().scene("audit");
    let id =
        scene.key(json!({"name": "aa", "aliases": ["aa"], "payload": base64(b"canary-payload")}));
    scene.alias("bb", "canary-payload");
    // Several that need one key share its read; each has a write of its own.
    for name in ["one", "two", "three"] {
        scene.object(name, json!({"key": {"alias": "aa"}}));
    }
    for name in ["one", "two", "three"] {
        scene.until_synced(name);
    }
    // Some failures pass, and the request is sent again: that is a line more.
    scene.fault(json!({"match": {"operation": "get"}, "times": 2, "effect": {"status": 503}}));
    scene.synced_object("bb", json!({}));
    scene.heal();
    // Refused: the service's 401 may be the token's, so a second request goes out with another.
    scene.alias("cc", "canary-payload");
    scene.role("Reader");
    scene.object("cc", json!({}));
    scene.until_reason("cc", "PayloadForbidden");
    scene.role("ReaderPlus");
    assert_reads_are_lines(&scene);

    let lines = lines(&scene);
    let denied = of(&lines, "ReadPayload");
    let denied: Vec<_> = denied
        .iter()
        .filter(|line| line["outcome"] == "Denied")
        .collect();
    assert!(!denied.is_empty());
    let object = scene.get(KEY, "cc");
    assert_eq!(denied[0]["object"]["uid"], object["metadata"]["uid"]);
    let namespace = scene.stage.cluster.kubectl_ok(
        &[
            "get",
            "namespace",
            &scene.namespace,
            "-o",
            "jsonpath={.metadata.uid}",
        ],
        "",
    );
    assert_eq!(denied[0]["object"]["namespaceUID"], json!(namespace));
    assert_eq!(denied[0]["instance"]["name"], json!(scene.instance));
    assert_eq!(denied[0]["instance"]["instanceID"], json!(scene.guid));

    // Whoever joined another's read is told of by the write of what came of it.
    let writes = of(&lines, "CreateSecret");
    let a: Vec<_> = writes
        .iter()
        .filter(|line| line["keys"][0]["id"] == json!(id))
        .collect();
    assert_eq!(a.len(), 3, "{writes:?}");
    let crn = a[0]["keys"][0]["crn"].as_str().expect("a CRN");
    assert!(crn.ends_with(&format!(":key:{id}")), "{crn}");
    let text = serde_json::to_string(&lines).expect("JSON");
    assert!(!text.contains("canary") && !text.contains(&base64(b"canary-payload")));
}

#[test]
fn every_write_of_a_secret_is_one_line_that_says_why() {
    let scene = Stage::shared().scene("audit-writes");
    scene.alias("first", "one");
    scene.alias("second", "two");
    let seen = |reason: &str| {
        let lines = lines(&scene);
        lines
            .iter()
            .any(|line| line["reason"] == reason && line["action"] != "ReadPayload")
    };
    scene.synced_object("orders", json!({"key": {"alias": "first"}}));
    scene.synced_object("orders", json!({"key": {"alias": "second"}}));
    eventually("the key changed", || seen("KeyOrTargetChanged"));
    scene.delete(SECRET, "orders");
    eventually("it is restored", || seen("SecretMissing"));
    scene.until_synced("orders");
    let old = scene.get(SECRET, "orders");
    let renamed = json!({"key": {"alias": "second"}, "target": {"name": "renamed"}});
    scene.synced_object("orders", renamed);
    eventually("the old one is gone", || {
        scene.find(SECRET, "orders").is_none()
    });
    // One that the API server refuses.
    let quota = json!({"spec": {"hard": {"secrets": "1"}}});
    scene.create("resourcequota", "one", quota);
    scene.until("resourcequota", "one", "it counts", |quota| {
        quota["status"]["used"]["secrets"] == "1"
    });
    scene.object("refused", json!({"key": {"alias": "first"}}));
    scene.until_reason("refused", "SecretRejected");

    let lines = lines(&scene);
    let writes: Vec<String> = lines
        .iter()
        .filter(|line| line["action"] != "ReadPayload")
        .map(|line| {
            let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            [
                &line["action"],
                &line["secret"]["name"],
                &line["outcome"],
                &line["reason"],
            ]
            .map(word)
            .join(" ")
        })
        .collect();
    assert_eq!(
        writes,
        [
            "CreateSecret orders Succeeded FirstSync",
            "ReplaceSecret orders Succeeded KeyOrTargetChanged",
            "CreateSecret orders Succeeded SecretMissing",
            "CreateSecret renamed Succeeded TargetRenamed",
            "DeleteSecret orders Succeeded TargetRenamed",
            "CreateSecret refused Denied FirstSync",
        ]
    );
    let deleted = of(&lines, "DeleteSecret")[0];
    assert_eq!(deleted["secret"]["uid"], old["metadata"]["uid"]);
    let made = of(&lines, "CreateSecret")[2];
    let renamed = scene.get(SECRET, "renamed");
    assert_eq!(made["secret"]["uid"], renamed["metadata"]["uid"]);
    assert_eq!(made["secret"]["entries"], json!(["key"]));
    assert_reads_are_lines(&scene);
}

/// With a log that says nothing at all, and a request that nobody waits for the end of.
#[test]
fn no_log_level_switches_the_stream_off_and_what_is_cut_off_is_told_of() {
    let Some(stage) = Stage::empty("audit") else {
        return;
    };
    stage.start_operator_with(&["--log", "off"]);
    let scene = stage.scene("audit");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    assert_reads_are_lines(&scene);
    assert_eq!(stage.log(), "");

    scene.alias("hangs", "payload");
    scene.fault(json!({"match": {"operation": "get"}, "effect": {"delayMs": 60_000}}));
    let served = scene.emulator.last_request();
    scene.object("hangs", json!({}));
    eventually("the request is there", || {
        let waiting = scene.emulator.faults();
        waiting.iter().any(|(_, _, matched)| *matched > 0)
    });
    stage.stop_operator();
    let lines = lines(&scene);
    let last = lines.last().expect("a line");
    assert_eq!(last["action"], "ReadPayload", "{last} since {served}");
    assert_eq!(last["outcome"], "Unanswered");
    assert_eq!(last["object"]["name"], "hangs");
    stage.strike();
}
