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
