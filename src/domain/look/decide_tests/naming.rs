//! Names that are not unique, roots, pauses, and objects that do not follow.

use super::{assert_ready, events, orders, synced};
use crate::api::KeyProtectKeySpec;
use crate::domain::service::metadata::KeyState;
use crate::domain::testing::world::World;
use crate::domain::testing::{
    KeyExt as _, RING, by_alias, by_name, key, key_id, minutes, naming, object, target,
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

#[test]
fn a_root_key_is_not_retried_in_a_loop_but_its_alias_is_looked_up_again() {
    let mut world = orders();
    world
        .service
        .change(&key_id(1), |key| key.extractable = Some(false));
    let plan = world.sync("orders");
    assert_ready(&world, "False", "NotExtractable");
    assert!(world.message("orders").contains("standard key"));
    assert_eq!(plan.next, Some(world.now + minutes(60)));
    world.assert_settled("orders");
    world.service.put(key(2));
    world.service.unlisted.insert(key_id(2));
    world.service.move_alias("orders", &key_id(2));
    world.pass(minutes(60));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
}

#[test]
fn a_name_is_the_newest_active_key_of_that_name_in_that_ring() {
    let mut world = World::new([object("orders", naming(by_name("db", "payments")))]);
    world.service.put(key(1).named("db"));
    world.service.put(key(2).named("db"));
    world.service.put(key(3).named("db").ring("other"));
    let mut inactive = key(4).named("db");
    inactive.state = Some(KeyState::Deactivated);
    world.service.put(inactive);
    world.sync("orders");
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(2)))
    );
    world.service.put(key(5).named("db"));
    world.pass(minutes(60));
    world.refresh();
    assert_eq!(events(&world.sync("orders")), ["KeyChanged"]);
    world.assert_settled("orders");
}

/// Else each listing would be too old by the time that it took, and the next one was asked for.
#[test]
fn a_name_costs_no_listing_after_the_other_where_the_api_servers_clock_is_ahead() {
    let mut world = World::new([object("orders", naming(by_name("db", "payments")))]);
    let created = world.now + minutes(5);
    world.object("orders").metadata.creation_timestamp = Some(Time(created));
    world.refresh();
    world.service.put(key(1).named("db"));
    world.pass(minutes(1));
    world.learning = SignedDuration::from_millis(200);
    let plan = world.sync("orders");
    assert_ready(&world, "False", "KeyNotAvailable");
    assert_eq!(world.service.requests[0], 1);
    world.now = plan.next.unwrap();
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    assert_eq!(world.service.requests[0], 2);
}

/// Its age is that of when the look began: one that is slow would be too old when it comes.
#[test]
fn a_read_that_takes_longer_than_an_interval_is_an_answer_all_the_same() {
    let spec = KeyProtectKeySpec {
        refresh_interval: Some("1m".to_owned()),
        ..KeyProtectKeySpec::default()
    };
    let mut world = World::new([object("orders", spec)]);
    world.service.put(key(1).alias("orders"));
    world.service.singly = true;
    world.refresh();
    world.learning = minutes(2);
    for reads in 1..=3 {
        let plan = world.sync("orders");
        assert_ready(&world, "True", "Synced");
        assert_eq!(world.service.requests[1], reads);
        // By then it is due again.
        assert!(plan.next.is_some_and(|next| next <= world.now), "{plan:?}");
    }
}

#[test]
fn keys_of_a_large_instance_are_read_one_by_one_each_an_interval_after_the_last_time() {
    let mut world = World::new([object("orders", KeyProtectKeySpec::default())]);
    world.service.put(key(1).alias("orders"));
    world.service.singly = true;
    let plan = world.sync("orders");
    assert_ready(&world, "True", "Synced");
    assert_eq!(world.service.requests, [0, 1, 1]);
    assert_eq!(plan.next, Some(world.now + minutes(60)));
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.pass(minutes(59));
    world.refresh();
    assert!(world.sync("orders").writes.is_empty());
    world.pass(minutes(1));
    world.refresh();
    assert_eq!(events(&world.sync("orders")), ["KeyChanged"]);
    assert_eq!(world.service.requests, [0, 2, 2]);
    world.assert_settled("orders");
}

