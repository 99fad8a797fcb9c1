//! What may be used, what may be seen, and what is read must be what was authorised.

use super::{assert_ready, orders, synced};
use crate::domain::look::hindrance::Need;
use crate::domain::service::failure::FailureKind;
use crate::domain::testing::world::World;
use crate::domain::testing::{
    KeyExt as _, by_alias, by_id, key, key_id, naming, object, rule, strings,
};

#[test]
fn no_such_key_no_such_instance_and_not_for_you_read_and_ask_alike() {
    // A rule by ring, and six ways in which the alias is not there for this namespace.
    let mut seen = Vec::new();
    for case in 0..6 {
        let mut world = World::new([object("orders", naming(by_alias("secret-alias")))]);
        let mut by_ring = rule();
        by_ring.key_rings = strings(&["payments"]);
        world.access = Some(vec![by_ring]);
        match case {
            0 => {}
            1 => world
                .service
                .put(key(1).alias("secret-alias").ring("other")),
            2 => {
                world
                    .service
                    .put(key(1).alias("secret-alias").ring("other"));
                world.service.unlisted.insert(key_id(1));
            }
            3 => {
                let mut deleted = key(1).alias("secret-alias").ring("other");
                deleted.deleted = Some(true);
                world.service.put(deleted);
            }
            4 => world.service.reads_fail = Some(FailureKind::Denied),
            _ => world.service.put(key(1).ring("payments")),
        }
        let plan = world.sync("orders");
        seen.push((
            world.ready("orders"),
            world.message("orders"),
            world.asked.clone(),
            world.service.requests,
            plan.next,
            plan.events,
        ));
    }
    for other in &seen {
        assert_eq!(other, &seen[0]);
    }
    assert_eq!(seen[0].0.1, "KeyNotAvailable");
    // Without any right, or any instance, nothing is asked at all, and the words are the same.
    for case in 0..2 {
        let mut world = World::new([object("orders", naming(by_alias("secret-alias")))]);
        match case {
            0 => world.instance = false,
            _ => world.access = None,
        }
        world.sync("orders");
        assert_eq!(world.message("orders"), seen[0].1);
        assert_eq!(world.service.requests, [0; 3]);
        assert_eq!(world.asked, Vec::<Need>::new());
    }
}

#[test]
fn a_withdrawn_rule_stops_fetching_and_keeps_the_secret() {
    for whole in [true, false] {
        let mut world = synced();
        let mut other = rule();
        other.key_rings = strings(&["other"]);
        world.access = if whole {
            Some(vec![])
        } else {
            Some(vec![other])
        };
        world.service.requests = [0; 3];
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty());
        assert_ready(&world, "False", "AccessWithdrawn");
        assert!(world.cluster.secrets.contains_key("orders"));
        world.assert_settled("orders");
        world.cluster.delete("orders");
        assert!(world.sync("orders").writes.is_empty());
        assert_eq!(world.service.requests[2], 0, "no payload is read");
        world.access = Some(vec![rule()]);
        world.sync("orders");
        assert_ready(&world, "True", "Synced");
    }
}

#[test]
fn the_payload_that_is_read_must_still_be_what_was_authorised() {
    let mut world = orders();
    let mut by_ring = rule();
    by_ring.key_rings = strings(&["payments"]);
    world.access = Some(vec![by_ring]);
    world.refresh();
    // Moved out of the ring after the listing: the read carries the ring and finds nothing.
    world
        .service
        .change(&key_id(1), |key| key.key_ring = Some("other".to_owned()));
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert!(plan.status.is_none(), "once is nothing to speak of");
    let next = plan.next.unwrap();
    world.assert_settled("orders");
    world.now = next;
    world.sync("orders");
    assert_ready(&world, "False", "KeyNotAvailable");
    // It lost the alias by which the rule goes: the read finds it, and what it answers is told.
    let mut world = orders();
    world.edit("orders", |spec| *spec = naming(by_id(&key_id(1))));
    let mut by_alias = rule();
    by_alias.aliases = strings(&["ord*"]);
    world.access = Some(vec![by_alias]);
    world.refresh();
    world.service.unalias("orders");
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty(), "{:?}", plan.writes);
    assert_eq!(world.service.requests[2], 1, "it was read");
}
