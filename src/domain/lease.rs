//! Who leads: what the Lease says, who this process is and what the boot-time clock shows make a
//! step to take. Others' clocks are never asked: how long a Lease is good for counts from when
//! *this* process saw it change, and the times written in it only tell one renewal from another.
//!
//! Two promises keep two leaders from writing at once. A leader writes for two thirds of the
//! lease's duration after it *sent* a renewal that succeeded; anybody else waits for the whole
//! duration after *seeing* one. What was sent within the first is answered within the second.

use std::time::Duration;

use jiff::Timestamp;

use super::resource_version::is_newer;

/// A moment by this machine's boot-time clock: nobody sets it, and it goes on while the machine
/// sleeps or the process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// The moment the machine was started: before anything that is noted.
    pub const START: Self = Self(Duration::ZERO);

    /// A moment so long after the machine was started.
    #[must_use]
    pub const fn since_boot(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The moment so much later.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }

    /// How long it is from one moment to a later one; nothing, if that is over.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// The times of a lease, in the proportions that Kubernetes' own components have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait for a leader that says nothing.
    pub duration: Duration,
    /// How long a leader writes after a renewal: it gives up before others take over.
    pub deadline: Duration,
    /// How long after a renewal, or a failed try, the next one is sent.
    pub retry: Duration,
}

impl Timing {
    /// The times that go with a duration: of 15 s, a deadline of 10 s and a renewal every 2 s.
    #[must_use]
    pub fn of(duration: Duration) -> Self {
        Self {
            duration,
            deadline: duration * 2 / 3,
            retry: duration * 2 / 15,
        }
    }
}

/// What a Lease's spec says, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who leads; nobody, where the last leader has stepped down.
    pub holder: Option<String>,
    /// When the term began, by its holder's clock.
    pub acquired: Option<Timestamp>,
    /// When it was renewed last, by its holder's clock.
    pub renewed: Option<Timestamp>,
    /// How long others are to wait after a renewal.
    pub duration: Option<Duration>,
    /// How often the holder has changed.
    pub transitions: i32,
}

/// A Lease, as the API server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its resourceVersion.
    pub version: String,
    /// What it says.
    pub record: Record,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the Lease.
    Look,
    /// Make the Lease, with a first term.
    Create(Record),
    /// Replace the Lease that was seen: a new term begins.
    Take(Record),
    /// Replace the Lease that was seen: the term goes on.
    Renew(Record),
    /// Nothing, until then or until there is news; for ever, where no time is named.
    Wait(Option<BootTime>),
    /// End the term: nothing of it may be written any more.
    StandDown(Lost),
}

/// Why a term ended that was to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It could not be renewed in time.
    Lapsed,
    /// The Lease says that somebody else leads, or nobody.
    Taken(Option<String>),
    /// Somebody deleted the Lease.
    Deleted,
}

#[derive(Clone, Debug)]
enum Seen {
    /// Nothing yet.
    Nothing,
    /// There is none.
    NoLease,
    /// This one.
    Lease(Lease),
}

/// A term is known by its holder and its beginning, so that two processes that have one identity
/// by mistake tell their terms apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    holder: Option<String>,
    acquired: Option<Timestamp>,
}

impl Mark {
    fn of(record: &Record) -> Self {
        Self {
            holder: record.holder.clone(),
            acquired: record.acquired,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    /// Nothing is written from then on.
    until: BootTime,
    /// When the Lease is renewed next.
    renew_at: BootTime,
}

/// One process that leads or would.
#[derive(Clone, Debug)]
pub struct Candidate {
    identity: String,
    timing: Timing,
    seen: Seen,
    /// What was seen may not be what is so: the Lease is read before anything is done.
    in_doubt: bool,
    hold: Option<Hold>,
    /// Until when somebody else leads, as far as this process has seen.
    taken_until: BootTime,
    /// No request is sent before this, after one that failed.
    not_before: BootTime,
    /// The terms of this process that a Lease may still show: the last, and one whose beginning
    /// was not answered.
    own: [Option<Mark>; 2],
}

impl Candidate {
    /// Has seen nothing yet.
    #[must_use]
    pub const fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            seen: Seen::Nothing,
            in_doubt: true,
            hold: None,
            taken_until: BootTime::START,
            not_before: BootTime::START,
            own: [None, None],
        }
    }

