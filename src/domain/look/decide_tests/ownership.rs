//! How a Secret is written and checked, and what others do to it.

use super::{assert_ready, events, orders, synced};
use crate::api::key::{DeletionPolicy, TargetMetadata};
use crate::api::{RECORD_ANNOTATION, RETAIN_ANNOTATION, TARGET_LABEL};
use crate::domain::look::plan::Write;
use crate::domain::testing::world::World;
use crate::domain::testing::{entry, key_id, map, minutes, target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

fn restored(world: &mut World) {
    let plan = world.sync("orders");
    assert_eq!(events(&plan), ["Restored"]);
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(1)))
    );
    assert_ready(world, "True", "Synced");
    world.assert_settled("orders");
}

#[test]
fn what_is_created_is_marked_recorded_and_plainly_owned() {
    let mut world = orders();
    let plan = world.plan("orders");
    let [Write::Create(body)] = plan.writes.as_slice() else {
        panic!("{:?}", plan.writes)
    };
    assert_eq!(body.labels, map(&[(TARGET_LABEL, "owned")]));
    assert_eq!(
        body.annotations.keys().collect::<Vec<_>>(),
        [RECORD_ANNOTATION]
    );
    let expected = OwnerReference {
        api_version: "keyprotect.dev/v1alpha1".to_owned(),
        kind: "KeyProtectKey".to_owned(),
        name: "orders".to_owned(),
        uid: "uid-of-orders".to_owned(),
        controller: None,
        block_owner_deletion: None,
    };
    assert_eq!(body.owner_references, [expected]);
    assert!(body.finalizers.is_empty());
}

#[test]
fn a_retained_secret_has_a_mark_and_no_owner() {
    let mut world = orders();
    target(&mut world.object("orders").spec).deletion_policy = Some(DeletionPolicy::Retain);
    world.sync("orders");
    let secret = &world.cluster.secrets["orders"].view;
    assert!(secret.owner_references.is_empty());
    assert_eq!(
        secret
            .annotations
            .get(RETAIN_ANNOTATION)
            .map(String::as_str),
        Some("true")
    );
    world.assert_settled("orders");
}

#[test]
fn a_deleted_secret_is_restored_at_once() {
    let mut world = synced();
    world.cluster.delete("orders");
    restored(&mut world);
}

#[test]
fn an_edited_entry_is_restored_at_once() {
    let mut world = synced();
    world.cluster.edit_entry("orders", "key", b"other");
    restored(&mut world);
}

#[test]
fn a_further_entry_is_removed() {
    let mut world = synced();
    world.cluster.edit_entry("orders", "more", b"other");
    restored(&mut world);
    assert_eq!(world.entry("orders", "more"), None);
}

#[test]
fn a_removed_entry_is_restored() {
    let mut world = synced();
    world.cluster.touch("orders", |secret| {
        secret.data.remove("key");
        secret.view.fields.entries.remove("key");
    });
    restored(&mut world);
}

#[test]
fn an_edited_record_is_restored() {
    let mut world = synced();
    world.cluster.annotate("orders", RECORD_ANNOTATION, "v1:00");
    restored(&mut world);
}

#[test]
fn a_removed_record_is_restored() {
    let mut world = synced();
    world.cluster.touch("orders", |secret| {
        secret.view.annotations.remove(RECORD_ANNOTATION);
        secret.view.fields.annotations.remove(RECORD_ANNOTATION);
    });
    restored(&mut world);
}

#[test]
fn an_entry_that_somebody_co_owns_with_the_same_value_is_in_sync() {
    let mut world = synced();
    world.cluster.touch("orders", |secret| {
        secret.view.fields = crate::domain::secret::FieldOwnership::from_managed_fields(
            serde_json::from_value(serde_json::json!([
                {"manager": "keyprotect.dev/operator", "operation": "Update", "fieldsV1": {
                    "f:data": {"f:key": {}},
                    "f:metadata": {"f:annotations": {"f:keyprotect.dev/record": {}},
                                   "f:labels": {"f:keyprotect.dev/target": {}}}}},
                {"manager": "somebody", "operation": "Apply", "fieldsV1": {"f:data": {"f:key": {}}}},
            ]))
            .unwrap(),
        );
    });
    world.assert_settled("orders");
}

