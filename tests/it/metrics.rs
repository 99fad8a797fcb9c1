//! `/metrics` of a real operator: after what happened, the numbers are exactly these; the text is
//! one that every scraper takes; and no word of a tenant, of a key or of a secret is in it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real processes, and compare with the time"
)]

use std::collections::{BTreeMap, BTreeSet};

use key_protect_operator::metrics::names;
use serde_json::json;

use crate::cluster::eventually;
use crate::exposition::{self, Family, Format};
use crate::form::leaves_out;
use crate::scene::{INSTANCE, KEY, SECRET, Scene};
use crate::stage::{OPERATOR_NAMESPACE, Stage};

/// Values by name and labels, as a person would write them.
type Numbers = BTreeMap<String, f64>;

fn families(stage: &Stage, format: Format) -> Vec<Family> {
    let (accept, content_type) = match format {
        Format::Prometheus => ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        Format::OpenMetrics => (
            "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    };
    let answer = stage.metrics(accept);
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    assert!(
        head.contains(&format!("content-type: {content_type}\r\n")),
        "{head}"
    );
    exposition::read(text, format).unwrap_or_else(|why| panic!("{format:?}: {why}\n{text}"))
}

fn numbers(stage: &Stage) -> Numbers {
    let samples = families(stage, Format::Prometheus).into_iter();
    samples
        .flat_map(|family| family.samples)
        .map(|sample| {
            let labels: Vec<String> = sample
                .labels
                .iter()
                .map(|(label, value)| format!("{label}={value}"))
                .collect();
            let name = sample.name.trim_start_matches("keyprotect_");
            (
                format!("{name} {}", labels.join(" ")).trim().to_owned(),
                sample.value,
            )
        })
        .collect()
}

/// Whether a number is a count of what the operator asked of others. But for watches and their
/// listings, for the Lease, for the fence's self-test (reviews of the operator's own access, and
/// creates that nothing makes), and for the instances' status, which speaks of them by and by.
fn is_deed(name: &str) -> bool {
    let counted = ["upstream_", "api_requests_total"];
    counted.iter().any(|begin| name.starts_with(begin))
        && ![
            "_bucket",
            "_sum",
            "_count",
            "verb=watch",
            "verb=list",
            "verb=dry-run",
            "resource=other",
            "keyprotectinstances",
            "leases",
            // What it asks about itself at the start.
            "selfsubject",
        ]
        .iter()
        .any(|part| name.contains(part))
}

/// How often looks ended with a reason, as the operator's log has it: there is a line for each.
/// How many there are is not for this test to say: a watch may show an own write before its
/// answer is there, and that is worth a look.
fn logged(stage: &Stage) -> BTreeMap<String, f64> {
    let mut looks = BTreeMap::new();
    for line in stage.log().lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let by = line["target"].as_str().unwrap_or_default();
        if let Some(reason) = line["reason"].as_str()
            && by == "key_protect_operator::controller::execute"
        {
            *looks.entry(reason.to_owned()).or_default() += 1.0;
        }
    }
    looks
}

/// How often looks ended with a reason, as the metrics have it.
fn syncs(numbers: &Numbers) -> BTreeMap<String, f64> {
    let syncs = numbers.iter().filter_map(|(name, count)| {
        let (reason, result) = name
            .strip_prefix("syncs_total reason=")?
            .split_once(" result=")?;
        let expected = match reason {
            "Synced" => "success",
            "Pending" => "waiting",
            _ => "failed",
        };
        assert_eq!(result, expected, "{reason}");
        Some((reason.to_owned(), *count))
    });
    syncs.collect()
}

/// What was counted between two moments.
fn deeds(before: &Numbers, after: &Numbers) -> Numbers {
    after
        .iter()
        .filter(|(name, _)| is_deed(name))
        .map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0.0)))
        .filter(|(_, count)| *count != 0.0)
        .collect()
}

