//! Secrets of others: handed over by their owner, or shared entry by entry.

use super::events;
use crate::api::key::{CreationPolicy, DeletionPolicy, Expand, KeyProtectKeySpec};
use crate::api::{ENTRIES_ANNOTATION, TARGET_LABEL};
use crate::domain::look::plan::{Write, WriteFailure};
use crate::domain::secret::shared;
use crate::domain::testing::world::{Stop, World};
use crate::domain::testing::{KeyExt as _, at, entry, key, key_id, minutes, object, target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// One object that wants entry `password` of the Secret `app`, which is somebody else's.
fn world() -> World {
    let mut spec = KeyProtectKeySpec::default();
    let wanted = target(&mut spec);
    wanted.name = Some("app".to_owned());
    wanted.creation_policy = Some(CreationPolicy::Merge);
    wanted.data = Some(vec![entry("password")]);
    let mut world = World::new([object("orders", spec)]);
    world.service.put(key(1).alias("orders"));
    world
}

fn shared_with(offer: &str) -> World {
    let mut world = world();
    world.cluster.make_labelled("app", "shared", offer);
    world
}

fn synced() -> World {
    let mut world = shared_with("password,token");
    world.sync("orders");
    assert_synced(&world);
    world
}

#[track_caller]
fn assert_synced(world: &World) {
    assert_eq!(
        world.ready("orders").1,
        "Synced",
        "{}",
        world.message("orders")
    );
}

#[track_caller]
fn assert_not_given(world: &World, words: &str) {
    let message = world.message("orders");
    assert_eq!(world.ready("orders").1, "SecretNotOwned", "{message}");
    assert!(message.contains(words), "{message}");
}

fn payload(world: &World, number: u32) -> Option<Vec<u8>> {
    Some(world.service.payload(&key_id(number)))
}

#[test]
fn a_secret_that_is_handed_over_becomes_the_operators_own() {
    let mut world = super::orders();
    world.cluster.make_foreign("orders");
    world.sync("orders");
    assert_eq!(world.ready("orders").1, "SecretNotOwned");
    assert!(
        world
            .message("orders")
            .contains("keyprotect.dev/target=adopt")
    );
    world.cluster.touch("orders", |secret| {
        let label = (TARGET_LABEL.to_owned(), "adopt".to_owned());
        secret.view.labels.extend([label]);
        let theirs = ("backup.example.org/done".to_owned(), "yes".to_owned());
        secret.view.annotations.extend([theirs]);
    });
    let plan = world.sync("orders");
    assert!(
        matches!(plan.writes.as_slice(), [Write::Replace { .. }]),
        "{plan:?}"
    );
    assert_synced(&world);
    assert_eq!(world.entry("orders", "key"), payload(&world, 1));
    // All data is the operator's from then on; what others say of the Secret stays.
    assert_eq!(world.entry("orders", "theirs"), None);
    let view = &world.cluster.secrets["orders"].view;
    assert!(view.is_owned() && view.is_owned_by("uid-of-orders"));
    assert!(view.annotations.contains_key("backup.example.org/done"));
    world.assert_settled("orders");
}

#[test]
fn a_shared_secret_is_not_taken_whole() {
    let mut world = super::orders();
    world.cluster.make_labelled("orders", "shared", "key");
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_not_given(&world, "hand it over");
    assert_eq!(world.service.requests[2], 0);
}

#[test]
fn entries_that_are_offered_are_written_and_nothing_else_is_touched() {
    let mut world = shared_with("password,token");
    let before = world.cluster.secrets["app"].view.clone();
    let plan = world.sync("orders");
    let [
        Write::Merge {
            entries, manager, ..
        },
    ] = plan.writes.as_slice()
    else {
        panic!("{:?}", plan.writes)
    };
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["password"]);
    assert_eq!(manager, "keyprotect.dev/merge/orders");
    assert_synced(&world);
    assert_eq!(events(&plan), [""; 0]);
    assert_eq!(world.entry("app", "password"), payload(&world, 1));
    assert_eq!(world.entry("app", "theirs"), Some(b"theirs".to_vec()));
    let after = &world.cluster.secrets["app"].view;
    assert_eq!(after.labels, before.labels);
    assert_eq!(after.annotations, before.annotations);
    assert_eq!(after.owner_references, before.owner_references);
    let status = world.status("orders").secret.unwrap();
    assert_eq!(status.entries, ["password"]);
    assert!(status.record.is_some());
    world.assert_settled("orders");
}

