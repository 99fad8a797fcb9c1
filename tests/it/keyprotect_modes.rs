//! What the client makes of a service that behaves in one of the ways that its documentation
//! leaves open, or admits to on bad days: the emulator's modes.

use key_protect_operator::domain::service::failure::{FailureKind, FetchFailure};
use key_protect_operator::domain::service::ids::{Alias, KeyRing};
use key_protect_operator::domain::service::metadata::{KeyMetadata, KeyState};
use key_protect_operator::domain::service::reference::KeyName;
use key_protect_operator::keyprotect::Client;
use serde_json::{Value, json};

use super::bed::{Bed, INSTANCE, STANDARD};
use super::keyprotect::{id, payload};

async fn metadata(client: &Client) -> Result<KeyMetadata, FetchFailure> {
    client.key_metadata(&KeyName::Id(id(STANDARD)), None).await
}

async fn by_alias(client: &Client) -> Result<KeyMetadata, FetchFailure> {
    let alias = KeyName::Alias(Alias::parse("orders-db").unwrap());
    client.key_metadata(&alias, None).await
}

/// How a read failed, as far as decisions hang on it.
fn kind<T: std::fmt::Debug>(result: Result<T, FetchFailure>) -> (FailureKind, Option<u16>) {
    let failure = result.unwrap_err();
    (failure.kind, failure.status)
}

impl Bed {
    /// The operator's service ID may do this, and nothing else.
    fn may(&self, roles: Value) {
        let roles = serde_json::from_value(roles).unwrap();
        self.emulator
            .set_roles("iam-ServiceId-plus", roles)
            .unwrap();
    }

