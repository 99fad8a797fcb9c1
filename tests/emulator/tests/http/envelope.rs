//! Envelope encryption and the versions of root keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{INSTANCE, Read, World, read, roles, wrapped};

async fn act(world: &World, key: &str, action: &str, body: Value) -> Read {
    world
        .post(&format!("keys/{key}/actions/{action}"), &body)
        .await
}

#[tokio::test]
async fn point_13_data_keys_are_wrapped_bound_to_their_data_and_wrapped_anew() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let plaintext = STANDARD.encode(b"a data key");
    let made = act(
        &world,
        &key,
        "wrap",
        json!({ "plaintext": plaintext, "aad": ["a", "b"] }),
    )
    .await;
    assert_eq!(made.status, 200, "{}", made.text);
    // What the caller brought along is not told again.
    assert_eq!(made.body.get("plaintext"), None);
    let old = made.body["ciphertext"].as_str().unwrap().to_owned();
    let first = made.body["keyVersion"]["id"].clone();
    let form: Value = serde_json::from_slice(&STANDARD.decode(&old).unwrap()).unwrap();
    assert_eq!(
        (&form["version"], &form["handle"]),
        (&json!("4.0.0"), &first)
    );
    assert!(!old.contains(&plaintext) && form["iv"].is_string());

    let opened = act(
        &world,
        &key,
        "unwrap",
        json!({ "ciphertext": old, "aad": ["a", "b"] }),
    )
    .await;
    assert_eq!(
        opened.body,
        json!({ "plaintext": plaintext, "keyVersion": { "id": first } })
    );
    for aad in [json!(["a"]), json!(["ab"]), json!(["b", "a"]), json!([])] {
        let refused = act(
            &world,
            &key,
            "unwrap",
            json!({ "ciphertext": old, "aad": aad }),
        )
        .await;
        let outcome = (refused.status, refused.code());
        assert_eq!(
            outcome,
            (422, Some("UNPROCESSABLE_CIPHERTEXT_ERR")),
            "{aad}"
        );
    }
    let other = world.key(json!({ "name": "other", "extractable": false }));
    let stranger = json!({ "ciphertext": old, "aad": ["a", "b"] });
    assert_eq!(act(&world, &other, "unwrap", stranger).await.status, 422);

    // After a rotation, the old text still opens, and comes back wrapped anew.
    assert_eq!(act(&world, &key, "rotate", Value::Null).await.status, 204);
    let reopened = act(
        &world,
        &key,
        "unwrap",
        json!({ "ciphertext": old, "aad": ["a", "b"] }),
    )
    .await;
    assert_eq!(reopened.body["plaintext"], plaintext.as_str());
    assert_eq!(reopened.body["keyVersion"]["id"], first);
    let second = reopened.body["rewrappedKeyVersion"]["id"].clone();
    assert_ne!(second, first);
    let rewrapped = act(
        &world,
        &key,
        "rewrap",
        json!({ "ciphertext": old, "aad": ["a", "b"] }),
    )
    .await;
    assert_eq!(rewrapped.body["keyVersion"]["id"], first);
    assert_eq!(rewrapped.body["rewrappedKeyVersion"]["id"], second);
    assert_eq!(rewrapped.body.get("plaintext"), None);
    for new in [&reopened, &rewrapped] {
        let ciphertext = &new.body["ciphertext"];
        let body = json!({ "ciphertext": ciphertext, "aad": ["a", "b"] });
        let opened = act(&world, &key, "unwrap", body).await;
        assert_eq!(
            opened.body,
            json!({ "plaintext": plaintext, "keyVersion": { "id": second } })
        );
    }
}

