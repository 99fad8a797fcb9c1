//! When a forced sync is let through: at most one per ten seconds for an object and one a second
//! for a namespace, so that nobody who may annotate objects can make the operator list without
//! end. Those that wait for one moment of their namespace have it together, and so share a
//! listing. Pure: time comes in.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

/// Least time between two forced syncs of an object.
const OBJECT: SignedDuration = SignedDuration::from_secs(10);
/// Least time between two moments of a namespace.
const NAMESPACE: SignedDuration = SignedDuration::from_secs(1);
/// Namespaces remembered before those that are over are swept out.
const SWEEP_AT: usize = 256;

/// The moments of each namespace that are to come, or are not yet a second over.
#[derive(Debug, Default)]
pub struct Forced {
    namespaces: HashMap<String, BTreeSet<Timestamp>>,
}

impl Forced {
    /// Says when a sync request that was just seen is let through; `last` is when the object's
    /// one before was, or is to be.
    pub fn admit(&mut self, namespace: &str, last: Option<Timestamp>, now: Timestamp) -> Timestamp {
        if let Some(waiting) = last.filter(|last| *last > now && *last <= after(now, OBJECT)) {
            return waiting;
        }
        if self.namespaces.len() >= SWEEP_AT {
            self.namespaces.retain(|_, moments| {
                sweep(moments, now);
                !moments.is_empty()
            });
        }
        let moments = self.namespaces.entry(namespace.to_owned()).or_default();
        sweep(moments, now);
        let wished = last.map_or(now, |last| {
            after(last, OBJECT).clamp(now, after(now, OBJECT))
        });
        let earliest = match moments.range(..wished).next_back() {
            Some(before) => wished.max(after(*before, NAMESPACE)),
            None => wished,
        };
        // A moment less than a second later is shared.
        let next = moments.range(earliest..).next().copied();
        let moment = next
            .filter(|next| *next < after(earliest, NAMESPACE))
            .unwrap_or(earliest);
        moments.insert(moment);
        moment
    }
}

/// Drops what is over, and what only a clock that was set back can have left so far ahead.
fn sweep(moments: &mut BTreeSet<Timestamp>, now: Timestamp) {
    let farthest = after(now, OBJECT + OBJECT);
    moments.retain(|moment| after(*moment, NAMESPACE) > now && *moment <= farthest);
}

fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn an_object_is_forced_once_in_ten_seconds() {
        let mut forced = Forced::default();
        assert_eq!(forced.admit("a", None, at(0)), at(0));
        assert_eq!(forced.admit("a", Some(at(0)), at(2_000)), at(10_000));
        // Another request of the same object has the same moment.
        assert_eq!(forced.admit("a", Some(at(10_000)), at(3_000)), at(10_000));
        assert_eq!(forced.admit("a", Some(at(10_000)), at(30_000)), at(30_000));
    }

    #[test]
    fn a_namespace_has_one_moment_a_second_and_who_waits_shares_it() {
        let mut forced = Forced::default();
        assert_eq!(forced.admit("a", None, at(0)), at(0));
        for _ in 0..500 {
            assert_eq!(forced.admit("a", None, at(5)), at(1_000));
        }
        assert_eq!(forced.admit("a", None, at(1_200)), at(2_000));
        assert_eq!(forced.admit("b", None, at(5)), at(5));
        // However the requests fall, two moments are a second apart.
        let mut moments = BTreeSet::new();
        for n in 0..400_i64 {
            let now = at(5_000 + n * 37);
            let last = (n % 3 == 0).then(|| at(5_000 + n * 37 - (n * 7919) % 12_000));
            let moment = forced.admit("c", last, now);
            assert!(
                moment >= now && moment <= after(now, OBJECT + NAMESPACE),
                "{n}"
            );
            moments.insert(moment);
        }
        let moments: Vec<_> = moments.into_iter().collect();
        for pair in moments.windows(2) {
            assert!(after(pair[0], NAMESPACE) <= pair[1], "{pair:?}");
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut forced = Forced::default();
        for n in 0..1_000 {
            forced.admit(&n.to_string(), None, at(n * 2_000));
        }
        assert!(forced.namespaces.len() <= SWEEP_AT);
    }
}
