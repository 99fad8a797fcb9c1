//! Keys: made, read, expired, deleted, restored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use key_protect_emulator::control::types::{CreateKey, Failover};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{INSTANCE, OTHER_INSTANCE, World, read, roles, wrapped, writes};

#[tokio::test]
async fn point_3_root_and_deleted_keys_are_read_without_a_payload() {
    let world = World::plain().await;
    let standard = world.key(json!({ "name": "standard", "payload": "aGVsbG8=" }));
    let root = world.key(json!({ "name": "root", "extractable": false }));
    let read_standard = world.get(&format!("keys/{standard}")).await;
    assert_eq!(read_standard.resource()["payload"], "aGVsbG8=");
    let read_root = world.get(&format!("keys/{root}")).await;
    assert_eq!(
        (read_root.status, read_root.resource().get("payload")),
        (200, None)
    );
    let metadata = world.get(&format!("keys/{standard}/metadata")).await;
    assert_eq!(metadata.resource().get("payload"), None);

    assert_eq!(
        world
            .send(Method::DELETE, &format!("keys/{standard}"))
            .await
            .status,
        200
    );
    let deleted = world.get(&format!("keys/{standard}")).await;
    let resource = deleted.resource();
    assert_eq!((deleted.status, resource.get("payload")), (200, None));
    assert_eq!(
        (&resource["state"], &resource["deleted"]),
        (&json!(5), &json!(true))
    );
    assert!(resource["deletionDate"].is_string() && resource["restoreExpirationDate"].is_string());
    let again = world
        .send(Method::DELETE, &format!("keys/{standard}"))
        .await;
    assert_eq!((again.status, again.code()), (410, Some("KEY_DELETED_ERR")));
    world.modes(json!({ "deletedGet": 410 }));
    let gone = world.get(&format!("keys/{standard}")).await;
    assert_eq!((gone.status, gone.code()), (410, Some("KEY_DELETED_ERR")));
    assert_eq!(
        world.get(&format!("keys/{standard}/metadata")).await.status,
        200
    );
}

#[tokio::test]
async fn point_5_expiry_shows_only_after_a_background_pass() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "expirationDate": "2020-01-01T00:00:00Z" }));
    let soon = "2999-01-01T00:00:00Z";
    let other = world.key(json!({ "name": "other", "expirationDate": soon }));
    let state = async |key: &str| {
        world.get(&format!("keys/{key}/metadata")).await.resource()["state"].clone()
    };
    // The pass before now was after the one's date, and long before the other's.
    assert_eq!(
        (state(&key).await, state(&other).await),
        (json!(3), json!(1))
    );
    assert_eq!(
        world.get(&format!("keys/{key}")).await.resource()["nonactiveStateReason"],
        3
    );

    // A year to a pass: the date goes by, and the state stays for a while.
    world.modes(json!({ "expiryPassSeconds": 86_400 * 365 }));
    #[allow(clippy::disallowed_methods)] // A test against the real clock.
    let now = jiff::Timestamp::now();
    let date = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    world
        .emulator
        .set_key_expiration(INSTANCE, &other, Some(date))
        .unwrap();
    world.emulator.set_clock_offset(60);
    assert_eq!(state(&other).await, json!(1));
    assert!(world.get(&format!("keys/{other}")).await.resource()["payload"].is_string());
    world.emulator.run_expiry_pass(INSTANCE).unwrap();
    assert_eq!(state(&other).await, json!(3));
    // A deactivated key's payload can still be read.
    assert!(world.get(&format!("keys/{other}")).await.resource()["payload"].is_string());

    // By itself, at the next pass. (Of ten minutes here: a token lives for an hour.)
    let later = now + jiff::SignedDuration::from_secs(120);
    let date = later.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let third = world.key(json!({ "name": "third", "expirationDate": date }));
    world.modes(json!({ "expiryPassSeconds": 600 }));
    let next = 120 + 600 - later.as_second().rem_euclid(600);
    for (offset, expected) in [(next - 30, 1), (next + 30, 3)] {
        world.emulator.set_clock_offset(offset);
        assert_eq!(state(&third).await, json!(expected), "{offset}");
    }
}

