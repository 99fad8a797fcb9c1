//! Everything that decides, as functions of plain values: no clock, no cluster, no network.

pub mod access;
pub mod catalogue;
pub mod failure;
pub mod ids;
pub mod material;
pub mod metadata;
pub mod reference;
pub mod schedule;
pub mod secret;
pub mod status;
