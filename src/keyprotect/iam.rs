//! Tokens. One is held per connection to an instance; it is renewed ahead of its end, by one
//! task at a time, while the old one serves. An API key that IAM refused is not tried again
//! before its back-off step is over or the key has changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::credential::{CredentialError, CredentialSource};
use super::exchange::{Exchange, Granted};
use super::token::{self, Token};
use crate::domain::service::backoff::FullJitter;
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};

/// The key is looked at when a token is asked for, at most this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After Key Protect refused a token, another is forced from IAM at most this often: a missing
/// role answers like a bad token, and must not make a storm at IAM.
const FORCE_EVERY: Duration = Duration::from_secs(60);
/// Steps of the back-off for an API key that IAM refused.
const REFUSED_STEPS: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(900),
];
/// Bounds of the back-off when IAM could not be asked.
const PASSING_FIRST: Duration = Duration::from_secs(2);
const PASSING_CAP: Duration = Duration::from_secs(60);

type Flight = Shared<BoxFuture<'static, Result<Arc<Token>, FetchFailure>>>;

/// Hands out tokens. Clones share one.
#[derive(Clone, Debug)]
pub struct TokenSource(Supply);

#[derive(Clone, Debug)]
enum Supply {
    /// From IAM, for an API key.
    Exchanged(Arc<Inner>),
    /// One that a person brought; it cannot be renewed.
    Fixed(Arc<Token>),
}

#[derive(Debug)]
struct Inner {
    exchange: Exchange,
    credential: CredentialSource,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    failed: Option<Failed>,
    flight: Option<(u64, Flight)>,
    flights: u64,
    looked_at: Option<Instant>,
    forced_at: Option<Instant>,
    version: u64,
}

#[derive(Debug)]
struct Held {
    token: Arc<Token>,
    version: u64,
    renew_at: Instant,
    ends_at: Instant,
}

/// The last try, where it failed.
#[derive(Debug)]
struct Failed {
    failure: FetchFailure,
    version: u64,
    count: u32,
    next: Instant,
}

impl State {
    fn authenticated(&self, now: Instant) -> Option<Result<(), FetchFailure>> {
        let is_serving = self.held.as_ref().is_some_and(|held| now < held.ends_at);
        match &self.failed {
            Some(failed)
                if !is_serving || failed.failure.kind == FailureKind::CredentialRejected =>
            {
                Some(Err(failed.failure.clone()))
            }
            _ => self.held.as_ref().map(|_| Ok(())),
        }
    }

    /// Lets go of a token that Key Protect refused and IAM gives no successor for: each request
    /// with it would be one more critical event in the customer's audit log.
    fn discard(&mut self, refused: &Token) {
        if self
            .held
            .as_ref()
            .is_some_and(|held| held.token.serial() == refused.serial())
        {
            self.held = None;
        }
    }
}

/// What to do about a wish for a token.
enum Next {
    Serve(Arc<Token>),
    Fail(FetchFailure),
    Wait(Flight),
}

impl TokenSource {
    pub(super) fn exchanged(exchange: Exchange, credential: CredentialSource) -> Self {
        Self(Supply::Exchanged(Arc::new(Inner {
            exchange,
            credential,
            state: Mutex::default(),
        })))
    }

    /// Takes a person's token: the JWT, with or without the word `Bearer`, or what
    /// `ibmcloud iam oauth-tokens` prints. Nothing where it holds no token.
    #[must_use]
    pub fn fixed(text: &SecretString) -> Option<Self> {
        token::from_paste(text.expose_secret()).map(|token| Self(Supply::Fixed(Arc::new(token))))
    }

    /// Hands out a token that is valid now, as far as can be known.
    ///
    /// # Errors
    /// Says why there is none: no key file, a refused key, IAM out of reach.
    pub async fn token(&self) -> Result<Arc<Token>, FetchFailure> {
        let inner = match &self.0 {
            Supply::Fixed(token) => return Ok(Arc::clone(token)),
            Supply::Exchanged(inner) => inner,
        };
        inner.look().await;
        match inner.next() {
            Next::Serve(token) => Ok(token),
            Next::Fail(failure) => Err(failure),
            Next::Wait(flight) => flight.await,
        }
    }