#[tokio::test]
async fn point_9_restore_and_enable_wait_thirty_seconds() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "payload": "aGVsbG8=", "aliases": ["name"] }));
    let path = format!("keys/{key}");
    assert_eq!(world.send(Method::DELETE, &path).await.status, 200);
    let early = world.send(Method::POST, &format!("{path}/restore")).await;
    assert_eq!(
        (early.status, early.code()),
        (409, Some("REQ_TOO_EARLY_ERR"))
    );
    world.emulator.set_clock_offset(31);
    let restored = world.send(Method::POST, &format!("{path}/restore")).await;
    assert_eq!(
        (restored.status, &restored.resource()["state"]),
        (201, &json!(1))
    );
    assert_eq!(
        world.get("keys/name").await.resource()["payload"],
        "aGVsbG8="
    );

    let root = world.key(json!({ "name": "root", "extractable": false }));
    let act = async |action: &str, key: &str| {
        world
            .send(Method::POST, &format!("keys/{key}/actions/{action}"))
            .await
    };
    assert_eq!(act("disable", &root).await.status, 204);
    assert_eq!(act("enable", &root).await.code(), Some("REQ_TOO_EARLY_ERR"));
    world.emulator.set_clock_offset(62);
    assert_eq!(act("enable", &root).await.status, 204);
    assert_eq!(act("disable", &key).await.code(), Some("KEY_ROOT_REQ_ERR"));
}

#[tokio::test]
async fn a_key_that_has_expired_since_its_deletion_stays_deleted() {
    let world = World::plain().await;
    let date = "2100-01-01T00:00:00Z";
    let key = world.key(json!({ "name": "key", "expirationDate": date }));
    let path = format!("keys/{key}");
    assert_eq!(world.send(Method::DELETE, &path).await.status, 200);
    world.emulator.set_clock_offset(31);
    let past = Some("2001-01-01T00:00:00Z".to_owned());
    world
        .emulator
        .set_key_expiration(INSTANCE, &key, past)
        .unwrap();
    let refused = world.send(Method::POST, &format!("{path}/restore")).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, Some("KEY_EXPIRED_ERR"))
    );
}

