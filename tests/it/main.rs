//! The integration tests, as modules of one binary: it links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so by panicking, and one that leaves something out tells what"
)]

mod architecture;
mod audit;
mod bed;
mod canary;
mod check;
mod cluster;
mod crds;
mod deploy;
mod docs;
mod exposition;
mod fence;
mod fence_operator;
mod form;
mod forms;
mod fuzz_corpus;
mod keyprotect;
mod keyprotect_iam;
mod keyprotect_modes;
mod keyprotect_proxy;
mod keyprotect_raw;
mod keyprotect_refusals;
mod main_job;
mod manifests;
mod memory;
mod metrics;
mod replicas;
mod rows_access;
mod rows_cluster;
mod rows_credentials;
mod rows_endings;
mod rows_engine;
mod rows_keys;
mod rows_merge;
mod rows_outage;
mod rows_pace;
mod rows_payloads;
mod rows_process;
mod rows_revocation;
mod rows_secrets;
mod scene;
mod seen;
mod stage;
mod tenants;
mod trusted_profile;
mod verbs;
