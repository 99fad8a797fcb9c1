//! IBM Cloud IAM: who there is, which API keys they have, what they may do.

pub mod token;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::access::Grant;

/// A service ID.
#[derive(Debug, Clone, Default)]
pub struct ServiceId {
    grants: Vec<Grant>,
    /// Grants that will count, and from when.
    pending: Option<(Vec<Grant>, Timestamp)>,
}

impl ServiceId {
    /// Makes a service ID that holds these grants.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self {
            grants,
            pending: None,
        }
    }

    /// Returns the grants that count now.
    pub fn grants(&self, now: Timestamp) -> &[Grant] {
        match &self.pending {
            Some((grants, from)) if *from <= now => grants,
            _ => &self.grants,
        }
    }

    /// Changes the grants, from a time on. Live tokens are not exempt: rights
    /// are looked up for every request.
    pub fn change(&mut self, grants: Vec<Grant>, from: Timestamp, now: Timestamp) {
        self.grants = self.grants(now).to_vec();
        self.pending = Some((grants, from));
    }
}

/// Every identity that IAM knows.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    /// Service IDs by name.
    pub services: BTreeMap<String, ServiceId>,
    /// API keys, each with the service ID that it belongs to.
    pub api_keys: BTreeMap<String, String>,
}
