//! Key rings: their names and how many there may be.

use jiff::Timestamp;

use super::refusal::Refusal;

/// The ring that is always there.
pub const DEFAULT_RING: &str = "default";
/// How many rings an instance may have beside `default`.
pub const MAX_RINGS: usize = 50;

/// A ring of an instance.
#[derive(Debug, Clone)]
pub struct Ring {
    /// When it was made; never, for `default`.
    pub creation_date: Option<Timestamp>,
    /// Who made it.
    pub created_by: Option<String>,
}

/// Refuses an ID that no ring can have.
pub fn check_id(id: &str) -> Result<(), Refusal> {
    let characters_fit = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !(2..=100).contains(&id.len()) || !characters_fit {
        return Err(Refusal::field(
            "keyRingID",
            "A key ring ID has 2 to 100 letters, digits, - and _.",
        ));
    }
    Ok(())
}

/// Refuses a ring that cannot be made next to those that there are.
pub fn check_creation(id: &str, exists: bool, count: usize) -> Result<(), Refusal> {
    check_id(id)?;
    if id == DEFAULT_RING || exists {
        return Err(Refusal::because(
            409,
            "KEY_RING_NOT_UNIQUE_ERR",
            format!("Key ring {id} already exists."),
        ));
    }
    if count > MAX_RINGS {
        return Err(Refusal::because(
            400,
            "KEY_RING_RESOURCE_QUOTA_ERR",
            format!("An instance has at most {MAX_RINGS} key rings."),
        ));
    }
    Ok(())
}

/// Refuses a ring that cannot go: `force` lets only destroyed keys be left.
pub fn check_deletion(id: &str, keys: usize, live: usize, force: bool) -> Result<(), Refusal> {
    if id == DEFAULT_RING {
        return Err(Refusal::field(
            "keyRingID",
            "The key ring `default` cannot be deleted.",
        ));
    }
    if live > 0 || (keys > 0 && !force) {
        return Err(Refusal::because(
            409,
            "KEY_RING_NOT_EMPTY_ERR",
            format!("Key ring {id} is not empty."),
        ));
    }
    Ok(())
}

/// The refusal for a ring that does not exist.
pub fn not_found(id: &str) -> Refusal {
    Refusal::because(
        404,
        "KEY_RING_NOT_FOUND_ERR",
        format!("Key ring {id} does not exist."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_goes_only_when_empty_or_forced_over_destroyed_keys() {
        assert!(check_deletion("r", 0, 0, false).is_ok());
        assert_eq!(check_deletion("r", 1, 0, false).unwrap_err().status, 409);
        assert!(check_deletion("r", 1, 0, true).is_ok());
        assert_eq!(check_deletion("r", 2, 1, true).unwrap_err().status, 409);
        assert_eq!(
            check_deletion("default", 0, 0, true).unwrap_err().status,
            400
        );
    }

    #[test]
    fn default_is_never_created_and_fifty_are_enough() {
        assert_eq!(check_creation("default", true, 1).unwrap_err().status, 409);
        assert!(check_creation("fine", false, 50).is_ok());
        assert_eq!(check_creation("fine", false, 51).unwrap_err().status, 400);
        assert_eq!(check_creation("x", false, 1).unwrap_err().status, 400);
        assert_eq!(check_creation("a b", false, 1).unwrap_err().status, 400);
    }
}
