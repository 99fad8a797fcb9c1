//! What other services of IBM Cloud do, and what the service refuses to people
//! and to them; what is broken inside it.

use key_protect_emulator::{Emulator, Options};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{INSTANCE, Read, World, read, roles, wrapped};

/// Two buckets and a database, escaped for a path.
const BUCKET: &str =
    "crn%3Av1%3Abluemix%3Apublic%3Acloud-object-storage%3Aglobal%3Aa%2F1%3A2%3Abucket%3Ab";
const DATABASE: &str =
    "crn%3Av1%3Abluemix%3Apublic%3Adatabases-for-postgresql%3Aus-south%3Aa%2F1%3A2%3A%3A";

/// A world with a service that keeps buckets.
struct Storage {
    world: World,
    token: String,
}

impl Storage {
    async fn new() -> Self {
        let world = World::plain().await;
        let new = json!({ "name": "storage", "apiKey": "key-of-storage",
            "roles": roles("Reader"), "service": "cloud-object-storage" });
        let new = serde_json::from_value(new).unwrap();
        world.emulator.create_service_id(new).unwrap();
        let answer = world.ask_token("/identity/token", "key-of-storage").await;
        let token = answer.body["access_token"].as_str().unwrap().to_owned();
        Self { world, token }
    }

    async fn send(&self, method: Method, path: &str, resource: &Value) -> Read {
        let request = self.world.as_caller(&self.token, method, path);
        let body = wrapped(resource).to_string();
        read(request.body(body).send().await.unwrap()).await
    }

    fn root(&self, name: &str, created: &str) -> String {
        self.world
            .key(json!({ "name": name, "extractable": false, "creationDate": created }))
    }
}

fn answer(read: &Read) -> (u16, Option<&str>) {
    (read.status, read.code())
}

#[tokio::test]
async fn registrations_are_made_changed_and_ended_by_the_service_that_they_are_of() {
    let storage = Storage::new().await;
    let world = &storage.world;
    let key = storage.root("root", "2026-01-01T00:00:00Z");
    let path = format!("keys/{key}/registrations/{BUCKET}");
    let wanted = json!({ "description": "a bucket", "registrationMetadata": "of ours",
        "preventKeyDeletion": true });
    let made = storage.send(Method::POST, &path, &wanted).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let crn = "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:bucket:b";
    assert_eq!(made.resource()["resourceCrn"], crn);
    assert_eq!(made.resource()["keyVersion"]["id"], key.as_str());
    assert_eq!(storage.send(Method::POST, &path, &wanted).await.status, 409);
    let listed = world.get(&format!("keys/{key}/registrations")).await;
    assert_eq!(listed.resource()["description"], "a bucket");
    assert!(!listed.text.contains("of ours"), "{}", listed.text);
    let delete = async |path: &str| world.send(Method::DELETE, path).await;
    assert_eq!(
        answer(&delete(&format!("keys/{key}?force=true")).await),
        (409, Some("PREV_KEY_DEL_ERR"))
    );
    let change = json!({ "preventKeyDeletion": false });
    let changed = storage.send(Method::PATCH, &path, &change).await;
    assert_eq!(changed.resource()["preventKeyDeletion"], false);
    assert_eq!(changed.resource()["description"], "a bucket");
    assert_eq!(
        storage.send(Method::DELETE, &path, &json!({})).await.status,
        204
    );
    assert_eq!(
        storage.send(Method::PATCH, &path, &change).await.status,
        404
    );
    assert_eq!(delete(&format!("keys/{key}")).await.status, 200);
    assert_eq!(
        answer(&storage.send(Method::POST, &path, &wanted).await),
        (422, Some("KEY_INVALID_STATE_ERR"))
    );
    let standard = world.key(json!({ "name": "standard" }));
    let path = format!("keys/{standard}/registrations/{BUCKET}");
    assert_eq!(
        answer(&storage.send(Method::POST, &path, &wanted).await),
        (422, Some("KEY_ROOT_REQ_REG_ERR"))
    );
}

