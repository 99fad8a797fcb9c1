use super::*;
use crate::api::key::{KeyProtectKeySpec, KeySelector};
use crate::domain::testing::world::World;
use crate::domain::testing::{
    INSTANCE_NAMESPACE, KeyExt as _, NAMESPACE, by_alias, entry, key, minutes, naming, object,
    target,
};

fn resolved<T>(world: &World, check: impl FnOnce(Result<SyncRequest<'_>, Refusal>) -> T) -> T {
    world.observe("orders", |observed| check(resolve(observed)))
}

fn refused(spec: KeyProtectKeySpec) -> (Reason, String) {
    let world = World::new([object("orders", spec)]);
    resolved(&world, |request| {
        let refusal = request.unwrap_err();
        (refusal.reason, refusal.message)
    })
}

#[test]
fn every_default_is_filled_in() {
    let world = World::new([object("orders", KeyProtectKeySpec::default())]);
    resolved(&world, |request| {
        let request = request.unwrap();
        assert_eq!(request.target.name, "orders");
        assert_eq!(request.target.sources[0].key.to_string(), "alias orders");
        assert_eq!((request.interval, request.pinned), (minutes(60), false));
    });
}

#[test]
fn the_interval_is_the_objects_the_instances_or_none() {
    for (text, interval, pinned) in [
        ("10m", minutes(10), false),
        ("24h", minutes(24 * 60), false),
        ("0s", minutes(60), true),
        ("1s", minutes(1), false),
        ("nonsense", minutes(60), false),
    ] {
        let spec = KeyProtectKeySpec {
            refresh_interval: Some(text.to_owned()),
            ..KeyProtectKeySpec::default()
        };
        let world = World::new([object("orders", spec)]);
        resolved(&world, |request| {
            let request = request.unwrap();
            assert_eq!(
                (request.interval, request.pinned),
                (interval, pinned),
                "{text}"
            );
        });
    }
}

#[test]
fn an_instance_is_named_by_default_in_the_own_namespace_or_whole() {
    let default = ("system".to_owned(), "default".to_owned());
    let named = |namespace: Option<&str>| {
        let mut object = object("orders", KeyProtectKeySpec::default());
        object.spec.instance_ref = Some(InstanceRef {
            name: "eu".to_owned(),
            namespace: namespace.map(str::to_owned),
        });
        instance_of(&object, &default)
    };
    let plain = object("orders", KeyProtectKeySpec::default());
    assert_eq!(instance_of(&plain, &default), default);
    assert_eq!(named(None), (NAMESPACE.to_owned(), "eu".to_owned()));
    assert_eq!(named(Some("other")), ("other".to_owned(), "eu".to_owned()));
}

#[test]
fn what_the_schema_would_refuse_is_refused_with_the_fields_name() {
    let selector = |change: fn(&mut KeySelector)| {
        let mut selector = KeySelector::default();
        change(&mut selector);
        refused(naming(selector))
    };
    for (refusal, words) in [
        (selector(|key| key.id = Some("x".to_owned())), "key ID"),
        (selector(|key| key.alias = Some("../x".to_owned())), "alias"),
        (selector(|key| key.name = Some("db".to_owned())), "keyRing"),
        (
            selector(|key| key.key_ring = Some("/".to_owned())),
            "key ring",
        ),
    ] {
        assert_eq!(refusal.0, Reason::RenderFailed);
        assert!(refusal.1.contains(words), "{}", refusal.1);
    }
    let mut twice = KeyProtectKeySpec::default();
    target(&mut twice).data = Some(vec![entry("a"), entry("a")]);
    assert_eq!(refused(twice).0, Reason::RenderFailed);
}

#[test]
fn a_refusal_costs_no_key_and_tells_no_case_from_another() {
    let mut messages = Vec::new();
    for case in 0..3 {
        let mut world = World::new([object("orders", naming(by_alias("db")))]);
        match case {
            0 => world.instance = false,
            1 => world.access = None,
            _ => world.access = Some(vec![]),
        }
        resolved(&world, |request| {
            let refusal = request.unwrap_err();
            assert_eq!(refusal.reason, Reason::KeyNotAvailable);
            messages.push(refusal.message);
        });
    }
    messages.dedup();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains(&format!("{INSTANCE_NAMESPACE}/default")));
}

#[test]
fn a_withdrawn_namespace_is_told_so_only_if_it_was_served_from_that_instance() {
    let mut world = World::new([object("orders", naming(by_alias("db")))]);
    world.service.put(key(1).alias("db"));
    world.sync("orders");
    world.access = Some(vec![]);
    let reason = |world: &World| resolved(world, |request| request.unwrap_err().reason);
    assert_eq!(reason(&world), Reason::AccessWithdrawn);
    world.policy.default_instance.1 = "another".to_owned();
    assert_eq!(reason(&world), Reason::KeyNotAvailable);
    // An instance that is gone withdrew nothing.
    world.policy.default_instance.1 = "default".to_owned();
    world.instance = false;
    assert_eq!(reason(&world), Reason::KeyNotAvailable);
}
