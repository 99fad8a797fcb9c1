//! The admin port: every order in its README, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Read, World, read};

const ID: &str = "bbbbbbbb-0000-4000-8000-000000000001";

async fn order(world: &World, method: Method, path: &str, body: Option<Value>) -> Read {
    let request = world
        .client
        .request(method, format!("{}{path}", world.emulator.admin_url()));
    let request = match body {
        Some(body) => request
            .header("content-type", "application/json")
            .body(body.to_string()),
        None => request,
    };
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn every_order_of_the_admin_port_is_carried_out() {
    let world = World::plain().await;
    let made = |path: &str, body: Value| {
        let (world, path) = (&world, path.to_owned());
        async move {
            let answer = order(world, Method::POST, &path, Some(body)).await;
            assert_eq!(answer.status, 201, "{path}: {}", answer.text);
            answer.body
        }
    };
    made("/instances", json!({ "id": ID })).await;
    let role = json!([{ "instance": ID, "role": "Manager", "keyRing": "ring-a" }]);
    made(
        "/service-ids",
        json!({ "name": "app", "apiKey": "one", "roles": role }),
    )
    .await;
    made("/api-keys", json!({ "serviceId": "app", "apiKey": "two" })).await;
    let profile = json!({ "name": "pod", "trust": { "namespace": "n", "serviceAccount": "s" } });
    made("/profiles", profile).await;
    let key = made(
        &format!("/instances/{ID}/keys"),
        json!({ "name": "key", "payload": "aGk=", "extractable": true, "aliases": ["old"],
                "keyRing": "ring-a", "expirationDate": "2999-01-01T00:00:00Z",
                "creationDate": "2020-01-01T00:00:00Z",
                "id": "cccccccc-0000-4000-8000-000000000001" }),
    )
    .await;
    assert_eq!(
        (&key["payload"], &key["keyRingID"]),
        (&json!("aGk="), &json!("ring-a"))
    );
    let key = key["id"].as_str().unwrap().to_owned();
    let bulk = json!({ "count": 12, "prefix": "bulk-", "aliasPrefix": "alias-" });
    let bulk = made(&format!("/instances/{ID}/keys/bulk"), bulk).await;
    assert_eq!(bulk["ids"].as_array().unwrap().len(), 12);
    made(&format!("/instances/{ID}/snapshots/before"), json!(null)).await;

    let of_key = |rest: &str| format!("/instances/{ID}/keys/{key}{rest}");
    let of_instance = |rest: &str| format!("/instances/{ID}{rest}");
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    let orders = [
        (
            &post,
            of_key("/state"),
            Some(json!({ "state": "deactivated" })),
        ),
        (&post, of_key("/state"), Some(json!({ "state": 1 }))),
        (&delete, of_key(""), None),
        (&post, of_key("/restore"), None),
        (&put, of_key("/ring"), Some(json!({ "keyRing": "ring-b" }))),
        (
            &put,
            of_key("/expiration"),
            Some(json!({ "expirationDate": null })),
        ),
        (
            &put,
            of_instance("/aliases/alias-00"),
            Some(json!({ "keyId": key })),
        ),
        (&delete, of_instance("/aliases/old"), None),
        (&post, of_instance("/expiry-pass"), None),
        (
            &put,
            "/service-ids/app/roles".to_owned(),
            Some(json!({ "roles": [] })),
        ),
        (&delete, "/api-keys/two".to_owned(), None),
        (
            &put,
            "/tokens/lifetime".to_owned(),
            Some(json!({ "seconds": 60 })),
        ),
        (&post, "/tokens/revoke".to_owned(), None),
        (
            &put,
            "/faults/f".to_owned(),
            Some(json!({ "effect": { "delayMs": 1 } })),
        ),
        (&delete, "/faults/f".to_owned(), None),
        (&delete, "/faults".to_owned(), None),
    ];
    for (method, path, body) in orders {
        let answer = order(&world, method.clone(), &path, body).await;
        assert_eq!(answer.status, 204, "{method} {path}: {}", answer.text);
    }

    let keys = order(&world, Method::GET, &of_instance("/keys"), None).await;
    let keys = keys.body["keys"].as_array().unwrap().clone();
    let changed = keys.iter().find(|row| row["id"] == key.as_str()).unwrap();
    assert_eq!(
        (
            &changed["aliases"],
            &changed["keyRingID"],
            changed.get("expirationDate")
        ),
        (&json!(["alias-00"]), &json!("ring-b"), None)
    );
    let failover = json!({ "ageSeconds": 1, "readOnlySeconds": 0 });
    let path = of_instance("/failover");
    let unkept = order(&world, post.clone(), &path, Some(failover)).await;
    assert_eq!(unkept.status, 400);
    assert!(unkept.text.contains("historySeconds"), "{}", unkept.text);
    let of_no_age = order(&world, post.clone(), &path, Some(json!({}))).await;
    assert_eq!(of_no_age.status, 204);
    let purged = order(
        &world,
        post,
        &of_key("/state"),
        Some(json!({ "state": "purged" })),
    )
    .await;
    assert_eq!(purged.status, 204);
    let back = order(&world, put.clone(), &of_instance("/snapshots/before"), None).await;
    assert_eq!(back.status, 204);
    let keys = order(&world, Method::GET, &of_instance("/keys"), None).await;
    assert_eq!(keys.body["keys"].as_array().unwrap().len(), 13);

    let modes = json!({ "listOmitKeys": [key], "deletedGet": 410 });
    let set = order(&world, put.clone(), "/modes", Some(modes)).await;
    assert_eq!((set.status, &set.body["deletedGet"]), (200, &json!(410)));
    let patched = order(
        &world,
        Method::PATCH,
        "/modes",
        Some(json!({ "listHalf": true })),
    )
    .await;
    assert_eq!(
        (&patched.body["deletedGet"], &patched.body["listHalf"]),
        (&json!(410), &json!(true))
    );
    let reset = order(&world, put.clone(), "/modes", Some(json!({}))).await;
    assert_eq!(reset.body["deletedGet"], 200);
    let clock = order(&world, put, "/clock", Some(json!({ "offsetSeconds": 9 }))).await;
    assert_eq!(clock.body["offsetSeconds"], 9);
    assert_eq!(
        order(&world, delete, &of_instance(""), None).await.status,
        204
    );
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused_with_a_reason() {
    let world = World::plain().await;
    let cases = [
        (
            Method::POST,
            "/instances/none/keys",
            json!({ "name": "key" }),
            404,
        ),
        (
            Method::POST,
            "/instances",
            json!({ "id": crate::support::INSTANCE }),
            409,
        ),
        (Method::POST, "/instances", json!({ "name": "x" }), 422),
        (Method::PUT, "/modes", json!({ "listHalves": true }), 422),
        (Method::PATCH, "/modes", json!({ "listHalves": true }), 400),
        (
            Method::PUT,
            "/faults/f",
            json!({ "effect": { "body": "odd" } }),
            422,
        ),
        (
            Method::PUT,
            "/service-ids/nobody/roles",
            json!({ "roles": [] }),
            404,
        ),
    ];
    for (method, path, body, status) in cases {
        let answer = order(&world, method.clone(), path, Some(body)).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert!(!answer.text.is_empty());
    }
}
