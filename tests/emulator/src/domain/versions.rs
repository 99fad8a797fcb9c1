//! The versions of a key: its material now, and what it was before.

use jiff::Timestamp;

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its UUID.
    pub id: String,
    /// When it was made.
    pub creation_date: Timestamp,
    /// The material.
    pub material: Vec<u8>,
}

/// Every version of a key. There is always a newest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    newest: Version,
    /// In the order of their creation.
    older: Vec<Version>,
}

impl Versions {
    /// Makes the versions of a new key.
    pub fn new(first: Version) -> Self {
        Self {
            newest: first,
            older: Vec::new(),
        }
    }

    /// Returns the version that wraps.
    pub fn newest(&self) -> &Version {
        &self.newest
    }

    /// Adds a version; those before it still unwrap.
    pub fn rotate(&mut self, newest: Version) {
        let old = std::mem::replace(&mut self.newest, newest);
        self.older.push(old);
    }

    /// Finds a version by its ID.
    pub fn find(&self, id: &str) -> Option<&Version> {
        self.newest_first().find(|version| version.id == id)
    }

    /// Returns all versions, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Version> {
        std::iter::once(&self.newest).chain(self.older.iter().rev())
    }
}
