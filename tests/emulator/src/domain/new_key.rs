//! What a new key must look like: the checks on a create request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::aliases;
use super::import::{self, Encryption};
use super::import_token::ImportToken;
use super::policies::key::KeyPolicyChange;
use super::refusal::Refusal;
use super::rings::DEFAULT_RING;
use super::state::KeyClass;

/// The largest payload of a standard key.
pub const MAX_PAYLOAD: usize = 7500;

/// A request for a key, before it is checked.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// An ID, from the admin port only.
    pub id: Option<String>,
    /// A name.
    pub name: String,
    /// A description.
    pub description: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Aliases to begin with.
    pub aliases: Vec<String>,
    /// `true`, the default, for a standard key.
    pub extractable: Option<bool>,
    /// When it is to expire.
    pub expiration: Option<Timestamp>,
    /// The material in base64; generated when absent.
    pub payload: Option<String>,
    /// How the payload is encrypted for an import token, when it is.
    pub encryption: Option<Encryption>,
    /// The ring.
    pub ring: Option<String>,
    /// When it was made, from the admin port only.
    pub creation_date: Option<Timestamp>,
    /// Policies, in place of those that the instance has for new keys.
    pub policies: KeyPolicyChange,
}

impl NewKey {
    /// Returns the class that was asked for.
    pub fn class(&self) -> KeyClass {
        if self.extractable.unwrap_or(true) {
            KeyClass::Standard
        } else {
            KeyClass::Root
        }
    }

    /// Returns the ring that was asked for.
    pub fn ring(&self) -> &str {
        self.ring.as_deref().unwrap_or(DEFAULT_RING)
    }

    /// Refuses what no key can look like, and decodes the payload: by the
    /// instance's import token, when it is encrypted.
    pub fn check(
        &self,
        token: Option<&ImportToken>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let length = |text: &str| text.chars().count();
        if !(2..=90).contains(&length(&self.name)) {
            return Err(Refusal::field("name", "A name has 2 to 90 characters."));
        }
        if let Some(description) = &self.description
            && !description.is_empty()
            && !(2..=240).contains(&length(description))
        {
            return Err(Refusal::field(
                "description",
                "A description has 2 to 240 characters.",
            ));
        }
        if self.tags.len() > 30 || self.tags.iter().any(|tag| !(1..=30).contains(&length(tag))) {
            return Err(Refusal::field(
                "tags",
                "A key has up to 30 tags of up to 30 characters.",
            ));
        }
        if self.aliases.len() > aliases::MAX_ALIASES {
            return Err(aliases::too_many());
        }
        for alias in &self.aliases {
            aliases::check_name(alias)?;
        }
        if let Some(id) = &self.id
            && !aliases::is_key_id(id)
        {
            return Err(Refusal::field("id", "A key's ID is a version 4 UUID."));
        }
        if self.expiration.is_some_and(|expiration| expiration <= now) {
            return Err(Refusal::field(
                "expirationDate",
                "The expiration date has passed.",
            ));
        }
        let encryption = self.encryption.as_ref();
        if self.payload.is_none() && encryption.is_some() {
            return Err(Refusal::field("payload", "There is nothing to import."));
        }
        self.payload
            .as_deref()
            .map(|text| import::material(self.class(), text, encryption, token, now))
            .transpose()
    }
}

/// Decodes a payload and refuses one of a wrong size.
pub fn decode_payload(class: KeyClass, text: &str) -> Result<Vec<u8>, Refusal> {
    let Ok(bytes) = STANDARD.decode(text) else {
        return Err(Refusal::field("payload", "The payload is not in base64."));
    };
    check_size(class, &bytes)?;
    Ok(bytes)
}

/// Refuses material of a wrong size.
pub fn check_size(class: KeyClass, bytes: &[u8]) -> Result<(), Refusal> {
    let fits = match class {
        KeyClass::Standard => (1..=MAX_PAYLOAD).contains(&bytes.len()),
        KeyClass::Root => matches!(bytes.len(), 16 | 24 | 32),
    };
    if !fits {
        return Err(Refusal::field(
            "payload",
            "The payload has a size that is not accepted.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(class: KeyClass, size: usize) -> Result<usize, u16> {
        decode_payload(class, &STANDARD.encode(vec![7; size]))
            .map(|bytes| bytes.len())
            .map_err(|refusal| refusal.status)
    }

    #[test]
    fn payload_sizes_are_kept() {
        for (size, fits) in [(0, false), (1, true), (7500, true), (7501, false)] {
            assert_eq!(status(KeyClass::Standard, size).is_ok(), fits, "{size}");
        }
        for (size, fits) in [(15, false), (16, true), (24, true), (32, true), (33, false)] {
            assert_eq!(status(KeyClass::Root, size).is_ok(), fits, "{size}");
        }
        let refusal = decode_payload(KeyClass::Standard, "no base64!").unwrap_err();
        assert_eq!(refusal.reasons[0].field.as_deref(), Some("payload"));
    }
}
