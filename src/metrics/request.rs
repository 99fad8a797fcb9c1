//! One request that is being made, to whomever: counted when it ends, however it ends.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;

/// Bounds of every histogram: from what a request to the API server takes to the longest call.
const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

/// A histogram of durations.
pub(super) fn durations() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Where there was no answer.
const NO_ANSWER: &str = "none";

/// The label of an HTTP status. A server must not be able to make series without end, so those
/// that neither service sends on its good days share one.
fn code(status: Option<u16>) -> &'static str {
    match status {
        None => NO_ANSWER,
        Some(200) => "200",
        Some(201) => "201",
        Some(204) => "204",
        Some(400) => "400",
        Some(401) => "401",
        Some(403) => "403",
        Some(404) => "404",
        Some(409) => "409",
        Some(410) => "410",
        Some(422) => "422",
        Some(429) => "429",
        Some(500) => "500",
        Some(502) => "502",
        Some(503) => "503",
        Some(504) => "504",
        Some(_) => "other",
    }
}

/// A request that is being made. Whoever goes away before the answer drops it, which counts as
/// no answer.
#[derive(Debug)]
pub struct Request<F: FnOnce(&'static str, Duration)> {
    begun: Instant,
    status: Option<u16>,
    note: Option<F>,
}

impl<F: FnOnce(&'static str, Duration)> Request<F> {
    pub(super) fn begin(note: F) -> Self {
        Self {
            begun: Instant::now(),
            status: None,
            note: Some(note),
        }
    }

    /// Takes note of the answer, and ends.
    pub fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl<F: FnOnce(&'static str, Duration)> Drop for Request<F> {
    fn drop(&mut self) {
        if let Some(note) = self.note.take() {
            note(code(self.status), self.begun.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn a_request_is_counted_once_however_it_ends() {
        let codes = RefCell::new(Vec::new());
        let begin = || Request::begin(|code, _| codes.borrow_mut().push(code));
        begin().answered(200);
        begin().answered(418);
        drop(begin());
        assert_eq!(*codes.borrow(), ["200", "other", "none"]);
    }

    #[test]
    fn no_server_can_make_series_without_end() {
        let all: std::collections::BTreeSet<_> = (0..=u16::MAX).map(|s| code(Some(s))).collect();
        assert_eq!(all.len(), 16);
    }
}
