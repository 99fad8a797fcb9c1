//! What a client sees on the wire, byte by byte where it matters: headers,
//! media types, bodies that are `null`, connections that end.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{INSTANCE, World, wrapped, writes};

/// Sends bytes and reads until the server closes: its head, by lower-case
/// names, and its body.
async fn raw(world: &World, request: &str) -> (String, BTreeMap<String, String>, Vec<u8>) {
    let url = world.emulator.api_url();
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    let end = read
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    let headers = headers
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    (status.to_owned(), headers, read[end + 4..].to_vec())
}

/// A request as IBM's Go client writes it: no keep-alive, no content type.
fn as_go(world: &World, method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} /api/v2/{path} HTTP/1.1\r\nHost: kms\r\nUser-Agent: keyprotect-go-client\r\n\
         Connection: close\r\nAccept: application/json\r\nAUTHORIZATION: Bearer {}\r\n\
         bLuEmIx-InStAnCe: {INSTANCE}\r\nCorrelation-Id: 11111111-2222-4333-8444-555555555555\r\n\
         Content-Length: {}\r\n\r\n{body}",
        world.token,
        body.len(),
    )
}

#[tokio::test]
async fn http_1_1_without_keep_alive_ends_after_the_answer() {
    let world = World::plain().await;
    let (status, headers, body) = raw(&world, &as_go(&world, "GET", "keys", "")).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["content-length"], body.len().to_string());
    assert_eq!(
        headers["correlation-id"],
        "11111111-2222-4333-8444-555555555555"
    );
    assert_eq!(headers["connection"], "close");
    assert!(headers.contains_key("date") && !headers.contains_key("transfer-encoding"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        json!({ "metadata": {
        "collectionType": "application/vnd.ibm.kms.key+json", "collectionTotal": 0 } })
    );
}

#[tokio::test]
async fn head_has_the_total_and_no_body() {
    let world = World::plain().await;
    world.key(json!({ "name": "key" }));
    let (status, headers, body) =
        raw(&world, &as_go(&world, "HEAD", "keys?state=0,1,2,3", "")).await;
    assert_eq!(
        (status.as_str(), headers["key-total"].as_str()),
        ("HTTP/1.1 200 OK", "1")
    );
    assert!(body.is_empty());
    let (status, _, body) = raw(&world, &as_go(&world, "HEAD", "keys?state=9", "")).await;
    assert_eq!(
        (status.as_str(), body.len()),
        ("HTTP/1.1 400 Bad Request", 0)
    );
}

#[tokio::test]
async fn bodies_that_are_null_are_no_bodies() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let go = async |action: &str| {
        let path = format!("keys/{key}/actions/{action}");
        raw(&world, &as_go(&world, "POST", &path, "null")).await
    };
    for action in ["rotate", "disable"] {
        let (status, headers, body) = go(action).await;
        assert_eq!(status, "HTTP/1.1 204 No Content", "{action}");
        assert!(
            body.is_empty() && !headers.contains_key("content-type"),
            "{action}"
        );
    }
    world.emulator.set_clock_offset(31);
    assert_eq!(go("enable").await.0, "HTTP/1.1 204 No Content");
    let (status, headers, _) = go("wrap").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(
        headers["content-type"],
        "application/vnd.ibm.kms.key_action_wrap+json"
    );
    assert_eq!(go("unwrap").await.0, "HTTP/1.1 400 Bad Request");
    // An action that takes none refuses another body.
    let path = format!("keys/{key}/actions/disable");
    let (status, ..) = raw(&world, &as_go(&world, "POST", &path, "{\"colour\":1}")).await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn a_new_ring_answers_201_with_no_body_at_all() {
    let world = World::plain().await;
    let (status, headers, body) = raw(&world, &as_go(&world, "POST", "key_rings/ring-a", "")).await;
    assert_eq!((status.as_str(), body.len()), ("HTTP/1.1 201 Created", 0));
    assert!(!headers.contains_key("content-type"));
    assert_eq!(headers["content-length"], "0");
}

#[tokio::test]
async fn names_of_fields_are_taken_in_any_case() {
    let world = World::plain().await;
    let body = wrapped(&json!({ "Name": "key", "Tags": ["one"], "EXTRACTABLE": false }));
    let (status, _, made) = raw(&world, &as_go(&world, "POST", "keys", &body.to_string())).await;
    assert_eq!(status, "HTTP/1.1 201 Created");
    let made: Value = serde_json::from_slice(&made).unwrap();
    let key = &made["resources"][0];
    assert_eq!(
        (&key["tags"], &key["extractable"]),
        (&json!(["one"]), &json!(false))
    );
    let id = key["id"].as_str().unwrap();
    let patch = as_go(
        &world,
        "PATCH",
        &format!("keys/{id}"),
        "{\"KeyRingID\":\"default\"}",
    );
    assert_eq!(raw(&world, &patch).await.0, "HTTP/1.1 200 OK");
}

