//! The fuzzer: one binary for all targets, since linking the operator takes longer than most of
//! them need. `FUZZ_TARGET` names the one to run; everything else is libFuzzer's command line.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// The target that was asked for.
static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let mut all = targets::TARGETS.iter();
    let Some((_, target)) = all.find(|(name, _)| *name == wanted) else {
        let names = targets::TARGETS.map(|(name, _)| name);
        eprintln!("FUZZ_TARGET must be one of {names:?}");
        std::process::exit(2);
    };
    *target
});

fuzz_target!(|data: &[u8]| TARGET(data));
