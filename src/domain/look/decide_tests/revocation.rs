//! The key of a Secret, or the right to it, is gone: what keeps the Secret, and what
//! deletes it.

use super::{assert_ready, events, orders};
use crate::api::key::{DeletionPolicy, KeyProtectKeySpec, RevocationPolicy};
use crate::domain::look::hindrance::Need;
use crate::domain::look::plan::{Plan, Write, WriteFailure};
use crate::domain::service::failure::FailureKind;
use crate::domain::service::metadata::KeyState;
use crate::domain::testing::world::{Stop, World};
use crate::domain::testing::{
    KeyExt as _, at, by_alias, by_id, by_name, entry, key, key_id, minutes, naming, object, rule,
    strings, target,
};
use jiff::SignedDuration;

pub(super) fn deleting(mut spec: KeyProtectKeySpec) -> KeyProtectKeySpec {
    spec.revocation_policy = Some(RevocationPolicy::Delete);
    spec
}

/// `orders`, in sync, whose Secret goes when its key goes. Key 9 is another one that is there.
pub(super) fn doomed(spec: KeyProtectKeySpec) -> World {
    let mut world = World::new([object("orders", deleting(spec))]);
    world.service.put(key(1).alias("orders").named("orders"));
    world.service.put(key(9));
    world.sync("orders");
    assert_ready(&world, "True", "Synced");
    world
}

pub(super) fn by_own_alias() -> World {
    doomed(KeyProtectKeySpec::default())
}

pub(super) fn by_own_id() -> World {
    doomed(naming(by_id(&key_id(1))))
}

pub(super) fn delete_key(world: &mut World) {
    world.service.change(&key_id(1), |key| {
        key.state = Some(KeyState::Destroyed);
        key.deleted = Some(true);
    });
}

pub(super) fn refreshed(world: &mut World, after: i64) -> Plan {
    world.pass(minutes(after));
    world.refresh();
    world.sync("orders")
}

pub(super) fn is_there(world: &World) -> bool {
    world.cluster.secrets.contains_key("orders")
}

/// The Secret went in this plan, and everything says so.
#[track_caller]
pub(super) fn assert_revoked(world: &mut World, plan: &Plan, reason: &str) {
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

/// Payloads that the last look asked for.
fn payloads_read(world: &World) -> usize {
    let asked = world.asked.iter();
    asked
        .filter(|need| matches!(need, Need::Payloads(_)))
        .count()
}

#[test]
fn a_payload_that_shows_its_key_gone_before_the_listing_does_is_not_read_at_each_look() {
    let mut world = by_own_id();
    delete_key(&mut world);
    world.cluster.secrets.remove("orders");
    let plan = world.sync("orders");
    assert_eq!(payloads_read(&world), 1);
    assert_eq!(events(&plan), ["Revoked"]);
    assert_ready(&world, "False", "KeyDeleted");
    world.assert_settled("orders");
    // A change of spec is a new beginning, and what is said follows it.
    world.edit("orders", |spec| {
        spec.revocation_policy = Some(RevocationPolicy::Retain);
    });
    world.sync("orders");
    assert_eq!(payloads_read(&world), 1);
    let message = world.message("orders");
    assert!(!message.contains("is Delete"), "{message}");
    world.assert_settled("orders");
    // So is the key's return, once the listing has shown that it was gone.
    refreshed(&mut world, 1);
    assert_eq!(payloads_read(&world), 0);
    assert_ready(&world, "False", "KeyDeleted");
    world.service.change(&key_id(1), |key| {
        key.state = Some(KeyState::Active);
        key.deleted = Some(false);
    });
    refreshed(&mut world, 1);
    assert_ready(&world, "True", "Synced");
    assert!(is_there(&world));
    world.assert_settled("orders");
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
