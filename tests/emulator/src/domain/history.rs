//! What an instance was: enough to roll it back by a given time, as a failover
//! to a region whose copy is old does.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::instance::Instance;
use super::modes::after;

/// An instance's past, as far back as it is kept.
#[derive(Debug, Clone)]
pub struct History {
    /// Nothing is known of what was before.
    since: Timestamp,
    /// Oldest first. Of the changes within one second only the state before all
    /// of them is kept: the service's own dates are no finer, and an order that
    /// makes thousands of keys would keep thousands of copies.
    past: VecDeque<Past>,
}

#[derive(Debug, Clone)]
struct Past {
    until: Timestamp,
    instance: Instance,
}

/// The instance's state at that time is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// It is from here on.
    pub since: Timestamp,
}

impl History {
    /// Begins with what is now.
    pub fn begin(now: Timestamp) -> Self {
        Self {
            since: now,
            past: VecDeque::new(),
        }
    }

    /// Keeps what an instance is before a change, and forgets what was more
    /// than so many seconds ago.
    pub fn keep(&mut self, instance: &Instance, seconds: i64, now: Timestamp) {
        // Of a clock that was set back: nothing has been in the future.
        while self.past.back().is_some_and(|past| past.until > now) {
            self.past.pop_back();
        }
        let last = self.past.back().map(|past| past.until.as_second());
        if last != Some(now.as_second()) {
            self.past.push_back(Past {
                until: now,
                instance: instance.clone(),
            });
        }
        let horizon = after(now, seconds.saturating_neg());
        self.since = self.since.max(horizon);
        while self.past.front().is_some_and(|past| past.until < horizon) {
            self.past.pop_front();
        }
    }

    /// Returns what the instance was at a time, if that is another than it is
    /// now, and forgets what came after.
    pub fn back_to(&mut self, time: Timestamp) -> Result<Option<Instance>, Forgotten> {
        if time < self.since {
            return Err(Forgotten { since: self.since });
        }
        let first_after = self.past.partition_point(|past| past.until <= time);
        let undone = self.past.split_off(first_after);
        Ok(undone.into_iter().next().map(|past| past.instance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: i64 = 3600;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// An instance that is told apart by how many lists it has served.
    fn instance(lists: u64) -> Instance {
        let mut instance = Instance::new("instance", None);
        instance.lists = lists;
        instance
    }

    /// A past that began at 100: state 1 until 110, 2 until 120, now 3.
    fn history() -> History {
        let mut history = History::begin(second(100));
        history.keep(&instance(1), KEPT, second(110));
        history.keep(&instance(2), KEPT, second(120));
        history
    }

    fn state_at(mut history: History, at: i64) -> Result<Option<u64>, Forgotten> {
        let found = history.back_to(second(at))?;
        Ok(found.map(|instance| instance.lists))
    }

    #[test]
    fn a_state_counts_from_one_change_to_the_next() {
        for (at, expected) in [
            (99, Err(Forgotten { since: second(100) })),
            (100, Ok(Some(1))),
            (109, Ok(Some(1))),
            (110, Ok(Some(2))),
            (119, Ok(Some(2))),
            (120, Ok(None)),
            (999, Ok(None)),
        ] {
            assert_eq!(state_at(history(), at), expected, "{at}");
        }
    }

    #[test]
    fn of_one_second_the_first_state_is_kept() {
        let mut history = history();
        history.keep(&instance(3), KEPT, second(120));
        assert_eq!(history.past.len(), 2);
        assert_eq!(state_at(history, 119), Ok(Some(2)));
    }

    #[test]
    fn what_was_undone_is_forgotten() {
        let mut history = history();
        assert!(history.back_to(second(115)).unwrap().is_some());
        assert_eq!(state_at(history.clone(), 119), Ok(None));
        assert_eq!(state_at(history, 105), Ok(Some(1)));
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut history = history();
        history.keep(&instance(3), 5, second(121));
        let since = second(116);
        assert_eq!(state_at(history.clone(), 115), Err(Forgotten { since }));
        assert_eq!(state_at(history, 116), Ok(Some(2)));
    }

    #[test]
    fn a_clock_set_back_takes_the_future_along() {
        let mut history = history();
        history.keep(&instance(4), KEPT, second(112));
        assert_eq!(state_at(history.clone(), 111), Ok(Some(4)));
        assert_eq!(state_at(history, 112), Ok(None));
    }
}
