//! Too many revocations within an hour wait for somebody to let them go.

use super::revocation::deleting;
use crate::api::condition::ConditionType;
use crate::api::key::RevocationPolicy;
use crate::domain::service::failure::FailureKind;
use crate::domain::status;
use crate::domain::testing::world::World;
use crate::domain::testing::{at, by_id, key, key_id, minutes, naming, object};

/// Ten objects, each with a key of its own, all of whose Secrets go with their keys.
fn ten() -> World {
    let names: Vec<String> = (1..=10).map(|number| format!("o{number}")).collect();
    let objects = names
        .iter()
        .zip(1..)
        .map(|(name, number)| object(name, deleting(naming(by_id(&key_id(number))))));
    let mut world = World::new(objects);
    for number in 1..=10 {
        world.service.put(key(number));
    }
    for name in &names {
        world.sync(name);
    }
    world.service.put(key(99));
    world
}

fn delete_ten(world: &mut World) {
    for number in 1..=10 {
        world
            .service
            .change(&key_id(number), |key| key.deleted = Some(true));
    }
    world.refresh();
}

fn look_at_ten(world: &mut World) {
    for number in 1..=10 {
        world.sync(&format!("o{number}"));
    }
}

fn held(world: &World) -> usize {
    let objects = world.objects.values();
    let held = objects.filter(|object| {
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let mut conditions = conditions;
        conditions.any(|condition| condition.type_ == "MassRevocationHeld")
    });
    held.count()
}

#[test]
fn beyond_three_of_ten_revocations_wait_also_after_an_hour_and_a_restart() {
    let mut world = ten();
    delete_ten(&mut world);
    look_at_ten(&mut world);
    assert_eq!((world.cluster.secrets.len(), held(&world)), (7, 7));
    let status = world.status("o10");
    let condition = status::find(&status.conditions, ConditionType::MassRevocationHeld);
    assert!(condition.is_some());
    assert_eq!(
        world.ready("o10"),
        ("False".to_owned(), "KeyDeleted".to_owned())
    );
    let message = world.message("o10");
    for words in [
        key_id(10).as_str(),
        "keeps its last value",
        "release-revocations",
    ] {
        assert!(message.contains(words), "{message}");
    }
    world.assert_settled("o10");
    for _ in 0..4 {
        world.pass(minutes(61));
        world.restart();
        world.refresh();
        look_at_ten(&mut world);
        assert_eq!((world.cluster.secrets.len(), held(&world)), (7, 7));
    }
}

#[test]
fn what_waits_for_leave_still_waits_after_the_service_was_not_to_be_had() {
    let mut world = ten();
    delete_ten(&mut world);
    look_at_ten(&mut world);
    assert_eq!((world.cluster.secrets.len(), held(&world)), (7, 7));
    for kind in [FailureKind::Unreachable, FailureKind::Throttled] {
        world.service.lists_fail = Some(kind);
        world.service.reads_fail = Some(kind);
        world.restart();
        world.pass(minutes(61));
        world.refresh();
        look_at_ten(&mut world);
        assert_eq!(held(&world), 7, "{kind:?}");
        (world.service.lists_fail, world.service.reads_fail) = (None, None);
        world.refresh();
        look_at_ten(&mut world);
        assert_eq!((world.cluster.secrets.len(), held(&world)), (7, 7));
    }
}

#[test]
fn an_admin_lets_go_what_waits_and_nothing_that_comes_later() {
    let mut world = ten();
    world
        .service
        .change(&key_id(10), |key| key.expiration_date = Some(at(3 * 3600)));
    for number in 1..=9 {
        world
            .service
            .change(&key_id(number), |key| key.deleted = Some(true));
    }
    world.refresh();
    look_at_ten(&mut world);
    assert_eq!(world.cluster.secrets.len(), 7);
    world.pass(minutes(10));
    world.release = Some(world.now.to_string());
    look_at_ten(&mut world);
    assert_eq!((world.cluster.secrets.len(), held(&world)), (1, 0));
    // Within the hour of those that were let go, another one waits.
    world.now = at(3600 - 60);
    world
        .service
        .change(&key_id(10), |key| key.deleted = Some(true));
    world.refresh();
    look_at_ten(&mut world);
    assert_eq!((world.cluster.secrets.len(), held(&world)), (1, 1));
    world.pass(minutes(61));
    world.refresh();
    look_at_ten(&mut world);
    assert_eq!(
        world.cluster.secrets.len(),
        0,
        "alone, it is within the limit"
    );
}

#[test]
fn what_waited_stays_when_its_key_is_back() {
    let mut world = ten();
    delete_ten(&mut world);
    look_at_ten(&mut world);
    for number in 1..=10 {
        world
            .service
            .change(&key_id(number), |key| key.deleted = Some(false));
    }
    world.pass(minutes(1));
    world.refresh();
    look_at_ten(&mut world);
    assert_eq!((world.cluster.secrets.len(), held(&world)), (10, 0));
    for number in 1..=10 {
        let name = format!("o{number}");
        assert_eq!(world.ready(&name).1, "Synced");
        world.assert_settled(&name);
    }
}

#[test]
fn withdrawals_of_access_are_held_too() {
    let mut world = ten();
    world.on_access_withdrawn = RevocationPolicy::Delete;
    world.access = Some(vec![]);
    look_at_ten(&mut world);
    world.pass(minutes(15));
    look_at_ten(&mut world);
    assert_eq!((world.cluster.secrets.len(), held(&world)), (7, 7));
    let plan = world.sync("o10");
    assert!(plan.next.is_some(), "it is looked at again");
    world.pass(minutes(1));
    world.release = Some(world.now.to_string());
    look_at_ten(&mut world);
    assert_eq!(world.cluster.secrets.len(), 0);
}
