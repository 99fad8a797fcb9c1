//! Everything that decides, as functions of plain values: no clock, no cluster, no network.

pub mod access;
mod announce;
mod body;
pub mod catalogue;
mod conclude;
pub mod decide;
mod expected;
pub mod failure;
pub mod hindrance;
pub mod identify;
pub mod ids;
mod judge;
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
pub(crate) mod testing;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod world_tests;
