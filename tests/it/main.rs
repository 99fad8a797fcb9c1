//! The one test binary: what needs a server to talk to.

mod bed;
mod check;
mod keyprotect;
mod keyprotect_iam;
mod keyprotect_raw;
