//! Requests to IAM and Key Protect: the recorder that the client of an instance is given.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::request::{Request, durations};
use super::{Labels, names, register};
use crate::domain::service::failure::Operation;

/// Counts requests to IAM and Key Protect. Clones count together; which instance it was is not
/// told, so that the number of series does not depend on the number of instances.
#[derive(Clone, Debug)]
pub struct Upstream {
    requests: Family<Labels<2>, Counter>,
    duration: Family<Labels<1>, Histogram>,
    retries: Family<Labels<1>, Counter>,
    throttled: Family<Labels<1>, Counter>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(durations),
            retries: Family::default(),
            throttled: Family::default(),
        }
    }
}

/// Whether a key is there that whoever asked may not use, is nobody's business: of a single key,
/// the answers that it is there and that it is not are counted as one. Whoever may have the key
/// learns it from the object's status, an admin from the log.
const FOUND_OR_NOT: &str = "200/404/410";

/// The label of an answer.
fn code(operation: Operation, code: &'static str) -> &'static str {
    match (operation, code) {
        (Operation::GetKeyMetadata, "200" | "404" | "410") => FOUND_OR_NOT,
        (_, code) => code,
    }
}

/// The label of an operation.
const fn label(operation: Operation) -> &'static str {
    match operation {
        Operation::Token => "token",
        Operation::ListKeys => "list_keys",
        Operation::GetKeyMetadata => "get_key_metadata",
        Operation::GetKey => "get_key",
        Operation::ListKeyRings => "list_key_rings",
    }
}

impl Upstream {
    /// Begins a request.
    pub fn begin(
        &self,
        operation: Operation,
    ) -> Request<impl FnOnce(&'static str, Duration) + use<>> {
        let (requests, duration) = (self.requests.clone(), self.duration.clone());
        let labelled = ("operation", label(operation));
        Request::begin(move |answer, took| {
            let code = ("code", code(operation, answer));
            requests.get_or_create(&[labelled, code]).inc();
            let seconds = took.as_secs_f64();
            duration.get_or_create(&[labelled]).observe(seconds);
        })
    }

    /// Counts a request that is sent again.
    pub fn retried(&self, operation: Operation) {
        let labels = [("operation", label(operation))];
        self.retries.get_or_create(&labels).inc();
    }

    /// Counts an answer that asked for fewer requests.
    pub fn throttled(&self, operation: Operation) {
        let labels = [("operation", label(operation))];
        self.throttled.get_or_create(&labels).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        register(registry, &names::UPSTREAM_REQUESTS, self.requests.clone());
        let duration = self.duration.clone();
        register(registry, &names::UPSTREAM_REQUEST_DURATION, duration);
        register(registry, &names::UPSTREAM_RETRIES, self.retries.clone());
        let throttled = self.throttled.clone();
        register(registry, &names::UPSTREAM_THROTTLED, throttled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_single_key_is_there_is_not_told_and_everything_else_is() {
        let single = |answer| code(Operation::GetKeyMetadata, answer);
        for answer in ["200", "404", "410"] {
            assert_eq!(single(answer), FOUND_OR_NOT);
            assert_eq!(code(Operation::GetKey, answer), answer);
        }
        for answer in ["401", "403", "429", "500", "none"] {
            assert_eq!(single(answer), answer);
        }
    }
}
