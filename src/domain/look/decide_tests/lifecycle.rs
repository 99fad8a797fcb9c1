//! Objects come, go, are made again, and want the same Secret.

use super::{assert_ready, events, orders, synced};
use crate::api::key::{DeletionPolicy, KeyProtectKeySpec};
use crate::domain::testing::world::{Stop, World};
use crate::domain::testing::{
    KeyExt as _, at, by_alias, key, key_id, minutes, naming, object, target,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

fn recreate(world: &mut World, name: &str) {
    let old = world.objects.remove(name).unwrap();
    let mut new = object(name, old.spec);
    new.metadata.uid = Some(format!("second-uid-of-{name}"));
    new.metadata.creation_timestamp = Some(Time(world.now));
    world.memories.remove(name);
    world.objects.insert(name.to_owned(), new);
}

/// `orders` and the younger `second`, which want the same Secret.
fn rivals(policy: DeletionPolicy) -> World {
    let spec = || {
        let mut spec = naming(by_alias("orders"));
        target(&mut spec).name = Some("shared".to_owned());
        target(&mut spec).deletion_policy = Some(policy);
        spec
    };
    let mut younger = object("second", spec());
    younger.metadata.creation_timestamp = Some(Time(at(-10)));
    let mut world = World::new([object("orders", spec()), younger]);
    world.service.put(key(1).alias("orders"));
    world
}

#[test]
fn the_older_of_two_objects_has_the_target_whoever_comes_first() {
    let mut world = rivals(DeletionPolicy::Delete);
    let plan = world.sync("second");
    assert!(plan.writes.is_empty());
    assert_eq!(plan.next, None);
    assert_eq!(world.ready("second").1, "TargetConflict");
    assert!(world.message("second").contains("orders"));
    world.assert_settled("second");
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world.assert_settled("second");
}

#[test]
fn the_younger_waits_for_the_garbage_collector_when_the_older_goes() {
    let mut world = rivals(DeletionPolicy::Delete);
    world.sync("orders");
    world.sync("second");
    world.objects.remove("orders");
    let plan = world.sync("second");
    assert!(plan.writes.is_empty());
    assert_eq!(world.ready("second").1, "Pending");
    assert!(plan.next.is_some());
    world.assert_settled("second");
    let living = world.uids();
    world.cluster.collect_garbage(&living);
    world.sync("second");
    assert_eq!(world.ready("second").1, "Synced");
    world.assert_settled("second");
}

#[test]
fn the_younger_takes_over_a_retained_secret() {
    let mut world = rivals(DeletionPolicy::Retain);
    world.sync("orders");
    world.sync("second");
    world.objects.remove("orders");
    let plan = world.sync("second");
    assert!(plan.writes.is_empty(), "it is what it would be made");
    assert_eq!(world.ready("second").1, "Synced");
    world.assert_settled("second");
}

#[test]
fn a_recreated_object_waits_until_the_garbage_collector_has_taken_the_old_secret() {
    let mut world = synced();
    recreate(&mut world, "orders");
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "Unknown", "Pending");
    assert_eq!(plan.events, []);
    let living = world.uids();
    world.cluster.collect_garbage(&living);
    let plan = world.sync("orders");
    assert_eq!(plan.events, []);
    assert_ready(&world, "True", "Synced");
    world.assert_settled("orders");
}

#[test]
fn a_retained_secret_is_taken_up_again_and_owned_if_the_new_object_says_so() {
    let mut world = orders();
    target(&mut world.object("orders").spec).deletion_policy = Some(DeletionPolicy::Retain);
    world.sync("orders");
    recreate(&mut world, "orders");
    let uid = world.cluster.secrets["orders"].view.uid.clone();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    world.assert_settled("orders");
    recreate(&mut world, "orders");
    target(&mut world.object("orders").spec).deletion_policy = None;
    let plan = world.sync("orders");
    assert_eq!(plan.writes.len(), 1);
    let view = &world.cluster.secrets["orders"].view;
    assert_eq!(view.uid, uid, "replaced, not deleted and made anew");
    assert_eq!(view.owner_references.len(), 1);
    world.assert_settled("orders");
}

#[test]
fn nothing_is_written_for_an_object_that_is_being_deleted() {
    let mut world = orders();
    world.object("orders").metadata.deletion_timestamp = Some(Time(at(0)));
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.status.is_none() && plan.next.is_none());
    assert_eq!(world.service.requests, [0; 3]);
}

#[test]
fn a_secret_that_is_being_deleted_is_waited_for() {
    let mut world = synced();
    world.cluster.touch("orders", |secret| {
        secret.view.finalizers.push("example.org/keep".to_owned());
    });
    world.cluster.delete("orders");
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.next.is_some());
    assert_ready(&world, "False", "Pending");
    world.cluster.secrets.remove("orders");
    assert_eq!(events(&world.sync("orders")), ["Restored"]);
    world.assert_settled("orders");
}

