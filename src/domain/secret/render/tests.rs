use proptest::prelude::*;
use serde_json::json;
use zeroize::Zeroizing;

use super::*;
use crate::api::key::Target;
use crate::domain::service::ids::KeyId;
use crate::domain::service::reference::KeyReference;

fn spec(target: serde_json::Value) -> TargetSpec {
    let target: Target = serde_json::from_value(target).expect("a target");
    let main = KeyReference::from_selector(None, "orders-db").expect("a reference");
    TargetSpec::new("orders-db", Some(&target), &main, &[]).expect("a target that can be made")
}

/// Projects with these payloads as sources, in order.
fn project_all(target: serde_json::Value, payloads: &[&[u8]]) -> Result<DesiredData, RenderError> {
    let id = KeyId::parse("02fd6835-6001-4482-a892-13bd2085f75d").expect("an ID");
    let mut metadata = KeyMetadata::unknown(id);
    metadata.name = Some("orders".to_owned());
    let materials: Vec<KeyMaterial> = payloads
        .iter()
        .map(|bytes| KeyMaterial::new(Zeroizing::new(bytes.to_vec())))
        .collect();
    let sources: Vec<Source<'_>> = materials
        .iter()
        .map(|material| Source {
            metadata: &metadata,
            alias: Some("orders-db"),
            material,
        })
        .collect();
    project(&spec(target), &sources)
}

fn entries(data: &DesiredData) -> BTreeMap<&str, &[u8]> {
    data.entries
        .iter()
        .map(|(name, content)| (name.as_str(), content.expose()))
        .collect()
}

fn one(entry: &serde_json::Value, payload: &[u8]) -> Result<Vec<u8>, RenderError> {
    let data = project_all(json!({"data": [entry]}), &[payload])?;
    let content = data.entries.into_values().next().expect("an entry");
    Ok(content.expose().to_vec())
}

fn message(target: serde_json::Value, payload: &[u8]) -> String {
    project_all(target, &[payload])
        .expect_err("cannot be made")
        .to_string()
}

#[test]
fn without_a_target_the_payload_is_exact() {
    let all: Vec<u8> = (0..=255).collect();
    for payload in [&b"\0"[..], b"\n", &all, &[0xa5; 7_500]] {
        let data = project_all(json!({}), &[payload]).expect("made");
        assert_eq!(entries(&data), BTreeMap::from([("key", payload)]));
        assert_eq!(data.notes, []);
    }
}

#[test]
fn a_secret_is_made_of_several_keys() {
    let target = json!({"data": [
        {"name": "tls.crt", "from": {"alias": "web"}},
        {"name": "tls.key", "encoding": "Text"},
        {"name": "url", "template": "x://{{ payload }}/{{ key.alias }}/{{ key.name }}", "from": {"alias": "url"}},
        {"name": "host", "value": "{{ db }}"},
        {"name": "again", "encoding": "Hex", "from": {"alias": "web"}},
    ]});
    let data = project_all(target, &[b"\xffcrt", b"main\n", b"u"]).expect("made");
    assert_eq!(
        entries(&data),
        BTreeMap::from([
            ("again", &b"ff637274"[..]),
            ("host", b"{{ db }}"),
            ("tls.crt", b"\xffcrt"),
            ("tls.key", b"main"),
            ("url", b"x://u/orders-db/orders"),
        ])
    );
}

#[test]
fn a_property_is_encoded_as_the_text_that_it_is() {
    let payload = br#"{"a": {"b": "p\u00e9\n", "n": 1.10, "o": {"x": [1, 2]}}, "a.b": "lit"}"#;
    for (property, encoding, expected) in [
        ("a.b", "Raw", "lit"),
        ("a[\"b\"]", "Raw", "pé\n"),
        ("a[\"b\"]", "Text", "pé"),
        ("a[\"b\"]", "Base64", "cMOpCg=="),
        ("a[\"b\"]", "Hex", "70c3a90a"),
        ("a.n", "Raw", "1.10"),
        ("a.n", "Base64URLNoPad", "MS4xMA"),
        ("a.o", "Raw", "{\"x\":[1,2]}"),
    ] {
        assert_eq!(
            one(
                &json!({"name": "e", "property": property, "encoding": encoding}),
                payload
            ),
            Ok(expected.as_bytes().to_vec()),
            "{property} {encoding}"
        );
    }
}

