//! What stands in the Secret, byte for byte, and what is said of a payload that does not fit.

use serde_json::{Value, json};

use crate::scene::{KEY, SECRET, Scene, base64};
use crate::stage::Stage;

fn with(scene: &Scene, alias: &str, payload: &[u8]) -> String {
    scene.key(json!({"name": alias, "aliases": [alias], "payload": base64(payload)}))
}

fn entry(name: &str, field: &str, value: &str) -> Value {
    json!({"name": name, field: value})
}

#[test]
fn payloads_arrive_byte_for_byte_whatever_their_length() {
    let scene = Stage::shared().scene("bytes");
    let all: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = (0..7500_u32).map(|at| (at % 251) as u8).collect();
    let payloads: [(&str, &[u8]); 6] = [
        ("nul", b"\0"),
        ("nuls", b"\0\0a\0"),
        ("all", &all),
        ("one", b"x"),
        ("long", &long),
        ("newline", b"text\n"),
    ];
    for (alias, payload) in payloads {
        with(&scene, alias, payload);
        scene.object(alias, json!({"target": {"data": [{"name": "password"}]}}));
    }
    for (alias, payload) in payloads {
        scene.until_synced(alias);
        assert_eq!(scene.data(alias)["password"], payload, "{alias}");
    }
    let note = scene.until_event("newline", "PayloadNewline");
    assert!(note.contains("encoding: Text"), "{note}");
    // Line breaks within the base64 of the answer are no bytes of the payload.
    scene.modes(json!({"payloadLineBreaks": true}));
    scene.delete(SECRET, "long");
    scene.until(SECRET, "long", "made anew", |_| true);
    assert_eq!(scene.data("long")["password"], long);
}

#[test]
fn every_encoding_writes_what_it_says() {
    let scene = Stage::shared().scene("encodings");
    with(&scene, "bin", b"\xfb\xff\xfe\0");
    with(&scene, "text", b"pass\n");
    let names = ["Raw", "Base64", "Base64URL", "Base64URLNoPad", "Hex"];
    let mut data: Vec<Value> = names
        .iter()
        .map(|name| entry(name, "encoding", name))
        .collect();
    data.push(json!({"name": "Text", "encoding": "Text", "from": {"alias": "text"}}));
    scene.synced_object("bin", json!({"target": {"data": data}}));
    let data = scene.data("bin");
    let expected: [(&str, &[u8]); 6] = [
        ("Raw", b"\xfb\xff\xfe\0"),
        ("Base64", b"+//+AA=="),
        ("Base64URL", b"-__-AA=="),
        ("Base64URLNoPad", b"-__-AA"),
        ("Hex", b"fbfffe00"),
        ("Text", b"pass"),
    ];
    for (name, bytes) in expected {
        assert_eq!(data[name], bytes, "{name}");
    }
    assert_eq!(data.len(), 6);
}

