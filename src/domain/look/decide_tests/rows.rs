//! Keys come, move, expire and go.

use super::{assert_ready, events, orders, synced};
use crate::api::SYNC_REQUESTED_ANNOTATION;
use crate::api::condition::ConditionType;
use crate::domain::look::observed::Asked;
use crate::domain::service::failure::FailureKind;
use crate::domain::service::metadata::KeyState;
use crate::domain::status;
use crate::domain::testing::world::World;
use crate::domain::testing::{KeyExt as _, at, by_id, key, key_id, minutes, naming, object};
use jiff::SignedDuration;

fn force(world: &mut World, value: &str) {
    let annotations = world
        .object("orders")
        .metadata
        .annotations
        .get_or_insert_default();
    annotations.insert(SYNC_REQUESTED_ANNOTATION.to_owned(), value.to_owned());
}

fn condition(world: &World, type_: ConditionType) -> Option<String> {
    let status = world.status("orders");
    status::find(&status.conditions, type_).map(|found| found.reason.clone())
}

#[test]
fn a_first_sync_is_one_create_and_one_status_and_no_event() {
    let mut world = orders();
    let plan = world.sync("orders");
    assert_eq!(plan.writes.len(), 1);
    assert!(plan.status.is_some());
    assert_eq!(plan.events, []);
    assert_ready(&world, "True", "Synced");
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(1)))
    );
    assert_eq!(world.service.requests, [1, 0, 1]);
    world.assert_settled("orders");
}

#[test]
fn a_restart_with_everything_in_sync_lists_once_and_writes_nothing() {
    let mut world = synced();
    world.restart();
    world.service.requests = [0; 3];
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.status.is_none() && plan.events.is_empty());
    assert_eq!(world.service.requests, [1, 0, 0]);
}

#[test]
fn a_refresh_that_finds_no_change_writes_nothing() {
    let mut world = synced();
    for _ in 0..5 {
        world.pass(minutes(60));
        world.refresh();
        world.assert_settled("orders");
    }
}

#[test]
fn a_new_key_behind_the_alias_replaces_the_secret_in_one_write_and_names_both() {
    let mut world = synced();
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(events(&plan), ["KeyChanged"]);
    let note = &plan.events[0].note;
    assert!(
        note.contains(key_id(1).as_str()) && note.contains(key_id(2).as_str()),
        "{note}"
    );
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(2)))
    );
    world.assert_settled("orders");
}

#[test]
fn a_vanished_alias_keeps_the_last_value_for_the_grace() {
    let mut world = synced();
    world.service.unalias("orders");
    world.pass(minutes(60));
    let began = world.now;
    for minute in 0..15 {
        world.refresh();
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty());
        assert_ready(&world, "True", "AliasMoving");
        assert_eq!(
            plan.status.is_some(),
            minute == 0,
            "status moves while nothing changes"
        );
        assert_eq!(plan.next, Some(world.now + minutes(1)));
        world.pass(minutes(1));
    }
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    // The key itself is there: nothing says that it was deleted.
    assert_ready(&world, "False", "KeyNotAvailable");
    assert_eq!(world.now, began + minutes(15));
    assert!(world.cluster.secrets.contains_key("orders"));
    assert!(plan.next.is_some());
    world.assert_settled("orders");
}

#[test]
fn the_grace_of_a_vanished_alias_survives_a_restart() {
    let mut world = synced();
    world.service.unalias("orders");
    world.refresh();
    world.pass(minutes(1));
    world.refresh();
    world.sync("orders");
    let pending = world.status("orders").pending;
    world.pass(minutes(14));
    world.restart();
    let plan = world.sync("orders");
    assert!(plan.status.is_none(), "{:?}", plan.status);
    assert_eq!(plan.next, Some(world.now + minutes(1)));
    assert_eq!(world.status("orders").pending, pending);
    world.pass(minutes(1));
    world.sync("orders");
    assert_ready(&world, "False", "KeyNotAvailable");
}

#[test]
fn a_listing_that_fails_within_a_grace_does_not_begin_it_anew() {
    let mut world = synced();
    world.service.unalias("orders");
    world.pass(minutes(60));
    world.refresh();
    world.sync("orders");
    world.pass(minutes(5));
    world.service.lists_fail = Some(FailureKind::Unreachable);
    world.refresh();
    world.assert_settled_after_asking("orders");
    assert_ready(&world, "True", "AliasMoving");
    world.service.lists_fail = None;
    world.pass(minutes(10));
    world.refresh();
    world.sync("orders");
    assert_ready(&world, "False", "KeyNotAvailable");
}

