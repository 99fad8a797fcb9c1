//! Requests for single keys of one instance, at the pace that [`Gate`] allows: so many at once,
//! none while the service asked for a pause, and one probe for all where it fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::clock::{now, sleep_until};
use super::lock;
use crate::domain::pace::gate::{Admission, Errand, Gate, Opened};
use crate::domain::pace::window::WIDEST;
use crate::domain::service::backoff::FullJitter;
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::keyprotect::random_seed;

/// Tries after the first.
const RETRIES: usize = 2;
/// Bounds of the wait before them.
const FIRST: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(2);

/// The pace of one instance's requests for single keys.
#[derive(Debug)]
pub struct Limiter {
    gate: Mutex<Gate>,
    permits: Semaphore,
    /// Permits that are kept back: what is left is the gate's window.
    kept_back: Mutex<usize>,
    recovered: AtomicBool,
    /// Told when a breaker opens or closes.
    changed: Notify,
}

/// How a request ended.
pub enum Outcome<T> {
    /// As the service said.
    Answered(Result<T, FetchFailure>),
    /// None was sent.
    NotSent(FetchFailure),
}

impl Default for Limiter {
    fn default() -> Self {
        let gate = Gate::default();
        let size = usize::from(gate.size());
        Self {
            gate: Mutex::new(gate),
            permits: Semaphore::new(size),
            kept_back: Mutex::new(usize::from(WIDEST).saturating_sub(size)),
            recovered: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }
}

impl Limiter {
    /// Sends a request when it may be sent, and once more or twice where a failure is a passing
    /// one.
    pub async fn run<T, F>(&self, errand: &Errand, request: impl Fn() -> F) -> Outcome<T>
    where
        F: Future<Output = Result<T, FetchFailure>>,
    {
        let mut waits = FullJitter::new(FIRST, CAP, RETRIES, random_seed());
        let mut last = None;
        loop {
            let permit = match self.enter(errand).await {
                Ok(permit) => permit,
                // Where one was sent, its failure says more.
                Err(refusal) => {
                    return last.map_or(Outcome::NotSent(refusal), |failure| {
                        Outcome::Answered(Err(failure))
                    });
                }
            };
            let result = request().await;
            self.settle(errand, result.as_ref().map(|_| ()));
            self.give_back(permit);
            let failure = match result {
                // A pause that the service asked for is the gate's to wait for.
                Err(failure) if failure.is_passing() => failure,
                result => return Outcome::Answered(result),
            };
            let Some(wait) = waits.next() else {
                return Outcome::Answered(Err(failure));
            };
            last = Some(failure);
            tokio::time::sleep(wait).await;
        }
    }

    async fn enter(&self, errand: &Errand) -> Result<SemaphorePermit<'_>, FetchFailure> {
        loop {
            let permit = self.permits.acquire().await;
            let admission = self.gate().admit(errand, now());
            match (admission, permit) {
                (Admission::Go, Ok(permit)) => return Ok(permit),
                (Admission::Refuse(failure), _) => return Err(failure),
                (Admission::Wait(until), permit) => {
                    drop(permit);
                    sleep_until(Some(until)).await;
                }
                (Admission::Go, Err(_)) => return Err(closed(errand)),
            }
        }
    }

    fn settle(&self, errand: &Errand, result: Result<(), &FetchFailure>) {
        let before = self.opened();
        let recovered = self.gate().settle(errand, result, now());
        self.note(before, recovered);
    }

    /// Notes how a listing ended.
    pub fn settle_listing(&self, result: Result<(), &FetchFailure>) {
        let before = self.opened();
        let recovered = self.gate().settle_listing(result, now());
        self.note(before, recovered);
    }

    fn note(&self, before: Opened, recovered: bool) {
        self.fit();
        if recovered {
            self.recovered.store(true, Ordering::Release);
        }
        let after = self.opened();
        if after != before {
            if after.outage && !before.outage {
                tracing::warn!("the service does not answer; one request at a time tries it");
            }
            if after.withdrawal && !before.withdrawal {
                tracing::warn!("keys are refused that could be read before");
            }
            self.changed.notify_one();
        }
    }

    /// Keeps as many permits back as the window is narrower than it was made.
    fn fit(&self) {
        let mut kept_back = lock(&self.kept_back);
        let size = usize::from(self.gate().size());
        let wanted = usize::from(WIDEST).saturating_sub(size);
        if *kept_back < wanted {
            // Those in use are kept when they come back.
            *kept_back += self.permits.forget_permits(wanted - *kept_back);
        } else if *kept_back > wanted {
            self.permits.add_permits(*kept_back - wanted);
            *kept_back = wanted;
        }
    }