#[test]
fn a_key_of_a_large_instance_that_is_named_by_name_is_looked_up_in_a_listing() {
    let mut world = World::new([object("orders", KeyProtectKeySpec::default())]);
    world.service.put(key(1).alias("orders").named("db"));
    world.service.singly = true;
    world.sync("orders");
    world.pass(minutes(1));
    world.edit("orders", |spec| {
        spec.key = naming(by_name("db", "payments")).key;
    });
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    assert_eq!(world.service.requests[0], 1);
}

#[test]
fn a_name_whose_key_a_listing_leaves_out_is_answered_by_that_key() {
    let mut world = World::new([object("orders", naming(by_name("db", "payments")))]);
    world.service.put(key(1).named("db"));
    world.service.put(key(2).named("db"));
    world.sync("orders");
    // The listing shows only the older one now: no evidence against the newer.
    world.service.unlisted.insert(key_id(2));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.status.is_none(), "{plan:?}");
    world.service.unlisted.insert(key_id(1));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.status.is_none(), "{plan:?}");
}

#[test]
fn a_mistyped_name_lists_the_instance_at_most_once_in_five_minutes_for_all() {
    let spec = || naming(by_name("no-such", "payments"));
    let mut world = World::new((0..20).map(|n| object(&format!("o{n}"), spec())));
    world.service.put(key(1));
    let names: Vec<String> = world.objects.keys().cloned().collect();
    for _ in 0..60 {
        for name in &names {
            world.sync(name);
        }
        world.pass(SignedDuration::from_secs(10));
    }
    assert!(
        world.service.requests[0] <= 4,
        "{:?}",
        world.service.requests
    );
}

#[test]
fn suspended_objects_keep_ready_and_are_not_asked_for() {
    let mut world = synced();
    world.edit("orders", |spec| spec.suspend = Some(true));
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.refresh();
    world.service.requests = [0; 3];
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "True", "Suspended");
    assert_eq!(world.status("orders").observed_generation, Some(2));
    assert_eq!(world.service.requests, [0; 3]);
    world.assert_settled("orders");
    world.edit("orders", |spec| spec.suspend = None);
    assert_eq!(events(&world.sync("orders")), ["KeyChanged"]);
    assert_ready(&world, "True", "Synced");
}

#[test]
fn an_object_with_interval_zero_takes_a_new_key_only_when_it_changes() {
    let mut world = orders();
    world.edit("orders", |spec| {
        spec.refresh_interval = Some("0s".to_owned());
    });
    world.sync("orders");
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.pass(minutes(60));
    world.refresh();
    world.assert_settled("orders");
    // A restored Secret holds the same key as before, though the alias is elsewhere.
    world.cluster.delete("orders");
    assert_eq!(events(&world.sync("orders")), ["Restored"]);
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(1)))
    );
    // Nor does a listing without the old key make it take the new one.
    world.service.unlisted.insert(key_id(1));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty(), "{:?}", plan.writes);
    world.edit("orders", |spec| {
        target(spec).metadata = Some(crate::api::key::TargetMetadata {
            labels: Some(crate::domain::testing::map(&[("a", "b")])),
            annotations: None,
        });
    });
    assert_eq!(events(&world.sync("orders")), ["KeyChanged"]);
    world.assert_settled("orders");
}

#[test]
fn another_alias_in_spec_is_another_key_and_no_way_back() {
    let mut world = orders();
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world
        .service
        .change(&key_id(1), |key| key.aliases = Some(vec!["old".to_owned()]));
    world.sync("orders");
    world.edit("orders", |spec| spec.key = Some(by_alias("old")));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(1)))
    );
}

#[test]
fn a_name_whose_key_was_made_in_the_second_of_the_listing_is_found_seconds_later() {
    let mut world = World::new([object("orders", naming(by_name("nn", RING)))]);
    // Made in the second that the listing begins in, as its creation time says: after it.
    world.object("orders").metadata.creation_timestamp = Some(Time(world.now));
    world.refresh();
    world.service.put(key(1).named("nn"));
    world.sync("orders");
    assert_ready(&world, "False", "KeyNotAvailable");
    world.pass(SignedDuration::from_secs(10));
    let before = world.service.requests[0];
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    assert_eq!(world.service.requests[0], before + 1);
}
