//! The one test binary: what needs a server to talk to.

mod keyprotect;
mod keyprotect_iam;
mod keyprotect_raw;
