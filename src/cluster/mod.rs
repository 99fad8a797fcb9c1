//! I/O with Kubernetes: watches in, writes out. Nothing here decides anything.

mod apply;
pub mod client;
pub mod entry;
pub mod events;
pub mod fence;
pub mod lease;
pub mod meter;
mod protobuf;
mod received;
pub mod request;
pub mod reviews;
pub mod secrets;
pub mod status;
pub mod watch;
