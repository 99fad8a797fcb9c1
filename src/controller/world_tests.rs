use serde_json::json;

use serde_json::value::RawValue;

use super::held::text;
use super::queue::ObjectKey;
use super::said::Said;
use super::world::World;
use crate::api::KeyProtectKey;

fn object(version: u32, generation: i64, answered: Option<&str>) -> KeyProtectKey {
    serde_json::from_value(json!({
        "apiVersion": "keyprotect.dev/v1alpha1",
        "kind": "KeyProtectKey",
        "metadata": {"name": "x", "namespace": "n", "uid": "u",
            "resourceVersion": version.to_string(), "generation": generation},
        "spec": {},
        "status": {"lastHandledSyncRequest": answered},
    }))
    .unwrap()
}

fn status(answered: &str) -> Box<RawValue> {
    text(&object(0, 1, Some(answered)).status)
}

fn written(world: &mut World, version: &str) {
    world.status_written(&key(), Some("u"), Some(version), Said::of(None));
}

fn world_with(object: KeyProtectKey) -> World {
    let instance = ("n".to_owned(), "default".to_owned());
    let mut world = World::new(instance, 1000, jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(world.key_applied(object).len(), 1);
    world
}

fn key() -> ObjectKey {
    ObjectKey::new("n", "x")
}

#[test]
fn the_answer_to_a_status_write_does_not_hide_a_change_that_the_watch_showed_before_it() {
    let mut world = world_with(object(1, 1, None));
    world.status_in_writing(&key(), status("a"));
    assert!(world.key_applied(object(2, 1, Some("a"))).is_empty());
    assert_eq!(world.key_applied(object(3, 2, Some("a"))).len(), 1);
    written(&mut world, "2");
    let known = world.known(&key()).unwrap().held.object(&key()).unwrap();
    assert_eq!(known.metadata.generation, Some(2));
}

#[test]
fn an_own_status_is_no_news_whichever_comes_first_the_answer_or_its_echo() {
    let mut world = world_with(object(1, 1, None));
    world.status_in_writing(&key(), status("a"));
    written(&mut world, "2");
    assert!(world.key_applied(object(2, 1, Some("a"))).is_empty());
    world.status_in_writing(&key(), status("b"));
    assert!(world.key_applied(object(3, 1, Some("b"))).is_empty());
    written(&mut world, "3");
    // What somebody else writes there is.
    assert_eq!(world.key_applied(object(4, 1, Some("forged"))).len(), 1);
}

#[test]
fn an_object_is_looked_at_again_when_its_namespace_comes_into_view_after_it() {
    let mut world = world_with(object(1, 1, None));
    let labelled = || super::world::NamespaceFacts {
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..super::world::NamespaceFacts::default()
    };
    assert_eq!(world.namespace_applied("n", labelled()).len(), 1);
    assert!(world.namespace_applied("n", labelled()).is_empty());
    assert!(world.namespace_applied("other", labelled()).is_empty());
}

fn instance(generation: i64, release: Option<&str>) -> crate::api::KeyProtectInstance {
    let annotation = crate::api::RELEASE_REVOCATIONS_ANNOTATION;
    let annotations = release.map(|time| json!({annotation: time}));
    serde_json::from_value(json!({
        "apiVersion": "keyprotect.dev/v1alpha1",
        "kind": "KeyProtectInstance",
        "metadata": {"name": "default", "namespace": "n", "uid": "i", "generation": generation,
            "annotations": annotations},
        "spec": {},
    }))
    .unwrap()
}

#[test]
fn what_was_authorised_is_not_any_more_when_object_rules_or_namespace_change() {
    let labelled = |team: &str| super::world::NamespaceFacts {
        labels: [("access.keyprotect.dev/team".to_owned(), team.to_owned())].into(),
        ..super::world::NamespaceFacts::default()
    };
    let start = || {
        let mut world = world_with(object(1, 1, None));
        world.instance_applied(instance(1, None));
        world.namespace_applied("n", labelled("a"));
        world
    };
    type Change = (&'static str, fn(&mut World), bool);
    let changes: [Change; 7] = [
        ("nothing", |_| {}, true),
        (
            "a status",
            |world| drop(world.key_applied(object(2, 1, Some("x")))),
            true,
        ),
        (
            "the object's spec",
            |world| drop(world.key_applied(object(2, 2, None))),
            false,
        ),
        (
            "the object is gone",
            |world| drop(world.key_deleted(&key())),
            false,
        ),
        (
            "the rules",
            |world| drop(world.instance_applied(instance(2, None))),
            false,
        ),
        (
            "the instance is gone",
            |world| drop(world.instance_deleted(&ObjectKey::new("n", "default"))),
            false,
        ),
        (
            "the namespace is gone",
            |world| world.namespace_deleted("n"),
            false,
        ),
    ];
    for (what, change, still) in changes {
        let mut world = start();
        let gathered = world.gather(&key()).unwrap();
        change(&mut world);
        assert_eq!(world.is_as_gathered(&key(), &gathered), still, "{what}");
    }
    let mut world = start();
    let gathered = world.gather(&key()).unwrap();
    world.namespace_applied("n", labelled("b"));
    assert!(
        !world.is_as_gathered(&key(), &gathered),
        "the namespace's labels"
    );
}

/// Objects that have a Secret, whose status says so, and one of which `held` wait.
fn secrets(world: &mut World, count: usize, held: usize) {
    for number in 0..count {
        let name = format!("s{number}");
        let mut conditions = Vec::new();
        if number < held {
            conditions.push(json!({"type": "MassRevocationHeld", "status": "True",
                "reason": "TooMany", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}));
        }
        let object = json!({
            "apiVersion": "keyprotect.dev/v1alpha1",
            "kind": "KeyProtectKey",
            "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "1"},
            "spec": {},
            "status": {"secret": {"name": name}, "conditions": conditions},
        });
        world.key_applied(serde_json::from_value(object).unwrap());
        let view = crate::domain::secret::SecretView {
            name,
            uid: "s".to_owned(),
            resource_version: "1".to_owned(),
            ..Default::default()
        };
        world.secret_applied("n", view);
    }
}

#[test]
fn leave_is_counted_as_it_is_given_before_any_status_says_so() {
    use crate::domain::revocation::Leave;
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let default = ObjectKey::new("n", "default");
    let mut world = world_with(object(1, 1, None));
    world.instance_applied(instance(1, None));
    secrets(&mut world, 50, 0);
    let mut leave = |number: usize, now| {
        let key = ObjectKey::new("n", &format!("s{number}"));
        world.leave(&default, &key, now, true, now)
    };
    for number in 0..5 {
        assert_eq!(leave(number, now), Leave::Granted, "{number}");
        assert_eq!(
            leave(number, now),
            Leave::Granted,
            "asked twice, counted once"
        );
    }
    assert_eq!(leave(5, now), Leave::Held);
    let later = now + jiff::SignedDuration::from_hours(1);
    assert_eq!(leave(5, later), Leave::Granted, "alone in its hour");
}

#[test]
fn after_a_restart_statuses_and_missing_secrets_say_what_acted_and_what_waits() {
    use crate::domain::revocation::{Leave, Tally};
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let default = ObjectKey::new("n", "default");
    let mut world = world_with(object(1, 1, None));
    world.instance_applied(instance(1, None));
    secrets(&mut world, 10, 2);
    // Deleted just before the end of the process before, which wrote no status.
    world.forget_looks(now);
    world.secret_deleted(&ObjectKey::new("n", "s9"), None);
    let tally = |world: &World, watched| world.tally(&default, None, watched, now);
    let expected = Tally {
        secrets: 10,
        acted: 1,
        held: 2,
    };
    assert_eq!(tally(&world, true), expected);
    // An hour later, nothing is from before.
    let later = now + jiff::SignedDuration::from_hours(1);
    assert_eq!(world.tally(&default, None, true, later).acted, 0);
    // Where Secrets are not seen, none is missing.
    assert_eq!(
        tally(&world, false),
        Tally {
            acted: 0,
            ..expected
        }
    );
    let asks = ObjectKey::new("n", "s5");
    assert_eq!(world.leave(&default, &asks, now, true, now), Leave::Held);
    // A release wakes those that wait, and they alone.
    let woken = world.instance_applied(instance(1, Some(&now.to_string())));
    assert_eq!(woken.len(), 2);
    assert!(
        world
            .instance_applied(instance(1, Some(&now.to_string())))
            .is_empty()
    );
    assert_eq!(world.leave(&default, &asks, now, true, now), Leave::Granted);
}

#[test]
fn a_secret_that_its_owner_took_back_or_whose_object_is_suspended_is_no_revocation() {
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let default = ObjectKey::new("n", "default");
    for reason in ["SecretNotOwned", "Suspended"] {
        let mut world = world_with(object(1, 1, None));
        world.instance_applied(instance(1, None));
        world.forget_looks(now);
        secrets(&mut world, 10, 0);
        for number in 1..=3 {
            let name = format!("s{number}");
            world.secret_deleted(&ObjectKey::new("n", &name), None);
        }
        assert_eq!(world.tally(&default, None, true, now).acted, 3);
        for number in 1..=3 {
            let name = format!("s{number}");
            let ready = json!({"type": "Ready", "status": "False", "reason": reason,
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let object = json!({
                "apiVersion": "keyprotect.dev/v1alpha1",
                "kind": "KeyProtectKey",
                "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "2"},
                "spec": {},
                "status": {"secret": {"name": name}, "conditions": [ready]},
            });
            world.key_applied(serde_json::from_value(object).unwrap());
        }
        assert_eq!(world.tally(&default, None, true, now).acted, 0, "{reason}");
    }
}

#[test]
fn beyond_a_number_the_oldest_objects_of_a_namespace_are_served() {
    let instance = ("n".to_owned(), "default".to_owned());
    let mut world = World::new(instance, 2, jiff::Timestamp::UNIX_EPOCH);
    let made = |name: &str, second: i64, version: u32| -> KeyProtectKey {
        let at = jiff::Timestamp::from_second(second).unwrap().to_string();
        serde_json::from_value(json!({
            "apiVersion": "keyprotect.dev/v1alpha1",
            "kind": "KeyProtectKey",
            "metadata": {"name": name, "namespace": "n", "uid": name, "creationTimestamp": at,
                "resourceVersion": version.to_string()},
            "spec": {},
        }))
        .unwrap()
    };
    for (name, second) in [("c", 3), ("a", 1), ("b", 2), ("d", 4)] {
        world.key_applied(made(name, second, 1));
    }
    let surplus = |world: &mut World, name: &str| {
        let gathered = world.gather(&ObjectKey::new("n", name));
        gathered.unwrap().surplus.is_some()
    };
    let all = |world: &mut World| ["a", "b", "c", "d"].map(|name| surplus(world, name));
    assert_eq!(all(&mut world), [false, false, true, true]);
    // Another version of one of them makes no room.
    assert_eq!(world.key_applied(made("a", 1, 2)).len(), 0);
    assert_eq!(all(&mut world), [false, false, true, true]);
    let next = world.key_deleted(&ObjectKey::new("n", "a"));
    assert_eq!(next.len(), 1, "{next:?}");
    assert_eq!(next[0].0.name, "c");
    assert!(!surplus(&mut world, "c") && surplus(&mut world, "d"));
}
