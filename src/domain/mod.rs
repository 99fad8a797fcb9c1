//! Everything that decides, as functions of plain values: no clock, no cluster, no network.

pub mod access;
pub mod backoff;
pub mod catalogue;
mod conclude;
pub mod crn;
pub mod decide;
pub mod endpoint;
pub mod endpoint_error;
pub mod failure;
pub mod hosts;
pub mod identify;
pub mod ids;
pub mod instance_status;
pub mod material;
pub mod metadata;
pub mod observed;
pub mod plan;
pub mod record;
pub mod reference;
pub mod render;
pub mod request;
pub mod schedule;
pub mod secret;
pub mod status;
pub mod target;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod rows_tests;
