//! Which of several replicas acts. The task here carries out what [`crate::domain::lease`]
//! decides; what it wins is a [`Term`], by which everybody can tell whether this process may
//! write *now*.
//!
//! A process that loses the lead goes on as a standby. A restart would begin with listing
//! everything, just when the API server is in trouble, and would be no safer: what a term has
//! learnt is thrown away at its end, its looks are ended before the next one begins, and each
//! write asks the term under which it was decided, not the process.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clock::{boot_now, now};
use super::context::Context;
use crate::cluster::lease::{self, LeaseError, Leases, Shown};
use crate::domain::lease::{BootTime, Candidate, Lost, Record, Step, Timing};

/// How long it may take to say that this process stops leading.
const RESIGNATION: Duration = Duration::from_secs(1);
/// How often at most the log says again that the Lease cannot be read or written.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Says that nothing may be written: this process does not lead, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead")]
pub struct NotLeading;

/// How things stand with a term.
#[derive(Debug)]
struct Standing {
    /// Nothing is written from then on.
    until: BootTime,
    over: bool,
    /// Reasons to ask whether this process still leads, and how many of them were settled.
    doubts: u64,
    settled: u64,
}

/// A stretch of time in which this process leads. One that is over never becomes good again.
#[derive(Clone, Debug)]
pub struct Term(Arc<watch::Sender<Standing>>);

impl Term {
    fn begin(until: BootTime) -> Self {
        Self(Arc::new(watch::Sender::new(Standing {
            until,
            over: false,
            doubts: 0,
            settled: 0,
        })))
    }

    /// Whether this process may write now, by the boot-time clock and by what it last heard.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let standing = self.0.borrow();
        !standing.over && boot_now() < standing.until
    }

    /// Whether nothing may be written before the Lease was renewed once more.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        let standing = self.0.borrow();
        standing.settled < standing.doubts
    }

    /// Says that the API server refused a write because something had changed. Mostly a person
    /// was at work. It may be another leader, though, where even the boot-time clock stood still
    /// (a virtual machine that was frozen): so nothing more is written until the Lease was renewed.
    pub fn doubt(&self) {
        self.0.send_modify(|standing| standing.doubts += 1);
    }

    /// Waits until the term is over.
    pub async fn over(&self) {
        drop(self.0.subscribe().wait_for(|is| is.over).await);
    }

    /// Waits until there is no doubt about the term.
    ///
    /// # Errors
    /// The term is over.
    pub(super) async fn settled(&self) -> Result<(), NotLeading> {
        let mut standing = self.0.subscribe();
        drop(
            standing
                .wait_for(|is| is.over || is.settled >= is.doubts)
                .await,
        );
        if self.is_good() {
            Ok(())
        } else {
            Err(NotLeading)
        }
    }

    async fn doubted(&self) {
        let mut standing = self.0.subscribe();
        drop(standing.wait_for(|is| is.settled < is.doubts).await);
    }

    fn doubts(&self) -> u64 {
        self.0.borrow().doubts
    }

    /// Takes in a renewal that was sent after so many doubts.
    fn extend(&self, until: BootTime, doubts: u64) {
        self.0.send_modify(|standing| {
            standing.until = until;
            standing.settled = doubts;
        });
    }

    fn end(&self) {
        self.0.send_modify(|standing| standing.over = true);
    }
}

/// Who leads, as this process knows it.
#[derive(Debug)]
pub struct Leadership {
    /// The term that the Lease gives this process.
    won: watch::Sender<Option<Term>>,
    /// The same, once nothing is left of the one before.
    acting: watch::Sender<Option<Term>>,
}

impl Default for Leadership {
    fn default() -> Self {
        Self {
            won: watch::Sender::new(None),
            acting: watch::Sender::new(None),
        }
    }
}

impl Leadership {
    /// Waits until this process has won a term.
    pub(super) async fn won(&self) -> Term {
        good_term(&self.won).await
    }

    /// Lets everybody act in a term.
    pub(super) fn act(&self, term: &Term) {
        self.acting.send_replace(Some(term.clone()));
    }

    /// Lets nobody act any more.
    pub(super) fn rest(&self) {
        self.acting.send_replace(None);
    }

    /// Waits until there is a term to act in.
    pub(super) async fn acting(&self) -> Term {
        good_term(&self.acting).await
    }

    /// Whether this process acts.
    #[must_use]
    pub fn is_acting(&self) -> bool {
        self.acting.borrow().is_some()
    }
}

