//! Import tokens: a public key to encrypt a root key's material by, and a nonce.
//!
//! The service makes a pair of keys for each token. Here it is always the same
//! one, and everybody has its private half: making one takes seconds.

use jiff::Timestamp;

use super::modes::after;
use super::refusal::Refusal;

/// The public key, PKIX in PEM, as the service sends it.
pub const PUBLIC_KEY: &str = include_str!("import_token.pem");

/// Its private half. It protects nothing: it is published with the emulator.
pub const PRIVATE_KEY: &str = include_str!("import_token_key.pem");

const LIFETIMES: std::ops::RangeInclusive<i64> = 300..=86_400;
const DEFAULT_LIFETIME: i64 = 600;
const DEFAULT_RETRIEVALS: i64 = 1;
const MAX_RETRIEVALS: i64 = 500;

/// An instance's import token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportToken {
    /// How many seconds it lives.
    pub lifetime: i64,
    /// How often it may be retrieved.
    pub max_retrievals: i64,
    /// How often it may still be.
    pub remaining: i64,
    /// When it was made.
    pub creation_date: Timestamp,
    /// What proves that an import is meant for it.
    pub nonce: [u8; 12],
}

impl ImportToken {
    /// Makes a token.
    pub fn new(
        lifetime: Option<i64>,
        retrievals: Option<i64>,
        nonce: [u8; 12],
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME);
        if !LIFETIMES.contains(&lifetime) {
            return Err(Refusal::field(
                "expiration",
                "An import token lives for 300 to 86400 seconds.",
            ));
        }
        let max_retrievals = retrievals.unwrap_or(DEFAULT_RETRIEVALS);
        if !(1..=MAX_RETRIEVALS).contains(&max_retrievals) {
            return Err(Refusal::field(
                "maxAllowedRetrievals",
                "An import token can be retrieved 1 to 500 times.",
            ));
        }
        Ok(Self {
            lifetime,
            max_retrievals,
            remaining: max_retrievals,
            creation_date: now,
            nonce,
        })
    }

    /// Returns when it expires.
    pub fn expiration(&self) -> Timestamp {
        after(self.creation_date, self.lifetime)
    }

    /// Counts a retrieval, or refuses one too many or too late.
    pub fn retrieve(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if self.expiration() <= now || self.remaining <= 0 {
            return Err(expired());
        }
        self.remaining -= 1;
        Ok(())
    }
}

/// The refusal for a token that cannot be used any more.
pub fn expired() -> Refusal {
    Refusal::because(
        409,
        "IMPORT_TOKEN_EXPIRED_ERR",
        "The import token has expired: Create a new import token.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_retrieved_as_often_and_as_long_as_it_says() {
        let now = Timestamp::UNIX_EPOCH;
        let mut token = ImportToken::new(Some(300), Some(2), [0; 12], now).unwrap();
        assert!(token.retrieve(now).is_ok());
        assert_eq!(token.retrieve(after(now, 300)).unwrap_err().status, 409);
        assert!(token.retrieve(after(now, 299)).is_ok());
        assert_eq!(
            token.retrieve(now).unwrap_err().code(),
            Some("IMPORT_TOKEN_EXPIRED_ERR")
        );
        for (lifetime, retrievals) in [(299, 1), (86_401, 1), (600, 0), (600, 501)] {
            let token = ImportToken::new(Some(lifetime), Some(retrievals), [0; 12], now);
            assert_eq!(token.unwrap_err().status, 400, "{lifetime} {retrievals}");
        }
    }
}
