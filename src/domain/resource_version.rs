//! Which of two states of an object is the newer one.

/// Compares resourceVersions, which are numbers that grow; what is no number counts as newer.
#[must_use]
pub fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => true,
    }
}