#[tokio::test]
async fn a_key_cannot_be_restored_after_thirty_days_and_is_purged_after_ninety() {
    const DAY: i64 = 86_400;
    let world = World::plain().await;
    world.emulator.set_token_lifetime(1000 * DAY);
    let answer = world.ask_token("/identity/token", "key-of-manager").await;
    let token = answer.body["access_token"].as_str().unwrap().to_owned();
    let key = world.key(json!({ "name": "key" }));
    world
        .emulator
        .set_key_state(INSTANCE, &key, &json!("deleted"))
        .unwrap();
    world.emulator.set_clock_offset(31 * DAY);
    let path = format!("keys/{key}/restore");
    let late = world
        .as_caller(&token, Method::POST, &path)
        .send()
        .await
        .unwrap();
    assert_eq!(read(late).await.code(), Some("KEY_RESTORE_EXPIRED"));
    world.emulator.set_clock_offset(91 * DAY);
    assert_eq!(
        world
            .get_as(&token, &format!("keys/{key}/metadata"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn purging_takes_its_own_role_and_four_hours() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let grant = json!([{ "instance": INSTANCE, "role": "KeyPurge" }]);
    let purger = world.token_for("purger", &grant).await;
    let path = format!("keys/{key}/purge");
    let purge = async |token: &str| {
        read(
            world
                .as_caller(token, Method::DELETE, &path)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    assert_eq!(purge(&world.token).await.status, 401);
    assert_eq!(
        purge(&purger).await.code(),
        Some("KEY_ACTION_INVALID_STATE_ERR")
    );
    world
        .emulator
        .set_key_state(INSTANCE, &key, &json!("deleted"))
        .unwrap();
    assert_eq!(purge(&purger).await.code(), Some("REQ_TOO_EARLY_ERR"));
    let deleted = json!([{ "instance": INSTANCE, "role": "KeyPurge" }]);
    world.emulator.set_token_lifetime(100_000);
    let purger = world.token_for("purger-2", &deleted).await;
    world.emulator.set_clock_offset(4 * 3600);
    assert_eq!(purge(&purger).await.status, 200);
    assert!(world.emulator.keys(INSTANCE).unwrap().is_empty());
}

#[tokio::test]
async fn point_11_payloads_of_a_wrong_size_or_form_are_refused() {
    let world = World::plain().await;
    let create = async |extractable: bool, payload: &str| {
        let body =
            wrapped(&json!({ "name": "key", "extractable": extractable, "payload": payload }));
        world.post("keys", &body).await
    };
    let sized = |size: usize| STANDARD.encode(vec![9_u8; size]);
    for (extractable, payload, status) in [
        (true, sized(7500), 201),
        (true, sized(7501), 400),
        (true, "not base64".to_owned(), 400),
        (true, String::new(), 400),
        (false, sized(32), 201),
        (false, sized(31), 400),
    ] {
        let answer = create(extractable, &payload).await;
        assert_eq!(answer.status, status, "{} bytes of text", payload.len());
        if status == 400 {
            let target = &answer.resource()["reasons"][0]["target"];
            assert_eq!(target, &json!({ "type": "field", "name": "payload" }));
        }
    }
}

#[tokio::test]
async fn point_12_bodies_with_unknown_fields_or_a_wrong_count_are_refused() {
    let world = World::plain().await;
    for colour in [json!("red"), Value::Null] {
        let body = wrapped(&json!({ "name": "key", "colour": colour }));
        let unknown = world.post("keys", &body).await;
        assert_eq!(
            (unknown.status, unknown.code()),
            (400, Some("BAD_BODY_ERR"))
        );
    }
    let body = wrapped(&json!({ "name": "key", "description": null }));
    assert_eq!(world.post("keys", &body).await.status, 201);
    let mut body = wrapped(&json!({ "name": "key" }));
    body["metadata"]["collectionTotal"] = json!(2);
    assert_eq!(
        world.post("keys", &body).await.code(),
        Some("COLLECTION_TOTAL_MISMATCH_ERR")
    );
    let none = world.send(Method::POST, "keys").await;
    assert_eq!((none.status, none.code()), (400, Some("NO_BODY_ERR")));
    let past = wrapped(&json!({ "name": "key", "expirationDate": "2020-01-01T00:00:00Z" }));
    assert_eq!(
        world.post("keys", &past).await.code(),
        Some("INVALID_FIELD_ERR")
    );
}

#[tokio::test]
async fn tags_are_few_and_short() {
    let world = World::plain().await;
    let tags = |count: usize, length: usize| vec!["t".repeat(length); count];
    for (tags, status) in [
        (tags(1, 1), 201),
        (tags(30, 30), 201),
        (tags(1, 31), 400),
        (tags(31, 3), 400),
        (tags(1, 0), 400),
    ] {
        let body = wrapped(&json!({ "name": "key", "tags": tags }));
        assert_eq!(world.post("keys", &body).await.status, status, "{tags:?}");
    }
}

#[tokio::test]
async fn the_versions_of_a_deleted_key_are_asked_for_by_name() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "root", "extractable": false }));
    let deleted = world.send(Method::DELETE, &format!("keys/{key}")).await;
    assert_eq!(deleted.status, 200);
    let versions = async |query: &str| world.get(&format!("keys/{key}/versions{query}")).await;
    assert_eq!(versions("").await.status, 410);
    let all = versions("?allKeyStates=true").await;
    assert_eq!((all.status, all.ids().len()), (200, 1));
}

#[tokio::test]
async fn creation_answers_the_payload_only_when_a_representation_is_preferred() {
    let world = World::plain().await;
    let body = wrapped(&json!({ "name": "key" }));
    let create = async |prefer: &str| {
        let request = world.request(Method::POST, "keys").header("prefer", prefer);
        read(request.body(body.to_string()).send().await.unwrap()).await
    };
    let minimal = create("return=minimal").await;
    assert_eq!(
        (minimal.status, minimal.resource().get("payload")),
        (201, None)
    );
    let full = create("return=representation").await;
    assert_eq!(
        full.headers["content-type"],
        "application/vnd.ibm.kms.key+json"
    );
    let payload = STANDARD
        .decode(full.resource()["payload"].as_str().unwrap())
        .unwrap();
    assert_eq!(payload.len(), 32);
    assert_eq!(full.resource()["imported"], false);
    assert_eq!(full.resource()["keyRingID"], "default");
    // Names are not unique.
    assert_ne!(minimal.resource()["id"], full.resource()["id"]);
}

#[tokio::test]
async fn point_15_the_correlation_id_is_echoed_and_written_down() {
    let world = World::plain().await;
    let id = "11111111-2222-4333-8444-555555555555";
    let request = world
        .request(Method::GET, "keys?limit=1")
        .header("correlation-id", id);
    let answer = read(request.send().await.unwrap()).await;
    assert_eq!(answer.headers["correlation-id"], id);
    let made = world.get("keys").await;
    assert_eq!(made.headers["correlation-id"].len(), 36);
    let served = world
        .emulator
        .requests(&key_protect_emulator::Wanted::default());
    let listed: Vec<_> = served
        .iter()
        .filter(|served| served.operation == "list")
        .collect();
    assert_eq!(listed[0].correlation_id.as_deref(), Some(id));
    assert_eq!(
        (listed[0].query.as_str(), listed[0].status),
        ("limit=1", Some(200))
    );
    assert_eq!(listed[0].service_id.as_deref(), Some("manager"));
    assert!(
        served
            .iter()
            .all(|served| !served.headers.contains_key("authorization"))
    );
    assert_eq!(served[0].operation, "token");
}

#[tokio::test]
async fn point_15_answers_and_refusals_lack_the_correlation_id_when_told_to() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key" }));
    let id = "11111111-2222-4333-8444-555555555555";
    let unknown = "keys/66666666-7777-4888-9999-aaaaaaaaaaaa/metadata";
    for (echoed, shown) in [(true, Some(id)), (false, None)] {
        world.modes(json!({ "echoCorrelationId": echoed }));
        for (path, status) in [(&*format!("keys/{key}/metadata"), 200), (unknown, 404)] {
            let request = world.request(Method::GET, path);
            let request = request.header("correlation-id", id);
            let answer = read(request.send().await.unwrap()).await;
            let header = answer.headers.get("correlation-id");
            assert_eq!(answer.status, status);
            assert_eq!(header.map(|text| text.to_str().unwrap()), shown, "{path}");
        }
        // None is made up for a request without one, either.
        let made = world.get("keys").await;
        assert_eq!(made.headers.contains_key("correlation-id"), echoed);
    }
    // It is written down whether it is echoed or not.
    let served = world
        .emulator
        .requests(&key_protect_emulator::Wanted::default());
    let of_caller = |served: &&key_protect_emulator::Served| {
        served.operation == "metadata" && served.correlation_id.as_deref() == Some(id)
    };
    assert_eq!(served.iter().filter(of_caller).count(), 4);
}

