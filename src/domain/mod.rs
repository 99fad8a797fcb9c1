//! Everything that decides, as functions of plain values: no clock, no cluster, no network.

pub mod access;
mod announce;
pub mod backoff;
mod body;
pub mod catalogue;
mod conclude;
pub mod crn;
pub mod decide;
pub mod endpoint;
pub mod endpoint_error;
mod expected;
pub mod failure;
pub mod hindrance;
pub mod hosts;
pub mod identify;
pub mod ids;
pub mod instance_status;
mod judge;
mod known;
pub mod material;
pub mod metadata;
pub mod observed;
pub mod plan;
mod reading;
pub mod record;
pub mod reference;
pub mod render;
mod report;
pub mod request;
pub mod schedule;
pub mod secret;
pub mod status;
pub mod target;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod world_tests;
