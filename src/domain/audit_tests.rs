use std::collections::BTreeMap;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::api::key::SecretType;
use crate::domain::look::plan::SecretBody;
use crate::domain::service::failure::Operation;
use crate::domain::service::material::KeyMaterial;

fn subject() -> Subject<'static> {
    let object = |namespace, name| Object {
        namespace,
        namespace_uid: Some("nu"),
        name,
        uid: Some("u"),
    };
    Subject {
        object: object("payments", "orders-db"),
        instance: Some(Instance {
            object: object("key-protect-system", "default"),
            instance_id: "guid",
        }),
    }
}

fn key() -> Key {
    Key {
        id: "id".to_owned(),
        crn: Some("crn".to_owned()),
        key_ring: Some("payments".to_owned()),
        correlation_id: None,
    }
}

fn value(line: &Line<'_>) -> Value {
    serde_json::to_value(line).unwrap()
}

fn sent(end: Option<Result<(), FetchFailure>>) -> Sent {
    Sent {
        correlation_id: "c".to_owned(),
        end,
    }
}

#[test]
fn a_read_says_which_key_for_whom_and_why() {
    let sent = sent(Some(Ok(())));
    let line = read(
        Timestamp::UNIX_EPOCH,
        subject(),
        Why::FirstSync,
        &key(),
        &sent,
    );
    let expected = json!({
        "schema": "keyprotect.dev/audit/v1",
        "time": "1970-01-01T00:00:00Z",
        "action": "ReadPayload",
        "outcome": "Succeeded",
        "reason": "FirstSync",
        "object": {"namespace": "payments", "namespaceUID": "nu", "name": "orders-db", "uid": "u"},
        "instance": {"namespace": "key-protect-system", "namespaceUID": "nu", "name": "default",
            "uid": "u", "instanceID": "guid"},
        "keys": [{"id": "id", "crn": "crn", "keyRing": "payments", "correlationID": "c"}],
    });
    assert_eq!(value(&line), expected);
}

#[test]
fn what_is_not_known_to_have_failed_is_not_said_to_have() {
    use FailureKind::{Denied, KeyNotFound, ServiceError, Unreachable};
    let failure = |kind| FetchFailure {
        status: Some(401),
        code: Some("SOME_ERR".to_owned()),
        ..FetchFailure::new(Operation::GetKey, kind, "in the operator's own words")
    };
    for (end, outcome) in [
        (None, Outcome::Unanswered),
        (Some(Err(failure(Unreachable))), Outcome::Unanswered),
        (Some(Err(failure(Denied))), Outcome::Denied),
        (Some(Err(failure(ServiceError))), Outcome::Failed),
        (Some(Err(failure(KeyNotFound))), Outcome::Failed),
    ] {
        let failed = end.is_some();
        let sent = sent(end);
        let line = read(
            Timestamp::UNIX_EPOCH,
            subject(),
            Why::SecretEdited,
            &key(),
            &sent,
        );
        assert_eq!(line.outcome, outcome, "{sent:?}");
        let line = value(&line);
        if failed {
            assert_eq!(line["status"], 401);
            assert_eq!(line["code"], "SOME_ERR");
            assert_eq!(line["detail"], "in the operator's own words");
        }
        assert_eq!(line["keys"][0]["correlationID"], "c");
    }
}

fn body() -> SecretBody {
    let material = KeyMaterial::new(Zeroizing::new(b"canary".to_vec()));
    SecretBody {
        name: "orders-db".to_owned(),
        secret_type: SecretType::Opaque,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        owner_references: Vec::new(),
        finalizers: Vec::new(),
        entries: [
            ("a".to_owned(), material.clone()),
            ("b".to_owned(), material),
        ]
        .into(),
    }
}

#[test]
fn a_write_says_which_secret_of_which_keys_and_nothing_of_what_is_in_it() {
    let account = Account {
        why: Some(Why::KeyOrTargetChanged),
        keys: vec![key()],
    };
    let replace = Write::Replace {
        uid: "old".to_owned(),
        resource_version: "7".to_owned(),
        body: body(),
        confirm_alive: false,
    };
    let made = Some(Ok(Some(("new", "8"))));
    let line = written(Timestamp::UNIX_EPOCH, subject(), &account, &replace, made);
    let line = value(&line);
    assert_eq!(line["action"], "ReplaceSecret");
    assert_eq!(line["reason"], "KeyOrTargetChanged");
    let secret =
        json!({"name": "orders-db", "uid": "new", "resourceVersion": "8", "entries": ["a", "b"]});
    assert_eq!(line["secret"], secret);
    assert_eq!(line["keys"][0]["id"], "id");
    assert!(!line.to_string().contains("canary"));

    let rejected = WriteFailure::Rejected("a quota is used up");
    let create = Write::Create(body());
    let line = written(
        Timestamp::UNIX_EPOCH,
        subject(),
        &account,
        &create,
        Some(Err(&rejected)),
    );
    assert_eq!(line.outcome, Outcome::Denied);
    assert_eq!(value(&line)["detail"], "a quota is used up");
    assert_eq!(value(&line)["secret"]["uid"], Value::Null);

    let delete = Write::Delete {
        name: "gone".to_owned(),
        uid: "old".to_owned(),
        resource_version: Some("7".to_owned()),
        unseen: false,
    };
    let line = written(Timestamp::UNIX_EPOCH, subject(), &account, &delete, None);
    assert_eq!(line.outcome, Outcome::Unanswered);
    let line = value(&line);
    assert_eq!(
        line["secret"],
        json!({"name": "gone", "uid": "old", "resourceVersion": "7"})
    );
    assert_eq!(line["keys"], Value::Null);
}

#[test]
fn whether_a_write_that_went_wrong_was_carried_out_is_said_only_where_it_is_known() {
    for (failure, outcome) in [
        (WriteFailure::AlreadyExists, Outcome::Failed),
        (WriteFailure::Conflict, Outcome::Failed),
        (WriteFailure::ObjectGone, Outcome::Failed),
        (WriteFailure::Immutable, Outcome::Denied),
        (WriteFailure::NamespaceTerminating, Outcome::Denied),
        (WriteFailure::Rejected("rule"), Outcome::Denied),
        (WriteFailure::Failed("no answer"), Outcome::Unanswered),
    ] {
        assert_eq!(told(&failure).0, outcome, "{failure:?}");
    }
}