/// The state of a key where it is read, and where it is listed, if at all.
async fn shown_states(world: &World, key: &str) -> (Value, Option<Value>) {
    let read = world.get(&format!("keys/{key}/metadata")).await;
    let listed = world.get("keys?state=0,1,2,3").await;
    let rows = listed.body["resources"].as_array();
    let row = rows.into_iter().flatten().find(|row| row["id"] == key);
    (
        read.resource()["state"].clone(),
        row.map(|row| row["state"].clone()),
    )
}

#[tokio::test]
async fn point_18_deleted_keys_read_as_deactivated_when_told_to() {
    let world = World::plain().await;
    let date = "2999-01-01T00:00:00Z";
    let key = world.key(json!({ "name": "key", "expirationDate": date }));
    world
        .emulator
        .set_key_state(INSTANCE, &key, &json!("deleted"))
        .unwrap();
    let path = format!("keys/{key}/metadata");
    let before = world.get(&path).await;
    let before = before.resource();
    world.modes(json!({ "deletedReadsAs3Seconds": 86_400 }));
    let read = world.get(&path).await;
    let read = read.resource();
    assert_eq!((&before["state"], &read["state"]), (&json!(5), &json!(3)));
    // Only the state is in doubt: a client goes by these.
    assert_eq!(read["deleted"], true);
    assert_eq!(read["expirationDate"], date);
    assert!(read["deletionDate"].is_string());
    for fact in ["deleted", "deletionDate", "expirationDate"] {
        assert_eq!(read[fact], before[fact], "{fact}");
    }
    let listed = world.get("keys").await;
    assert_eq!(listed.ids(), std::slice::from_ref(&key));
    assert_eq!(listed.resource()["state"], 3);
    for fact in ["deleted", "deletionDate", "expirationDate"] {
        assert_eq!(listed.resource()[fact], before[fact], "{fact} in a list");
    }
    let payload = world.get(&format!("keys/{key}")).await;
    assert_eq!(payload.resource().get("payload"), None);
}

