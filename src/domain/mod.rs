//! Everything that decides, as functions of plain values: no clock, no cluster, no network.

pub mod failure;
pub mod ids;
pub mod material;
pub mod metadata;
pub mod record;
pub mod reference;
pub mod render;
pub mod target;
