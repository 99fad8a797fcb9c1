//! The docs say what the code says: reasons, metrics and alerts, flags, and links that lead
//! somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use key_protect_operator::api::condition::reasons_table;
use key_protect_operator::check::CheckArgs;
use key_protect_operator::crds::CrdsArgs;
use key_protect_operator::metrics::names;
use key_protect_operator::runtime::settings::RunArgs;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands after one text and before the next.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).expect(begin);
    rest.split_once(end).map_or(rest, |(inside, _)| inside)
}

/// Compares the rows of a generated table with what the code says. With `UPDATE_DOCS` set, the
/// page is put right instead.
#[allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment"
)]
fn compare_table(page: &str, table: &str, rows: &str) {
    let path = root().join(page);
    let text = read(&path);
    let (begin, end) = (
        format!("<!-- {table}: begin -->\n"),
        format!("<!-- {table}: end -->"),
    );
    let inside = between(&text, &begin, &end);
    let (_, told) = inside.split_once("---|\n").expect("a table's head");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let old = format!("---|\n{told}{end}");
        let text = text.replace(&old, &format!("---|\n{rows}{end}"));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{page}: {error}"));
    } else {
        assert_eq!(
            told, rows,
            "UPDATE_DOCS=1 cargo test --test it docs:: puts it right"
        );
    }
}

#[test]
fn the_table_of_reasons_is_the_one_in_the_code() {
    compare_table("docs/reasons.md", "reasons", &reasons_table());
}

#[test]
fn the_table_of_metrics_is_the_one_in_the_code() {
    compare_table("docs/metrics.md", "metrics", &names::table());
}

const RULES: &str = "deploy/monitoring/prometheus-rule.yaml";

/// Every rule of the sample: its name and its expression.
fn rules() -> Vec<(String, String)> {
    let rule: serde_json::Value = serde_saphyr::from_str(&read(&root().join(RULES))).expect(RULES);
    let groups = rule["spec"]["groups"].as_array().expect("groups");
    let rules = groups.iter().filter_map(|group| group["rules"].as_array());
    rules
        .flatten()
        .map(|rule| {
            let text = |field: &str| rule[field].as_str().expect(field).to_owned();
            (text("alert"), text("expr"))
        })
        .collect()
}

/// Words that could be names of metrics.
fn metric_words(text: &str) -> impl Iterator<Item = &str> {
    // A test's path is one word: `it::keyprotect_iam::…`.
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .map(|word| word.trim_matches(':'))
        .filter(|word| word.starts_with("keyprotect_") || word.starts_with("process_"))
}

#[test]
fn whoever_names_a_metric_names_one_that_there_is() {
    let known: BTreeSet<String> = names::ALL.iter().map(|metric| metric.name()).collect();
    let parts: BTreeSet<String> = names::ALL
        .iter()
        .filter(|metric| metric.kind == names::Kind::Histogram)
        .flat_map(|metric| ["bucket", "sum", "count"].map(|p| format!("{}_{p}", metric.name())))
        .collect();
    let mut texts: Vec<(String, String)> = rules();
    texts.extend(pages().iter().map(|path| {
        let name = path.display().to_string();
        (name, read(path))
    }));
    for (place, text) in texts {
        for word in metric_words(&text) {
            let is_known = known.contains(word) || parts.contains(word);
            assert!(is_known, "{place}: there is no metric {word}");
        }
    }
}

#[test]
fn alerts_ask_for_labels_that_there_are_and_are_told_of() {
    let labels: BTreeSet<&str> = names::ALL
        .iter()
        .flat_map(|metric| metric.labels)
        .copied()
        // What Prometheus itself calls what it scrapes.
        .chain(["instance"])
        .collect();
    let rules = rules();
    for (alert, expression) in &rules {
        assert!(metric_words(expression).next().is_some(), "{alert}");
        let matchers = expression
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .flat_map(|inside| inside.split(','))
            .map(|matcher| matcher.split(['=', '!', '~']).next().unwrap_or_default());
        let grouped = ["by (", "on ("]
            .iter()
            .flat_map(|word| expression.split(word).skip(1))
            .filter_map(|rest| rest.split(')').next())
            .flat_map(|inside| inside.split(','));
        for label in matchers.chain(grouped).map(str::trim) {
            assert!(labels.contains(label), "{alert}: there is no label {label}");
        }
    }
    let page = read(&root().join("docs/metrics.md"));
    let section = between(&page, "\n## Alerts\n", "\n## ");
    let told: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    let alerts: BTreeSet<&str> = rules.iter().map(|(alert, _)| alert.as_str()).collect();
    assert_eq!(told, alerts);
    assert_eq!(alerts.len(), rules.len(), "two alerts of one name");
}