#[tokio::test]
async fn point_18_a_deleted_key_reads_as_deactivated_for_a_while_and_in_places() {
    let mut world = World::plain().await;
    world.emulator.set_token_lifetime(200_000);
    world.token = world.token_for("patient", &roles("Manager")).await;
    let key = world.key(json!({ "name": "key" }));
    let deleted = world.send(Method::DELETE, &format!("keys/{key}")).await;
    assert_eq!(deleted.status, 200);
    let (three, five) = (json!(3), json!(5));
    for (places, read, listed) in [
        ("everywhere", &three, Some(&three)),
        ("lists", &five, Some(&three)),
        ("reads", &three, None),
    ] {
        world.modes(json!({ "deletedReadsAs3Seconds": 86_400, "deletedReadsAs3In": places }));
        for (after, read, listed) in [
            (0, read, listed),
            (86_300, read, listed),
            (86_500, &five, None),
        ] {
            world.emulator.set_clock_offset(after);
            let shown = shown_states(&world, &key).await;
            let expected = (read.clone(), listed.cloned());
            assert_eq!(shown, expected, "{places}, {after} s after");
            let count = world.send(Method::HEAD, "keys").await;
            let total = if listed.is_some() { "1" } else { "0" };
            assert_eq!(
                count.headers["key-total"], total,
                "{places}, {after} s after"
            );
        }
    }
}

#[tokio::test]
async fn a_deleted_key_that_lists_as_deactivated_is_sorted_as_such() {
    let world = World::plain().await;
    let deleted = world.key(json!({ "name": "deleted" }));
    world.emulator.set_clock_offset(60);
    let expired = world.key(json!({ "name": "expired" }));
    for (key, state) in [(&deleted, json!("deleted")), (&expired, json!(3))] {
        world.emulator.set_key_state(INSTANCE, key, &state).unwrap();
    }
    let listed = async || {
        let path = "keys?state=3,5&sort=state,creationDate";
        world.get(path).await.ids()
    };
    assert_eq!(listed().await, [expired.clone(), deleted.clone()]);
    world.modes(json!({ "deletedReadsAs3Seconds": 86_400 }));
    assert_eq!(listed().await, [deleted, expired]);
}

#[tokio::test]
async fn point_19_an_instance_rolls_back_and_may_be_read_only() {
    let world = World::plain().await;
    let old = world.key(json!({ "name": "old", "aliases": ["current"] }));
    world.emulator.take_snapshot(INSTANCE, "before").unwrap();
    let new = world.key(json!({ "name": "new" }));
    world.emulator.put_alias(INSTANCE, "current", &new).unwrap();
    assert_eq!(
        world.get("keys/current").await.resource()["id"],
        new.as_str()
    );
    world.emulator.restore_snapshot(INSTANCE, "before").unwrap();
    assert_eq!(
        world.get("keys/current").await.resource()["id"],
        old.as_str()
    );
    assert_eq!(world.get(&format!("keys/{new}")).await.status, 404);
    world.modes(json!({ "readOnly": true }));
    assert_eq!(
        world
            .post("keys", &wrapped(&json!({ "name": "key" })))
            .await
            .status,
        503
    );
    assert_eq!(world.get("keys/current").await.status, 200);
}