#[test]
fn cleared_managed_fields_cost_one_write_and_no_more() {
    let mut world = synced();
    for _ in 0..2 {
        world
            .cluster
            .touch("orders", |secret| secret.view.fields = Default::default());
        let plan = world.sync("orders");
        assert_eq!(plan.writes.len(), 1);
        world.assert_settled("orders");
        world.pass(minutes(60));
        world.refresh();
        world.restart();
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty() && plan.status.is_none(), "{plan:?}");
    }
}

#[test]
fn what_others_put_on_the_secret_is_kept_and_costs_nothing() {
    let mut world = synced();
    world
        .cluster
        .annotate("orders", "backup.example.org/done", "yes");
    world.cluster.touch("orders", |secret| {
        secret.view.labels.insert("team".to_owned(), "a".to_owned());
        secret.view.finalizers.push("example.org/keep".to_owned());
        secret.view.owner_references.push(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: "other".to_owned(),
            uid: "uid-of-other".to_owned(),
            ..OwnerReference::default()
        });
    });
    world.assert_settled("orders");
    let before = world.cluster.secrets["orders"].view.clone();
    world.cluster.edit_entry("orders", "key", b"other");
    restored(&mut world);
    let after = &world.cluster.secrets["orders"].view;
    assert_eq!(after.labels, before.labels);
    assert_eq!(after.annotations, before.annotations);
    assert_eq!(after.finalizers, before.finalizers);
    assert!(
        after
            .owner_references
            .iter()
            .any(|owner| owner.kind == "ConfigMap")
    );
    assert_eq!(after.owner_references.len(), 2);
}

#[test]
fn labels_of_its_own_that_are_no_longer_wanted_are_dropped() {
    let mut world = orders();
    let labels = |pairs| {
        Some(TargetMetadata {
            labels: Some(map(pairs)),
            annotations: Some(map(pairs)),
        })
    };
    target(&mut world.object("orders").spec).metadata = labels(&[("a", "1"), ("b", "2")]);
    world.sync("orders");
    world.edit("orders", |spec| {
        target(spec).metadata = labels(&[("b", "3")]);
    });
    let plan = world.sync("orders");
    assert_eq!(plan.events, []);
    let view = &world.cluster.secrets["orders"].view;
    assert_eq!(view.labels, map(&[("b", "3"), (TARGET_LABEL, "owned")]));
    assert!(!view.annotations.contains_key("a"));
    world.assert_settled("orders");
    // One of them that somebody else changes is put back.
    world.cluster.touch("orders", |secret| {
        secret.view.labels.insert("b".to_owned(), "x".to_owned());
        secret.view.fields.labels.remove("b");
    });
    restored(&mut world);
}

#[test]
fn an_owner_reference_that_vanished_is_put_back_only_after_a_live_look() {
    let mut world = synced();
    world
        .cluster
        .touch("orders", |secret| secret.view.owner_references.clear());
    let plan = world.sync("orders");
    let [Write::Replace { confirm_alive, .. }] = plan.writes.as_slice() else {
        panic!("{:?}", plan.writes)
    };
    assert!(
        confirm_alive,
        "`--cascade=orphan` takes the reference before the object goes"
    );
    world.assert_settled("orders");
    world.cluster.edit_entry("orders", "key", b"other");
    let plan = world.plan("orders");
    assert!(matches!(
        plan.writes.as_slice(),
        [Write::Replace {
            confirm_alive: false,
            ..
        }]
    ));
}

