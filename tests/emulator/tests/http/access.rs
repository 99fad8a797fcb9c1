//! Who gets in: tokens, instances, roles, rings.

use key_protect_emulator::Wanted;
use reqwest::Method;
use serde_json::json;

use crate::support::{INSTANCE, OTHER_INSTANCE, World, read, roles};

#[tokio::test]
async fn point_1_tokens_that_are_absent_malformed_or_expired_are_refused() {
    let world = World::plain().await;
    let with = async |authorization: Option<&str>| {
        let request = world
            .bare(Method::GET, "keys")
            .header("bluemix-instance", INSTANCE);
        let request = match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        read(request.send().await.unwrap()).await
    };
    for bad in [None, Some("Bearer"), Some("Basic YTpi")] {
        assert_eq!(with(bad).await.status, 401, "{bad:?}");
    }
    let no_jwt = with(Some("Bearer nonsense")).await;
    assert_eq!(
        (no_jwt.status, no_jwt.code()),
        (400, Some("BEARER_SUB_EXTRACTION_ERR"))
    );
    let (signed, _) = world.token.rsplit_once('.').unwrap();
    assert_eq!(
        with(Some(&format!("Bearer {signed}.AAAA"))).await.status,
        401
    );
    assert_eq!(
        with(Some(&format!("bearer {}", world.token))).await.status,
        200
    );
    world.emulator.set_clock_offset(3601);
    let expired = with(Some(&format!("Bearer {}", world.token))).await;
    assert_eq!((expired.status, expired.code()), (401, None));
}

#[tokio::test]
async fn point_1_a_good_token_without_the_role_gets_401_without_reasons() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let nobody = world.token_for("nobody", &json!([])).await;
    let refused = world.get_as(&nobody, &format!("keys/{key}/metadata")).await;
    assert_eq!((refused.status, refused.code()), (401, None));
    assert_eq!(
        refused.resource()["errorMsg"],
        "Unauthorized: The user does not have access to the specified resource"
    );
    assert!(refused.headers.get("www-authenticate").is_none());
    world.modes(json!({ "wwwAuthenticate": true }));
    let refused = world.get_as(&nobody, &format!("keys/{key}/metadata")).await;
    assert!(refused.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn the_code_of_a_refusal_stands_in_its_sentence_when_told_to() {
    let world = World::plain().await;
    let absent = format!("keys/{}/metadata", uuid::Uuid::nil());
    let with_reasons = world.get(&absent).await;
    assert_eq!(with_reasons.code(), Some("KEY_NOT_FOUND_ERR"));
    world.modes(json!({ "codeInErrorMsg": true }));
    let refused = world.get(&absent).await;
    assert_eq!((refused.status, refused.code()), (404, None));
    let message = "Not Found: Action could not be performed. Please see `reasons` for more details \
                   (KEY_NOT_FOUND_ERR)";
    assert_eq!(refused.resource()["errorMsg"], message);
    assert!(refused.resource().get("reasons").is_none());
    // What has no reasons has no code to move.
    let nobody = world.token_for("nobody", &json!([])).await;
    let refused = world.get_as(&nobody, &absent).await;
    assert!(
        !refused.resource()["errorMsg"]
            .as_str()
            .unwrap()
            .contains('(')
    );
    // The journal knows the code whatever the answer shows.
    let served = world.emulator.requests(&Wanted {
        operation: Some("metadata".to_owned()),
        ..Wanted::default()
    });
    let codes: Vec<Option<&str>> = served.iter().map(|served| served.code.as_deref()).collect();
    let code = Some("KEY_NOT_FOUND_ERR");
    assert_eq!(codes, [code, code, None]);
}

#[tokio::test]
async fn point_2_a_reader_sees_metadata_and_no_payload() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let reader = world.token_for("reader", &roles("Reader")).await;
    let plus = world.token_for("plus", &roles("ReaderPlus")).await;
    assert_eq!(
        world
            .get_as(&reader, &format!("keys/{key}/metadata"))
            .await
            .status,
        200
    );
    assert_eq!(
        world.get_as(&reader, &format!("keys/{key}")).await.status,
        401
    );
    assert_eq!(
        world.get_as(&plus, &format!("keys/{key}")).await.status,
        200
    );
    let writes = [
        (Method::DELETE, format!("keys/{key}")),
        (Method::POST, format!("keys/{key}/aliases/some")),
        (Method::POST, "key_rings/ring".to_owned()),
        (Method::POST, "keys".to_owned()),
    ];
    for (method, path) in writes {
        let answer = world
            .as_caller(&plus, method.clone(), &path)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{method} {path}");
    }
}

