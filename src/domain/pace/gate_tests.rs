//! Cases of [`super::Gate`].

use std::time::Duration;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn errand(namespace: &str, key: &str) -> Errand {
    Errand {
        scope: Scope {
            operation: Operation::GetKey,
            ring: Some("payments".to_owned()),
            namespace: namespace.to_owned(),
        },
        key: key.to_owned(),
        read_before: false,
        forced_at: None,
    }
}

fn failure(kind: FailureKind, status: Option<u16>) -> FetchFailure {
    FetchFailure {
        status,
        ..FetchFailure::new(Operation::GetKey, kind, "…")
    }
}

/// What `count` objects cost that ask at a second: how many requests are sent, all of which end
/// in `failure`.
fn cost(gate: &mut Gate, count: usize, second: i64, failure: &FetchFailure) -> usize {
    let mut sent = 0;
    for n in 0..count {
        let errand = errand("a", &n.to_string());
        if gate.admit(&errand, at(second)) == Admission::Go {
            sent += 1;
            gate.settle(&errand, Err(failure), at(second));
        }
    }
    sent
}

#[test]
fn many_objects_behind_a_dead_endpoint_or_a_refusal_cost_one_probe_a_step() {
    let unreachable = failure(FailureKind::Unreachable, None);
    let gateway = failure(FailureKind::ServiceError, Some(502));
    let refused = failure(FailureKind::Denied, Some(401));
    for (failure, probes) in [
        (&unreachable, &[2, 7, 17, 47][..]),
        (&gateway, &[2, 7, 17, 47]),
        (&refused, &[60, 180, 480]),
    ] {
        let mut gate = Gate::default();
        assert_eq!(cost(&mut gate, 5_000, 0, failure), 3, "{failure}");
        let mut sent = Vec::new();
        for second in 1..=480 {
            if probes.last().is_some_and(|last| second > *last) {
                break;
            }
            match cost(&mut gate, 5_000, second, failure) {
                0 => {}
                1 => sent.push(second),
                more => panic!("{more} requests at {second}"),
            }
        }
        assert_eq!(sent, probes, "{failure}");
    }
}

#[test]
fn a_payload_that_was_refused_is_asked_for_once_in_ten_seconds_however_often_somebody_edits() {
    let mut gate = Gate::default();
    let refused = failure(FailureKind::Denied, Some(401));
    let mut sent = Vec::new();
    for second in 0..25 {
        let errand = errand("a", "1");
        match gate.admit(&errand, at(second)) {
            Admission::Go => {
                sent.push(second);
                gate.settle(&errand, Err(&refused), at(second));
            }
            Admission::Refuse(failure) => assert_eq!(failure.kind, FailureKind::Denied),
            Admission::Wait(_) => panic!("{second}"),
        }
    }
    assert_eq!(sent, [0, 10, 20]);
    // Other keys, and that key for others or by hand, are other matters; and so is its metadata, which
    // is not to tell by its time whether a key is refused or missing.
    let mut metadata = errand("a", "1");
    metadata.scope.operation = Operation::GetKeyMetadata;
    let by_hand = Errand {
        forced_at: Some(at(21)),
        ..errand("a", "1")
    };
    for other in [
        errand("a", "2"),
        errand("b", "1"),
        by_hand,
        metadata.clone(),
    ] {
        assert_eq!(gate.admit(&other, at(24)), Admission::Go, "{other:?}");
    }
    // One by hand is one, whoever else has it too.
    let earlier = Errand {
        forced_at: Some(at(20)),
        ..errand("a", "1")
    };
    let answer = gate.admit(&earlier, at(24));
    assert!(matches!(answer, Admission::Refuse(_)), "{answer:?}");
    gate.settle(&metadata, Err(&refused), at(24));
    assert_eq!(gate.admit(&metadata, at(24)), Admission::Go);
    // A clock that is set back does not make it wait for longer, and a success ends it.
    assert_eq!(gate.admit(&errand("a", "1"), at(-100)), Admission::Go);
    gate.settle(&errand("a", "1"), Ok(()), at(25));
    assert_eq!(gate.admit(&errand("a", "1"), at(25)), Admission::Go);
}

#[test]
fn what_fails_for_one_key_alone_holds_nobody_up() {
    for failure in [
        failure(FailureKind::ServiceError, Some(500)),
        failure(FailureKind::KeyNotFound, Some(404)),
        failure(FailureKind::Invalid, Some(400)),
    ] {
        let mut gate = Gate::default();
        assert_eq!(cost(&mut gate, 500, 0, &failure), 500, "{failure}");
    }
}

#[test]
fn a_namespace_that_names_keys_it_is_refused_holds_up_no_other_and_no_other_ring() {
    let refused = failure(FailureKind::Denied, Some(401));
    let mut gate = Gate::default();
    cost(&mut gate, 100, 0, &refused);
    assert!(matches!(
        gate.admit(&errand("a", "x"), at(1)),
        Admission::Refuse(_)
    ));
    assert_eq!(gate.admit(&errand("b", "x"), at(1)), Admission::Go);
    let mut other = errand("a", "x");
    other.scope.ring = Some("orders".to_owned());
    assert_eq!(gate.admit(&other, at(1)), Admission::Go);
    other.scope = errand("a", "x").scope;
    other.scope.operation = Operation::GetKeyMetadata;
    assert_eq!(gate.admit(&other, at(1)), Admission::Go);
    assert_eq!(gate.opened().refusals, 1);
}

