//! IAM over HTTP: the points that its reference asks an emulator to reproduce.

use std::time::Duration;

use crate::support::{INSTANCE, World, read, roles};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn point_1_both_paths_give_tokens_and_only_forms_are_read() {
    let world = World::plain().await;
    for path in ["/identity/token", "/oidc/token"] {
        let answer = world.ask_token(path, "key-of-manager").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["expires_in"], 3600);
    }
    let url = format!("{}/identity/token", world.emulator.api_url());
    let json = world
        .client
        .post(&url)
        .header("content-type", "application/json")
        .body("{}");
    assert_eq!(read(json.send().await.unwrap()).await.status, 415);
    let in_url = world
        .client
        .post(format!("{url}?apikey=key-of-manager"))
        .form(&[("grant_type", "urn:ibm:params:oauth:grant-type:apikey")]);
    assert_eq!(read(in_url.send().await.unwrap()).await.status, 400);
    let missing = world
        .client
        .post(&url)
        .form(&[("apikey", "key-of-manager")]);
    let missing = read(missing.send().await.unwrap()).await;
    assert_eq!(
        (missing.status, &missing.body["errorCode"]),
        (400, &json!("BXNIM0109E"))
    );
}

#[tokio::test]
async fn point_2_an_unknown_or_deleted_api_key_is_refused_while_tokens_live_on() {
    let world = World::plain().await;
    let unknown = world.ask_token("/identity/token", "nobody's").await;
    assert_eq!(
        (unknown.status, &unknown.body["errorCode"]),
        (400, &json!("BXNIM0415E"))
    );
    assert!(unknown.body["context"]["requestId"].is_string());
    world.emulator.delete_api_key("key-of-manager").unwrap();
    let deleted = world.ask_token("/identity/token", "key-of-manager").await;
    assert_eq!(deleted.body["errorCode"], "BXNIM0415E");
    assert_eq!(world.get("keys").await.status, 200);
}

#[tokio::test]
async fn point_3_tokens_are_jwts_that_expire_and_follow_their_service_id_s_roles() {
    let world = World::plain().await;
    let claims = world.token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["iam_id"], "iam-ServiceId-manager");
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        3600
    );

    let key = world.key(json!({ "name": "key" }));
    assert_eq!(world.get(&format!("keys/{key}")).await.status, 200);
    let reader = serde_json::from_value(roles("Reader")).unwrap();
    world.emulator.set_roles("manager", reader).unwrap();
    assert_eq!(world.get(&format!("keys/{key}")).await.status, 401);

    world.modes(json!({ "roleChangeDelaySeconds": 60 }));
    let manager = serde_json::from_value(roles("Manager")).unwrap();
    world.emulator.set_roles("manager", manager).unwrap();
    assert_eq!(world.get(&format!("keys/{key}")).await.status, 401);
    world.emulator.set_clock_offset(61);
    assert_eq!(world.get(&format!("keys/{key}")).await.status, 200);

    world.emulator.set_clock_offset(3601);
    assert_eq!(world.get("keys").await.status, 401);
    world.emulator.set_clock_offset(0);
    world.emulator.revoke_tokens();
    assert_eq!(world.get("keys").await.status, 401);
    world.emulator.set_token_lifetime(5);
    let short = world.ask_token("/identity/token", "key-of-manager").await;
    assert_eq!(short.body["expires_in"], 5);
}

