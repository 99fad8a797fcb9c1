//! The shell between watches, decisions and writes. Watch events change the [`world`]; what they
//! concern goes through the [`queue`]; each look is one task of [`reconcile`].

pub mod clock;
pub mod connection;
pub mod context;
mod execute;
pub mod fence;
pub mod forced;
mod instance;
mod news;
pub mod queue;
mod reconcile;
pub mod secrets;
mod watching;
pub mod world;
#[cfg(test)]
mod world_tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use clock::{now, sleep_until};
use context::Context;
use queue::Lane;

/// Looks under way at once. Most of them wait for a request, whose number has limits of its own.
const LOOKS: usize = 128;
/// When an object is looked at again whose look panicked.
const AFTER_PANIC: Duration = Duration::from_secs(60);
/// How long looks may go on after the operator was told to stop.
const GRACE: Duration = Duration::from_secs(4);

/// How often the dispatcher comes round where nothing happens, to show that it lives.
const BEAT: Duration = Duration::from_secs(10);

/// Says that a watch ended, which none does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a watch ended; please report this")]
pub struct WatchEnded;

/// Runs until told to stop.
///
/// # Errors
/// A watch ended: the operator would be blind.
pub async fn run(context: Arc<Context>, stop: CancellationToken) -> Result<(), WatchEnded> {
    fence::until_it_holds(&context, &stop).await;
    let mut watches = JoinSet::new();
    watches.spawn(fence::keep_trying(Arc::clone(&context)));
    watching::start(&context, &stop, &mut watches);
    let result = tokio::select! {
        () = dispatch(&context, &stop) => Ok(()),
        Some(ended) = watches.join_next() => {
            tracing::error!(?ended, "a watch ended; the operator stops");
            Err(WatchEnded)
        }
    };
    stop.cancel();
    watches.shutdown().await;
    result
}

/// Starts looks as their time comes, until told to stop, and then lets those under way end: a
/// write that was begun is better finished.
async fn dispatch(context: &Arc<Context>, stop: &CancellationToken) {
    let mut looks = JoinSet::new();
    loop {
        // Where the world is locked for ever, the operator is as dead as where this loop is stuck.
        drop(context.world());
        context.heartbeat.beat();
        while context.is_ready() && looks.len() < LOOKS {
            let Some(key) = context.queue().pop(now()) else {
                break;
            };
            let context = Arc::clone(context);
            looks.spawn(async move {
                // A panic in a look must not keep its object from ever being looked at again.
                let _done = Done {
                    context: Arc::clone(&context),
                    key: key.clone(),
                };
                reconcile::look_at(&context, &key).await;
            });
        }
        let full = looks.len() >= LOOKS || !context.is_ready();
        let due = if full {
            None
        } else {
            context.queue().next_due()
        };
        tokio::select! {
            () = stop.cancelled() => break,
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
    let rest = async { while looks.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!("looks were still under way at the end of the grace");
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
