//! How a client behaves, and why there may be none.

use std::time::Duration;

use super::retry::RetryPolicy;
use crate::metrics::Upstream;

/// How a client behaves; the default is what the operator uses.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Deadline of one call, with all its tries.
    pub call_deadline: Duration,
    /// Deadline of one request; what is left of the call's serves for another try.
    pub request_deadline: Duration,
    /// How long a page of a listing may take before it is asked for in halves.
    pub page_deadline: Duration,
    /// Deadline of a connection.
    pub connect_timeout: Duration,
    /// Tries after the first, within one call.
    pub retries: usize,
    /// Whether whoever uses the client keeps the pace of reads of single keys, and tries them
    /// again itself.
    pub paced: bool,
    /// Rows a page; the service's largest is 5,000.
    pub page_size: usize,
    /// Seed of the jitter, for tests; absent, it is random.
    pub jitter_seed: Option<u64>,
    /// Counts the requests.
    pub metrics: Upstream,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_secs(30),
            request_deadline: Duration::from_secs(12),
            page_deadline: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            retries: 3,
            paced: false,
            page_size: 5_000,
            jitter_seed: None,
            metrics: Upstream::default(),
        }
    }
}

impl ClientOptions {
    pub(super) const fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            retries: self.retries,
            seed: self.jitter_seed,
        }
    }
}

/// Says why there is no client for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The CA bundle holds no certificate.
    #[error(
        "spec.endpoint.caBundle: holds no certificate that can be read; give PEM, beginning with -----BEGIN CERTIFICATE-----"
    )]
    CaBundle,
    /// The TLS library refused its set-up.
    #[error(
        "the TLS client could not be set up; check this machine's root certificates and spec.endpoint.caBundle"
    )]
    Build,
    /// The text holds no token.
    #[error("the text holds no access token; give what 'ibmcloud iam oauth-tokens' prints")]
    Token,
}
