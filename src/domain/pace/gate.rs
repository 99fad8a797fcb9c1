//! Whether a request for a single key may be sent to an instance now: breakers for an endpoint
//! that does not answer and for refusals, and the window. The listing has a pace of its own.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::breaker::{Breaker, OUTAGE, REFUSAL, WITHDRAWAL};
use super::window::Window;
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};

/// A time that the service named is waited for without a word up to this long.
const QUIET: SignedDuration = SignedDuration::from_secs(10);
/// How long the refusal of a payload stands: else whoever edits an object or makes it anew in a loop
/// would fill the customer's audit log with critical events. Whoever asks by hand afterwards, having put
/// something right, is not made to wait. Not so for metadata: how soon an answer comes would tell a key
/// that is refused from one that is missing.
pub const REFUSED: SignedDuration = SignedDuration::from_secs(10);
/// Scopes remembered before those without a failure are swept out, and keys.
const SWEEP_AT: usize = 256;

/// A request for a single key, as far as its pace is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// What is asked, and for whom.
    pub scope: Scope,
    /// Of which key.
    pub key: String,
    /// Whether the same object has read that key before.
    pub read_before: bool,
    /// Since when somebody asks for it by hand, if so.
    pub forced_at: Option<Timestamp>,
}

impl Errand {
    fn key_in_scope(&self) -> (Scope, String) {
        (self.scope.clone(), self.key.clone())
    }
}

/// What a refusal speaks of. One namespace's refusals are nothing to another: whoever names keys
/// that the credential may not read would keep everybody else from theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The operation: metadata may be allowed where payloads are not.
    pub operation: Operation,
    /// The key's ring, where it is known: roles may be given by ring.
    pub ring: Option<String>,
    /// For whom it is asked.
    pub namespace: String,
}

/// Whether a request may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now.
    Go,
    /// Not before this time.
    Wait(Timestamp),
    /// Not soon: this is the answer.
    Refuse(FetchFailure),
}

/// What is open, for metrics and status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The endpoint does not answer.
    pub outage: bool,
    /// Keys are refused that could be read before.
    pub withdrawal: bool,
    /// Scopes in which requests are refused.
    pub refusals: usize,
}

/// Whether requests may be sent to one instance with one credential.
#[derive(Clone, Debug)]
pub struct Gate {
    window: Window,
    outage: Breaker,
    withdrawal: Breaker,
    refusals: HashMap<Scope, Breaker>,
    /// Payloads that were refused a moment ago.
    refused: HashMap<(Scope, String), (Timestamp, FetchFailure)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            window: Window::default(),
            outage: Breaker::new(OUTAGE),
            withdrawal: Breaker::new(WITHDRAWAL),
            refusals: HashMap::new(),
            refused: HashMap::new(),
        }
    }
}

impl Gate {
    /// How many requests may be in flight.
    #[must_use]
    pub const fn size(&self) -> u16 {
        self.window.size()
    }

    /// What is open.
    #[must_use]
    pub fn opened(&self) -> Opened {
        Opened {
            outage: self.outage.is_open(),
            withdrawal: self.withdrawal.is_open(),
            refusals: self.refusals.values().filter(|b| b.is_open()).count(),
        }
    }

    /// Why no request at all is sent now, where that is so.
    #[must_use]
    pub fn shut(&self) -> Option<&FetchFailure> {
        self.outage.failure().or_else(|| self.withdrawal.failure())
    }

    /// Says whether a request may be sent; where it may, it is taken for sent.
    pub fn admit(&mut self, errand: &Errand, now: Timestamp) -> Admission {
        let scope = self.refusals.get(&errand.scope);
        let breakers = [Some(&self.outage), Some(&self.withdrawal), scope];
        let answer = breakers
            .into_iter()
            .flatten()
            .filter(|breaker| !(errand.forced_at.is_some() && breaker.yields(now)))
            .find_map(|breaker| breaker.answer(now));
        if let Some(answer) = answer.or_else(|| self.refused_just_now(errand, now)) {
            // For whoever asked, it is that request which is not answered.
            let operation = errand.scope.operation;
            return Admission::Refuse(FetchFailure {
                operation,
                ..answer
            });
        }
        if let Some(until) = self.window.closed_until(now) {
            return self.wait(errand, until, now);
        }
        self.outage.sent(now);
        self.withdrawal.sent(now);
        if let Some(scope) = self.refusals.get_mut(&errand.scope) {
            scope.sent(now);
        }
        Admission::Go
    }

    fn refused_just_now(&self, errand: &Errand, now: Timestamp) -> Option<FetchFailure> {
        let (at, failure) = self.refused.get(&errand.key_in_scope())?;
        if errand.forced_at.is_some_and(|forced| forced > *at) {
            return None;
        }
        let left = REFUSED - now.duration_since(*at);
        // A clock that was set back is not waited for.
        (SignedDuration::ZERO < left && left <= REFUSED).then(|| FetchFailure {
            retry_after: std::time::Duration::try_from(left).ok(),
            ..failure.clone()
        })
    }

