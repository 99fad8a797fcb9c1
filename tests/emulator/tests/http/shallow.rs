//! What is emulated only as far as IBM's suite uses it, and says so.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{World, wrapped};

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