fn expected(pairs: &[(&str, f64)]) -> Numbers {
    pairs
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// Waits until exactly this was counted: a status or an Event may still be under way.
#[track_caller]
fn until_done(stage: &Stage, before: &Numbers, pairs: &[(&str, f64)]) -> Numbers {
    let (expected, mut now) = (expected(pairs), Numbers::new());
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while deeds(before, &now) != expected {
        let late = std::time::Instant::now() > patience;
        assert!(
            !late,
            "counted: {:#?}\nexpected: {expected:#?}",
            deeds(before, &now)
        );
        now = numbers(stage);
    }
    now
}

/// Waits until a number is this: what is gathered comes after what was asked for it.
#[track_caller]
fn until_told(stage: &Stage, name: &str, value: f64) -> Numbers {
    let mut now = Numbers::new();
    eventually(&format!("{name} is {value}"), || {
        now = numbers(stage);
        now.get(name) == Some(&value)
    });
    now
}

const CREATE: (&str, f64) = (
    "api_requests_total code=201 resource=secrets verb=create",
    1.0,
);
const STATUS: (&str, f64) = (
    "api_requests_total code=200 resource=keyprotectkeys/status verb=update",
    1.0,
);
const EVENT: (&str, f64) = (
    "api_requests_total code=201 resource=events verb=create",
    1.0,
);
const LISTED: &str = "upstream_requests_total code=200 operation=list_keys";

fn own(name: &str) -> String {
    format!("{name} instance_name=default instance_namespace={OPERATOR_NAMESPACE}")
}

#[test]
fn the_numbers_are_those_of_what_happened() {
    if leaves_out("metrics::the_numbers_are_those_of_what_happened") {
        return;
    }
    let Some(stage) = Stage::alone("metrics") else {
        return;
    };
    let scene = stage.bare_scene("metrics", "default");
    nothing_happened_yet(&scene);
    a_first_sync(&scene);
    a_key_that_cannot_be_rendered(&scene);
    throttling(&scene);
    an_instance_that_goes(&scene);
    a_credential_that_iam_refuses(&scene);
    every_look_is_counted(stage);
    every_metric_is_described(stage);
    // Costly to set up, and so one stage for all.
    a_denied_request_is_counted_like_one_for_a_key_that_is_not_there(stage);
    objects_and_keys_make_no_series_and_leave_no_word(stage);
    stage.strike();
}

fn nothing_happened_yet(scene: &Scene) {
    let now = until_told(scene.stage, "leader", 1.0);
    assert_eq!(deeds(&Numbers::new(), &now), Numbers::new());
    for (name, value) in [
        ("fence state=off", 0.0),
        ("fence state=active", 1.0),
        ("instances", 0.0),
        ("instances_omitted", 0.0),
        ("stale_objects", 0.0),
        ("waiting_objects lane=first", 0.0),
        ("oldest_waiting_seconds lane=first", 0.0),
        ("oldest_waiting_seconds lane=routine", 0.0),
        (
            "api_requests_total code=200 resource=secrets verb=list",
            1.0,
        ),
        (
            "api_requests_total code=200 resource=keyprotectkeys verb=watch",
            1.0,
        ),
    ] {
        assert_eq!(now.get(name), Some(&value), "{name}: {now:#?}");
    }
    let version = format!("build_info version={}", env!("CARGO_PKG_VERSION"));
    assert_eq!(now.get(&version), Some(&1.0));
    assert!(now["process_resident_memory_bytes"] > 1e6);
    assert!(now["process_cpu_seconds_total"] > 0.0);
    assert!(now["process_open_fds"] > 3.0 && now["process_open_fds"] < now["process_max_fds"]);
    let started = now["process_start_time_seconds"];
    let age = jiff::Timestamp::now().as_second() as f64 - started;
    assert!((0.0..120.0).contains(&age), "started {age} s ago");
}

fn a_first_sync(scene: &Scene) {
    let stage = scene.stage;
    let expires = "2999-01-01T00:00:00Z";
    scene.key(json!({"name": "first", "aliases": ["orders-db"], "expirationDate": expires}));
    scene.key(json!({"name": "second"}));
    scene.apply_instance(json!({"access": [{"namespaces": {"from": "All"}}], "credentials": null}));
    scene.until_instance("Ready", "Available");
    let ready = [
        ("upstream_requests_total code=200 operation=token", 1.0),
        (LISTED, 1.0),
    ];
    until_done(stage, &Numbers::new(), &ready);
    let before = until_told(stage, &format!("{} state=Active", own("keys")), 2.0);
    let status = "api_requests_total code=200 resource=keyprotectinstances/status verb=update";
    assert!(before[status] >= 1.0);
    assert!(!before.contains_key(&own("next_key_expiry_seconds")));

    scene.create(KEY, "orders-db", json!({"spec": {}}));
    let read = ("upstream_requests_total code=200 operation=get_key", 1.0);
    let synced = [CREATE, STATUS, read];
    until_done(stage, &before, &synced);
    until_told(stage, "objects ready=True reason=Synced", 1.0);
    let now = until_told(stage, &own("keys_in_use"), 1.0);
    assert!(syncs(&now)["Synced"] >= 1.0);
    for operation in ["token", "list_keys", "get_key"] {
        let count = format!("upstream_request_duration_seconds_count operation={operation}");
        assert_eq!(now[&count], 1.0, "{count}");
    }
    let name = own("instance_ready");
    assert_eq!(now[&format!("{name} reason=Available")], 1.0);
    assert!((0.0..60.0).contains(&now[&own("catalogue_age_seconds")]));
    assert!((1.0..=3600.0).contains(&now[&own("token_expiry_seconds")]));
    let at: jiff::Timestamp = expires.parse().unwrap();
    let left = at.duration_since(jiff::Timestamp::now()).as_secs_f64();
    let told = now[&own("next_key_expiry_seconds")];
    assert!((told - left).abs() < 60.0, "{told} {left}");
}

fn a_key_that_cannot_be_rendered(scene: &Scene) {
    let before = numbers(scene.stage);
    scene.alias("no-json", "payload");
    let target = json!({"data": [{"name": "x", "property": "y"}]});
    scene.create(KEY, "no-json", json!({"spec": {"target": target}}));
    scene.until_reason("no-json", "RenderFailed");
    let failed = [
        // It is not in the listing yet, so it is asked for by itself.
        (
            "upstream_requests_total code=200/404/410 operation=get_key_metadata",
            1.0,
        ),
        ("upstream_requests_total code=200 operation=get_key", 1.0),
        STATUS,
        EVENT,
    ];
    until_done(scene.stage, &before, &failed);
    let now = until_told(scene.stage, "objects ready=False reason=RenderFailed", 1.0);
    assert_eq!(now["objects ready=True reason=Synced"], 1.0);
}

fn throttling(scene: &Scene) {
    let before = numbers(scene.stage);
    scene.fault(json!({
        "match": {"operation": "list"}, "times": 2,
        "effect": {"status": 429, "retryAfter": 1},
    }));
    let asked = scene.ask(INSTANCE, &scene.instance);
    scene.until_answered(INSTANCE, &scene.instance, &asked);
    let throttled = [
        ("upstream_requests_total code=429 operation=list_keys", 2.0),
        ("upstream_throttled_total operation=list_keys", 2.0),
        ("upstream_retries_total operation=list_keys", 2.0),
        (LISTED, 1.0),
    ];
    until_done(scene.stage, &before, &throttled);
    scene.heal();
}

/// With the instance go its series, and only its.
fn an_instance_that_goes(scene: &Scene) {
    let stage = scene.stage;
    let other = stage.scene("goes");
    other.alias("orders-db", "payload");
    other.synced_object("orders-db", json!({}));
    other.until_instance("Ready", "Available");
    let about = |instance: &str| {
        let numbers = numbers(stage).into_keys();
        let label = format!("instance_name={instance} ");
        numbers
            .filter(|name| name.contains(&label))
            .collect::<BTreeSet<_>>()
    };
    let first = about("default");
    assert!(first.len() >= 10, "{first:?}");
    eventually("the series of the other instance", || {
        about(&other.instance).len() >= 10
    });
    other.delete(INSTANCE, &other.instance);
    eventually("its series go", || about(&other.instance).is_empty());
    assert_eq!(about("default"), first);
    assert_eq!(numbers(stage)["instances"], 1.0);
    other.delete(KEY, "orders-db");
    other.until_gone(KEY, "orders-db");
}

fn a_credential_that_iam_refuses(scene: &Scene) {
    let stage = scene.stage;
    let refused = "upstream_requests_total code=400 operation=token";
    assert!(!numbers(stage).contains_key(refused));
    let folder = stage.credential_folder("default");
    std::fs::write(folder.join("new"), "not-the-key").unwrap();
    std::fs::rename(folder.join("new"), folder.join("apikey")).unwrap();
    scene.ask(INSTANCE, &scene.instance);
    scene.until_instance("Authenticated", "CredentialRejected");
    // The old token serves, and IAM is asked once, not by everybody.
    let now = numbers(stage);
    assert_eq!(now[refused], 1.0);
    assert_eq!(now["upstream_requests_total code=200 operation=token"], 2.0);
    assert!(now[&own("token_expiry_seconds")] > 0.0);
}

fn every_look_is_counted(stage: &Stage) {
    let (mut counted, mut looked) = (BTreeMap::new(), BTreeMap::new());
    eventually("every look is counted", || {
        let now = numbers(stage);
        counted = syncs(&now);
        looked = logged(stage);
        let all: f64 = counted.values().sum();
        counted == looked && now["sync_duration_seconds_count"] >= all
    });
    for reason in ["RenderFailed", "Synced"] {
        assert!(counted.contains_key(reason), "{counted:?}");
    }
}

/// Whatever is exposed is described, with exactly the labels that it has, in both formats.
fn every_metric_is_described(stage: &Stage) {
    let described: BTreeMap<String, _> = names::ALL.iter().map(|m| (m.name(), *m)).collect();
    let mut seen = BTreeSet::new();
    for format in [Format::Prometheus, Format::OpenMetrics] {
        for family in families(stage, format) {
            let ending = match (format, family.kind.as_str()) {
                (Format::OpenMetrics, "counter") => "_total",
                (Format::OpenMetrics, "info") => "_info",
                _ => "",
            };
            let name = format!("{}{ending}", family.name);
            let metric = described
                .get(&name)
                .unwrap_or_else(|| panic!("{name} is not described"));
            assert_eq!(family.help, format!("{}.", metric.help));
            for sample in &family.samples {
                let labels = sample.labels.keys().map(String::as_str);
                let labels: BTreeSet<&str> = labels.filter(|label| *label != "le").collect();
                assert_eq!(labels, metric.labels.iter().copied().collect(), "{name}");
            }
            seen.insert(name);
        }
    }
    // What this scenario had no occasion for.
    let unseen: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    let unseen: Vec<&str> = unseen
        .into_iter()
        .filter(|name| !seen.contains(*name))
        .collect();
    assert_eq!(unseen, Vec::<&str>::new());
}

/// Who may not have a key, who asks for one that is not there, and who names no instance make
/// the same numbers.
fn a_denied_request_is_counted_like_one_for_a_key_that_is_not_there(stage: &'static Stage) {
    let scene = stage.bare_scene("denied", "denied");
    let allowed = scene.alias("allowed", "payload");
    let denied = scene.alias("denied", "payload");
    let other = stage.cluster.namespace_blocking("not-allowed");
    scene.apply_instance(json!({
        "access": [{"namespaces": {"from": "Names", "names": [scene.namespace]}, "ids": [allowed]}],
    }));
    scene.until_instance("Ready", "Available");
    let unknown = uuid::Uuid::new_v4().to_string();
    // An alias is a question to the service where no rule answers it beforehand, whether the key
    // is there or not.
    let asked = (
        "upstream_requests_total code=200/404/410 operation=get_key_metadata",
        1.0,
    );
    let elsewhere = json!({"name": "no-such-instance", "namespace": OPERATOR_NAMESPACE});
    let own = &scene.namespace;
    let case = |namespace: &str, mut spec: serde_json::Value, asks: bool| {
        if spec["instanceRef"].is_null() {
            spec["instanceRef"] = json!({"name": scene.instance, "namespace": OPERATOR_NAMESPACE});
        }
        let before = numbers(stage);
        let manifest = json!({
            "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
            "metadata": {"name": "wanted", "namespace": namespace}, "spec": spec});
        let text = manifest.to_string();
        stage.cluster.kubectl_ok(&["create", "-f", "-"], &text);
        let mut counted = vec![STATUS, EVENT];
        counted.extend(asks.then_some(asked));
        until_done(stage, &before, &counted);
        let objects = "objects ready=False reason=KeyNotAvailable";
        let now = until_told(stage, objects, 1.0);
        let kubectl = ["-n", namespace, "delete", KEY, "wanted"];
        stage.cluster.kubectl_ok(&kubectl, "");
        eventually("it is gone", || !numbers(stage).contains_key(objects));
        let (old, new) = (syncs(&before), syncs(&now));
        let rose = |(reason, count): &(&String, &f64)| old.get(*reason) != Some(*count);
        let reasons: Vec<String> = new.iter().filter(rose).map(|(r, _)| r.clone()).collect();
        let series: BTreeSet<String> = now.into_keys().collect();
        (reasons, series)
    };
    let not_there = case(own, json!({"key": {"id": unknown}}), false);
    let denied_by_rule = case(own, json!({"key": {"id": denied}}), false);
    assert_eq!(denied_by_rule, not_there);
    let no_instance = case(own, json!({"instanceRef": elsewhere}), false);
    let elsewhere = case(&other, json!({"key": {"id": allowed}}), false);
    assert_eq!(elsewhere, no_instance);
    let not_there = case(own, json!({"key": {"alias": "unknown"}}), true);
    let denied = case(own, json!({"key": {"alias": "denied"}}), true);
    assert_eq!(denied, not_there);
}

/// Two hundred objects with clever names make not one series more, and none of their words, nor
/// any word of their keys, is in the text.
fn objects_and_keys_make_no_series_and_leave_no_word(stage: &'static Stage) {
    let scene = stage.bare_scene("series", "series");
    scene.apply_instance(crate::scene::open_to_all());
    let payload = "canary-of-a-payload";
    let mut words: Vec<String> = vec![
        payload.to_owned(),
        crate::scene::base64(payload.as_bytes()),
        scene.api_key.clone(),
        scene.guid.clone(),
        scene.namespace.clone(),
        "evil".to_owned(),
        "127.0.1".to_owned(),
    ];
    // The first makes the series that there are.
    let make = |name: &str, words: &mut Vec<String>| {
        let evil = format!("{name}\"}} 1\nevil{{a=\"b\\");
        let payload = crate::scene::base64(payload.as_bytes());
        words.push(name.to_owned());
        words.push(scene.key(json!({"name": evil, "aliases": [name], "payload": payload})));
    };
    make("first-canary", &mut words);
    scene.synced_object("first-canary", json!({}));
    scene.object("nothing-canary", json!({}));
    scene.until_reason("nothing-canary", "KeyNotAvailable");
    words.push("nothing-canary".to_owned());
    scene.sync_instance();
    let before = numbers(stage);

    let names: Vec<String> = (0..100)
        .flat_map(|n| {
            [
                format!("canary-{n}"),
                format!("keyprotect.leader.{n}-canary"),
            ]
        })
        .map(|name| name.replace('.', "-"))
        .collect();
    for name in &names {
        make(name, &mut words);
    }
    scene.sync_instance();
    for name in &names {
        scene.object(name, json!({}));
    }
    for name in &names {
        scene.until_synced(name);
    }
    eventually("all are counted", || {
        let synced = "objects ready=True reason=Synced";
        numbers(stage)[synced] == before[synced] + 200.0
    });
    // Another status that a server sent may have come in, of a closed list; nothing else.
    let recorded = ["api_request", "upstream_", "syncs_total"];
    let new: Vec<String> = numbers(stage)
        .into_keys()
        .filter(|name| !before.contains_key(name))
        .filter(|name| !recorded.iter().any(|begin| name.starts_with(begin)))
        .collect();
    assert_eq!(new, Vec::<String>::new());
    for accept in ["*/*", "application/openmetrics-text"] {
        let text = stage.metrics(accept);
        for word in &words {
            assert!(!text.contains(word.as_str()), "{word:?} is in it:\n{text}");
        }
    }
    assert!(scene.find(SECRET, "canary-7").is_some());
}
