//! Access that is withdrawn, and objects that are suspended or pinned meanwhile.

use super::revocation::{assert_revoked, by_own_alias, delete_key, doomed, is_there, refreshed};
use super::{assert_ready, events, synced};
use crate::api::key::{KeyProtectKeySpec, RevocationPolicy};
use crate::domain::service::metadata::KeyState;
use crate::domain::testing::{entry, key, key_id, minutes, rule, strings, target};

#[test]
fn withdrawn_access_deletes_after_the_grace_where_the_instances_owner_says_so() {
    for whole in [true, false] {
        let mut world = synced();
        world.on_access_withdrawn = RevocationPolicy::Delete;
        let mut other = rule();
        other.key_rings = strings(&["other"]);
        world.access = Some(if whole { vec![] } else { vec![other] });
        let began = world.now;
        let requests = world.service.requests;
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty());
        assert_eq!(plan.next, Some(began + minutes(15)));
        assert_ready(&world, "False", "AccessWithdrawn");
        assert!(world.message("orders").contains("It is deleted at"));
        world.assert_settled("orders");
        world.pass(minutes(14));
        world.restart();
        assert!(world.sync("orders").writes.is_empty());
        world.pass(minutes(1));
        let plan = world.sync("orders");
        assert_revoked(&mut world, &plan, "AccessWithdrawn");
        assert_eq!(world.service.requests[2], requests[2], "no payload is read");
        world.access = Some(vec![rule()]);
        world.sync("orders");
        assert_ready(&world, "True", "Synced");
        assert!(is_there(&world));
    }
}

#[test]
fn the_right_and_the_key_have_policies_of_their_own() {
    let mut world = by_own_alias();
    world.access = Some(vec![]);
    for _ in 0..3 {
        assert!(refreshed(&mut world, 20).writes.is_empty());
    }
    assert!(
        is_there(&world),
        "revocationPolicy does not speak of access"
    );
    let mut world = synced();
    world.on_access_withdrawn = RevocationPolicy::Delete;
    delete_key(&mut world);
    for _ in 0..3 {
        assert!(refreshed(&mut world, 20).writes.is_empty());
    }
    assert!(is_there(&world), "onAccessWithdrawn does not speak of keys");
}

#[test]
fn whoever_breaks_its_target_does_not_escape_a_withdrawal() {
    let mut world = synced();
    world.on_access_withdrawn = RevocationPolicy::Delete;
    world.access = Some(vec![]);
    world.edit("orders", |spec| {
        let mut broken = entry("url");
        broken.template = Some("{{ nonsense".to_owned());
        target(spec).data = Some(vec![broken]);
    });
    world.sync("orders");
    world.pass(minutes(15));
    world.sync("orders");
    assert!(!is_there(&world));
}

#[test]
fn a_suspended_object_is_still_watched_where_a_policy_says_delete() {
    let mut world = by_own_alias();
    world.edit("orders", |spec| spec.suspend = Some(true));
    world.sync("orders");
    assert_ready(&world, "True", "Suspended");
    world.assert_settled("orders");
    let reads = world.service.requests[2];
    delete_key(&mut world);
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "Suspended");
    let plan = refreshed(&mut world, 15);
    assert_eq!(events(&plan), ["Revoked"]);
    assert!(!is_there(&world));
    assert_ready(&world, "False", "Suspended");
    world.assert_settled("orders");
    assert_eq!(world.service.requests[2], reads);
    world.service.change(&key_id(1), |key| {
        key.state = Some(KeyState::Active);
        key.deleted = Some(false);
    });
    world.service.move_alias("orders", &key_id(1));
    refreshed(&mut world, 60);
    assert!(
        !is_there(&world),
        "nothing is written while it is suspended"
    );
    world.edit("orders", |spec| spec.suspend = None);
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
}

#[test]
fn a_suspended_object_follows_no_alias_and_loses_access_all_the_same() {
    let mut world = synced();
    world.on_access_withdrawn = RevocationPolicy::Delete;
    world.edit("orders", |spec| spec.suspend = Some(true));
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    assert!(refreshed(&mut world, 60).writes.is_empty());
    world.access = Some(vec![]);
    assert!(world.sync("orders").writes.is_empty());
    assert!(world.status("orders").pending.is_some());
    world.pass(minutes(15));
    world.sync("orders");
    assert!(!is_there(&world));
    assert_ready(&world, "False", "Suspended");
}

#[test]
fn a_suspended_object_whose_secret_stays_anyway_costs_no_request() {
    let mut world = synced();
    world.edit("orders", |spec| spec.suspend = Some(true));
    delete_key(&mut world);
    world.refresh();
    let requests = world.service.requests;
    world.sync("orders");
    assert_eq!(world.service.requests, requests);
    assert!(is_there(&world));
}

#[test]
fn a_pinned_object_loses_its_secret_with_its_key_and_not_with_its_alias() {
    let spec = KeyProtectKeySpec {
        refresh_interval: Some("0s".to_owned()),
        ..KeyProtectKeySpec::default()
    };
    let mut world = doomed(spec);
    world.service.unalias("orders");
    for _ in 0..3 {
        assert!(refreshed(&mut world, 60).writes.is_empty());
    }
    assert_ready(&world, "True", "Synced");
    delete_key(&mut world);
    let plan = refreshed(&mut world, 60);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}
