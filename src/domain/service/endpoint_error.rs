//! Why an instance has no endpoint, in words for who wrote its spec.

use crate::domain::service::crn::CrnError;
use crate::domain::service::hosts::UrlFlaw;
use crate::domain::service::ids::InvalidName;

/// Says which field of an instance's spec has to change, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The CRN cannot be read.
    #[error("spec.crn: {0}")]
    Crn(CrnError),
    /// A name has not the form that it must have.
    #[error("{field}: {flaw}")]
    Name {
        /// The field.
        field: &'static str,
        /// What form it should have had.
        flaw: InvalidName,
    },
    /// A URL cannot be used.
    #[error("{field}: {flaw}")]
    Url {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        flaw: UrlFlaw,
    },
    /// A field is missing or contradicts another.
    #[error("{field}: {remedy}")]
    Field {
        /// The field.
        field: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A host is on no list.
    #[error(
        "{field}: {host}:{port} is not one of IBM Cloud's own hosts for {purpose}; if it is meant, the operator's admin adds it with {flag}={host}:{port}"
    )]
    HostNotAllowed {
        /// The field that led to the host.
        field: &'static str,
        /// The host.
        host: Box<str>,
        /// The port.
        port: u16,
        /// What the host would be used for.
        purpose: &'static str,
        /// The operator's setting that would allow it.
        flag: &'static str,
    },
    /// A host would be spoken to without TLS.
    #[error(
        "{field}: must be https; http is for a loopback host that the operator's admin has added, together with --allow-insecure-loopback"
    )]
    Insecure {
        /// The field.
        field: &'static str,
    },
}

impl EndpointError {
    pub(super) const fn field(field: &'static str, remedy: &'static str) -> Self {
        Self::Field { field, remedy }
    }
}
