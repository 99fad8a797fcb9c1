use serde_json::json;

use super::*;

const ID: &str = "02fd6835-6001-4482-a892-13bd2085f75d";

fn key(value: serde_json::Value) -> KeyReference {
    let selector: KeySelector = serde_json::from_value(value).expect("a selector");
    KeyReference::from_selector(Some(&selector), "orders-db").expect("a reference")
}

fn main_key() -> KeyReference {
    key(json!({"alias": "orders-db", "keyRing": "payments"}))
}

fn read(target: serde_json::Value) -> Result<TargetSpec, RenderError> {
    let target: Target = serde_json::from_value(target).expect("a target");
    let allowed = ["example.com".to_owned()];
    TargetSpec::new("orders-db", Some(&target), &main_key(), &allowed)
}

fn spec(target: serde_json::Value) -> TargetSpec {
    read(target).expect("a target that can be made")
}

fn message(target: serde_json::Value) -> String {
    read(target)
        .expect_err("a target that is refused")
        .to_string()
}

fn source_entries(spec: &TargetSpec) -> Vec<Option<&str>> {
    spec.sources.iter().map(|s| s.entry.as_deref()).collect()
}

#[test]
fn nothing_asked_is_one_entry_of_the_main_key() {
    let spec = TargetSpec::new("orders-db", None, &main_key(), &[]).expect("a target");
    assert_eq!(spec.name, "orders-db");
    assert_eq!(spec.secret_type, SecretType::Opaque);
    assert_eq!(spec.deletion_policy, DeletionPolicy::Delete);
    assert_eq!(
        spec.sources,
        [SourceSpec {
            key: main_key(),
            entry: None
        }]
    );
    assert_eq!(
        spec.content,
        Content::Entries(vec![EntrySpec {
            name: "key".to_owned(),
            form: Form::Payload {
                source: 0,
                encoding: Encoding::Raw
            },
        }])
    );
    assert_eq!(spec.expected_entries(), Some(BTreeSet::from(["key"])));
    assert!(!spec.is_literal_only());
}

#[test]
fn every_form_is_read() {
    let spec = spec(json!({
        "name": "db", "deletionPolicy": "Retain",
        "data": [
            {"name": "a"},
            {"name": "b", "encoding": "Hex"},
            {"name": "c", "property": "x.y", "encoding": "Base64URL"},
            {"name": "d", "template": "{{ payload }}"},
            {"name": "e", "template": "plain"},
            {"name": "f", "value": "{{ payload }}"},
        ],
    }));
    let template = |text| Template::parse(text).expect("a template");
    let forms = [
        Form::Payload {
            source: 0,
            encoding: Encoding::Raw,
        },
        Form::Payload {
            source: 0,
            encoding: Encoding::Hex,
        },
        Form::Property {
            source: 0,
            path: Path::new("x.y"),
            encoding: Encoding::Base64Url,
        },
        Form::Template {
            source: Some(0),
            template: template("{{ payload }}"),
        },
        Form::Template {
            source: None,
            template: template("plain"),
        },
        Form::Literal("{{ payload }}".to_owned()),
    ];
    let Content::Entries(entries) = &spec.content else {
        panic!("entries");
    };
    let read: Vec<Form> = entries.iter().map(|entry| entry.form.clone()).collect();
    assert_eq!(read, forms);
    assert_eq!(spec.name, "db");
    assert_eq!(spec.deletion_policy, DeletionPolicy::Retain);
    assert_eq!(
        spec.expected_entries(),
        Some(BTreeSet::from(["a", "b", "c", "d", "e", "f"]))
    );
}

#[test]
fn sources_are_distinct_and_in_the_order_of_first_use() {
    let spec = spec(json!({"data": [
        {"name": "a", "from": {"alias": "web"}},
        {"name": "b"},
        {"name": "c", "from": {"id": ID.to_uppercase()}},
        {"name": "d", "property": "x", "from": {"alias": "web"}},
        {"name": "e", "template": "{{ key.id }}", "from": {"id": ID}},
        {"name": "f", "from": {"alias": "orders-db", "keyRing": "payments"}},
        {"name": "g", "from": {"alias": "orders-db"}},
    ]}));
    let keys: Vec<String> = spec.sources.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(
        keys,
        [
            "alias web".to_owned(),
            "alias orders-db in ring payments".to_owned(),
            format!("key {ID}"),
            "alias orders-db".to_owned(),
        ]
    );
    assert_eq!(
        source_entries(&spec),
        [Some("a"), None, Some("c"), Some("g")]
    );
}