#[tokio::test]
async fn point_19_a_failover_rolls_an_instance_back_by_a_given_time() {
    let mut world = World::plain().await;
    world.emulator.set_token_lifetime(200_000);
    world.token = world.token_for("patient", &roles("Manager")).await;
    world.modes(json!({ "historySeconds": 7200 }));
    let new_key = async |name: &str| {
        let made = world.post("keys", &wrapped(&json!({ "name": name }))).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.resource()["id"].as_str().unwrap().to_owned()
    };
    let fail_over = |age_seconds, read_only_seconds| {
        let failover = Failover {
            age_seconds,
            read_only_seconds,
        };
        world.emulator.fail_over(INSTANCE, failover)
    };
    // What is known of an instance is never more than there was of it.
    let unknown = fail_over(3600, 0).unwrap_err().to_string();
    assert!(unknown.contains("historySeconds"), "{unknown}");

    let first = new_key("first").await;
    world.emulator.set_clock_offset(3000);
    let second = new_key("second").await;
    world.emulator.set_clock_offset(5000);
    // By the API or behind its back.
    world.key(json!({ "name": "third" }));
    let other: CreateKey = serde_json::from_value(json!({ "name": "other" })).unwrap();
    world.emulator.create_key(OTHER_INSTANCE, other).unwrap();
    let gone = world.send(Method::DELETE, &format!("keys/{first}")).await;
    assert_eq!(gone.status, 200);
    world.emulator.set_clock_offset(6000);
    // To 2400, 600 before the second key.
    fail_over(3600, 21_600).unwrap();
    assert_eq!(world.get("keys").await.ids(), std::slice::from_ref(&first));
    assert_eq!(world.get(&format!("keys/{second}")).await.status, 404);
    for (after, status) in [(6000, 503), (27_500, 503), (27_700, 201)] {
        world.emulator.set_clock_offset(after);
        let made = world
            .post("keys", &wrapped(&json!({ "name": "key" })))
            .await;
        assert_eq!(made.status, status, "{after}");
    }
    // The other instance has not failed over.
    assert_eq!(world.emulator.keys(OTHER_INSTANCE).unwrap().len(), 1);
    let too_old = fail_over(7300, 0).unwrap_err().to_string();
    assert!(too_old.contains("historySeconds"), "{too_old}");
}

#[tokio::test]
async fn point_19_no_past_is_made_up_where_none_was_kept() {
    let world = World::plain().await;
    let back_by = |age_seconds| {
        let failover = Failover {
            age_seconds,
            ..Failover::default()
        };
        world.emulator.fail_over(INSTANCE, failover)
    };
    assert!(back_by(10).is_err());
    world.emulator.set_clock_offset(5);
    world.key(json!({ "name": "first" }));
    world.emulator.set_clock_offset(20);
    assert!(back_by(10).is_err() && back_by(16).is_err());
    world.modes(json!({ "historySeconds": 3600 }));
    world.emulator.set_clock_offset(30);
    assert!(back_by(15).is_err(), "it began at 20");
    world.key(json!({ "name": "second" }));
    world.emulator.set_clock_offset(40);
    back_by(15).unwrap();
    assert_eq!(world.emulator.keys(INSTANCE).unwrap().len(), 1);
    // An instance is known from when it was made.
    let id = "aaaaaaaa-0000-4000-8000-000000000003";
    let new = serde_json::from_value(json!({ "id": id })).unwrap();
    world.emulator.create_instance(new).unwrap();
    world.emulator.set_clock_offset(50);
    let key: CreateKey = serde_json::from_value(json!({ "name": "key" })).unwrap();
    world.emulator.create_key(id, key).unwrap();
    world.emulator.set_clock_offset(60);
    let failover = Failover {
        age_seconds: 15,
        ..Failover::default()
    };
    world.emulator.fail_over(id, failover).unwrap();
    assert!(world.emulator.keys(id).unwrap().is_empty());
}

#[tokio::test]
async fn what_a_deleted_key_allows_is_what_is_then_allowed() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "expirationDate": "2020-01-01T00:00:00Z" }));
    world.emulator.run_expiry_pass(INSTANCE).unwrap();
    let deleted = world.send(Method::DELETE, &format!("keys/{key}")).await;
    assert_eq!(deleted.resource()["restoreAllowed"], true);
    assert_eq!(deleted.resource()["purgeAllowed"], false);
    world.emulator.set_clock_offset(31);
    let restored = world
        .send(Method::POST, &format!("keys/{key}/restore"))
        .await;
    assert_eq!(restored.status, 201, "{}", restored.text);
    let read = world.get(&format!("keys/{key}/metadata")).await;
    assert_eq!(read.resource()["state"], 3);
}

