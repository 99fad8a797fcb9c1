//! The key of a Secret, or the right to it, is gone: what keeps the Secret, what deletes it, and
//! what holds too many deletions back.

use super::{assert_ready, events, orders, synced};
use crate::api::condition::ConditionType;
use crate::api::key::{DeletionPolicy, KeyProtectKeySpec, RevocationPolicy};
use crate::domain::look::plan::{Plan, Write, WriteFailure};
use crate::domain::service::failure::FailureKind;
use crate::domain::service::metadata::KeyState;
use crate::domain::status;
use crate::domain::testing::world::{Stop, World};
use crate::domain::testing::{
    KeyExt as _, at, by_alias, by_id, by_name, entry, key, key_id, minutes, naming, object, rule,
    strings, target,
};
use jiff::SignedDuration;

fn deleting(mut spec: KeyProtectKeySpec) -> KeyProtectKeySpec {
    spec.revocation_policy = Some(RevocationPolicy::Delete);
    spec
}

/// `orders`, in sync, whose Secret goes when its key goes. Key 9 is another one that is there.
fn doomed(spec: KeyProtectKeySpec) -> World {
    let mut world = World::new([object("orders", deleting(spec))]);
    world.service.put(key(1).alias("orders").named("orders"));
    world.service.put(key(9));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world
}

fn by_own_alias() -> World {
    doomed(KeyProtectKeySpec::default())
}

fn by_own_id() -> World {
    doomed(naming(by_id(&key_id(1))))
}

fn delete_key(world: &mut World) {
    world.service.change(&key_id(1), |key| {
        key.state = Some(KeyState::Destroyed);
        key.deleted = Some(true);
    });
}

fn refreshed(world: &mut World, after: i64) -> Plan {
    world.pass(minutes(after));
    world.refresh();
    world.sync("orders")
}

fn is_there(world: &World) -> bool {
    world.cluster.secrets.contains_key("orders")
}

/// The Secret went in this plan, and everything says so.
#[track_caller]
fn assert_revoked(world: &mut World, plan: &Plan, reason: &str) {
    assert!(
        matches!(&plan.writes[..], [Write::Delete { .. }]),
        "{}",
        plan.cause
    );
    assert!(plan.revocation.is_some());
    assert_eq!(events(plan), ["Revoked"]);
    assert!(!is_there(world));
    assert_ready(world, "False", reason);
    let status = world.status("orders");
    assert_eq!(status.secret, None);
    assert!(status.last_revocation_time.is_some());
    let message = world.message("orders");
    assert!(message.contains("was deleted at"), "{message}");
    let unseen = world.unread.is_some();
    assert_eq!(message.contains("may still be there"), unseen, "{message}");
    world.assert_settled("orders");
    world.restart();
    world.assert_settled_after_asking("orders");
}

#[test]
fn a_deleted_key_takes_its_secret_along_where_the_policy_says_so_and_it_comes_back_with_it() {
    let mut world = by_own_id();
    delete_key(&mut world);
    let plan = refreshed(&mut world, 60);
    assert_revoked(&mut world, &plan, "KeyDeleted");
    let note = &plan.events[0].note;
    assert!(
        note.contains(key_id(1).as_str()) && note.contains("its own metadata"),
        "{note}"
    );
    world.service.change(&key_id(1), |key| {
        key.state = Some(KeyState::Active);
        key.deleted = Some(false);
    });
    let plan = refreshed(&mut world, 60);
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(plan.events, [], "nobody undid anything");
    assert_ready(&world, "True", "Synced");
    assert!(is_there(&world));
    world.assert_settled("orders");
}

