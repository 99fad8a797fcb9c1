//! One instance's connection: its client, what is known of its keys, and when they are listed.
//! Keyed by the KeyProtectInstance's UID and generation and shared by nothing else: another
//! object with the same GUID has a connection, and a credential, of its own. Reads of single keys
//! stand in [`super::reads`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::clock::now;
use super::limiter::Limiter;
use super::lock;
use super::reads::{Flights, Lingering};
use crate::api::{KeyProtectInstance, Reason};
use crate::domain::access::Question;
use crate::domain::credentials::CredentialPlace;
use crate::domain::pace::listing::{self, Burst, Manner, Missing};
use crate::domain::schedule;
use crate::domain::service::catalogue::{Answer, Catalogue, Changes, Listing};
use crate::domain::service::endpoint::{Endpoint, Tenant};
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::service::ids::{KeyId, KeyRing};
use crate::domain::service::material::Payload;
use crate::domain::service::metadata::KeyMetadata;
use crate::keyprotect::{Client, CredentialSource, Listed, Mark};

/// How long a single read is kept: beyond that it serves nobody.
const ANSWERS_FOR: SignedDuration = SignedDuration::from_hours(24);
/// So many single reads are kept. Whoever changes a spec again and again asks for ever new ones, and
/// one that is dropped is only asked for once more.
const ANSWERS: usize = 8_192;
/// A clock that goes back by no more than this was corrected, not set.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(1);

/// What a listing brought.
#[derive(Clone, Debug)]
pub enum News {
    /// It succeeded.
    Listed {
        /// What differs from the one before; nothing known, where there was none.
        changes: Option<Changes>,
        /// Whether the attempt before had failed.
        recovered: bool,
    },
    /// Keys are read one by one from now on, or all of them once more.
    Singly,
    /// It failed.
    Failed,
}

/// What is watched of an instance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watched {
    /// How many objects use it.
    pub objects: usize,
    /// Whether one of them names its key by name.
    pub by_name: bool,
}

#[derive(Debug, Default)]
struct Pace {
    failures: u32,
    pause: Option<Pause>,
    /// The service named its end itself.
    bidden: bool,
    credential: Option<u64>,
}

/// How long no listing is sent after one that failed.
#[derive(Clone, Copy, Debug)]
struct Pause {
    from: Timestamp,
    until: Timestamp,
}

impl Pause {
    /// When it is over: at once where it lies ahead as a whole. Then the clock was set back, and it
    /// would last until the clock has caught up.
    fn end(self, now: Timestamp) -> Timestamp {
        if self.from.duration_since(now) > CLOCK_STEP {
            now
        } else {
            self.until
        }
    }
}

/// What an attempt at a listing brought.
enum Brought {
    /// Its rows, and by what it is recognised.
    Rows(Vec<KeyMetadata>, Option<Mark>),
    /// What the last one that succeeded did.
    TheSame(Arc<Catalogue>),
}

/// What a usable spec makes.
#[derive(Debug)]
pub struct Usable {
    /// Where it is called.
    pub endpoint: Endpoint,
    /// The client.
    pub client: Client,
    /// The credential.
    pub credential: CredentialSource,
    /// Where that is.
    pub place: CredentialPlace,
}

/// One instance's connection.
#[derive(Debug)]
pub struct Connection {
    /// UID of the KeyProtectInstance, for the spread of its times.
    pub uid: String,
    /// Its generation.
    pub generation: Option<i64>,
    /// The client, or why there is none.
    pub usable: Result<Usable, (Reason, String)>,
    /// Wakes the task that looks after the instance.
    pub poke: Notify,
    /// The pace of reads of single keys.
    pub limiter: Limiter,
    listing: Mutex<Listing>,
    pub(super) answers: Mutex<HashMap<Question, Answer>>,
    /// The key that a single read found last, and when it was asked for.
    pub(super) found: Mutex<Option<(KeyId, Timestamp)>>,
    turn: tokio::sync::Mutex<Pace>,
    /// By what the newest listing is recognised.
    mark: Mutex<Option<Mark>>,
    pub(super) payloads: Flights<(KeyId, Option<KeyRing>), Arc<Payload>>,
    pub(super) questions: Flights<Question, KeyMetadata>,
    pub(super) lingering: Lingering,
    /// Single reads of metadata since the last listing.
    pub(super) reads: AtomicUsize,
}

impl Connection {
    /// Makes a connection, on which nothing was asked yet.
    #[must_use]
    pub fn new(
        uid: String,
        generation: Option<i64>,
        usable: Result<Usable, (Reason, String)>,
    ) -> Self {
        Self {
            uid,
            generation,
            usable,
            poke: Notify::new(),
            listing: Mutex::default(),
            answers: Mutex::default(),
            found: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            mark: Mutex::default(),
            payloads: Mutex::default(),
            questions: Mutex::default(),
            lingering: Lingering::default(),
            limiter: Limiter::default(),
            reads: AtomicUsize::new(0),
        }
    }