#[tokio::test]
async fn point_2_access_by_ring_or_key_hides_everything_else() {
    let world = World::plain().await;
    let inside = world.key(json!({ "name": "inside", "keyRing": "ring-a" }));
    let outside = world.key(json!({ "name": "outside" }));
    let grant = json!([{ "instance": INSTANCE, "role": "ReaderPlus", "keyRing": "ring-a" }]);
    let token = world.token_for("ringed", &grant).await;
    assert_eq!(
        world.get_as(&token, &format!("keys/{inside}")).await.status,
        200
    );
    assert_eq!(
        world
            .get_as(&token, &format!("keys/{outside}"))
            .await
            .status,
        401
    );
    assert_eq!(
        world.get_as(&token, "keys").await.ids(),
        std::slice::from_ref(&inside)
    );
    let grant = json!([{ "instance": INSTANCE, "role": "ReaderPlus", "key": outside }]);
    let single = world.token_for("single", &grant).await;
    for (key, status) in [(&outside, 200), (&inside, 401)] {
        let answer = world.get_as(&single, &format!("keys/{key}")).await;
        assert_eq!((answer.status, answer.code()), (status, None));
    }
    world.modes(json!({ "noAccess": 404 }));
    let hidden = world.get_as(&token, &format!("keys/{outside}")).await;
    assert_eq!(
        (hidden.status, hidden.code()),
        (404, Some("KEY_NOT_FOUND_ERR"))
    );
    assert_eq!(world.get_as(&token, "key_rings").await.ids(), ["ring-a"]);
}

#[tokio::test]
async fn point_4_a_wrong_ring_in_the_header_hides_the_key() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "keyRing": "ring-a" }));
    world
        .emulator
        .create_keys(
            INSTANCE,
            &serde_json::from_value(json!({
                "count": 1, "prefix": "other-", "keyRing": "ring-b",
            }))
            .unwrap(),
        )
        .unwrap();
    let with = async |ring: &str, path: String| {
        let request = world
            .request(Method::GET, &path)
            .header("x-kms-key-ring", ring);
        read(request.send().await.unwrap()).await
    };
    assert_eq!(with("ring-a", format!("keys/{key}")).await.status, 200);
    let wrong = with("ring-b", format!("keys/{key}")).await;
    assert_eq!(
        (wrong.status, wrong.code()),
        (404, Some("KEY_NOT_FOUND_ERR"))
    );
    assert_eq!(
        with("ring-a", "keys".to_owned()).await.ids(),
        std::slice::from_ref(&key)
    );
    assert_eq!(with("ring-x", "keys".to_owned()).await.status, 404);
    world.modes(json!({ "otherRing": 401 }));
    assert_eq!(with("ring-b", format!("keys/{key}")).await.status, 401);
}

#[tokio::test]
async fn point_14_the_instance_must_be_named_and_sees_only_its_own_keys() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "aliases": ["shared"] }));
    let missing = async || {
        let request = world.bare(Method::GET, "keys").bearer_auth(&world.token);
        read(request.send().await.unwrap()).await
    };
    let with_reason = missing().await;
    assert_eq!(
        (with_reason.status, with_reason.code()),
        (400, Some("INVALID_FIELD_ERR"))
    );
    let reason = &with_reason.resource()["reasons"][0];
    assert_eq!(reason["target"]["name"], "bluemix-instance");
    world.modes(json!({ "missingInstanceCode": "none" }));
    let bare = missing().await;
    assert_eq!((bare.status, bare.code()), (400, None));
    assert_eq!(bare.resource().get("reasons"), None);
    world.modes(json!({ "missingInstanceCode": "INVALID_FIELD_ERR" }));
    assert_eq!(missing().await.code(), Some("INVALID_FIELD_ERR"));
    let both = json!([{ "instance": INSTANCE, "role": "Manager" },
                      { "instance": OTHER_INSTANCE, "role": "Manager" }]);
    let token = world.token_for("both", &both).await;
    let on = async |instance: &str, path: &str| {
        let request = world.bare(Method::GET, path).bearer_auth(&token);
        read(
            request
                .header("bluemix-instance", instance)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    assert_eq!(on(OTHER_INSTANCE, &format!("keys/{key}")).await.status, 404);
    assert_eq!(on(OTHER_INSTANCE, "keys/shared").await.status, 404);
    assert_eq!(on(OTHER_INSTANCE, "keys").await.ids().len(), 0);
    assert_eq!(on("no-instance", "keys").await.status, 404);
    world.modes(json!({ "unknownInstance": 401 }));
    assert_eq!(on("no-instance", "keys").await.status, 401);
}

#[tokio::test]
async fn a_cloud_foundry_organisation_and_space_replace_the_instance() {
    let world = World::plain().await;
    let new = json!({ "id": "old", "bluemixOrg": "org", "bluemixSpace": "space",
                      "keys": [{ "name": "key" }] });
    world
        .emulator
        .create_instance(serde_json::from_value(new).unwrap())
        .unwrap();
    let grant = json!([{ "instance": "old", "role": "Reader" }]);
    let token = world.token_for("old", &grant).await;
    let at = async |org: &str, space: &str| {
        let request = world.bare(Method::GET, "keys").bearer_auth(&token);
        let request = request
            .header("bluemix-org", org)
            .header("bluemix-space", space);
        read(request.send().await.unwrap()).await
    };
    assert_eq!(at("org", "space").await.ids().len(), 1);
    assert_eq!(at("org", "elsewhere").await.status, 404);
}
