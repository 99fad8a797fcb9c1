//! The files under `crds/`: they are what the types say, and of a form that serves people,
//! GitOps tools and the API server.

use std::fs;
use std::path::Path;

use key_protect_operator::crds;
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_committed_files_are_what_the_types_say() {
    for (name, text) in crds::yaml().unwrap() {
        let path = repository().join("crds").join(&name);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "crds/{name} is not what the types say; run: key-protect-operator crds --dir crds"
        );
        assert!(
            text.len() <= crds::MAX_BYTES,
            "{name}: {} bytes",
            text.len()
        );
    }
}

#[test]
fn the_subcommand_writes_one_file_per_kind() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crds-{}", std::process::id()));
    crds::run(&crds::CrdsArgs {
        dir: Some(dir.clone()),
    })
    .unwrap();
    for (name, text) in crds::yaml().unwrap() {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), text);
    }
    fs::remove_dir_all(dir).unwrap();
}

/// Calls `look` with every schema below (and with) `schema` and the path to it.
fn walk(path: &str, schema: &Value, look: &mut dyn FnMut(&str, &Map<String, Value>)) {
    let Some(map) = schema.as_object() else {
        return;
    };
    look(path, map);
    for (name, child) in map
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(&format!("{path}.{name}"), child, look);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(child) = map.get(key) {
            walk(&format!("{path}{mark}"), child, look);
        }
    }
}

/// Both kinds' schemas, of `spec` or `status`.
fn schemas(part: &str) -> Vec<(String, Value)> {
    crds::definitions()
        .iter()
        .map(|crd| {
            let crd = serde_json::to_value(crd).unwrap();
            let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}");
            (
                format!("{}.{part}", crd["spec"]["names"]["kind"].as_str().unwrap()),
                crd.pointer(&pointer).unwrap().clone(),
            )
        })
        .collect()
}

#[test]
fn spec_is_bounded_described_and_without_defaults() {
    let mut flaws = Vec::new();
    for (root, schema) in schemas("spec") {
        walk(&root, &schema, &mut |path, schema| {
            let mut flaw = |wrong: bool, what: &str| {
                if wrong {
                    flaws.push(format!("{path}: {what}"));
                }
            };
            let lacks = |key: &str| !schema.contains_key(key);
            flaw(
                !lacks("default"),
                "has a default: GitOps tools see a difference for ever",
            );
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for (name, field) in schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                let optional = !required.contains(&name.as_str()) && field.get("enum").is_none();
                let nullable = field.get("nullable") == Some(&json!(true));
                // The one schema that is written by hand is that of a Kubernetes type.
                if !path.ends_with("matchExpressions[]") {
                    flaw(
                        optional != nullable,
                        &format!("{name} is optional, or nullable, not both"),
                    );
                }
            }
            let is_element = path.ends_with("[]") || path.ends_with(".*");
            flaw(
                !is_element && !path.contains("[].") && lacks("description"),
                "has no description",
            );
            match schema["type"].as_str() {
                Some("string") => flaw(lacks("maxLength") && lacks("enum"), "has no maxLength"),
                Some("array") => flaw(lacks("maxItems"), "has no maxItems"),
                Some("object") => flaw(
                    lacks("properties") && lacks("maxProperties"),
                    "has no maxProperties",
                ),
                _ => {}
            }
        });
    }
    assert!(flaws.is_empty(), "{flaws:#?}");
}

#[test]
fn numbers_are_signed_and_rules_say_what_to_do() {
    for part in ["spec", "status"] {
        for (root, schema) in schemas(part) {
            walk(&root, &schema, &mut |path, schema| {
                let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
                assert!(!format.starts_with("uint"), "{path}: {format}");
                let rules = schema
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                assert!(
                    part == "spec" || rules.is_empty(),
                    "{path}: rules in status"
                );
                for rule in rules {
                    let message = rule["message"].as_str().unwrap_or_default();
                    assert!(message.contains(": "), "{path}: {rule}");
                }
            });
        }
    }
}

