use super::*;
use crate::api::key::KeyProtectKeySpec;
use crate::domain::testing::world::World;
use crate::domain::testing::{KeyExt as _, at, key, object};

const UID: &str = "uid-of-orders";

fn plan() -> Plan {
    let mut world = World::new([object("orders", KeyProtectKeySpec::default())]);
    world.service.put(key(1).alias("orders"));
    world.plan("orders")
}

/// Checks a plan whose one create was changed.
fn with_body(change: impl FnOnce(&mut SecretBody)) -> Result<(), &'static str> {
    let mut plan = plan();
    let Write::Create(body) = &mut plan.writes[0] else {
        panic!("no create")
    };
    change(body);
    check(&plan, UID)
}

#[test]
fn a_plan_that_breaks_an_invariant_is_found_out() {
    assert_eq!(with_body(|_| {}), Ok(()));
    assert!(with_body(|body| body.entries.clear()).is_err());
    assert!(with_body(|body| body.labels.clear()).is_err());
    assert!(with_body(|body| body.annotations.clear()).is_err());
    assert!(with_body(|body| body.owner_references.clear()).is_err());
    assert!(with_body(|body| body.owner_references[0].controller = Some(true)).is_err());
    assert!(with_body(|body| body.owner_references[0].block_owner_deletion = Some(true)).is_err());
    assert!(
        with_body(|body| {
            body.annotations
                .insert(crate::api::RETAIN_ANNOTATION.to_owned(), "true".to_owned());
        })
        .is_err()
    );
}

#[test]
fn a_look_that_did_not_end_well_writes_and_deletes_nothing() {
    for reason in Reason::ALL
        .iter()
        .copied()
        .filter(|reason| *reason != Reason::Synced)
    {
        let plan = Plan {
            outcome: reason,
            ..plan()
        };
        assert!(check(&plan, UID).is_err(), "{reason:?}");
    }
}

#[test]
fn a_deletion_names_what_it_deletes() {
    let delete = |uid: &str, version: &str| Write::Delete {
        name: "old".to_owned(),
        uid: uid.to_owned(),
        resource_version: Some(version.to_owned()),
        unseen: false,
    };
    for (write, fine) in [
        (delete("u", "1"), true),
        (delete("", "1"), false),
        (delete("u", ""), false),
    ] {
        let plan = Plan {
            writes: vec![write],
            ..plan()
        };
        assert_eq!(check(&plan, UID).is_ok(), fine);
    }
}

#[test]
fn no_payload_shows_in_a_plans_debug_output() {
    let material = KeyMaterial::new(zeroize::Zeroizing::new(b"payload of a key".to_vec()));
    let shown = format!("{:?} {material:?}", plan());
    assert!(
        !shown.contains("payload of") && !shown.contains("112, 97, 121"),
        "{shown}"
    );
}

/// A plan that deletes on this evidence, in a look that ended so.
fn deleting(revocation: Option<Evidence>, outcome: Reason) -> Plan {
    let revoked = KeyProtectKeyStatus {
        last_revocation_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0))),
        ..KeyProtectKeyStatus::default()
    };
    Plan {
        outcome,
        revocation,
        status: Some(Box::new(revoked)),
        writes: vec![Write::Delete {
            name: "orders".to_owned(),
            uid: "u".to_owned(),
            resource_version: Some("1".to_owned()),
            unseen: false,
        }],
        ..plan()
    }
}

#[test]
fn a_deletion_without_evidence_for_how_the_look_ended_is_found_out() {
    let mut gone = key(1);
    gone.deleted = Some(true);
    let evidence = || Evidence::deleted(&gone);
    for reason in Reason::ALL {
        let plain = deleting(None, *reason);
        assert_eq!(check(&plain, UID).is_ok(), *reason == Reason::Synced);
        let revoked = deleting(evidence(), *reason);
        assert_eq!(check(&revoked, UID).is_ok(), *reason == Reason::KeyDeleted);
    }
    let mut silent = deleting(evidence(), Reason::KeyDeleted);
    silent.status = None;
    assert!(check(&silent, UID).is_err());
    let mut ready = deleting(evidence(), Reason::KeyDeleted);
    ready.status = plan().status;
    assert!(check(&ready, UID).is_err(), "status says that it is there");
    let mut makes = deleting(evidence(), Reason::KeyDeleted);
    makes.writes.extend(plan().writes);
    assert!(check(&makes, UID).is_err(), "it makes something");
}
