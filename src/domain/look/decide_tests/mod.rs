//! What a look comes to, from end to end: the rows of "Behaviour that users rely on" and of "How
//! a Secret is marked, written, checked and given up".

mod absence;
mod hold;
mod lifecycle;
mod merge;
mod naming;
mod ownership;
mod reasons;
mod revocation;
mod rows;
mod sources;
mod tenants;
mod unread;
mod upstream;
mod withdrawal;

use crate::api::key::KeyProtectKeySpec;
use crate::domain::testing::world::World;
use crate::domain::testing::{KeyExt as _, key, object};

/// One object, `orders`, whose key 1 has the alias of its name.
fn orders() -> World {
    let mut world = World::new([object("orders", KeyProtectKeySpec::default())]);
    world.service.put(key(1).alias("orders"));
    world
}

/// The same, in sync.
fn synced() -> World {
    let mut world = orders();
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world
}

#[track_caller]
fn assert_ready(world: &World, status: &str, reason: &str) {
    let expected = (status.to_owned(), reason.to_owned());
    assert_eq!(
        world.ready("orders"),
        expected,
        "{}",
        world.message("orders")
    );
}

/// The reasons of a plan's Events.
fn events(plan: &crate::domain::look::plan::Plan) -> Vec<&'static str> {
    plan.events.iter().map(|event| event.reason).collect()
}