/// A flag as the page should begin its row: name, environment variable, default.
fn row(arg: &clap::Arg) -> String {
    let code = |text: String| {
        if text.is_empty() {
            text
        } else {
            format!("`{text}`")
        }
    };
    let name = arg.get_long().expect("a long name");
    let env = arg.get_env().map(|env| env.to_string_lossy().into_owned());
    let default = arg.get_default_values().iter().map(|v| v.to_string_lossy());
    let default: Vec<_> = default
        .filter(|_| arg.get_action().takes_values())
        .collect();
    let cells = [
        format!("--{name}"),
        env.unwrap_or_default(),
        default.join(","),
    ];
    cells.map(code).join(" | ")
}

#[test]
fn every_flag_is_in_the_docs_and_no_other() {
    let page = read(&root().join("docs/flags.md"));
    for (name, command) in [
        ("run", RunArgs::augment_args(Command::new("run"))),
        ("check", CheckArgs::augment_args(Command::new("check"))),
        ("crds", CrdsArgs::augment_args(Command::new("crds"))),
    ] {
        let section = between(&page, &format!("\n## {name}\n"), "\n## ");
        let told: BTreeSet<String> = section
            .lines()
            .filter(|line| line.starts_with("| `--"))
            .map(|line| {
                line.split('|')
                    .skip(1)
                    .take(3)
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join(" | ")
            })
            .collect();
        let flags: BTreeSet<String> = command.get_arguments().map(row).collect();
        assert_eq!(told, flags, "docs/flags.md, section {name}");
    }
}

/// Every path of a value's leaves, as the page writes them.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Array(items) => {
            for item in items {
                leaves(item, &format!("{path}[]"), found);
            }
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

#[test]
fn the_audit_page_has_every_field_and_word_of_a_line_and_no_other() {
    use key_protect_operator::domain::audit::{
        Action, Instance, Key, Line, Object, Outcome, SCHEMA, Secret, Subject, Why,
    };
    let object = |namespace_uid| Object {
        namespace: "n",
        namespace_uid,
        name: "x",
        uid: Some("u"),
    };
    let line = Line {
        schema: SCHEMA,
        time: jiff::Timestamp::UNIX_EPOCH,
        action: Action::ReplaceSecret,
        outcome: Outcome::Failed,
        reason: Some(Why::FirstSync),
        subject: Subject {
            object: object(Some("nu")),
            instance: Some(Instance {
                object: object(None),
                instance_id: "guid",
            }),
        },
        secret: Some(Secret {
            name: "s",
            uid: Some("u"),
            resource_version: Some("7"),
            entries: vec!["key"],
        }),
        keys: vec![Key {
            id: "id".to_owned(),
            crn: Some("crn".to_owned()),
            key_ring: Some("ring".to_owned()),
            correlation_id: Some("c".to_owned()),
        }],
        status: Some(401),
        code: Some("CODE"),
        detail: Some("detail"),
    };
    let mut fields = BTreeSet::new();
    let line = serde_json::to_value(&line).expect("JSON");
    leaves(&line, "", &mut fields);
    let page = read(&root().join("docs/audit.md"));
    let told = |section: &str| -> BTreeSet<String> {
        between(&page, &format!("\n### {section}\n"), "\n#")
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split('`').next())
            .map(str::to_owned)
            .collect()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(told("Fields"), fields);
    let actions: Vec<_> = Action::ALL.iter().map(|word| word.as_str()).collect();
    assert_eq!(told("Actions"), words(&actions));
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|word| word.as_str()).collect();
    assert_eq!(told("Outcomes"), words(&outcomes));
    let reasons: Vec<_> = Why::ALL.iter().map(|word| word.as_str()).collect();
    assert_eq!(told("Reasons"), words(&reasons));
}