#[test]
fn a_deleted_key_keeps_its_secret_where_the_policy_says_nothing_else() {
    for policy in [None, Some(RevocationPolicy::Retain)] {
        let mut world = by_own_id();
        world.edit("orders", |spec| spec.revocation_policy = policy);
        delete_key(&mut world);
        let plan = refreshed(&mut world, 60);
        assert_eq!(events(&plan), ["KeyDeleted"]);
        assert_ready(&world, "False", "KeyDeleted");
        assert!(is_there(&world));
        world.assert_settled("orders");
        // The policy may be changed afterwards.
        world.edit("orders", |spec| {
            spec.revocation_policy = Some(RevocationPolicy::Delete);
        });
        let plan = world.sync("orders");
        assert_revoked(&mut world, &plan, "KeyDeleted");
    }
}

#[test]
fn an_expired_key_takes_its_secret_along_at_its_date() {
    let mut world = orders();
    world.edit("orders", |spec| {
        spec.revocation_policy = Some(RevocationPolicy::Delete);
    });
    let date = at(7200);
    world
        .service
        .change(&key_id(1), |key| key.expiration_date = Some(date));
    let plan = world.sync("orders");
    assert_eq!(plan.next, Some(date));
    world.now = date - SignedDuration::from_secs(1);
    world.refresh();
    assert!(world.sync("orders").writes.is_empty());
    world.now = date;
    world.refresh();
    let plan = world.sync("orders");
    assert_revoked(&mut world, &plan, "KeyExpired");
}

#[test]
fn a_disabled_key_is_no_evidence() {
    for state in [
        KeyState::Suspended,
        KeyState::Deactivated,
        KeyState::PreActivation,
    ] {
        let mut world = by_own_alias();
        world
            .service
            .change(&key_id(1), |key| key.state = Some(state));
        for _ in 0..3 {
            let plan = refreshed(&mut world, 60);
            assert!(plan.writes.is_empty());
            assert_ready(&world, "False", "KeyDisabled");
        }
        assert!(is_there(&world));
    }
}

#[test]
fn a_root_key_behind_the_alias_is_no_evidence_about_the_key_in_the_secret() {
    let mut world = by_own_alias();
    let mut root = key(2);
    root.extractable = Some(false);
    root.deleted = Some(true);
    world.service.put(root);
    world.service.move_alias("orders", &key_id(2));
    let plan = refreshed(&mut world, 60);
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "KeyDeleted");
    assert!(is_there(&world), "that was another key");
}

#[test]
fn a_404_deletes_after_the_second_one_a_grace_later_while_another_key_is_found() {
    let mut world = by_own_id();
    world.service.keys.remove(&key_id(1));
    let plan = refreshed(&mut world, 60);
    assert!(plan.writes.is_empty() && plan.events.is_empty());
    assert_ready(&world, "True", "Synced");
    world.pass(minutes(14));
    world.restart();
    let plan = refreshed(&mut world, 0);
    assert!(
        plan.writes.is_empty(),
        "a restart does not shorten the grace"
    );
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyDeleted");
    assert!(plan.events[0].note.contains("while other keys are"));
}

#[test]
fn a_404_in_a_ring_is_none_and_the_grace_begins_with_one_without_a_ring() {
    let mut world = by_own_id();
    let mut by_ring = rule();
    by_ring.key_rings = strings(&["payments"]);
    world.access = Some(vec![by_ring]);
    world.service.unlisted.insert(key_id(1));
    // Moved to a ring that the rules do not name: by its ID it is there.
    world
        .service
        .change(&key_id(1), |key| key.key_ring = Some("other".to_owned()));
    let plan = refreshed(&mut world, 60);
    assert!(plan.writes.is_empty());
    assert_ready(&world, "False", "AccessWithdrawn");
    for _ in 0..4 {
        assert!(refreshed(&mut world, 20).writes.is_empty());
    }
    assert!(
        is_there(&world),
        "the instance's owner said nothing of Delete"
    );
}