#[tokio::test]
async fn point_19_a_service_that_is_read_only_refuses_every_write_and_reads_on() {
    let world = World::plain().await;
    world.key(json!({ "name": "ringed", "keyRing": "ring-a" }));
    let key = world.key(json!({ "name": "root", "extractable": false, "aliases": ["alias"] }));
    let standard = world.key(json!({ "name": "standard", "payload": "aGVsbG8=" }));
    let before = world.emulator.keys(INSTANCE).unwrap();
    world.modes(json!({ "readOnly": true }));
    for (operation, method, path) in writes(&key) {
        let refused = world.send(method, &path).await;
        assert_eq!((refused.status, refused.code()), (503, None), "{operation}");
        let served = world
            .emulator
            .requests(&key_protect_emulator::Wanted::default());
        assert_eq!(served.last().unwrap().operation, operation);
    }
    assert_eq!(world.emulator.keys(INSTANCE).unwrap(), before);
    for path in [
        "keys",
        "keys/alias",
        "keys/alias/metadata",
        &format!("keys/{key}/versions"),
        &format!("keys/{key}/policies"),
        &format!("keys/{standard}"),
        "key_rings",
        "instance/policies",
    ] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
    let listed = world.get("keys").await;
    assert_eq!(listed.ids().len(), 3);
    let payload = world.get(&format!("keys/{standard}")).await;
    assert_eq!(payload.resource()["payload"], "aGVsbG8=");
    assert_eq!(world.send(Method::HEAD, "keys").await.status, 200);
    // A data key is wrapped without anything being kept.
    let wrap = format!("keys/{key}/actions/wrap");
    assert_eq!(world.post(&wrap, &json!({})).await.status, 200);
}

#[tokio::test]
async fn point_20_payloads_may_have_line_breaks_or_be_empty_or_late() {
    let world = World::plain().await;
    let key = world.key(json!({ "name": "key", "payload": STANDARD.encode([7_u8; 100]) }));
    let payload = async || {
        world
            .get(&format!("keys/{key}"))
            .await
            .resource()
            .get("payload")
            .cloned()
    };
    world.modes(json!({ "payloadLineBreaks": true }));
    assert!(payload().await.unwrap().as_str().unwrap().contains('\n'));
    world.modes(json!({ "payloadEmpty": true }));
    assert_eq!(payload().await, Some(json!("")));
    world.modes(json!({ "payloadDelaySeconds": 60 }));
    assert_eq!(payload().await, None);
}

#[tokio::test]
async fn point_20_an_import_with_line_breaks_in_its_base64_is_refused() {
    let world = World::plain().await;
    let whole = STANDARD.encode([7_u8; 24]);
    for extractable in [true, false] {
        let create = async |payload: &str| {
            let new = json!({ "name": "key", "extractable": extractable, "payload": payload });
            world.post("keys", &wrapped(&new)).await
        };
        for (at, line_break) in [(16, "\n"), (16, "\r\n"), (whole.len(), "\n")] {
            let mut broken = whole.clone();
            broken.insert_str(at, line_break);
            let refused = create(&broken).await;
            assert_eq!(
                (refused.status, refused.code()),
                (400, Some("INVALID_FIELD_ERR")),
                "{broken:?}"
            );
            let target = &refused.resource()["reasons"][0]["target"];
            assert_eq!(target["name"], "payload");
        }
        assert_eq!(create(&whole).await.status, 201);
    }
}

#[tokio::test]
async fn point_21_an_unknown_key_has_its_reason_code() {
    let world = World::plain().await;
    let unknown = world.get("keys/11111111-2222-4333-8444-555555555555").await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (404, Some("KEY_NOT_FOUND_ERR"))
    );
    let reason = &unknown.resource()["reasons"][0];
    assert!(reason["status"].is_u64() && reason["message"].is_string());
    assert_eq!(
        unknown.body["metadata"]["collectionType"],
        "application/vnd.ibm.kms.error+json"
    );
    // `registrations` is reserved, and no key.
    assert_eq!(world.get("keys/registrations").await.status, 200);
}
