//! Reads of single keys on an instance's connection. Identical requests are one: whoever needs what
//! is being read joins, and a payload lives until the last of them is done with it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use super::clock::now;
use super::connection::Connection;
use super::limiter::Outcome;
use super::lock;
use crate::domain::access::Question;
use crate::domain::look::hindrance::PayloadNeed;
use crate::domain::pace::gate::{Errand, Scope};
use crate::domain::service::catalogue::Answer;
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
use crate::domain::service::ids::KeyRing;
use crate::domain::service::material::Payload;
use crate::keyprotect::{Attempts, Client};

/// How long an answer that others wait for may be shared.
const SHARED_FOR: SignedDuration = SignedDuration::from_secs(10);

type Shared<T> = Arc<OnceCell<Result<T, FetchFailure>>>;
/// Requests in flight, and when each began.
pub(super) type Flights<K, T> = Mutex<HashMap<K, (Timestamp, Flight<T>)>>;
type Flight<T> = Weak<OnceCell<Result<T, FetchFailure>>>;

/// Payloads that objects which still stand in the queue need too.
pub(super) type Lingering = Mutex<Vec<(Timestamp, Shared<Arc<Payload>>)>>;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The object's namespace.
    pub namespace: &'a str,
    /// Whether it has read that key before.
    pub read_before: bool,
    /// Since when somebody asks for the object's sync by hand, if so.
    pub forced_at: Option<Timestamp>,
}

/// What became of a wish for a payload. It is kept alive by whoever holds this, and wiped with
/// the last of them.
#[derive(Debug)]
pub struct Reading {
    /// The payload, or why there is none.
    pub result: Result<Arc<Payload>, FetchFailure>,
    /// Whether it was this wish that sent the request.
    pub sent_here: bool,
    /// Whoever needs the same meanwhile joins.
    flight: Shared<Arc<Payload>>,
}

impl Connection {
    /// Asks a question, together with whoever asks it just now and began at this time or later. An
    /// answer of the last seconds is one too, whether the key was found or not: whoever edits an
    /// object in a loop asks no more than whoever does not.
    pub async fn ask(
        &self,
        question: &Question,
        not_before: Timestamp,
        asker: Asker<'_>,
    ) -> Option<Answer> {
        let client = &self.usable.as_ref().ok()?.client;
        let ring = question.ring.as_ref().map(KeyRing::to_string);
        let key = question.key.to_string();
        let errand = asker.errand(Operation::GetKeyMetadata, ring, key);
        if let Some(answer) = self.answered_just_now(question, not_before) {
            return Some(answer);
        }
        let (asked_at, flight) = join(&self.questions, question.clone(), not_before);
        let answered = flight
            .get_or_try_init(|| async {
                self.reads.fetch_add(1, Ordering::Relaxed);
                let (key, ring) = (&question.key, question.ring.as_ref());
                let request = counted(client, &errand, || client.key_metadata(key, ring));
                let run = self.limiter.run(&errand, request);
                run.await.sent()
            })
            .await
            .cloned();
        // What was not sent is nobody else's answer, and none to keep.
        let (result, keep) = match answered {
            Ok(result) => (result, true),
            Err(refusal) => (Err(refusal), false),
        };
        let answer = Answer { result, asked_at };
        if let Ok(found) = &answer.result {
            *lock(&self.found) = Some((found.id.clone(), asked_at));
        }
        if keep {
            self.keep(question.clone(), answer.clone());
        }
        Some(answer)
    }