#[test]
fn from_that_names_the_main_key_makes_it_no_other() {
    let spec = spec(json!({"data": [
        {"name": "a", "from": {"alias": "orders-db", "keyRing": "payments"}},
        {"name": "b"},
    ]}));
    assert_eq!(source_entries(&spec), [None]);
}

#[test]
fn from_takes_no_ring_of_the_main_key() {
    let spec = spec(json!({"data": [{"name": "a", "from": {"alias": "web"}}]}));
    assert_eq!(spec.sources[0].key, key(json!({"alias": "web"})));
    assert_eq!(spec.sources.len(), 1, "spec.key is not used");
}

#[test]
fn literals_need_no_key() {
    let spec = spec(json!({"data": [
        {"name": "a", "value": "x"},
        {"name": "b", "template": "{{ '{{' }}", "from": {"alias": "web"}},
    ]}));
    assert!(spec.is_literal_only());
}

#[test]
fn expand_uses_the_main_key_and_knows_no_entries() {
    let spec = spec(json!({"expand": "JSON", "type": "kubernetes.io/tls"}));
    assert_eq!(spec.content, Content::ExpandJson { source: 0 });
    assert_eq!(source_entries(&spec), [None]);
    assert_eq!(spec.expected_entries(), None);
}

#[test]
fn from_must_name_one_key() {
    for from in [
        json!({}),
        json!({"keyRing": "payments"}),
        json!({"alias": "web", "id": ID}),
    ] {
        let message = message(json!({"data": [{"name": "a", "from": from}]}));
        assert_eq!(
            message,
            "entry a: from: name the key by one of id, alias, and name with keyRing"
        );
    }
    let message = message(json!({"data": [{"name": "a", "from": {"alias": "../keys"}}]}));
    assert!(
        message.starts_with("entry a: from: alias must be"),
        "{message}"
    );
}

