//! A circuit breaker: after a few failures in a row it answers by itself, and lets through one
//! probe for all at each step of its back-off.

use jiff::{SignedDuration, Timestamp};

use crate::domain::service::failure::FetchFailure;

/// How long a probe may be under way before another one is let through in its place.
const PROBE: SignedDuration = SignedDuration::from_secs(60);

/// How long a failure stands also against somebody who asks by hand, having put something right:
/// else a hand that keeps asking would storm the service.
const FORCED: SignedDuration = SignedDuration::from_secs(10);

/// When a breaker opens, and how long it stays so.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// Failures in a row after which it opens.
    pub strikes: u32,
    /// Seconds until the next probe, step by step; the last one repeats.
    pub steps: &'static [i64],
}

/// For an endpoint that does not answer: a probe costs next to nothing.
pub const OUTAGE: Temper = Temper {
    strikes: 3,
    steps: &[2, 5, 10, 30, 60, 120, 300],
};

/// For refusals: each is a critical event in the customer's audit log.
pub const REFUSAL: Temper = Temper {
    strikes: 3,
    steps: &[60, 120, 300, 900],
};

/// For refusals of keys that could be read before: there, two say that a right was withdrawn.
pub const WITHDRAWAL: Temper = Temper {
    strikes: 2,
    steps: REFUSAL.steps,
};

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    temper: Temper,
    strikes: u32,
    /// Keys that struck, where only different ones count.
    struck: Vec<String>,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    failure: FetchFailure,
    /// When it last failed.
    at: Timestamp,
    until: Timestamp,
    step: usize,
    probing: bool,
    /// The probe came before its time.
    forced: bool,
}

impl Breaker {
    /// Makes one that is closed.
    #[must_use]
    pub const fn new(temper: Temper) -> Self {
        Self {
            temper,
            strikes: 0,
            struck: Vec::new(),
            open: None,
        }
    }

    /// Whether it answers by itself.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Why it is open.
    #[must_use]
    pub fn failure(&self) -> Option<&FetchFailure> {
        self.open.as_ref().map(|open| &open.failure)
    }

    /// What it answers now; nothing, where a request may be sent.
    #[must_use]
    pub fn answer(&self, now: Timestamp) -> Option<FetchFailure> {
        let open = self.open.as_ref()?;
        let wait = open.until.duration_since(now);
        // A clock that was set back must not keep it open for longer than its longest step.
        let longest = SignedDuration::from_secs(self.temper.steps.last().copied().unwrap_or(0));
        if wait <= SignedDuration::ZERO || wait > longest.max(PROBE) {
            return None;
        }
        let mut failure = open.failure.clone();
        failure.retry_after = std::time::Duration::try_from(wait).ok();
        Some(failure)
    }

    /// Whether somebody who asks by hand may be its probe, before the time for one.
    #[must_use]
    pub fn yields(&self, now: Timestamp) -> bool {
        self.open.as_ref().is_none_or(|open| {
            !open.probing && !(SignedDuration::ZERO..FORCED).contains(&now.duration_since(open.at))
        })
    }

    /// Notes that a request is sent: while it is open, that one is its probe.
    pub fn sent(&mut self, now: Timestamp) {
        let forced = self.answer(now).is_some();
        if let Some(open) = &mut self.open {
            open.forced = forced;
            open.probing = true;
            open.until = after(now, PROBE);
        }
    }

    /// Notes a failure of the kind that it is for. Where a key is named, only different keys
    /// count: one that is refused again and again is that key's own matter.
    pub fn strike(&mut self, failure: &FetchFailure, key: Option<&str>, now: Timestamp) {
        let known = key.is_some_and(|key| self.struck.iter().any(|struck| struck == key));
        if !known && self.strikes < self.temper.strikes {
            self.strikes += 1;
            self.struck.extend(key.map(str::to_owned));
        }
        let step = match &self.open {
            // Nobody else waits longer for it.
            Some(open) if open.probing && open.forced => open.step,
            Some(open) if open.probing => open.step.saturating_add(1),
            None if self.strikes >= self.temper.strikes => 0,
            // One that was under way when the breaker opened says nothing new.
            Some(_) | None => return,
        };
        let step = step.min(self.temper.steps.len().saturating_sub(1));
        let seconds = self.temper.steps.get(step).copied().unwrap_or(0);
        let mut until = after(now, SignedDuration::from_secs(seconds));
        let asked = failure
            .retry_after
            .and_then(|asked| SignedDuration::try_from(asked).ok());
        if let Some(asked) = asked {
            until = until.max(after(now, asked));
        }
        self.open = Some(Open {
            // Whose request it was is nobody else's business.
            failure: FetchFailure {
                request_id: None,
                ..failure.clone()
            },
            at: now,
            until,
            step,
            probing: false,
            forced: false,
        });
    }

