//! The one place where the operator reads clocks, and the sign of life of what goes round by them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::domain::lease::BootTime;

/// The time.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "everything else is handed the time from here"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The time since the machine was started. Nobody sets this clock, and it goes on while the machine
/// sleeps: whoever leads by it notices that it was away.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "everything else is handed the time from here"
)]
pub fn boot_now() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    let rest = Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default());
    BootTime::since_boot(seconds.saturating_add(rest))
}

/// Sleeps until a time; for ever, where there is none. Ends early where the clock was set back
/// meanwhile: whoever sleeps has to find out anew for how long.
pub async fn sleep_until(at: Option<Timestamp>) {
    match at {
        Some(at) => sleep_by(now, at).await,
        None => std::future::pending().await,
    }
}

async fn sleep_by(clock: impl Fn() -> Timestamp, at: Timestamp) {
    // In bounded steps, so that a clock that is set meanwhile is noticed.
    const STEP: Duration = Duration::from_secs(30);
    let mut then = clock();
    loop {
        let Ok(left) = Duration::try_from(at.duration_since(then)) else {
            return;
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(STEP)).await;
        let now = clock();
        if now < then {
            return;
        }
        then = now;
    }
}

/// When something that goes round came round last, by a clock that nobody sets.
#[derive(Debug)]
pub struct Heartbeat {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
}

impl Heartbeat {
    /// Begins with a beat.
    #[must_use]
    pub fn start() -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Says that it came round.
    pub fn beat(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// How long ago that was.
    #[must_use]
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn whoever_sleeps_wakes_when_the_clock_is_set_back() {
        let clock = Cell::new(0);
        let read = || {
            let hours = clock.replace(-8);
            Timestamp::from_second(hours * 3600).unwrap()
        };
        let at = Timestamp::from_millisecond(20).unwrap();
        let sleeps = sleep_by(read, at);
        let woke = tokio::time::timeout(Duration::from_secs(5), sleeps).await;
        assert!(woke.is_ok());
    }
}