    /// Reads a payload, together with whoever needs it just now.
    /// The requests that this wish sends, if any, are written down.
    pub async fn payload(
        &self,
        need: &PayloadNeed,
        asker: Asker<'_>,
        attempts: &Attempts,
    ) -> Option<Reading> {
        let client = &self.usable.as_ref().ok()?.client;
        let ring = need.key_ring.clone();
        let errand = asker.errand(Operation::GetKey, ring, need.id.to_string());
        // A key's payload never changes.
        let wanted = (need.id.clone(), need.ring.clone());
        let (_, flight) = join(&self.payloads, wanted, Timestamp::MIN);
        let mut sent_here = false;
        let result = flight
            .get_or_try_init(|| async {
                let request = || async {
                    let read = client.read_key(&need.id, need.ring.as_ref(), attempts);
                    read.await.map(Arc::new)
                };
                let request = counted(client, &errand, request);
                let outcome = self.limiter.run(&errand, request).await;
                sent_here = matches!(outcome, Outcome::Answered(_));
                outcome.sent()
            })
            .await
            .cloned()
            .unwrap_or_else(Err);
        Some(Reading {
            result,
            sent_here,
            flight,
        })
    }
}

impl Connection {
    fn answered_just_now(&self, question: &Question, not_before: Timestamp) -> Option<Answer> {
        let answers = lock(&self.answers);
        let answer = answers.get(question)?;
        let says_so = |failure: &FetchFailure| {
            use FailureKind::{Denied, KeyGone, KeyNotFound};
            matches!(failure.kind, KeyNotFound | KeyGone | Denied)
        };
        let holds = answer.result.as_ref().err().is_none_or(says_so);
        let serves = answer.asked_at >= not_before && is_shared(answer.asked_at, now());
        (holds && serves).then(|| answer.clone())
    }

    /// Keeps a payload for those that still stand in the queue.
    pub fn linger(&self, reading: &Reading) {
        if reading.sent_here && reading.result.is_ok() {
            lock(&self.lingering).push((now(), Arc::clone(&reading.flight)));
        }
    }

    /// Lets go of payloads that were kept since before this time.
    pub fn let_go(&self, before: Timestamp) {
        lock(&self.lingering).retain(|(since, _)| *since >= before && *since <= now());
    }
}

impl Asker<'_> {
    fn errand(self, operation: Operation, ring: Option<String>, key: String) -> Errand {
        Errand {
            scope: Scope {
                operation,
                ring,
                namespace: self.namespace.to_owned(),
            },
            key,
            read_before: self.read_before,
            forced_at: self.forced_at,
        }
    }
}

impl<T> Outcome<T> {
    fn sent(self) -> Result<Result<T, FetchFailure>, FetchFailure> {
        match self {
            Self::Answered(result) => Ok(result),
            Self::NotSent(refusal) => Err(refusal),
        }
    }
}

/// Counts how often a request is sent again.
fn counted<F>(client: &Client, errand: &Errand, request: impl Fn() -> F) -> impl Fn() -> F {
    let (metrics, operation) = (client.metrics(), errand.scope.operation);
    let sent = AtomicBool::new(false);
    move || {
        if sent.swap(true, Ordering::Relaxed) {
            metrics.retried(operation);
        }
        request()
    }
}

/// Whether an answer to what was asked then still serves. A clock that was set back is not waited for.
fn is_shared(asked_at: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(asked_at);
    (SignedDuration::ZERO..SHARED_FOR).contains(&age)
}

/// Joins a flight that began within [`SHARED_FOR`] and not before this time, or begins one. An
/// older one would answer nothing, and whoever joins it keeps it there for the next: several that
/// need a newer one would join each other's for ever.
pub(super) fn join<K: Hash + Eq, T>(
    flights: &Flights<K, T>,
    key: K,
    not_before: Timestamp,
) -> (Timestamp, Shared<T>) {
    let mut flights = lock(flights);
    let begun = now();
    flights.retain(|_, (_, flight)| flight.strong_count() > 0);
    if let Some((at, flight)) = flights.get(&key)
        && *at >= not_before
        && is_shared(*at, begun)
        && let Some(flight) = flight.upgrade()
    {
        return (*at, flight);
    }
    let flight = Arc::new(OnceCell::new());
    flights.insert(key, (begun, Arc::downgrade(&flight)));
    (begun, flight)
}
