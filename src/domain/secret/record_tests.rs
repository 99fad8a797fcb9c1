use std::collections::BTreeSet;

use super::*;
use crate::api::key::Target;
use crate::domain::service::reference::KeyReference;

const INSTANCE: &str = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";
const API_VERSION: Option<&str> = Some("keyprotect.dev/v1alpha1");

fn id(last: u8) -> KeyId {
    KeyId::parse(&format!("02fd6835-6001-4482-a892-13bd2085f7{last:02x}")).expect("an ID")
}

fn spec(target: Value) -> TargetSpec {
    let target: Target = serde_json::from_value(target).expect("a target");
    let main = KeyReference::from_selector(None, "orders-db").expect("a reference");
    TargetSpec::new("orders-db", Some(&target), &main, &[]).expect("a target that can be made")
}

/// With keys 0, 1, 2 … as sources.
fn record_of(target: Value) -> String {
    let spec = spec(target);
    let ids: Vec<KeyId> = (0..).map(id).take(spec.sources.len()).collect();
    let facts: Vec<_> = ids
        .iter()
        .map(|id| SourceFacts {
            id,
            name: Some("name"),
            alias: Some("alias"),
        })
        .collect();
    record(&spec, API_VERSION, INSTANCE, &facts)
}

fn full() -> Value {
    json!({
        "name": "db",
        "metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"c": "3"}},
        "data": [
            {"name": "raw"},
            {"name": "text", "encoding": "Text", "from": {"alias": "web"}},
            {"name": "prop", "property": "db.password"},
            {"name": "url", "template": "x{{ payload | json('a') | urlencode }}"},
            {"name": "host", "value": "db"},
        ],
    })
}

#[test]
fn golden_record() {
    // Changes only together with RECORD_VERSION or RENDERER_VERSION: every Secret of every
    // cluster is written once more when it does.
    assert_eq!(
        record_of(json!({})),
        "v1:a833d47941e4945941c86355af10cf37930d755eb51f5f8791a5c3d6f166cf12"
    );
    assert_eq!(
        record_of(full()),
        "v1:a4569d86f91ad432084fe421f94080a0eb1b0dc9a4b749fa40e27b7ed0db77a1"
    );
}

#[test]
fn the_form_is_a_version_and_a_sha256() {
    let record = record_of(full());
    let digest = record.strip_prefix("v1:").expect("a version");
    assert_eq!(digest.len(), 64);
    assert!(
        digest
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    );
}

#[test]
fn the_canonical_target_is_golden() {
    assert_eq!(
        spec(full()).canonical(),
        json!({
            "annotations": {"c": "3"},
            "content": [
                ["host", null, ["value", "db"]],
                ["prop", 0, ["property", "db.password", "Raw"]],
                ["raw", 0, ["payload", "Raw"]],
                ["text", 1, ["payload", "Text"]],
                ["url", 0, ["template", ["x", ["payload", ["json", "a"], "urlencode"]]]],
            ],
            "deletionPolicy": "Delete",
            "labels": {"a": "1", "b": "2"},
            "name": "db",
            "type": "Opaque",
        })
    );
    assert_eq!(
        spec(json!({"expand": "JSON"})).canonical()["content"],
        json!({"expand": "JSON", "source": 0})
    );
}

#[test]
fn any_input_of_the_target_changes_the_record() {
    let mut seen = BTreeSet::from([record_of(full())]);
    for (pointer, value) in [
        ("/name", json!("db2")),
        ("/deletionPolicy", json!("Retain")),
        ("/metadata/labels/a", json!("9")),
        ("/metadata/labels", json!({"a": "1"})),
        ("/metadata/annotations/c", json!("9")),
        ("/metadata", json!({})),
        ("/data/0/name", json!("raw2")),
        ("/data/0/encoding", json!("Hex")),
        ("/data/0/encoding", json!("Text")),
        ("/data/0/encoding", json!("Base64")),
        ("/data/0/encoding", json!("Base64URL")),
        ("/data/0/encoding", json!("Base64URLNoPad")),
        ("/data/0/property", json!("db.password")),
        ("/data/0/value", json!("")),
        ("/data/1/from", Value::Null),
        ("/data/2/property", json!("db.user")),
        ("/data/2/encoding", json!("Text")),
        (
            "/data/3/template",
            json!("y{{ payload | json('a') | urlencode }}"),
        ),
        (
            "/data/3/template",
            json!("x{{ payload | json('b') | urlencode }}"),
        ),
        (
            "/data/3/template",
            json!("x{{ payload | json('a') | base64 }}"),
        ),
        ("/data/3/template", json!("x{{ payload | json('a') }}")),
        (
            "/data/3/template",
            json!("x{{ key.name | json('a') | urlencode }}"),
        ),
        (
            "/data/3/template",
            json!("x{{ 'payload' | json('a') | urlencode }}"),
        ),
        (
            "/data/3/template",
            json!("x{{ '{{' }} payload | json('a') | urlencode }}"),
        ),
        ("/data/4/value", json!("db2")),
        ("/data", json!([{"name": "raw"}])),
        ("/data", Value::Null),
    ] {
        let mut target = full();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        target.pointer_mut(parent).expect("a parent")[field] = value.clone();
        assert!(seen.insert(record_of(target)), "{pointer} {value}");
    }
    assert!(seen.insert(record_of(json!({"name": "db", "expand": "JSON"}))));
    let tls = json!([{"name": "tls.crt"}, {"name": "tls.key"}]);
    assert!(seen.insert(record_of(json!({"data": tls}))));
    assert!(seen.insert(record_of(json!({"data": tls, "type": "kubernetes.io/tls"}))));
}

