//! Which key an object means: by ID, alias, or name, in a ring or anywhere.

use std::fmt;

use crate::api::key::KeySelector;
use crate::domain::service::ids::{Alias, InvalidName, KeyId, KeyRing};

/// How a key is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// That key and no other.
    Id(KeyId),
    /// Whichever key has the alias now.
    Alias(Alias),
    /// The newest active standard key of that name; a ring is always given with it.
    Name(String),
}

/// A key as an object names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyReference {
    /// How it is named.
    pub name: KeyName,
    /// The ring that it must be in.
    pub ring: Option<KeyRing>,
}

impl KeyReference {
    /// Reads a selector; where it names no key, the object's own name is the alias.
    ///
    /// # Errors
    /// Says which field has which form. The schema refuses such objects, so this speaks only of
    /// objects made under another version of it.
    pub fn from_selector(
        selector: Option<&KeySelector>,
        object_name: &str,
    ) -> Result<Self, InvalidName> {
        let empty = KeySelector::default();
        let selector = selector.unwrap_or(&empty);
        let ring = selector
            .key_ring
            .as_deref()
            .map(KeyRing::parse)
            .transpose()?;
        let name = if let Some(id) = &selector.id {
            KeyName::Id(KeyId::parse(id)?)
        } else if let Some(alias) = &selector.alias {
            KeyName::Alias(Alias::parse(alias)?)
        } else if let Some(name) = &selector.name {
            if ring.is_none() {
                return Err(InvalidName {
                    what: "key.keyRing",
                    form: "given with key.name, since names are not unique",
                });
            }
            KeyName::Name(name.clone())
        } else {
            KeyName::Alias(Alias::parse(object_name)?)
        };
        Ok(Self { name, ring })
    }
}

/// The bare alias, name or ID.
impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Alias(alias) => write!(f, "{alias}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for KeyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            KeyName::Id(id) => write!(f, "key {id}")?,
            KeyName::Alias(alias) => write!(f, "alias {alias}")?,
            KeyName::Name(name) => write!(f, "key name {name:?}")?,
        }
        if let Some(ring) = &self.ring {
            write!(f, " in ring {ring}")?;
        }
        Ok(())
    }
}