#[test]
fn an_alias_that_comes_back_within_the_grace_on_a_new_key_is_followed() {
    let mut world = synced();
    world.service.unalias("orders");
    world.refresh();
    world.pass(minutes(60));
    world.refresh();
    world.sync("orders");
    world.service.put(key(2).alias("orders"));
    world.pass(minutes(1));
    world.refresh();
    let plan = world.sync("orders");
    assert_eq!(events(&plan), ["KeyChanged"]);
    assert_ready(&world, "True", "Synced");
    assert_eq!(world.status("orders").pending, None);
    world.assert_settled("orders");
}

#[test]
fn a_key_deleted_with_its_alias_is_said_to_be_deleted_after_the_grace() {
    let mut world = synced();
    world.service.put(key(9));
    world.service.unalias("orders");
    world.service.change(&key_id(1), |key| {
        key.state = Some(KeyState::Destroyed);
        key.deleted = Some(true);
    });
    world.pass(minutes(60));
    world.refresh();
    world.sync("orders");
    assert_ready(&world, "True", "AliasMoving");
    world.pass(minutes(15));
    world.sync("orders");
    assert_ready(&world, "False", "KeyDeleted");
    assert!(world.cluster.secrets.contains_key("orders"));
    world.assert_settled("orders");
}

#[test]
fn an_alias_that_goes_back_to_an_older_key_waits_the_grace_also_over_a_restart() {
    let mut world = orders();
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.sync("orders");
    world.service.move_alias("orders", &key_id(1));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert_ready(&world, "True", "AliasWentBack");
    assert_eq!(plan.next, Some(world.now + minutes(15)));
    world.assert_settled("orders");
    world.pass(minutes(14));
    world.restart();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.status.is_none());
    world.pass(minutes(1));
    let plan = world.sync("orders");
    assert_eq!(events(&plan), ["KeyChanged"]);
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(1)))
    );
    world.assert_settled("orders");
}

#[test]
fn a_way_back_is_not_waited_for_twice_when_its_write_fails() {
    let mut world = orders();
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.sync("orders");
    world.service.move_alias("orders", &key_id(1));
    world.refresh();
    world.sync("orders");
    world.pass(minutes(15));
    world.cluster.refuses = Some(crate::domain::look::plan::WriteFailure::Rejected("quota"));
    world.sync("orders");
    assert_ready(&world, "False", "SecretRejected");
    world.cluster.refuses = None;
    world.pass(minutes(6));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
}

#[test]
fn a_forced_sync_overrides_the_grace_of_a_way_back_and_is_answered_once() {
    let mut world = orders();
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.sync("orders");
    world.service.move_alias("orders", &key_id(1));
    world.pass(minutes(60));
    world.refresh();
    world.sync("orders");
    world.pass(minutes(1));
    force(&mut world, "now");
    let before = world.service.requests;
    let plan = world.sync("orders");
    assert_eq!(
        world.service.requests[0],
        before[0] + 1,
        "a forced sync looks anew"
    );
    assert_eq!(events(&plan), ["KeyChanged"]);
    assert_eq!(
        world.status("orders").last_handled_sync_request.as_deref(),
        Some("now")
    );
    world.assert_settled("orders");
}

#[test]
fn a_forced_sync_that_was_asked_for_before_the_way_back_was_told_takes_nothing_old() {
    let mut world = orders();
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    world.sync("orders");
    world.service.move_alias("orders", &key_id(1));
    world.pass(minutes(60));
    force(&mut world, "routine");
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty(), "{plan:?}");
    assert_ready(&world, "True", "AliasWentBack");
    assert_eq!(
        world.status("orders").last_handled_sync_request.as_deref(),
        Some("routine")
    );
    world.assert_settled("orders");
    world.pass(minutes(1));
    force(&mut world, "meant");
    let plan = world.sync("orders");
    assert_eq!(events(&plan), ["KeyChanged"]);
    world.assert_settled("orders");
}

