//! What is emulated only as far as IBM's suite uses it, and says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{World, wrapped};

#[tokio::test]
async fn an_import_token_is_retrieved_until_it_is_used_up_and_imports_nothing() {
    let world = World::plain().await;
    assert_eq!(
        world.get("import_token").await.code(),
        Some("IMPORT_TOKEN_EXPIRED_ERR")
    );
    let asked = json!({ "expiration": 600.0, "maxAllowedRetrievals": 1 });
    let made = world.post("import_token", &asked).await;
    assert_eq!(
        (made.status, &made.body["remainingRetrievals"]),
        (200, &json!(1))
    );
    let token = world.get("import_token").await;
    let pem = STANDARD
        .decode(token.body["payload"].as_str().unwrap())
        .unwrap();
    assert!(
        String::from_utf8(pem)
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----")
    );
    assert!(token.body["nonce"].is_string());
    assert_eq!(world.get("import_token").await.status, 409);
    assert_eq!(
        world
            .post("import_token", &json!({ "expiration": 299 }))
            .await
            .status,
        400
    );
    let encrypted = wrapped(
        &json!({ "name": "key", "extractable": false, "payload": "aGk=",
        "encryptedNonce": "aGk=", "iv": "aGk=", "encryptionAlgorithm": "RSAES_OAEP_SHA_256" }),
    );
    assert_eq!(world.post("keys", &encrypted).await.status, 501);
}

#[tokio::test]
async fn kmip_adapters_and_certificates_are_kept_by_id_and_name() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let new =
        json!({ "name": "adapter", "profile": "native_1.0", "profile_data": { "crk_id": key } });
    let made = world.post("kmip_adapters", &wrapped(&new)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.resource()["id"].as_str().unwrap().to_owned();
    for name in ["adapter", &id] {
        let read = world.get(&format!("kmip_adapters/{name}")).await;
        assert_eq!(read.resource()["profile_data"]["crk_id"], key.as_str());
    }
    assert_eq!(
        world.post("kmip_adapters", &wrapped(&new)).await.status,
        409
    );
    let mut lost = new;
    lost["name"] = json!("other");
    lost["profile_data"]["crk_id"] = json!("00000000-0000-4000-8000-000000000000");
    assert_eq!(
        world.post("kmip_adapters", &wrapped(&lost)).await.code(),
        Some("KEY_NOT_FOUND_ERR")
    );

    let certificate = |pem: &str| wrapped(&json!({ "name": "cert", "certificate": pem }));
    let path = "kmip_adapters/adapter/certificates";
    assert_eq!(world.post(path, &certificate("no PEM")).await.status, 400);
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(world.post(path, &certificate(pem)).await.status, 201);
    let listed = world.get(path).await;
    assert_eq!(
        (
            &listed.resource()["name"],
            listed.resource().get("certificate")
        ),
        (&json!("cert"), None)
    );
    assert_eq!(
        world.get(&format!("{path}/cert")).await.resource()["certificate"],
        pem
    );
    assert_eq!(
        world
            .get("kmip_adapters/adapter/kmip_objects")
            .await
            .body
            .get("resources"),
        None
    );
    let object = world.get("kmip_adapters/adapter/kmip_objects/x").await;
    assert_eq!(
        (
            object.status,
            &object.body["resources"][0]["errorMsg"].is_string()
        ),
        (404, &true)
    );
    for path in [format!("{path}/cert"), format!("kmip_adapters/{id}")] {
        assert_eq!(world.send(Method::DELETE, &path).await.status, 204);
        assert_eq!(world.get(&path).await.status, 404);
    }
    assert_eq!(
        world.get("kmip_adapters").await.body["metadata"]["collectionTotal"],
        Value::from(0)
    );
}
