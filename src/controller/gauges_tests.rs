use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::*;
use crate::api::KeyProtectKey;
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;

fn object(name: &str, status: &serde_json::Value) -> KeyProtectKey {
    serde_json::from_value(json!({
        "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
        "metadata": {"name": name, "namespace": "payments", "uid": name, "resourceVersion": "1"},
        "spec": {}, "status": status,
    }))
    .unwrap()
}

fn said(object: &KeyProtectKey) -> Arc<Said> {
    Arc::new(Said::of(object.status.as_ref()))
}

fn condition(kind: &str, status: &str, reason: &str) -> serde_json::Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-11-24T10:00:00Z"})
}

fn instance(namespace: &str, name: &str, created: &str) -> KeyProtectInstance {
    serde_json::from_value(json!({
        "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectInstance",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": {},
    }))
    .unwrap()
}

#[test]
fn objects_are_counted_by_what_they_say_and_never_by_a_word_of_their_own() {
    let objects = [
        object(
            "a",
            &json!({"conditions": [condition("Ready", "True", "Synced")]}),
        ),
        object(
            "b",
            &json!({"conditions": [
                condition("Ready", "True", "Synced"), condition("Stale", "True", "NotConfirmed"),
            ]}),
        ),
        object(
            "c",
            &json!({"conditions": [condition("Ready", "False", "KeyNotAvailable")]}),
        ),
        object(
            "d",
            &json!({"conditions": [condition("Ready", "Maybe", "evil\"} 1\nx")]}),
        ),
        object("e", &json!({})),
    ]
    .map(|object| said(&object));
    let gauges = tally(objects.iter());
    let expected = [
        (("True", "Synced"), 2),
        (("False", "KeyNotAvailable"), 1),
        (("Unknown", "Unknown"), 1),
        (("Unknown", "Pending"), 1),
    ];
    assert_eq!(gauges.objects, BTreeMap::from(expected));
    assert_eq!(gauges.stale, 1);
}

#[test]
fn the_next_key_to_expire_is_the_first_that_has_not_yet() {
    let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    let expiring = |name: &str, dates: &[&str]| {
        let keys: Vec<_> = dates
            .iter()
            .map(|date| json!({"id": "x", "expirationDate": date}))
            .collect();
        said(&object(name, &json!({"keys": keys})))
    };
    let used = [
        expiring("past", &["2026-11-24T09:59:59Z"]),
        expiring("two", &["2027-01-01T00:00:00Z", "2026-11-24T10:01:00Z"]),
        expiring("no date", &["soon"]),
        said(&object("none", &json!({}))),
    ];
    assert_eq!(
        next_expiry(&used, now).map(|at| seconds(now, at)),
        Some(60.0)
    );
    assert_eq!(next_expiry(&used[..1], now), None);
}

#[test]
fn whoever_makes_many_instances_hides_no_older_one_and_none_of_the_admins() {
    let key = |instance: KeyProtectInstance| (ObjectKey::of(&instance), Arc::new(instance));
    let mut all: Vec<_> = (0..300)
        .map(|n| {
            key(instance(
                "tenant",
                &format!("a-{n:03}"),
                "2026-11-24T10:00:00Z",
            ))
        })
        .collect();
    all.push(key(instance("other", "old", "2025-01-01T00:00:00Z")));
    all.push(key(instance("own", "young", "2026-12-01T00:00:00Z")));
    let shown = shown(all, "own");
    assert_eq!(shown.len(), INSTANCES);
    let first: Vec<String> = shown
        .iter()
        .take(3)
        .map(|(key, _)| key.to_string())
        .collect();
    assert_eq!(first, ["own/young", "other/old", "tenant/a-000"]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_negative_age() {
    let at = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(seconds(at(10), at(5)), 0.0);
    assert_eq!(seconds(at(5), at(10)), 5.0);
}

/// The cost is that of going over the objects once; no row of the catalogue is looked at. The
/// bound is generous, for an unoptimized build, and one of processor time, so that whoever else
/// is busy on the machine does not count.
#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test measures")]
async fn many_objects_and_a_large_catalogue_are_told_of_at_once() {
    let context = Context::nowhere();
    {
        let mut world = context.world();
        world.instance_applied(instance("n", "default", "2026-01-01T00:00:00Z"));
        for n in 0..5_000 {
            let status = json!({
                "conditions": [condition("Ready", "True", "Synced")],
                "keys": [{"id": "x", "expirationDate": "2999-01-01T00:00:00Z"}],
            });
            world.key_applied(object(&format!("o-{n}"), &status));
        }
    }
    let rows = (0..50_000).map(|n| {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        KeyMetadata {
            state: Some(KeyState::Active),
            ..KeyMetadata::unknown(KeyId::parse(&id).unwrap())
        }
    });
    let catalogue = Arc::new(Catalogue::new(rows.collect(), now()));
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let begun = used();
    for _ in 0..10 {
        let gauges = context.gauges();
        assert_eq!(gauges.objects[&("True", "Synced")], 5_000);
        assert!(gauges.instances[0].next_key_expiry.is_some());
        assert_eq!(by_state(&catalogue)[1], ("Active", 50_000));
    }
    let each = (used() - begun) / 10;
    assert!(each.as_millis() < 500, "{each:?}");
}