    /// Takes note that Key Protect refused a token, and gets another, unless that one was itself
    /// forced just now. Nothing means that the token is as fresh as they come, so that it is not
    /// the token that was refused.
    ///
    /// # Errors
    /// Says why IAM gave no token.
    pub(super) async fn replace(
        &self,
        refused: &Token,
    ) -> Result<Option<Arc<Token>>, FetchFailure> {
        let Supply::Exchanged(inner) = &self.0 else {
            return Ok(None);
        };
        inner.look_now().await;
        let flight = {
            let mut state = inner.lock();
            match &state.held {
                // Somebody else has replaced it meanwhile.
                Some(held) if held.token.serial() != refused.serial() => {
                    return Ok(Some(Arc::clone(&held.token)));
                }
                _ => {}
            }
            let now = Instant::now();
            let just_forced = state
                .forced_at
                .is_some_and(|at| now.duration_since(at) < FORCE_EVERY);
            match &state.failed {
                Some(failed) if failed.version == state.version && now < failed.next => {
                    let failure = failed.failure.clone();
                    if failure.kind == FailureKind::CredentialRejected {
                        state.discard(refused);
                    }
                    return Err(failure);
                }
                // After a failure no new token came of the force; the back-off keeps the pace.
                None if just_forced && state.flight.is_none() => return Ok(None),
                _ => {}
            }
            state.forced_at = Some(now);
            inner.take_off(&mut state)
        };
        let result = flight.await;
        if let Err(failure) = &result
            && failure.kind == FailureKind::CredentialRejected
        {
            inner.lock().discard(refused);
        }
        result.map(Some)
    }