    /// A person with every right sends this, and is not refused.
    async fn person(&self, method: reqwest::Method, path: &str, body: Value) {
        let manager = json!({"name": "person", "apiKey": "a-person",
            "roles": [{"instance": INSTANCE, "role": "Manager"}]});
        let manager = serde_json::from_value(manager).unwrap();
        self.emulator.create_service_id(manager).unwrap();
        let url = self.emulator.api_url();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let grant = "urn:ibm:params:oauth:grant-type:apikey";
        let form = [("grant_type", grant), ("apikey", "a-person")];
        let token = http.post(format!("{url}/identity/token")).form(&form);
        let token = token.send().await.unwrap().bytes().await.unwrap();
        let token: Value = serde_json::from_slice(&token).unwrap();
        let request = http
            .request(method, format!("{url}/api/v2/{path}"))
            .bearer_auth(token["access_token"].as_str().unwrap())
            .header("bluemix-instance", INSTANCE)
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

#[tokio::test]
async fn keys_that_are_granted_singly_are_read_however_lists_show_them() {
    let bed = Bed::start().await;
    bed.may(json!([{"instance": INSTANCE, "role": "ReaderPlus", "key": STANDARD}]));
    let client = bed.client();
    for (shown, listed) in [(false, 0), (true, 1)] {
        bed.modes(json!({"listShowsSingleGrants": shown}));
        assert_eq!(client.list_keys().await.unwrap().len(), listed);
        assert!(payload(&client).await.is_ok());
    }
}

/// Either way it is no evidence about any key.
#[tokio::test]
async fn without_the_right_to_list_a_listing_is_empty_or_refused() {
    let bed = Bed::start().await;
    bed.may(json!([]));
    let client = bed.client();
    assert_eq!(client.list_keys().await, Ok(Vec::new()));
    bed.modes(json!({"listForbiddenAsEmpty200": false}));
    assert_eq!(
        kind(client.list_keys().await),
        (FailureKind::Denied, Some(401))
    );
}

#[tokio::test]
async fn a_deleted_key_that_reads_as_deactivated_is_deleted() {
    let bed = Bed::start().await;
    let client = bed.client();
    bed.emulator
        .set_key_state(INSTANCE, STANDARD, &json!("deleted"))
        .unwrap();
    for (places, listed_as, read_as) in [
        (
            "everywhere",
            Some(KeyState::Deactivated),
            KeyState::Deactivated,
        ),
        ("lists", Some(KeyState::Deactivated), KeyState::Destroyed),
        ("reads", None, KeyState::Deactivated),
    ] {
        bed.modes(json!({"deletedReadsAs3Seconds": 86_400, "deletedReadsAs3In": places}));
        let listed = client.list_keys().await.unwrap();
        let listed = listed.iter().find(|key| key.id == id(STANDARD));
        let read = metadata(&client).await.unwrap();
        assert_eq!(listed.and_then(|key| key.state), listed_as, "{places}");
        assert_eq!(read.state, Some(read_as), "{places}");
        for key in listed.into_iter().chain([&read]) {
            assert!(key.is_deleted());
            assert_eq!(key.known_state(), Some(KeyState::Destroyed));
        }
    }
    assert!(payload(&client).await.unwrap().material.is_none());
}

#[tokio::test]
async fn a_key_out_of_reach_is_absent_or_refused_and_never_read() {
    let bed = Bed::start().await;
    let client = bed.client();
    let other = KeyRing::parse("default").unwrap();
    let absent = (FailureKind::KeyNotFound, Some(404));
    let refused = (FailureKind::Denied, Some(401));
    for (status, expected) in [(404, absent), (401, refused)] {
        bed.modes(json!({"otherRing": status}));
        let read = client.key(&id(STANDARD), Some(&other)).await;
        assert_eq!(kind(read), expected);
    }
    bed.may(json!([{"instance": INSTANCE, "role": "ReaderPlus", "keyRing": "default"}]));
    for (status, expected) in [(404, absent), (401, refused)] {
        bed.modes(json!({"noAccess": status}));
        assert_eq!(kind(payload(&client).await), expected);
        assert_eq!(kind(metadata(&client).await), expected);
    }
}

/// Half of the requests still see what is gone: that is an answer about the key it was, and
/// absence is told by its own code.
#[tokio::test]
async fn an_alias_that_lingers_is_the_same_key_or_none_at_all() {
    let bed = Bed::start().await;
    bed.modes(json!({"aliasDeletionDelaySeconds": 300}));
    let client = bed.client();
    let path = format!("keys/{STANDARD}/aliases/orders-db");
    bed.person(reqwest::Method::DELETE, &path, Value::Null)
        .await;
    let (mut found, mut absent) = (0, 0);
    for _ in 0..6 {
        match by_alias(&client).await {
            Ok(key) if key.id == id(STANDARD) => found += 1,
            Err(failure) if failure.kind == FailureKind::KeyNotFound => absent += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((found, absent), (3, 3));
    bed.emulator.set_clock_offset(301);
    for _ in 0..2 {
        assert_eq!(
            kind(by_alias(&client).await),
            (FailureKind::KeyNotFound, Some(404))
        );
    }
    assert!(payload(&client).await.is_ok(), "the key itself is there");
}

#[tokio::test]
async fn a_move_to_another_ring_counts_once_the_service_shows_it() {
    let bed = Bed::start().await;
    bed.modes(json!({"ringMoveDelaySeconds": 600}));
    let client = bed.client();
    let path = format!("keys/{STANDARD}");
    let moved = json!({"keyRingID": "default"});
    bed.person(reqwest::Method::PATCH, &path, moved).await;
    let (old, new) = ("payments", "default");
    for (offset, is, is_not) in [(0, old, new), (601, new, old)] {
        bed.emulator.set_clock_offset(offset);
        let key = metadata(&client).await.unwrap();
        assert_eq!(key.key_ring.as_deref(), Some(is));
        let read = async |ring: &str| {
            let ring = KeyRing::parse(ring).unwrap();
            client.key(&id(STANDARD), Some(&ring)).await
        };
        assert!(read(is).await.is_ok());
        assert_eq!(
            kind(read(is_not).await),
            (FailureKind::KeyNotFound, Some(404))
        );
    }
}

#[tokio::test]
async fn a_role_that_counts_late_is_taken_as_it_counts() {
    let bed = Bed::start().await;
    bed.modes(json!({"roleChangeDelaySeconds": 300}));
    let client = bed.client();
    bed.may(json!([{"instance": INSTANCE, "role": "Reader"}]));
    assert!(payload(&client).await.is_ok(), "the old role counts yet");
    bed.emulator.set_clock_offset(301);
    assert_eq!(
        kind(payload(&client).await),
        (FailureKind::Denied, Some(401))
    );
    bed.may(json!([{"instance": INSTANCE, "role": "ReaderPlus"}]));
    assert_eq!(
        kind(payload(&client).await),
        (FailureKind::Denied, Some(401))
    );
    bed.emulator.set_clock_offset(602);
    assert!(payload(&client).await.is_ok());
}

#[tokio::test]
async fn a_key_that_has_expired_reads_as_active_until_the_service_has_passed_over_it() {
    let bed = Bed::start().await;
    bed.modes(json!({"expiryPassSeconds": 3600}));
    let client = bed.client();
    let now = metadata(&client).await.unwrap().creation_date.unwrap();
    let soon = now + jiff::SignedDuration::from_secs(10);
    bed.emulator
        .set_key_expiration(INSTANCE, STANDARD, Some(soon.to_string()))
        .unwrap();
    // Whole intervals of the clock: the next one is an hour away at most.
    for (offset, state) in [(11, KeyState::Active), (11 + 3600, KeyState::Deactivated)] {
        bed.emulator.set_clock_offset(offset);
        let key = metadata(&client).await.unwrap();
        if state == KeyState::Deactivated {
            assert_eq!(key.state, Some(state));
        }
        assert!(key.expiration_date.is_some_and(|date| date <= soon));
        let read = payload(&client).await.unwrap();
        assert_eq!(read.material.unwrap().expose(), b"hello");
    }
}

#[tokio::test]
async fn a_refusal_is_traced_and_understood_whatever_headers_it_has() {
    let bed = Bed::start().await;
    bed.put_api_key("reader-api-key");
    let client = bed.client();
    for modes in [
        json!({}),
        json!({"echoCorrelationId": false}),
        json!({"wwwAuthenticate": true}),
    ] {
        bed.modes(modes.clone());
        bed.emulator.clear_requests();
        let refused = payload(&client).await.unwrap_err();
        assert_eq!(
            (refused.kind, refused.status),
            (FailureKind::Denied, Some(401))
        );
        let sent = bed.served("get").pop().unwrap().correlation_id;
        assert_eq!(refused.request_id, sent, "{modes}");
        assert!(sent.is_some());
    }
}

#[tokio::test]
async fn a_key_that_is_gone_is_told_so_wherever_the_code_stands() {
    let bed = Bed::start().await;
    let client = bed.client();
    let missing = || async {
        let alias = KeyName::Alias(Alias::parse("nobodys").unwrap());
        kind(client.key_metadata(&alias, None).await)
    };
    bed.person(
        reqwest::Method::DELETE,
        &format!("keys/{STANDARD}"),
        json!(null),
    )
    .await;
    for in_message in [false, true] {
        bed.modes(json!({"codeInErrorMsg": in_message, "deletedGet": 410}));
        let absent = (FailureKind::KeyNotFound, Some(404));
        assert_eq!(missing().await, absent, "{in_message}");
        let gone = (FailureKind::KeyGone, Some(410));
        assert_eq!(kind(payload(&client).await), gone, "{in_message}");
    }
}

#[tokio::test]
async fn a_service_that_is_read_only_is_read_and_one_without_a_crypto_unit_has_failed() {
    let bed = Bed::start().await;
    let client = bed.client();
    bed.modes(json!({"readOnly": true}));
    assert_eq!(client.list_keys().await.unwrap().len(), 1);
    assert!(payload(&client).await.unwrap().material.is_some());
    bed.modes(json!({"cryptoUnitUninitialized": true}));
    let failed = (FailureKind::ServiceError, Some(503));
    assert_eq!(kind(client.list_keys().await), failed);
    assert_eq!(kind(payload(&client).await), failed);
    bed.modes(json!({}));
    assert!(payload(&client).await.is_ok());
}
