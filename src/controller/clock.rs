//! The one place where the operator reads the clock.

use jiff::Timestamp;

/// The time.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "everything else is handed the time from here"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Sleeps until a time; for ever, where there is none.
pub async fn sleep_until(at: Option<Timestamp>) {
    let Some(at) = at else {
        return std::future::pending().await;
    };
    // In bounded steps, so that a clock that is set meanwhile is noticed.
    const STEP: std::time::Duration = std::time::Duration::from_secs(30);
    loop {
        let Ok(left) = std::time::Duration::try_from(at.duration_since(now())) else {
            return;
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(STEP)).await;
    }
}
