//! Secrets that may not be read: what is known of them, and what is done about the rest.

use super::{events, orders};
use crate::api::TARGET_LABEL;
use crate::api::key::{CreationPolicy, DeletionPolicy, RevocationPolicy};
use crate::domain::look::hindrance::Need;
use crate::domain::look::observed::FenceProof;
use crate::domain::look::plan::Write;
use crate::domain::service::failure::FailureKind;
use crate::domain::testing::world::{Stop, World};
use crate::domain::testing::{
    KeyExt as _, at, by_alias, entry, key, key_id, minutes, naming, object, target,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

fn unread() -> World {
    let mut world = orders();
    world.unread = Some(FenceProof::Old);
    world
}

fn synced() -> World {
    let mut world = unread();
    let plan = world.sync("orders");
    assert!(
        matches!(plan.writes.as_slice(), [Write::Create(_)]),
        "{plan:?}"
    );
    assert_ready(&world, "Synced");
    world.assert_settled("orders");
    world
}

#[track_caller]
fn assert_ready(world: &World, reason: &str) {
    assert_eq!(
        world.ready("orders").1,
        reason,
        "{}",
        world.message("orders")
    );
}

/// Lets time pass until the object's turn, and looks.
fn turn(world: &mut World) -> crate::domain::look::plan::Plan {
    world.pass(minutes(10));
    world.sync("orders")
}

#[test]
fn a_first_sync_is_one_write_and_the_record_stands_in_status() {
    let world = synced();
    let secret = world.status("orders").secret.unwrap();
    assert!(secret.record.is_some() && secret.uid.is_some());
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(1)))
    );
}

#[test]
fn each_object_is_asked_about_once_an_interval_and_nothing_is_written_while_it_is_the_same() {
    let mut world = synced();
    let read = world.service.requests[2];
    for _ in 0..5 {
        let plan = turn(&mut world);
        assert!(
            matches!(world.asked.as_slice(), [Need::Drift { .. }]),
            "{:?}",
            world.asked
        );
        assert!(plan.writes.is_empty() && plan.status.is_none());
        let next = plan.next.unwrap();
        assert!(next > world.now && next <= world.now + minutes(10));
        world.assert_settled("orders");
    }
    assert_eq!(world.service.requests[2], read);
    // After a restart, nothing is asked at once.
    world.restart();
    world.refresh();
    let plan = world.plan("orders");
    assert!(plan.writes.is_empty() && plan.status.is_none());
    assert!(world.asked.is_empty(), "{:?}", world.asked);
}

#[test]
fn a_secret_that_was_deleted_or_edited_is_restored_at_its_turn() {
    let changes: [fn(&mut World); 3] = [
        |world| world.cluster.delete("orders"),
        |world| world.cluster.edit_entry("orders", "key", b"other"),
        |world| {
            // Deleted, and made anew by somebody who restores a backup.
            let mut old = world.cluster.secrets["orders"].clone();
            world.cluster.delete("orders");
            old.view.uid = "another".to_owned();
            world.cluster.secrets.insert("orders".to_owned(), old);
        },
    ];
    for change in changes {
        let mut world = synced();
        change(&mut world);
        let plan = turn(&mut world);
        assert_eq!(plan.writes.len(), 1, "{plan:?}");
        assert_eq!(events(&plan), ["Restored"]);
        assert_ready(&world, "Synced");
        let value = Some(world.service.payload(&key_id(1)));
        assert_eq!(world.entry("orders", "key"), value);
        world.assert_settled("orders");
    }
}

#[test]
fn a_new_key_is_one_write_and_where_somebody_wrote_meanwhile_a_question_and_a_second() {
    for touched in [false, true] {
        let mut world = synced();
        world.service.put(key(2));
        world.service.move_alias("orders", &key_id(2));
        if touched {
            world.cluster.annotate("orders", "theirs", "1");
        }
        world.pass(minutes(5));
        world.refresh();
        let plan = world.sync("orders");
        if touched {
            assert!(plan.writes.is_empty(), "{plan:?}");
            world.pass(minutes(1));
            let plan = world.sync("orders");
            assert!(
                matches!(plan.writes.as_slice(), [Write::Overwrite(_)]),
                "{plan:?}"
            );
        } else {
            assert!(
                matches!(plan.writes.as_slice(), [Write::Replace { .. }]),
                "{plan:?}"
            );
        }
        let value = Some(world.service.payload(&key_id(2)));
        assert_eq!(world.entry("orders", "key"), value);
        assert_ready(&world, "Synced");
        world.assert_settled("orders");
    }
}

