//! Random sequences of all operations, against a small model of the rules that
//! IBM documents. The emulator and the model must never differ: neither in what
//! they answer nor in what they keep.
//!
//! [`model`] is the rules; it shares nothing with the emulator. [`service`]
//! asks the emulator, in-process and on a clock of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests too, which the lints cannot tell"
)]

mod key;
mod model;
mod operations;
mod service;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

use model::Model;
use operations::{Caller, Step, step};
use service::Service;

proptest! {
    #![proptest_config(Config {
        cases: cases(),
        max_shrink_iters: 2000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    })]

    #[test]
    fn the_emulator_does_what_the_documented_rules_say(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let (mut model, mut service) = (Model::default(), Service::start());
        for (at, step) in steps.iter().enumerate() {
            let last = at + 1 == steps.len();
            run(&mut model, &mut service, step, last)
                .map_err(|why| TestCaseError::fail(format!("step {at}, {step:?}: {why}")))?;
        }
    }
}

/// How many sequences: a run of `make test` takes seconds, and a longer one is
/// asked for by proptest's own variable.
#[allow(clippy::disallowed_methods)] // A run has settings.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(64)
}

/// Does one step on both sides and compares.
fn run(model: &mut Model, service: &mut Service, step: &Step, last: bool) -> Result<(), String> {
    service.wait(step.wait);
    model.wait(step.wait);
    let asked = service.ask(model, step);
    let expected = model.answer(step, asked.made.as_deref());
    let actual = (asked.status, asked.code.as_deref());
    if actual != (expected.status, expected.code) {
        return Err(format!(
            "answered {actual:?}, not {expected:?}: {}",
            asked.body
        ));
    }
    model.judge(step, &asked)?;
    // A policy, or a restored key, may be due at once: the service sees to it
    // before it answers again.
    model.wait(0);
    let touched = step.key();
    for (at, key) in model.keys().iter().enumerate() {
        if last || touched.is_none_or(|touched| touched == at) {
            service.compare(key)?;
        }
    }
    let everybody = if last {
        &Caller::ALL[..]
    } else {
        std::slice::from_ref(&step.caller)
    };
    for caller in everybody {
        service.compare_list(model, *caller)?;
    }
    Ok(())
}