#[tokio::test]
async fn point_4_token_answers_can_be_slow_refused_cut_or_absurd() {
    let world = World::plain().await;
    let ask = || world.ask_token("/identity/token", "key-of-manager");
    world.fault(
        "f",
        &json!({ "match": { "operation": "token" }, "times": 1,
                "effect": { "status": 429, "retryAfter": 7 } }),
    );
    let limited = ask().await;
    assert_eq!(
        (limited.status, &limited.headers["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert!(
        limited.body["errorCode"].is_string(),
        "an error of IAM looks like one"
    );
    assert_eq!(ask().await.status, 200);

    world.fault(
        "f",
        &json!({ "match": { "operation": "token" }, "effect": { "body": "html" } }),
    );
    assert_eq!(ask().await.headers["content-type"], "text/html");
    world.fault(
        "f",
        &json!({ "match": { "operation": "token" }, "effect": { "cut": "beforeResponse" } }),
    );
    let url = format!("{}/identity/token", world.emulator.api_url());
    assert!(
        world
            .client
            .post(&url)
            .form(&[("a", "b")])
            .send()
            .await
            .is_err()
    );
    for (effect, waits) in [
        (json!({ "delayMs": 60_000 }), 300),
        (json!({ "cut": "midBody" }), 60_000),
    ] {
        world.fault(
            "f",
            &json!({ "match": { "operation": "token" }, "effect": effect }),
        );
        let request = world.client.post(&url).form(&[("a", "b")]);
        let request = request.timeout(std::time::Duration::from_millis(waits));
        let text = async { request.send().await?.text().await };
        assert!(text.await.is_err(), "{effect}");
    }
    let down = json!({ "match": { "operation": "token" }, "effect": { "status": 503 } });
    world.fault("f", &down);
    let down = ask().await;
    assert_eq!(down.status, 503);
    assert!(down.body["errorCode"].is_string());
    world.emulator.clear_faults();

    world.modes(json!({ "tokenExpiresIn": i64::MAX }));
    assert_eq!(ask().await.body["expires_in"], i64::MAX);
    world.modes(json!({ "tokenExpiresIn": 0, "tokenExpirationSkewSeconds": -4000 }));
    let absurd = ask().await;
    assert_eq!(absurd.body["expires_in"], 0);
    let expiration = absurd.body["expiration"].as_i64().unwrap();
    assert!(expiration < jiff_now(), "{expiration}");
    world.modes(json!({ "tokenOmitsAccessToken": true }));
    assert!(ask().await.body.get("access_token").is_none());
}

fn jiff_now() -> i64 {
    #[allow(clippy::disallowed_methods)] // A test against the real clock.
    jiff::Timestamp::now().as_second()
}

#[tokio::test]
async fn point_5_a_profile_trusts_one_service_account_of_one_cluster() {
    let world = World::plain().await;
    let profile = json!({
        "name": "operator", "id": "Profile-1", "roles": roles("ReaderPlus"),
        "trust": { "namespace": "ns", "serviceAccount": "op", "issuer": "https://cluster" },
    });
    world
        .emulator
        .create_profile(serde_json::from_value(profile).unwrap())
        .unwrap();
    let ask_at = async |path: &str, (subject, issuer): (&str, &str), fields: &[(&str, &str)]| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!(
            "{}.{}.c2ln",
            part(json!({ "alg": "RS256" })),
            part(
                json!({ "sub": subject, "aud": ["iam"], "exp": jiff_now() + 60,
                         "iss": issuer })
            ),
        );
        let url = format!("{}{path}", world.emulator.api_url());
        let mut form = vec![
            ("grant_type", "urn:ibm:params:oauth:grant-type:cr-token"),
            ("cr_token", &token),
        ];
        form.extend(fields);
        read(world.client.post(&url).form(&form).send().await.unwrap()).await
    };
    let good = ("system:serviceaccount:ns:op", "https://cluster");
    let (by_name, by_id) = (("profile_name", "operator"), ("profile_id", "Profile-1"));
    for path in ["/identity/token", "/oidc/token"] {
        for fields in [&[by_name][..], &[by_id], &[by_name, by_id]] {
            let answer = ask_at(path, good, fields).await;
            let token = answer.body["access_token"].as_str().unwrap();
            assert_eq!(world.get_as(token, "keys").await.status, 200, "{path}");
        }
    }
    let ask = async |who, fields: &[(&str, &str)]| {
        let answer = ask_at("/identity/token", who, fields).await;
        (answer.status, answer.body["errorCode"].clone())
    };
    let untrusted = (400, json!("BXNIM0137E"));
    let another_account = ("system:serviceaccount:ns:other", "https://cluster");
    assert_eq!(ask(another_account, &[by_name]).await, untrusted);
    let another_cluster = ("system:serviceaccount:ns:op", "https://another");
    assert_eq!(ask(another_cluster, &[by_id]).await, untrusted);
    let unmatched = (400, json!("BXNIM0439E"));
    for fields in [
        &[("profile_name", "nobody")][..],
        &[by_name, ("profile_id", "Profile-2")],
        &[("profile_name", "nobody"), by_id],
    ] {
        assert_eq!(ask(good, fields).await, unmatched, "{fields:?}");
    }
    assert_eq!(ask(good, &[]).await, (400, json!("BXNIM0109E")));
}

#[tokio::test]
async fn a_request_that_its_caller_gave_up_is_written_down_as_such() {
    let world = World::plain().await;
    world.fault("slow", &json!({ "effect": { "delayMs": 30_000 } }));
    let request = world
        .request(Method::GET, "keys")
        .timeout(Duration::from_millis(200));
    assert!(request.send().await.is_err());
    let wanted = key_protect_emulator::Wanted {
        operation: Some("list".to_owned()),
        instance: Some(INSTANCE.to_owned()),
        ..key_protect_emulator::Wanted::default()
    };
    let waited = world
        .emulator
        .wait_for_requests(&wanted, 1, Duration::from_secs(10))
        .await;
    assert!(waited.1 && waited.0[0].abandoned && waited.0[0].status.is_none());
    assert_eq!(waited.0[0].faults, ["slow"]);
}