    fn give_back(&self, permit: SemaphorePermit<'_>) {
        let mut kept_back = lock(&self.kept_back);
        if *kept_back < usize::from(WIDEST).saturating_sub(usize::from(self.gate().size())) {
            permit.forget();
            *kept_back += 1;
        }
    }

    /// What is open.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.gate().opened()
    }

    /// Why no request is sent at all, where that is so.
    #[must_use]
    pub fn shut(&self) -> Option<FetchFailure> {
        self.gate().shut().cloned()
    }

    /// Whether a breaker closed since this was asked last: whoever was refused may come again.
    pub fn take_recovered(&self) -> bool {
        self.recovered.swap(false, Ordering::AcqRel)
    }

    /// Waits until a breaker opens or closes.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        lock(&self.gate)
    }
}

fn closed(errand: &Errand) -> FetchFailure {
    let detail = "the operator is being stopped";
    FetchFailure::new(errand.scope.operation, FailureKind::Unreachable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pace::gate::Scope;
    use crate::domain::service::failure::Operation;
    use futures::future::join_all;
    use std::sync::atomic::AtomicUsize;

    fn errand(key: usize) -> Errand {
        Errand {
            scope: Scope {
                operation: Operation::GetKey,
                ring: None,
                namespace: "n".to_owned(),
            },
            key: key.to_string(),
            read_before: false,
            forced_at: None,
        }
    }

    #[derive(Default)]
    struct Service {
        sent: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
        /// Nothing is answered before so many were in flight at once.
        least: AtomicUsize,
    }

    impl Service {
        async fn answer(&self, result: Result<(), FetchFailure>) -> Result<(), FetchFailure> {
            self.sent.fetch_add(1, Ordering::Relaxed);
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            tokio::task::yield_now().await;
            while self.most.load(Ordering::Relaxed) < self.least.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, Ordering::Relaxed);
            result
        }
    }

    #[tokio::test]
    async fn so_many_are_in_flight_and_no_more() {
        let (limiter, service) = (Limiter::default(), Service::default());
        let errands: Vec<_> = (0..500).map(errand).collect();
        let runs = errands
            .iter()
            .map(|errand| limiter.run(errand, || service.answer(Ok(()))));
        let ended = join_all(runs).await;
        assert!(ended.iter().all(|o| matches!(o, Outcome::Answered(Ok(())))));
        assert_eq!(service.most.load(Ordering::Relaxed), usize::from(WIDEST));
    }

    #[tokio::test]
    async fn a_dead_endpoint_is_not_asked_by_each_of_many() {
        let (limiter, service) = (Limiter::default(), Service::default());
        let dead = FetchFailure::new(Operation::GetKey, FailureKind::Unreachable, "…");
        let errands: Vec<_> = (0..500).map(errand).collect();
        let runs = errands
            .iter()
            .map(|errand| limiter.run(errand, || service.answer(Err(dead.clone()))));
        let ended = join_all(runs).await;
        let sent = service.sent.load(Ordering::Relaxed);
        assert!(sent <= 8, "{sent}: what was in flight at first");
        let unsent = ended.iter().filter(|o| matches!(o, Outcome::NotSent(_)));
        assert_eq!(unsent.count(), 500 - sent);
        assert!(limiter.opened().outage && limiter.shut().is_some());
    }

    #[tokio::test]
    async fn fewer_are_in_flight_after_a_refusal_and_every_permit_comes_back() {
        let (limiter, service) = (Limiter::default(), Service::default());
        let throttled = FetchFailure {
            retry_after: Some(Duration::from_millis(1)),
            ..FetchFailure::new(Operation::GetKey, FailureKind::Throttled, "…")
        };
        limiter.settle(&errand(0), Err(&throttled));
        let errands: Vec<_> = (0..200).map(errand).collect();
        let wave = || {
            let runs = errands
                .iter()
                .map(|errand| limiter.run(errand, || service.answer(Ok(()))));
            join_all(runs)
        };
        service.least.store(2, Ordering::Relaxed);
        let first = tokio::time::timeout(Duration::from_secs(10), wave()).await;
        assert!(first.is_ok(), "two are in flight at once");
        service.least.store(0, Ordering::Relaxed);
        let most = service.most.swap(0, Ordering::Relaxed);
        assert!((2..=20).contains(&most), "{most}");
        while limiter.gate().size() < WIDEST {
            wave().await;
        }
        service.most.store(0, Ordering::Relaxed);
        wave().await;
        assert_eq!(service.most.load(Ordering::Relaxed), usize::from(WIDEST));
    }
}
