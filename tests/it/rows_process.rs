//! What the operator asks of the service and of the API server, counted; and how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::cluster::eventually;
use crate::scene::{INSTANCE, KEY, SECRET, Scene};
use crate::seen::version;
use crate::stage::Stage;

/// A kubelet gives 30 s; what hangs here would for 60.
const STOP: Duration = Duration::from_secs(20);

/// Requests that the API server has answered, by verb and resource.
pub(crate) fn asked(stage: &Stage) -> BTreeMap<String, u64> {
    let text = stage.cluster.kubectl_ok(&["get", "--raw", "/metrics"], "");
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let Some(labels) = line.strip_prefix("apiserver_request_total{") else {
            continue;
        };
        let (labels, count) = labels.split_once('}').expect("labels");
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\"")).expect(name);
            rest.split_once('"').expect(name).0.to_owned()
        };
        let mut resource = label("resource");
        if !["secrets", "keyprotectkeys", "events"].contains(&&*resource) {
            continue;
        }
        if !label("subresource").is_empty() {
            resource = format!("{resource}/{}", label("subresource"));
        }
        if !label("dry_run").is_empty() {
            resource = format!("{resource} as a dry run");
        }
        let count: f64 = count.trim().parse().expect("a number");
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let count = count as u64;
        *counts
            .entry(format!("{} {resource}", label("verb")))
            .or_default() += count;
    }
    counts
}

/// What was asked between two counts, but for watches and this test's own looks at objects.
pub(crate) fn between(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let rose = after.iter().map(|(what, count)| {
        let was = before.get(what).copied().unwrap_or_default();
        (what.clone(), count - was)
    });
    rose.filter(|(what, count)| {
        *count > 0 && !what.starts_with("WATCH") && what != "GET keyprotectkeys"
    })
    .collect()
}

pub(crate) fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs
        .iter()
        .map(|(what, count)| ((*what).to_owned(), *count))
        .collect()
}

pub(crate) fn served(scene: &Scene, since: u64) -> Vec<String> {
    let mut all = Vec::new();
    for operation in [
        "token", "list", "count", "metadata", "get", "rings", "unknown",
    ] {
        all.extend(
            scene
                .served_since(operation, since)
                .into_iter()
                .map(|served| served.operation),
        );
    }
    all
}

#[test]
fn a_first_sync_is_one_listing_one_read_and_two_writes_and_a_restart_in_sync_is_nothing() {
    let Some(stage) = Stage::alone("counts") else {
        return;
    };
    let scene = stage.bare_scene("counts", "default");
    scene.alias("orders-db", "payload");
    scene.apply_instance(json!({"access": [{"namespaces": {"from": "All"}}], "credentials": null}));
    scene.until_instance("Ready", "Available");

    // No word but the name: instance, credential, key, entry and Secret are all defaults.
    let before = asked(stage);
    scene.create(KEY, "orders-db", json!({"spec": {}}));
    scene.until_synced("orders-db");
    let expected = [
        ("POST keyprotectkeys", 1),
        ("POST secrets", 1),
        ("PUT keyprotectkeys/status", 1),
    ];
    assert_eq!(between(&before, &asked(stage)), counts(&expected));
    assert_eq!(served(&scene, 0), ["token", "list", "get"]);
    assert_eq!(scene.events("orders-db"), []);
    assert_eq!(scene.data("orders-db")["key"], b"payload");

    scene.until(INSTANCE, "default", "its number of keys", |instance| {
        instance["status"]["keysInUse"] == 1
    });
    let things = [
        (KEY, "orders-db"),
        (SECRET, "orders-db"),
        (INSTANCE, "default"),
    ];
    let versions = || things.map(|(kind, name)| version(&scene.get(kind, name)).to_owned());
    let old = versions();
    let journal = scene.emulator.last_request();
    assert!(stage.stop_operator() < STOP);
    let before = asked(stage);
    stage.start_operator();
    eventually("the keys are listed", || {
        !scene.served_since("list", journal).is_empty()
    });
    // Another object that is made and synced now shows that the first one was looked at.
    scene.alias("second", "payload");
    scene.create(KEY, "second", json!({"spec": {}}));
    scene.until_synced("second");
    let mut expected = counts(&expected);
    // The opening lists, and the fence's self-test.
    expected.extend(counts(&[
        ("LIST keyprotectkeys", 1),
        ("LIST secrets", 1),
        ("POST secrets as a dry run", 1),
    ]));
    assert_eq!(between(&before, &asked(stage)), expected);
    let first = scene.get(KEY, "orders-db")["status"]["keys"][0]["id"].clone();
    let gets = scene.served_since("get", journal);
    assert!(
        gets.iter()
            .all(|get| get.key_id.as_deref() != first.as_str()),
        "{gets:?}"
    );
    assert_eq!(scene.served_since("list", journal).len(), 1);
    assert_eq!(versions()[..2], old[..2]);

    // Told to stop while a look hangs, it ends in time all the same.
    scene.alias("hangs", "payload");
    scene.fault(json!({"match": {"operation": "get"}, "effect": {"delayMs": 60_000}}));
    let logged = scene.emulator.last_request();
    scene.create(KEY, "hangs", json!({"spec": {}}));
    eventually("its key is asked for", || {
        !scene.served_since("metadata", logged).is_empty()
    });
    assert!(stage.stop_operator() < STOP);
    assert!(scene.find(SECRET, "hangs").is_none());
    stage.strike();
}