#[test]
fn a_replacement_and_a_deletion_name_exactly_what_was_seen() {
    let mut world = synced();
    let seen = world.cluster.secrets["orders"].view.clone();
    world.cluster.edit_entry("orders", "key", b"edited");
    let edited = world.cluster.secrets["orders"].view.clone();
    let plan = world.plan("orders");
    let [
        Write::Replace {
            uid,
            resource_version,
            ..
        },
    ] = plan.writes.as_slice()
    else {
        panic!("what was edited is replaced: {:?}", plan.writes)
    };
    assert_eq!(
        (uid, resource_version),
        (&edited.uid, &edited.resource_version)
    );
    assert_ne!(edited.resource_version, seen.resource_version);
    world.sync("orders");
    let seen = world.cluster.secrets["orders"].view.clone();
    world.edit("orders", |spec| {
        target(spec).name = Some("other".to_owned());
    });
    let plan = world.plan("orders");
    let [
        Write::Create(body),
        Write::Delete {
            name,
            uid,
            resource_version,
            ..
        },
    ] = plan.writes.as_slice()
    else {
        panic!("the new one first, then the old one: {:?}", plan.writes)
    };
    assert_eq!((body.name.as_str(), name.as_str()), ("other", "orders"));
    assert_eq!(uid, &seen.uid);
    assert_eq!(resource_version.as_ref(), Some(&seen.resource_version));
    // Meanwhile somebody changes it: nothing is deleted that was not seen.
    world.cluster.annotate("orders", "x", "y");
    world.execute("orders", plan, crate::domain::testing::world::Stop::Never);
    assert!(world.cluster.secrets.contains_key("orders"));
    world.sync("orders");
    assert_eq!(world.cluster.secrets.keys().collect::<Vec<_>>(), ["other"]);
    world.assert_settled("orders");
}

#[test]
fn a_renamed_target_leaves_a_retained_secret_behind() {
    let mut world = synced();
    world.edit("orders", |spec| {
        target(spec).name = Some("other".to_owned());
        target(spec).deletion_policy = Some(DeletionPolicy::Retain);
    });
    let plan = world.sync("orders");
    assert_eq!(plan.writes.len(), 2);
    for name in ["orders", "other"] {
        let view = &world.cluster.secrets[name].view;
        assert!(view.owner_references.is_empty(), "{name}");
        assert!(view.annotations.contains_key(RETAIN_ANNOTATION), "{name}");
    }
    world.assert_settled("orders");
}

#[test]
fn a_superseded_secret_with_a_finalizer_is_deleted_once() {
    let mut world = synced();
    world.cluster.touch("orders", |secret| {
        secret.view.finalizers.push("example.org/keep".to_owned());
    });
    world.edit("orders", |spec| {
        target(spec).name = Some("other".to_owned());
    });
    world.sync("orders");
    assert!(world.cluster.secrets["orders"].view.deleting);
    world.assert_settled("orders");
}

#[test]
fn a_change_of_deletion_policy_changes_the_owner_reference_and_the_mark_in_one_write() {
    let mut world = synced();
    for (policy, owners) in [(DeletionPolicy::Retain, 0), (DeletionPolicy::Delete, 1)] {
        world.edit("orders", |spec| target(spec).deletion_policy = Some(policy));
        let plan = world.sync("orders");
        assert_eq!((plan.writes.len(), plan.events.len()), (1, 0));
        let view = &world.cluster.secrets["orders"].view;
        assert_eq!(view.owner_references.len(), owners);
        assert_eq!(
            view.annotations.contains_key(RETAIN_ANNOTATION),
            owners == 0
        );
        world.assert_settled("orders");
    }
}

#[test]
fn a_removed_entry_of_the_spec_leaves_the_secret() {
    let mut world = synced();
    world.edit("orders", |spec| {
        target(spec).data = Some(vec![entry("a"), entry("b")]);
    });
    world.sync("orders");
    world.edit("orders", |spec| target(spec).data = Some(vec![entry("b")]));
    world.sync("orders");
    assert_eq!(
        world.cluster.secrets["orders"]
            .data
            .keys()
            .collect::<Vec<_>>(),
        ["b"]
    );
    world.assert_settled("orders");
}

#[test]
fn somebody_who_deletes_the_secret_in_a_loop_does_not_cost_a_payload_per_round() {
    let mut world = synced();
    let before = world.service.requests[2];
    for _ in 0..200 {
        world.cluster.delete("orders");
        world.sync("orders");
        world.pass(jiff::SignedDuration::from_secs(1));
    }
    let reads = world.service.requests[2] - before;
    assert!((3..20).contains(&reads), "{reads}");
    world.pass(minutes(10));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world.assert_settled("orders");
}
