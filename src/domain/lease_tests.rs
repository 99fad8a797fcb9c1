use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> BootTime {
    BootTime::since_boot(Duration::from_secs_f64(1_000.0 + seconds))
}

fn clock(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn timing() -> Timing {
    Timing::of(15 * SECOND)
}

fn record(holder: Option<&str>, acquired: i64, renewed: i64) -> Record {
    Record {
        holder: holder.map(str::to_owned),
        acquired: Some(clock(acquired)),
        renewed: Some(clock(renewed)),
        duration: Some(15 * SECOND),
        transitions: 3,
    }
}

fn lease(version: u32, record: Record) -> Lease {
    Lease {
        version: version.to_string(),
        record,
    }
}

fn standby(shown: Option<Lease>) -> Candidate {
    let mut me = Candidate::new("me".to_owned(), timing());
    me.look(shown, at(0.0));
    me
}

/// Has led since 0 s, by a Lease of version 10.
fn leader() -> Candidate {
    let mut me = standby(None);
    let Step::Create(record) = me.decide(at(0.0), clock(0), true) else {
        panic!("it creates");
    };
    me.asks_for_term(&record);
    me.won(lease(10, record), at(0.0), at(0.1));
    me
}

/// What is decided, without what is written.
fn word(step: &Step) -> String {
    match step {
        Step::Look => "look".to_owned(),
        Step::Create(_) => "create".to_owned(),
        Step::Take(_) => "take".to_owned(),
        Step::Renew(_) => "renew".to_owned(),
        Step::Wait(None) => "wait".to_owned(),
        Step::Wait(Some(until)) => format!("wait {}", at(0.0).until(*until).as_secs_f64()),
        Step::StandDown(Lost::Lapsed) => "lapsed".to_owned(),
        Step::StandDown(Lost::Deleted) => "deleted".to_owned(),
        Step::StandDown(Lost::Taken(by)) => format!("taken by {by:?}"),
    }
}

#[test]
fn the_times_are_those_of_kubernetes_own_components() {
    let Timing {
        duration,
        deadline,
        retry,
    } = timing();
    assert_eq!(
        (duration, deadline, retry),
        (15 * SECOND, 10 * SECOND, 2 * SECOND)
    );
}

#[test]
fn what_a_standby_does_is_a_matter_of_what_it_saw_and_when_it_saw_it() {
    let other = || lease(7, record(Some("other"), 0, 0));
    for (what, shown, now, expected) in [
        ("no Lease", None, 0.0, "create"),
        (
            "stepped down",
            Some(lease(7, record(None, 0, 0))),
            0.0,
            "take",
        ),
        ("just seen", Some(other()), 0.0, "wait 15"),
        ("seen for a while", Some(other()), 14.9, "wait 15"),
        ("seen for its duration", Some(other()), 15.0, "take"),
        (
            "of the process before in this Pod",
            Some(lease(7, record(Some("me"), 0, 0))),
            0.0,
            "take",
        ),
        (
            "another duration",
            Some(lease(
                7,
                Record {
                    duration: Some(40 * SECOND),
                    ..record(Some("other"), 0, 0)
                },
            )),
            15.0,
            "wait 40",
        ),
        (
            "no duration",
            Some(lease(
                7,
                Record {
                    duration: None,
                    ..record(Some("other"), 0, 0)
                },
            )),
            1.0,
            "wait 15",
        ),
    ] {
        let me = standby(shown);
        assert_eq!(
            word(&me.decide(at(now), clock(0), true)),
            expected,
            "{what}"
        );
        if expected == "take" || expected == "create" {
            let unready = me.decide(at(now), clock(0), false);
            assert_eq!(word(&unready), "wait", "{what}, but not ready");
        }
    }
    let blind = Candidate::new("me".to_owned(), timing());
    assert_eq!(word(&blind.decide(at(0.0), clock(0), true)), "look");
}

#[test]
fn a_renewal_that_is_seen_begins_the_wait_anew_and_a_label_does_not() {
    let mut me = standby(Some(lease(7, record(Some("other"), 0, 0))));
    me.observe(lease(8, record(Some("other"), 0, 0)), at(9.0));
    assert_eq!(word(&me.decide(at(10.0), clock(0), true)), "wait 15");
    me.observe(lease(9, record(Some("other"), 0, 2)), at(10.0));
    assert_eq!(word(&me.decide(at(15.0), clock(0), true)), "wait 25");
    // A watch that is behind.
    me.observe(lease(8, record(None, 0, 0)), at(11.0));
    assert_eq!(word(&me.decide(at(15.0), clock(0), true)), "wait 25");
    me.observe(lease(12, record(None, 0, 4)), at(12.0));
    assert_eq!(word(&me.decide(at(12.0), clock(0), true)), "take");
}

#[test]
fn a_lease_that_is_read_again_and_says_the_same_begins_no_wait() {
    let mut me = standby(Some(lease(7, record(Some("other"), 0, 0))));
    me.fail(at(8.0));
    assert_eq!(word(&me.decide(at(9.0), clock(0), true)), "wait 10");
    assert_eq!(word(&me.decide(at(10.0), clock(0), true)), "look");
    me.look(Some(lease(7, record(Some("other"), 0, 0))), at(12.0));
    assert_eq!(word(&me.decide(at(12.0), clock(0), true)), "wait 15");
}

#[test]
fn whoever_had_a_lease_that_was_deleted_is_waited_for_and_makes_it_anew_itself() {
    let mut me = standby(Some(lease(7, record(Some("other"), 0, 0))));
    me.look(None, at(3.0));
    assert_eq!(word(&me.decide(at(3.0), clock(0), true)), "wait 15");
    assert_eq!(word(&me.decide(at(15.0), clock(0), true)), "create");
    let mut me = leader();
    me.doubt();
    assert_eq!(word(&me.decide(at(1.0), clock(0), true)), "look");
    me.look(None, at(1.0));
    assert_eq!(word(&me.decide(at(1.0), clock(0), true)), "deleted");
    me.stand_down();
    assert_eq!(word(&me.decide(at(1.0), clock(0), true)), "create");
}

#[test]
fn a_leader_renews_and_gives_up_before_anybody_else_takes_over() {
    let me = leader();
    for (now, expected) in [
        (1.0, "wait 2"),
        (2.0, "renew"),
        (9.9, "renew"),
        (10.0, "lapsed"),
        (60.0, "lapsed"),
    ] {
        assert_eq!(word(&me.decide(at(now), clock(0), true)), expected, "{now}");
    }
    assert_eq!(me.may_write_until(), Some(at(10.0)));
    let mut me = me;
    let Step::Renew(renewal) = me.decide(at(2.0), clock(2), true) else {
        panic!("it renews");
    };
    assert_eq!(renewal.acquired, Some(clock(0)));
    // It counts from when it was sent, not from when it was answered.
    me.won(lease(11, renewal), at(2.0), at(4.0));
    assert_eq!(me.may_write_until(), Some(at(12.0)));
    // Its echo, and one of before.
    me.observe(lease(11, record(Some("me"), 0, 2)), at(5.0));
    me.observe(lease(10, record(Some("me"), 0, 0)), at(5.0));
    assert_eq!(word(&me.decide(at(3.0), clock(0), true)), "wait 4");
    // A write met with a conflict: is it still the leader?
    assert!(me.may_hasten(at(3.0)));
    me.hasten(at(3.0));
    assert!(!me.may_hasten(at(3.0)));
    assert_eq!(word(&me.decide(at(3.0), clock(0), true)), "renew");
}

#[test]
fn a_renewal_that_fails_is_sent_again_until_the_deadline() {
    let mut me = leader();
    me.fail(at(7.0));
    assert_eq!(word(&me.decide(at(7.0), clock(0), true)), "wait 9");
    assert_eq!(word(&me.decide(at(9.0), clock(0), true)), "look");
    me.fail(at(9.5));
    assert_eq!(word(&me.decide(at(9.5), clock(0), true)), "wait 10");
    assert_eq!(word(&me.decide(at(10.0), clock(0), true)), "lapsed");
    // It was carried out all the same: the Lease is this process's own, and nobody led meanwhile.
    me.stand_down();
    assert_eq!(word(&me.decide(at(11.5), clock(0), true)), "look");
    me.look(
        Some(lease(
            11,
            Record {
                transitions: 0,
                ..record(Some("me"), 0, 7)
            },
        )),
        at(11.5),
    );
    let Step::Take(term) = me.decide(at(11.5), clock(11), true) else {
        panic!("it takes");
    };
    assert_eq!((term.acquired, term.transitions), (Some(clock(11)), 0));
}

#[test]
fn an_answer_that_comes_after_the_deadline_makes_no_lapsed_term_good_again() {
    let mut me = leader();
    let Step::Renew(renewal) = me.decide(at(9.0), clock(9), true) else {
        panic!("it renews");
    };
    me.won(lease(11, renewal), at(9.0), at(30.0));
    assert_eq!(word(&me.decide(at(30.0), clock(30), true)), "lapsed");
}

#[test]
fn a_leader_that_was_stopped_while_another_led_stands_by() {
    let mut me = leader();
    assert_eq!(word(&me.decide(at(40.0), clock(0), true)), "lapsed");
    me.stand_down();
    assert_eq!(me.may_write_until(), None);
    // By what it saw before it was stopped, the Lease is its own. The API server knows better.
    assert_eq!(word(&me.decide(at(40.0), clock(0), true)), "take");
    me.doubt();
    assert_eq!(word(&me.decide(at(40.1), clock(0), true)), "look");
    me.look(Some(lease(44, record(Some("other"), 16, 39))), at(40.2));
    assert_eq!(word(&me.decide(at(41.0), clock(0), true)), "wait 55.2");
}

#[test]
fn a_leader_stands_down_at_once_where_the_lease_names_another_or_nobody() {
    for (holder, expected) in [
        (Some("other"), "taken by Some(\"other\")"),
        (None, "taken by None"),
    ] {
        let mut me = leader();
        me.observe(lease(11, record(holder, 1, 1)), at(1.0));
        assert_eq!(word(&me.decide(at(1.0), clock(0), true)), expected);
    }
}

#[test]
fn of_two_processes_with_one_identity_the_younger_leads_and_the_elder_waits() {
    let mut elder = leader();
    let Seen::Lease(shown) = elder.seen.clone() else {
        panic!("a Lease");
    };
    let mut younger = Candidate::new("me".to_owned(), timing());
    younger.look(Some(shown), at(1.0));
    // By a clock that stands still, as it may.
    let Step::Take(term) = younger.decide(at(1.0), clock(0), true) else {
        panic!("it takes");
    };
    younger.asks_for_term(&term);
    let taken = lease(11, term);
    younger.won(taken.clone(), at(1.0), at(1.1));
    elder.observe(taken, at(1.2));
    let step = elder.decide(at(1.2), clock(1), true);
    assert_eq!(word(&step), "taken by Some(\"me\")");
    elder.stand_down();
    assert_eq!(word(&elder.decide(at(1.2), clock(1), true)), "wait 16.2");
}

#[test]
fn a_term_whose_beginning_was_not_answered_is_known_again() {
    let mut me = leader();
    me.stand_down();
    me.look(Some(lease(11, record(None, 0, 1))), at(11.0));
    let Step::Take(term) = me.decide(at(11.0), clock(11), true) else {
        panic!("it takes");
    };
    me.asks_for_term(&term);
    me.fail(at(12.0));
    me.look(Some(lease(12, term)), at(14.0));
    assert_eq!(word(&me.decide(at(14.0), clock(14), true)), "take");
}

#[test]
fn a_clock_that_was_set_changes_nothing_but_what_people_read() {
    for stepped in [-1_000_000, -1, 0, 1, 1_000_000] {
        let mut me = standby(Some(lease(7, record(Some("other"), 0, 0))));
        assert_eq!(word(&me.decide(at(5.0), clock(stepped), true)), "wait 15");
        me.observe(lease(8, record(Some("other"), 0, stepped * 2)), at(6.0));
        let due = if stepped == 0 { 15.0 } else { 21.0 };
        assert_eq!(
            word(&me.decide(at(7.0), clock(stepped), true)),
            format!("wait {due}")
        );
        let me = leader();
        assert_eq!(word(&me.decide(at(1.0), clock(stepped), true)), "wait 2");
        // Each renewal differs from the one before, or it would be none.
        let Step::Renew(renewal) = me.decide(at(2.0), clock(stepped), true) else {
            panic!("it renews");
        };
        assert_ne!(renewal.renewed, Some(clock(0)));
    }
}

/// Who saw the first of three and not the second must not take the third for it.
#[test]
fn no_renewal_says_what_an_earlier_one_said_wherever_the_clock_goes() {
    let mut said = vec![record(Some("me"), 0, 0)];
    for shown in [5, 0, -5, 0, 5, 5, 9] {
        let me = standby(said.last().map(|last| lease(7, last.clone())));
        let Step::Take(taken) = me.decide(at(0.0), clock(shown), true) else {
            panic!("it takes");
        };
        assert!(!said.contains(&taken), "{taken:?}");
        said.push(taken);
    }
}

#[test]
fn a_leader_that_stops_says_so_and_nobody_else_does() {
    let me = leader();
    let last = me.resignation(at(1.0), clock(1)).unwrap();
    assert_eq!((last.holder, last.acquired), (None, Some(clock(0))));
    assert_eq!(me.resignation(at(10.0), clock(10)), None);
    let other = standby(Some(lease(7, record(Some("other"), 0, 0))));
    assert_eq!(other.resignation(at(1.0), clock(1)), None);
}

/// One contender and what is under way for it.
struct Contender {
    candidate: Candidate,
    /// Its boot-time clock is ahead of the others' by this.
    boot: Duration,
    /// A request that was sent: when, over which version, and what it asks for.
    sent: Option<(BootTime, Option<String>, Record)>,
    /// The answer that is on its way to it.
    answer: Option<Result<Lease, ()>>,
}

impl Contender {
    fn now(&self, true_time: Duration) -> BootTime {
        BootTime::since_boot(self.boot + true_time)
    }

    fn may_write(&self, true_time: Duration) -> bool {
        let until = self.candidate.may_write_until();
        until.is_some_and(|until| self.now(true_time) < until)
    }

    /// One turn of the task that carries steps out.
    fn turn(&mut self, lease: Option<&Lease>, true_time: Duration, clock: Timestamp) {
        let now = self.now(true_time);
        if let Some(answer) = self.answer.take() {
            let (begun, _, _) = self.sent.take().expect("what was asked");
            match answer {
                Ok(lease) => self.candidate.won(lease, begun, now),
                Err(()) => self.candidate.doubt(),
            }
        }
        if self.sent.is_some() {
            return;
        }
        match self.candidate.decide(now, clock, true) {
            Step::Look => self.candidate.look(lease.cloned(), now),
            Step::Create(record) => {
                self.candidate.asks_for_term(&record);
                self.sent = Some((now, None, record));
            }
            Step::Take(record) => {
                self.candidate.asks_for_term(&record);
                self.send(now, record);
            }
            Step::Renew(record) => self.send(now, record),
            Step::Wait(_) => {}
            Step::StandDown(_) => self.candidate.stand_down(),
        }
    }

    fn send(&mut self, now: BootTime, record: Record) {
        let Seen::Lease(seen) = &self.candidate.seen else {
            panic!("nothing is replaced that was not seen");
        };
        self.sent = Some((now, Some(seen.version.clone()), record));
    }
}

/// What happens in the simulated world.
#[derive(Clone, Debug)]
enum Happens {
    /// So much time passes, in tenths of a second.
    Time(u16),
    /// A contender has a turn, by a clock that shows anything.
    Turn(usize, i32),
    /// A contender's request reaches the API server.
    Arrives(usize),
    /// A contender gives up waiting for an answer.
    GivesUp(usize),
    /// A contender's watch shows the Lease.
    Shows(usize),
    /// Somebody puts a label on the Lease.
    Label,
    /// A contender steps down.
    Resigns(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    let who = 0..3_usize;
    prop_oneof![
        3 => (1..40_u16).prop_map(Happens::Time),
        1 => (40..400_u16).prop_map(Happens::Time),
        8 => (who.clone(), -5..5_i32).prop_map(|(who, clock)| Happens::Turn(who, clock)),
        6 => who.clone().prop_map(Happens::Arrives),
        1 => who.clone().prop_map(Happens::GivesUp),
        3 => who.clone().prop_map(Happens::Shows),
        1 => Just(Happens::Label),
        1 => who.prop_map(Happens::Resigns),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is slow, stopped, lost or set: never two that may write.
    #[test]
    fn never_do_two_processes_lead_at_once(story in prop::collection::vec(happens(), 1..400)) {
        let mut contenders: Vec<Contender> = (0..3_u32).map(|number| Contender {
            candidate: Candidate::new(format!("contender {number}"), timing()),
            boot: 1_000 * SECOND * number,
            sent: None,
            answer: None,
        }).collect();
        let (mut time, mut version, mut lease) = (SECOND, 1_u32, None::<Lease>);
        for event in story {
            match event {
                Happens::Time(tenths) => time += Duration::from_millis(100) * u32::from(tenths),
                Happens::Turn(who, stepped) => {
                    let shown = clock(i64::from(stepped));
                    contenders[who].turn(lease.as_ref(), time, shown);
                }
                Happens::Arrives(who) => {
                    let contender = &mut contenders[who];
                    if contender.answer.is_none() && let Some((_, over, record)) = &contender.sent {
                        let current = lease.as_ref().map(|lease| lease.version.clone());
                        contender.answer = Some(if *over == current {
                            version += 1;
                            let new = Lease { version: version.to_string(), record: record.clone() };
                            lease = Some(new.clone());
                            Ok(new)
                        } else {
                            Err(())
                        });
                    }
                }
                Happens::GivesUp(who) => {
                    let now = contenders[who].now(time);
                    let contender = &mut contenders[who];
                    if contender.sent.take().is_some() {
                        contender.answer = None;
                        contender.candidate.fail(now);
                    }
                }
                Happens::Shows(who) => {
                    let now = contenders[who].now(time);
                    if let Some(lease) = lease.clone() {
                        contenders[who].candidate.observe(lease, now);
                    }
                }
                Happens::Label => {
                    if let Some(lease) = &mut lease {
                        version += 1;
                        lease.version = version.to_string();
                    }
                }
                Happens::Resigns(who) => {
                    let contender = &mut contenders[who];
                    let now = contender.now(time);
                    if contender.sent.is_none()
                        && let Some(last) = contender.candidate.resignation(now, clock(0))
                        && let Seen::Lease(seen) = &contender.candidate.seen
                        && lease.as_ref().is_some_and(|lease| lease.version == seen.version)
                    {
                        // It writes nothing from here on, before it says so.
                        contender.candidate.stand_down();
                        version += 1;
                        lease = Some(Lease { version: version.to_string(), record: last });
                    }
                }
            }
            let leaders = contenders.iter().filter(|one| one.may_write(time)).count();
            prop_assert!(leaders <= 1, "{} lead at once", leaders);
        }
    }

    /// And somebody does lead, once nothing stands in the way.
    #[test]
    fn somebody_leads_within_the_duration_once_nothing_stands_in_the_way(
        holder in prop::option::of("other|me"),
        renewals in 0..4_u32,
    ) {
        let mut me = standby(Some(lease(1, record(holder.as_deref(), 0, 0))));
        let mut last = 0.0;
        for renewal in 0..renewals {
            last += 3.0;
            let renewed = record(holder.as_deref(), 0, i64::from(renewal) + 1);
            me.observe(lease(renewal + 2, renewed), at(last));
        }
        let step = me.decide(at(last + 15.0), clock(0), true);
        prop_assert_eq!(word(&step), "take");
    }
}