#[test]
fn a_property_of_what_is_no_json_says_what_to_do() {
    let property = json!({"data": [{"name": "e", "property": "a.b"}]});
    for (payload, expected) in [
        (
            &b"\xff"[..],
            "entry e: the payload is not UTF-8 text; so it is no JSON",
        ),
        (
            b"plain",
            "entry e: the payload is not JSON that can be read: expected a value",
        ),
        (
            b"{\"a\":{}}",
            "entry e: the payload's JSON has nothing at \"a.b\" (it could be followed as far as \"a\"); write the path",
        ),
        (
            b"[]",
            "entry e: the payload's JSON has nothing at \"a.b\"; write the path",
        ),
        (b"{\"a\":{\"b\":1,\"b\":2}}", "same field twice"),
    ] {
        let message = message(property.clone(), payload);
        assert!(message.contains(expected), "{message}");
    }
    let message = message(json!({"data": [{"name": "e", "property": "a..b"}]}), b"{}");
    assert!(
        message.contains("as a path it fails at its character 3"),
        "{message}"
    );
}

#[test]
fn expand_makes_an_entry_of_each_field() {
    let payload = br#"{"user": "app", "port": 5432.0, "tls.crt": "x\n", "opts": { "a": [ null ] }, "\u0061": true}"#;
    let data = project_all(json!({"expand": "JSON"}), &[payload]).expect("made");
    assert_eq!(
        entries(&data),
        BTreeMap::from([
            ("a", &b"true"[..]),
            ("opts", b"{\"a\":[null]}"),
            ("port", b"5432.0"),
            ("tls.crt", b"x\n"),
            ("user", b"app"),
        ])
    );
}

#[test]
fn what_cannot_be_expanded_is_refused() {
    let expand = json!({"expand": "JSON"});
    let many: Vec<String> = (0..65).map(|n| format!("\"e{n}\":1")).collect();
    for (payload, expected) in [
        ("{}", "target.expand: the payload is an empty JSON object"),
        ("[1]", "target.expand: the payload is JSON but no object"),
        ("\"x\"", "JSON but no object"),
        ("x", "target.expand: the payload is not JSON"),
        (
            "{\"ok\":1,\"a b\":2}",
            "target.expand: the name of the payload's field number 2",
        ),
        ("{\"\":1}", "field number 1"),
        ("{\"..\":1}", "field number 1"),
        ("{\"a\\u0000\":1}", "field number 1"),
        ("{\"a\":1,\"\\u0061\":2}", "same field twice"),
        (&format!("{{{}}}", many.join(",")), "would have 65 entries"),
    ] {
        let message = message(expand.clone(), payload.as_bytes());
        assert!(message.contains(expected), "{message}");
    }
    assert!(message(expand, b"\xff").contains("not UTF-8"));
}

