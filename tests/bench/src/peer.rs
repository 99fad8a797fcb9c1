//! A peer, measured side by side.

use serde::Serialize;

/// What was measured of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) version: String,
    pub(crate) runs: Vec<Run>,
}

/// One cold start of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) objects: usize,
    pub(crate) tuning: String,
    pub(crate) seconds: f64,
}
