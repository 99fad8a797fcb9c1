//! The corpus of the fuzzer, replayed: every input that it found worth keeping, and every one that
//! ever broke something (`make fuzz`).

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets/mod.rs"]
mod targets;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

#[test]
fn every_target_holds_its_invariant_over_its_corpus() {
    for (name, target) in targets::TARGETS {
        let files = fs::read_dir(corpus().join(name)).unwrap();
        let mut count = 0;
        for file in files.map(Result::unwrap) {
            let input = fs::read(file.path()).unwrap();
            let held = std::panic::catch_unwind(|| target(&input));
            assert!(held.is_ok(), "{} breaks {name}", file.path().display());
            count += 1;
        }
        assert!(count >= 3, "{name} has a corpus of {count}");
    }
}

#[test]
fn every_folder_of_the_corpus_is_a_targets_and_small() {
    let mut files = 0;
    for folder in fs::read_dir(corpus()).unwrap().map(Result::unwrap) {
        let name = folder.file_name().into_string().unwrap();
        assert!(
            targets::TARGETS.iter().any(|(target, _)| *target == name),
            "{name} is no target"
        );
        for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            let size = file.metadata().unwrap().len();
            assert!(size <= 8192, "{}: {size} bytes", file.path().display());
            files += 1;
        }
    }
    assert!(files <= 200, "{files} files");
}
