//! Lists over HTTP: the points of the reference that are about lists.

use std::collections::BTreeSet;

use crate::support::{INSTANCE, World};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn point_8_lists_are_paged_ordered_by_id_and_hide_destroyed_keys() {
    let world = World::plain().await;
    let bulk = json!({ "count": 205, "prefix": "key-" });
    world
        .emulator
        .create_keys(INSTANCE, &serde_json::from_value(bulk).unwrap())
        .unwrap();
    let first = world.get("keys").await;
    let (ids, mut sorted) = (first.ids(), first.ids());
    sorted.sort();
    assert_eq!(
        (
            ids.len(),
            first.body["metadata"]["collectionTotal"].as_u64()
        ),
        (200, Some(200))
    );
    assert_eq!(ids, sorted);
    assert_eq!(world.get("keys?offset=200").await.ids().len(), 5);
    assert_eq!(world.get("keys?limit=3&offset=1").await.ids(), ids[1..4]);
    assert_eq!(world.get("keys?limit=5000").await.status, 200);
    for bad in [
        "limit=5001",
        "limit=x",
        "offset=-1",
        "state=9",
        "sort=colour",
        "extractable=x",
    ] {
        assert_eq!(world.get(&format!("keys?{bad}")).await.status, 400, "{bad}");
    }

    // Paging is over live data: a key that goes shifts the rest.
    world
        .emulator
        .set_key_state(INSTANCE, &ids[0], &json!("deleted"))
        .unwrap();
    assert_eq!(world.get("keys?limit=1").await.ids(), ids[1..2]);
    assert_eq!(world.get("keys?state=5").await.ids(), ids[0..1]);
    assert_eq!(
        world.get("keys?state=1,5&limit=5000").await.ids().len(),
        205
    );
    let total = world.send(Method::HEAD, "keys").await;
    assert_eq!(
        (total.status, &total.headers["key-total"]),
        (200, &"204".parse().unwrap())
    );
    let total = world
        .send(Method::HEAD, "keys?state=0,1,2,3,5&extractable=true")
        .await;
    assert_eq!(total.headers["key-total"], "205");
    let rows = first.body["resources"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row.get("payload").is_none()),
        "a list never has a payload"
    );
}

#[tokio::test]
async fn point_16_lists_leave_out_what_the_caller_may_not_list() {
    let world = World::plain().await;
    let (a, b) = (
        world.key(json!({ "name": "ka", "keyRing": "ring-a" })),
        world.key(json!({ "name": "kb" })),
    );
    let ringed = json!([{ "instance": INSTANCE, "role": "ReaderPlus", "keyRing": "ring-a" }]);
    let ringed = world.token_for("ringed", &ringed).await;
    let single = json!([{ "instance": INSTANCE, "role": "ReaderPlus", "key": b }]);
    let single = world.token_for("single", &single).await;
    let nobody = world.token_for("nobody", &json!([])).await;

    assert_eq!(
        world.get_as(&ringed, "keys").await.ids(),
        std::slice::from_ref(&a)
    );
    for token in [&single, &nobody] {
        let answer = world.get_as(token, "keys").await;
        assert_eq!(
            (answer.status, &answer.body["metadata"]["collectionTotal"]),
            (200, &json!(0))
        );
        assert!(answer.body.get("resources").is_none());
    }
    // What is granted singly can be read all the same.
    assert_eq!(
        world.get_as(&single, &format!("keys/{b}")).await.status,
        200
    );
    assert_eq!(
        world.get_as(&single, &format!("keys/{a}")).await.status,
        401
    );
    world.modes(json!({ "listShowsSingleGrants": true, "listForbiddenAsEmpty200": false }));
    assert_eq!(world.get_as(&single, "keys").await.ids(), [b]);
    assert_eq!(world.get_as(&nobody, "keys").await.status, 401);
}

