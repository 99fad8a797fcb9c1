//! IBM Cloud is down, slow, refuses, or leaves something out.

use super::{assert_ready, events, orders, synced};
use crate::api::Reason;
use crate::api::condition::ConditionType;
use crate::domain::service::failure::FailureKind;
use crate::domain::status;
use crate::domain::testing::world::World;
use crate::domain::testing::{
    KeyExt as _, at, by_id, entry, key, key_id, minutes, naming, object, target,
};
use jiff::SignedDuration;

const DOWN: [(FailureKind, &str); 3] = [
    (FailureKind::Unreachable, "Unreachable"),
    (FailureKind::Throttled, "Throttled"),
    (FailureKind::ServiceError, "ServiceError"),
];

fn is_stale(world: &World) -> bool {
    status::holds(&world.status("orders").conditions, ConditionType::Stale)
}

#[test]
fn a_good_value_stays_ready_through_an_outage_and_a_restart_in_it() {
    for (kind, _) in DOWN {
        let mut world = synced();
        world.service.lists_fail = Some(kind);
        world.service.reads_fail = Some(kind);
        world.pass(minutes(60));
        world.refresh();
        world.assert_settled("orders");
        world.restart();
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty() && plan.status.is_none() && plan.events.is_empty());
        assert!(plan.next.is_some());
        world.assert_settled("orders");
    }
}

#[test]
fn a_key_that_never_synced_says_why() {
    for (kind, reason) in DOWN {
        let mut world = orders();
        world.service.lists_fail = Some(kind);
        let plan = world.sync("orders");
        assert_ready(&world, "False", reason);
        assert_eq!(events(&plan), [reason]);
        assert!(plan.next.is_some());
        world.assert_settled("orders");
    }
}

#[test]
fn a_value_that_was_not_confirmed_for_three_intervals_is_stale_until_it_is() {
    let mut world = synced();
    // Nobody looked at the object for long, since nothing changed: that is no staleness.
    for _ in 0..24 {
        world.pass(minutes(60));
        world.refresh();
    }
    world.service.lists_fail = Some(FailureKind::Unreachable);
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(!is_stale(&world));
    assert_eq!(plan.next, Some(at(24 * 3600 + 3 * 3600)));
    world.pass(minutes(120));
    world.refresh();
    world.sync("orders");
    assert!(is_stale(&world));
    assert_ready(&world, "True", "Synced");
    world.assert_settled("orders");
    world.restart();
    world.sync("orders");
    assert!(is_stale(&world), "a restart confirms nothing");
    world.service.lists_fail = None;
    world.pass(minutes(1));
    world.refresh();
    world.sync("orders");
    assert!(!is_stale(&world));
    world.assert_settled("orders");
}

#[test]
fn keys_that_are_granted_singly_are_read_once_an_interval_and_not_stale() {
    let mut world = orders();
    world.service.lists_fail = Some(FailureKind::Denied);
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world.assert_settled("orders");
    for _ in 0..10 {
        let before = world.service.requests[1];
        let plan = world.plan("orders");
        assert_eq!(plan.next, Some(world.now + minutes(60)));
        world.pass(minutes(60));
        let plan = world.sync("orders");
        assert!(plan.status.is_none() && plan.writes.is_empty(), "{plan:?}");
        assert_eq!(world.service.requests[1], before + 1);
    }
}

#[test]
fn an_empty_listing_or_half_of_one_revokes_nothing() {
    let mut world = synced();
    world.service.unlisted.insert(key_id(1));
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty() && plan.status.is_none(), "{plan:?}");
    world.assert_settled("orders");
}

#[test]
fn a_missing_row_and_a_read_that_fails_keep_everything_as_it_is() {
    for kind in [
        FailureKind::Unreachable,
        FailureKind::ServiceError,
        FailureKind::Throttled,
    ] {
        let mut world = synced();
        world.service.unlisted.insert(key_id(1));
        world.service.reads_fail = Some(kind);
        world.pass(minutes(60));
        world.refresh();
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty() && plan.status.is_none(), "{plan:?}");
        assert!(plan.next.is_some());
        world.assert_settled("orders");
    }
}

