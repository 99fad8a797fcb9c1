//! Secrets made from several keys, or from none.

use super::{assert_ready, events};
use crate::api::key::{Encoding, Entry, KeyProtectKeySpec};
use crate::domain::look::hindrance::Need;
use crate::domain::service::failure::FailureKind;
use crate::domain::testing::world::World;
use crate::domain::testing::{KeyExt as _, by_alias, entry, key, key_id, minutes, object, target};

/// One Secret of the keys with aliases `orders` and `other`.
fn two() -> World {
    let mut spec = KeyProtectKeySpec::default();
    target(&mut spec).data = Some(vec![
        Entry {
            encoding: Some(Encoding::Hex),
            ..entry("a")
        },
        Entry {
            from: Some(by_alias("other")),
            ..entry("b")
        },
        Entry {
            value: Some("c".to_owned()),
            ..entry("c")
        },
    ]);
    let mut world = World::new([object("orders", spec)]);
    world.service.put(key(1).alias("orders"));
    world.service.put(key(2).alias("other"));
    world
}

#[test]
fn all_sources_come_from_one_pass() {
    let mut world = two();
    let plan = world.sync("orders");
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(
        world.entry("orders", "b"),
        Some(world.service.payload(&key_id(2)))
    );
    assert_eq!(world.entry("orders", "c"), Some(b"c".to_vec()));
    let keys = world.status("orders").keys;
    assert_eq!(
        keys.iter()
            .map(|key| key.entry.as_deref())
            .collect::<Vec<_>>(),
        [None, Some("b")]
    );
    assert_eq!(world.service.requests, [1, 0, 2]);
    world.assert_settled("orders");
}

#[test]
fn nothing_is_written_while_one_source_is_missing() {
    let mut world = two();
    world.service.keys.remove(&key_id(2));
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "KeyNotAvailable");
    assert!(world.message("orders").contains("other"));
    assert_eq!(world.service.requests[2], 0, "no payload is read in vain");
    world.assert_settled("orders");
}

#[test]
fn one_source_that_vanishes_keeps_the_whole_secret() {
    let mut world = two();
    world.sync("orders");
    world.service.put(key(3));
    world.service.move_alias("orders", &key_id(3));
    world.service.unalias("other");
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "True", "AliasMoving");
    world.service.move_alias("other", &key_id(2));
    world.refresh();
    assert_eq!(events(&world.sync("orders")), ["KeyChanged"]);
    world.assert_settled("orders");
}

#[test]
fn what_several_sources_need_is_asked_at_once() {
    let mut world = two();
    world.service.unlisted.extend([key_id(1), key_id(2)]);
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    let [
        Need::Listing(_),
        Need::Answers(questions, _),
        Need::Payloads(needs),
    ] = world.asked.as_slice()
    else {
        panic!("{:?}", world.asked)
    };
    assert_eq!((questions.len(), needs.len()), (2, 2));
    world.assert_settled("orders");
}

#[test]
fn one_payload_that_fails_writes_nothing() {
    let mut world = two();
    world.service.payloads_fail = Some(FailureKind::Unreachable);
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "Unreachable");
    world.assert_settled("orders");
}

#[test]
fn a_secret_of_literals_needs_no_key_and_asks_for_nothing() {
    let mut world = two();
    target(&mut world.object("orders").spec).data = Some(vec![Entry {
        value: Some("x".to_owned()),
        ..entry("x")
    }]);
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    assert_eq!(world.service.requests, [0; 3]);
    world.assert_settled("orders");
}