    /// Whether this is the connection of that very object with that very spec.
    #[must_use]
    pub fn is_of(&self, instance: &KeyProtectInstance) -> bool {
        instance.metadata.uid.as_deref() == Some(&*self.uid)
            && instance.metadata.generation == self.generation
    }

    /// The service's name of the instance: part of every record.
    #[must_use]
    pub fn instance_id(&self) -> String {
        match self.usable.as_ref().map(|usable| &usable.endpoint.tenant) {
            Ok(Tenant::Instance(id)) => id.to_string(),
            Ok(Tenant::CloudFoundry {
                organization,
                space,
            }) => format!("{organization}/{space}"),
            Err(_) => String::new(),
        }
    }

    /// The last listing.
    #[must_use]
    pub fn listing(&self) -> Listing {
        lock(&self.listing).clone()
    }

    /// What is known of single keys.
    #[must_use]
    pub fn answers(&self, questions: &[Question]) -> HashMap<Question, Answer> {
        let answers = lock(&self.answers);
        let now = now();
        questions
            .iter()
            .filter_map(|question| Some((question.clone(), answers.get(question)?.clone())))
            // Of one from before the clock was set back, nobody knows how old it is.
            .filter(|(_, answer)| answer.asked_at <= now)
            .collect()
    }

    /// Keeps what became of a single read, unless one that was asked later is kept: what was slow
    /// does not bring back what was so before.
    pub(super) fn keep(&self, question: Question, answer: Answer) {
        let mut answers = lock(&self.answers);
        let is_late = |known: &Answer| answer.asked_at < known.asked_at && known.asked_at <= now();
        if answers.get(&question).is_some_and(is_late) {
            return;
        }
        answers.insert(question, answer);
        if answers.len() > ANSWERS {
            // Many at once, so that this is seldom.
            let mut times: Vec<Timestamp> =
                answers.values().map(|answer| answer.asked_at).collect();
            let (_, oldest, _) = times.select_nth_unstable(ANSWERS / 4);
            answers.retain(|_, answer| answer.asked_at > *oldest);
        }
    }

    /// The key that a single read found last, whoever asked for it, and when it was asked for.
    #[must_use]
    pub fn last_found(&self) -> Option<(KeyId, Timestamp)> {
        lock(&self.found).clone()
    }

    /// Makes sure that a listing was attempted at this time or later, unless keys are read one by
    /// one. Whoever comes while one is under way waits for it; after a failure, the next is not
    /// sent before its time, unless it is `forced` by a person's word: that overrides the
    /// back-off, but never what the service bade.
    pub async fn ensure_listing(
        &self,
        not_before: Timestamp,
        forced: bool,
        watched: impl FnOnce() -> Watched,
    ) -> Option<News> {
        let usable = self.usable.as_ref().ok()?;
        let mut pace = self.turn.lock().await;
        let listing = self.listing();
        let begun = now();
        if self.attempted_at(begun).is_some_and(|at| at >= not_before) {
            return None;
        }
        let credential = self.credential_version(usable).await;
        let renewed = pace.credential.is_some_and(|then| then != credential);
        let held_back = pace.pause.is_some_and(|pause| begun < pause.end(begun));
        let overridden = renewed || forced && !pace.bidden;
        if held_back && !overridden {
            if let Listing::Failed { at, .. } = &mut *lock(&self.listing) {
                *at = begun;
            }
            return None;
        }
        pace.credential = Some(credential);
        let watched = watched();
        let known = match &listing {
            Listing::Singly { rows, .. } => Some(*rows),
            other => other.catalogue().map(Catalogue::len),
        };
        if let Some(rows) = known
            && !matches!(listing, Listing::Failed { .. })
            && listing::manner(rows, watched.objects, watched.by_name) == Manner::Single
        {
            return Some(self.read_singly(rows, begun, forced || renewed));
        }
        let most = listing::rows_worth_reading(watched.objects, watched.by_name);
        let last = listing.newest().zip(lock(&self.mark).clone());
        let mark = last.as_ref().map(|(_, mark)| mark);
        match usable.client.list_keys_up_to(most, mark).await {
            Ok(Listed::More(rows)) => {
                self.limiter.settle_listing(Ok(()));
                *pace = Pace {
                    credential: pace.credential,
                    ..Pace::default()
                };
                Some(self.read_singly(rows, begun, true))
            }
            Ok(Listed::All(rows, mark)) => {
                self.limiter.settle_listing(Ok(()));
                Some(self.take_listing(Ok(Brought::Rows(rows, mark)), begun, &mut pace))
            }
            Ok(Listed::Unchanged) => {
                self.limiter.settle_listing(Ok(()));
                let (last, _) = last?;
                Some(self.take_listing(Ok(Brought::TheSame(last)), begun, &mut pace))
            }
            Err(failure) => {
                self.limiter.settle_listing(Err(&failure));
                Some(self.take_listing(Err(failure), begun, &mut pace))
            }
        }
    }

