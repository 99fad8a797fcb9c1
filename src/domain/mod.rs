//! Everything that decides, as functions of plain values: no clock, no cluster, no network.

pub mod access;
pub mod backoff;
pub mod catalogue;
pub mod crn;
pub mod endpoint;
pub mod failure;
pub mod hosts;
pub mod ids;
pub mod material;
pub mod metadata;
pub mod reference;
pub mod secret;
