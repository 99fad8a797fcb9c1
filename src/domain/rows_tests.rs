//! The rows of "Behaviour that users rely on", one by one.

use super::testing::world::World;
use super::testing::{KeyExt as _, key, object};
use crate::api::key::KeyProtectKeySpec;

/// One object, `orders`, whose key 1 has the alias of its name.
pub(super) fn orders() -> World {
    let mut world = World::new([object("orders", KeyProtectKeySpec::default())]);
    world.service.put(key(1).alias("orders"));
    world
}

#[test]
fn a_first_sync_is_one_create_and_one_status_and_no_event() {
    let mut world = orders();
    let plan = world.sync("orders");
    assert_eq!(plan.writes.len(), 1);
    assert!(plan.status.is_some());
    assert_eq!(plan.events, []);
    assert_eq!(
        world.ready("orders"),
        ("True".to_owned(), "Synced".to_owned())
    );
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key(1).id))
    );
    assert_eq!(world.service.requests, [1, 0, 1]);
    world.assert_settled("orders");
}
