use super::*;
use crate::domain::testing::map;

const RECORD: &str = "v1:record";

fn managed(entries: serde_json::Value) -> FieldOwnership {
    FieldOwnership::from_managed_fields(serde_json::from_value(entries).unwrap())
}

fn by(manager: &str, operation: &str, data: &[&str]) -> serde_json::Value {
    let entries: serde_json::Map<_, _> = data
        .iter()
        .map(|name| (format!("f:{name}"), serde_json::json!({})))
        .chain([(".".to_owned(), serde_json::json!({}))])
        .collect();
    serde_json::json!({"manager": manager, "operation": operation, "fieldsV1": {
        "f:data": entries,
        "f:metadata": {"f:annotations": {".": {}, "f:keyprotect.dev/record": {}},
                       "f:labels": {".": {}, "f:keyprotect.dev/target": {}, "f:mine": {}}},
        "f:type": {}}})
}

#[test]
fn ownership_is_read_out_of_managed_fields() {
    let ours = by(api::FIELD_MANAGER, "Update", &["key"]);
    let theirs = by("kubectl-edit", "Update", &["other"]);
    let fields = managed(serde_json::json!([ours, theirs]));
    assert_eq!(fields.entries, BTreeSet::from(["key".to_owned()]));
    assert_eq!(fields.foreign_entries, BTreeSet::from(["other".to_owned()]));
    assert!(fields.labels.contains("mine") && fields.annotations.contains(api::RECORD_ANNOTATION));
    // An apply under the operator's name is not how the operator writes.
    let forged = managed(serde_json::json!([by(
        api::FIELD_MANAGER,
        "Apply",
        &["key"]
    )]));
    assert_eq!(forged.foreign_entries.len(), 1);
    assert_eq!(managed(serde_json::json!([{}])), FieldOwnership::default());
}

#[test]
fn an_entry_that_is_co_owned_is_not_foreign() {
    let both = [
        by(api::FIELD_MANAGER, "Update", &["key"]),
        by("helm", "Apply", &["key"]),
    ];
    for order in [[0, 1], [1, 0]] {
        let fields = managed(order.iter().map(|at| both[*at].clone()).collect());
        assert!(fields.foreign_entries.is_empty());
    }
}

#[test]
fn the_annotation_that_may_hold_a_payload_is_dropped_on_receipt() {
    let metadata = SecretMetadata {
        name: Some("orders".to_owned()),
        uid: Some("u".to_owned()),
        resource_version: Some("1".to_owned()),
        annotations: Some(map(&[(LAST_APPLIED, "payload"), ("a", "b")])),
        ..SecretMetadata::default()
    };
    let view = SecretView::from_metadata(metadata).unwrap();
    assert_eq!(view.annotations, map(&[("a", "b")]));
    assert_eq!(SecretView::from_metadata(SecretMetadata::default()), None);
}

fn ours() -> OwnerReference {
    OwnerReference {
        api_version: api::API_VERSION.to_owned(),
        kind: api::KEY_KIND.to_owned(),
        name: "orders".to_owned(),
        uid: "uid".to_owned(),
        ..OwnerReference::default()
    }
}

fn view() -> SecretView {
    SecretView {
        name: "orders".to_owned(),
        uid: "secret".to_owned(),
        resource_version: "7".to_owned(),
        labels: map(&[(api::TARGET_LABEL, "owned"), ("team", "a"), ("theirs", "x")]),
        annotations: map(&[
            (api::RECORD_ANNOTATION, RECORD),
            ("note", "n"),
            ("theirs", "x"),
        ]),
        owner_references: vec![ours()],
        fields: FieldOwnership {
            entries: BTreeSet::from(["key".to_owned()]),
            labels: BTreeSet::from([api::TARGET_LABEL.to_owned(), "team".to_owned()]),
            annotations: BTreeSet::from([api::RECORD_ANNOTATION.to_owned(), "note".to_owned()]),
            ..FieldOwnership::default()
        },
        ..SecretView::default()
    }
}

/// Judges a Secret after `change`, for an object with owner reference.
fn judged(
    change: impl FnOnce(&mut SecretView),
    last_write: Option<(&str, &str)>,
) -> Result<(), Drift> {
    let mut view = view();
    change(&mut view);
    let (labels, annotations) = (map(&[("team", "a")]), map(&[("note", "n")]));
    in_sync(
        &view,
        &Expectation {
            record: RECORD,
            entries: Some(BTreeSet::from(["key"])),
            labels: &labels,
            annotations: &annotations,
            owner_uid: "uid",
            owner_reference: true,
            last_write,
        },
    )
}

