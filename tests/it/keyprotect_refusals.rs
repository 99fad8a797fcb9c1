//! What the client makes of refusals, failures and answers that are none, against the emulator.

use key_protect_emulator::{Options, Tls};
use key_protect_operator::domain::service::failure::FailureKind;
use key_protect_operator::domain::service::reference::KeyName;
use key_protect_operator::keyprotect::Client;
use serde_json::{Value, json};

use super::bed::{API_KEY, Bed, STANDARD, UNKNOWN, options};
use super::keyprotect::{id, payload};

#[tokio::test]
async fn what_the_service_refuses_has_its_kind_and_its_code() {
    let bed = Bed::start().await;
    let client = bed.client();
    let unknown = client.key(&id(UNKNOWN), None).await.unwrap_err();
    assert_eq!(
        (unknown.kind, unknown.code.as_deref(), unknown.status),
        (
            FailureKind::KeyNotFound,
            Some("KEY_NOT_FOUND_ERR"),
            Some(404)
        ),
    );
    assert_eq!(unknown.request_id, bed.served("get")[0].correlation_id);
    let by_name = client
        .key_metadata(&KeyName::Name("orders".into()), None)
        .await;
    assert_eq!(by_name.unwrap_err().kind, FailureKind::Invalid);

    let other = "99999999-0000-4000-8000-000000000000";
    let client = bed.client_with(&json!({"instanceID": other}), &options());
    let failure = client.list_keys().await.unwrap_err();
    assert!(
        matches!(
            failure.kind,
            FailureKind::ServiceError | FailureKind::Denied
        ),
        "an unknown instance says nothing about a key: {failure:?}"
    );
}

#[tokio::test]
async fn a_missing_role_costs_one_more_token_and_no_storm() {
    let bed = Bed::start().await;
    bed.put_api_key("reader-api-key");
    let client = bed.client();
    for _ in 0..10 {
        let refused = payload(&client).await.unwrap_err();
        assert_eq!(
            (refused.kind, refused.status),
            (FailureKind::Denied, Some(401))
        );
        assert!(refused.request_id.is_some());
    }
    let by_id = KeyName::Id(id(STANDARD));
    assert!(
        client.key_metadata(&by_id, None).await.is_ok(),
        "a Reader reads metadata"
    );
    assert_eq!(bed.served("token").len(), 2);
    assert_eq!(
        bed.served("get").len(),
        11,
        "only the first was tried twice"
    );
}

#[tokio::test]
async fn a_token_that_the_service_stops_taking_is_replaced() {
    let bed = Bed::start().await;
    let client = bed.client();
    assert!(payload(&client).await.is_ok());
    bed.emulator.revoke_tokens();
    let calls = (0..20).map(|_| payload(&client));
    let results = futures::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(
        bed.served("token").len(),
        2,
        "twenty refusals, one new token"
    );
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let bed = Bed::start().await;
    let client = bed.client();
    let get = json!({"operation": "get"});
    for (effect, times, tries) in [
        (json!({"status": 503}), 2, 3),
        (json!({"status": 500, "body": "html"}), 3, 4),
        (json!({"status": 429, "retryAfter": 1}), 1, 2),
        (json!({"cut": "beforeResponse"}), 1, 2),
        (json!({"body": "halfBody"}), 1, 2),
        (json!({"body": "wrongContentType"}), 1, 1),
    ] {
        bed.emulator.clear_requests();
        bed.fault(json!({"match": get, "times": times, "effect": effect}));
        let read = payload(&client).await;
        assert!(read.is_ok(), "{effect}: {read:?}");
        assert_eq!(bed.served("get").len(), tries, "{effect}");
    }
    for (effect, kind, after, tries) in [
        (json!({"status": 501}), FailureKind::ServiceError, None, 1),
        (json!({"status": 503}), FailureKind::ServiceError, None, 4),
        (
            json!({"status": 503, "retryAfter": 30}),
            FailureKind::ServiceError,
            Some(30),
            1,
        ),
        (
            json!({"status": 429, "retryAfter": 60}),
            FailureKind::Throttled,
            Some(60),
            1,
        ),
        (
            json!({"status": 403, "code": "FEATURE_RESTRICTED_ERR"}),
            FailureKind::Denied,
            None,
            1,
        ),
        (
            json!({"status": 404, "body": "html"}),
            FailureKind::ServiceError,
            None,
            1,
        ),
        (
            json!({"status": 404, "body": "empty"}),
            FailureKind::ServiceError,
            None,
            1,
        ),
        (
            json!({"status": 302, "headers": {"location": "http://127.0.0.1:1/"}}),
            FailureKind::ServiceError,
            None,
            1,
        ),
        (json!({"body": "html"}), FailureKind::ServiceError, None, 1),
        (json!({"body": "empty"}), FailureKind::ServiceError, None, 1),
        (
            json!({"body": "truncatedJson"}),
            FailureKind::ServiceError,
            None,
            1,
        ),
        (
            json!({"cut": "beforeResponse"}),
            FailureKind::Unreachable,
            None,
            4,
        ),
    ] {
        bed.emulator.clear_requests();
        bed.fault(json!({"match": get, "effect": effect}));
        let failure = payload(&client).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{effect}: {failure}");
        assert_eq!(
            failure.retry_after.map(|wait| wait.as_secs()),
            after,
            "{effect}"
        );
        assert_eq!(bed.served("get").len(), tries, "{effect}");
        assert!(failure.request_id.is_some(), "{effect}");
        assert!(
            !failure.to_string().contains('<'),
            "nothing of the page: {failure}"
        );
    }
}