async fn good_term(sender: &watch::Sender<Option<Term>>) -> Term {
    let mut terms = sender.subscribe();
    let good = |term: &Option<Term>| term.as_ref().is_some_and(Term::is_good);
    let term = terms
        .wait_for(good)
        .await
        .ok()
        .and_then(|term| term.clone());
    match term {
        Some(term) => term,
        // The sender is gone with everything else.
        None => pending().await,
    }
}

#[cfg(test)]
impl Leadership {
    /// Lets a test lead, for an hour.
    pub(super) fn win(&self) -> Term {
        let term = Term::begin(boot_now().after(Duration::from_secs(3600)));
        self.won.send_replace(Some(term.clone()));
        term
    }

    /// Ends that.
    pub(super) fn lose(&self) {
        if let Some(term) = self.won.send_replace(None) {
            term.end();
        }
    }
}

/// Leads or stands by, until told to resign.
pub(super) async fn run(context: Arc<Context>, resign: CancellationToken) {
    let settings = &context.settings;
    let timing = Timing::of(settings.lease_duration);
    let mut shown = pin!(lease::watch(&context.client, &settings.namespace));
    let mut task = Task {
        candidate: Candidate::new(settings.identity.clone(), timing),
        leases: Leases::new(context.client.clone(), &settings.namespace),
        leadership: &context.leadership,
        timing,
        object: None,
        term: None,
        leader: None,
        said: None,
    };
    loop {
        let until = match task.candidate.decide(boot_now(), now(), context.is_ready()) {
            Step::Wait(until) => until,
            step => {
                if resign.is_cancelled() {
                    break;
                }
                task.carry_out(step).await;
                continue;
            }
        };
        tokio::select! {
            () = resign.cancelled() => break,
            () = sleep_until(until) => {}
            () = context.until_ready(), if !context.is_ready() => {}
            () = task.doubted(), if task.candidate.may_hasten(boot_now()) => {
                task.candidate.hasten(boot_now());
            }
            Some(shown) = shown.next() => task.take_in(shown),
        }
    }
    task.resign().await;
}

async fn sleep_until(at: Option<BootTime>) {
    match at {
        Some(at) => tokio::time::sleep(boot_now().until(at)).await,
        None => pending().await,
    }
}

struct Task<'a> {
    candidate: Candidate,
    leases: Leases,
    leadership: &'a Leadership,
    timing: Timing,
    /// The Lease that is replaced: what the candidate has seen last.
    object: Option<Shown>,
    term: Option<Term>,
    /// Who led when the log last said so.
    leader: Option<String>,
    /// What the log last said of a failure, and when.
    said: Option<(String, BootTime)>,
}