    /// How long the token in use is still good: nothing before the first one, and for one that a
    /// person brought.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        match &self.0 {
            Supply::Fixed(_) => None,
            Supply::Exchanged(inner) => {
                let state = inner.lock();
                let held = state.held.as_ref()?;
                Some(held.ends_at.saturating_duration_since(Instant::now()))
            }
        }
    }

    /// Tells what the last try at IAM said, for the instance's status: nothing before the first
    /// one. A failed renewal speaks only once the old token has run out, but a refused API key
    /// at once.
    #[must_use]
    pub fn authenticated(&self) -> Option<Result<(), FetchFailure>> {
        match &self.0 {
            Supply::Fixed(_) => None,
            Supply::Exchanged(inner) => inner.lock().authenticated(Instant::now()),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the key, if the last look is too old.
    async fn look(&self) {
        let is_due = {
            let mut state = self.lock();
            let now = Instant::now();
            let is_due = state
                .looked_at
                .is_none_or(|at| now.duration_since(at) >= LOOK_EVERY);
            if is_due {
                state.looked_at = Some(now);
            }
            is_due
        };
        if is_due {
            let version = self.credential.version().await;
            self.lock().version = version;
        }
    }

    /// Looks at the key, which is in doubt.
    async fn look_now(&self) {
        let version = self.credential.version_in_doubt().await;
        self.lock().version = version;
    }

    fn next(self: &Arc<Self>) -> Next {
        let mut state = self.lock();
        let now = Instant::now();
        let may_try = state
            .failed
            .as_ref()
            .is_none_or(|failed| now >= failed.next || failed.version != state.version);
        let serving = state
            .held
            .as_ref()
            .filter(|held| now < held.ends_at)
            .map(|held| {
                let is_due = now >= held.renew_at || held.version != state.version;
                (Arc::clone(&held.token), is_due)
            });
        match (serving, &state.failed) {
            (Some((token, is_due)), _) => {
                if is_due && may_try {
                    // Renewed beside; whoever asks meanwhile has the old one.
                    drop(self.take_off(&mut state));
                }
                Next::Serve(token)
            }
            (None, Some(failed)) if !may_try => Next::Fail(failed.failure.clone()),
            (None, _) => Next::Wait(self.take_off(&mut state)),
        }
    }

    /// Joins the exchange that is under way, or begins one. It runs in a task of its own, which
    /// the exchange's deadline ends: a caller that goes away does not take it along.
    fn take_off(self: &Arc<Self>, state: &mut State) -> Flight {
        if let Some((_, flight)) = &state.flight {
            return flight.clone();
        }
        state.flights += 1;
        let number = state.flights;
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move { inner.fly(number).await });
        let flight = async move {
            task.await.unwrap_or_else(|_| {
                let detail = "the exchange was broken off";
                Err(FetchFailure::new(
                    Operation::Token,
                    FailureKind::Unreachable,
                    detail,
                ))
            })
        };
        let flight = flight.boxed().shared();
        state.flight = Some((number, flight.clone()));
        flight
    }

    async fn fly(self: Arc<Self>, number: u64) -> Result<Arc<Token>, FetchFailure> {
        let landing = Landing {
            inner: &self,
            number,
        };
        let mut result = self.try_once(number).await;
        if let Err((failure, version)) = &result
            && failure.kind == FailureKind::CredentialRejected
        {
            // Perhaps the key was rotated just now: then the new one is tried at once.
            self.look_now().await;
            if self.lock().version != *version {
                result = self.try_once(number).await;
            }
        }
        let result = match result {
            Ok((granted, version)) => Ok(self.keep(granted, version)),
            Err((failure, version)) => Err(self.note(failure, version)),
        };
        drop(landing);
        result
    }

    async fn try_once(&self, serial: u64) -> Result<(Granted, u64), (FetchFailure, u64)> {
        let reading = self.credential.read().await;
        let version = reading.version;
        self.lock().version = version;
        let proof = reading.proof.map_err(|error| (not_read(&error), version))?;
        match self.exchange.token(&proof, serial).await {
            Ok(granted) => Ok((granted, version)),
            Err(failure) => Err((failure, version)),
        }
    }

    fn keep(&self, granted: Granted, version: u64) -> Arc<Token> {
        // So that no token runs out on its way; nor by the fraction of a second that IAM's
        // whole seconds hide.
        let margin = (granted.lifetime / 50).min(Duration::from_secs(10));
        let mut state = self.lock();
        let token = Arc::new(granted.token);
        state.held = Some(Held {
            token: Arc::clone(&token),
            version,
            // IBM's SDKs renew at 80 % of the lifetime.
            renew_at: granted.asked_at + granted.lifetime.mul_f64(0.8),
            ends_at: granted.asked_at + granted.lifetime.saturating_sub(margin),
        });
        state.failed = None;
        token
    }

    fn note(&self, failure: FetchFailure, version: u64) -> FetchFailure {
        let mut state = self.lock();
        let now = Instant::now();
        let count = match &state.failed {
            Some(failed) if failed.version == version && failed.failure.kind == failure.kind => {
                failed.count.saturating_add(1)
            }
            _ => 0,
        };
        let wait = match failure.kind {
            // No request is sent to IAM for it, and the key is looked at anyway.
            FailureKind::CredentialMissing => self.credential.pause(),
            _ => back_off(&failure, count),
        };
        state.failed = Some(Failed {
            failure: failure.clone(),
            version,
            count,
            next: now + wait,
        });
        failure
    }
}

/// Takes a flight off the board when it ends, however it ends.
struct Landing<'a> {
    inner: &'a Inner,
    number: u64,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        if state
            .flight
            .as_ref()
            .is_some_and(|(number, _)| *number == self.number)
        {
            state.flight = None;
        }
    }
}

/// Why IAM was not asked.
fn not_read(error: &CredentialError) -> FetchFailure {
    let kind = match error {
        CredentialError::Unreadable { .. } | CredentialError::Flaw { .. } => {
            FailureKind::CredentialMissing
        }
        CredentialError::NoAnswer { .. } => FailureKind::Unreachable,
    };
    FetchFailure::new(Operation::Token, kind, error.to_string())
}

fn back_off(failure: &FetchFailure, count: u32) -> Duration {
    let step = usize::try_from(count).unwrap_or(usize::MAX);
    match failure.kind {
        FailureKind::CredentialRejected => REFUSED_STEPS[step.min(REFUSED_STEPS.len() - 1)],
        _ => {
            let seed = super::retry::random_seed();
            let jitter = FullJitter::new(PASSING_FIRST, PASSING_CAP, step.min(16) + 1, seed)
                .last()
                .unwrap_or(PASSING_CAP);
            failure
                .retry_after
                .unwrap_or(Duration::from_millis(500))
                .saturating_add(jitter)
        }
    }
}