#[test]
fn an_expanded_payload_must_have_what_the_type_needs() {
    let tls = json!({"expand": "JSON", "type": "kubernetes.io/tls"});
    assert!(project_all(tls.clone(), &[br#"{"tls.crt":"c","tls.key":"k"}"#]).is_ok());
    let message = message(tls, br#"{"tls.crt":"c","canary":"k"}"#);
    assert!(message.contains("kubernetes.io/tls"), "{message}");
    assert!(!message.contains("canary"), "{message}");
}

#[test]
fn a_docker_configuration_is_a_json_object() {
    let target =
        json!({"type": "kubernetes.io/dockerconfigjson", "data": [{"name": ".dockerconfigjson"}]});
    assert!(project_all(target.clone(), &[br#"{"auths":{}}"#]).is_ok());
    for (payload, expected) in [
        (&b"canary"[..], "expected a value"),
        (b"[]", "expected an object"),
        (b"\xff", "expected UTF-8 text"),
    ] {
        let message = message(target.clone(), payload);
        assert!(
            message.starts_with("entry .dockerconfigjson: must be a JSON object"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn an_ssh_key_is_not_empty() {
    let target = json!({"type": "kubernetes.io/ssh-auth", "data": [{"name": "ssh-privatekey", "encoding": "Text"}]});
    assert!(project_all(target.clone(), &[b"k\n"]).is_ok());
    assert!(message(target, b"\n").contains("must not be empty"));
}

#[test]
fn one_entry_that_fails_fails_the_secret() {
    let target = json!({"data": [{"name": "a"}, {"name": "b", "encoding": "Text"}]});
    assert_eq!(
        message(target, b"\xffcanary"),
        "entry b: the payload is not UTF-8 text; write encoding: Raw, or Base64 or Hex for \
         something printable"
    );
}

#[test]
fn a_secret_has_a_length() {
    let target = json!({"data": [{"name": "a"}, {"name": "b"}]});
    let half = vec![0; limits::SECRET_BYTES / 2];
    assert!(project_all(target.clone(), &[&half]).is_ok());
    let more = vec![0; limits::SECRET_BYTES / 2 + 1];
    assert_eq!(
        project_all(target, &[&more]).map(|_| ()),
        Err(RenderError::SecretTooLong)
    );
}

#[test]
fn other_keys_than_the_target_has_are_refused() {
    for payloads in [&[][..], &[&b"a"[..], b"b"]] {
        assert!(matches!(
            project_all(json!({}), payloads),
            Err(RenderError::SourcesDiffer { expected: 1, .. })
        ));
    }
    assert!(project_all(json!({"data": [{"name": "a", "value": "x"}]}), &[]).is_ok());
}

#[test]
fn a_newline_at_the_end_is_noted_where_it_hurts() {
    for (name, encoding, payload, noted) in [
        ("password", "Raw", "x\n", true),
        ("DB_PASSWORD", "Raw", "x\r\n", true),
        ("api-key", "Raw", "x\n", true),
        ("client.secret", "Raw", "x\n", true),
        ("token", "Raw", "x", false),
        ("token", "Raw", "x\n ", false),
        ("token", "Text", "x\n", false),
        ("token", "Hex", "x\n", false),
        ("tls.key", "Raw", "x\n", false),
        ("key", "Raw", "x\n", false),
        ("token", "Raw", "", false),
    ] {
        let target = json!({"data": [{"name": name, "encoding": encoding}]});
        let data = project_all(target, &[payload.as_bytes()]).expect("made");
        let note = RenderNote::PayloadNewline {
            entry: name.to_owned(),
        };
        let expected = if noted { vec![note] } else { Vec::new() };
        assert_eq!(data.notes, expected, "{name} {encoding} {payload:?}");
    }
}

#[test]
fn a_newline_byte_at_the_end_of_a_binary_key_is_no_newline() {
    let target = json!({"data": [{"name": "jwt.secret"}]});
    let data = project_all(target, &[b"\xff\xfe\n"]).expect("made");
    assert_eq!(data.notes, []);
}

#[test]
fn debug_prints_no_content() {
    let data =
        project_all(json!({"expand": "JSON"}), &[br#"{"canary1":"canary2"}"#]).expect("made");
    let text = format!("{data:?} {:?}", data.entries.values());
    assert!(!text.contains("canary"), "{text}");
}

fn any_entry() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        proptest::sample::select(vec![
            "Raw",
            "Text",
            "Base64",
            "Base64URL",
            "Base64URLNoPad",
            "Hex"
        ])
        .prop_map(|encoding| json!({"name": "e", "encoding": encoding})),
        "[ab.\\[\\]0\"]{1,8}".prop_map(|path| json!({"name": "e", "property": path})),
        Just(json!({"name": "e", "template": "{{ payload | json('a') | urlencode }}"})),
        Just(json!({"name": "e", "template": "{{ payload | trim }}"})),
    ]
}

proptest! {
    #[test]
    fn any_payload_is_made_into_a_secret_or_an_error_that_tells_nothing(
        entry in any_entry(),
        expand in any::<bool>(),
        before in prop_oneof![Just(Vec::new()), Just(b"{\"a\":\"".to_vec()), Just(b"{\"".to_vec())],
        middle in proptest::collection::vec(any::<u8>(), 0..64),
        after in prop_oneof![Just(Vec::new()), Just(b"\"}".to_vec()), Just(b"\":[1,{\"b\":2}]}".to_vec())],
    ) {
        let payload = [&before[..], b"Q7Xv", &middle, &after].concat();
        let target = if expand { json!({"expand": "JSON"}) } else { json!({"data": [entry]}) };
        match project_all(target, &[&payload]) {
            Ok(data) => {
                prop_assert!(!data.entries.is_empty());
                let text = format!("{data:?}");
                prop_assert!(!text.contains("Q7Xv"));
            }
            Err(error) => {
                let text = format!("{error} {error:?}");
                prop_assert!(!text.contains("Q7Xv"), "{}", text);
            }
        }
    }
}