/// A change to a Secret, and what it is called.
type Change = (&'static str, Drift, fn(&mut SecretView));

#[test]
fn each_way_of_touching_a_secret_is_seen() {
    let changes: &[Change] = &[
        ("another record", Drift::Inputs, |view| {
            view.annotations
                .insert(api::RECORD_ANNOTATION.to_owned(), "v1:other".to_owned());
        }),
        ("a record written by others", Drift::Edited, |view| {
            view.fields.annotations.remove(api::RECORD_ANNOTATION);
        }),
        ("no record", Drift::Edited, |view| {
            view.annotations.remove(api::RECORD_ANNOTATION);
        }),
        ("an entry written by others", Drift::Edited, |view| {
            view.fields.entries.clear();
            view.fields.foreign_entries.insert("key".to_owned());
        }),
        ("an entry removed", Drift::Edited, |view| {
            view.fields.entries.clear();
        }),
        ("an entry more, of others", Drift::Edited, |view| {
            view.fields.foreign_entries.insert("more".to_owned());
        }),
        ("an entry more, of the operator", Drift::Edited, |view| {
            view.fields.entries.insert("more".to_owned());
        }),
        ("managedFields cleared", Drift::Edited, |view| {
            view.fields = FieldOwnership::default();
        }),
        ("a label changed", Drift::Edited, |view| {
            view.labels.insert("team".to_owned(), "b".to_owned());
        }),
        ("a label removed", Drift::Edited, |view| {
            view.labels.remove("team");
        }),
        ("an annotation changed", Drift::Edited, |view| {
            view.annotations.insert("note".to_owned(), "m".to_owned());
        }),
        ("a label of its own too many", Drift::Edited, |view| {
            view.labels.insert("old".to_owned(), "x".to_owned());
            view.fields.labels.insert("old".to_owned());
        }),
        ("an annotation of its own too many", Drift::Edited, |view| {
            view.fields.annotations.insert("old".to_owned());
        }),
        ("marked to stay", Drift::Edited, |view| {
            view.annotations
                .insert(api::RETAIN_ANNOTATION.to_owned(), "true".to_owned());
        }),
        ("no owner reference", Drift::OwnerReference, |view| {
            view.owner_references.clear();
        }),
        (
            "the owner reference of another UID",
            Drift::OwnerReference,
            |view| {
                view.owner_references[0].uid = "other".to_owned();
            },
        ),
        (
            "the owner reference of another kind",
            Drift::OwnerReference,
            |view| {
                view.owner_references[0].kind = "ConfigMap".to_owned();
            },
        ),
    ];
    assert_eq!(judged(|_| {}, None), Ok(()));
    for (name, drift, change) in changes {
        assert_eq!(judged(*change, None), Err(*drift), "{name}");
    }
}

#[test]
fn what_others_put_beside_it_is_no_drift() {
    let beside = |view: &mut SecretView| {
        view.labels.insert("more".to_owned(), "x".to_owned());
        view.annotations.insert("more".to_owned(), "x".to_owned());
        view.finalizers.push("example.org/keep".to_owned());
        view.owner_references.push(OwnerReference {
            uid: "other".to_owned(),
            ..OwnerReference::default()
        });
    };
    assert_eq!(judged(beside, None), Ok(()));
}

#[test]
fn nobody_wrote_since_the_own_last_write_whatever_managed_fields_say() {
    let cleared = |view: &mut SecretView| view.fields = FieldOwnership::default();
    assert_eq!(judged(cleared, Some(("secret", "7"))), Ok(()));
    assert_eq!(judged(cleared, Some(("secret", "6"))), Err(Drift::Edited));
    assert_eq!(judged(cleared, Some(("another", "7"))), Err(Drift::Edited));
    let other_inputs = |view: &mut SecretView| {
        view.annotations
            .insert(api::RECORD_ANNOTATION.to_owned(), "v1:other".to_owned());
    };
    assert_eq!(
        judged(other_inputs, Some(("secret", "7"))),
        Err(Drift::Inputs)
    );
}

#[test]
fn another_keys_owner_reference_is_told_from_those_of_other_kinds() {
    let mut view = view();
    assert_eq!(view.other_owner("uid"), None);
    let other = OwnerReference {
        uid: "other".to_owned(),
        ..ours()
    };
    view.owner_references.push(OwnerReference {
        api_version: "v1".to_owned(),
        ..other.clone()
    });
    assert_eq!(view.other_owner("uid"), None);
    let beta = OwnerReference {
        api_version: "keyprotect.dev/v1beta1".to_owned(),
        ..other
    };
    view.owner_references.push(beta);
    assert_eq!(
        view.other_owner("uid").map(|owner| owner.uid.as_str()),
        Some("other")
    );
}
