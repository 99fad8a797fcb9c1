//! The manual, `docs/emulator.md`, and the code say the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use key_protect_emulator::control::types::Seed;
use key_protect_emulator::http::route::Operation;
use key_protect_emulator::{ConnectionFault, Modes};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manual() -> String {
    std::fs::read_to_string(root().join("docs/emulator.md")).unwrap()
}

/// The rows of the first table after a heading, cell by cell.
fn table(manual: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, after) = manual.split_once(&format!("\n{heading}\n")).unwrap();
    after
        .lines()
        .skip_while(|line| !line.starts_with("| --- |"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The names in the first cells of a table.
fn names(rows: &[Vec<String>]) -> BTreeSet<String> {
    rows.iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect()
}

/// Everything that a type of the seed's schema can be called.
fn alternatives(schema: &Value, name: &str) -> BTreeSet<String> {
    fn collect(value: &Value, into: &mut BTreeSet<String>) {
        let texts = value["enum"].as_array().into_iter().flatten();
        into.extend(
            texts
                .chain([&value["const"]])
                .filter_map(Value::as_str)
                .map(str::to_owned),
        );
        if let Some(properties) = value["properties"].as_object() {
            into.extend(properties.keys().cloned());
        }
        for inner in value["oneOf"].as_array().into_iter().flatten() {
            collect(inner, into);
        }
    }
    let mut all = BTreeSet::new();
    collect(&schema["$defs"][name], &mut all);
    assert!(!all.is_empty(), "{name} is in the schema");
    all
}

/// Says whether a test of that name is in that module of a package's tests.
fn check_test(tests: &Path, name: &str, mentions: Option<&str>) {
    let (module, function) = name.rsplit_once("::").unwrap();
    let file = tests.join(format!("{}.rs", module.replace("::", "/")));
    let text =
        std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{name}: no {}", file.display()));
    assert!(
        text.contains(&format!("fn {function}(")),
        "there is no {name}"
    );
    if let Some(mentions) = mentions {
        // In JSON, or as a variant.
        let quoted = format!("\"{mentions}\"");
        let variant = format!("::{}{}", mentions[..1].to_uppercase(), &mentions[1..]);
        let met = text.contains(&quoted) || text.contains(&variant);
        assert!(met, "{name} has no {mentions}");
    }
}

#[test]
fn every_statement_about_the_service_has_a_test_of_its_name() {
    let rows = table(&manual(), "## What it reproduces");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http");
    let mut points = BTreeSet::new();
    for row in &rows {
        let [point, statement, held_by] = row.as_slice() else {
            panic!("{row:?}")
        };
        points.insert(point.parse::<u32>().unwrap());
        let held_by = quoted(held_by);
        assert!(!held_by.is_empty(), "nothing holds: {statement}");
        for name in held_by {
            check_test(&tests, name, None);
        }
    }
    assert_eq!(
        points,
        (1..=21).collect(),
        "the statements are numbered from 1 to 21"
    );
    // And no test is left out that is named after a statement.
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(&row[2])).collect();
    for module in [
        "access", "envelope", "keys", "lists", "places", "policies", "wire",
    ] {
        let text = std::fs::read_to_string(tests.join(format!("{module}.rs"))).unwrap();
        for (_, after) in text
            .match_indices("fn point_")
            .map(|(at, _)| text.split_at(at + 3))
        {
            let name = after.split('(').next().unwrap();
            let name = format!("{module}::{name}");
            assert!(listed.contains(name.as_str()), "{name} is in no row");
        }
    }
}

#[test]
fn the_catalogue_has_every_fault_and_mode_and_the_tests_that_meet_them() {
    let (manual, schema) = (manual(), Seed::schema());
    let rows = table(&manual, "### The catalogue");
    let mut faults = alternatives(&schema, "Effect");
    // These two hold the ones that follow.
    assert!(faults.remove("body") && faults.remove("cut"));
    faults.extend(alternatives(&schema, "BodyEffect"));
    faults.extend(alternatives(&schema, "Cut"));
    assert_eq!(names(&rows), faults);

    let modes = table(&manual, "### Modes");
    let Value::Object(defaults) = json!(Modes::default()) else {
        panic!("modes are an object")
    };
    assert_eq!(names(&modes), defaults.keys().cloned().collect());
    for row in &modes {
        assert_eq!(
            row[1],
            defaults[row[0].trim_matches('`')].to_string(),
            "{row:?}"
        );
    }
    let connections = table(&manual, "### Faults of connections");
    let schema = schemars::schema_for!(ConnectionFault).to_value();
    let mut all = alternatives(
        &json!({ "$defs": { "ConnectionFault": schema } }),
        "ConnectionFault",
    );
    assert!(all.remove("none"));
    assert_eq!(names(&connections), all);
    for row in rows.iter().chain(&modes).chain(&connections) {
        let met_by = quoted(row.last().unwrap());
        assert!(!met_by.is_empty(), "no test meets this: {row:?}");
        for test in met_by {
            let name = row[0].trim_matches('`');
            check_test(&root().join("tests"), test, Some(name));
        }
    }
}

/// The reason codes that IBM documents (in "Error messages", and those of the
/// reference beside), but for `UNAUTHORIZED_ERR`, which comes without reasons.
const CODES: [&str; 36] = [
    "AUTHORIZATIONS_NOT_MET",
    "BAD_BODY_ERR",
    "BEARER_SUB_EXTRACTION_ERR",
    "BODY_QUERY_PARAM_MISMATCH_ERR",
    "COLLECTION_TOTAL_MISMATCH_ERR",
    "CONFIG_RULE_CONFLICT_ERR",
    "FEATURE_RESTRICTED_ERR",
    "IMPORT_TOKEN_EXPIRED_ERR",
    "INCOMPLETE_METADATA_ERR",
    "INCORRECT_NONCE_ERR",
    "INCORRECT_NONCE_IV_ERR",
    "INVALID_FIELD_ERR",
    "INVALID_SIG_EXP_ERR",
    "KEY_ACTION_INVALID_STATE_ERR",
    "KEY_CREATE_IMPORT_ACCESS_ERR",
    "KEY_DELETED_ERR",
    "KEY_EXPIRED_ERR",
    "KEY_IMPT_REQ_ERR",
    "KEY_INVALID_STATE_ERR",
    "KEY_NOT_FOUND_ERR",
    "KEY_PAYLOAD_REQ_ERR",
    "KEY_RESTORE_EXPIRED",
    "KEY_ROOT_REQ_ERR",
    "KEY_ROOT_REQ_REG_ERR",
    "KEY_ROTATION_NOT_PERMITTED",
    "KEY_SEARCH_TOO_BROAD",
    "KEY_VERSION_INVALID",
    "NOT_DUAL_AUTH_ERR",
    "NO_BODY_ERR",
    "NUM_COLLECTION_RESOURCE_ERR",
    "PREV_KEY_DEL_ERR",
    "PROTECTED_RESOURCE_ERR",
    "REQ_TOO_EARLY_ERR",
    "RESOURCE_OWNER_ERR",
    "SERVICE_ONLY_ERR",
    "UNPROCESSABLE_CIPHERTEXT_ERR",
];

#[test]
fn every_documented_reason_code_is_provoked_over_a_socket() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http");
    let mut text = String::new();
    for file in std::fs::read_dir(tests).unwrap() {
        let path = file.unwrap().path();
        if !path.ends_with("docs.rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let missing: Vec<_> = CODES
        .iter()
        .filter(|code| !text.contains(&format!("\"{code}\"")))
        .collect();
    assert!(missing.is_empty(), "no test meets {missing:?}");
}

#[test]
fn every_operation_and_option_is_in_the_manual() {
    let manual = manual();
    for operation in Operation::ALL {
        let name = format!("`{}`", operation.name());
        assert!(manual.contains(&name), "{name} is not in the manual");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_key-protect-emulator"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options: BTreeSet<&str> = help
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_ascii_lowercase() && c != '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .filter(|word| !["--help", "--version"].contains(word))
        .collect();
    assert!(options.len() >= 11, "{help}");
    for option in options {
        assert!(
            manual.contains(&format!("`{option}`")),
            "{option} is not in the manual"
        );
    }
}

#[test]
fn every_order_of_the_admin_port_is_in_the_manual() {
    let manual = manual();
    let sources = ["src/admin/mod.rs", "src/admin/keys.rs"].map(|file| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
    });
    let mut found = 0;
    for source in &sources {
        for after in source.split(".route(").skip(1) {
            let path = after.split('"').nth(1).unwrap();
            found += 1;
            assert!(
                path == "/healthz" || manual.contains(&format!(" {path}")),
                "{path} is not in the manual"
            );
        }
    }
    assert!(found > 20, "{found} routes");
}

/// The schema is committed; `UPDATE_DOCS=1` writes it.
#[test]
#[allow(clippy::disallowed_methods)] // It is asked for by a variable.
fn the_committed_schema_is_that_of_the_seed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("seed.schema.json");
    let printed = Command::new(env!("CARGO_BIN_EXE_key-protect-emulator"))
        .arg("--seed-schema")
        .output()
        .unwrap();
    assert!(printed.status.success());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &printed.stdout).unwrap();
    }
    let committed = std::fs::read(&file).unwrap_or_default();
    assert!(
        committed == printed.stdout,
        "the schema has changed: run with UPDATE_DOCS=1"
    );
    let schema: Value = serde_json::from_slice(&committed).unwrap();
    let members = schema["properties"].as_object().unwrap();
    let rows = table(&manual(), "## The seed");
    assert_eq!(names(&rows), members.keys().cloned().collect());
}

#[test]
fn the_seed_in_the_manual_is_one() {
    let manual = manual();
    let (_, after) = manual.split_once("<<'END'\n").unwrap();
    let (seed, _) = after.split_once("\nEND\n").unwrap();
    let seed: Seed = serde_json::from_str(seed).unwrap();
    assert_eq!((seed.instances.len(), seed.service_ids.len()), (1, 1));
}