#[test]
fn a_crash_between_secret_and_status_loses_no_event_and_writes_no_secret_twice() {
    let mut world = synced();
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.plan("orders");
    world.execute("orders", plan, Stop::AfterWrites(1));
    world.restart();
    let changed = world.status("orders").last_change_time;
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_eq!(events(&plan), ["KeyChanged"]);
    assert_ne!(world.status("orders").last_change_time, changed);
    world.assert_settled("orders");
}

#[test]
fn a_crash_on_a_first_sync_is_finished_without_another_payload() {
    let mut world = orders();
    let plan = world.plan("orders");
    world.execute("orders", plan, Stop::AfterWrites(1));
    world.restart();
    let reads = world.service.requests[2];
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.events.is_empty());
    assert_eq!(world.service.requests[2], reads);
    assert!(world.status("orders").last_change_time.is_some());
    world.assert_settled("orders");
}

#[test]
fn a_foreign_secret_is_never_touched_and_no_payload_is_read_for_it_again() {
    let mut world = orders();
    world.cluster.make_foreign("orders");
    let before = world.cluster.secrets["orders"].view.clone();
    let plan = world.sync("orders");
    assert_ready(&world, "False", "SecretNotOwned");
    assert_eq!(events(&plan), ["SecretNotOwned"]);
    assert!(plan.next.is_some());
    let reads = world.service.requests[2];
    world.assert_settled("orders");
    for _ in 0..10 {
        world.pass(minutes(6));
        let plan = world.sync("orders");
        assert!(plan.status.is_none() && plan.events.is_empty(), "{plan:?}");
    }
    world.restart();
    let plan = world.sync("orders");
    assert!(plan.status.is_none(), "{:?}", plan.status);
    assert_eq!(world.service.requests[2], reads);
    assert_eq!(world.cluster.secrets["orders"].view, before);
    world.cluster.secrets.remove("orders");
    world.pass(minutes(6));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world.assert_settled("orders");
}

#[test]
fn a_secret_that_somebody_took_the_label_off_is_released() {
    let mut world = synced();
    world.cluster.touch("orders", |secret| {
        secret.view.labels.clear();
        secret.view.fields.labels.clear();
    });
    let before = world.cluster.secrets["orders"].view.clone();
    world.sync("orders");
    assert_ready(&world, "False", "SecretNotOwned");
    assert_eq!(world.cluster.secrets["orders"].view, before);
    world.assert_settled("orders");
}

#[test]
fn a_terminating_namespace_is_left_alone() {
    let mut world = World::new([object("orders", KeyProtectKeySpec::default())]);
    world.terminating = true;
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "NamespaceTerminating");
    assert_eq!(plan.events, []);
    assert_eq!(world.service.requests, [0; 3]);
    world.assert_settled("orders");
}

#[test]
fn two_objects_may_exchange_their_targets() {
    let mut world = World::new([
        object("orders", KeyProtectKeySpec::default()),
        object("second", naming(by_alias("other"))),
    ]);
    world.service.put(key(1).alias("orders"));
    world.service.put(key(2).alias("other"));
    for name in ["orders", "second"] {
        world.sync(name);
    }
    world.edit("orders", |spec| {
        target(spec).name = Some("second".to_owned());
    });
    world.edit("second", |spec| {
        target(spec).name = Some("orders".to_owned());
    });
    for _ in 0..3 {
        for name in ["orders", "second"] {
            world.sync(name);
        }
    }
    for (secret, number) in [("second", 1), ("orders", 2)] {
        assert_eq!(
            world.entry(secret, "key"),
            Some(world.service.payload(&key_id(number)))
        );
        assert_eq!(world.cluster.secrets[secret].view.owner_references.len(), 1);
    }
    for name in ["orders", "second"] {
        world.assert_settled(name);
    }
}

#[test]
fn an_older_object_that_changes_its_target_takes_the_secret_of_a_younger_one() {
    let mut world = rivals(DeletionPolicy::Delete);
    world.edit("orders", |spec| target(spec).name = None);
    world.sync("second");
    assert_eq!(world.ready("second").1, "Synced");
    world.edit("orders", |spec| {
        target(spec).name = Some("shared".to_owned());
    });
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    let owners = &world.cluster.secrets["shared"].view.owner_references;
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0].name, "orders");
    world.sync("second");
    assert_eq!(world.ready("second").1, "TargetConflict");
    for name in ["orders", "second"] {
        world.assert_settled(name);
    }
}