/// Names in the tables of a manifest: its direct dependencies of one kind.
fn dependencies(manifest: &str, kind: &str) -> BTreeSet<String> {
    let manifest = read(&root().join(manifest));
    let table = between(&manifest, &format!("\n[{kind}]\n"), "\n[");
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split(['=', '.', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_dependency_has_its_reason() {
    let page = read(&root().join("docs/dependencies.md"));
    let told = |section: &str| -> BTreeSet<String> {
        let rows = between(&page, &format!("\n## {section}\n"), "\n## ").lines();
        let rows = rows.filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| {
            let (name, reason) = row.split_once("` | ").expect(row);
            assert!(
                reason.trim_end_matches(" |").len() > 10,
                "{name} has no reason"
            );
            name.to_owned()
        })
        .collect()
    };
    let own = dependencies("Cargo.toml", "dependencies");
    assert_eq!(told("In the operator"), own);
    let mut others = dependencies("Cargo.toml", "dev-dependencies");
    for member in ["tests/emulator/Cargo.toml", "tests/bench/Cargo.toml"] {
        others.extend(dependencies(member, "dependencies"));
    }
    others.extend(dependencies(
        "tests/emulator/Cargo.toml",
        "dev-dependencies",
    ));
    let others: BTreeSet<_> = others.difference(&own).cloned().collect();
    assert_eq!(
        told("In tests, the emulator and the benchmark only"),
        others
    );
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else if path.extension().is_some_and(|e| e == "rs") {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// Names of all tests.
fn tests() -> BTreeSet<String> {
    let folders = ["src", "tests/it", "tests/faults"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| rust_files(folder));
    let mut names = BTreeSet::new();
    for file in files {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let line = line.trim();
            let marked = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            // Other attributes may stand between.
            let name = lines[at + 1..].iter().take(12).find_map(|line| {
                let line = line.trim().trim_start_matches("async ");
                line.strip_prefix("fn ")?.split('(').next()
            });
            names.extend(name.filter(|_| marked).map(str::to_owned));
        }
    }
    names
}

/// Threats of the threat model, with the tests that each names.
fn threats() -> Vec<(String, BTreeSet<String>)> {
    let page = read(&root().join("docs/threat-model.md"));
    let rows = between(&page, "\n## Threats\n", "\n## ");
    let rows = rows.lines().filter(|line| line.starts_with("| T"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        let proof = cells[3].split('`').skip(1).step_by(2);
        let number = cells[0].trim_start_matches("| ").to_owned();
        (number, proof.map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn every_threat_names_tests_that_there_are() {
    let tests = tests();
    assert!(tests.len() > 600, "{}", tests.len());
    let threats = threats();
    for (at, (number, proof)) in threats.iter().enumerate() {
        assert_eq!(*number, format!("T{}", at + 1), "numbered without a gap");
        assert!(!proof.is_empty(), "{number} has no proof");
        for test in proof {
            assert!(tests.contains(test), "{number}: there is no test {test}");
        }
    }
}

/// That they kill is seen by `make mutations`; here, that they are still about this code.
#[test]
fn every_threat_has_a_mutation_that_can_be_made() {
    let list = read(&root().join("tests/mutations/list"));
    let threats = threats();
    let mut seen = BTreeSet::new();
    for mutation in list.split("\n=== ").skip(1) {
        let (head, rest) = mutation.split_once('\n').expect("a head");
        let [threat, kind, test] = head.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{head}");
        };
        assert!(["lib", "it"].contains(&kind), "{head}");
        let known = threats.iter().find(|(number, _)| number == threat);
        let (_, proof) = known.expect(head);
        assert!(
            proof.contains(test),
            "{head}: the threat names no such test"
        );
        let (_, change) = rest.split_once("\n--- ").expect("a file");
        let (file, change) = change.split_once('\n').expect("its name");
        let (old, new) = change.split_once("\n+++\n").expect("new lines");
        let there = read(&root().join(file));
        assert_eq!(there.matches(old).count(), 1, "{head}: {file}\n{old}");
        assert_ne!(old, new.trim_end());
        seen.insert(threat.to_owned());
    }
    let all: BTreeSet<String> = threats.into_iter().map(|(number, _)| number).collect();
    assert_eq!(seen, all, "every threat has one");
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).expect("docs");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ]
    .map(|name| root().join(name))
    .into_iter()
    .chain(docs.filter(|path| path.extension().is_some_and(|e| e == "md")))
    .collect()
}

/// A page's lines outside of code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    page.lines().filter(move |line| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

fn anchors(page: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let text = heading.trim().to_lowercase();
        text.chars()
            .filter(kept)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let ids = page
        .split("<a id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    headings
        .map(|line| slug(line.trim_start_matches('#')))
        .chain(ids.map(str::to_owned))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    for path in pages() {
        let page = read(&path);
        let prose: String = prose(&page).collect::<Vec<_>>().join("\n");
        let links = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("https://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().expect("a folder").join(file)
            };
            assert!(target.exists(), "{}: {link}", path.display());
            assert!(
                anchor.is_empty() || anchors(&read(&target)).contains(anchor),
                "{}: {link} has no such anchor",
                path.display()
            );
        }
    }
}
