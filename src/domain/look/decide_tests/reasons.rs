//! Every reason can be reached, and what each brings about besides.

use std::collections::BTreeSet;

use super::{assert_ready, events, orders, synced};
use crate::api::key::{CreationPolicy, Encoding};
use crate::api::{ConditionType, Reason};
use crate::domain::look::plan::WriteFailure;
use crate::domain::service::failure::FailureKind;
use crate::domain::service::metadata::KeyState;
use crate::domain::status;
use crate::domain::testing::world::World;
use crate::domain::testing::{by_alias, entry, key_id, minutes, object, target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A world whose `orders`, looked at once, shows the reason.
fn bring_about(reason: Reason) -> World {
    let down = |kind| {
        let mut world = orders();
        world.service.lists_fail = Some(kind);
        world
    };
    let refused = |failure| {
        let mut world = orders();
        world.cluster.refuses = Some(failure);
        world
    };
    let with_key = |change: fn(&mut crate::domain::service::metadata::KeyMetadata)| {
        let mut world = orders();
        world.service.change(&key_id(1), change);
        world.service.unlisted.insert(key_id(1));
        world
    };
    let mut after_sync = synced();
    after_sync.pass(minutes(60));
    match reason {
        Reason::Synced => orders(),
        Reason::Pending => {
            let mut world = orders();
            world.service.payloads_late = true;
            world
        }
        Reason::AliasMoving => {
            after_sync.service.unalias("orders");
            after_sync.refresh();
            after_sync
        }
        Reason::AliasWentBack => {
            after_sync.service.put(crate::domain::testing::key(0));
            after_sync.service.move_alias("orders", &key_id(0));
            after_sync.refresh();
            after_sync
        }
        Reason::Suspended => {
            let mut world = orders();
            world.object("orders").spec.suspend = Some(true);
            world
        }
        Reason::Unreachable => down(FailureKind::Unreachable),
        Reason::Throttled => down(FailureKind::Throttled),
        Reason::ServiceError => down(FailureKind::ServiceError),
        Reason::CredentialMissing => down(FailureKind::CredentialMissing),
        Reason::CredentialRejected => down(FailureKind::CredentialRejected),
        Reason::AccessDenied => {
            after_sync.service.unlisted.insert(key_id(1));
            after_sync.service.reads_fail = Some(FailureKind::Denied);
            after_sync.refresh();
            after_sync
        }
        Reason::PayloadForbidden => {
            let mut world = orders();
            world.service.payloads_fail = Some(FailureKind::Denied);
            world
        }
        Reason::KeyNotAvailable => {
            let mut world = orders();
            world.service.keys.clear();
            world
        }
        Reason::AccessWithdrawn => {
            after_sync.access = Some(vec![]);
            after_sync
        }
        Reason::KeyDeleted => with_key(|key| key.deleted = Some(true)),
        Reason::KeyExpired => {
            with_key(|key| key.expiration_date = Some(crate::domain::testing::at(-1)))
        }
        Reason::KeyDisabled => with_key(|key| key.state = Some(KeyState::Deactivated)),
        Reason::NotExtractable => with_key(|key| key.extractable = Some(false)),
        Reason::RenderFailed => {
            let mut world = orders();
            world.service.payloads.insert(key_id(1), vec![0xff]);
            let mut text = entry("a");
            text.encoding = Some(Encoding::Text);
            target(&mut world.object("orders").spec).data = Some(vec![text]);
            world
        }
        Reason::SecretNotOwned => {
            let mut world = orders();
            world.cluster.make_foreign("orders");
            world
        }
        Reason::TargetConflict => {
            let mut world = orders();
            let mut older = object("older", Default::default());
            older.metadata.creation_timestamp = Some(Time(crate::domain::testing::at(-100)));
            target(&mut older.spec).name = Some("orders".to_owned());
            world.objects.insert("older".to_owned(), older);
            world
        }
        Reason::EntryConflict => {
            let mut world = orders();
            let mut older = object("older", Default::default());
            older.metadata.creation_timestamp = Some(Time(crate::domain::testing::at(-100)));
            target(&mut older.spec).name = Some("orders".to_owned());
            for spec in [&mut older.spec, &mut world.object("orders").spec] {
                target(spec).creation_policy = Some(CreationPolicy::Merge);
            }
            world.objects.insert("older".to_owned(), older);
            world
        }
        Reason::SecretImmutable => {
            after_sync.cluster.edit_entry("orders", "key", b"other");
            after_sync
                .cluster
                .touch("orders", |secret| secret.immutable = true);
            after_sync
        }
        Reason::SecretRejected => refused(WriteFailure::Rejected("a quota is used up")),
        Reason::NamespaceTerminating => refused(WriteFailure::NamespaceTerminating),
        Reason::OperatorError => refused(WriteFailure::Failed("the API server failed")),
    }
}

#[test]
fn every_reason_is_reached_settles_and_is_woken_if_nothing_else_would() {
    let mut reached = BTreeSet::new();
    for reason in Reason::ALL.iter().copied() {
        let mut world = bring_about(reason);
        let plan = world.sync("orders");
        let shown = world.ready("orders").1;
        assert_eq!(shown, reason.as_str(), "{}", world.message("orders"));
        assert_eq!(plan.outcome, reason);
        reached.insert(shown);
        for _ in 0..3 {
            world.assert_settled("orders");
        }
        let status = world.status("orders");
        assert_eq!(status.observed_generation, Some(1), "{reason:?}");
        let ready = status::find(&status.conditions, ConditionType::Ready).unwrap();
        let stalled = status::holds(&status.conditions, ConditionType::Stalled);
        assert_eq!(
            stalled,
            ready.status == "False" && reason.stalls(),
            "{reason:?}"
        );
        // What a change in the cluster or in the listing mends needs no clock.
        let woken_by_change = matches!(
            reason,
            Reason::Synced
                | Reason::Suspended
                | Reason::AccessWithdrawn
                | Reason::TargetConflict
                | Reason::EntryConflict
                | Reason::RenderFailed
        );
        assert!(
            plan.next.is_some() || woken_by_change,
            "{reason:?} sleeps for ever"
        );
        assert!(
            plan.next.is_none_or(|next| next > world.now),
            "{reason:?} is busy"
        );
    }
    assert_eq!(reached.len(), Reason::ALL.len());
}

#[test]
fn messages_are_sentences_and_end_as_such() {
    for reason in Reason::ALL.iter().copied() {
        let mut world = bring_about(reason);
        world.sync("orders");
        let message = world.message("orders");
        let words = message
            .split_once(" [")
            .map_or(message.as_str(), |(words, _)| words);
        assert!(
            words.ends_with('.') && !words.contains("  "),
            "{reason:?}: {message}"
        );
        assert!(!words.contains(".."), "{reason:?}: {message}");
        let begins = words.starts_with(|c: char| c.is_uppercase());
        assert!(begins, "{reason:?}: {message}");
    }
}

#[test]
fn a_failure_reason_is_one_event_and_a_first_sync_none() {
    for reason in Reason::ALL.iter().copied() {
        let mut world = bring_about(reason);
        let plan = world.sync("orders");
        let silent = matches!(
            reason,
            Reason::Synced | Reason::Pending | Reason::Suspended | Reason::NamespaceTerminating
        );
        let expected: &[&str] = if silent { &[] } else { &[reason.as_str()] };
        assert_eq!(events(&plan), expected, "{reason:?}");
    }
}

#[test]
fn an_outage_does_not_hide_a_verdict_on_the_key_and_does_hide_what_it_does_not_know() {
    for reason in Reason::ALL.iter().copied() {
        let mut world = bring_about(reason);
        world.sync("orders");
        let ready = world.ready("orders").0 == "True";
        if ready
            || matches!(
                reason,
                Reason::Suspended
                    | Reason::AccessWithdrawn
                    | Reason::TargetConflict
                    | Reason::EntryConflict
            )
        {
            continue;
        }
        world.cluster.refuses = None;
        world.pass(minutes(61));
        world.service.lists_fail = Some(FailureKind::ServiceError);
        world.service.reads_fail = Some(FailureKind::ServiceError);
        world.service.payloads_fail = Some(FailureKind::ServiceError);
        world.restart();
        world.sync("orders");
        let lasting = matches!(
            reason,
            Reason::PayloadForbidden
                | Reason::KeyDeleted
                | Reason::KeyExpired
                | Reason::KeyDisabled
                | Reason::NotExtractable
                | Reason::RenderFailed
        );
        let expected = if lasting {
            reason
        } else {
            Reason::ServiceError
        };
        assert_ready(&world, "False", expected.as_str());
        world.assert_settled("orders");
        // It speaks of the spec of then.
        world.edit("orders", |spec| spec.key = Some(by_alias("another")));
        world.sync("orders");
        assert_ready(&world, "False", "ServiceError");
    }
}

#[test]
fn a_conflict_is_looked_at_again_without_a_word_unless_it_lasts() {
    let mut world = orders();
    world.cluster.refuses = Some(WriteFailure::Conflict);
    let plan = world.sync("orders");
    assert!(plan.status.is_none() && plan.events.is_empty() && plan.next.is_some());
    for _ in 0..3 {
        world.sync("orders");
    }
    assert_ready(&world, "False", "OperatorError");
    world.cluster.refuses = None;
    world.pass(minutes(1));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
}