#[tokio::test]
async fn point_13_a_data_key_is_made_when_none_is_brought_along() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false, "aliases": ["the-root"] }));
    // No body, `null`, `{}` and an empty text are all no plaintext.
    let path = "keys/the-root/actions/wrap";
    let bare = world.send(Method::POST, path).await;
    let mut made = vec![bare];
    for body in [Value::Null, json!({}), json!({ "plaintext": "" })] {
        made.push(world.post(path, &body).await);
    }
    for made in &made {
        let plaintext = STANDARD
            .decode(made.body["plaintext"].as_str().unwrap())
            .unwrap();
        assert_eq!((made.status, plaintext.len()), (200, 32));
        let body = json!({ "ciphertext": made.body["ciphertext"] });
        let opened = act(&world, &key, "unwrap", body).await;
        assert_eq!(opened.body["plaintext"], made.body["plaintext"]);
    }
    assert_ne!(made[0].body["plaintext"], made[1].body["plaintext"]);
    // A Reader wraps; who has no role does not.
    let reader = world.token_for("reader", &roles("Reader")).await;
    let nobody = world.token_for("nobody", &json!([])).await;
    for (token, status) in [(reader, 200), (nobody, 401)] {
        let request = world.as_caller(&token, Method::POST, path);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn bodies_of_actions_are_refused_with_their_documented_codes() {
    let world = World::plain().await;
    let root = world.key(json!({ "name": "root", "extractable": false }));
    let standard = world.key(json!({ "name": "standard" }));
    let long = "x".repeat(256);
    for (key, action, body, status, code) in [
        (
            &root,
            "wrap",
            json!({ "plaintext": "no base64!" }),
            400,
            "INVALID_FIELD_ERR",
        ),
        (
            &root,
            "wrap",
            json!({ "aad": [long] }),
            400,
            "INVALID_FIELD_ERR",
        ),
        (
            &root,
            "wrap",
            json!({ "aad": "text" }),
            400,
            "INVALID_FIELD_ERR",
        ),
        (
            &root,
            "wrap",
            json!({ "colour": "red" }),
            400,
            "BAD_BODY_ERR",
        ),
        (&root, "unwrap", Value::Null, 400, "NO_BODY_ERR"),
        (&root, "unwrap", json!({}), 400, "INVALID_FIELD_ERR"),
        (
            &root,
            "rewrap",
            json!({ "ciphertext": "bm9uZQ==" }),
            422,
            "UNPROCESSABLE_CIPHERTEXT_ERR",
        ),
        (
            &root,
            "rotate",
            json!({ "payload": "aGk=" }),
            400,
            "INVALID_FIELD_ERR",
        ),
        (&standard, "wrap", json!({}), 400, "KEY_ROOT_REQ_ERR"),
        (&standard, "rotate", Value::Null, 400, "KEY_ROOT_REQ_ERR"),
    ] {
        let refused = act(&world, key, action, body.clone()).await;
        assert_eq!(
            (refused.status, refused.code()),
            (status, Some(code)),
            "{action} {body}"
        );
    }
    let bad = act(&world, &root, "wrap", json!({ "plaintext": "no base64!" })).await;
    assert_eq!(bad.resource()["reasons"][0]["target"]["name"], "plaintext");
}

#[tokio::test]
async fn what_a_root_key_does_depends_on_its_state() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let wrapped = act(&world, &key, "wrap", json!({})).await.body["ciphertext"].clone();
    for (state, wrap, unwrap, rotate) in [
        ("suspended", 409, 409, 409),
        ("deactivated", 409, 200, 204),
        ("deleted", 410, 410, 410),
    ] {
        world
            .emulator
            .set_key_state(INSTANCE, &key, &json!(state))
            .unwrap();
        let statuses = (
            act(&world, &key, "wrap", json!({})).await.status,
            act(&world, &key, "unwrap", json!({ "ciphertext": wrapped }))
                .await
                .status,
            act(&world, &key, "rotate", Value::Null).await.status,
        );
        assert_eq!(statuses, (wrap, unwrap, rotate), "{state}");
    }
    let refused = act(&world, &key, "wrap", json!({})).await;
    assert_eq!(refused.code(), Some("KEY_DELETED_ERR"));
}