    /// Decides what to do now. A process that is not `ready` to lead takes over from nobody.
    /// `clock` is what is written into the Lease, for people.
    #[must_use]
    pub fn decide(&self, now: BootTime, clock: Timestamp, ready: bool) -> Step {
        match self.hold {
            Some(hold) if now >= hold.until => Step::StandDown(Lost::Lapsed),
            Some(hold) => self.as_leader(hold, now, clock),
            None => self.as_standby(now, clock, ready),
        }
    }

    fn as_leader(&self, hold: Hold, now: BootTime, clock: Timestamp) -> Step {
        match &self.seen {
            Seen::NoLease => Step::StandDown(Lost::Deleted),
            Seen::Lease(lease) if !self.is_own(&lease.record) => {
                Step::StandDown(Lost::Taken(lease.record.holder.clone()))
            }
            _ if now < self.not_before => Step::Wait(Some(self.not_before.min(hold.until))),
            Seen::Lease(lease) if !self.in_doubt => {
                if now < hold.renew_at {
                    return Step::Wait(Some(hold.renew_at.min(hold.until)));
                }
                Step::Renew(Record {
                    renewed: Some(later(clock, lease.record.renewed)),
                    ..lease.record.clone()
                })
            }
            Seen::Lease(_) | Seen::Nothing => Step::Look,
        }
    }

    fn as_standby(&self, now: BootTime, clock: Timestamp, ready: bool) -> Step {
        if now < self.not_before {
            return Step::Wait(Some(self.not_before));
        }
        let before = match &self.seen {
            _ if self.in_doubt => return Step::Look,
            Seen::Nothing | Seen::NoLease => None,
            Seen::Lease(lease) => Some(&lease.record),
        };
        if !ready {
            return Step::Wait(None);
        }
        // Where somebody deleted the Lease, whoever had it may write for a while yet.
        if now < self.taken_until {
            return Step::Wait(Some(self.taken_until));
        }
        let clock = whole(clock);
        let transitions = before.map_or(0, |before| {
            let same = before.holder.as_ref() == Some(&self.identity);
            before.transitions.saturating_add(i32::from(!same))
        });
        let record = Record {
            holder: Some(self.identity.clone()),
            acquired: Some(later(clock, before.and_then(|before| before.acquired))),
            renewed: Some(later(clock, before.and_then(|before| before.renewed))),
            duration: Some(self.timing.duration),
            transitions,
        };
        match before {
            None => Step::Create(record),
            Some(_) => Step::Take(record),
        }
    }

    /// Takes in what a read of the Lease shows.
    pub fn look(&mut self, shown: Option<Lease>, now: BootTime) {
        self.in_doubt = false;
        match shown {
            Some(lease) => {
                self.observe(lease, now);
            }
            None => self.seen = Seen::NoLease,
        }
    }

    /// Takes in what a watch shows, unless it is behind what was seen, or written, already; says
    /// whether it was news.
    pub fn observe(&mut self, lease: Lease, now: BootTime) -> bool {
        let known = match &self.seen {
            Seen::Lease(known) if !is_newer(&lease.version, &known.version) => return false,
            Seen::Lease(known) => Some(&known.record),
            Seen::Nothing | Seen::NoLease => None,
        };
        // Somebody may put a label on the Lease: that renews nothing.
        if known != Some(&lease.record) {
            self.note_holder(&lease.record, now);
        }
        self.seen = Seen::Lease(lease);
        true
    }

