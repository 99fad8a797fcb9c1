//! Everything that decides, as functions of plain values: no clock, no cluster, no network.
//!
//! [`lease`] says which of several replicas leads, [`form`] in which form the operator was
//! installed, and [`account`] who it is.
//! [`service`] is what Key Protect and IAM are and say, [`access`] who may use which keys,
//! [`secret`] what a Secret is made of and looks like, and [`look`] one look at one object: from
//! everything that is known to what must be asked first, or to the whole plan. [`audit`] is the
//! line that says of a read or a write for whom and why it was, [`revocation`] how many Secrets of
//! an instance may go at once.

pub mod access;
pub mod account;
pub mod audit;
pub mod claim;
pub mod concern;
pub mod credentials;
pub mod fence;
pub mod form;
pub mod instance_status;
pub mod lease;
pub mod look;
pub mod pace;
pub mod resource_version;
pub mod revocation;
pub mod schedule;
pub mod secret;
pub mod service;
pub mod status;

#[cfg(test)]
pub(crate) mod testing;
