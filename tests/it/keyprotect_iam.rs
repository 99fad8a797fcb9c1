//! Tokens: how often IAM is asked, and what happens when it fails or refuses.

use std::time::Duration;

use futures::future::join_all;
use key_protect_emulator::Options;
use key_protect_operator::domain::service::failure::{FailureKind, Operation};
use key_protect_operator::keyprotect::ClientOptions;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::bed::{API_KEY, Bed, INSTANCE, options, until};

#[tokio::test]
async fn many_callers_share_one_exchange() {
    let bed = Bed::start().await;
    let client = bed.client();
    bed.fault(json!({"match": {"operation": "token"}, "effect": {"delayMs": 300}}));
    let source = client.token_source();
    let tokens = join_all((0..50).map(|_| source.token())).await;
    assert!(tokens.iter().all(Result::is_ok));
    assert_eq!(bed.served("token").len(), 1);
    assert_eq!(source.authenticated(), Some(Ok(())));
}

#[tokio::test]
async fn a_caller_that_leaves_takes_no_exchange_along() {
    let bed = Bed::start().await;
    let client = bed.client();
    bed.fault(json!({"match": {"operation": "token"}, "effect": {"delayMs": 400}}));
    let source = client.token_source();
    let impatient = tokio::time::timeout(Duration::from_millis(100), source.token()).await;
    assert!(impatient.is_err());
    assert!(source.token().await.is_ok());
    assert_eq!(bed.served("token").len(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_at_four_fifths_of_its_life() {
    let token_lifetime = Duration::from_secs(5);
    let bed = Bed::with(Options {
        token_lifetime,
        ..Options::default()
    })
    .await;
    let client = bed.client();
    let source = client.token_source();
    let begun = Instant::now();
    assert!(source.token().await.is_ok());
    until("the token is renewed", async || {
        assert!(source.token().await.is_ok());
        bed.served("token").len() == 2
    })
    .await;
    assert!(begun.elapsed() >= token_lifetime.mul_f64(0.8));
    assert!(client.list_keys().await.is_ok(), "the new one");
    assert_eq!(bed.served("token").len(), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_renewal() {
    let token_lifetime = Duration::from_secs(20);
    let bed = Bed::with(Options {
        token_lifetime,
        ..Options::default()
    })
    .await;
    let client = bed.client();
    let source = client.token_source();
    let begun = Instant::now();
    assert!(source.token().await.is_ok());
    // From here on IAM does not answer: whoever waited for it would not be back in time.
    bed.fault(json!({"match": {"operation": "token"}, "effect": {"delayMs": 60_000}}));
    until("the time of renewal has come", async || {
        let served = timeout(Duration::from_secs(3), source.token()).await;
        assert!(matches!(served, Ok(Ok(_))), "the old token serves");
        begun.elapsed() > token_lifetime.mul_f64(0.82)
    })
    .await;
}

#[tokio::test]
async fn while_iam_is_down_the_old_token_serves_to_its_end() {
    let token_lifetime = Duration::from_secs(10);
    let bed = Bed::with(Options {
        token_lifetime,
        ..Options::default()
    })
    .await;
    let client = bed.client();
    let source = client.token_source();
    assert!(source.token().await.is_ok());
    bed.fault(json!({"match": {"operation": "token"}, "effect": {"status": 503, "body": "html"}}));
    until("a renewal was tried", async || {
        assert!(client.list_keys().await.is_ok(), "the old token serves");
        bed.served("token").len() > 1
    })
    .await;
    assert_eq!(
        source.authenticated(),
        Some(Ok(())),
        "no one has been refused yet"
    );
    until("the old token has run out", async || {
        client.list_keys().await.is_err()
    })
    .await;
    let failure = client.list_keys().await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::ServiceError, Some(503))
    );
    // The service's clock and this one may disagree on the token's end by a moment.
    until("the state says so", async || {
        assert!(client.list_keys().await.is_err());
        matches!(source.authenticated(), Some(Err(_)))
    })
    .await;
    let before = bed.served("token").len();
    for _ in 0..20 {
        assert!(source.token().await.is_err());
    }
    assert!(bed.served("token").len() <= before + 4, "one try a step");
    bed.emulator.clear_faults();
    until("IAM is back", async || source.token().await.is_ok()).await;
    assert_eq!(source.authenticated(), Some(Ok(())));
}

#[tokio::test]
async fn a_refused_api_key_is_tried_once_until_the_file_changes() {
    let bed = Bed::start().await;
    bed.put_api_key("deleted-api-key");
    let client = bed.client();
    let source = client.token_source();
    assert_eq!(source.authenticated(), None);
    for _ in 0..20 {
        let failure = client.list_keys().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::CredentialRejected);
        assert_eq!(failure.code.as_deref(), Some("BXNIM0415E"));
        assert!(failure.request_id.is_some(), "for IBM's support");
    }
    assert_eq!(bed.served("token").len(), 1);
    assert!(matches!(source.authenticated(), Some(Err(_))));
    bed.put_api_key(API_KEY);
    until("the new API key is used", async || {
        client.list_keys().await.is_ok()
    })
    .await;
    assert_eq!(bed.served("token").len(), 2);
    assert_eq!(source.authenticated(), Some(Ok(())));
}

#[tokio::test]
async fn a_key_rotated_just_before_iam_refuses_it_is_used_at_once() {
    let bed = Bed::start().await;
    bed.put_api_key("deleted-api-key");
    let client = bed.client();
    bed.fault(json!({"match": {"operation": "token"}, "times": 1, "effect": {"delayMs": 500}}));
    let source = client.token_source();
    let mut asked = std::pin::pin!(source.token());
    // The exchange is under way once the call waits; then the file changes.
    assert!(
        timeout(Duration::from_millis(200), asked.as_mut())
            .await
            .is_err()
    );
    bed.put_api_key(API_KEY);
    let token = asked.await;
    assert!(token.is_ok(), "{:?}", token.err());
    assert_eq!(bed.served("token").len(), 2);
}

#[tokio::test]
async fn a_rotated_key_is_picked_up_while_the_old_token_serves() {
    let bed = Bed::start().await;
    let new = json!({"serviceId": "iam-ServiceId-plus", "apiKey": "second-api-key"});
    let client = bed.client();
    assert!(client.list_keys().await.is_ok());
    bed.emulator
        .create_api_key(serde_json::from_value(new).unwrap())
        .unwrap();
    bed.put_api_key("second-api-key");
    bed.emulator.delete_api_key(API_KEY).unwrap();
    until("the new API key is used", async || {
        assert!(client.list_keys().await.is_ok(), "the old token serves");
        bed.served("token").len() == 2
    })
    .await;
    assert!(client.list_keys().await.is_ok());
    assert_eq!(bed.served("token")[1].status, Some(200));
    // A wrong key in the file leaves the token alone, and says so.
    bed.put_api_key("wrong-api-key");
    until("the wrong key was tried", async || {
        assert!(client.list_keys().await.is_ok(), "the old token serves");
        client.token_source().authenticated() != Some(Ok(()))
    })
    .await;
    let state = client.token_source().authenticated().unwrap().unwrap_err();
    assert_eq!(state.kind, FailureKind::CredentialRejected);
    assert!(client.list_keys().await.is_ok());
    assert_eq!(bed.served("token").len(), 3);
}

#[tokio::test]
async fn a_file_that_holds_no_key_sends_nothing() {
    let bed = Bed::start().await;
    for (content, word) in [
        ("", "empty"),
        ("a\nb", "several lines"),
        ("<your_API_key>", "placeholder"),
    ] {
        bed.put_api_key(content);
        let client = bed.client();
        let failure = client.list_keys().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::CredentialMissing);
        assert!(failure.detail.contains(word), "{failure}");
    }
    assert_eq!(bed.emulator.last_request(), 0);
    let client = bed.client();
    assert!(client.list_keys().await.is_err());
    bed.put_api_key(&json!({"name": "n", "apikey": API_KEY}).to_string());
    until("the key is found", async || {
        client.list_keys().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_odd_token_answer_makes_no_storm() {
    let bed = Bed::start().await;
    for odd in [0, -1, i64::MAX] {
        bed.emulator.clear_requests();
        bed.modes(json!({"tokenExpiresIn": odd, "tokenExpirationSkewSeconds": 7200}));
        let client = bed.client();
        for _ in 0..10 {
            assert!(client.list_keys().await.is_ok(), "{odd}");
        }
        assert_eq!(bed.served("token").len(), 1, "{odd}");
    }
    bed.modes(json!({"tokenOmitsAccessToken": true}));
    let client = bed.client();
    bed.emulator.clear_requests();
    for _ in 0..10 {
        let failure = client.list_keys().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ServiceError, "{failure}");
    }
    assert!(bed.served("token").len() <= 2);
}

#[tokio::test]
async fn what_stands_before_iam_says_nothing_about_a_key() {
    let bed = Bed::start().await;
    for (effect, kind, retry_after) in [
        (
            json!({"status": 400, "body": "html"}),
            FailureKind::ServiceError,
            None,
        ),
        (
            json!({"status": 403, "body": "html"}),
            FailureKind::ServiceError,
            None,
        ),
        (
            json!({"status": 403, "body": "empty"}),
            FailureKind::ServiceError,
            None,
        ),
        (
            json!({"status": 404, "body": "html"}),
            FailureKind::ServiceError,
            None,
        ),
        (
            json!({"status": 302, "headers": {"location": "https://evil.example/"}}),
            FailureKind::ServiceError,
            None,
        ),
        (
            json!({"status": 429, "retryAfter": 120}),
            FailureKind::Throttled,
            Some(120),
        ),
        (json!({"body": "html"}), FailureKind::ServiceError, None),
    ] {
        bed.fault(json!({"match": {"operation": "token"}, "effect": effect}));
        bed.emulator.clear_requests();
        let failure = bed
            .client()
            .token_source()
            .token()
            .await
            .map(|_| ())
            .unwrap_err();
        assert_eq!(failure.kind, kind, "{effect}: {failure}");
        assert_eq!(failure.retry_after.map(|wait| wait.as_secs()), retry_after);
        assert_eq!(bed.served("token").len(), 1, "{effect}");
    }
    for effect in [
        json!({"status": 500}),
        json!({"status": 429, "retryAfter": 1}),
        json!({"cut": "beforeResponse"}),
        json!({"body": "halfBody"}),
    ] {
        bed.fault(json!({"match": {"operation": "token"}, "times": 1, "effect": effect}));
        assert!(
            bed.client().token_source().token().await.is_ok(),
            "{effect}"
        );
    }
}

#[tokio::test]
async fn the_credential_in_use_belongs_to_one_client() {
    let bed = Bed::start().await;
    let (one, two) = (bed.client(), bed.client());
    assert!(one.list_keys().await.is_ok());
    assert!(two.list_keys().await.is_ok());
    assert_eq!(
        bed.served("token").len(),
        2,
        "nothing is shared by host or instance"
    );
    assert_eq!(bed.served("list")[0].instance.as_deref(), Some(INSTANCE));
}

#[tokio::test]
async fn a_refused_token_that_iam_does_not_replace_is_iams_failure() {
    let bed = Bed::start().await;
    let client = bed.client();
    assert!(client.list_keys().await.is_ok());
    bed.emulator.revoke_tokens();
    bed.fault(json!({"match": {"operation": "token"}, "effect": {"status": 503, "body": "html"}}));
    bed.emulator.clear_requests();
    let begun = Instant::now();
    // Past the first steps of the back-off, where another token is tried for.
    until("six seconds have passed", async || {
        let failure = client.list_keys().await.unwrap_err();
        assert_eq!(
            (failure.operation, failure.kind, failure.status),
            (Operation::Token, FailureKind::ServiceError, Some(503)),
            "{failure}"
        );
        begun.elapsed() > Duration::from_secs(6)
    })
    .await;
    let asked = bed.served("token").len();
    assert!(asked <= 4 * (1 + options().retries), "{asked} is a storm");
    bed.emulator.clear_faults();
    until("it heals", async || client.list_keys().await.is_ok()).await;
}

#[tokio::test]
async fn while_iam_is_silent_it_is_iam_that_did_not_answer() {
    let bed = Bed::start().await;
    let short = ClientOptions {
        call_deadline: Duration::from_millis(800),
        ..options()
    };
    let client = bed.client_with(&json!({}), &short);
    assert!(client.list_keys().await.is_ok());
    bed.emulator.revoke_tokens();
    bed.fault(json!({"match": {"operation": "token"}, "effect": {"delayMs": 5000}}));
    let failure = client.list_keys().await.unwrap_err();
    assert_eq!(
        (failure.operation, failure.kind),
        (Operation::Token, FailureKind::Unreachable),
        "{failure}"
    );
}

#[tokio::test]
async fn a_refused_token_is_not_sent_again_while_iam_refuses_the_key() {
    let bed = Bed::start().await;
    let client = bed.client();
    assert!(client.list_keys().await.is_ok());
    bed.put_api_key("wrong-api-key");
    until("IAM has refused the renewal", async || {
        assert!(client.list_keys().await.is_ok(), "the old token serves");
        client.token_source().authenticated() != Some(Ok(()))
    })
    .await;
    bed.emulator.revoke_tokens();
    bed.emulator.clear_requests();
    for _ in 0..3 {
        let failure = client.list_keys().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::CredentialRejected, "{failure}");
    }
    let sent = bed.served("list").len();
    assert_eq!(sent, 1, "each is a critical event in the audit log");
    assert!(bed.served("token").is_empty(), "its back-off is not over");
}
