//! Where keys are found: aliases and rings.

use reqwest::Method;
use serde_json::json;

use crate::support::{INSTANCE, World, read, wrapped};

/// The words that the service keeps for itself.
const RESERVED: [&str; 16] = [
    "allowed_ip",
    "key",
    "keys",
    "metadata",
    "policy",
    "policies",
    "registration",
    "registrations",
    "ring",
    "rings",
    "rotate",
    "wrap",
    "unwrap",
    "rewrap",
    "version",
    "versions",
];

#[tokio::test]
async fn point_6_a_deleted_alias_lingers_and_cannot_be_taken_meanwhile() {
    let world = World::plain().await;
    let old = world.key(json!({ "name": "old", "aliases": ["db"] }));
    let new = world.key(json!({ "name": "new" }));
    world.modes(json!({ "aliasDeletionDelaySeconds": 300 }));
    assert_eq!(
        world
            .send(Method::DELETE, &format!("keys/{old}/aliases/db"))
            .await
            .status,
        204
    );
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = world.get("keys/db").await;
        if answer.status == 200 {
            assert_eq!(answer.resource()["id"], old.as_str());
        }
        statuses.push(answer.status);
    }
    assert_eq!(
        statuses,
        [200, 404, 200, 404],
        "caches disagree for a while"
    );
    let taken = world
        .send(Method::POST, &format!("keys/{new}/aliases/db"))
        .await;
    assert_eq!(
        (taken.status, taken.code()),
        (409, Some("ALIAS_NOT_UNIQUE_ERR"))
    );
    world.emulator.set_clock_offset(301);
    assert_eq!(world.get("keys/db").await.status, 404);
    let created = world
        .send(Method::POST, &format!("keys/{new}/aliases/db"))
        .await;
    assert_eq!(
        (created.status, &created.resource()["keyId"]),
        (201, &json!(new))
    );
    assert_eq!(world.get("keys/db").await.resource()["id"], new.as_str());
}

#[tokio::test]
async fn point_7_a_ring_that_a_key_is_on_its_way_to_is_not_empty() {
    let world = World::plain().await;
    world.modes(json!({ "ringMoveDelaySeconds": 600 }));
    assert_eq!(
        world.send(Method::POST, "key_rings/ring-a").await.status,
        201
    );
    let key = world.key(json!({ "name": "key" }));
    let patched = world
        .request(Method::PATCH, &format!("keys/{key}"))
        .body(json!({ "keyRingID": "ring-a" }).to_string());
    assert_eq!(patched.send().await.unwrap().status(), 200);
    assert_eq!(
        world.send(Method::DELETE, "key_rings/ring-a").await.status,
        409
    );
}

#[tokio::test]
async fn point_7_a_move_to_another_ring_takes_effect_late() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    assert_eq!(
        world.send(Method::POST, "key_rings/ring-a").await.status,
        201
    );
    world.modes(json!({ "ringMoveDelaySeconds": 600 }));
    let patch = async |ring: &str| {
        let body = json!({ "KeyRingID": ring }).to_string();
        let request = world.request(Method::PATCH, &format!("keys/{key}"));
        read(request.body(body).send().await.unwrap()).await
    };
    assert_eq!(patch("ring-a").await.status, 200);
    let ring = async || {
        let answer = world.get(&format!("keys/{key}/metadata")).await;
        answer.resource()["keyRingID"].as_str().unwrap().to_owned()
    };
    assert_eq!(ring().await, "default");
    world.emulator.set_clock_offset(601);
    assert_eq!(ring().await, "ring-a");
    assert_eq!(patch("ring-x").await.status, 404);
}

#[tokio::test]
async fn point_10_aliases_keep_every_rule() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let other = world.key(json!({ "name": "key" }));
    let give = async |key: &str, alias: &str| {
        world
            .send(Method::POST, &format!("keys/{key}/aliases/{alias}"))
            .await
    };
    let (longest, too_long) = ("x".repeat(90), "x".repeat(91));
    let bad = [
        "a",
        "with.dot",
        "02fd6835-6001-4482-a892-13bd2085f75d",
        "a%20b",
        &too_long,
    ];
    for bad in bad.into_iter().chain(RESERVED) {
        assert_eq!(
            give(&key, bad).await.code(),
            Some("INVALID_FIELD_ERR"),
            "{bad}"
        );
    }
    for number in 0..5 {
        assert_eq!(give(&key, &format!("alias-{number}")).await.status, 201);
    }
    assert_eq!(give(&key, "alias-5").await.status, 400);
    assert_eq!(give(&other, &longest).await.status, 201);
    assert_eq!(give(&other, "alias-0").await.status, 409);
    assert_eq!(
        give(&other, "Alias-0").await.status,
        201,
        "aliases are case-sensitive"
    );
    let wrong_key = world
        .send(Method::DELETE, &format!("keys/{other}/aliases/alias-0"))
        .await;
    assert_eq!(wrong_key.status, 404);
    // An alias also names the key that gets or loses one.
    assert_eq!(
        world
            .send(Method::DELETE, "keys/alias-0/aliases/alias-1")
            .await
            .status,
        204
    );
    let taken = wrapped(&json!({ "name": "third", "aliases": ["alias-0"] }));
    assert_eq!(world.post("keys", &taken).await.status, 409);
    let many =
        wrapped(&json!({ "name": "third", "aliases": ["a1", "a2", "a3", "a4", "a5", "a6"] }));
    assert_eq!(world.post("keys", &many).await.status, 400);
}