/// What is so, how it comes about, and what the message says.
type Case = (&'static str, fn(&mut World), &'static str);

#[test]
fn a_secret_is_written_only_as_its_owner_shares_it() {
    let cases: [Case; 5] = [
        ("there is none", |_| {}, "Merge the operator makes none"),
        (
            "it has no label",
            |world| world.cluster.make_foreign("app"),
            "target=shared",
        ),
        (
            "it is handed over, not shared",
            |world| world.cluster.make_labelled("app", "adopt", "password"),
            "target=shared",
        ),
        (
            "the entry is not offered",
            |world| world.cluster.make_labelled("app", "shared", "token,pass"),
            "these entries: password",
        ),
        (
            "no right is given",
            |world| {
                world.cluster.make_labelled("app", "shared", "password");
                world.may_merge = false;
            },
            "kubectl create role key-protect-operator-patch-app -n payments --verb=patch \
             --resource=secrets --resource-name=app",
        ),
    ];
    for (case, change, words) in cases {
        let mut world = world();
        change(&mut world);
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty(), "{case}");
        assert_not_given(&world, words);
        assert_eq!(world.service.requests[2], 0, "{case}");
        // It goes on when the owner shares it.
        world.cluster.secrets.remove("app");
        world.cluster.make_labelled("app", "shared", "password");
        world.may_merge = true;
        world.pass(minutes(6));
        world.sync("orders");
        assert_synced(&world);
        world.assert_settled("orders");
    }
}

#[test]
fn an_offer_that_is_withdrawn_ends_the_writes_and_leaves_the_entries() {
    for (label, offer) in [("shared", "token"), ("", "password")] {
        let mut world = synced();
        world.cluster.touch("app", |secret| {
            secret
                .view
                .labels
                .insert(TARGET_LABEL.to_owned(), label.to_owned());
            let notes = &mut secret.view.annotations;
            notes.insert(ENTRIES_ANNOTATION.to_owned(), offer.to_owned());
        });
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty());
        assert_not_given(&world, "");
        assert_eq!(world.entry("app", "password"), payload(&world, 1));
    }
}

#[test]
fn an_entry_that_somebody_edits_is_restored_and_one_that_is_not_costs_one_write_that_changes_nothing()
 {
    let mut world = synced();
    world.cluster.edit_entry("app", "password", b"other");
    world.sync("orders");
    assert_eq!(world.entry("app", "password"), payload(&world, 1));
    world.assert_settled("orders");

    world.pass(minutes(60));
    world.refresh();
    world.cluster.annotate("app", "theirs", "1");
    let version = world.cluster.secrets["app"].view.resource_version.clone();
    let plan = world.sync("orders");
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(events(&plan), [""; 0]);
    assert_eq!(world.cluster.secrets["app"].view.resource_version, version);
    world.assert_settled("orders");
}

#[test]
fn an_entry_that_is_no_longer_wanted_goes() {
    let mut world = synced();
    world.edit("orders", |spec| {
        target(spec).data = Some(vec![entry("token")]);
    });
    world.sync("orders");
    assert_synced(&world);
    assert_eq!(world.entry("app", "password"), None);
    assert_eq!(world.entry("app", "token"), payload(&world, 1));
    world.assert_settled("orders");
}

#[test]
fn entries_follow_the_target_or_stay_as_deletion_policy_says() {
    for (policy, stays) in [
        (DeletionPolicy::Delete, false),
        (DeletionPolicy::Retain, true),
    ] {
        let mut world = shared_with("password");
        world.cluster.make_labelled("other", "shared", "password");
        target(&mut world.object("orders").spec).deletion_policy = Some(policy);
        world.sync("orders");
        world.edit("orders", |spec| {
            target(spec).name = Some("other".to_owned());
        });
        let plan = world.sync("orders");
        assert_synced(&world);
        // The new one first.
        assert_eq!(plan.writes[0].name(), "other");
        assert_eq!(world.entry("other", "password"), payload(&world, 1));
        assert_eq!(world.entry("app", "password").is_some(), stays);
        world.assert_settled("orders");
    }
}

