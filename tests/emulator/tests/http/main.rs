//! The emulator over real sockets. Tests are named after the numbered points
//! of the references that they hold the emulator to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests too, which the lints cannot tell"
)]

mod access;
mod admin;
mod command;
mod connections;
mod docs;
mod envelope;
mod faults;
mod iam;
mod imports;
mod keys;
mod lists;
mod places;
mod policies;
mod services;
mod shallow;
mod speed;
mod support;
mod wire;
