//! What is asked of the key API, and what is common to its answers.

use std::sync::atomic::AtomicBool;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::attempts::Attempts;
use super::wire;
use crate::domain::service::endpoint::Tenant;
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
use crate::domain::service::ids::KeyRing;

/// Largest answer read, but for pages of a listing.
pub(super) const LARGEST_ANSWER: usize = 1024 * 1024;

/// A request to be made: where, for what, and how large its answer may be.
pub(super) struct Ask<'a> {
    pub(super) operation: Operation,
    pub(super) path: String,
    pub(super) accept: &'static str,
    pub(super) ring: Option<&'a KeyRing>,
    pub(super) largest: usize,
    /// Whether a request that takes too long is better asked for in smaller pieces than again.
    pub(super) is_divisible: bool,
    /// Whether one took too long.
    pub(super) was_slow: AtomicBool,
    /// Where each request is written down.
    pub(super) attempts: Option<&'a Attempts>,
}

impl<'a> Ask<'a> {
    pub(super) const fn new(operation: Operation, path: String, accept: &'static str) -> Self {
        Self {
            operation,
            path,
            accept,
            ring: None,
            largest: LARGEST_ANSWER,
            is_divisible: false,
            was_slow: AtomicBool::new(false),
            attempts: None,
        }
    }

    pub(super) const fn is_of_one_key(&self) -> bool {
        matches!(
            self.operation,
            Operation::GetKey | Operation::GetKeyMetadata
        )
    }

    pub(super) const fn in_ring(mut self, ring: Option<&'a KeyRing>) -> Self {
        self.ring = ring;
        self
    }
}

pub(super) fn tenant_headers(tenant: &Tenant) -> HeaderMap {
    let pairs = match tenant {
        Tenant::Instance(id) => vec![("bluemix-instance", id)],
        Tenant::CloudFoundry {
            organization,
            space,
        } => vec![("bluemix-org", organization), ("bluemix-space", space)],
    };
    pairs
        .into_iter()
        .filter_map(|(name, id)| {
            let value = HeaderValue::from_str(id.as_str()).ok()?;
            Some((HeaderName::from_static(name), value))
        })
        .collect()
}

pub(super) fn unreadable(
    operation: Operation,
    error: wire::WireError,
    correlation_id: String,
) -> FetchFailure {
    FetchFailure {
        status: Some(200),
        request_id: Some(correlation_id),
        ..FetchFailure::new(operation, FailureKind::ServiceError, error.to_string())
    }
}

pub(super) fn other_key(operation: Operation, correlation_id: String) -> FetchFailure {
    let detail = "the answer holds another key than the one asked for";
    FetchFailure {
        status: Some(200),
        request_id: Some(correlation_id),
        ..FetchFailure::new(operation, FailureKind::ServiceError, detail)
    }
}
