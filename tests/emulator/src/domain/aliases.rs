//! Aliases: which names they may have, and how they linger after deletion.
//!
//! An alias belongs to one key of an instance. A deleted one is gone only after
//! a while, during which some answers still know it and no other key can have
//! it; how long is a mode.

use jiff::Timestamp;
use uuid::Uuid;

use super::refusal::Refusal;

/// How many aliases a key may have.
pub const MAX_ALIASES: usize = 5;

const RESERVED: [&str; 16] = [
    "allowed_ip",
    "key",
    "keys",
    "metadata",
    "policy",
    "policies",
    "registration",
    "registrations",
    "ring",
    "rings",
    "rotate",
    "wrap",
    "unwrap",
    "rewrap",
    "version",
    "versions",
];

/// An alias and what it stands for.
#[derive(Debug, Clone)]
pub struct Alias {
    /// The key.
    pub key: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub creation_date: Timestamp,
    /// When it was deleted, while it lingers.
    pub gone_at: Option<Timestamp>,
    /// How often it was asked for since its deletion: every second time it
    /// still answers, as caches that disagree do.
    pub asked_since: u32,
}

/// Refuses what cannot be an alias.
pub fn check_name(alias: &str) -> Result<(), Refusal> {
    let wrong = |message: &str| Err(Refusal::field("alias", message));
    if !(2..=90).contains(&alias.len()) {
        return wrong("An alias has 2 to 90 characters.");
    }
    if !alias
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return wrong("An alias has letters, digits, - and _ only.");
    }
    if is_key_id(alias) {
        return wrong("An alias cannot be a version 4 UUID.");
    }
    if RESERVED.contains(&alias) {
        return wrong("This alias is a reserved name.");
    }
    Ok(())
}

/// Says whether this is the form of a key's ID.
pub fn is_key_id(text: &str) -> bool {
    text.len() == 36 && Uuid::parse_str(text).is_ok_and(|uuid| uuid.get_version_num() == 4)
}

/// The refusal for an alias that another key has, or that lingers.
pub fn not_unique(alias: &str) -> Refusal {
    Refusal::because(
        409,
        "ALIAS_NOT_UNIQUE_ERR",
        format!("Alias {alias} is already in use."),
    )
}

/// The refusal for one alias more than a key can have.
pub fn too_many() -> Refusal {
    Refusal::because(
        400,
        "KEY_ALIAS_QUOTA_ERR",
        format!("A key has at most {MAX_ALIASES} aliases."),
    )
}

/// The refusal for more aliases than an instance may have.
pub fn too_many_in_instance(limit: usize) -> Refusal {
    Refusal::because(
        400,
        "KEY_ALIAS_QUOTA_ERR",
        format!("An instance has at most {limit} aliases."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_keep_every_rule_of_their_names() {
        for good in ["ab", "A-b_9", &"x".repeat(90), "Metadata", "12345678"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let uuid = "02fd6835-6001-4482-a892-13bd2085f75d";
        for bad in [
            "a",
            &"x".repeat(91),
            "a b",
            "a.b",
            "ä1",
            "metadata",
            "keys",
            uuid,
        ] {
            let refusal = check_name(bad).unwrap_err();
            assert_eq!(
                (refusal.status, refusal.code()),
                (400, Some("INVALID_FIELD_ERR")),
                "{bad}"
            );
        }
    }
}
