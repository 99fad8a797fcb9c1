//! The key API's client against the emulator.

use std::time::Duration;

use key_protect_operator::domain::service::failure::{FailureKind, FetchFailure};
use key_protect_operator::domain::service::ids::{Alias, KeyId, KeyRing};
use key_protect_operator::domain::service::material::Payload;
use key_protect_operator::domain::service::metadata::KeyState;
use key_protect_operator::domain::service::reference::KeyName;
use key_protect_operator::keyprotect::{Client, ClientOptions};
use serde_json::json;

use super::bed::{Bed, INSTANCE, ORG, ROOT, SPACE, STANDARD, UNKNOWN, options};

pub(crate) fn id(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

pub(crate) async fn payload(client: &Client) -> Result<Payload, FetchFailure> {
    client.key(&id(STANDARD), None).await
}

#[tokio::test]
async fn keys_are_listed_looked_up_and_read() {
    let bed = Bed::start().await;
    let client = bed.client();
    let keys = client.list_keys().await.unwrap();
    assert_eq!(keys.len(), 1, "standard keys only");
    assert_eq!(client.list_keys_where(None).await.unwrap().len(), 2);
    assert_eq!(keys[0].id, id(STANDARD));
    assert_eq!(
        keys[0].aliases.as_deref(),
        Some(&["orders-db".to_owned()][..])
    );
    assert_eq!(keys[0].key_ring.as_deref(), Some("payments"));
    assert_eq!(keys[0].state, Some(KeyState::Active));
    assert!(keys[0].creation_date.is_some());

    let alias = KeyName::Alias(Alias::parse("orders-db").unwrap());
    assert_eq!(
        client.key_metadata(&alias, None).await.as_ref(),
        Ok(&keys[0])
    );
    let by_id = KeyName::Id(id(STANDARD));
    assert_eq!(
        client.key_metadata(&by_id, None).await.as_ref(),
        Ok(&keys[0])
    );

    let read = payload(&client).await.unwrap();
    assert_eq!(read.metadata, keys[0]);
    assert_eq!(read.material.unwrap().expose(), b"hello");
    let root = client.key(&id(ROOT), None).await.unwrap();
    assert!(root.material.is_none(), "a root key's payload never leaves");
    let mut rings = client.key_rings().await.unwrap();
    rings.sort();
    assert_eq!(rings, ["default", "payments"]);
    assert_eq!(bed.served("token").len(), 1, "one token for all of it");
}

#[tokio::test]
async fn every_request_names_itself_its_instance_and_its_ring() {
    let bed = Bed::start().await;
    let client = bed.client();
    let ring = KeyRing::parse("payments").unwrap();
    let first = client.key(&id(STANDARD), Some(&ring)).await.unwrap();
    let second = client.key(&id(STANDARD), None).await.unwrap();
    assert_ne!(first.correlation_id, second.correlation_id);
    let gets = bed.served("get");
    let (with, without) = (&gets[0], &gets[1]);
    assert_eq!(with.correlation_id.as_ref(), Some(&first.correlation_id));
    assert!(uuid::Uuid::parse_str(&first.correlation_id).is_ok_and(|id| id.get_version_num() == 4));
    assert_eq!(with.instance.as_deref(), Some(INSTANCE));
    assert_eq!(with.key_ring.as_deref(), Some("payments"));
    assert_eq!(without.key_ring, None);
    let agent = format!("key-protect-operator/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(with.headers["user-agent"], agent);
    assert_eq!(
        with.headers["accept-encoding"], "identity",
        "no payload through a decompressor"
    );
    assert_eq!(with.headers["accept"], "application/vnd.ibm.kms.key+json");
    client.list_keys().await.unwrap();
    let list = &bed.served("list")[0];
    assert_eq!(
        list.headers["accept"],
        "application/vnd.ibm.collection+json"
    );
    assert_eq!(list.headers["accept-encoding"], "gzip");
    assert_eq!(list.query, "limit=5000&offset=0&extractable=true");

    let other = KeyRing::parse("default").unwrap();
    let refused = client.key(&id(STANDARD), Some(&other)).await.unwrap_err();
    assert_eq!(refused.status, Some(404), "{refused}");
}

#[tokio::test]
async fn an_instance_in_an_org_and_space_is_named_by_them() {
    let bed = Bed::start().await;
    let more = json!({
        "instanceID": null, "region": null,
        "cloudFoundry": {"organization": ORG, "space": SPACE},
        "endpoint": {"url": bed.emulator.api_url(), "iamURL": format!("{}/oidc/token", bed.emulator.api_url())},
    });
    let client = bed.client_with(&more, &options());
    assert_eq!(client.list_keys().await.unwrap().len(), 1);
    let list = &bed.served("list")[0];
    assert_eq!(
        list.headers.get("bluemix-org").map(String::as_str),
        Some(ORG)
    );
    assert_eq!(
        list.headers.get("bluemix-space").map(String::as_str),
        Some(SPACE)
    );
    assert!(!list.headers.contains_key("bluemix-instance"));
    assert_eq!(bed.served("token")[0].path, "/oidc/token");
}

#[tokio::test]
async fn a_payload_is_read_as_the_service_happens_to_send_it() {
    let bed = Bed::start().await;
    let client = bed.client();
    let text = "QUJD".repeat(1500);
    let new = json!({"name": "long", "payload": text});
    let made = bed
        .emulator
        .create_key(INSTANCE, serde_json::from_value(new).unwrap())
        .unwrap();
    let long = id(made["id"].as_str().unwrap());
    bed.modes(json!({"payloadLineBreaks": true, "readMediaType": true}));
    let read = client.key(&long, None).await.unwrap().material.unwrap();
    assert_eq!(read.expose(), "ABC".repeat(1500).as_bytes());
    bed.modes(json!({"payloadDelaySeconds": 3600}));
    assert!(
        client.key(&long, None).await.unwrap().material.is_none(),
        "not yet, which is not empty"
    );
    bed.modes(json!({}));
    bed.emulator
        .set_key_state(INSTANCE, STANDARD, &json!("deleted"))
        .unwrap();
    let deleted = payload(&client).await.unwrap();
    assert!(deleted.metadata.is_deleted() && deleted.material.is_none());
    bed.modes(json!({"deletedGet": 410}));
    let gone = payload(&client).await.unwrap_err();
    assert_eq!(
        (gone.kind, gone.code.as_deref()),
        (FailureKind::KeyGone, Some("KEY_DELETED_ERR"))
    );
}

#[tokio::test]
async fn pages_fit_together_and_slow_ones_are_halved() {
    let bed = Bed::start().await;
    let many = json!({"count": 1050, "prefix": "many-", "payload": "aGVsbG8="});
    bed.emulator
        .create_keys(INSTANCE, &serde_json::from_value(many).unwrap())
        .unwrap();
    let client = bed.client_with(
        &json!({}),
        &ClientOptions {
            page_size: 400,
            ..options()
        },
    );
    let keys = client.list_keys().await.unwrap();
    assert_eq!(keys.len(), 1051);
    let queries: Vec<_> = bed
        .served("list")
        .into_iter()
        .map(|served| served.query)
        .collect();
    assert_eq!(
        queries,
        [
            "limit=400&offset=0&extractable=true",
            "limit=400&offset=399&extractable=true",
            "limit=400&offset=798&extractable=true",
        ]
    );
    bed.emulator.clear_requests();
    bed.fault(
        json!({"match": {"operation": "list", "path": "limit=400"}, "effect": {"delayMs": 3000}}),
    );
    let quick = ClientOptions {
        page_size: 400,
        page_deadline: Duration::from_millis(600),
        ..options()
    };
    let client = bed.client_with(&json!({}), &quick);
    assert_eq!(client.list_keys().await.unwrap().len(), 1051);
    assert!(
        bed.served("list")
            .iter()
            .any(|served| served.query.starts_with("limit=200&"))
    );
    // What was slow once may be quick again: the size that served grows back.
    bed.emulator.clear_faults();
    for limit in ["limit=200&", "limit=400&", "limit=400&"] {
        bed.emulator.clear_requests();
        assert_eq!(client.list_keys().await.unwrap().len(), 1051);
        let served = bed.served("list");
        assert!(
            served.iter().all(|served| served.query.starts_with(limit)),
            "not {limit}"
        );
    }
    bed.fault(json!({"match": {"operation": "list"}, "effect": {"delayMs": 3000}}));
    let failure = client.list_keys().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
}

#[tokio::test]
async fn a_listing_that_shifts_is_read_again() {
    let bed = Bed::start().await;
    let many = json!({"count": 30, "prefix": "many-", "payload": "aGVsbG8="});
    bed.emulator
        .create_keys(INSTANCE, &serde_json::from_value(many).unwrap())
        .unwrap();
    // The second page of the first reading comes as if keys before it had gone meanwhile.
    let shifted = json!({"metadata": {"collectionTotal": 1}, "resources": [{"id": UNKNOWN}]});
    bed.fault(json!({
        "match": {"operation": "list", "path": "offset=9&"}, "times": 1,
        "effect": {"status": 200, "body": {"raw": shifted.to_string()}},
    }));
    let client = bed.client_with(
        &json!({}),
        &ClientOptions {
            page_size: 10,
            ..options()
        },
    );
    let keys = client.list_keys().await.unwrap();
    assert_eq!(keys.len(), 31);
    assert!(keys.iter().all(|key| key.id != id(UNKNOWN)));
}

#[tokio::test]
async fn an_empty_listing_is_no_error() {
    let bed = Bed::start().await;
    bed.modes(json!({"listEmpty": true}));
    assert_eq!(bed.client().list_keys().await, Ok(Vec::new()));
}
