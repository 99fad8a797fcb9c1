//! Ends the emulator with the process that it was started for, so that a test
//! run that is killed leaves nothing behind.

use std::time::Duration;

const EVERY: Duration = Duration::from_millis(250);

/// Waits until the process is gone; for ever, when there is none to watch.
pub(crate) async fn gone(pid: Option<u32>) {
    let Some(pid) = pid else {
        return std::future::pending().await;
    };
    // The start time tells the owner from a later process with its number.
    let Some(started) = start_time(pid).await else {
        return;
    };
    loop {
        tokio::time::sleep(EVERY).await;
        if start_time(pid).await.as_deref() != Some(started.as_str()) {
            return;
        }
    }
}

/// Reads when a process started, unless it has ended.
async fn start_time(pid: u32) -> Option<String> {
    let stat = tokio::fs::read_to_string(format!("/proc/{pid}/stat"))
        .await
        .ok()?;
    // The name, in parentheses, may itself have spaces and parentheses in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // A zombie runs no more; only its parent has not asked yet.
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}