#[tokio::test]
async fn point_10_an_instance_has_so_many_aliases_and_no_more_when_told_to() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let give = async |alias: &str| {
        world
            .send(Method::POST, &format!("keys/{key}/aliases/{alias}"))
            .await
    };
    let make = async |aliases: &[&str]| {
        let new = json!({ "name": "other", "aliases": aliases });
        world.post("keys", &wrapped(&new)).await
    };
    // There is no limit by default.
    assert_eq!(make(&["a1", "a2"]).await.status, 201);

    world.modes(json!({ "aliasesPerInstance": 3 }));
    let refused = make(&["a3", "a4"]).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, Some("KEY_ALIAS_QUOTA_ERR"))
    );
    assert_eq!(give("a3").await.status, 201);
    let refused = give("a4").await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, Some("KEY_ALIAS_QUOTA_ERR"))
    );
    assert_eq!(give("a1").await.code(), Some("ALIAS_NOT_UNIQUE_ERR"));
    assert_eq!(make(&[]).await.status, 201);
    assert_eq!(world.get("keys").await.ids().len(), 3);

    // A deleted one makes room, even while it lingers.
    world.modes(json!({ "aliasesPerInstance": 3, "aliasDeletionDelaySeconds": 300 }));
    let path = format!("keys/{key}/aliases/a3");
    assert_eq!(world.send(Method::DELETE, &path).await.status, 204);
    assert_eq!(give("a4").await.status, 201);

    world.modes(json!({ "aliasesPerInstance": 0 }));
    assert_eq!(give("a5").await.status, 201);
}

#[tokio::test]
async fn point_20_a_ring_deleted_by_force_moves_its_destroyed_keys_to_default() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "keyRing": "ring-a" }));
    let grant = json!([{ "instance": INSTANCE, "role": "ReaderPlus", "keyRing": "ring-a" }]);
    let ringed = world.token_for("ringed", &grant).await;
    let seen = async || {
        let path = format!("keys/{key}/metadata");
        world.get_as(&ringed, &path).await.status
    };
    assert_eq!(seen().await, 200);
    assert_eq!(
        world.send(Method::DELETE, "key_rings/ring-a").await.status,
        409
    );
    assert_eq!(
        world
            .send(Method::DELETE, "key_rings/ring-a?force=true")
            .await
            .status,
        409
    );
    world
        .emulator
        .set_key_state(INSTANCE, &key, &json!("deleted"))
        .unwrap();
    assert_eq!(
        world.send(Method::DELETE, "key_rings/ring-a").await.status,
        409
    );
    assert_eq!(
        world
            .send(Method::DELETE, "key_rings/ring-a?force=true")
            .await
            .status,
        204
    );
    world.emulator.restore_key(INSTANCE, &key).unwrap();
    let metadata = world.get(&format!("keys/{key}/metadata")).await;
    assert_eq!(metadata.resource()["keyRingID"], "default");
    assert_eq!(
        seen().await,
        401,
        "who saw it by its ring does not any more"
    );
    assert_eq!(
        world.send(Method::DELETE, "key_rings/default").await.status,
        400
    );
}

#[tokio::test]
async fn rings_are_listed_with_default_always_among_them() {
    let world = World::plain().await;
    assert_eq!(
        world.send(Method::POST, "key_rings/ring-a").await.status,
        201
    );
    assert_eq!(
        world.send(Method::POST, "key_rings/ring-a").await.status,
        409
    );
    let rings = world.get("key_rings?totalCount=true").await;
    assert_eq!(rings.ids(), ["default", "ring-a"]);
    assert_eq!(rings.body["metadata"]["totalCount"], 2);
    let page = world.get("key_rings?limit=1&offset=1").await;
    assert_eq!(
        (page.ids(), page.body["metadata"].get("totalCount")),
        (vec!["ring-a".to_owned()], None)
    );
    let ringed = world
        .request(Method::POST, "keys")
        .header("x-kms-key-ring", "ring-a");
    let made = ringed
        .body(wrapped(&json!({ "name": "key" })).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(read(made).await.resource()["keyRingID"], "ring-a");
}
