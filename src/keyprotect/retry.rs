//! Which failures are tried again within one call, and how often. Trying again later is the
//! caller's business.

use std::time::Duration;

use backon::Retryable;

use crate::domain::service::backoff::FullJitter;
use crate::domain::service::failure::FetchFailure;

/// A Retry-After up to this is slept on; a longer one is left to the caller.
const SLEPT_ON: Duration = Duration::from_secs(5);
/// Bound of the first wait.
const FIRST: Duration = Duration::from_millis(200);
/// Bound of every wait.
const CAP: Duration = Duration::from_secs(4);

/// How often a call is tried again, and with which randomness.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryPolicy {
    /// Tries after the first.
    pub(super) retries: usize,
    /// Seed of the jitter, for tests; absent, it is random.
    pub(super) seed: Option<u64>,
}

fn wait(failure: &FetchFailure, jitter: Option<Duration>) -> Option<Duration> {
    let jitter = jitter?;
    match failure.retry_after {
        // On top of what was asked for, so that many callers are spread after it.
        Some(after) if after <= SLEPT_ON => Some(after.saturating_add(jitter)),
        Some(_) => None,
        None => Some(jitter),
    }
}

impl RetryPolicy {
    /// Tries until it succeeds, fails for good, was tried often enough, or the caller would
    /// rather do something else. Says each time that it tries again.
    pub(super) async fn run<T, F, R>(
        self,
        attempt: F,
        gives_up: impl Fn() -> bool,
        retried: impl Fn(&FetchFailure),
    ) -> Result<T, FetchFailure>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T, FetchFailure>>,
    {
        let seed = self.seed.unwrap_or_else(random_seed);
        attempt
            .retry(FullJitter::new(FIRST, CAP, self.retries, seed))
            .sleep(tokio::time::sleep)
            .when(|failure| failure.is_passing() && !gives_up())
            .adjust(wait)
            .notify(|failure, _| retried(failure))
            .await
    }
}

/// Takes the low half of a random UUID: no further dependency is needed for jitter.
pub(crate) fn random_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::failure::{FailureKind, Operation};
    use std::cell::Cell;

    fn failure(kind: FailureKind, status: Option<u16>, after: Option<u64>) -> FetchFailure {
        FetchFailure {
            status,
            retry_after: after.map(Duration::from_secs),
            ..FetchFailure::new(Operation::ListKeys, kind, "…")
        }
    }

    #[test]
    fn only_passing_failures_are_tried_again() {
        use FailureKind::*;
        for (kind, status, expected) in [
            (Unreachable, None, true),
            (Throttled, Some(429), true),
            (ServiceError, Some(500), true),
            (ServiceError, Some(503), true),
            (ServiceError, Some(501), false),
            (ServiceError, Some(404), false),
            (ServiceError, Some(200), false),
            (ServiceError, None, false),
            (Denied, Some(401), false),
            (Invalid, Some(400), false),
            (KeyNotFound, Some(404), false),
            (KeyGone, Some(410), false),
            (CredentialRejected, Some(400), false),
        ] {
            let is_passing = failure(kind, status, None).is_passing();
            assert_eq!(is_passing, expected, "{kind:?} {status:?}");
        }
    }

    #[test]
    fn a_short_retry_after_is_slept_on_and_a_long_one_is_not() {
        let jitter = Duration::from_millis(70);
        let wait = |after, jitter| wait(&failure(FailureKind::Throttled, Some(429), after), jitter);
        assert_eq!(wait(None, Some(jitter)), Some(jitter));
        assert_eq!(
            wait(Some(5), Some(jitter)),
            Some(Duration::from_millis(5070))
        );
        assert_eq!(wait(Some(6), Some(jitter)), None);
        assert_eq!(wait(Some(1), None), None, "the tries are used up");
    }

    #[tokio::test]
    async fn tries_end() {
        let policy = RetryPolicy {
            retries: 2,
            seed: Some(1),
        };
        let (count, again) = (Cell::new(0), Cell::new(0));
        let result: Result<(), _> = policy
            .run(
                || {
                    count.set(count.get() + 1);
                    async { Err(failure(FailureKind::Unreachable, None, None)) }
                },
                || false,
                |_| again.set(again.get() + 1),
            )
            .await;
        assert!(result.is_err());
        assert_eq!((count.get(), again.get()), (3, 2));
    }
}
