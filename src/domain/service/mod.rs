//! What Key Protect and IAM are and say: names, endpoints, keys without their payloads, payloads,
//! failures, and the catalogue of an instance's keys.

pub mod backoff;
pub mod catalogue;
pub mod crn;
pub mod endpoint;
pub mod endpoint_error;
pub mod failure;
pub mod hosts;
pub mod ids;
pub mod material;
pub mod metadata;
pub mod reference;
