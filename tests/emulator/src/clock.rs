//! The emulator's clock: the real one, moved and sped up as tests want.
//!
//! This is the only file that reads the system's time. Everything else takes
//! `now` as an argument, so that the rules about time are tables in tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// The fastest that the clock goes: a day in under a second and a half.
pub(crate) const MAX_RATE: f64 = 65_536.0;

/// Tells the time, as far from the real time, and as fast, as a test wants.
#[derive(Debug)]
pub struct Clock(Mutex<Course>);

/// From one moment on, the emulator's time goes at one rate.
#[derive(Debug, Clone, Copy)]
struct Course {
    real: Timestamp,
    emulated: Timestamp,
    rate: f64,
}

impl Course {
    fn at(self, real: Timestamp) -> Timestamp {
        let passed = real.duration_since(self.real);
        // Exact at the usual rate.
        let passed = if self.rate == 1.0 {
            Some(passed)
        } else {
            SignedDuration::try_from_secs_f64(passed.as_secs_f64() * self.rate).ok()
        };
        passed
            .and_then(|passed| self.emulated.checked_add(passed).ok())
            .unwrap_or(self.emulated)
    }
}

impl Default for Clock {
    fn default() -> Self {
        let now = real();
        Self(Mutex::new(Course {
            real: now,
            emulated: now,
            rate: 1.0,
        }))
    }
}

impl Clock {
    /// Returns the emulator's present.
    pub fn now(&self) -> Timestamp {
        self.course().at(real())
    }

    /// Sets how far the emulator is ahead of the real time, from now on.
    pub fn set_offset(&self, seconds: i64) {
        let real = real();
        let mut course = self.course();
        let emulated = real.checked_add(SignedDuration::from_secs(seconds));
        course.emulated = emulated.unwrap_or(real);
        course.real = real;
    }

    /// Sets how many seconds go by in a real one; false when that is no rate.
    pub fn set_rate(&self, rate: f64) -> bool {
        if !(0.0..=MAX_RATE).contains(&rate) {
            return false;
        }
        let real = real();
        let mut course = self.course();
        course.emulated = course.at(real);
        course.real = real;
        course.rate = rate;
        true
    }

    /// Returns how far the emulator is ahead of the real time.
    pub fn offset(&self) -> i64 {
        let real = real();
        let ahead = self.course().at(real).duration_since(real);
        // To the nearest second, since two readings are never at one moment.
        let seconds = (ahead.as_millis() + 500).div_euclid(1000);
        i64::try_from(seconds).unwrap_or_default()
    }

    /// Returns how many seconds go by in a real one.
    pub fn rate(&self) -> f64 {
        self.course().rate
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::disallowed_methods)] // The shell's one reader of the clock.
fn real() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_goes_as_fast_as_it_is_told() {
        let course = |rate| Course {
            real: second(100),
            emulated: second(1000),
            rate,
        };
        assert_eq!(course(1.0).at(second(110)), second(1010));
        assert_eq!(course(60.0).at(second(110)), second(1600));
        assert_eq!(course(0.0).at(second(110)), second(1000));
        // At the end of time it stands still.
        assert_eq!(course(MAX_RATE).at(Timestamp::MAX), second(1000));
    }

    #[test]
    fn a_moved_clock_is_as_far_ahead_as_it_was_told() {
        let clock = Clock::default();
        clock.set_offset(-3600);
        assert_eq!(clock.offset(), -3600);
        assert!(clock.set_rate(3600.0) && clock.rate() > 1.0);
        assert!(!clock.set_rate(-1.0) && !clock.set_rate(f64::NAN));
        clock.set_offset(i64::MAX);
        assert!(clock.offset().abs() < 60, "a date beyond time is none");
    }
}