impl Task<'_> {
    async fn carry_out(&mut self, step: Step) {
        let begun = boot_now();
        // A renewal that hangs leaves time for another one. Who does not lead has nothing to lose
        // by waiting for a slow API server.
        let within = match self.candidate.may_write_until() {
            Some(until) => (self.timing.deadline / 2).min(begun.until(until)),
            None => self.timing.duration,
        };
        match step {
            Step::Wait(_) => {}
            Step::StandDown(lost) => self.stand_down(&lost),
            Step::Look => match self.leases.read(within).await {
                Ok(shown) => {
                    self.said = None;
                    let lease = shown.as_ref().map(Shown::lease);
                    self.candidate.look(lease, boot_now());
                    self.object = shown;
                    self.tell_leader();
                }
                Err(error) => self.fail(&error),
            },
            Step::Create(record) => {
                self.candidate.asks_for_term(&record);
                let answer = self.leases.create(&record, within).await;
                self.take_answer(answer, begun, None);
            }
            Step::Take(record) => {
                self.candidate.asks_for_term(&record);
                let answer = self.replace(&record, within).await;
                self.take_answer(answer, begun, None);
            }
            Step::Renew(record) => {
                let doubts = self.term.as_ref().map(Term::doubts);
                let answer = self.replace(&record, within).await;
                self.take_answer(answer, begun, doubts);
            }
        }
    }

    async fn replace(&self, record: &Record, within: Duration) -> Result<Shown, LeaseError> {
        match &self.object {
            Some(seen) => self.leases.replace(seen, record, within).await,
            None => Err(LeaseError::Outdated),
        }
    }

    /// Takes in the answer to a request for a new term, or for a renewal that was sent after so
    /// many doubts.
    fn take_answer(
        &mut self,
        answer: Result<Shown, LeaseError>,
        begun: BootTime,
        renewal: Option<u64>,
    ) {
        match answer {
            Ok(shown) => {
                self.said = None;
                self.candidate.won(shown.lease(), begun, boot_now());
                self.object = Some(shown);
                let Some(until) = self.candidate.may_write_until() else {
                    return;
                };
                match (&self.term, renewal) {
                    (Some(term), Some(doubts)) => term.extend(until, doubts),
                    _ => self.begin(until),
                }
            }
            Err(LeaseError::Outdated) => self.candidate.doubt(),
            Err(error) => self.fail(&error),
        }
    }

    fn begin(&mut self, until: BootTime) {
        tracing::info!("this replica leads");
        self.leader = None;
        let term = Term::begin(until);
        self.term = Some(term.clone());
        self.leadership.won.send_replace(Some(term));
    }

    fn stand_down(&mut self, lost: &Lost) {
        let why = match lost {
            Lost::Lapsed => "its lease could not be renewed in time",
            Lost::Taken(Some(_)) => "another replica took over",
            Lost::Taken(None) => "somebody emptied its lease",
            Lost::Deleted => "somebody deleted its lease",
        };
        tracing::warn!(why, "this replica does not lead any more; it stands by");
        self.candidate.stand_down();
        self.end();
        self.tell_leader();
    }

    fn end(&mut self) {
        if let Some(term) = self.term.take() {
            term.end();
        }
        self.leadership.won.send_replace(None);
    }

    /// Takes in what the watch shows.
    fn take_in(&mut self, shown: Option<Shown>) {
        let Some(shown) = shown else {
            // Of before this process wrote it, maybe.
            self.candidate.doubt();
            return;
        };
        if self.candidate.observe(shown.lease(), boot_now()) {
            self.object = Some(shown);
            self.tell_leader();
        }
    }

    fn tell_leader(&mut self) {
        let leader = self
            .object
            .as_ref()
            .and_then(|shown| shown.lease().record.holder);
        if self.term.is_none() && leader.is_some() && leader != self.leader {
            tracing::info!(leader, "this replica stands by");
            self.leader = leader;
        }
    }

    fn fail(&mut self, error: &LeaseError) {
        let now = boot_now();
        self.candidate.fail(now);
        let words = error.to_string();
        let is_news = self
            .said
            .as_ref()
            .is_none_or(|(said, at)| *said != words || at.until(now) >= SAY_AGAIN);
        if !is_news {
            return;
        }
        match error.remedy() {
            Some(remedy) => tracing::error!(%error, remedy, "the Lease is not to be had"),
            None => tracing::warn!(%error, "the Lease is not to be had; it is tried again"),
        }
        self.said = Some((words, now));
    }

    async fn doubted(&self) {
        match &self.term {
            Some(term) => term.doubted().await,
            None => pending().await,
        }
    }

    /// Lets another replica take over at once. Nothing is written any more when this is called.
    async fn resign(&mut self) {
        let last = self.candidate.resignation(boot_now(), now());
        self.candidate.stand_down();
        self.end();
        let Some(last) = last else {
            return;
        };
        match self.replace(&last, RESIGNATION).await {
            Ok(_) => tracing::info!("this replica has stepped down"),
            Err(error) => tracing::warn!(
                %error,
                "others wait for the lease to end: they could not be told"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon(milliseconds: u64) -> BootTime {
        boot_now().after(Duration::from_millis(milliseconds))
    }

    #[tokio::test]
    async fn a_term_is_good_until_its_deadline_whether_or_not_anybody_has_noticed() {
        let term = Term::begin(soon(60));
        assert!(term.is_good());
        assert_eq!(term.settled().await, Ok(()));
        tokio::time::sleep(Duration::from_millis(61)).await;
        assert!(!term.is_good());
        assert_eq!(term.settled().await, Err(NotLeading));
        term.extend(soon(60_000), 0);
        assert!(term.is_good());
        term.end();
        assert!(!term.is_good());
        term.extend(soon(60_000), 0);
        assert!(!term.is_good(), "one that is over is over");
        term.over().await;
    }

    #[tokio::test]
    async fn after_a_conflict_nothing_is_written_until_a_renewal_that_was_sent_later() {
        let term = Term::begin(soon(60_000));
        let sent_after = term.doubts();
        term.doubt();
        term.extend(soon(60_000), sent_after);
        let early = tokio::time::timeout(Duration::from_millis(20), term.settled()).await;
        assert!(early.is_err() && term.is_in_doubt());
        let sent_after = term.doubts();
        term.extend(soon(60_000), sent_after);
        assert_eq!(term.settled().await, Ok(()));
        // And where the renewal fails, nothing at all.
        term.doubt();
        let waits = {
            let term = term.clone();
            tokio::spawn(async move { term.settled().await })
        };
        term.end();
        assert_eq!(waits.await.unwrap(), Err(NotLeading));
    }
}