#[tokio::test]
async fn an_answer_about_another_key_is_not_taken() {
    let bed = Bed::start().await;
    let client = bed.client();
    let other = json!({"metadata": {"collectionTotal": 1}, "resources": [{"id": UNKNOWN, "payload": "aGVsbG8="}]});
    bed.fault(json!({"effect": {"status": 200, "body": {"raw": other.to_string()}}, "match": {"operation": ["get", "metadata"]}}));
    assert_eq!(
        payload(&client).await.unwrap_err().kind,
        FailureKind::ServiceError
    );
    let metadata = client.key_metadata(&KeyName::Id(id(STANDARD)), None).await;
    assert_eq!(metadata.unwrap_err().kind, FailureKind::ServiceError);
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_given() {
    let tls = Some(Tls::Make { names: Vec::new() });
    let bed = Bed::with(Options {
        tls,
        ..Options::default()
    })
    .await;
    let url = bed.emulator.api_url();
    let untrusting = bed.client();
    let failure = untrusting.list_keys().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(
        failure.detail.contains("spec.endpoint.caBundle"),
        "{failure}"
    );

    let pem = bed.emulator.ca_pem().unwrap();
    let endpoint = json!({"endpoint": {"url": url, "iamURL": url, "caBundle": pem}});
    let client = bed.client_with(&endpoint, &options());
    let results = futures::future::join_all((0..30).map(|_| payload(&client))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(
        bed.served("get")
            .iter()
            .all(|served| served.version.contains('2')),
        "HTTP/2"
    );

    let endpoint = bed.endpoint(
        &json!({"endpoint": {"url": url, "iamURL": url, "caBundle": "-----BEGIN CERTIFICATE-----"}}),
    );
    assert!(Client::new(&endpoint, bed.credential(), &options()).is_err());
}

#[tokio::test]
async fn a_persons_token_works_and_is_not_renewed() {
    let bed = Bed::start().await;
    let form = format!("grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={API_KEY}");
    let answer = reqwest::Client::new()
        .post(format!("{}/identity/token", bed.emulator.api_url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let pasted = format!(
        "IAM token:  Bearer {}\n",
        answer["access_token"].as_str().unwrap()
    );
    let client = Client::with_token(&bed.endpoint(&json!({})), &pasted.into(), &options()).unwrap();
    assert!(payload(&client).await.is_ok());
    bed.emulator.revoke_tokens();
    assert_eq!(
        payload(&client).await.unwrap_err().kind,
        FailureKind::Denied
    );
    assert_eq!(bed.served("token").len(), 1);
    let wrong =
        Client::with_token(&bed.endpoint(&json!({})), &"not-a-jwt".into(), &options()).unwrap();
    let refused = payload(&wrong).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Denied, "{refused}");
}

#[tokio::test]
async fn nothing_that_is_printed_holds_a_credential_or_a_payload() {
    let bed = Bed::start().await;
    let client = bed.client();
    let read = payload(&client).await.unwrap();
    let token = client.token_source().token().await.unwrap();
    let mut printed = format!("{client:?} {read:?} {token:?} {:?}", bed.credential());
    bed.fault(json!({"effect": {"status": 400, "body": {"raw": json!({"errorCode": API_KEY, "errorMessage": API_KEY, "resources": [{"errorMsg": "hello", "reasons": [{"code": "hello"}]}]}).to_string()}}}));
    for failure in [
        payload(&client).await.unwrap_err(),
        bed.client().token_source().token().await.unwrap_err(),
    ] {
        printed.push_str(&format!("{failure} {failure:?}"));
    }
    for secret in [API_KEY, "eyJ", "hello", "aGVsbG8", "104, 101, 108"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