#[test]
fn two_refusals_of_keys_read_before_speak_for_the_whole_instance() {
    let refused = failure(FailureKind::Denied, Some(401));
    let mut gate = Gate::default();
    for (namespace, key, open) in [("a", "1", false), ("a", "1", false), ("b", "2", true)] {
        let mut errand = errand(namespace, key);
        errand.read_before = true;
        gate.settle(&errand, Err(&refused), at(0));
        assert_eq!(gate.opened().withdrawal, open, "{namespace} {key}");
    }
    let new = errand("c", "3");
    let Admission::Refuse(answer) = gate.admit(&new, at(59)) else {
        panic!("sent");
    };
    assert_eq!(answer.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(gate.admit(&new, at(60)), Admission::Go);
    // Somebody's new key is refused as well: that says nothing about the others.
    gate.settle(&new, Err(&refused), at(60));
    assert_eq!(gate.admit(&errand("c", "4"), at(60)), Admission::Go);
    assert!(gate.settle(&errand("c", "4"), Ok(()), at(60)), "closed");
    assert_eq!(gate.opened(), Opened::default());
}

#[test]
fn a_pause_that_the_service_asks_for_is_the_whole_instances() {
    let mut gate = Gate::default();
    let throttled = FetchFailure {
        retry_after: Some(Duration::from_secs(8)),
        ..failure(FailureKind::Throttled, Some(429))
    };
    gate.settle(&errand("a", "1"), Err(&throttled), at(0));
    let Admission::Wait(until) = gate.admit(&errand("b", "2"), at(1)) else {
        panic!("not waiting");
    };
    assert!((at(8)..at(9)).contains(&until), "{until}");
    assert_eq!(gate.size(), 4);
    // A long pause is said, not waited for.
    let long = FetchFailure {
        retry_after: Some(Duration::from_secs(120)),
        ..throttled
    };
    gate.settle(&errand("a", "1"), Err(&long), at(10));
    let Admission::Refuse(answer) = gate.admit(&errand("b", "2"), at(30)) else {
        panic!("not refused");
    };
    assert_eq!(answer.kind, FailureKind::Throttled);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(100)));
    assert_eq!(gate.admit(&errand("b", "2"), at(130)), Admission::Go);
}

#[test]
fn a_service_that_comes_back_is_met_with_few_requests_and_those_refused_are_told() {
    let unreachable = failure(FailureKind::Unreachable, None);
    let mut gate = Gate::default();
    cost(&mut gate, 3, 0, &unreachable);
    assert!(gate.opened().outage);
    assert_eq!(gate.admit(&errand("a", "1"), at(2)), Admission::Go);
    assert!(gate.settle(&errand("a", "1"), Ok(()), at(2)));
    assert_eq!(gate.size(), 8);
    // A listing is a probe too, both ways.
    gate.settle_listing(Err(&unreachable), at(3));
    assert!(gate.opened().outage);
    assert!(gate.settle_listing(Ok(()), at(3)));
    assert!(!gate.opened().outage);
}

#[test]
fn a_listing_that_succeeds_again_ends_a_withdrawal_of_metadata_but_not_of_payloads() {
    for (operation, ends) in [
        (Operation::GetKeyMetadata, true),
        (Operation::GetKey, false),
    ] {
        let refused = FetchFailure::new(operation, FailureKind::Denied, "…");
        let mut gate = Gate::default();
        for key in ["1", "2", "3"] {
            let mut errand = errand("a", key);
            errand.scope.operation = operation;
            errand.read_before = true;
            gate.settle(&errand, Err(&refused), at(0));
        }
        assert!(gate.shut().is_some());
        assert_eq!(gate.settle_listing(Ok(()), at(1)), ends);
        let mut next = errand("a", "4");
        next.scope.operation = operation;
        assert_eq!(gate.admit(&next, at(1)) == Admission::Go, ends);
    }
}

#[test]
fn who_asks_by_hand_is_a_probe_before_its_time_and_makes_nobody_wait_longer() {
    let refused = failure(FailureKind::Denied, Some(401));
    let mut by_hand = errand("a", "1");
    by_hand.forced_at = Some(at(0));
    let mut gate = Gate::default();
    assert_eq!(cost(&mut gate, 100, 0, &refused), 3);
    let sent: Vec<i64> = (1..=30)
        .filter(|second| {
            let sent = gate.admit(&by_hand, at(*second)) == Admission::Go;
            if sent {
                gate.settle(&by_hand, Err(&refused), at(*second));
            }
            sent
        })
        .collect();
    assert_eq!(sent, [10, 20, 30], "however often it is asked");
    // The first step, a minute, counts from the last word.
    assert_eq!(cost(&mut gate, 1, 30 + 59, &refused), 0);
    assert_eq!(cost(&mut gate, 1, 30 + 60, &refused), 1);
    assert_eq!(gate.admit(&by_hand, at(100)), Admission::Go);
    assert_ne!(
        gate.admit(&by_hand, at(100)),
        Admission::Go,
        "one at a time"
    );
    assert!(gate.settle(&by_hand, Ok(()), at(100)), "it closes for all");
    assert_eq!(cost(&mut gate, 1, 100, &refused), 1);
}

#[test]
fn iams_failure_is_no_word_about_the_service() {
    let mut gate = Gate::default();
    let rejected = failure(FailureKind::CredentialRejected, Some(400));
    assert_eq!(cost(&mut gate, 100, 0, &rejected), 100);
    let unreachable = failure(FailureKind::Unreachable, None);
    cost(&mut gate, 3, 0, &unreachable);
    assert_eq!(cost(&mut gate, 1, 2, &rejected), 1);
    assert_eq!(cost(&mut gate, 1, 2, &rejected), 1, "still to be probed");
}