/// IBM's Python client parses what is `application/json` by itself, and hands
/// out the response otherwise, which its users call `.json()` on.
#[tokio::test]
async fn what_is_made_has_the_media_type_of_the_resource() {
    let world = World::plain().await;
    let root = world.key(json!({ "name": "root", "extractable": false }));
    let sealed = world
        .post(&format!("keys/{root}/actions/wrap"), &json!({}))
        .await;
    let sealed = json!({ "ciphertext": sealed.body["ciphertext"] });
    let policies = wrapped(&json!({ "dualAuthDelete": { "enabled": false } }));
    let new = wrapped(&json!({ "name": "key" }));
    let adapter =
        json!({ "name": "a", "profile": "native_1.0", "profile_data": { "crk_id": root } });
    for (method, path, body, status, media_type) in [
        (Method::POST, "keys".to_owned(), new.clone(), 201, "key"),
        (
            Method::POST,
            "keys_with_policy_overrides".to_owned(),
            new,
            201,
            "key",
        ),
        (
            Method::POST,
            format!("keys/{root}/aliases/an-alias"),
            Value::Null,
            201,
            "key_alias",
        ),
        (
            Method::POST,
            format!("keys/{root}/actions/wrap"),
            json!({}),
            200,
            "key_action_wrap",
        ),
        (
            Method::POST,
            format!("keys/{root}/actions/unwrap"),
            sealed.clone(),
            200,
            "key_action_unwrap",
        ),
        (
            Method::POST,
            format!("keys/{root}/actions/rewrap"),
            sealed,
            200,
            "key_action_rewrap",
        ),
        (
            Method::PUT,
            format!("keys/{root}/policies"),
            policies,
            200,
            "policy",
        ),
        (
            Method::PATCH,
            format!("keys/{root}"),
            json!({ "keyRingID": "default" }),
            200,
            "key",
        ),
        (
            Method::POST,
            "import_token".to_owned(),
            json!({}),
            200,
            "import_token",
        ),
        (
            Method::POST,
            "kmip_adapters".to_owned(),
            wrapped(&adapter),
            201,
            "kmip_adapter",
        ),
        (
            Method::DELETE,
            format!("keys/{root}"),
            Value::Null,
            200,
            "key",
        ),
    ] {
        let request = world.request(method, &path).body(body.to_string());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let expected = format!("application/vnd.ibm.kms.{media_type}+json");
        assert_eq!(
            answer.headers()["content-type"],
            expected.as_str(),
            "{path}"
        );
    }
    // What is only read is plain JSON, unless a mode says otherwise.
    for path in ["keys", "key_rings", "instance/policies"] {
        world.modes(json!({ "readMediaType": false }));
        assert_eq!(
            world.get(path).await.headers["content-type"],
            "application/json"
        );
        world.modes(json!({ "readMediaType": true }));
        let own = world.get(path).await.headers["content-type"].clone();
        assert!(
            own.to_str()
                .unwrap()
                .starts_with("application/vnd.ibm.kms."),
            "{path}"
        );
    }
}

#[tokio::test]
async fn states_and_statuses_are_integers_and_dates_have_a_zone() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "expirationDate": "2999-01-01T00:00:00Z" }));
    assert_eq!(
        world
            .send(Method::DELETE, &format!("keys/{key}"))
            .await
            .status,
        200
    );
    let metadata = world.get(&format!("keys/{key}/metadata")).await;
    let key = metadata.resource();
    assert!(key["state"].is_u64() && key["nonactiveStateReason"].is_u64());
    for name in [
        "creationDate",
        "lastUpdateDate",
        "expirationDate",
        "deletionDate",
        "restoreExpirationDate",
        "purgeAllowedFrom",
        "purgeScheduledOn",
    ] {
        let date = key[name].as_str().unwrap();
        assert!(
            date.ends_with('Z') && date.parse::<jiff::Timestamp>().is_ok(),
            "{name}: {date}"
        );
    }
    let refused = world.get("keys?limit=5001").await;
    assert_eq!(refused.resource()["reasons"][0]["status"], 400);
}

#[tokio::test]
async fn prefer_decides_what_deletion_and_restoration_answer() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "payload": "aGk=" }));
    let ask = async |method: Method, path: String, prefer: &str| {
        let request = world.request(method, &path).header("Prefer", prefer);
        crate::support::read(request.send().await.unwrap()).await
    };
    let minimal = ask(Method::DELETE, format!("keys/{key}"), "return=minimal").await;
    assert_eq!((minimal.status, minimal.text.as_str()), (204, ""));
    world.emulator.set_clock_offset(31);
    let path = format!("keys/{key}/restore");
    let restored = ask(Method::POST, path, "return=representation").await;
    assert_eq!(
        (restored.status, &restored.resource()["payload"]),
        (201, &json!("aGk="))
    );
    let full = ask(
        Method::DELETE,
        format!("keys/{key}"),
        "RETURN=representation",
    )
    .await;
    assert_eq!(
        (full.status, full.resource()["id"].as_str()),
        (200, Some(key.as_str()))
    );
}

#[tokio::test]
async fn point_20_an_uninitialised_crypto_unit_makes_everything_unavailable() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let before = world.emulator.keys(INSTANCE).unwrap();
    let count = async |uninitialized: bool| {
        world.modes(json!({ "cryptoUnitUninitialized": uninitialized }));
        world.send(Method::HEAD, "keys").await
    };
    assert_eq!(count(false).await.status, 200);
    let head = count(true).await;
    assert_eq!((head.status, head.headers.get("key-total")), (503, None));
    for path in [
        "keys".to_owned(),
        format!("keys/{key}"),
        format!("keys/{key}/metadata"),
        "key_rings".to_owned(),
    ] {
        assert_eq!(world.get(&path).await.status, 503, "{path}");
    }
    let wrap = format!("keys/{key}/actions/wrap");
    assert_eq!(world.post(&wrap, &json!({})).await.status, 503);
    for (operation, method, path) in writes(&key) {
        let refused = world.send(method, &path).await;
        assert_eq!((refused.status, refused.code()), (503, None), "{operation}");
    }
    assert_eq!(world.emulator.keys(INSTANCE).unwrap(), before);
}

#[tokio::test]
async fn point_16_pages_can_be_slow() {
    let world = World::plain().await;
    world.modes(json!({ "pageDelayMs": 200 }));
    #[allow(clippy::disallowed_methods)] // The delay is of the real clock.
    let now = std::time::Instant::now;
    let start = now();
    assert_eq!(world.get("keys").await.status, 200);
    assert!(start.elapsed().as_millis() >= 200);
}