    /// Notes that a probe ended without a word about what the breaker is for: another is let
    /// through at once.
    pub fn undecided(&mut self, now: Timestamp) {
        if self.open.as_ref().is_some_and(|open| open.probing) {
            self.retry(now);
        }
    }

    /// Lets a probe through at once.
    pub fn retry(&mut self, now: Timestamp) {
        if let Some(open) = &mut self.open {
            open.probing = false;
            open.until = now;
        }
    }

    /// Notes a success; tells whether that closed it.
    pub fn close(&mut self) -> bool {
        self.strikes = 0;
        self.struck.clear();
        self.open.take().is_some()
    }
}

fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::failure::{FailureKind, Operation};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn refused() -> FetchFailure {
        FetchFailure {
            request_id: Some("somebody's".to_owned()),
            ..FetchFailure::new(Operation::GetKey, FailureKind::Denied, "refused")
        }
    }

    fn lets_through(breaker: &mut Breaker, second: i64) -> bool {
        let free = breaker.answer(at(second)).is_none();
        if free {
            breaker.sent(at(second));
        }
        free
    }

    #[test]
    fn it_opens_after_some_failures_in_a_row_and_lets_one_probe_through_a_step() {
        let mut breaker = Breaker::new(REFUSAL);
        for _ in 0..2 {
            assert!(lets_through(&mut breaker, 0));
            breaker.strike(&refused(), None, at(0));
        }
        assert!(!breaker.close(), "a success between them begins anew");
        for _ in 0..3 {
            assert!(lets_through(&mut breaker, 0));
            breaker.strike(&refused(), None, at(0));
        }
        let mut probes = Vec::new();
        for second in 0..4_000 {
            if lets_through(&mut breaker, second) {
                probes.push(second);
                assert!(!lets_through(&mut breaker, second), "one probe for all");
                breaker.strike(&refused(), None, at(second));
            }
        }
        assert_eq!(probes, [60, 180, 480, 1380, 2280, 3180]);
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_lengthen_its_step() {
        let mut breaker = Breaker::new(REFUSAL);
        for _ in 0..64 {
            breaker.strike(&refused(), None, at(0));
        }
        assert!(breaker.answer(at(59)).is_some());
        assert!(breaker.answer(at(60)).is_none());
    }

    #[test]
    fn its_answer_says_when_to_come_again_and_not_whose_request_it_was() {
        let mut breaker = Breaker::new(WITHDRAWAL);
        breaker.strike(&refused(), None, at(0));
        breaker.strike(&refused(), None, at(0));
        let answer = breaker.answer(at(20)).unwrap();
        assert_eq!(answer.retry_after, Some(std::time::Duration::from_secs(40)));
        assert_eq!(
            (answer.request_id, answer.kind),
            (None, FailureKind::Denied)
        );
    }

    #[test]
    fn a_probe_that_is_lost_is_replaced_and_one_that_says_nothing_too() {
        let mut breaker = Breaker::new(WITHDRAWAL);
        breaker.strike(&refused(), None, at(0));
        breaker.strike(&refused(), None, at(0));
        assert!(lets_through(&mut breaker, 60));
        assert!(!lets_through(&mut breaker, 119));
        assert!(lets_through(&mut breaker, 120));
        breaker.undecided(at(121));
        assert!(lets_through(&mut breaker, 121));
        assert!(breaker.close());
        assert!(!breaker.is_open());
    }

    #[test]
    fn one_key_that_is_refused_again_and_again_does_not_open_it() {
        let mut breaker = Breaker::new(REFUSAL);
        for _ in 0..9 {
            breaker.strike(&refused(), Some("a"), at(0));
        }
        breaker.strike(&refused(), Some("b"), at(0));
        assert!(!breaker.is_open());
        breaker.strike(&refused(), Some("c"), at(0));
        assert!(breaker.is_open());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_it_open() {
        let mut breaker = Breaker::new(REFUSAL);
        (0..3).for_each(|_| breaker.strike(&refused(), None, at(100_000)));
        assert!(lets_through(&mut breaker, 0));
    }
}