#[test]
fn a_refused_payload_names_the_roles_and_is_not_asked_for_on_every_event() {
    let mut world = orders();
    world.service.payloads_fail = Some(FailureKind::Denied);
    let plan = world.sync("orders");
    assert_ready(&world, "False", "PayloadForbidden");
    assert!(
        world
            .message("orders")
            .contains("ReaderPlus, Writer or Manager")
    );
    let next = plan.next.unwrap();
    assert!(next >= world.now + SignedDuration::from_secs(30));
    for _ in 0..20 {
        world.assert_settled("orders");
    }
    world.now = next;
    world.service.payloads_fail = None;
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world.assert_settled("orders");
}

#[test]
fn an_edited_secret_has_no_payload_read_again_that_was_refused_or_does_not_fit() {
    let mut by_property = entry("a");
    by_property.property = Some("a.b".to_owned());
    for (refused, entry, reason) in [
        (true, entry("a"), "PayloadForbidden"),
        (false, by_property, "RenderFailed"),
    ] {
        let mut world = synced();
        world.service.payloads_fail = refused.then_some(FailureKind::Denied);
        world.edit("orders", |spec| {
            target(spec).data = Some(vec![entry.clone()]);
        });
        world.sync("orders");
        assert_ready(&world, "False", reason);
        world.assert_settled("orders");
        world.cluster.edit_entry("orders", "key", b"edited");
        world.assert_settled("orders");
        world.cluster.annotate("orders", "theirs", "1");
        world.assert_settled("orders");
        world.cluster.secrets.remove("orders");
        world.assert_settled("orders");
        // Nor does it cost one to edit what the Secret is not made of.
        world.edit("orders", |spec| {
            spec.refresh_interval = Some("2h".to_owned());
        });
        let reads = world.service.requests;
        world.sync("orders");
        assert_eq!(world.service.requests, reads);
    }
}

#[test]
fn what_was_not_asked_for_since_it_was_refused_just_now_is_asked_for_soon() {
    for (wait, soon) in [(7, true), (60, false)] {
        let mut world = orders();
        world.service.payloads_fail = Some(FailureKind::Denied);
        world.service.payloads_wait = Some(std::time::Duration::from_secs(wait));
        let plan = world.sync("orders");
        assert_ready(&world, "False", "PayloadForbidden");
        let next = plan.next.unwrap().duration_since(world.now);
        assert_eq!(next == SignedDuration::from_secs(7), soon, "{next}");
        assert!(soon || next >= SignedDuration::from_secs(30), "{next}");
    }
}

#[test]
fn an_edit_of_spec_and_a_forced_sync_are_not_held_back() {
    let mut world = orders();
    world.service.payloads_fail = Some(FailureKind::Denied);
    world.sync("orders");
    world.service.payloads_fail = None;
    world.pass(SignedDuration::from_secs(1));
    let annotations = world
        .object("orders")
        .metadata
        .annotations
        .get_or_insert_default();
    annotations.insert(
        crate::api::SYNC_REQUESTED_ANNOTATION.to_owned(),
        "1".to_owned(),
    );
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world.assert_settled("orders");
}

#[test]
fn a_key_that_was_readable_and_is_refused_is_access_denied_and_keeps_the_secret() {
    let mut world = synced();
    world.service.unlisted.insert(key_id(1));
    world.service.reads_fail = Some(FailureKind::Denied);
    world.pass(minutes(60));
    world.refresh();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "AccessDenied");
    let next = plan.next.unwrap();
    assert!(
        next >= world.now + SignedDuration::from_secs(30),
        "refusals are asked for slowly"
    );
    world.assert_settled("orders");
    // Silence afterwards says nothing new about the key, and is not hidden either.
    world.service.reads_fail = Some(FailureKind::Unreachable);
    world.now = next;
    world.sync("orders");
    assert_ready(&world, "False", "Unreachable");
}

