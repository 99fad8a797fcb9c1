//! Faults and TLS, as a client meets them.

use std::time::Duration;

use key_protect_emulator::{Tls, Wanted};
use reqwest::{Method, Version};
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn tls_serves_http_2_to_those_who_trust_the_authority() {
    let world = World::start(Some(Tls::Make {
        names: vec!["kms.test".to_owned()],
    }))
    .await;
    let answer = world.request(Method::GET, "keys").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, Version::HTTP_2)
    );
    let stranger = reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap();
    assert!(stranger.get(world.emulator.api_url()).send().await.is_err());
    let old = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(
            world.emulator.ca_pem().unwrap().as_bytes(),
        )
        .unwrap()])
        .no_proxy()
        .http1_only()
        .build()
        .unwrap();
    let answer = old.get(world.emulator.api_url()).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (404, Version::HTTP_11)
    );
}

#[tokio::test]
async fn connections_are_cut_before_and_within_answers() {
    for tls in [None, Some(Tls::Make { names: Vec::new() })] {
        let world = World::start(tls).await;
        world.key(json!({ "name": "key" }));
        world.fault("f", &json!({ "effect": { "cut": "beforeResponse" } }));
        assert!(world.request(Method::GET, "keys").send().await.is_err());
        for effect in [json!({ "cut": "midBody" }), json!({ "body": "halfBody" })] {
            world.fault("f", &json!({ "effect": effect }));
            let answer = world.request(Method::GET, "keys").send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(answer.bytes().await.is_err(), "{effect}");
        }
        let served = world.emulator.requests(&Wanted {
            operation: Some("list".to_owned()),
            ..Wanted::default()
        });
        let statuses: Vec<_> = served.iter().map(|served| served.status).collect();
        assert_eq!(statuses[0], None);
        assert!(statuses.len() >= 3 && statuses.ends_with(&[Some(200), Some(200)]));
    }
}

#[tokio::test]
async fn a_whole_connection_is_cut_under_every_request_on_it() {
    let world = World::start(Some(Tls::Make { names: Vec::new() })).await;
    // Both go by one HTTP/2 connection, which this makes.
    assert_eq!(world.get("keys").await.status, 200);
    world.fault(
        "slow",
        &json!({ "match": { "operation": "rings" }, "effect": { "delayMs": 60_000 } }),
    );
    world.fault(
        "cut",
        &json!({ "match": { "operation": "list" }, "effect": { "cut": "connection" } }),
    );
    let slow = tokio::spawn(world.request(Method::GET, "key_rings").send());
    let arrived = async {
        while world
            .emulator
            .faults()
            .iter()
            .all(|(_, _, matched)| *matched == 0)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrived)
        .await
        .unwrap();
    let cut = world.request(Method::GET, "keys").send().await;
    let slow = slow.await.unwrap();
    assert!(slow.is_err() && cut.is_err());
    let wanted = Wanted {
        operation: Some("rings".to_owned()),
        ..Wanted::default()
    };
    let (served, _) = world
        .emulator
        .wait_for_requests(&wanted, 1, Duration::from_secs(10))
        .await;
    assert!(served[0].abandoned);
    world.emulator.clear_faults();
    assert_eq!(world.get("keys").await.status, 200);
}

#[tokio::test]
async fn bodies_are_broken_in_every_way_that_is_asked_for() {
    let world = World::plain().await;
    world.key(json!({ "name": "key" }));
    let whole = world.get("keys").await.text.len();
    let with = async |effect: serde_json::Value| {
        world.fault(
            "f",
            &json!({ "match": { "operation": ["list", "get"] }, "effect": effect }),
        );
        world.get("keys").await
    };
    let html = with(json!({ "status": 502, "body": "html" })).await;
    assert_eq!(
        (html.status, &html.headers["content-type"]),
        (502, &"text/html".parse().unwrap())
    );
    assert_eq!(with(json!({ "body": "empty" })).await.text, "");
    let truncated = with(json!({ "body": "truncatedJson" })).await;
    assert_eq!((truncated.status, truncated.text.len()), (200, whole / 2));
    assert!(truncated.body.is_null());
    let wrong = with(json!({ "body": "wrongContentType" })).await;
    assert_eq!(wrong.headers["content-type"], "text/html");
    assert_eq!(
        with(json!({ "body": { "raw": "{\"metadata\":{}}" } }))
            .await
            .text
            .len(),
        15
    );
    let limited = with(json!({ "status": 429, "retryAfter": 12, "headers": { "x-a": "b" } })).await;
    assert_eq!(
        (limited.status, &limited.headers["retry-after"]),
        (429, &"12".parse().unwrap())
    );
    assert_eq!(limited.headers["x-a"], "b");
    assert!(limited.resource()["errorMsg"].is_string());
    let coded = with(json!({ "status": 503, "code": "SOME_ERR" })).await;
    assert_eq!(coded.code(), Some("SOME_ERR"));
}

#[tokio::test]
async fn faults_know_a_key_by_its_id_even_under_an_alias() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "aliases": ["name"] }));
    let other = world.key(json!({ "name": "other" }));
    world.fault(
        "f",
        &json!({ "match": { "keyId": key }, "effect": { "status": 500 } }),
    );
    assert_eq!(world.get("keys/name").await.status, 500);
    assert_eq!(world.get(&format!("keys/{other}")).await.status, 200);
    let served = world.emulator.requests(&Wanted {
        key_id: Some(key),
        ..Wanted::default()
    });
    assert_eq!(
        (served.len(), served[0].faults.as_slice()),
        (1, ["f".to_owned()].as_slice())
    );
}

#[tokio::test]
async fn the_admin_port_makes_faults_and_lets_tests_wait() {
    let world = World::plain().await;
    let admin = |path: &str| format!("{}{path}", world.emulator.admin_url());
    let fault =
        json!({ "match": { "operation": "list" }, "times": 1, "effect": { "status": 503 } });
    let put = world
        .client
        .put(admin("/faults/f"))
        .header("content-type", "application/json");
    assert_eq!(
        put.body(fault.to_string()).send().await.unwrap().status(),
        204
    );
    let wait = world.client.get(admin(
        "/requests/wait?operation=list&count=2&timeoutMs=10000",
    ));
    let (waited, ()) = tokio::join!(wait.send(), async {
        assert_eq!(world.get("keys").await.status, 503);
        assert_eq!(world.get("keys").await.status, 200);
    });
    assert_eq!(waited.unwrap().status(), 200);
    let late = world
        .client
        .get(admin("/requests/wait?operation=list&count=3&timeoutMs=10"));
    assert_eq!(late.send().await.unwrap().status(), 408);
    let since = world
        .client
        .get(admin("/requests?since=1&operation=list"))
        .send()
        .await
        .unwrap();
    let text = since.text().await.unwrap();
    assert_eq!(text.matches("\"seq\"").count(), 2, "{text}");
    let wrong = world
        .client
        .put(admin("/faults/f"))
        .header("content-type", "application/json");
    assert_eq!(
        wrong.body(r#"{"efect":{}}"#).send().await.unwrap().status(),
        422
    );
    assert_eq!(
        world
            .client
            .delete(admin("/requests"))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert!(world.emulator.requests(&Wanted::default()).is_empty());
    let waited = world
        .emulator
        .wait_for_requests(&Wanted::default(), 1, Duration::from_millis(10))
        .await;
    assert!(!waited.1);
}