#[test]
fn an_object_is_pending_from_its_first_moment() {
    // Where no operator runs that would write a status.
    let own = Cluster::another("crds");
    let cluster = own.unwrap_or_else(Cluster::shared);
    let namespace = cluster.namespace_blocking("crds");
    let manifest = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
         "metadata": {"name": "orders-db"}, "spec": {"key": {"alias": "web"}, "instanceRef": {"name": "main"}}},
        {"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
         "metadata": {"name": "other"}, "spec": {}},
        {"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectInstance",
         "metadata": {"name": "main"},
         "spec": {"instanceID": "12e8c9c2-a162-472d-b7d6-8b9a86b815a6", "region": "us-south"}}]});
    cluster.kubectl_ok(
        &["-n", &namespace, "create", "-f", "-"],
        &manifest.to_string(),
    );

    // Short names, columns, category.
    let table = cluster.kubectl_ok(&["-n", &namespace, "get", "kpk", "-o", "wide"], "");
    let words = |line: usize| -> Vec<&str> {
        let line = table.lines().nth(line).unwrap_or_default();
        line.split_whitespace().collect()
    };
    assert_eq!(
        words(0),
        [
            "NAME", "READY", "REASON", "SECRET", "KEY", "STATE", "AGE", "INSTANCE", "EXPIRES",
            "CHANGED", "MESSAGE"
        ]
    );
    assert_eq!(words(1)[..3], ["orders-db", "Unknown", "Pending"]);
    let table = cluster.kubectl_ok(&["-n", &namespace, "get", "kpi", "-o", "wide"], "");
    assert!(
        table.starts_with("NAME   READY     REASON    REGION   KEYS   AGE"),
        "{table}"
    );
    let all = cluster.kubectl_ok(&["-n", &namespace, "get", "keyprotect", "-o", "name"], "");
    assert_eq!(all.lines().count(), 3, "{all}");

    // The selectable field.
    let selected = cluster.kubectl_ok(
        &[
            "-n",
            &namespace,
            "get",
            "kpk",
            "-o",
            "name",
            "--field-selector",
            "spec.instanceRef.name=main",
        ],
        "",
    );
    assert_eq!(selected, "keyprotectkey.keyprotect.dev/orders-db\n");

    // Nobody has written that status.
    let object = cluster.kubectl_ok(
        &[
            "-n",
            &namespace,
            "get",
            "kpk",
            "other",
            "-o",
            "json",
            "--show-managed-fields",
        ],
        "",
    );
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(
        object["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(object["spec"], json!({}));
    assert_eq!(object["status"]["conditions"][0]["reason"], "Pending");
    assert!(object["status"].get("observedGeneration").is_none());
    if let Some(own) = own {
        own.down();
    }
}

#[test]
fn the_definitions_are_accepted_without_a_word_and_cannot_be_deleted_by_mistake() {
    let cluster = Cluster::shared();
    let output = cluster.kubectl(&["apply", "--dry-run=server", "-k", "crds"], "");
    assert!(output.ok && output.stderr.is_empty(), "{}", output.stderr);

    for name in [
        "keyprotectkeys.keyprotect.dev",
        "keyprotectinstances.keyprotect.dev",
    ] {
        let output = cluster.kubectl(&["delete", "--dry-run=server", "crd", name], "");
        assert!(!output.ok, "{name} could be deleted");
        let expected = format!("kubectl annotate crd {name} keyprotect.dev/allow-delete=true");
        assert!(
            output.stderr.contains("(Forbidden)") && output.stderr.contains(&expected),
            "{}",
            output.stderr
        );
    }
    // A DELETE of a collection names nothing.
    let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All\
        &fieldSelector=metadata.name%3Dkeyprotectkeys.keyprotect.dev";
    let output = cluster.kubectl(&["delete", "--raw", all], "");
    assert!(
        !output.ok && output.stderr.contains("keyprotect.dev/allow-delete=true"),
        "{}",
        output.stderr
    );
    // Somebody else's CRD is nobody's business here, and an annotated one goes.
    let other = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "others.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Other", "plural": "others"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    cluster.kubectl_ok(&["apply", "-f", "-"], &other.to_string());
    cluster.kubectl_ok(&["delete", "crd", "others.example.com", "--wait=false"], "");
    let name = "keyprotectinstances.keyprotect.dev";
    let annotation = "keyprotect.dev/allow-delete";
    cluster.kubectl_ok(
        &["annotate", "crd", name, &format!("{annotation}=true")],
        "",
    );
    let output = cluster.kubectl(&["delete", "--dry-run=server", "crd", name], "");
    cluster.kubectl_ok(&["annotate", "crd", name, &format!("{annotation}-")], "");
    assert!(output.ok, "{}", output.stderr);
}
