//! What is fuzzed: everything in the operator that reads bytes from outside. Each target is a
//! function of bytes that panics when its invariant does not hold; "no panic of the operator's own"
//! is part of each. The fuzzer (`tests/fuzz/src`) and an ordinary test, which replays the corpus
//! (`tests/it/fuzz_corpus.rs`), call the same functions.

mod answers;
mod files;
mod names;
mod objects;
mod render;

/// A target.
pub(crate) type Target = fn(&[u8]);

/// Every target by its name, which is its corpus's folder too.
pub(crate) const TARGETS: [(&str, Target); 10] = [
    ("answers", answers::answers),
    ("api-key", files::api_key),
    ("ca-bundle", files::ca_bundle),
    ("crn", names::crn),
    ("durations", names::durations),
    ("hosts", names::hosts),
    ("instance", names::instance),
    ("payloads", render::payloads),
    ("templates", render::templates),
    ("watched", objects::watched),
];

/// Splits an input in two at its first zero byte, and takes both as text.
fn two(data: &[u8]) -> Option<(&str, &[u8])> {
    let at = data.iter().position(|byte| *byte == 0)?;
    let (front, back) = data.split_at(at);
    Some((std::str::from_utf8(front).ok()?, back.get(1..)?))
}
