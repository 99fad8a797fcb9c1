//! A key, an alias or a name that is not found: what is evidence after a grace, and what is none.

use super::assert_ready;
use super::revocation::{
    assert_revoked, by_own_alias, by_own_id, delete_key, doomed, is_there, refreshed,
};
use crate::api::key::{KeyProtectKeySpec, RevocationPolicy};
use crate::domain::service::failure::FailureKind;
use crate::domain::service::metadata::KeyState;
use crate::domain::testing::{by_id, by_name, key_id, minutes, naming, rule, strings};

#[test]
fn a_404_deletes_after_the_second_one_a_grace_later_while_another_key_is_found() {
    let mut world = by_own_id();
    world.service.keys.remove(&key_id(1));
    let plan = refreshed(&mut world, 60);
    assert!(plan.writes.is_empty() && plan.events.is_empty());
    assert_ready(&world, "True", "Synced");
    world.pass(minutes(14));
    world.restart();
    let plan = refreshed(&mut world, 0);
    assert!(
        plan.writes.is_empty(),
        "a restart does not shorten the grace"
    );
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyDeleted");
    assert!(plan.events[0].note.contains("while other keys are"));
}

#[test]
fn a_404_in_a_ring_is_none_and_the_grace_begins_with_one_without_a_ring() {
    let mut world = by_own_id();
    let mut by_ring = rule();
    by_ring.key_rings = strings(&["payments"]);
    world.access = Some(vec![by_ring]);
    world.service.unlisted.insert(key_id(1));
    // Moved to a ring that the rules do not name: by its ID it is there.
    world
        .service
        .change(&key_id(1), |key| key.key_ring = Some("other".to_owned()));
    let plan = refreshed(&mut world, 60);
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "AccessWithdrawn");
    for _ in 0..4 {
        assert!(refreshed(&mut world, 20).writes.is_empty());
    }
    assert!(
        is_there(&world),
        "the instance's owner said nothing of Delete"
    );
}

#[test]
fn a_404_that_is_over_before_the_grace_is_forgotten() {
    let mut world = by_own_id();
    let gone = world.service.keys.remove(&key_id(1)).unwrap();
    refreshed(&mut world, 60);
    world.service.put(gone.clone());
    refreshed(&mut world, 10);
    assert_eq!(world.status("orders").pending, None);
    world.service.keys.remove(&key_id(1));
    assert!(refreshed(&mut world, 6).writes.is_empty(), "counted anew");
    assert!(refreshed(&mut world, 14).writes.is_empty());
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

#[test]
fn nothing_is_deleted_where_the_token_finds_no_other_key() {
    for spec in [KeyProtectKeySpec::default(), naming(by_id(&key_id(1)))] {
        let mut world = doomed(spec);
        world.service.keys.clear();
        refreshed(&mut world, 60);
        for _ in 0..20 {
            assert!(refreshed(&mut world, 6).writes.is_empty());
        }
        assert_ready(&world, "False", "KeyNotAvailable");
        assert!(is_there(&world));
    }
}

#[test]
fn what_another_read_found_long_ago_does_not_bear_out_a_404() {
    let mut world = by_own_id();
    world.service.singly = true;
    world.refresh();
    world.service.keys.clear();
    refreshed(&mut world, 60);
    for _ in 0..5 {
        assert!(refreshed(&mut world, 15).writes.is_empty());
    }
    // Somebody else's key is found.
    world.knowledge.last_found = Some((key_id(9), world.now));
    let plan = refreshed(&mut world, 61);
    assert!(plan.writes.len() == 1, "{}", world.message("orders"));
}

#[test]
fn a_vanished_alias_deletes_after_the_grace_and_not_before() {
    let mut world = by_own_alias();
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
    for _ in 0..14 {
        assert!(refreshed(&mut world, 1).writes.is_empty());
        assert_ready(&world, "True", "AliasMoving");
    }
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyNotAvailable");
    assert!(plan.events[0].note.contains("alias orders"));
    world.service.move_alias("orders", &key_id(9));
    refreshed(&mut world, 5);
    assert_ready(&world, "True", "Synced");
    assert!(is_there(&world));
}

#[test]
fn a_vanished_name_deletes_only_when_its_key_is_gone() {
    let mut world = doomed(naming(by_name("orders", "payments")));
    world
        .service
        .change(&key_id(1), |key| key.state = Some(KeyState::Suspended));
    refreshed(&mut world, 60);
    for _ in 0..4 {
        assert!(refreshed(&mut world, 15).writes.is_empty());
    }
    assert_ready(&world, "False", "KeyDisabled");
    let mut world = doomed(naming(by_name("orders", "payments")));
    delete_key(&mut world);
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
    // The key itself says that it was deleted.
    let plan = refreshed(&mut world, 15);
    assert_revoked(&mut world, &plan, "KeyDeleted");
    let mut world = doomed(naming(by_name("orders", "payments")));
    world.service.keys.remove(&key_id(1));
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
    // It is missed by its ID now, and has to be a grace later once more.
    assert!(refreshed(&mut world, 15).writes.is_empty());
    assert_eq!(world.ready("orders").0, "True");
    assert!(refreshed(&mut world, 14).writes.is_empty());
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

/// A key that moved to another ring has no such name any more; one read that misses it, or many
/// beside a listing that shows it, say nothing.
#[test]
fn a_vanished_name_whose_key_is_missed_once_or_listed_deletes_nothing() {
    for is_listed in [false, true] {
        let mut world = doomed(naming(by_name("orders", "payments")));
        world
            .service
            .change(&key_id(1), |key| key.key_ring = Some("other".to_owned()));
        refreshed(&mut world, 60);
        assert_ready(&world, "True", "AliasMoving");
        world.service.reads_fail = Some(FailureKind::KeyNotFound);
        if !is_listed {
            world.service.unlisted.insert(key_id(1));
        }
        assert!(refreshed(&mut world, 15).writes.is_empty());
        if !is_listed {
            world.service.reads_fail = None;
        }
        for _ in 0..6 {
            let plan = refreshed(&mut world, 16);
            assert!(plan.writes.is_empty(), "{is_listed}: {}", plan.cause);
        }
        assert!(is_there(&world), "{is_listed}");
    }
}

#[test]
fn a_rule_by_alias_takes_no_access_away_while_the_alias_moves() {
    let mut world = by_own_alias();
    let mut by_alias = rule();
    by_alias.aliases = strings(&["ord*"]);
    world.access = Some(vec![by_alias]);
    world.on_access_withdrawn = RevocationPolicy::Delete;
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
}