#[tokio::test]
async fn a_person_registers_nothing_and_a_service_only_what_is_its_own() {
    let storage = Storage::new().await;
    let world = &storage.world;
    let key = storage.root("root", "2026-01-01T00:00:00Z");
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let path = format!("keys/{key}/registrations/{BUCKET}");
        let body = wrapped(&json!({ "description": "mine" })).to_string();
        let request = world.request(method.clone(), &path).body(body);
        let refused = read(request.send().await.unwrap()).await;
        assert_eq!(
            answer(&refused),
            (403, Some("SERVICE_ONLY_ERR")),
            "{method}"
        );
        let path = format!("keys/{key}/registrations/{DATABASE}");
        let refused = storage.send(method.clone(), &path, &json!({})).await;
        assert_eq!(
            answer(&refused),
            (403, Some("RESOURCE_OWNER_ERR")),
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_service_deletes_no_key_whatever_its_role() {
    let storage = Storage::new().await;
    let roles = serde_json::from_value(roles("Manager")).unwrap();
    storage.world.emulator.set_roles("storage", roles).unwrap();
    let key = storage.root("root", "2026-01-01T00:00:00Z");
    let path = format!("keys/{key}");
    let refused = storage.send(Method::DELETE, &path, &json!({})).await;
    assert_eq!(answer(&refused), (403, Some("RESOURCE_OWNER_ERR")));
    assert_eq!(storage.world.get(&path).await.resource()["state"], 1);
}

#[tokio::test]
async fn a_registration_never_goes_back_to_an_older_version_or_key() {
    let storage = Storage::new().await;
    let world = &storage.world;
    let older = storage.root("older", "2026-01-01T00:00:00Z");
    let newer = storage.root("newer", "2026-02-01T00:00:00Z");
    let path = |key: &str| format!("keys/{key}/registrations/{BUCKET}");
    let nothing = json!({});
    let put = async |key: &str| storage.send(Method::PUT, &path(key), &nothing).await;
    assert_eq!(put(&newer).await.status, 404, "there is nothing to replace");
    let made = storage.send(Method::POST, &path(&older), &nothing).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let replaced = put(&newer).await;
    assert_eq!(replaced.resource()["keyId"], newer.as_str());
    assert_eq!(
        answer(&put(&older).await),
        (422, Some("KEY_VERSION_INVALID"))
    );

    let rotate = format!("keys/{newer}/actions/rotate");
    assert_eq!(world.send(Method::POST, &rotate).await.status, 204);
    let metadata = world.get(&format!("keys/{newer}/metadata")).await;
    let newest = &metadata.resource()["keyVersion"]["id"];
    let patch = async |version: &Value| {
        let change = json!({ "keyVersionId": version });
        storage.send(Method::PATCH, &path(&newer), &change).await
    };
    let moved = patch(newest).await;
    assert_eq!(&moved.resource()["keyVersion"]["id"], newest);
    assert_eq!(
        answer(&patch(&json!(newer)).await),
        (422, Some("KEY_VERSION_INVALID")),
        "the first version has the key's own ID"
    );
    let unknown = patch(&json!("00000000-0000-4000-8000-000000000000")).await;
    assert_eq!(answer(&unknown), (400, Some("INVALID_FIELD_ERR")));
}

#[tokio::test]
async fn a_key_with_broken_metadata_can_only_be_deleted() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "broken", "payload": "aGVsbG8=" }));
    let damage = async |body: Value| {
        let url = format!(
            "{}/instances/{INSTANCE}/keys/{key}/damage",
            world.emulator.admin_url()
        );
        let request = world
            .client
            .put(url)
            .header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(damage(json!({ "damage": "paint" })).await, 422);
    assert_eq!(damage(json!({ "damage": "metadata" })).await, 204);
    for path in [format!("keys/{key}"), format!("keys/{key}/metadata")] {
        let refused = world.get(&path).await;
        assert_eq!(answer(&refused), (500, Some("INCOMPLETE_METADATA_ERR")));
        assert!(refused.body["resources"][0]["errorMsg"].is_string());
    }
    assert_eq!(damage(json!({ "damage": null })).await, 204);
    assert_eq!(world.get(&format!("keys/{key}")).await.status, 200);
    assert_eq!(damage(json!({ "damage": "metadata" })).await, 204);
    let deleted = world.send(Method::DELETE, &format!("keys/{key}")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
}

#[tokio::test]
async fn a_data_key_whose_signature_is_broken_is_not_rewrapped() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let path = |action: &str| format!("keys/{key}/actions/{action}");
    let wrapped = world.post(&path("wrap"), &json!({})).await;
    let asked = json!({ "ciphertext": wrapped.body["ciphertext"] });
    let damage = serde_json::from_value(json!("signature")).unwrap();
    world
        .emulator
        .damage_key(INSTANCE, &key, Some(damage))
        .unwrap();
    let refused = world.post(&path("rewrap"), &asked).await;
    assert_eq!(answer(&refused), (422, Some("INVALID_SIG_EXP_ERR")));
    assert_eq!(world.post(&path("unwrap"), &asked).await.status, 200);
    world.emulator.damage_key(INSTANCE, &key, None).unwrap();
    assert_eq!(world.post(&path("rewrap"), &asked).await.status, 200);
}