#[test]
fn a_forced_sync_waits_until_it_is_let_through() {
    let mut world = synced();
    let later = world.now + minutes(1);
    force(&mut world, "now");
    let memory = world.memories.get_mut("orders").unwrap();
    memory.sync_request = Some(Asked {
        value: "now".to_owned(),
        seen_at: world.now,
        let_through_at: later,
    });
    let before = world.service.requests;
    let plan = world.sync("orders");
    assert!(plan.status.is_none(), "{:?}", plan.status);
    assert_eq!(world.service.requests, before);
    world.pass(minutes(1));
    world.sync("orders");
    assert_eq!(world.service.requests[0], before[0] + 1);
    assert_eq!(
        world.status("orders").last_handled_sync_request.as_deref(),
        Some("now")
    );
    world.assert_settled("orders");
}

#[test]
fn a_forced_sync_stays_open_while_the_service_cannot_be_asked() {
    let mut world = synced();
    world.service.lists_fail = Some(FailureKind::Unreachable);
    world.pass(minutes(1));
    force(&mut world, "now");
    let plan = world.sync("orders");
    assert!(plan.status.is_none(), "{:?}", plan.status);
    world.assert_settled("orders");
    world.service.lists_fail = None;
    world.pass(minutes(1));
    world.refresh();
    world.sync("orders");
    assert_eq!(
        world.status("orders").last_handled_sync_request.as_deref(),
        Some("now")
    );
    world.assert_settled("orders");
}

#[test]
fn a_deleted_key_named_by_id_is_said_to_be_deleted_by_its_own_metadata() {
    let mut world = World::new([object("orders", naming(by_id(&key_id(1))))]);
    world.service.put(key(1));
    world.sync("orders");
    world
        .service
        .change(&key_id(1), |key| key.deleted = Some(true));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "KeyDeleted");
    assert_eq!(events(&plan), ["KeyDeleted"]);
    world.assert_settled("orders");
}

#[test]
fn one_404_by_id_is_a_doubt_and_changes_nothing_but_the_clock_of_the_grace() {
    let mut world = World::new([object("orders", naming(by_id(&key_id(1))))]);
    world.service.put(key(1));
    world.service.put(key(2));
    world.sync("orders");
    world.service.keys.remove(&key_id(1));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert_ready(&world, "True", "Synced");
    assert_eq!(plan.events, []);
    assert!(world.status("orders").pending.is_some());
    world.assert_settled("orders");
    world.pass(minutes(15));
    world.sync("orders");
    assert_ready(&world, "False", "KeyDeleted");
    assert!(world.cluster.secrets.contains_key("orders"));
}

#[test]
fn a_404_while_the_token_reads_no_other_key_is_no_evidence() {
    let mut world = World::new([object("orders", naming(by_id(&key_id(1))))]);
    world.service.put(key(1));
    world.sync("orders");
    world.service.keys.clear();
    world.pass(minutes(60));
    world.refresh();
    world.sync("orders");
    world.pass(minutes(15));
    world.sync("orders");
    assert_ready(&world, "False", "KeyNotAvailable");
}

#[test]
fn an_expired_key_is_said_to_be_expired_at_its_date_and_announced_before() {
    let mut world = orders();
    let date = at(60 * 24 * 60 * 60);
    world
        .service
        .change(&key_id(1), |key| key.expiration_date = Some(date));
    let plan = world.sync("orders");
    assert_eq!(plan.events, []);
    assert_eq!(plan.next, Some(date - SignedDuration::from_hours(24 * 30)));
    for (days, reason) in [
        (30, "WithinThirtyDays"),
        (7, "WithinSevenDays"),
        (1, "WithinOneDay"),
    ] {
        world.now = date - SignedDuration::from_hours(24 * days);
        world.refresh();
        let plan = world.sync("orders");
        assert_eq!(events(&plan), ["Expiring"], "{days}");
        assert_eq!(
            condition(&world, ConditionType::ExpiringSoon).as_deref(),
            Some(reason)
        );
        assert!(
            plan.next
                .is_some_and(|next| next > world.now && next <= date)
        );
        world.assert_settled("orders");
    }
    world.now = date;
    world.refresh();
    let plan = world.sync("orders");
    assert_eq!(events(&plan), ["KeyExpired"]);
    assert_ready(&world, "False", "KeyExpired");
    assert_eq!(condition(&world, ConditionType::ExpiringSoon), None);
    assert!(world.cluster.secrets.contains_key("orders"));
    world.assert_settled("orders");
}