#[tokio::test]
async fn point_9_a_root_key_rotates_at_most_once_an_hour() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let path = format!("keys/{key}/metadata");
    assert_eq!(
        world.get(&path).await.resource().get("lastRotateDate"),
        None
    );
    assert_eq!(act(&world, &key, "rotate", Value::Null).await.status, 204);
    assert!(world.get(&path).await.resource()["lastRotateDate"].is_string());
    let early = act(&world, &key, "rotate", Value::Null).await;
    assert_eq!(
        (early.status, early.code()),
        (409, Some("KEY_ROTATION_NOT_PERMITTED"))
    );
    world.emulator.set_token_lifetime(100_000);
    let answer = world.ask_token("/identity/token", "key-of-manager").await;
    let token = answer.body["access_token"].as_str().unwrap().to_owned();
    world.emulator.set_clock_offset(3601);
    let later = world.as_caller(&token, Method::POST, &format!("keys/{key}/actions/rotate"));
    assert_eq!(later.send().await.unwrap().status(), 204);

    let listed = world
        .get_as(&token, &format!("keys/{key}/versions?totalCount=true"))
        .await;
    let dates: Vec<&str> = listed.body["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["creationDate"].as_str().unwrap())
        .collect();
    assert_eq!(
        (dates.len(), &listed.body["metadata"]["totalCount"]),
        (3, &json!(3))
    );
    assert!(
        dates.is_sorted_by(|newer, older| newer >= older),
        "the newest first: {dates:?}"
    );
    let page = world
        .get_as(&token, &format!("keys/{key}/versions?limit=1&offset=1"))
        .await;
    assert_eq!(page.resource()["id"], listed.body["resources"][1]["id"]);
    let metadata = world.get_as(&token, &path).await;
    assert_eq!(
        metadata.resource()["keyVersion"]["id"],
        listed.body["resources"][0]["id"]
    );
}

#[tokio::test]
async fn an_imported_root_key_rotates_only_with_new_material() {
    let world = World::plain().await;
    let body = wrapped(&json!({ "name": "imported", "extractable": false,
                                "payload": STANDARD.encode([1; 16]) }));
    let key = world.post("keys", &body).await.resource()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let sealed = act(&world, &key, "wrap", json!({ "plaintext": "aGk=" }))
        .await
        .body["ciphertext"]
        .clone();
    let bare = act(&world, &key, "rotate", json!({})).await;
    assert_eq!(
        (bare.status, bare.code()),
        (400, Some("KEY_PAYLOAD_REQ_ERR"))
    );
    let short = act(&world, &key, "rotate", json!({ "payload": "aGk=" })).await;
    assert_eq!(short.resource()["reasons"][0]["target"]["name"], "payload");
    let payload = STANDARD.encode([2; 24]);
    assert_eq!(
        act(&world, &key, "rotate", json!({ "payload": payload }))
            .await
            .status,
        204
    );
    // AES-128 sealed it, and AES-192 seals it now.
    let opened = act(&world, &key, "unwrap", json!({ "ciphertext": sealed })).await;
    assert_eq!(opened.body["plaintext"], "aGk=");
    let again = act(
        &world,
        &key,
        "unwrap",
        json!({ "ciphertext": opened.body["ciphertext"] }),
    )
    .await;
    assert_eq!(again.body["keyVersion"], opened.body["rewrappedKeyVersion"]);
}

#[tokio::test]
async fn the_deprecated_form_of_actions_answers_the_same_under_another_type() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let made = world
        .post(
            &format!("keys/{key}?action=wrap"),
            &json!({ "plaintext": "aGk=" }),
        )
        .await;
    let body = json!({ "ciphertext": made.body["ciphertext"] });
    let opened = world
        .post(&format!("keys/{key}?action=unwrap"), &body)
        .await;
    assert_eq!(opened.body["plaintext"], "aGk=");
    for answer in [&made, &opened] {
        let of_any_action = "application/vnd.ibm.kms.key_action+json";
        assert_eq!(answer.headers["content-type"], of_any_action);
    }
    for (action, status) in [("rotate", 204), ("disable", 204), ("nonsense", 404)] {
        let path = format!("keys/{key}?action={action}");
        assert_eq!(
            world.send(Method::POST, &path).await.status,
            status,
            "{action}"
        );
    }
    assert_eq!(
        world
            .send(Method::DELETE, &format!("keys/{key}"))
            .await
            .status,
        200
    );
    world.emulator.set_clock_offset(31);
    let request = world.request(Method::POST, &format!("keys/{key}?action=restore"));
    let restored = read(request.send().await.unwrap()).await;
    assert_eq!(
        (restored.status, &restored.resource()["state"]),
        (201, &json!(2))
    );
}
