//! What of payloads and credentials is left in the operator's memory once it is at rest: a process
//! under the operator's own rights has synced keys whose payloads are known, and all of its memory
//! is searched.
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real processes and read their own environment"
)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::scene::{Scene, base64};
use crate::stage::Stage;

/// How long after the last sync nothing may be left any more: longer than a payload waits for
/// others that need it.
const REST: Duration = Duration::from_secs(30);

/// What is looked for, and under which name it is told.
struct Needle {
    name: &'static str,
    bytes: Vec<u8>,
}

/// A text as it stands, in base64 at each of the three places in which it can begin in a longer
/// text, and in hex.
pub(crate) fn forms(name: [&'static str; 5], text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let [raw, first, second, third, hex] = name;
    let mut forms = vec![(raw, text.as_bytes().to_vec())];
    for (name, skipped) in [(first, 0), (second, 1), (third, 2)] {
        let mut padded = vec![0; skipped];
        padded.extend_from_slice(text.as_bytes());
        padded.truncate(padded.len() / 3 * 3);
        // The first group also holds what stood before it.
        let begin = if skipped == 0 { 0 } else { 4 };
        forms.push((name, STANDARD.encode(&padded).as_bytes()[begin..].to_vec()));
    }
    let hex_digits = text.bytes().map(|byte| format!("{byte:02x}"));
    forms.push((hex, hex_digits.collect::<String>().into_bytes()));
    forms
}

/// How often each needle is in a process's memory.
fn found(pid: u32, needles: &[Needle]) -> io::Result<Vec<(&'static str, usize)>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut counts = vec![0; needles.len()];
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else {
            continue;
        };
        let Some((begin, end)) = range.split_once('-') else {
            continue;
        };
        let address = |text| u64::from_str_radix(text, 16).map_err(io::Error::other);
        let (begin, end) = (address(begin)?, address(end)?);
        // What cannot be written holds nothing that was received.
        if !rights.starts_with("rw") {
            continue;
        }
        let size = usize::try_from(end - begin).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        // Regions of the kernel's own cannot be read.
        if memory.read_exact_at(&mut bytes, begin).is_err() {
            continue;
        }
        for (count, needle) in counts.iter_mut().zip(needles) {
            *count += occurrences(&bytes, &needle.bytes);
        }
    }
    let names = needles.iter().map(|needle| needle.name);
    Ok(names.zip(counts).collect())
}

fn occurrences(bytes: &[u8], needle: &[u8]) -> usize {
    let (first, mut count, mut rest) = (needle[0], 0, bytes);
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        rest = &rest[at..];
        count += usize::from(rest.starts_with(needle));
        rest = &rest[1..];
    }
    count
}

/// Makes objects of every kind of entry, one Secret of several keys, and keys that several need.
fn sync_everything(scene: &Scene, canary: &str) {
    for number in 0..30 {
        let payload = format!("{canary}-{number:04}");
        scene.key(
            json!({"name": format!("key-{number}"), "aliases": [format!("key-{number}")],
            "payload": base64(payload.as_bytes())}),
        );
        let encodings = ["Raw", "Text", "Base64", "Base64URL", "Hex"];
        let spec = match number % 3 {
            0 => json!({}),
            1 => json!({"target": {"data": [{"name": "key", "encoding": encodings[number % 5]}]}}),
            _ => json!({"target": {"data": [
                {"name": "url", "template": "postgres://app:{{ payload | urlencode }}@db/orders"},
                {"name": "other", "from": {"alias": "key-0"}},
            ]}}),
        };
        scene.object(&format!("key-{number}"), spec);
    }
    for number in 0..30 {
        scene.until_synced(&format!("key-{number}"));
    }
    // A document, of which a field is taken.
    let document = json!({"user": "app", "password": format!("{canary}-json")}).to_string();
    scene.key(json!({"name": "document", "aliases": ["document"],
        "payload": base64(document.as_bytes())}));
    let data = json!([{"name": "password", "property": "password"}]);
    scene.synced_object("document", json!({"target": {"data": data}}));
    // One that the API server refuses.
    scene.create(
        "resourcequota",
        "none",
        json!({"spec": {"hard": {"secrets": "1"}}}),
    );
    scene.until("resourcequota", "none", "it counts", |quota| {
        quota["status"]["used"]["secrets"]
            .as_str()
            .is_some_and(|used| used != "0")
    });
    scene.object("refused", json!({"key": {"alias": "key-1"}}));
    scene.until_reason("refused", "SecretRejected");
}

#[test]
fn seconds_after_the_last_sync_no_payload_is_in_memory() {
    if !is_root_here() {
        return;
    }
    let Some(stage) = Stage::empty("memory") else {
        return;
    };
    stage.start_operator_with(&["--log", "trace"]);
    let scene = stage.scene("memory");
    let canary = format!("canary-{}", uuid::Uuid::new_v4().simple());
    sync_everything(&scene, &canary);
    let pid = stage.operator_id();
    let names = [
        "payload",
        "payload in base64",
        "payload in base64, one further",
        "payload in base64, two further",
        "payload in hex",
    ];
    let mut needles: Vec<Needle> = forms(names, &canary)
        .into_iter()
        .map(|(name, bytes)| Needle { name, bytes })
        .collect();
    needles.push(Needle {
        name: "API key",
        bytes: scene.api_key.clone().into_bytes(),
    });
    // That the search finds what is there: this very text is in the process's arguments.
    let known = vec![Needle {
        name: "a folder's name",
        bytes: b"--credentials-dir".to_vec(),
    }];
    assert!(found(pid, &known).expect("its memory")[0].1 > 0);

    let begun = Instant::now();
    let mut left = Vec::new();
    while begun.elapsed() < REST {
        left = found(pid, &needles).expect("its memory");
        left.retain(|(_, count)| *count > 0);
        if left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(left.is_empty(), "left in memory after {REST:?}: {left:?}");
    let log = stage.log();
    assert!(!log.contains(&canary) && !log.contains(&scene.api_key));
    stage.strike();
}

/// Whether this process may read the memory of another.
fn is_root_here() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    if !is_root {
        #[allow(clippy::print_stderr, reason = "whoever runs the tests should know")]
        {
            eprintln!("skipped: another process's memory is for root to read");
        }
    }
    is_root
}
