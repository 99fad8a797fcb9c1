use super::*;
use crate::domain::access::grant;
use crate::domain::service::metadata::KeyState;
use crate::domain::testing::{
    KeyExt as _, at, by_alias, by_id, by_name, key, key_id, map, rule, strings,
};

fn everything() -> Grant {
    grant(
        "own",
        Some(&[rule()]),
        "payments",
        crate::domain::access::Labels::Known(&map(&[])),
    )
    .unwrap()
}

fn one_ring(ring: &str) -> Grant {
    let mut by_ring = rule();
    by_ring.key_rings = strings(&[ring]);
    grant(
        "own",
        Some(&[by_ring]),
        "payments",
        crate::domain::access::Labels::Known(&map(&[])),
    )
    .unwrap()
}

fn found(
    rows: Vec<KeyMetadata>,
    selector: &crate::api::key::KeySelector,
    grant: &Grant,
) -> Option<KeyId> {
    let reference = KeyReference::from_selector(Some(selector), "object").unwrap();
    match Catalogue::new(rows, at(0)).look_up(&reference, grant) {
        LookUp::Found(key) => Some(key.id.clone()),
        LookUp::Missing => None,
    }
}

#[test]
fn an_alias_in_two_rows_is_the_newer_ones_in_any_order() {
    let rows = || vec![key(1).alias("db"), key(2).alias("db")];
    let mut backwards = rows();
    backwards.reverse();
    for rows in [rows(), backwards] {
        assert_eq!(found(rows, &by_alias("db"), &everything()), Some(key_id(2)));
    }
}

#[test]
fn a_row_outside_the_grant_hides_none_inside() {
    let rows = vec![key(1).alias("db"), key(2).alias("db").ring("other")];
    assert_eq!(
        found(rows.clone(), &by_alias("db"), &one_ring("payments")),
        Some(key_id(1))
    );
    assert_eq!(found(rows, &by_alias("db"), &one_ring("third")), None);
}

#[test]
fn a_name_is_the_newest_active_standard_key_in_the_ring() {
    let inactive = KeyMetadata {
        state: Some(KeyState::Deactivated),
        ..key(3).named("db")
    };
    let unknown = KeyMetadata {
        state: None,
        ..key(4).named("db")
    };
    let deleted = KeyMetadata {
        deleted: Some(true),
        ..key(5).named("db")
    };
    let root = KeyMetadata {
        extractable: Some(false),
        ..key(6).named("db")
    };
    let rows = vec![
        key(1).named("db"),
        key(2).named("db"),
        inactive,
        unknown,
        deleted,
        root,
        key(7).named("db").ring("other"),
        key(8).named("DB"),
    ];
    assert_eq!(
        found(rows, &by_name("db", "payments"), &everything()),
        Some(key_id(2))
    );
}

#[test]
fn keys_of_one_moment_are_told_apart_in_the_same_way_every_time() {
    let mut twins = vec![key(1).named("db"), key(2).named("db")];
    twins[0].creation_date = twins[1].creation_date;
    assert_eq!(
        found(twins.clone(), &by_name("db", "payments"), &everything()),
        Some(key_id(2))
    );
    twins.reverse();
    assert_eq!(
        found(twins, &by_name("db", "payments"), &everything()),
        Some(key_id(2))
    );
}

#[test]
fn a_missing_ring_is_unknown_and_not_default() {
    let row = KeyMetadata {
        key_ring: None,
        ..key(1).alias("db")
    };
    let mut in_default = by_alias("db");
    in_default.key_ring = Some("default".to_owned());
    assert_eq!(found(vec![row.clone()], &in_default, &everything()), None);
    assert_eq!(
        found(vec![row.clone()], &by_alias("db"), &everything()),
        Some(key_id(1))
    );
    assert_eq!(
        found(vec![row], &by_alias("db"), &one_ring("default")),
        None
    );
}

#[test]
fn a_row_without_aliases_is_found_by_id_alone() {
    let row = KeyMetadata {
        aliases: None,
        ..key(1)
    };
    assert_eq!(
        found(vec![row.clone()], &by_alias("db"), &everything()),
        None
    );
    assert_eq!(
        found(vec![row], &by_id(&key_id(1)), &everything()),
        Some(key_id(1))
    );
}

#[test]
fn of_a_key_on_two_pages_the_later_row_holds() {
    let rows = vec![key(1).alias("old"), key(1).alias("new")];
    assert_eq!(
        found(rows.clone(), &by_alias("new"), &everything()),
        Some(key_id(1))
    );
    assert_eq!(found(rows, &by_alias("old"), &everything()), None);
}

#[test]
fn changes_name_what_came_went_or_moved() {
    let old = Catalogue::new(
        vec![key(1).alias("db"), key(2), key(3).named("gone")],
        at(0),
    );
    assert!(old.changes(&old).is_empty());
    let new = Catalogue::new(vec![key(1), key(2).alias("db"), key(4).named("new")], at(1));
    let changes = old.changes(&new);
    assert_eq!(changes.ids, HashSet::from([1, 2, 3, 4].map(key_id)));
    let concerns = |selector, last: Option<u32>| {
        let reference = KeyReference::from_selector(Some(&selector), "object").unwrap();
        changes.concern(&reference, last.map(key_id).as_ref())
    };
    assert!(concerns(by_alias("db"), None));
    assert!(concerns(by_name("new", "payments"), None));
    assert!(concerns(by_name("gone", "payments"), None));
    assert!(concerns(by_id(&key_id(4)), None));
    assert!(
        concerns(by_alias("other"), Some(3)),
        "the key that it had last is gone"
    );
    assert!(!concerns(by_alias("other"), Some(9)));
    assert!(!concerns(by_name("other", "payments"), None));
}

#[test]
fn a_listing_that_shows_the_same_is_younger_and_no_copy() {
    let first = Catalogue::new(vec![key(1)], at(0));
    let second = first.confirmed(at(7));
    assert_eq!(second.listed_at(), at(7));
    assert!(Arc::ptr_eq(&first.keys, &second.keys));
    assert!(first.changes(&second).is_empty());
}