#[test]
fn a_refused_listing_is_the_instances_trouble_and_leaves_good_values_ready() {
    let mut world = synced();
    world.service.lists_fail = Some(FailureKind::Denied);
    world.service.reads_fail = Some(FailureKind::Denied);
    world.pass(minutes(60));
    world.refresh();
    // The listing is no word about now any more: the key is asked for by itself, in vain too.
    let plan = world.sync("orders");
    assert!(plan.status.is_none() && plan.writes.is_empty(), "{plan:?}");
    world.restart();
    let plan = world.sync("orders");
    assert!(plan.status.is_none() && plan.writes.is_empty(), "{plan:?}");
}

#[test]
fn iam_that_refuses_the_api_key_is_said_to_who_never_synced() {
    for (kind, reason) in [
        (FailureKind::CredentialMissing, "CredentialMissing"),
        (FailureKind::CredentialRejected, "CredentialRejected"),
    ] {
        let mut world = orders();
        world.service.lists_fail = Some(kind);
        world.sync("orders");
        assert_ready(&world, "False", reason);
        world.service.lists_fail = Some(FailureKind::Unreachable);
        world.refresh();
        world.pass(minutes(5));
        world.sync("orders");
        assert_ready(&world, "False", "Unreachable");
    }
}

#[test]
fn an_unusable_instance_says_why_and_leaves_good_values_ready() {
    let mut world = orders();
    world.unusable = Some((Reason::CredentialMissing, "There is no file."));
    world.sync("orders");
    assert_ready(&world, "False", "CredentialMissing");
    assert_eq!(world.service.requests, [0; 3]);
    let mut world = synced();
    world.unusable = Some((Reason::CredentialMissing, "There is no file."));
    world.assert_settled("orders");
}

#[test]
fn a_listing_and_a_key_that_disagree_for_long_are_read_again_ever_more_slowly() {
    let mut world = orders();
    world
        .service
        .change(&key_id(1), |key| key.aliases = Some(vec![]));
    world.service.put(key(2).alias("orders"));
    world.service.lists_stale = Some(world.service.keys.values().cloned().collect());
    world.service.move_alias("orders", &key_id(1));
    for _ in 0..720 {
        world.sync("orders");
        world.pass(SignedDuration::from_secs(10));
    }
    assert_ready(&world, "False", "ServiceError");
    assert!(
        world.service.requests[0] < 40,
        "{:?}",
        world.service.requests
    );
    assert!(
        world.service.requests[2] < 40,
        "{:?}",
        world.service.requests
    );
}

#[test]
fn a_payload_that_comes_later_than_its_key_is_waited_for() {
    let mut world = orders();
    world.service.payloads_late = true;
    let plan = world.sync("orders");
    assert_ready(&world, "Unknown", "Pending");
    assert_eq!(plan.events, []);
    world.assert_settled("orders");
    world.service.payloads_late = false;
    world.now = plan.next.unwrap();
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
}

#[test]
fn a_deletion_that_the_payload_read_shows_is_believed() {
    let mut world = orders();
    world.refresh();
    world
        .service
        .change(&key_id(1), |key| key.deleted = Some(true));
    world.sync("orders");
    assert_ready(&world, "False", "KeyDeleted");
    world.assert_settled("orders");
}

#[test]
fn retry_after_is_obeyed() {
    let mut world = World::new([object("orders", naming(by_id(&key_id(1))))]);
    world.refresh();
    let question = crate::domain::access::Question {
        key: crate::domain::service::reference::KeyName::Id(key_id(1)),
        ring: None,
    };
    let mut answer = world.service.answer(&question, world.now);
    let mut failure = answer.result.unwrap_err();
    failure.kind = FailureKind::Throttled;
    failure.retry_after = Some(std::time::Duration::from_secs(700));
    answer.result = Err(failure);
    world.knowledge.answers.insert(question, answer);
    let plan = world.sync("orders");
    assert!(
        plan.next
            .is_some_and(|next| next >= world.now + SignedDuration::from_secs(700))
    );
    world.pass(SignedDuration::from_secs(600));
    world.assert_settled("orders");
}
