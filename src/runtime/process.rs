//! What the process asks of the kernel, and how it is told to stop.

use std::fs;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::time::{ClockId, clock_gettime};
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

/// Listens from now on for being told to stop; what is returned waits for it. Until somebody listens,
/// SIGTERM kills a process, or is lost where it is the first of its container.
///
/// # Errors
/// Signals cannot be received.
pub fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// What the kernel knows of this process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Bytes in RAM.
    pub resident_bytes: Option<i64>,
    /// Open file descriptors.
    pub open_fds: Option<i64>,
    /// File descriptors that may be open; nothing, where there is no limit.
    pub max_fds: Option<u64>,
}

/// Asks the kernel about this process.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "this clock is the processor time of the process, which decides nothing"
)]
pub fn usage() -> Usage {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = std::time::Duration::try_from(cpu).unwrap_or_default();
    Usage {
        cpu_seconds: cpu.as_secs_f64(),
        resident_bytes: fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| resident(&status)),
        // One of them is the folder that is being read.
        open_fds: fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|open| i64::try_from(open.count().saturating_sub(1)).ok()),
        max_fds: getrlimit(Resource::Nofile).current,
    }
}

/// Finds `VmRSS:   1234 kB`.
fn resident(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_nobody_elses_and_leaves_no_core_dump() {
        protect_memory().unwrap();
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    }

    #[test]
    fn the_kernel_knows_what_this_process_uses() {
        let usage = usage();
        assert!(usage.cpu_seconds > 0.0, "{usage:?}");
        assert!(usage.resident_bytes > Some(100_000), "{usage:?}");
        assert!(usage.open_fds > Some(2), "{usage:?}");
        assert!(usage.max_fds.is_none_or(|max| max > 3), "{usage:?}");
        assert_eq!(resident("VmRSS:\t    7 kB\n"), Some(7168));
        assert_eq!(resident("VmRSS: many"), None);
    }
}
