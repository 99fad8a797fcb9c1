//! The emulator's clock: the real one plus an offset that tests move.
//!
//! This is the only file that reads the system's time. Everything else takes
//! `now` as an argument, so that the rules about time are tables in tests.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Tells the time, as far ahead of or behind the real time as a test wants.
#[derive(Debug, Default)]
pub struct Clock {
    offset_seconds: AtomicI64,
}

impl Clock {
    /// Returns the emulator's present.
    pub fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods)] // The shell's one reader of the clock.
        let real = Timestamp::now();
        let offset = SignedDuration::from_secs(self.offset_seconds.load(Ordering::Relaxed));
        real.checked_add(offset).unwrap_or(real)
    }

    /// Sets how far the emulator is ahead of the real time.
    pub fn set_offset(&self, seconds: i64) {
        self.offset_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Returns how far the emulator is ahead of the real time.
    pub fn offset(&self) -> i64 {
        self.offset_seconds.load(Ordering::Relaxed)
    }
}
