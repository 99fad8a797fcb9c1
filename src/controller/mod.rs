//! The shell between watches, decisions and writes. Watch events change the [`world`]; what they
//! concern goes through the [`queue`]; each look is one task of [`reconcile`]. Of several replicas
//! every one watches, and one looks and writes: [`leadership`].

pub mod audit;
pub mod clock;
pub mod connection;
pub mod context;
mod credential;
pub mod crowds;
mod execute;
pub mod fence;
pub mod forced;
pub mod gathered;
pub mod gauges;
pub mod held;
pub mod installed;
mod instance;
pub mod leadership;
mod learnt;
pub mod limiter;
pub mod listed;
mod observing;
mod probes;
pub mod queue;
pub mod reads;
mod reconcile;
mod revocations;
pub mod said;
pub mod secrets;
pub mod turns;
mod watching;
pub mod world;
#[cfg(test)]
mod world_tests;
pub mod writes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use clock::{now, sleep_until};
use context::Context;
use leadership::Term;
use queue::{LOOKS, Lane};

/// When an object is looked at again whose look panicked.
const AFTER_PANIC: Duration = Duration::from_secs(60);
/// How long looks may go on after the operator was told to stop. A write takes milliseconds; what
/// waits for an answer of IBM Cloud for longer is left to the replica that takes over.
const GRACE: Duration = Duration::from_millis(500);
/// How long the end of the leadership task is waited for.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How often the dispatcher comes round where nothing happens, to show that it lives.
const BEAT: Duration = Duration::from_secs(4);
/// How long a payload is kept for objects that still stand in the queue. With the time until the
/// dispatcher comes round, no payload outlives ten seconds.
const LINGER: Duration = Duration::from_secs(5);

/// Says that something ended that never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// A watch: the operator would be blind.
    #[error("a watch ended; please report this")]
    Watch,
    /// The task that leads or stands by: the operator would never lead again.
    #[error("the leadership task ended; please report this")]
    Leadership,
}

/// Runs until told to stop.
///
/// # Errors
/// Something ended that never does.
pub async fn run(context: Arc<Context>, stop: CancellationToken) -> Result<(), Ended> {
    fence::until_it_holds(&context, &stop).await;
    installed::until_known(&context, &stop).await;
    let (mut watches, mut leading) = (JoinSet::new(), JoinSet::new());
    watches.spawn(fence::keep_trying(Arc::clone(&context)));
    watching::start(&context, &stop, &mut watches);
    let resign = CancellationToken::new();
    leading.spawn(leadership::run(Arc::clone(&context), resign.clone()));
    let result = tokio::select! {
        () = dispatch(&context, &stop) => Ok(()),
        Some(ended) = watches.join_next() => {
            tracing::error!(?ended, "a watch ended; the operator stops");
            Err(Ended::Watch)
        }
        Some(ended) = leading.join_next() => {
            tracing::error!(?ended, "the leadership task ended; the operator stops");
            Err(Ended::Leadership)
        }
    };
    stop.cancel();
    watches.shutdown().await;
    // Only now does nothing write any more, so that another replica may.
    resign.cancel();
    drop(tokio::time::timeout(LAST_WORD, leading.join_next()).await);
    result
}

/// Acts in one term after the other, until told to stop.
async fn dispatch(context: &Arc<Context>, stop: &CancellationToken) {
    loop {
        let term = tokio::select! {
            () = stop.cancelled() => return,
            term = stand_by(context) => term,
        };
        context.begin_term(&term, now());
        let mut looks = JoinSet::new();
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = term.over() => false,
            () = look_around(context, &term, &mut looks) => false,
        };
        if stopped {
            // A write that was begun is better finished.
            let rest = async { while looks.join_next().await.is_some() {} };
            if tokio::time::timeout(GRACE, rest).await.is_err() {
                tracing::warn!("looks were still under way at the end of the grace");
            }
        }
        context.leadership.rest();
        // Nothing of this term is under way when the next one begins, and no payload or token is
        // held that nobody will use.
        looks.shutdown().await;
        context.forget_connections();
        if stopped {
            return;
        }
    }
}

/// Waits for a term, and shows meanwhile that the dispatcher lives.
async fn stand_by(context: &Context) -> Term {
    loop {
        beat(context);
        tokio::select! {
            term = context.leadership.won() => return term,
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

/// Where the world is locked for ever, the operator is as dead as where the dispatcher is stuck.
fn beat(context: &Context) {
    drop(context.world());
    context.heartbeat.beat();
}

/// Starts looks as their time comes, for ever.
async fn look_around(context: &Arc<Context>, term: &Term, looks: &mut JoinSet<()>) {
    loop {
        beat(context);
        while term.is_good() && looks.len() < LOOKS {
            let next = context
                .queue()
                .pop(now(), |key| context.world().instance_of(key));
            let Some((key, standing)) = next else {
                break;
            };
            let (context, term) = (Arc::clone(context), term.clone());
            looks.spawn(async move {
                // A panic in a look must not keep its object from ever being looked at again.
                let _done = Done {
                    context: Arc::clone(&context),
                    key: key.clone(),
                };
                let _measured = context.metrics.look();
                reconcile::look_at(&context, &term, &key, standing).await;
            });
        }
        let_go(context);
        let full = looks.len() >= LOOKS || !term.is_good();
        let due = if full {
            None
        } else {
            context.queue().next_due()
        };
        tokio::select! {
            () = context.wake.notified() => {}
            () = sleep_until(due) => {}
            () = tokio::time::sleep(BEAT) => {}
            Some(ended) = looks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a look ended badly; please report this");
                }
            }
        }
    }
}

/// Lets go of payloads that nobody in the queue needs any more, and of those kept for long.
fn let_go(context: &Context) {
    let before = if context.queue().is_drained() {
        Timestamp::MAX
    } else {
        now().checked_sub(LINGER).unwrap_or(Timestamp::MIN)
    };
    for connection in context.connections().values() {
        connection.let_go(before);
    }
}

/// Locks, also after a panic elsewhere: what is locked here is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Done {
    context: Arc<Context>,
    key: queue::ObjectKey,
}

impl Drop for Done {
    fn drop(&mut self) {
        let mut queue = self.context.queue();
        if std::thread::panicking() {
            let later = now().checked_add(AFTER_PANIC).unwrap_or(Timestamp::MAX);
            queue.schedule(&self.key, later, Lane::Routine);
        }
        queue.done(&self.key);
        drop(queue);
        self.context.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    #[allow(
        clippy::disallowed_methods,
        reason = "a lock is held meanwhile, so nothing may be awaited"
    )]
    fn until(holds: impl Fn() -> bool) {
        let tries = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            holds()
        });
        assert!(tries, "not within half a minute");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_dispatcher_shows_that_it_lives_and_when_it_is_stuck() {
        let context = Arc::new(Context::nowhere());
        context.leadership.win();
        let stop = CancellationToken::new();
        let (ours, told) = (Arc::clone(&context), stop.clone());
        let dispatcher = tokio::spawn(async move { dispatch(&ours, &told).await });
        let young = || {
            context.wake.notify_one();
            context.heartbeat.age() < LONG
        };
        until(young);
        let locked = context.world();
        until(|| !young());
        drop(locked);
        until(young);
        stop.cancel();
        dispatcher.await.unwrap();
    }
}
