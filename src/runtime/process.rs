//! What the process asks of the kernel, and how it is told to stop.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Keeps payloads out of core dumps and away from a debugger of the same user.
///
/// # Errors
/// The kernel refuses; nothing is protected then.
pub fn protect_memory() -> Result<(), rustix::io::Errno> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
}

/// Waits until the process is told to stop.
///
/// # Errors
/// Signals cannot be received.
pub async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