#[test]
fn properties_templates_literals_and_several_sources_make_one_secret() {
    let scene = Stage::shared().scene("sources");
    with(
        &scene,
        "orders",
        br#"{"db": {"password": "p/w d"}, "db.user": "app", "port": 5432}"#,
    );
    let other = with(&scene, "web-key", b"web");
    let data = json!([
        {"name": "password", "property": "db.password"},
        {"name": "user", "property": "db.user"},
        {"name": "port", "property": "port"},
        {"name": "host", "value": "db.orders.svc"},
        {"name": "url", "template": "postgres://app:{{ payload | json('db.password') | urlencode }}@db/{{ key.alias }}"},
        {"name": "web", "from": {"alias": "web-key"}},
        {"name": "web-id", "from": {"alias": "web-key"}, "template": "{{ key.id }} {{ key.name }}"},
    ]);
    scene.synced_object("orders", json!({"target": {"data": data}}));
    let secret = scene.data("orders");
    let text = |name: &str| String::from_utf8(secret[name].clone()).expect("text");
    assert_eq!(text("password"), "p/w d");
    assert_eq!(text("user"), "app");
    assert_eq!(text("port"), "5432");
    assert_eq!(text("host"), "db.orders.svc");
    assert_eq!(text("url"), "postgres://app:p%2Fw%20d@db/orders");
    assert_eq!(text("web"), "web");
    assert_eq!(text("web-id"), format!("{other} web-key"));
    let object = scene.get(KEY, "orders");
    let keys = object["status"]["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[1]["entry"], "web");
    scene.ready("orders").tells(&["2 keys"]);
    // Both come from one pass, and each is read once.
    assert_eq!(scene.served("get").len(), 2);
    // Of the sources, one moves: the others are read again with it, and all is one write.
    let moved = with(&scene, "moved", b"moved");
    scene.move_alias("web-key", &moved);
    scene.sync("orders");
    assert_eq!(scene.data("orders")["web"], b"moved");
    assert_eq!(scene.data("orders")["password"], b"p/w d");
}

#[test]
fn one_source_that_is_missing_means_that_nothing_is_written() {
    let scene = Stage::shared().scene("partial");
    with(&scene, "orders", b"there");
    let data = json!([{"name": "key"}, {"name": "web", "from": {"alias": "web-key"}}]);
    scene.object("orders", json!({"target": {"data": data}}));
    scene
        .until_reason("orders", "KeyNotAvailable")
        .tells(&["Alias web-key"]);
    assert!(scene.find(SECRET, "orders").is_none());
    assert!(scene.served("get").is_empty());
    with(&scene, "web-key", b"web");
    scene.until_synced("orders");
    assert_eq!(scene.data("orders").len(), 2);
}

#[test]
fn an_expanded_payload_makes_an_entry_of_each_field_and_follows_it() {
    let scene = Stage::shared().scene("expand");
    with(
        &scene,
        "orders",
        br#"{"user": "app", "limits": {"a": [1, 2]}, "on": true}"#,
    );
    scene.synced_object("orders", json!({"target": {"expand": "JSON"}}));
    let expected: Vec<(String, Vec<u8>)> = [
        ("limits", r#"{"a":[1,2]}"#),
        ("on", "true"),
        ("user", "app"),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .to_vec();
    assert_eq!(
        scene.data("orders").into_iter().collect::<Vec<_>>(),
        expected
    );
    let new = scene.key(json!({"name": "new", "payload": base64(br#"{"token": "t"}"#)}));
    scene.move_alias("orders", &new);
    scene.sync("orders");
    assert_eq!(
        scene.data("orders").into_keys().collect::<Vec<_>>(),
        ["token"]
    );
}

#[test]
fn literals_alone_need_no_key_and_ask_for_none() {
    let scene = Stage::shared().scene("literals");
    scene.until_instance("Ready", "Available");
    let journal = scene.emulator.last_request();
    scene.synced_object(
        "host",
        json!({"target": {"data": [{"name": "host", "value": "db"}]}}),
    );
    assert_eq!(scene.data("host")["host"], b"db");
    scene.ready("host").tells(&["literals only"]);
    scene.sync("host");
    assert_eq!(scene.emulator.last_request(), journal);
}

#[test]
fn what_cannot_be_rendered_names_the_entry_and_never_the_content() {
    let scene = Stage::shared().scene("unrendered");
    with(&scene, "bin", b"canary\xff\xfe");
    with(
        &scene,
        "json",
        br#"{"canary-field": "canary-value", "list": ["canary"]}"#,
    );
    with(&scene, "good", b"good");
    let cases = [
        (
            "bin",
            json!([{"name": "text", "encoding": "Text"}]),
            "entry text",
        ),
        (
            "bin",
            json!([{"name": "field", "property": "a.b"}]),
            "entry field",
        ),
        (
            "json",
            json!([{"name": "field", "property": "db.password"}]),
            "entry field",
        ),
        (
            "json",
            json!([{"name": "url", "template": "x{{ payload | json('nothing') }}"}]),
            "entry url, template character",
        ),
        (
            "good",
            json!([{"name": "broken", "template": "{{ payload | lower }}"}]),
            "entry broken, template character",
        ),
    ];
    for (number, (alias, data, entry)) in cases.into_iter().enumerate() {
        let name = format!("case-{number}");
        scene.object(
            &name,
            json!({"key": {"alias": alias}, "target": {"data": data}}),
        );
        let said = scene.until_reason(&name, "RenderFailed");
        assert_eq!(said.status, "False");
        said.tells(&[entry]);
        let note = scene.until_event(&name, "RenderFailed");
        for text in [&said.message, &note] {
            assert!(!text.contains("canary"), "{text}");
        }
        assert!(scene.find(SECRET, &name).is_none());
    }
    assert!(!scene.stage.log().contains("canary"));
    scene.object(
        "case-0",
        json!({"key": {"alias": "bin"}, "target": {"data": [{"name": "text"}]}}),
    );
    scene.until_synced("case-0");
}

#[test]
fn a_value_that_no_longer_renders_keeps_the_secret() {
    let scene = Stage::shared().scene("no-longer");
    with(&scene, "orders", br#"{"password": "first"}"#);
    scene.synced_object(
        "orders",
        json!({"target": {"data": [{"name": "p", "property": "password"}]}}),
    );
    let before = scene.get(SECRET, "orders");
    let new = scene.key(json!({"name": "new", "payload": base64(br#"{"pass": "second"}"#)}));
    scene.move_alias("orders", &new);
    scene.sync("orders");
    scene
        .until_reason("orders", "RenderFailed")
        .tells(&["entry p"]);
    let after = scene.get(SECRET, "orders");
    assert_eq!(
        after["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
}
