//! The walls of the house, read from the source itself: what decides does no I/O, and key bytes
//! are opened in a few known places only.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    assert!(!files.is_empty(), "{folder} holds no source");
    files
}

/// Lines of a file that are code, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    name.ends_with("_tests")
        || name == "tests"
        || path
            .components()
            .filter_map(|part| part.as_os_str().to_str())
            .any(|part| part == "testing" || part.ends_with("_tests"))
}

#[test]
fn what_decides_does_no_io_and_reads_no_clock() {
    let walls = [
        (
            "src/domain",
            &[
                "crate::cluster",
                "crate::controller",
                "crate::keyprotect",
                "crate::runtime",
            ][..],
        ),
        (
            "src/api",
            &[
                "crate::cluster",
                "crate::controller",
                "crate::keyprotect",
                "crate::runtime",
                "crate::domain",
            ],
        ),
        (
            "src/keyprotect",
            &[
                "crate::cluster",
                "crate::controller",
                "crate::runtime",
                "kube::",
            ],
        ),
        (
            "src/cluster",
            &[
                "crate::controller",
                "crate::keyprotect",
                "crate::runtime",
                "reqwest",
            ],
        ),
    ];
    let io = [
        "tokio::",
        "reqwest",
        "kube::Client",
        "kube::Api",
        "kube::client",
        "kube::runtime",
        "std::fs",
        "TcpStream",
        "UdpSocket",
        "TcpListener",
        "ToSocketAddrs",
        "lookup_host",
        "std::env",
        "std::process",
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "async fn",
        ".await",
        "println!",
        "tracing::",
    ];
    let mut broken = Vec::new();
    for (folder, others) in walls {
        let pure = folder == "src/domain" || folder == "src/api";
        for (path, text) in sources(folder) {
            for (line, code) in code(&text) {
                let forbidden = others.iter().chain(io.iter().filter(|_| pure));
                for word in forbidden.filter(|word| code.contains(**word)) {
                    broken.push(format!("{}:{line}: {word}", path.display()));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "through the wall:\n{}",
        broken.join("\n")
    );
}

#[test]
fn key_bytes_are_opened_in_known_places_only() {
    let known = [
        // Rendering, and the writes of a Secret and of entries.
        "src/domain/secret/render/mod.rs",
        "src/domain/secret/render/types.rs",
        "src/cluster/protobuf.rs",
        "src/cluster/apply.rs",
        // The type itself.
        "src/domain/service/material.rs",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in sources("src") {
        let opened = code(&text).any(|(_, line)| line.contains(".expose()"));
        let place = path.strip_prefix(root).unwrap().to_str().unwrap();
        assert!(
            !opened || known.contains(&place) || is_test(&path),
            "{place} opens key bytes"
        );
    }
}

#[test]
fn the_clock_is_read_in_one_place_of_the_controller() {
    for (path, text) in sources("src/controller") {
        let clocks = ["Timestamp::now", "Instant::now", "clock_gettime"];
        let reads = code(&text).any(|(_, line)| clocks.iter().any(|clock| line.contains(clock)));
        assert!(
            !reads || path.ends_with("clock.rs") || is_test(&path),
            "{} reads the clock",
            path.display()
        );
    }
}

#[test]
fn files_stay_small_enough_to_read() {
    let long: Vec<String> = sources("src")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| {
            let lines = text
                .split("#[cfg(test)]")
                .next()
                .map_or(0, |own| code(own).count());
            (path, lines)
        })
        .filter(|(_, lines)| *lines > 450)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(
        long.is_empty(),
        "split by what they decide:\n{}",
        long.join("\n")
    );
}
