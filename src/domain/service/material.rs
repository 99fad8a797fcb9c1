//! Key bytes. They live in this type alone, are wiped when it is dropped, and nothing prints
//! them. Only rendering and the write of a Secret open it (`tests/it/architecture.rs`).

use std::fmt;

use zeroize::Zeroizing;

use crate::domain::service::metadata::KeyMetadata;

/// The payload of one key.
#[derive(Clone)]
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Takes the bytes over; the caller keeps no copy.
    #[must_use]
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// Opens the bytes. Every use of this is a place that a reviewer looks at.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial(…)")
    }
}

/// A key as `GET keys/{id}` answers it.
#[derive(Clone, Debug)]
pub struct Payload {
    /// What the answer says of the key.
    pub metadata: KeyMetadata,
    /// The payload, where the answer has one: a root or deleted key has none, and a new key's
    /// may come later than the key.
    pub material: Option<KeyMaterial>,
    /// Correlation ID of the request.
    pub correlation_id: String,
}
