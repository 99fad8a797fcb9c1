//! How many Secrets of an instance revocations may delete: beyond a few within an hour, they wait
//! for an admin, since a mistake in Key Protect or in a rule looks like a thousand revocations.

use jiff::{SignedDuration, Timestamp};

/// The time over which revocations are counted.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// So many may act within it however few Secrets there are.
const FEW: usize = 3;

/// The revocations of one instance, without the one that asks for leave. Made of what statuses
/// say, so that a restart changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Secrets that there are, or were within the window.
    pub secrets: usize,
    /// Revocations that acted, or may act any moment, within the window.
    pub acted: usize,
    /// Revocations that wait.
    pub held: usize,
}

/// Whether a revocation may act now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Granted,
    /// It waits: there are too many.
    Held,
}

/// How many revocations may act within the window: a tenth of the Secrets, but three at least.
#[must_use]
pub const fn limit(secrets: usize) -> usize {
    let tenth = secrets / 10;
    if tenth > FEW { tenth } else { FEW }
}

impl Tally {
    /// Decides whether one more revocation may act, which has waited since `since` (from now, where
    /// it has not). Those that wait count like those that acted: otherwise they would go by
    /// themselves, a tenth an hour. What an admin released goes whatever the count.
    #[must_use]
    pub fn leave(&self, since: Timestamp, release: Option<&str>, now: Timestamp) -> Leave {
        let would_act = self.acted.saturating_add(self.held).saturating_add(1);
        if is_released(release, since, now) || would_act <= limit(self.secrets) {
            Leave::Granted
        } else {
            Leave::Held
        }
    }
}

/// Whether the annotation's time lets a revocation go that has waited since `since`: one that an
/// admin could see then. A time that has not come lets nothing go, and no time lets go what begins
/// to wait after it: there is no standing permission.
#[must_use]
pub fn is_released(release: Option<&str>, since: Timestamp, now: Timestamp) -> bool {
    release
        .and_then(|time| time.parse::<Timestamp>().ok())
        .is_some_and(|time| since <= time && time <= now)
}

/// Whether a revocation of that time still counts.
#[must_use]
pub fn counts(revoked_at: Timestamp, now: Timestamp) -> bool {
    revoked_at.checked_add(WINDOW).is_ok_and(|end| end > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + minutes * 60).unwrap()
    }

    #[test]
    fn the_limit_is_a_tenth_of_the_secrets_and_three_at_least() {
        for (secrets, most) in [(0, 3), (1, 3), (30, 3), (39, 3), (40, 4), (1000, 100)] {
            assert_eq!(limit(secrets), most, "{secrets}");
        }
    }

    #[test]
    fn beyond_the_limit_revocations_wait_and_those_that_wait_count() {
        let leave = |secrets, acted, held| {
            let tally = Tally {
                secrets,
                acted,
                held,
            };
            tally.leave(at(0), None, at(0))
        };
        for (secrets, acted, held, expected) in [
            (1, 0, 0, Leave::Granted),
            (10, 2, 0, Leave::Granted),
            (10, 3, 0, Leave::Held),
            (10, 2, 1, Leave::Held),
            (10, 0, 3, Leave::Held),
            (50, 4, 0, Leave::Granted),
            (50, 5, 0, Leave::Held),
            // An hour later nothing has acted within the hour, and all the others still wait.
            (1000, 0, 900, Leave::Held),
        ] {
            assert_eq!(
                leave(secrets, acted, held),
                expected,
                "{secrets} {acted} {held}"
            );
        }
    }

    #[test]
    fn a_release_lets_go_what_waited_at_its_time_and_nothing_else() {
        let many = Tally {
            secrets: 10,
            acted: 3,
            held: 5,
        };
        let leave = |release: &str, since, now| many.leave(at(since), Some(release), at(now));
        let release = at(10).to_string();
        assert_eq!(leave(&release, 9, 11), Leave::Granted);
        assert_eq!(leave(&release, 10, 10), Leave::Granted);
        assert_eq!(
            leave(&release, 11, 12),
            Leave::Held,
            "it began to wait later"
        );
        assert_eq!(leave(&release, 8, 9), Leave::Held, "its time has not come");
        for nonsense in ["", "true", "now", "10", "2999-01-01T00:00:00Z"] {
            assert_eq!(leave(nonsense, 8, 9), Leave::Held, "{nonsense}");
        }
    }

    #[test]
    fn a_revocation_counts_for_an_hour() {
        assert!(counts(at(0), at(59)));
        assert!(!counts(at(0), at(60)));
    }
}