#[test]
fn a_write_over_what_was_not_seen_needs_a_fence_that_holds() {
    let cases = [
        (FenceProof::Missing, "OperatorError", "FenceInactive"),
        (FenceProof::Off, "SecretNotOwned", "--fence=off"),
    ];
    for (fence, reason, words) in cases {
        let mut world = synced();
        let read = world.service.requests[2];
        world.cluster.edit_entry("orders", "key", b"other");
        world.fence = fence;
        world.unread = Some(if fence == FenceProof::Off {
            fence
        } else {
            FenceProof::Old
        });
        let plan = turn(&mut world);
        assert!(plan.writes.is_empty());
        assert_ready(&world, reason);
        let message = world.message("orders");
        assert!(message.contains(words), "{message}");
        assert_eq!(world.service.requests[2], read, "no payload is read for it");
        // It goes on when the fence is back.
        world.fence = FenceProof::Proven;
        world.unread = Some(FenceProof::Old);
        world.pass(minutes(10));
        world.sync("orders");
        assert_ready(&world, "Synced");
    }
}

#[test]
fn a_foreign_secret_is_not_touched_and_costs_one_payload() {
    let mut world = unread();
    world.cluster.make_foreign("orders");
    world.sync("orders");
    world.pass(minutes(1));
    for _ in 0..3 {
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty());
        assert_ready(&world, "SecretNotOwned");
        assert_eq!(world.service.requests[2], 1);
        world.pass(minutes(6));
    }
    // Handed over, it is taken.
    world.cluster.touch("orders", |secret| {
        let label = (TARGET_LABEL.to_owned(), "adopt".to_owned());
        secret.view.labels.extend([label]);
    });
    let plan = world.sync("orders");
    assert!(
        matches!(plan.writes.as_slice(), [Write::Overwrite(_)]),
        "{plan:?}"
    );
    assert_ready(&world, "Synced");
    world.assert_settled("orders");
}

#[test]
fn a_released_secret_is_left_alone() {
    let mut world = synced();
    world
        .cluster
        .touch("orders", |secret| secret.view.labels.clear());
    let before = world.cluster.secrets["orders"].data.clone();
    turn(&mut world);
    turn(&mut world);
    assert_ready(&world, "SecretNotOwned");
    assert_eq!(world.cluster.secrets["orders"].data, before);
}

#[test]
fn a_crash_between_secret_and_status_is_made_good_without_the_right_to_look() {
    let mut world = unread();
    let plan = world.plan("orders");
    world.execute("orders", plan, Stop::AfterWrites(1));
    world.restart();
    world.sync("orders");
    world.pass(minutes(1));
    let plan = world.sync("orders");
    assert!(
        matches!(plan.writes.as_slice(), [Write::Overwrite(_)]),
        "{plan:?}"
    );
    assert_ready(&world, "Synced");
    world.assert_settled("orders");
}

#[test]
fn what_a_write_could_not_keep_is_named() {
    for immutable in [true, false] {
        let mut world = synced();
        world.cluster.edit_entry("orders", "key", b"other");
        world.cluster.touch("orders", |secret| {
            secret.immutable = immutable;
            if !immutable {
                secret.view.finalizers.push("example.org/keep".to_owned());
            }
        });
        turn(&mut world);
        assert_ready(&world, "SecretImmutable");
        let word = if immutable { "immutable" } else { "finalizer" };
        let message = world.message("orders");
        assert!(message.contains(word), "{message}");
        assert_eq!(world.entry("orders", "key"), Some(b"other".to_vec()));
    }
}

#[test]
fn the_target_of_before_goes_by_its_uid_or_stays_as_deletion_policy_says() {
    for (policy, touched) in [
        (DeletionPolicy::Delete, false),
        (DeletionPolicy::Delete, true),
        (DeletionPolicy::Retain, false),
    ] {
        let mut world = unread();
        target(&mut world.object("orders").spec).deletion_policy = Some(policy);
        world.sync("orders");
        if touched {
            world.cluster.annotate("orders", "theirs", "1");
        }
        world.edit("orders", |spec| target(spec).name = Some("new".to_owned()));
        let plan = world.sync("orders");
        assert!(
            matches!(plan.writes[0], Write::Create(_)),
            "the new one first"
        );
        assert_ready(&world, "Synced");
        let stays = policy == DeletionPolicy::Retain;
        assert_eq!(world.cluster.secrets.contains_key("orders"), stays);
        assert!(world.cluster.secrets.contains_key("new"));
        world.assert_settled("orders");
    }
}

#[test]
fn a_target_of_before_that_is_gone_or_another_ones_is_let_be() {
    for gone in [true, false] {
        let mut world = synced();
        world.cluster.delete("orders");
        if !gone {
            world.cluster.make_foreign("orders");
        }
        world.edit("orders", |spec| target(spec).name = Some("new".to_owned()));
        world.sync("orders");
        assert_ready(&world, "Synced");
        assert_eq!(world.cluster.secrets.contains_key("orders"), !gone);
        world.assert_settled("orders");
    }
}