#[test]
fn forms_that_exclude_each_other_are_refused() {
    for (entry, expected) in [
        (
            json!({"name": "a", "property": "x", "value": "y"}),
            "at most one of",
        ),
        (
            json!({"name": "a", "property": "x", "template": "y"}),
            "at most one of",
        ),
        (
            json!({"name": "a", "template": "x", "encoding": "Hex"}),
            "use a filter",
        ),
        (
            json!({"name": "a", "value": "x", "encoding": "Raw"}),
            "remove from and encoding",
        ),
        (
            json!({"name": "a", "value": "x", "from": {"id": ID}}),
            "remove from and encoding",
        ),
    ] {
        let message = message(json!({"data": [entry]}));
        assert!(message.starts_with("entry a: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_template_is_refused_before_any_key_is_read() {
    assert_eq!(
        message(json!({"data": [{"name": "url", "template": "x{{ payload | b64 }}"}]})),
        "entry url, template character 15: expected a filter: json('path'), urlencode, base64, \
         hex or trim"
    );
}

#[test]
fn entries_have_legal_names_that_differ() {
    for name in ["a", ".x", "_", "-", "A.b-c_9", "a..b"] {
        assert!(is_entry_name(&name.chars()), "{name}");
    }
    let long = "x".repeat(253);
    assert!(is_entry_name(&long.chars()));
    for name in [
        "",
        ".",
        "..",
        "..x",
        "a/b",
        "a b",
        "é",
        "a\n",
        &format!("{long}x"),
    ] {
        assert!(!is_entry_name(&name.chars()), "{name}");
        let message = message(json!({"data": [{"name": name}]}));
        assert!(message.contains("cannot name an entry"), "{message}");
    }
    assert_eq!(
        message(json!({"data": [{"name": "a"}, {"name": "b"}, {"name": "a", "value": "x"}]})),
        "entry a: is there twice; rename one of them"
    );
}

#[test]
fn entries_are_some_and_not_too_many() {
    let entries = |count: usize| {
        let entries: Vec<_> = (0..count)
            .map(|n| json!({"name": format!("e{n}")}))
            .collect();
        json!({"data": entries})
    };
    assert!(read(entries(limits::ENTRIES)).is_ok());
    assert_eq!(
        read(entries(limits::ENTRIES + 1)),
        Err(RenderError::TooManyEntries { found: 65 })
    );
    assert_eq!(read(entries(0)), Err(RenderError::NoEntries));
    assert_eq!(
        read(json!({"expand": "JSON", "data": [{"name": "a"}]})),
        Err(RenderError::ExpandBesideData)
    );
}

#[test]
fn a_type_asks_for_its_entries() {
    for (secret_type, names, complete) in [
        ("kubernetes.io/tls", vec!["tls.crt", "tls.key"], true),
        ("kubernetes.io/tls", vec!["tls.crt"], false),
        ("kubernetes.io/tls", vec!["tls.key", "ca.crt"], false),
        ("kubernetes.io/basic-auth", vec!["username"], true),
        ("kubernetes.io/basic-auth", vec!["password"], true),
        ("kubernetes.io/basic-auth", vec!["user"], false),
        ("kubernetes.io/ssh-auth", vec!["ssh-privatekey"], true),
        ("kubernetes.io/ssh-auth", vec!["id_rsa"], false),
        (
            "kubernetes.io/dockerconfigjson",
            vec![".dockerconfigjson"],
            true,
        ),
        ("kubernetes.io/dockerconfigjson", vec!["config.json"], false),
        ("Opaque", vec!["anything"], true),
    ] {
        let data: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        let result = read(json!({"type": secret_type, "data": data}));
        assert_eq!(result.is_ok(), complete, "{secret_type} {names:?}");
        if let Err(error) = result {
            let message = error.to_string();
            assert!(message.contains(secret_type), "{message}");
            assert!(message.contains("add"), "{message}");
        }
    }
    assert!(message(json!({"type": "kubernetes.io/tls"})).contains("tls.crt and tls.key"));
}

#[test]
fn foreign_prefixes_of_metadata_are_refused_unless_allowed() {
    for key in [
        "team",
        "app.kubernetes.io/name",
        "app.kubernetes.io/part-of",
        "example.com/owner",
    ] {
        let spec = spec(json!({"metadata": {"labels": {key: "x"}, "annotations": {key: "y"}}}));
        assert_eq!(spec.labels.get(key).map(String::as_str), Some("x"));
        assert_eq!(spec.annotations.get(key).map(String::as_str), Some("y"));
    }
    for key in [
        "other.example.com/owner",
        "example.com.evil.org/owner",
        "kubernetes.io/x",
        "kubectl.kubernetes.io/last-applied-configuration",
        "x.app.kubernetes.io/name",
        "notkeyprotect.dev/x",
        "/x",
    ] {
        for field in ["labels", "annotations"] {
            let message = message(json!({"metadata": {field: {key: "x"}}}));
            assert!(
                message.starts_with(&format!("spec.target.metadata.{field}: ")),
                "{message}"
            );
            assert!(message.contains("--target-metadata-prefixes"), "{message}");
        }
    }
}

#[test]
fn marks_of_the_manager_are_never_for_a_target() {
    let allowed = [
        "keyprotect.dev".to_owned(),
        "app.kubernetes.io".to_owned(),
        "x.keyprotect.dev".to_owned(),
    ];
    for key in [
        "keyprotect.dev/target",
        "keyprotect.dev/record",
        "x.keyprotect.dev/y",
        "KeyProtect.dev/target",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
    ] {
        assert_eq!(
            metadata_problem(key, &allowed),
            Some(MetadataProblem::Reserved),
            "{key}"
        );
    }
}

#[test]
fn the_secret_has_a_legal_name() {
    for name in ["a", "a.b-c", "0"] {
        assert_eq!(spec(json!({"name": name})).name, name);
    }
    let long = "x".repeat(254);
    for name in [
        "", "A", "-a", "a-", "a..b", ".a", "a/b", "a_b", "../x", &long,
    ] {
        assert!(
            message(json!({"name": name})).contains("must be a Secret's name"),
            "{name}"
        );
    }
}

#[test]
fn templates_say_what_they_see_of_which_key() {
    let spec = spec(json!({"data": [
        {"name": "a", "template": "{{ key.name }}", "from": {"alias": "web"}},
        {"name": "b", "template": "{{ payload }}"},
        {"name": "c", "template": "{{ key.alias }}", "from": {"id": ID}},
        {"name": "d", "template": "{{ key.alias }}", "from": {"alias": "web"}},
        {"name": "e", "template": "{{ payload }}", "from": {"alias": "web"}},
    ]}));
    let uses = |name, alias| MetadataUse { name, alias };
    assert_eq!(spec.metadata_use(0), uses(true, true));
    assert_eq!(spec.metadata_use(1), uses(false, false));
    assert_eq!(spec.metadata_use(2), uses(false, true));
    assert_eq!(spec.metadata_use(3), uses(false, false));
}
