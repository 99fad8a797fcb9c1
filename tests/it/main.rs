//! The integration tests, as modules of one binary.

mod cluster;
mod crds;
