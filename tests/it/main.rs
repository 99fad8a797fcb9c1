//! The integration tests, as modules of one binary: it links once.

mod bed;
mod check;
mod cluster;
mod crds;
mod keyprotect;
mod keyprotect_iam;
mod keyprotect_raw;
mod main_job;
mod rows_access;
mod rows_endings;
mod rows_keys;
mod rows_outage;
mod rows_payloads;
mod rows_process;
mod rows_secrets;
mod scene;
mod stage;
