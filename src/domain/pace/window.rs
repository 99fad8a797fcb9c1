//! How many requests may be in flight: few at first, soon many while all goes well; fewer by half
//! when the service asks for fewer, then more by one for each window that passes well (slow start
//! and AIMD, as TCP does); and none before the time that it names.

use jiff::{SignedDuration, Timestamp};

/// At most so many in flight.
pub const WIDEST: u16 = 64;
/// At first, and after a service was away: if it does not answer, no more is lost.
const NARROW: f64 = 8.0;
/// One wave of requests gets many refusals, which count as one.
const WAVE: SignedDuration = SignedDuration::from_secs(1);
/// How long it is closed where the service names no time.
const BREATH: SignedDuration = SignedDuration::from_secs(1);
/// A service that asks for more is mistaken.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// Requests that waited for the end of such a time are spread over this long.
const SPREAD_MILLIS: i64 = 1_000;

/// The window.
#[derive(Clone, Debug)]
pub struct Window {
    size: f64,
    /// Nothing was cut yet: it doubles with each window that passes well.
    opening: bool,
    cut_at: Option<Timestamp>,
    closed_until: Option<Timestamp>,
    waiters: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            size: NARROW,
            opening: true,
            cut_at: None,
            closed_until: None,
            waiters: 0,
        }
    }
}

impl Window {
    /// How many requests may be in flight.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and WIDEST"
    )]
    pub const fn size(&self) -> u16 {
        self.size as u16
    }

    /// Until when no request may be sent; nothing, where one may be sent now.
    #[must_use]
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.closed_until?;
        // A clock that was set back must not keep it closed.
        let wait = until.duration_since(now);
        (wait > SignedDuration::ZERO && wait <= LONGEST).then_some(until)
    }

    /// When a request that finds it closed may come again: each a little later than the last.
    pub fn turn(&mut self, until: Timestamp) -> Timestamp {
        self.waiters = self.waiters.wrapping_add(1);
        // Multiples of the golden ratio spread evenly, however many there are.
        let share = i64::from(self.waiters.wrapping_mul(0x9e37_79b9) >> 16);
        let spread = (share * SPREAD_MILLIS) >> 16;
        after(until, SignedDuration::from_millis(spread))
    }

    /// Notes that the service asked for fewer requests.
    pub fn cut(&mut self, retry_after: Option<std::time::Duration>, now: Timestamp) {
        let same_wave = self.cut_at.is_some_and(|at| {
            let since = now.duration_since(at);
            since >= SignedDuration::ZERO && since < WAVE
        });
        if !same_wave {
            self.size = (self.size / 2.0).max(1.0);
            self.opening = false;
            self.cut_at = Some(now);
        }
        let asked = retry_after
            .and_then(|asked| SignedDuration::try_from(asked).ok())
            .unwrap_or(BREATH)
            .min(LONGEST);
        let until = after(now, asked);
        let closed = self.closed_until(now);
        self.closed_until = Some(closed.map_or(until, |closed| closed.max(until)));
    }

    /// Begins anew, as a service that was away is met.
    pub const fn begin_anew(&mut self) {
        self.size = self.size.min(NARROW);
        self.opening = true;
    }

    /// Notes a request that went well.
    pub fn widen(&mut self) {
        let more = if self.opening { 1.0 } else { 1.0 / self.size };
        self.size = (self.size + more).min(f64::from(WIDEST));
    }
}

fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn one_wave_of_refusals_halves_it_once_and_success_widens_it_slowly() {
        let mut window = Window::default();
        assert_eq!(window.size(), 8);
        for _ in 0..56 {
            window.widen();
        }
        assert_eq!(window.size(), 64, "three round trips");
        for n in 0..64 {
            window.cut(None, at(n));
        }
        assert_eq!(window.size(), 32);
        for wave in 1..20 {
            window.cut(None, at(wave * 1_000));
        }
        assert_eq!(window.size(), 1);
        let mut needed = 0;
        while window.size() < 64 {
            window.widen();
            needed += 1;
        }
        assert!((1_500..2_500).contains(&needed), "{needed}");
        window.widen();
        assert_eq!(window.size(), 64);
    }

    #[test]
    fn it_is_closed_for_as_long_as_the_service_asked_and_a_shorter_word_does_not_open_it() {
        let mut window = Window::default();
        window.cut(Some(Duration::from_secs(20)), at(0));
        window.cut(None, at(5_000));
        assert_eq!(window.closed_until(at(19_999)), Some(at(20_000)));
        assert_eq!(window.closed_until(at(20_000)), None);
        window.cut(Some(Duration::from_secs(1_000_000)), at(30_000));
        assert!(window.closed_until(at(31_000)).is_some());
        assert_eq!(window.closed_until(at(-90_000_000)), None, "set back");
    }

    #[test]
    fn those_who_waited_come_back_one_after_the_other() {
        let mut window = Window::default();
        let mut turns: Vec<i64> = (0..100)
            .map(|_| window.turn(at(0)).as_millisecond())
            .collect();
        turns.sort_unstable();
        assert!(turns.iter().all(|turn| (0..1_000).contains(turn)));
        for decile in 0..10 {
            let within = turns.iter().filter(|turn| **turn / 100 == decile).count();
            assert!((8..=12).contains(&within), "{decile}: {within}");
        }
    }
}