/// By its UID alone a Secret goes only where a fence keeps its owner's from it: whoever has taken it
/// back has changed it since it was written, and has kept its UID.
#[test]
fn without_a_fence_that_holds_only_what_is_as_it_was_written_goes() {
    for (fence, goes) in [
        (FenceProof::Proven, true),
        (FenceProof::Missing, false),
        (FenceProof::Off, false),
    ] {
        for is_changed in [false, true] {
            for is_revoked in [false, true] {
                let what = format!("{fence:?}, changed {is_changed}, revoked {is_revoked}");
                let mut world = unread();
                world.edit("orders", |spec| {
                    spec.revocation_policy = is_revoked.then_some(RevocationPolicy::Delete);
                });
                world.sync("orders");
                if is_changed {
                    world.cluster.annotate("orders", "theirs", "1");
                }
                world.fence = fence;
                world.unread = Some(match fence {
                    FenceProof::Off => FenceProof::Off,
                    _ => FenceProof::Old,
                });
                if is_revoked {
                    world.service.put(key(2).alias("other"));
                    world
                        .service
                        .change(&key_id(1), |key| key.deleted = Some(true));
                    world.refresh();
                } else {
                    world.edit("orders", |spec| target(spec).name = Some("new".to_owned()));
                }
                world.sync("orders");
                let is_there = world.cluster.secrets.contains_key("orders");
                assert_eq!(is_there, is_changed && !goes, "{what}");
                let expected = if is_revoked { "KeyDeleted" } else { "Synced" };
                assert_eq!(world.ready("orders").1, expected, "{what}");
                let message = world.message("orders");
                assert_eq!(
                    message.contains("may still be there"),
                    is_revoked,
                    "{what}: {message}"
                );
            }
        }
    }
}

/// Written over, a Secret keeps its UID: by that alone nobody can tell whose it is.
#[test]
fn a_target_of_before_that_another_object_wants_is_let_be() {
    for is_revoked in [false, true] {
        let mut world = unread();
        let mut younger = object("second", naming(by_alias("orders")));
        younger.spec.revocation_policy = is_revoked.then_some(RevocationPolicy::Delete);
        target(&mut younger.spec).name = Some("shared".to_owned());
        younger.metadata.creation_timestamp = Some(Time(at(-10)));
        world.objects.insert("second".to_owned(), younger);
        world.sync("second");
        world.edit("orders", |spec| {
            target(spec).name = Some("shared".to_owned());
        });
        // The name is taken, and the next look asks by whom.
        world.sync("orders");
        world.sync("orders");
        assert_ready(&world, "Synced");
        world.sync("second");
        assert_eq!(world.ready("second").1, "TargetConflict");
        let both = ["orders", "second"].map(|name| world.status(name).secret.unwrap().uid);
        assert_eq!(both[0], both[1]);
        if is_revoked {
            world.service.put(key(2).alias("other"));
            world
                .service
                .change(&key_id(1), |key| key.deleted = Some(true));
            world.refresh();
            world.sync("second");
        } else {
            world.edit("second", |spec| target(spec).name = Some("own".to_owned()));
            world.sync("second");
            assert_eq!(world.ready("second").1, "Synced");
            assert!(world.cluster.secrets.contains_key("own"));
        }
        let owners = &world.cluster.secrets["shared"].view.owner_references;
        assert_eq!(owners[0].name, "orders");
    }
}

#[test]
fn merge_says_that_it_needs_the_other_form() {
    let mut world = unread();
    let wanted = target(&mut world.object("orders").spec);
    wanted.creation_policy = Some(CreationPolicy::Merge);
    wanted.data = Some(vec![entry("password")]);
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "SecretNotOwned");
    assert!(world.message("orders").contains("standard form"));
    assert_eq!(world.service.requests[2], 0);
}

#[test]
fn a_service_that_does_not_answer_leaves_ready_as_it_is() {
    let mut world = synced();
    world.pass(minutes(61));
    world.service.lists_fail = Some(FailureKind::ServiceError);
    world.service.reads_fail = world.service.lists_fail;
    world.restart();
    world.sync("orders");
    assert_eq!(world.ready("orders").0, "True");
}

#[test]
fn a_sync_request_asks_now() {
    let mut world = synced();
    world.cluster.edit_entry("orders", "key", b"other");
    let asked = (
        crate::api::SYNC_REQUESTED_ANNOTATION.to_owned(),
        "1".to_owned(),
    );
    let annotations = &mut world.object("orders").metadata.annotations;
    annotations.get_or_insert_default().extend([asked]);
    world.pass(minutes(0) + jiff::SignedDuration::from_secs(5));
    let plan = world.sync("orders");
    assert!(
        matches!(plan.writes.as_slice(), [Write::Overwrite(_)]),
        "{plan:?}"
    );
}

#[test]
fn an_object_that_was_synced_by_an_operator_that_watched_is_taken_over_and_back() {
    let mut world = super::synced();
    world.cluster.annotate("orders", "theirs", "1");
    world.unread = Some(FenceProof::Old);
    for _ in 0..3 {
        world.sync("orders");
        world.pass(minutes(1));
    }
    assert_ready(&world, "Synced");
    world.assert_settled("orders");
    world.unread = None;
    world.sync("orders");
    world.assert_settled("orders");
    assert_eq!(
        world.entry("orders", "key"),
        Some(world.service.payload(&key_id(1)))
    );
}

#[test]
fn alias_moves_of_others_do_not_matter() {
    let mut world = synced();
    world.service.put(key(3).alias("other"));
    world.pass(minutes(5));
    world.refresh();
    world.assert_settled("orders");
}
