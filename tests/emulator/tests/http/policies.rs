//! Policies of keys and instances, and what they do; what protects a key.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{INSTANCE, OTHER_INSTANCE, Read, World, read, roles, wrapped};

const DAY: i64 = 86_400;

async fn put(world: &World, token: &str, path: &str, body: &Value) -> Read {
    let request = world
        .as_caller(token, Method::PUT, path)
        .body(body.to_string());
    read(request.send().await.unwrap()).await
}

async fn set_instance(world: &World, name: &str, data: Value) -> u16 {
    let body = wrapped(&json!({ "policy_type": name, "policy_data": data }));
    let path = format!("instance/policies?policy={name}");
    put(world, &world.token, &path, &body).await.status
}

async fn create(world: &World, resource: Value) -> Read {
    world.post("keys", &wrapped(&resource)).await
}

/// Makes the Manager's token outlive what the clock is moved by.
async fn with_long_token(world: &mut World) {
    world.emulator.set_token_lifetime(1000 * DAY);
    let answer = world.ask_token("/identity/token", "key-of-manager").await;
    answer.body["access_token"]
        .as_str()
        .unwrap()
        .clone_into(&mut world.token);
}

#[tokio::test]
async fn a_key_under_dual_authorization_takes_two_people_to_delete() {
    let mut world = World::plain().await;
    with_long_token(&mut world).await;
    let key = world.key(json!({ "name": "guarded" }));
    let path = format!("keys/{key}");
    let act = async |token: &str, action: &str| {
        let path = format!("keys/{key}/actions/{action}");
        read(
            world
                .as_caller(token, Method::POST, &path)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let early = act(&world.token, "setKeyForDeletion").await;
    assert_eq!(
        (early.status, early.code()),
        (409, Some("NOT_DUAL_AUTH_ERR"))
    );
    let policy = wrapped(&json!({ "dualAuthDelete": { "enabled": true } }));
    // IBM's Go client names no policy in the query.
    let set = put(&world, &world.token, &format!("{path}/policies"), &policy).await;
    assert_eq!(
        (set.status, &set.resource()["dualAuthDelete"]["enabled"]),
        (200, &json!(true))
    );
    assert_eq!(
        set.headers["content-type"],
        "application/vnd.ibm.kms.policy+json"
    );

    let delete = async |token: &str| {
        read(
            world
                .as_caller(token, Method::DELETE, &path)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    assert_eq!(
        delete(&world.token).await.code(),
        Some("AUTHORIZATIONS_NOT_MET")
    );
    let writer = world.token_for("writer", &roles("Writer")).await;
    assert_eq!(act(&writer, "setKeyForDeletion").await.status, 204);
    let metadata = world.get(&format!("{path}/metadata")).await;
    let shown = &metadata.resource()["dualAuthDelete"];
    assert_eq!(shown["keySetForDeletion"], true);
    assert!(shown["authExpiration"].is_string());
    // A Writer authorises, and does not delete.
    assert_eq!(delete(&writer).await.status, 401);
    // Taken back, or seven days old, it counts no more.
    assert_eq!(act(&writer, "unsetKeyForDeletion").await.status, 204);
    assert_eq!(delete(&world.token).await.status, 409);
    assert_eq!(act(&writer, "setKeyForDeletion").await.status, 204);
    world.emulator.set_clock_offset(7 * DAY + 1);
    assert_eq!(delete(&world.token).await.status, 409);
    world.emulator.set_clock_offset(0);
    assert_eq!(delete(&world.token).await.status, 200);
    let undo = wrapped(&json!({ "dualAuthDelete": { "enabled": false } }));
    let gone = put(&world, &world.token, &format!("{path}/policies"), &undo).await;
    assert_eq!(gone.code(), Some("KEY_DELETED_ERR"));
}

#[tokio::test]
async fn a_rotation_policy_rotates_a_key_by_itself() {
    let mut world = World::plain().await;
    with_long_token(&mut world).await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let path = format!("keys/{key}/policies");
    let policy = |rotation: Value| wrapped(&json!({ "rotation": rotation }));
    let set = put(
        &world,
        &world.token,
        &path,
        &policy(json!({ "enabled": true, "interval_month": 2 })),
    )
    .await;
    assert_eq!(
        set.resource()["rotation"],
        json!({ "enabled": true, "interval_month": 2 })
    );
    let versions = async || {
        let listed = world.get(&format!("keys/{key}/versions")).await;
        listed.body["resources"].as_array().unwrap().len()
    };
    world.emulator.set_clock_offset(59 * DAY);
    assert_eq!(versions().await, 1);
    world.emulator.set_clock_offset(60 * DAY + 1);
    assert_eq!(versions().await, 2);
    // Off, with the interval kept; IBM's Go client sends -1 for none.
    let off = put(
        &world,
        &world.token,
        &path,
        &policy(json!({ "enabled": false, "interval_month": -1 })),
    )
    .await;
    assert_eq!(
        off.resource()["rotation"],
        json!({ "enabled": false, "interval_month": 2 })
    );
    world.emulator.set_clock_offset(200 * DAY);
    assert_eq!(versions().await, 2);
    let listed = world.get(&format!("{path}?policy=rotation")).await;
    assert_eq!(listed.resource()["id"], off.resource()["id"]);
    assert!(
        listed.resource()["crn"]
            .as_str()
            .unwrap()
            .contains(":policy:")
    );
    assert_eq!(
        world
            .get(&format!("{path}?policy=dualAuthDelete"))
            .await
            .body
            .get("resources"),
        None
    );

    for (wrong, code) in [
        (json!({ "interval_month": 13 }), "INVALID_FIELD_ERR"),
        (json!({ "colour": 1 }), "BAD_BODY_ERR"),
    ] {
        assert_eq!(
            put(&world, &world.token, &path, &policy(wrong))
                .await
                .code(),
            Some(code)
        );
    }
    let query = format!("{path}?policy=dualAuthDelete");
    let mismatch = put(
        &world,
        &world.token,
        &query,
        &policy(json!({ "interval_month": 1 })),
    )
    .await;
    assert_eq!(mismatch.code(), Some("BODY_QUERY_PARAM_MISMATCH_ERR"));
}

#[tokio::test]
async fn policies_of_the_instance_hold_for_keys_that_come_after() {
    let world = World::plain().await;
    let before = world.key(json!({ "name": "before", "extractable": false }));
    assert_eq!(
        set_instance(&world, "dualAuthDelete", json!({ "enabled": true })).await,
        204
    );
    let rotation = json!({ "enabled": true, "attributes": { "interval_month": 3 } });
    assert_eq!(set_instance(&world, "rotation", rotation).await, 204);
    let root = create(&world, json!({ "name": "root", "extractable": false })).await;
    assert_eq!(root.resource()["dualAuthDelete"]["enabled"], true);
    assert_eq!(root.resource()["rotation"]["interval_month"], 3);
    let standard = create(&world, json!({ "name": "standard" })).await;
    assert_eq!(standard.resource().get("rotation"), None);
    let old = world.get(&format!("keys/{before}/metadata")).await;
    assert_eq!(
        old.resource()["dualAuthDelete"],
        json!({ "enabled": false })
    );
    // A key may be made with policies of its own.
    let own = wrapped(&json!({ "name": "own", "extractable": false,
        "dualAuthDelete": { "enabled": false }, "rotation": { "enabled": true, "interval_month": 6 } }));
    let own = world.post("keys_with_policy_overrides", &own).await;
    assert_eq!(
        (own.status, &own.resource()["dualAuthDelete"]["enabled"]),
        (201, &json!(false))
    );
    assert_eq!(own.resource()["rotation"]["interval_month"], 6);
    let listed = world.get("instance/policies").await;
    let names: Vec<&Value> = listed.body["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| &policy["policy_type"])
        .collect();
    assert_eq!(names, ["dualAuthDelete", "rotation"]);
    let reader = world.token_for("reader", &roles("Writer")).await;
    assert_eq!(world.get_as(&reader, "instance/policies").await.status, 401);
}

#[tokio::test]
async fn creation_and_import_can_be_forbidden_one_by_one() {
    let world = World::plain().await;
    let access = json!({ "create_standard_key": false, "import_root_key": false });
    let data = json!({ "enabled": true, "attributes": access });
    assert_eq!(
        set_instance(&world, "keyCreateImportAccess", data).await,
        204
    );
    let payload = "MDEyMzQ1Njc4OWFiY2RlZg==";
    for (resource, status) in [
        (json!({ "name": "key", "extractable": false }), 201),
        (json!({ "name": "key" }), 409),
        (
            json!({ "name": "key", "extractable": false, "payload": payload }),
            409,
        ),
        (json!({ "name": "key", "payload": payload }), 201),
    ] {
        let answer = create(&world, resource.clone()).await;
        assert_eq!(answer.status, status, "{resource}");
        if status == 409 {
            assert_eq!(answer.code(), Some("KEY_CREATE_IMPORT_ACCESS_ERR"));
        }
    }
    let data = json!({ "enabled": true, "attributes": { "enforce_token": true } });
    assert_eq!(
        set_instance(&world, "keyCreateImportAccess", data).await,
        204
    );
    assert_eq!(
        create(&world, json!({ "name": "key", "payload": payload }))
            .await
            .status,
        409
    );
    assert_eq!(create(&world, json!({ "name": "key" })).await.status, 201);
    assert_eq!(
        set_instance(&world, "keyCreateImportAccess", json!({ "enabled": false })).await,
        204
    );
    assert_eq!(
        create(&world, json!({ "name": "key", "payload": payload }))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn bodies_of_policies_are_refused_with_their_documented_codes() {
    let world = World::plain().await;
    let good = json!({ "policy_type": "metrics", "policy_data": { "enabled": true } });
    let of = |total: usize, resources: &[&Value]| json!({ "metadata": { "collectionType": "x", "collectionTotal": total }, "resources": resources });
    let dual = json!({ "policy_type": "dualAuthDelete", "policy_data": { "enabled": true } });
    let extra =
        json!({ "policy_type": "metrics", "policy_data": { "enabled": true }, "extra_field": 1 });
    let network = json!({ "policy_type": "allowedIP",
        "policy_data": { "enabled": true, "attributes": { "allowed_ip": ["10.0.0.0/99"] } } });
    let all = "instance/policies";
    let one = "instance/policies?policy=metrics";
    for (path, body, status, code) in [
        (all, of(1, &[&good]), 204, None),
        (all, of(2, &[&good, &dual]), 204, None),
        (
            one,
            of(2, &[&good]),
            400,
            Some("COLLECTION_TOTAL_MISMATCH_ERR"),
        ),
        (
            one,
            of(2, &[&good, &dual]),
            400,
            Some("NUM_COLLECTION_RESOURCE_ERR"),
        ),
        (
            one,
            of(1, &[&dual]),
            400,
            Some("BODY_QUERY_PARAM_MISMATCH_ERR"),
        ),
        (all, of(1, &[&extra]), 400, Some("BAD_BODY_ERR")),
        (all, of(2, &[&good, &good]), 400, Some("BAD_BODY_ERR")),
        (all, of(0, &[]), 400, Some("BAD_BODY_ERR")),
        (all, of(1, &[&network]), 400, Some("INVALID_FIELD_ERR")),
        (
            "instance/policies?policy=colour",
            of(1, &[&good]),
            400,
            Some("INVALID_FIELD_ERR"),
        ),
    ] {
        let answer = put(&world, &world.token, path, &body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{path} {body}"
        );
    }
}

#[tokio::test]
async fn point_17_an_allowed_ip_rule_and_a_wrong_instance_answer_401() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let path = format!("keys/{key}");
    let allow =
        |networks: Value| json!({ "enabled": true, "attributes": { "allowed_ip": networks } });
    assert_eq!(
        world
            .get("instance/allowed_ip_port")
            .await
            .body
            .get("resources"),
        None
    );
    assert_eq!(
        set_instance(&world, "allowedIP", allow(json!(["127.0.0.0/8"]))).await,
        204
    );
    assert_eq!(world.get(&path).await.status, 200);
    let port = world.get("instance/allowed_ip_port").await;
    assert!(port.resource()["private_endpoint_port"].is_u64());
    assert_eq!(
        set_instance(&world, "allowedIP", allow(json!(["192.0.2.0/24"]))).await,
        204
    );
    let refused = world.get(&path).await;
    assert_eq!((refused.status, refused.code()), (401, None));
    assert_eq!(refused.headers.get("www-authenticate"), None);

    let other = async || {
        let request = world.bare(Method::GET, &path).bearer_auth(&world.token);
        let unknown = "bbbbbbbb-0000-4000-8000-000000000009";
        read(
            request
                .header("bluemix-instance", unknown)
                .send()
                .await
                .unwrap(),
        )
        .await
        .status
    };
    assert_eq!(other().await, 404);
    world.modes(json!({ "unknownInstance": 401 }));
    assert_eq!(other().await, 401);
}

#[tokio::test]
async fn point_17_an_instance_where_the_caller_has_no_role_answers_401_and_lists_nothing() {
    let world = World::plain().await;
    let new = serde_json::from_value(json!({ "name": "key", "aliases": ["alias"] })).unwrap();
    let key = world.emulator.create_key(OTHER_INSTANCE, new).unwrap();
    let key = key["id"].as_str().unwrap().to_owned();
    let there = async |method: Method, path: &str| {
        let request = world.bare(method, path).bearer_auth(&world.token);
        let request = request.header("bluemix-instance", OTHER_INSTANCE);
        read(request.send().await.unwrap()).await
    };
    // A key that is not there gets no other answer, which would tell what is.
    let unknown = "11111111-2222-4333-8444-555555555555";
    for name in [&*key, "alias", unknown] {
        for (method, path) in [
            (Method::GET, format!("keys/{name}")),
            (Method::GET, format!("keys/{name}/metadata")),
            (Method::DELETE, format!("keys/{name}")),
        ] {
            let refused = there(method.clone(), &path).await;
            assert_eq!(
                (refused.status, refused.code()),
                (401, None),
                "{method} {path}"
            );
        }
    }
    let listed = there(Method::GET, "keys").await;
    assert_eq!((listed.status, listed.body.get("resources")), (200, None));
    assert_eq!(listed.body["metadata"]["collectionTotal"], 0);
    world.modes(json!({ "listForbiddenAsEmpty200": false }));
    assert_eq!(there(Method::GET, "keys").await.status, 401);
}

/// The emulator knows no context-based rules: who needs one, matches a fault
/// as the rule would the request.
#[tokio::test]
async fn point_17_a_context_based_rule_is_imitated_by_a_fault() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let both = json!([{ "instance": INSTANCE, "role": "Manager" },
                      { "instance": OTHER_INSTANCE, "role": "Manager" }]);
    let token = world.token_for("both", &both).await;
    let status = async |instance: &str, path: &str| {
        let request = world.bare(Method::GET, path).bearer_auth(&token);
        let request = request.header("bluemix-instance", instance);
        let answer = read(request.send().await.unwrap()).await;
        assert_eq!(answer.code(), None);
        answer.status
    };
    let metadata = format!("keys/{key}/metadata");
    let payload = format!("keys/{key}");

    let rule = json!({ "match": { "instance": INSTANCE }, "effect": { "status": 401 } });
    world.fault("rule", &rule);
    for path in ["keys", &*metadata, &*payload] {
        assert_eq!(status(INSTANCE, path).await, 401, "{path}");
    }
    assert_eq!(status(OTHER_INSTANCE, "keys").await, 200);

    let rule = json!({ "match": { "operation": ["get"] }, "effect": { "status": 401 } });
    world.fault("rule", &rule);
    assert_eq!(status(INSTANCE, &payload).await, 401);
    assert_eq!(status(INSTANCE, &metadata).await, 200);
    assert_eq!(status(INSTANCE, "keys").await, 200);

    world.emulator.clear_faults();
    assert_eq!(status(INSTANCE, &payload).await, 200);
}

#[tokio::test]
async fn point_17_changes_of_access_take_a_while_both_ways() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let path = format!("keys/{key}");
    let token = world.token_for("app", &roles("Reader")).await;
    let set = |role: &str| {
        let roles = serde_json::from_value(roles(role)).unwrap();
        world.emulator.set_roles("app", roles).unwrap();
    };
    world.modes(json!({ "roleChangeDelaySeconds": 300 }));
    set("ReaderPlus");
    assert_eq!(world.get_as(&token, &path).await.status, 401);
    world.emulator.set_clock_offset(301);
    assert_eq!(world.get_as(&token, &path).await.status, 200);
    set("Reader");
    assert_eq!(world.get_as(&token, &path).await.status, 200);
    world.emulator.set_clock_offset(602);
    assert_eq!(world.get_as(&token, &path).await.status, 401);
}

#[tokio::test]
async fn a_key_that_protects_a_resource_goes_only_by_force() {
    let world = World::plain().await;
    let crn = "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:bucket:b";
    let register = |key: &str, prevent: bool| {
        let new = json!({ "resourceCrn": crn, "preventKeyDeletion": prevent });
        world
            .emulator
            .register(INSTANCE, key, serde_json::from_value(new).unwrap())
    };
    let root = |name: &str| world.key(json!({ "name": name, "extractable": false }));
    let (bucket, retained) = (root("bucket"), root("retained"));
    register(&bucket, false).unwrap();
    register(&retained, true).unwrap();
    let standard = world.key(json!({ "name": "standard" }));
    assert!(
        register(&standard, false)
            .unwrap_err()
            .to_string()
            .contains("KEY_ROOT_REQ_REG_ERR")
    );

    let listed = world
        .get(&format!("keys/{bucket}/registrations?totalCount=true"))
        .await;
    assert_eq!(
        (
            &listed.resource()["resourceCrn"],
            &listed.resource()["keyName"]
        ),
        (&json!(crn), &json!("bucket"))
    );
    let all = world.get("keys/registrations").await;
    assert_eq!(all.body["metadata"]["collectionTotal"], 2);
    let some = world
        .get("keys/registrations?preventKeyDeletion=true")
        .await;
    assert_eq!(some.resource()["keyId"], retained.as_str());
    let none = world
        .get("keys/registrations?urlEncodedResourceCRNQuery=crn:v1:*:x:*")
        .await;
    assert_eq!(none.body["metadata"]["collectionTotal"], 0);

    let delete = async |path: String| world.send(Method::DELETE, &path).await;
    assert_eq!(
        delete(format!("keys/{bucket}")).await.code(),
        Some("PROTECTED_RESOURCE_ERR")
    );
    assert_eq!(
        delete(format!("keys/{retained}?force=true")).await.code(),
        Some("PREV_KEY_DEL_ERR")
    );
    assert_eq!(
        delete(format!("keys/{bucket}?force=true")).await.status,
        200
    );
    assert_eq!(
        world.get("keys/registrations").await.body["metadata"]["collectionTotal"],
        1
    );
}
