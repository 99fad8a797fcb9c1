//! The integration tests, as modules of one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod cluster;
mod crds;
mod manifests;