    /// Notes that keys are read one by one; `anew` where what was read before does not count.
    fn read_singly(&self, rows: usize, begun: Timestamp, anew: bool) -> News {
        let mut listing = lock(&self.listing);
        let changed = !matches!(&*listing, Listing::Singly { .. });
        *listing = Listing::Singly { at: begun, rows };
        drop(listing);
        self.reads.store(0, Ordering::Relaxed);
        self.forget_answers(begun);
        if anew {
            lock(&self.answers).clear();
        }
        if anew || changed {
            News::Singly
        } else {
            News::Listed {
                changes: Some(Changes::default()),
                recovered: false,
            }
        }
    }

    fn forget_answers(&self, now: Timestamp) {
        lock(&self.answers).retain(|_, answer| {
            let end = answer.asked_at.checked_add(ANSWERS_FOR);
            end.is_ok_and(|end| end > now)
        });
    }

    /// What to do for an object that misses a row since `missed_at`.
    #[must_use]
    pub fn missing(&self, missed_at: Timestamp) -> Missing {
        let listing = self.listing();
        let Listing::Fresh(catalogue) = &listing else {
            return Missing::Read;
        };
        let burst = Burst {
            listed_at: catalogue.listed_at(),
            rows: catalogue.len(),
            reads: self.reads.load(Ordering::Relaxed),
            missed_at,
        };
        listing::missing(&burst, now())
    }

    fn take_listing(
        &self,
        result: Result<Brought, FetchFailure>,
        begun: Timestamp,
        pace: &mut Pace,
    ) -> News {
        // Also where the service refuses to list for ever, and everything is read singly.
        self.forget_answers(begun);
        self.reads.store(0, Ordering::Relaxed);
        let mut listing = lock(&self.listing);
        let last = listing.newest();
        match result {
            Ok(brought) => {
                let recovered =
                    matches!(&*listing, Listing::Failed { .. } | Listing::Singly { .. });
                let (catalogue, changes) = match brought {
                    Brought::TheSame(last) => (last.confirmed(begun), Some(Changes::default())),
                    Brought::Rows(rows, mark) => {
                        *lock(&self.mark) = mark;
                        let catalogue = Catalogue::new(rows, begun);
                        let changes = last.map(|last| last.changes(&catalogue));
                        (catalogue, changes)
                    }
                };
                *listing = Listing::Fresh(Arc::new(catalogue));
                *pace = Pace {
                    credential: pace.credential,
                    ..Pace::default()
                };
                News::Listed { changes, recovered }
            }
            Err(failure) => {
                tracing::warn!(failure = %failure, "the instance's keys could not be listed");
                pace.failures = pace.failures.saturating_add(1);
                let reason = match failure.kind {
                    FailureKind::Denied => Reason::AccessDenied,
                    _ => Reason::Unreachable,
                };
                let retry = schedule::retry(reason);
                pace.bidden = failure.retry_after.is_some();
                let until =
                    schedule::retry_at(begun, retry, pace.failures, &self.uid, failure.retry_after);
                pace.pause = until.map(|until| Pause { from: begun, until });
                let since = match &*listing {
                    Listing::Failed { since, .. } => *since,
                    Listing::None | Listing::Fresh(_) | Listing::Singly { .. } => begun,
                };
                *listing = Listing::Failed {
                    failure,
                    at: begun,
                    since,
                    last,
                };
                News::Failed
            }
        }
    }

    /// When the next listing is due by itself; nothing, where none was attempted yet.
    pub async fn next_listing(&self, interval: SignedDuration) -> Option<Timestamp> {
        let pace = self.turn.lock().await;
        let now = now();
        if let Some(pause) = pace.pause {
            return Some(pause.end(now));
        }
        let listed = self.listing().attempted_at()?;
        if listed > now {
            return Some(now);
        }
        // Spread by the UID, so that instances made together are not listed together.
        let spread = i64::from(schedule::spread_of(&self.uid, 0) % 1000);
        let early = i64::try_from(interval.as_millis()).unwrap_or(0) / 20 * spread / 1000;
        listed
            .checked_add(interval - SignedDuration::from_millis(early))
            .ok()
    }

    /// When the last listing was attempted; nothing, where that is still to come: then the clock
    /// was set back, and nobody knows how long ago it was.
    fn attempted_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.listing().attempted_at().filter(|at| *at <= now)
    }

    /// The version of the credential, looked at the sooner where the last listing failed for it.
    async fn credential_version(&self, usable: &Usable) -> u64 {
        let in_doubt = matches!(&*lock(&self.listing), Listing::Failed { failure, .. } if failure.is_credential());
        if in_doubt {
            usable.credential.version_in_doubt().await
        } else {
            usable.credential.version().await
        }
    }

    /// Whether the credential is another than at the last listing.
    pub async fn credential_renewed(&self) -> bool {
        let Ok(usable) = &self.usable else {
            return false;
        };
        let version = self.credential_version(usable).await;
        self.turn
            .lock()
            .await
            .credential
            .is_some_and(|then| then != version)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