async fn set_policy(world: &World, name: &str, attributes: Value) -> u16 {
    let data = json!({ "enabled": true, "attributes": attributes });
    let body = wrapped(&json!({ "policy_type": name, "policy_data": data }));
    let path = format!("instance/policies?policy={name}");
    let request = world.request(Method::PUT, &path).body(body.to_string());
    request.send().await.unwrap().status().as_u16()
}

async fn ask_as(world: &World, host: &str) -> Read {
    let request = world.request(Method::GET, "keys").header("host", host);
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_public_endpoint_is_closed_where_only_private_ones_are_allowed() {
    let world = World::plain().await;
    let network = |name: &str| json!({ "allowed_network": name });
    assert_eq!(
        set_policy(&world, "allowedNetwork", network("private-only")).await,
        204
    );
    let private = "private.us-south.kms.cloud.ibm.com";
    let dedicated = "guid.api.private.us-south.kms.appdomain.cloud";
    for (host, expected) in [
        (
            "us-south.kms.cloud.ibm.com",
            (403, Some("CONFIG_RULE_CONFLICT_ERR")),
        ),
        (private, (200, None)),
        (dedicated, (200, None)),
        ("private-qsc.us-south.kms.cloud.ibm.com", (200, None)),
    ] {
        assert_eq!(answer(&ask_as(&world, host).await), expected, "{host}");
    }
    let open = wrapped(&json!({ "policy_type": "allowedNetwork",
        "policy_data": { "enabled": true, "attributes": network("public-and-private") } }));
    let request = world
        .request(Method::PUT, "instance/policies?policy=allowedNetwork")
        .header("host", private);
    let opened = request.body(open.to_string()).send().await.unwrap();
    assert_eq!(opened.status(), 204);
    assert_eq!(world.get("keys").await.status, 200);
}

#[tokio::test]
async fn an_address_of_ipv6_is_none_for_the_allowed_ip_policy_of_a_private_endpoint() {
    let mut world = World::plain().await;
    let listen = "[::1]:0".parse().unwrap();
    world.emulator = Emulator::start(Options {
        listen,
        ..Options::default()
    })
    .await
    .unwrap();
    let new = serde_json::from_value(json!({ "id": INSTANCE })).unwrap();
    world.emulator.create_instance(new).unwrap();
    world.token = world.token_for("manager", &roles("Manager")).await;
    let networks = json!({ "allowed_ip": ["::1/128", "127.0.0.0/8"] });
    assert_eq!(set_policy(&world, "allowedIP", networks).await, 204);
    assert_eq!(
        ask_as(&world, "us-south.kms.cloud.ibm.com").await.status,
        200
    );
    let refused = ask_as(&world, "private.us-south.kms.cloud.ibm.com").await;
    assert_eq!(answer(&refused), (403, Some("FEATURE_RESTRICTED_ERR")));
}