#[test]
fn what_makes_the_same_secret_has_the_same_record() {
    let mut target = full();
    let data = target["data"].as_array_mut().expect("entries");
    data.reverse();
    data[1]["template"] = json!("{{'x'}}{{payload|json(\"a\")|urlencode}}");
    data[4]["encoding"] = json!("Raw");
    target["deletionPolicy"] = json!("Delete");
    target["type"] = json!("Opaque");
    // Sources are numbered by first use, which is another now.
    let spec = spec(target);
    let ids = [id(0), id(1)];
    let facts = |index: usize| SourceFacts {
        id: &ids[index],
        name: None,
        alias: None,
    };
    let places: Vec<_> = spec
        .sources
        .iter()
        .map(|source| facts(usize::from(source.entry.is_some())))
        .collect();
    assert_eq!(
        record(&spec, API_VERSION, INSTANCE, &places),
        record_of(full())
    );
    assert_eq!(
        record_of(json!({})),
        record_of(
            json!({"name": "orders-db", "metadata": {"labels": {}}, "data": [{"name": "key"}]})
        )
    );
}

#[test]
fn a_template_with_nothing_to_fill_in_is_a_literal() {
    let of = |entry: Value| record_of(json!({"data": [entry]}));
    for (template, value) in [("", ""), ("x", "x"), ("{{ '{{' }}x", "{{x")] {
        assert_eq!(
            of(json!({"name": "a", "template": template})),
            of(json!({"name": "a", "value": value}))
        );
    }
}

#[test]
fn order_of_map_keys_does_not_matter() {
    let labels = |text: &str| {
        let labels: Value = serde_json::from_str(text).expect("JSON");
        record_of(json!({"metadata": {"labels": labels}}))
    };
    assert_eq!(
        labels(r#"{"a":"1","b":"2"}"#),
        labels(r#"{"b":"2","a":"1"}"#)
    );
}

#[test]
fn how_a_key_is_named_does_not_matter_if_it_is_the_same_key() {
    let by = |from: Value| record_of(json!({"data": [{"name": "a", "from": from}]}));
    assert_eq!(
        by(json!({"alias": "web"})),
        by(json!({"id": id(0).as_str()}))
    );
    assert_eq!(
        by(json!({"alias": "web"})),
        by(json!({"name": "web", "keyRing": "payments"}))
    );
}

#[test]
fn owner_instance_and_keys_change_the_record() {
    let spec = spec(full());
    let ids = [id(0), id(1), id(2)];
    let facts = |index: usize| SourceFacts {
        id: &ids[index],
        name: None,
        alias: None,
    };
    let of = |owner, instance, sources: &[SourceFacts<'_>]| record(&spec, owner, instance, sources);
    let records = [
        of(API_VERSION, INSTANCE, &[facts(0), facts(1)]),
        of(API_VERSION, INSTANCE, &[facts(1), facts(0)]),
        of(API_VERSION, INSTANCE, &[facts(0), facts(2)]),
        of(API_VERSION, INSTANCE, &[facts(2), facts(1)]),
        of(API_VERSION, INSTANCE, &[facts(0), facts(0)]),
        of(API_VERSION, INSTANCE, &[facts(0)]),
        of(API_VERSION, "other", &[facts(0), facts(1)]),
        of(Some("keyprotect.dev/v1"), INSTANCE, &[facts(0), facts(1)]),
        of(None, INSTANCE, &[facts(0), facts(1)]),
    ];
    let distinct: BTreeSet<_> = records.iter().collect();
    assert_eq!(distinct.len(), records.len());
}

#[test]
fn metadata_counts_only_where_a_template_sees_it() {
    for (template, name_counts, alias_counts) in [
        ("{{ payload }}{{ key.id }}", false, false),
        ("{{ key.name }}", true, false),
        ("{{ key.alias }}", false, true),
        ("{{ key.alias }}{{ key.name }}", true, true),
    ] {
        let spec = spec(json!({"data": [
            {"name": "a", "template": template},
            {"name": "b", "from": {"alias": "web"}},
        ]}));
        let ids = [id(0), id(1)];
        let of = |name, alias, other| {
            let main = SourceFacts {
                id: &ids[0],
                name,
                alias,
            };
            let web = SourceFacts {
                id: &ids[1],
                name: other,
                alias: other,
            };
            record(&spec, API_VERSION, INSTANCE, &[main, web])
        };
        let base = of(Some("n"), Some("a"), None);
        assert_eq!(
            base != of(Some("m"), Some("a"), None),
            name_counts,
            "{template}"
        );
        assert_eq!(base != of(None, Some("a"), None), name_counts, "{template}");
        assert_eq!(
            base != of(Some("n"), Some("b"), None),
            alias_counts,
            "{template}"
        );
        assert_eq!(
            base,
            of(Some("n"), Some("a"), Some("never seen")),
            "{template}"
        );
    }
}

#[test]
fn facts_come_out_of_metadata() {
    let mut metadata = KeyMetadata::unknown(id(0));
    metadata.name = Some("n".to_owned());
    let facts = SourceFacts::new(&metadata, Some("a"));
    assert_eq!(
        (facts.id, facts.name, facts.alias),
        (&id(0), Some("n"), Some("a"))
    );
}