#[test]
fn a_change_of_deletion_policy_changes_the_manager_and_loses_nothing() {
    let mut world = synced();
    for policy in [DeletionPolicy::Retain, DeletionPolicy::Delete] {
        world.edit("orders", |spec| target(spec).deletion_policy = Some(policy));
        let mut looks = 0;
        while world.sync("orders").next == Some(world.now) {
            looks += 1;
            assert!(looks < 4, "it does not come to rest");
            assert_eq!(world.entry("app", "password"), payload(&world, 1));
        }
        world.sync("orders");
        world.assert_settled("orders");
        assert_eq!(world.entry("app", "password"), payload(&world, 1));
        let managers: Vec<_> = world.cluster.secrets["app"]
            .view
            .fields
            .merged
            .keys()
            .collect();
        assert_eq!(managers, [&shared::manager("orders", policy)]);
    }
}

#[test]
fn what_is_left_of_an_object_that_is_gone_is_given_back() {
    let mut world = synced();
    let view = world.cluster.secrets["app"].view.clone();
    let write = shared::give_back_all(&view, "orders").unwrap();
    world.cluster.execute(&write).unwrap();
    assert_eq!(world.entry("app", "password"), None);
    assert_eq!(world.entry("app", "theirs"), Some(b"theirs".to_vec()));
    let after = &world.cluster.secrets["app"].view;
    assert!(shared::give_back_all(after, "orders").is_none());
}

#[test]
fn of_two_that_want_an_entry_the_older_has_it() {
    let mut world = synced();
    let mut spec = world.object("orders").spec.clone();
    let mut younger = object("younger", spec.clone());
    younger.metadata.creation_timestamp = Some(Time(at(100)));
    world.service.put(key(2).alias("younger").alias("third"));
    world.objects.insert("younger".to_owned(), younger);
    world.sync("younger");
    assert_eq!(world.ready("younger").1, "EntryConflict");
    let message = world.message("younger");
    assert!(
        message.contains("entry password") && message.contains("orders"),
        "{message}"
    );
    assert_eq!(world.entry("app", "password"), payload(&world, 1));

    // Another entry of the same Secret is nobody's business but its own.
    target(&mut spec).data = Some(vec![entry("token")]);
    let mut third = object("third", spec.clone());
    third.metadata.creation_timestamp = Some(Time(at(200)));
    world.objects.insert("third".to_owned(), third);
    world.sync("third");
    assert_eq!(
        world.ready("third").1,
        "Synced",
        "{}",
        world.message("third")
    );
    assert_eq!(world.entry("app", "token"), payload(&world, 2));

    // One that expands a payload may make any entry.
    let wanted = target(&mut spec);
    wanted.data = None;
    wanted.expand = Some(Expand::Json);
    let mut fourth = object("fourth", spec);
    fourth.metadata.creation_timestamp = Some(Time(at(300)));
    world.objects.insert("fourth".to_owned(), fourth);
    world.sync("fourth");
    assert_eq!(world.ready("fourth").1, "EntryConflict");

    // Both writers come to rest beside each other.
    for _ in 0..2 {
        world.sync("orders");
        world.sync("third");
    }
    world.assert_settled("orders");
    world.assert_settled("third");
    assert_eq!(world.entry("app", "password"), payload(&world, 1));
}

#[test]
fn a_crash_between_write_and_status_costs_one_more_write_that_changes_nothing() {
    let mut world = shared_with("password");
    let plan = world.plan("orders");
    world.execute("orders", plan, Stop::AfterWrites(1));
    let version = world.cluster.secrets["app"].view.resource_version.clone();
    world.restart();
    world.sync("orders");
    assert_synced(&world);
    assert_eq!(world.cluster.secrets["app"].view.resource_version, version);
    world.assert_settled("orders");
}

#[test]
fn a_service_that_does_not_answer_leaves_the_entries_and_ready() {
    let mut world = synced();
    world.pass(minutes(61));
    world.service.lists_fail = Some(crate::domain::service::failure::FailureKind::ServiceError);
    world.service.reads_fail = world.service.lists_fail;
    world.restart();
    world.sync("orders");
    assert_eq!(world.ready("orders").0, "True");
    assert_eq!(world.entry("app", "password"), payload(&world, 1));
}

#[test]
fn a_write_that_is_refused_is_not_repeated_before_its_time() {
    let mut world = shared_with("password");
    world.cluster.refuses = Some(WriteFailure::Immutable);
    world.sync("orders");
    assert_eq!(world.ready("orders").1, "SecretImmutable");
    let read = world.service.requests[2];
    world.sync("orders");
    assert_eq!(world.service.requests[2], read);
}
