//! The shell between watches, decisions and writes. Watch events change the [`world`]; what they
//! concern goes through the [`queue`]; each look is one task of [`reconcile`].

pub mod clock;
pub mod connection;
pub mod context;
mod execute;
mod instance;
mod news;
pub mod queue;
mod reconcile;
pub mod secrets;
mod watching;
pub mod world;
#[cfg(test)]
mod world_tests;

use std::sync::Arc;
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

/// Runs until told to stop. Ends early only where a watch ends, which none does.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut watches = JoinSet::new();
    watching::start(&context, &stop, &mut watches);
    tokio::select! {
        () = dispatch(&context, &stop) => {}
        Some(ended) = watches.join_next() => {
            tracing::error!(?ended, "a watch ended; the operator stops");
        }
    }
    stop.cancel();
    watches.shutdown().await;
}

/// Starts looks as their time comes, until told to stop, and then lets those under way end: a
/// write that was begun is better finished.
async fn dispatch(context: &Arc<Context>, stop: &CancellationToken) {
    let mut looks = JoinSet::new();
    loop {
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
