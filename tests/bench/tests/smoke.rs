//! The counts among the goals, held with few objects wherever tests run. Times are not looked at.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What cargo built beside the benchmark: the operator and the emulator. `cargo test --workspace`
/// builds all three.
fn beside(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_key-protect-bench")).with_file_name(name);
    assert!(
        path.exists(),
        "{}: build it first, by `cargo build --workspace`",
        path.display()
    );
    path
}

#[test]
fn what_is_counted_is_as_it_should_be() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smoke");
    let output = Command::new(env!("CARGO_BIN_EXE_key-protect-bench"))
        .args(["--n", "60", "--only", "counts", "--refreshes", "3"])
        .arg("--out")
        .arg(&out)
        .env("OPERATOR", beside("key-protect-operator"))
        .env("EMULATOR", beside("key-protect-emulator"))
        .env_remove("PEER")
        .output()
        .expect("the benchmark");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    let report = std::fs::read_to_string(out.join("report.json")).expect("its report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let rows = report["rows"].as_array().expect("rows");
    // What has a unit is time or memory, which says nothing on a busy machine.
    let counts: Vec<&Value> = rows
        .iter()
        .filter(|row| row["unit"] == "" && row["goal"].is_string())
        .collect();
    assert!(counts.len() >= 10, "{said}");
    let missed: Vec<_> = counts.iter().filter(|row| row["met"] != true).collect();
    assert!(missed.is_empty(), "{missed:#?}\n{said}");
}
