#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]
//! The one test binary: what needs a server to talk to.

mod bed;
mod check;
mod cluster;
mod crds;
mod keyprotect;
mod keyprotect_iam;
mod keyprotect_proxy;
mod keyprotect_raw;
mod keyprotect_refusals;
mod main_job;
mod stage;