    fn wait(&mut self, errand: &Errand, until: Timestamp, now: Timestamp) -> Admission {
        let wait = until.duration_since(now);
        if wait <= QUIET {
            return Admission::Wait(self.window.turn(until));
        }
        let detail = "the service asked for a pause";
        Admission::Refuse(FetchFailure {
            retry_after: std::time::Duration::try_from(wait).ok(),
            ..FetchFailure::new(errand.scope.operation, FailureKind::Throttled, detail)
        })
    }

    /// Notes how a request ended. Tells whether a breaker closed: whoever was refused by it may
    /// come again.
    pub fn settle(
        &mut self,
        errand: &Errand,
        result: Result<(), &FetchFailure>,
        now: Timestamp,
    ) -> bool {
        self.refused.remove(&errand.key_in_scope());
        let failure = match result {
            Ok(()) => {
                self.window.widen();
                return self.answered() | self.allowed(&errand.scope);
            }
            Err(failure) => failure,
        };
        match failure.kind {
            FailureKind::Unreachable => {
                self.outage.strike(failure, None, now);
                self.undecided(&errand.scope, now);
                false
            }
            FailureKind::Throttled => {
                self.window.cut(failure.retry_after, now);
                self.undecided(&errand.scope, now);
                self.answered()
            }
            // From a gateway, in place of the service. Any other 5xx may be that key's alone.
            FailureKind::ServiceError if matches!(failure.status, Some(502..=504)) => {
                if failure.status == Some(503) {
                    self.window.cut(failure.retry_after, now);
                }
                self.outage.strike(failure, None, now);
                self.undecided(&errand.scope, now);
                false
            }
            FailureKind::Denied => {
                self.refused(errand, failure, now);
                self.answered()
            }
            // IAM's word, not the service's.
            FailureKind::CredentialMissing | FailureKind::CredentialRejected => {
                self.outage.undecided(now);
                self.undecided(&errand.scope, now);
                false
            }
            FailureKind::KeyNotFound | FailureKind::KeyGone => {
                self.window.widen();
                self.answered() | self.allowed(&errand.scope)
            }
            FailureKind::ServiceError | FailureKind::Invalid => {
                self.undecided(&errand.scope, now);
                self.answered()
            }
        }
    }

    /// Notes how a listing ended: it is a probe for all, whatever the breakers say.
    pub fn settle_listing(&mut self, result: Result<(), &FetchFailure>, now: Timestamp) -> bool {
        match result {
            // What was refused may be shown again: whoever asks next finds out.
            Ok(()) => self.answered() | self.shown(now),
            Err(failure) if failure.kind == FailureKind::Unreachable => {
                // It was tried several times already.
                self.outage.sent(now);
                (0..OUTAGE.strikes).for_each(|_| self.outage.strike(failure, None, now));
                false
            }
            Err(failure) if failure.kind == FailureKind::Throttled => {
                self.window.cut(failure.retry_after, now);
                false
            }
            Err(_) => false,
        }
    }

    /// The service answered, whatever it said.
    fn answered(&mut self) -> bool {
        let closed = self.outage.close();
        if closed {
            self.window.begin_anew();
        }
        closed
    }

    /// The credential was good for a listing, which says nothing about payloads.
    fn shown(&mut self, now: Timestamp) -> bool {
        for (scope, breaker) in &mut self.refusals {
            if scope.operation != Operation::GetKey {
                breaker.retry(now);
            }
        }
        let refused = self.withdrawal.failure().map(|failure| failure.operation);
        refused.is_some_and(|operation| operation != Operation::GetKey) && self.withdrawal.close()
    }

    /// The credential was good for a request.
    fn allowed(&mut self, scope: &Scope) -> bool {
        let closed = self.withdrawal.close();
        self.refusals.remove(scope).is_some_and(|b| b.is_open()) | closed
    }

    fn undecided(&mut self, scope: &Scope, now: Timestamp) {
        self.withdrawal.undecided(now);
        if let Some(breaker) = self.refusals.get_mut(scope) {
            breaker.undecided(now);
        }
    }

    fn refused(&mut self, errand: &Errand, failure: &FetchFailure, now: Timestamp) {
        if errand.read_before {
            self.withdrawal.strike(failure, Some(&errand.key), now);
        } else {
            self.withdrawal.undecided(now);
        }
        if errand.scope.operation == Operation::GetKey {
            if self.refused.len() >= SWEEP_AT {
                self.refused
                    .retain(|_, (at, _)| now.duration_since(*at).abs() < REFUSED);
            }
            // Whose request it was is nobody else's business.
            let told = FetchFailure {
                request_id: None,
                ..failure.clone()
            };
            self.refused.insert(errand.key_in_scope(), (now, told));
        }
        if self.refusals.len() >= SWEEP_AT {
            self.refusals
                .retain(|_, breaker| breaker.answer(now).is_some());
        }
        self.refusals
            .entry(errand.scope.clone())
            .or_insert_with(|| Breaker::new(REFUSAL))
            .strike(failure, Some(&errand.key), now);
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
