//! IBM Cloud IAM: who there is, which API keys they have, what they may do.

pub mod profile;
pub mod token;

use std::collections::BTreeMap;

use jiff::Timestamp;

use self::profile::Trust;
use crate::domain::access::Grant;

/// A service ID.
#[derive(Debug, Clone, Default)]
pub struct ServiceId {
    grants: Vec<Grant>,
    /// Grants that will count, and from when.
    pending: Option<(Vec<Grant>, Timestamp)>,
    /// The service of IBM Cloud that it acts for.
    service: Option<String>,
}

impl ServiceId {
    /// Makes a service ID that holds these grants.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self {
            grants,
            pending: None,
            service: None,
        }
    }

    /// Has it act for a service of IBM Cloud.
    pub fn of_service(self, service: Option<String>) -> Self {
        Self { service, ..self }
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
    /// Trusted profiles by name.
    pub profiles: BTreeMap<String, Profile>,
}

/// A trusted profile.
#[derive(Debug, Clone)]
pub struct Profile {
    /// `Profile-…`.
    pub id: String,
    /// What it trusts.
    pub trust: Trust,
    /// What it may do.
    pub identity: ServiceId,
}

impl Identities {
    /// Returns the service of IBM Cloud that the bearer of a token acts for.
    pub fn service(&self, iam_id: &str) -> Option<&str> {
        let name = iam_id.strip_prefix(token::SERVICE_PREFIX)?;
        self.services.get(name)?.service.as_deref()
    }

    /// Returns what the bearer of a token may do, by the token's `iam_id`.
    pub fn grants(&self, iam_id: &str, now: Timestamp) -> &[Grant] {
        let service = iam_id
            .strip_prefix(token::SERVICE_PREFIX)
            .and_then(|name| self.services.get(name));
        let profile = || {
            let id = iam_id.strip_prefix("iam-")?;
            self.profiles.values().find(|profile| profile.id == id)
        };
        service
            .or_else(|| profile().map(|profile| &profile.identity))
            .map(|identity| identity.grants(now))
            .unwrap_or_default()
    }
}
