//! The integration tests, as modules of one binary: it links once.

mod architecture;
mod bed;
mod check;
mod cluster;
mod crds;
mod keyprotect;
mod keyprotect_iam;
mod keyprotect_raw;
mod main_job;
mod stage;
