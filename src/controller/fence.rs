//! The operator's self-test of the fence: at start, before anything else is done, and then every
//! `--fence-interval`.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::clock::now;
use super::context::Context;
use super::lock;
use crate::cluster;
use crate::domain::fence::{Standing, Verdict, judge};
use crate::metrics::FenceState;

/// How often at least a fence is tried that does not hold, to notice soon when it does again.
const AGAIN: Duration = Duration::from_secs(60);
/// How soon at start: policies that were applied together with the operator count some moments
/// later. Doubled up to a limit.
const AT_FIRST: Duration = Duration::from_millis(500);
const AT_MOST: Duration = Duration::from_secs(15);

/// Whether the fence holds; nothing where the operator runs without one.
#[derive(Debug, Default)]
pub struct Fence(Option<Mutex<Standing>>);

impl Fence {
    /// One that has to hold (`--fence=on`), or none.
    #[must_use]
    pub fn new(on: bool) -> Self {
        Self(on.then(Mutex::default))
    }

    fn standing(&self) -> Option<MutexGuard<'_, Standing>> {
        self.0.as_ref().map(lock)
    }

    /// What is known; nothing where the operator runs without a fence.
    #[must_use]
    pub fn known(&self) -> Option<Standing> {
        self.standing().map(|standing| standing.clone())
    }

    /// Why the operator is not ready on account of the fence.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.standing()?.problem().map(str::to_owned)
    }

    /// Whether a fence that there has to be was seen to hold, at this time or later.
    #[must_use]
    pub fn has_held_since(&self, time: Timestamp) -> bool {
        self.standing()
            .and_then(|standing| standing.held_at().filter(|_| standing.holds()))
            .is_some_and(|held| held >= time)
    }
}

/// Tries the fence once, now; tells whether it is known to hold.
pub async fn try_it(context: &Context) -> bool {
    let answers = cluster::fence::attempt(&context.client, &context.settings.namespace).await;
    let verdict = judge(&answers);
    let (news, holds) = {
        let Some(mut standing) = context.fence.standing() else {
            return false;
        };
        (standing.learn(verdict.clone(), now()), standing.holds())
    };
    context.metrics.fence(if holds {
        FenceState::Active
    } else {
        FenceState::Inactive
    });
    if news {
        match &verdict {
            Verdict::Holds => tracing::info!("the fence holds"),
            Verdict::Open(why) => tracing::error!(why, "the fence does not hold"),
            Verdict::Unproven(why) => tracing::error!(why, "the fence is not known to hold"),
            Verdict::Unknown => tracing::warn!("the fence could not be tried: no answer"),
        }
        // Instances say so.
        for connection in context.connections().values() {
            connection.poke.notify_one();
        }
    }
    holds
}

/// Waits, trying, until the fence holds, or until told to stop. Nothing else is done before.
pub(super) async fn until_it_holds(context: &Context, stop: &CancellationToken) {
    if context.fence.0.is_none() {
        context.metrics.fence(FenceState::Off);
        tracing::warn!("running without the fence (--fence=off): only RBAC bounds the operator");
        return;
    }
    let mut wait = AT_FIRST;
    while !try_it(context).await {
        // It lives, though it does nothing: a restart would not help.
        context.heartbeat.beat();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = wait.saturating_mul(2).min(AT_MOST);
    }
}

/// Tries the fence from time to time, and soon again while it does not hold.
pub(super) async fn keep_trying(context: Arc<Context>) {
    let Some(interval) = context.settings.fence else {
        return std::future::pending().await;
    };
    loop {
        let holds = context.fence.problem().is_none();
        tokio::time::sleep(if holds { interval } else { interval.min(AGAIN) }).await;
        try_it(&context).await;
    }
}