#[tokio::test]
async fn point_16_lists_lie_by_omission_when_told_to() {
    let world = World::plain().await;
    let ids: Vec<String> = (0..4)
        .map(|n| world.key(json!({ "name": "key", "aliases": [format!("alias-{n}")] })))
        .collect();
    let listed = async || {
        world
            .get("keys")
            .await
            .ids()
            .into_iter()
            .collect::<BTreeSet<_>>()
    };
    world.modes(json!({ "listOmitsAliases": true, "listOmitsRings": true }));
    let row = world.get("keys").await;
    assert!(row.resource().get("aliases").is_none() && row.resource().get("keyRingID").is_none());
    let single = world.get(&format!("keys/{}/metadata", ids[0])).await;
    assert_eq!(single.resource()["aliases"], json!(["alias-0"]));

    world.modes(json!({ "listOmitKeys": [ids[0]] }));
    assert!(!listed().await.contains(&ids[0]));
    world.modes(json!({ "listOmitKeys": [], "listHalf": true }));
    assert_eq!(listed().await.len(), 2);
    world.modes(json!({ "listHalf": false, "listDisagrees": true }));
    assert_ne!(listed().await, listed().await);
    world.modes(json!({ "listDisagrees": false, "newKeyHiddenSeconds": 60 }));
    assert_eq!(listed().await.len(), 0);
    world.emulator.set_clock_offset(61);
    assert_eq!(listed().await.len(), 4);
    world.modes(json!({ "listEmpty": true }));
    let empty = world.get("keys").await;
    assert_eq!((empty.status, empty.body.get("resources")), (200, None));
}

#[tokio::test]
async fn point_20_searches_filters_and_sorts_are_those_of_the_documentation() {
    let world = World::plain().await;
    let made = |name: &str, alias: &str, date: &str, extractable: bool| {
        world.key(
            json!({ "name": name, "aliases": [alias], "extractable": extractable,
                          "creationDate": format!("2026-01-{date}T00:00:00Z") }),
        )
    };
    let one = made("Database", "db-one", "01", true);
    let two = made("Cache", "database", "02", true);
    let root = made("Root", "root-key", "03", false);
    let found = async |query: &str| {
        world
            .get(&format!("keys?{query}"))
            .await
            .ids()
            .into_iter()
            .collect::<BTreeSet<_>>()
    };
    let set = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<BTreeSet<_>>();
    for (query, expected) in [
        ("search=base", set(&[&one, &two])),
        ("search=DATABASE,", set(&[&one, &two])),
        ("search=name:base", set(&[&one])),
        ("search=alias:exact:DataBase", set(&[&two])),
        ("search=not:base", set(&[&root])),
        ("search=exact:base", set(&[])),
        ("extractable=false", set(&[&root])),
        ("filter=extractable=true", set(&[&one, &two])),
        (
            "filter=creationDate=gte:\"2026-01-02T00:00:00Z\"",
            set(&[&two, &root]),
        ),
        (
            "filter=creationDate=\"2026-01-02T00:00:00Z\" deletionDate=none",
            set(&[&two]),
        ),
        (
            "filter=expirationDate=lt:\"2026-01-02T00:00:00Z\"",
            set(&[]),
        ),
    ] {
        assert_eq!(found(query).await, expected, "{query}");
    }
    let by_id = world.get(&format!("keys?search={two}")).await;
    assert_eq!(by_id.ids(), std::slice::from_ref(&two));
    assert_eq!(
        by_id.body["metadata"]["searchQuery"],
        json!({ "query": two, "scopes": ["name", "alias"], "not": false, "exact": false })
    );
    let down = world.get("keys?sort=-creationDate").await.ids();
    assert_eq!(down, [root.clone(), two.clone(), one.clone()]);
    let mixed = world.get("keys?sort=extractable,-creationDate").await.ids();
    assert_eq!(mixed, [root, two, one]);
    assert_eq!(world.get("keys?state=1&filter=state=1").await.status, 400);
}

#[tokio::test]
async fn searching_more_than_five_thousand_keys_is_too_broad() {
    let world = World::plain().await;
    let bulk = json!({ "count": 5001, "prefix": "key-", "payload": "aGk=" });
    let ids = world
        .emulator
        .create_keys(INSTANCE, &serde_json::from_value(bulk).unwrap())
        .unwrap();
    let broad = world.get("keys?search=key").await;
    assert_eq!(
        (broad.status, broad.code()),
        (400, Some("KEY_SEARCH_TOO_BROAD"))
    );
    let by_id = world.get(&format!("keys?search={}", ids[7])).await;
    assert_eq!(by_id.ids(), [ids[7].clone()]);
    assert_eq!(
        by_id.body["metadata"]["incompleteSearch"],
        Value::Bool(true)
    );
    let alias = "straight-to-it";
    world.emulator.put_alias(INSTANCE, alias, &ids[9]).unwrap();
    let by_alias = world.get(&format!("keys?search=alias:{alias}")).await;
    assert_eq!(by_alias.ids(), [ids[9].clone()]);
    assert_eq!(by_alias.body["metadata"]["incompleteSearch"], true);
    let missed = world.get("keys?search=alias:nobody-has-it").await;
    assert_eq!(missed.code(), Some("KEY_SEARCH_TOO_BROAD"));
}