    fn note_holder(&mut self, record: &Record, now: BootTime) {
        // A process that never asked for a term finds its own identity where its predecessor in
        // the same Pod has ended without a word.
        let never_asked = self.own.iter().all(Option::is_none);
        if never_asked && record.holder.as_ref() == Some(&self.identity) {
            self.own[0] = Some(Mark::of(record));
        }
        self.taken_until = if record.holder.is_none() || self.is_own(record) {
            BootTime::START
        } else {
            now.after(record.duration.unwrap_or(self.timing.duration))
        };
    }

    /// Takes in that a new term is about to be asked for: whether or not there is an answer, it
    /// is this process's own.
    pub fn asks_for_term(&mut self, record: &Record) {
        self.own = [self.own[0].take(), Some(Mark::of(record))];
    }

    /// Takes in the answer to a request that was sent at `begun` and that succeeded.
    pub fn won(&mut self, lease: Lease, begun: BootTime, now: BootTime) {
        // One that came too late renews nothing: the term has lapsed already.
        if self.hold.is_none_or(|hold| now < hold.until) {
            self.hold = Some(Hold {
                until: begun.after(self.timing.deadline),
                renew_at: begun.after(self.timing.retry),
            });
        }
        self.own = [Some(Mark::of(&lease.record)), None];
        self.taken_until = BootTime::START;
        self.not_before = BootTime::START;
        self.in_doubt = false;
        self.seen = Seen::Lease(lease);
    }

    /// Takes in that the Lease is not, or may not be, what was seen.
    pub const fn doubt(&mut self) {
        self.in_doubt = true;
    }

    /// Takes in that a request had no answer, or none that says anything.
    pub const fn fail(&mut self, now: BootTime) {
        self.in_doubt = true;
        self.not_before = now.after(self.timing.retry);
    }

    /// Whether a renewal could be asked for earlier than it is due.
    #[must_use]
    pub fn may_hasten(&self, now: BootTime) -> bool {
        self.hold.is_some_and(|hold| now < hold.renew_at)
    }

    /// Asks for a renewal as soon as possible.
    pub fn hasten(&mut self, now: BootTime) {
        if let Some(hold) = &mut self.hold {
            hold.renew_at = hold.renew_at.min(now);
        }
    }

    /// Ends the term.
    pub fn stand_down(&mut self) {
        self.hold = None;
    }

    /// Until when this process may write, as long as nothing else is heard; never, where it does
    /// not lead.
    #[must_use]
    pub fn may_write_until(&self) -> Option<BootTime> {
        self.hold.map(|hold| hold.until)
    }

    /// What a leader that stops writes, so that another one can take over at once; nothing, where
    /// it does not lead or does not know.
    #[must_use]
    pub fn resignation(&self, now: BootTime, clock: Timestamp) -> Option<Record> {
        let Seen::Lease(lease) = &self.seen else {
            return None;
        };
        let leads = self.hold.is_some_and(|hold| now < hold.until) && self.is_own(&lease.record);
        leads.then(|| Record {
            holder: None,
            renewed: Some(later(clock, lease.record.renewed)),
            ..lease.record.clone()
        })
    }

    fn is_own(&self, record: &Record) -> bool {
        let mark = Mark::of(record);
        self.own.iter().flatten().any(|own| *own == mark)
    }
}

/// A time as the API server keeps it.
fn whole(clock: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(clock.as_microsecond()).unwrap_or(clock)
}

/// The clock's time, or one just later than the time before where the clock was set back. So no
/// Lease ever says again what one before it said: whoever sees only some of them would take a
/// renewal for none.
fn later(clock: Timestamp, before: Option<Timestamp>) -> Timestamp {
    let next = before.and_then(|before| {
        let step = jiff::SignedDuration::from_micros(1);
        whole(before).checked_add(step).ok()
    });
    next.map_or(whole(clock), |next| next.max(whole(clock)))
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
