//! Everything known about one object, as a look gathers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::held::Held;
use crate::api::{KeyProtectInstance, KeyProtectKey};
use crate::domain::access::Question;
use crate::domain::look::observed::Memory;
use crate::domain::secret::SecretView;

/// A namespace, as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// What is remembered of an object between looks.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// What the decisions remember.
    pub memory: Memory,
    /// Since when it waits for a listing that may show its key.
    pub missed_at: Option<Timestamp>,
    /// Single reads that the object needed last time.
    pub questions: Vec<Question>,
    /// Nothing is done before this but for a change of the object itself.
    pub not_before: Timestamp,
    /// How often in a row its status could not be written.
    pub unwritten: u32,
}

impl Remembered {
    pub(super) fn nothing(started: Timestamp) -> Self {
        Self {
            memory: Memory::new(started),
            missed_at: None,
            questions: Vec::new(),
            not_before: Timestamp::MIN,
            unwritten: 0,
        }
    }
}

/// Everything about one object, at one moment.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The object.
    pub object: KeyProtectKey,
    /// How many objects of its namespace are served, where it is not one of them.
    pub surplus: Option<usize>,
    /// The name of an older object with the same target.
    pub rival: Option<String>,
    /// Its namespace, if in view.
    pub namespace: Option<Arc<NamespaceFacts>>,
    /// The instance that it names.
    pub instance: Option<Arc<KeyProtectInstance>>,
    /// Its target, if in view.
    pub secret: Option<SecretView>,
    /// Whether every other KeyProtectKey that the target names as owner is alive.
    pub owners_live: bool,
    /// Other Secrets that it owns.
    pub superseded: Vec<SecretView>,
    /// What is remembered.
    pub remembered: Remembered,
}

/// An object, and what is remembered of it.
#[derive(Debug)]
pub struct Known {
    /// The object.
    pub held: Held,
    /// What is remembered; nothing, before its first look has ended.
    pub remembered: Option<Box<Remembered>>,
}