#[test]
fn a_404_that_is_over_before_the_grace_is_forgotten() {
    let mut world = by_own_id();
    let gone = world.service.keys.remove(&key_id(1)).unwrap();
    refreshed(&mut world, 60);
    world.service.put(gone.clone());
    refreshed(&mut world, 10);
    assert_eq!(world.status("orders").pending, None);
    world.service.keys.remove(&key_id(1));
    assert!(refreshed(&mut world, 6).writes.is_empty(), "counted anew");
    assert!(refreshed(&mut world, 14).writes.is_empty());
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

#[test]
fn nothing_is_deleted_where_the_token_finds_no_other_key() {
    for spec in [KeyProtectKeySpec::default(), naming(by_id(&key_id(1)))] {
        let mut world = doomed(spec);
        world.service.keys.clear();
        refreshed(&mut world, 60);
        for _ in 0..20 {
            assert!(refreshed(&mut world, 6).writes.is_empty());
        }
        assert_ready(&world, "False", "KeyNotAvailable");
        assert!(is_there(&world));
    }
}

#[test]
fn what_another_read_found_long_ago_does_not_bear_out_a_404() {
    let mut world = by_own_id();
    world.service.singly = true;
    world.refresh();
    world.service.keys.clear();
    refreshed(&mut world, 60);
    for _ in 0..5 {
        assert!(refreshed(&mut world, 15).writes.is_empty());
    }
    // Somebody else's key is found.
    world.knowledge.last_found = Some((key_id(9), world.now));
    let plan = refreshed(&mut world, 61);
    assert!(plan.writes.len() == 1, "{}", world.message("orders"));
}

#[test]
fn a_vanished_alias_deletes_after_the_grace_and_not_before() {
    let mut world = by_own_alias();
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
    for _ in 0..14 {
        assert!(refreshed(&mut world, 1).writes.is_empty());
        assert_ready(&world, "True", "AliasMoving");
    }
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyNotAvailable");
    assert!(plan.events[0].note.contains("alias orders"));
    world.service.move_alias("orders", &key_id(9));
    refreshed(&mut world, 5);
    assert_ready(&world, "True", "Synced");
    assert!(is_there(&world));
}

#[test]
fn a_vanished_name_deletes_only_when_its_key_is_gone() {
    let mut world = doomed(naming(by_name("orders", "payments")));
    world
        .service
        .change(&key_id(1), |key| key.state = Some(KeyState::Suspended));
    refreshed(&mut world, 60);
    for _ in 0..4 {
        assert!(refreshed(&mut world, 15).writes.is_empty());
    }
    assert_ready(&world, "False", "KeyDisabled");
    let mut world = doomed(naming(by_name("orders", "payments")));
    delete_key(&mut world);
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
    // The key itself says that it was deleted.
    let plan = refreshed(&mut world, 15);
    assert_revoked(&mut world, &plan, "KeyDeleted");
    let mut world = doomed(naming(by_name("orders", "payments")));
    world.service.keys.remove(&key_id(1));
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
    // It is missed by its ID now, and has to be a grace later once more.
    assert!(refreshed(&mut world, 15).writes.is_empty());
    assert_eq!(world.ready("orders").0, "True");
    assert!(refreshed(&mut world, 14).writes.is_empty());
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

/// A key that moved to another ring has no such name any more; one read that misses it, or many
/// beside a listing that shows it, say nothing.
#[test]
fn a_vanished_name_whose_key_is_missed_once_or_listed_deletes_nothing() {
    for is_listed in [false, true] {
        let mut world = doomed(naming(by_name("orders", "payments")));
        world
            .service
            .change(&key_id(1), |key| key.key_ring = Some("other".to_owned()));
        refreshed(&mut world, 60);
        assert_ready(&world, "True", "AliasMoving");
        world.service.reads_fail = Some(FailureKind::KeyNotFound);
        if !is_listed {
            world.service.unlisted.insert(key_id(1));
        }
        assert!(refreshed(&mut world, 15).writes.is_empty());
        if !is_listed {
            world.service.reads_fail = None;
        }
        for _ in 0..6 {
            let plan = refreshed(&mut world, 16);
            assert!(plan.writes.is_empty(), "{is_listed}: {}", plan.cause);
        }
        assert!(is_there(&world), "{is_listed}");
    }
}

#[test]
fn a_rule_by_alias_takes_no_access_away_while_the_alias_moves() {
    let mut world = by_own_alias();
    let mut by_alias = rule();
    by_alias.aliases = strings(&["ord*"]);
    world.access = Some(vec![by_alias]);
    world.on_access_withdrawn = RevocationPolicy::Delete;
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "AliasMoving");
}

/// Everything that is not knowing: however long it lasts, nothing goes.
#[test]
fn not_knowing_is_not_revocation() {
    type Trouble = (&'static str, fn(&mut World));
    let troubles: [Trouble; 16] = [
        ("an empty list, and no single read", |world| {
            world.service.unlisted.extend([key_id(1), key_id(9)]);
            world.service.reads_fail = Some(FailureKind::Denied);
        }),
        ("a row that is missing", |world| {
            world.service.unlisted.insert(key_id(1));
        }),
        ("401 everywhere", |world| {
            world.service.lists_fail = Some(FailureKind::Denied);
            world.service.reads_fail = Some(FailureKind::Denied);
        }),
        (
            "the list is refused, and single keys are not found",
            |world| {
                world.service.lists_fail = Some(FailureKind::Denied);
                world.service.keys.clear();
            },
        ),
        ("unreachable", |world| {
            world.service.lists_fail = Some(FailureKind::Unreachable);
            world.service.reads_fail = Some(FailureKind::Unreachable);
        }),
        ("throttled", |world| {
            world.service.lists_fail = Some(FailureKind::Throttled);
            world.service.reads_fail = Some(FailureKind::Throttled);
        }),
        ("nonsense", |world| {
            world.service.lists_fail = Some(FailureKind::ServiceError);
            world.service.reads_fail = Some(FailureKind::ServiceError);
        }),
        ("no API key", |world| {
            world.service.lists_fail = Some(FailureKind::CredentialMissing);
            world.service.reads_fail = Some(FailureKind::CredentialMissing);
        }),
        ("a refused API key", |world| {
            world.service.lists_fail = Some(FailureKind::CredentialRejected);
            world.service.reads_fail = Some(FailureKind::CredentialRejected);
        }),
        (
            "rows and answers without rings, by which rules go",
            |world| {
                let mut by_ring = rule();
                by_ring.key_rings = strings(&["payments"]);
                world.access = Some(vec![by_ring]);
                world.service.omits_rings = true;
            },
        ),
        (
            "rows and answers without aliases, by which rules go",
            |world| {
                let mut by_alias = rule();
                by_alias.aliases = strings(&["ord*"]);
                world.access = Some(vec![by_alias]);
                world.service.omits_aliases = true;
            },
        ),
        ("the instance is gone", |world| world.instance = false),
        ("the instance cannot be used", |world| {
            world.unusable = Some((crate::api::Reason::CredentialMissing, "No API key."));
        }),
        ("the instance names another one in IBM Cloud", |world| {
            world.service.keys.remove(&key_id(1));
            world.instance_id = "11111111-a162-472d-b7d6-8b9a86b815a6";
        }),
        (
            "the namespace is not in view, and rules go by its labels",
            |world| {
                let mut by_label = rule();
                by_label.namespaces.from = crate::api::instance::NamespacesFrom::Selector;
                world.access = Some(vec![by_label]);
                world.unseen = true;
                world.on_access_withdrawn = RevocationPolicy::Delete;
            },
        ),
        ("the namespace is being deleted", |world| {
            world.terminating = true;
        }),
    ];
    for (what, trouble) in troubles {
        for spec in [
            KeyProtectKeySpec::default(),
            naming(by_id(&key_id(1))),
            naming(by_name("orders", "payments")),
        ] {
            let mut world = doomed(spec);
            trouble(&mut world);
            for _ in 0..12 {
                let plan = refreshed(&mut world, 16);
                assert!(plan.writes.is_empty(), "{what}: {}", plan.cause);
            }
            assert!(is_there(&world), "{what}");
        }
    }
}

#[test]
fn a_malformed_object_is_not_deleted_for() {
    let mut world = by_own_id();
    delete_key(&mut world);
    world.edit("orders", |spec| {
        spec.key = Some(crate::api::key::KeySelector {
            id: Some("no ID".to_owned()),
            ..Default::default()
        });
    });
    assert!(refreshed(&mut world, 60).writes.is_empty());
    assert_ready(&world, "False", "RenderFailed");
}

#[test]
fn only_secrets_of_this_object_go() {
    type Change = fn(&mut World);
    let changes: [Change; 3] = [
        |world| {
            world.cluster.touch("orders", |secret| {
                secret.view.labels.clear();
            });
        },
        |world| {
            world.cluster.touch("orders", |secret| {
                secret.view.owner_references[0].uid = "another".to_owned();
            });
        },
        |world| {
            world
                .cluster
                .touch("orders", |secret| secret.view.deleting = true);
        },
    ];
    for change in changes {
        let mut world = by_own_id();
        change(&mut world);
        delete_key(&mut world);
        assert!(refreshed(&mut world, 60).writes.is_empty());
        assert!(is_there(&world));
    }
}

#[test]
fn a_retained_secret_is_the_objects_own_while_status_names_it() {
    let mut spec = naming(by_id(&key_id(1)));
    target(&mut spec).deletion_policy = Some(DeletionPolicy::Retain);
    let mut world = doomed(spec);
    delete_key(&mut world);
    let plan = refreshed(&mut world, 60);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

#[test]
fn every_secret_that_holds_the_key_goes_also_targets_of_before() {
    let mut world = by_own_id();
    delete_key(&mut world);
    world.edit("orders", |spec| target(spec).name = Some("new".to_owned()));
    let plan = refreshed(&mut world, 60);
    assert_eq!(plan.writes.len(), 1);
    assert!(!is_there(&world));
}

#[test]
fn one_gone_key_of_several_takes_the_secret_along() {
    let mut spec = KeyProtectKeySpec::default();
    let mut other = entry("other");
    other.from = Some(by_id(&key_id(9)));
    target(&mut spec).data = Some(vec![entry("key"), other]);
    let mut world = doomed(spec);
    world
        .service
        .change(&key_id(9), |key| key.deleted = Some(true));
    let plan = refreshed(&mut world, 60);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

#[test]
fn a_grace_is_counted_for_one_key_and_not_for_another_that_follows() {
    let mut spec = KeyProtectKeySpec::default();
    let mut other = entry("other");
    other.from = Some(by_alias("second"));
    target(&mut spec).data = Some(vec![entry("key"), other]);
    let mut world = World::new([object("orders", deleting(spec))]);
    world.service.put(key(1).alias("orders"));
    world.service.put(key(2).alias("second"));
    world.sync("orders");
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    // A minute before the end, the first one is back and the second one goes.
    world.service.move_alias("orders", &key_id(1));
    world.service.unalias("second");
    let plan = refreshed(&mut world, 14);
    assert!(plan.writes.is_empty());
    let plan = refreshed(&mut world, 2);
    assert!(plan.writes.is_empty(), "{}", world.message("orders"));
    assert_ready(&world, "True", "AliasMoving");
    assert_eq!(
        world
            .status("orders")
            .pending
            .and_then(|pending| pending.key),
        Some("second".to_owned())
    );
}

#[test]
fn withdrawn_access_deletes_after_the_grace_where_the_instances_owner_says_so() {
    for whole in [true, false] {
        let mut world = synced();
        world.on_access_withdrawn = RevocationPolicy::Delete;
        let mut other = rule();
        other.key_rings = strings(&["other"]);
        world.access = Some(if whole { vec![] } else { vec![other] });
        let began = world.now;
        let requests = world.service.requests;
        let plan = world.sync("orders");
        assert!(plan.writes.is_empty());
        assert_eq!(plan.next, Some(began + minutes(15)));
        assert_ready(&world, "False", "AccessWithdrawn");
        assert!(world.message("orders").contains("It is deleted at"));
        world.assert_settled("orders");
        world.pass(minutes(14));
        world.restart();
        assert!(world.sync("orders").writes.is_empty());
        world.pass(minutes(1));
        let plan = world.sync("orders");
        assert_revoked(&mut world, &plan, "AccessWithdrawn");
        assert_eq!(world.service.requests[2], requests[2], "no payload is read");
        world.access = Some(vec![rule()]);
        world.sync("orders");
        assert_ready(&world, "True", "Synced");
        assert!(is_there(&world));
    }
}

#[test]
fn the_right_and_the_key_have_policies_of_their_own() {
    let mut world = by_own_alias();
    world.access = Some(vec![]);
    for _ in 0..3 {
        assert!(refreshed(&mut world, 20).writes.is_empty());
    }
    assert!(
        is_there(&world),
        "revocationPolicy does not speak of access"
    );
    let mut world = synced();
    world.on_access_withdrawn = RevocationPolicy::Delete;
    delete_key(&mut world);
    for _ in 0..3 {
        assert!(refreshed(&mut world, 20).writes.is_empty());
    }
    assert!(is_there(&world), "onAccessWithdrawn does not speak of keys");
}

#[test]
fn whoever_breaks_its_target_does_not_escape_a_withdrawal() {
    let mut world = synced();
    world.on_access_withdrawn = RevocationPolicy::Delete;
    world.access = Some(vec![]);
    world.edit("orders", |spec| {
        let mut broken = entry("url");
        broken.template = Some("{{ nonsense".to_owned());
        target(spec).data = Some(vec![broken]);
    });
    world.sync("orders");
    world.pass(minutes(15));
    world.sync("orders");
    assert!(!is_there(&world));
}

#[test]
fn a_suspended_object_is_still_watched_where_a_policy_says_delete() {
    let mut world = by_own_alias();
    world.edit("orders", |spec| spec.suspend = Some(true));
    world.sync("orders");
    assert_ready(&world, "True", "Suspended");
    world.assert_settled("orders");
    let reads = world.service.requests[2];
    delete_key(&mut world);
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    assert_ready(&world, "True", "Suspended");
    let plan = refreshed(&mut world, 15);
    assert_eq!(events(&plan), ["Revoked"]);
    assert!(!is_there(&world));
    assert_ready(&world, "False", "Suspended");
    world.assert_settled("orders");
    assert_eq!(world.service.requests[2], reads);
    world.service.change(&key_id(1), |key| {
        key.state = Some(KeyState::Active);
        key.deleted = Some(false);
    });
    world.service.move_alias("orders", &key_id(1));
    refreshed(&mut world, 60);
    assert!(
        !is_there(&world),
        "nothing is written while it is suspended"
    );
    world.edit("orders", |spec| spec.suspend = None);
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
}

#[test]
fn a_suspended_object_follows_no_alias_and_loses_access_all_the_same() {
    let mut world = synced();
    world.on_access_withdrawn = RevocationPolicy::Delete;
    world.edit("orders", |spec| spec.suspend = Some(true));
    world.service.put(key(2));
    world.service.move_alias("orders", &key_id(2));
    assert!(refreshed(&mut world, 60).writes.is_empty());
    world.access = Some(vec![]);
    assert!(world.sync("orders").writes.is_empty());
    assert!(world.status("orders").pending.is_some());
    world.pass(minutes(15));
    world.sync("orders");
    assert!(!is_there(&world));
    assert_ready(&world, "False", "Suspended");
}

#[test]
fn a_suspended_object_whose_secret_stays_anyway_costs_no_request() {
    let mut world = synced();
    world.edit("orders", |spec| spec.suspend = Some(true));
    delete_key(&mut world);
    world.refresh();
    let requests = world.service.requests;
    world.sync("orders");
    assert_eq!(world.service.requests, requests);
    assert!(is_there(&world));
}

#[test]
fn a_pinned_object_loses_its_secret_with_its_key_and_not_with_its_alias() {
    let spec = KeyProtectKeySpec {
        refresh_interval: Some("0s".to_owned()),
        ..KeyProtectKeySpec::default()
    };
    let mut world = doomed(spec);
    world.service.unalias("orders");
    for _ in 0..3 {
        assert!(refreshed(&mut world, 60).writes.is_empty());
    }
    assert_ready(&world, "True", "Synced");
    delete_key(&mut world);
    let plan = refreshed(&mut world, 60);
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

#[test]
fn a_crash_between_deletion_and_status_loses_no_event_and_counts() {
    let mut world = by_own_id();
    delete_key(&mut world);
    world.pass(minutes(60));
    world.refresh();
    let plan = world.plan("orders");
    world.execute("orders", plan, Stop::AfterWrites(1));
    world.restart();
    let plan = world.sync("orders");
    assert!(plan.writes.is_empty());
    assert_eq!(events(&plan), ["Revoked"]);
    assert_ready(&world, "False", "KeyDeleted");
    assert!(world.status("orders").last_revocation_time.is_some());
    world.assert_settled("orders");
}

#[test]
fn a_deletion_that_fails_is_tried_again_and_its_grace_does_not_begin_anew() {
    let mut world = by_own_alias();
    world.service.unalias("orders");
    refreshed(&mut world, 60);
    world.pass(minutes(15));
    world.cluster.refuses = Some(WriteFailure::Failed("the API server failed"));
    refreshed(&mut world, 0);
    assert_ready(&world, "False", "OperatorError");
    assert!(world.status("orders").pending.is_some());
    world.cluster.refuses = None;
    let plan = refreshed(&mut world, 1);
    assert_revoked(&mut world, &plan, "KeyNotAvailable");
}

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

#[test]
fn where_secrets_are_not_seen_the_one_that_status_names_goes_by_its_uid() {
    let mut world = World::new([object("orders", deleting(naming(by_id(&key_id(1)))))]);
    world.unread = Some(crate::domain::look::observed::FenceProof::Old);
    world.service.put(key(1));
    world.service.put(key(9));
    world.sync("orders");
    let uid = world.cluster.secrets["orders"].view.uid.clone();
    world.cluster.annotate("orders", "theirs", "1");
    delete_key(&mut world);
    let plan = refreshed(&mut world, 60);
    assert!(matches!(
        &plan.writes[..],
        [Write::Delete { uid: going, resource_version: None, .. }] if *going == uid
    ));
    assert_revoked(&mut world, &plan, "KeyDeleted");
}

#[test]
fn in_a_shared_secret_the_objects_entries_go_and_nothing_else() {
    for policy in [DeletionPolicy::Delete, DeletionPolicy::Retain] {
        let mut spec = naming(by_id(&key_id(1)));
        let wanted = target(&mut spec);
        wanted.name = Some("app".to_owned());
        wanted.creation_policy = Some(crate::api::key::CreationPolicy::Merge);
        wanted.deletion_policy = Some(policy);
        wanted.data = Some(vec![entry("password")]);
        let mut world = World::new([object("orders", deleting(spec))]);
        world.service.put(key(1));
        world.service.put(key(9));
        world.cluster.make_labelled("app", "shared", "password");
        world.sync("orders");
        assert_ready(&world, "True", "Synced");
        assert!(world.entry("app", "password").is_some());
        delete_key(&mut world);
        let plan = refreshed(&mut world, 60);
        assert!(
            matches!(&plan.writes[..], [Write::GiveBack { .. }]),
            "{plan:?}"
        );
        assert_eq!(events(&plan), ["Revoked"]);
        assert!(
            plan.events[0]
                .note
                .contains("entries in Secret app were deleted")
        );
        assert_eq!(world.entry("app", "password"), None);
        assert!(world.cluster.secrets.contains_key("app"));
        world.assert_settled("orders");
        world.service.change(&key_id(1), |key| {
            key.state = Some(KeyState::Active);
            key.deleted = Some(false);
        });
        refreshed(&mut world, 60);
        assert_ready(&world, "True", "Synced");
        assert!(world.entry("app", "password").is_some());
    }
}
