//! Why a request failed before there was a whole answer, in the operator's own words: the
//! libraries' texts may quote what a server or a proxy sent.

use std::error::Error;
use std::io;

use rustls::{CertificateError, Error as TlsError};

use super::dns::{LocalAnswer, NoAddress};
use crate::domain::service::failure::FailureKind;

/// Why there was no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer {
    /// [`FailureKind::Unreachable`], [`FailureKind::ServiceError`] or [`FailureKind::Invalid`].
    pub(super) kind: FailureKind,
    /// What happened.
    pub(super) detail: String,
    /// Whether the request ran out of time, rather than into an error.
    pub(super) timed_out: bool,
}

impl NoAnswer {
    pub(super) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            timed_out: false,
        }
    }

    pub(super) fn unreachable(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Unreachable, detail)
    }
}

/// Says why a request to a host failed.
pub(super) fn of(error: &reqwest::Error, host: &str) -> NoAnswer {
    if find::<LocalAnswer>(error).is_some() {
        return NoAnswer::new(
            FailureKind::Invalid,
            format!(
                "{host} resolves to a loopback or link-local address, which is no host of IBM Cloud; correct the name service, or have the operator's admin allow this host by name"
            ),
        );
    }
    if error.is_timeout() {
        let mut answer = NoAnswer::unreachable(format!("{host} did not answer in time"));
        answer.timed_out = true;
        return answer;
    }
    if let Some(tls) = tls_error(error) {
        return NoAnswer::unreachable(format!("{host}: {}", tls_text(tls)));
    }
    if error.is_dns() || find::<NoAddress>(error).is_some() {
        return NoAnswer::unreachable(format!("the name {host} could not be resolved"));
    }
    if let Some(kind) = io_kind(error) {
        let text = match kind {
            io::ErrorKind::ConnectionRefused => "refused the connection",
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => "cut the connection",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                "cannot be reached from here"
            }
            io::ErrorKind::TimedOut => "did not answer in time",
            _ if error.is_connect() => "could not be connected to",
            _ => "broke off the exchange",
        };
        return NoAnswer::unreachable(format!("{host} {text}"));
    }
    let text = if error.is_connect() {
        "could not be connected to (a proxy that refuses it looks the same)"
    } else if error.is_body() || error.is_decode() {
        "broke off its answer"
    } else {
        "gave no answer"
    };
    NoAnswer::unreachable(format!("{host} {text}"))
}

fn tls_text(error: &TlsError) -> &'static str {
    match error {
        TlsError::InvalidCertificate(flaw) => match flaw {
            CertificateError::UnknownIssuer => {
                "its certificate is signed by an authority that is not trusted; add that authority to spec.endpoint.caBundle"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid at this time; check its dates and this machine's clock"
            }
            CertificateError::Revoked => "its certificate is revoked",
            _ => {
                "its certificate cannot be verified; if a private authority signed it, add that authority to spec.endpoint.caBundle"
            }
        },
        _ => "the TLS handshake failed",
    }
}

/// Walks an error and its causes. [`io::Error`] hides the error it carries from
/// [`Error::source`], so that one is looked into.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn Error + 'static))
            .or_else(move || error.source())
    })
    .take(32)
}

fn find<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn tls_error(error: &reqwest::Error) -> Option<&TlsError> {
    find(error)
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .last()
}
