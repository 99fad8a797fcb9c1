//! The fault suite: the operator as a process, an API server, etcd, and the emulator over TLS,
//! all of them in trouble, while people change what they like. After every round everything must
//! be as it should be, and no version of any Secret may ever have been wrong.
//!
//! `FAULTS_SEED`, `FAULTS_ROUNDS` and `FAULTS_MINUTES` say which run, how long it is, and after
//! which time no further round begins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on says so by panicking, and one that runs long tells how far it is"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

mod chance;
#[path = "../it/cluster.rs"]
mod cluster;
mod etcd;
#[path = "../it/form.rs"]
#[allow(dead_code, reason = "this suite has one form")]
mod form;
mod history;
mod judge;
mod leaks;
mod ledger;
mod operator;
mod people;
mod proxy;
mod recorder;
mod run;
mod schedule;
mod service;
mod settled;
mod stage;
mod trouble;
mod want;

use std::time::Duration;

/// Rounds of the bounded form, each with at least one kill.
const ROUNDS: u64 = 10;

#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let number = |name: &str| -> Option<u64> {
        let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name} is no number")),
        )
    };
    let plan = run::Plan {
        seed: number("FAULTS_SEED")
            .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 % 100_000),
        rounds: number("FAULTS_ROUNDS").unwrap_or(ROUNDS),
        limit: number("FAULTS_MINUTES").map(|minutes| Duration::from_secs(60 * minutes)),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run::run(plan));
}
