//! One exchange at IAM: an API key, or a ServiceAccount token, for an access token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::credential::Proof;
use super::http::{Answer, Transport};
use super::options::ClientOptions;
use super::retry::RetryPolicy;
use super::token::Token;
use super::wire;
use crate::domain::credentials::Profile;
use crate::domain::service::endpoint::TokenUrl;
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
use crate::metrics::Upstream;

/// IAM's tokens live an hour. One that is said to live longer is not believed to.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// Life of a token of which IAM says nothing sensible: long enough to be used and to keep from
/// asking again at once, short enough to be wrong about.
const UNKNOWN_LIFE: Duration = Duration::from_secs(60);
/// Clocks that differ by more than this are worth a word.
const SKEW: i64 = 60;
/// Largest answer read.
const LARGEST: usize = 1024 * 1024;

/// The token operation of one IAM.
#[derive(Debug)]
pub(super) struct Exchange {
    transport: Transport,
    url: TokenUrl,
    retry: RetryPolicy,
    deadline: Duration,
    request_deadline: Duration,
    has_warned: AtomicBool,
    metrics: Upstream,
}

/// A token that IAM granted.
pub(super) struct Granted {
    pub(super) token: Token,
    /// When it was asked for: it lives from some moment after that.
    pub(super) asked_at: Instant,
    pub(super) lifetime: Duration,
}

impl Exchange {
    pub(super) fn new(transport: Transport, url: TokenUrl, options: &ClientOptions) -> Self {
        Self {
            transport,
            url,
            retry: options.retry(),
            deadline: options.call_deadline,
            request_deadline: options.request_deadline,
            has_warned: AtomicBool::new(false),
            metrics: options.metrics.clone(),
        }
    }

    /// Asks for a token, and again where a failure may pass.
    pub(super) async fn token(&self, proof: &Proof, serial: u64) -> Result<Granted, FetchFailure> {
        let retried = |_: &FetchFailure| self.metrics.retried(Operation::Token);
        let tries = self
            .retry
            .run(|| self.once(proof, serial), || false, retried);
        tokio::time::timeout(self.deadline, tries)
            .await
            .unwrap_or_else(|_| {
                let detail = format!(
                    "{} did not answer within {} s",
                    self.url.origin.host(),
                    self.deadline.as_secs()
                );
                Err(failure(FailureKind::Unreachable, detail))
            })
    }

    async fn once(&self, proof: &Proof, serial: u64) -> Result<Granted, FetchFailure> {
        let asked_at = Instant::now();
        let request = self
            .transport
            .client()
            .post(self.url.to_string())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(bytes::Bytes::from_owner(form(proof)));
        let counted = self.metrics.begin(Operation::Token);
        let answer = self
            .transport
            .send(request, self.request_deadline, LARGEST)
            .await
            .map_err(|no_answer| failure(no_answer.kind, no_answer.detail))?;
        counted.answered(answer.status);
        if answer.is_throttled() {
            self.metrics.throttled(Operation::Token);
        }
        if answer.status != 200 {
            return Err(refusal(&answer, proof));
        }
        let granted = wire::token(&answer.body).map_err(|error| FetchFailure {
            status: Some(200),
            ..failure(FailureKind::ServiceError, error.to_string())
        })?;
        self.warn_of_skew(granted.expiration, granted.expires_in);
        let token = Token::new(granted.access_token, serial).ok_or_else(|| FetchFailure {
            status: Some(200),
            ..failure(
                FailureKind::ServiceError,
                wire::WireError::NoToken.to_string(),
            )
        })?;
        Ok(Granted {
            token,
            asked_at,
            lifetime: lifetime(granted.expires_in),
        })
    }

    /// Compares `expiration`, by IAM's clock, with this machine's. It decides nothing: a token
    /// lives `expires_in` seconds by the monotonic clock, whatever the clocks say.
    #[expect(
        clippy::disallowed_methods,
        reason = "the wall clock is compared here, and nothing follows from it"
    )]
    fn warn_of_skew(&self, expiration: Option<i64>, expires_in: Option<f64>) {
        let (Some(expiration), Some(expires_in)) = (expiration, expires_in) else {
            return;
        };
        let Ok(expires_in) = Duration::try_from_secs_f64(expires_in) else {
            return;
        };
        let expires_in = i64::try_from(expires_in.as_secs()).unwrap_or(i64::MAX);
        let skew = expiration
            .saturating_sub(expires_in)
            .saturating_sub(Timestamp::now().as_second());
        if skew.saturating_abs() <= SKEW {
            self.has_warned.store(false, Ordering::Relaxed);
        } else if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                iam = self.url.origin.host(),
                skew_seconds = skew,
                "this machine's clock and IAM's differ; tokens are renewed by lifetime, but certificates and expiry dates are judged by this clock"
            );
        }
    }
}

fn failure(kind: FailureKind, detail: impl Into<String>) -> FetchFailure {
    FetchFailure::new(Operation::Token, kind, detail)
}

fn lifetime(expires_in: Option<f64>) -> Duration {
    expires_in
        .filter(|seconds| *seconds > 0.0)
        .map_or(UNKNOWN_LIFE, |seconds| {
            Duration::try_from_secs_f64(seconds).map_or(LONGEST_LIFE, |life| life.min(LONGEST_LIFE))
        })
}

/// Writes the form by hand, into a buffer that is wiped once it is sent.
fn form(proof: &Proof) -> Zeroizing<Vec<u8>> {
    let (grant, fields): (_, &[(&str, &str)]) = match proof {
        Proof::ApiKey(key) => ("apikey", &[("apikey", key.expose_secret())]),
        Proof::ServiceAccountToken { token, profile } => {
            let profile = match profile {
                Profile::Name(name) => ("profile_name", name.as_str()),
                Profile::Id(id) => ("profile_id", id.as_str()),
            };
            ("cr-token", &[("cr_token", token.expose_secret()), profile])
        }
    };
    let head = format!(
        "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3A{grant}&response_type=cloud_iam"
    );
    let size = |(name, value): &(&str, &str)| name.len() + 3 * value.len() + 2;
    let size = head.len() + fields.iter().map(size).sum::<usize>();
    let mut form = Zeroizing::new(Vec::with_capacity(size));
    form.extend_from_slice(head.as_bytes());
    for (name, value) in fields {
        form.push(b'&');
        form.extend_from_slice(name.as_bytes());
        form.push(b'=');
        append_encoded(&mut form, value.as_bytes());
    }
    form
}

fn append_encoded(form: &mut Vec<u8>, value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-_.*".contains(byte) {
            form.push(*byte);
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            form.extend_from_slice(&[b'%', HEX[high], HEX[low]]);
        }
    }
}

/// Judges an answer other than 200. That the *credential* is refused is believed only of IAM itself:
/// a gateway's or proxy's page says nothing about it.
fn refusal(answer: &Answer, proof: &Proof) -> FetchFailure {
    let error = wire::iam_error(&answer.body);
    let status = answer.status;
    let (kind, detail) = match status {
        429 => (FailureKind::Throttled, "IAM asks for fewer requests"),
        400 | 401 | 403 if error.is_own => (
            FailureKind::CredentialRejected,
            meaning(error.codes.first().map(String::as_str), proof),
        ),
        300..400 => (
            FailureKind::ServiceError,
            "IAM answered with a redirect, which is not followed; correct spec.endpoint.iamURL",
        ),
        404 => (
            FailureKind::ServiceError,
            "there is no token operation at this URL; correct spec.endpoint.iamURL",
        ),
        400..500 => (
            FailureKind::ServiceError,
            "something in front of IAM refused the request",
        ),
        _ => (FailureKind::ServiceError, "IAM failed"),
    };
    FetchFailure {
        status: Some(status),
        code: error.codes.into_iter().next(),
        request_id: error.request_id.or_else(|| answer.correlation_id.clone()),
        retry_after: answer.retry_after,
        ..failure(kind, detail)
    }
}

/// Says what IAM's codes mean (IBM's Go client; all but the first are unverified).
fn meaning(code: Option<&str>, proof: &Proof) -> &'static str {
    match (code, proof) {
        (Some("BXNIM0415E"), _) => {
            "IAM knows no such API key: it was deleted or mistyped, or belongs to another environment"
        }
        (Some("BXNIM0439E"), _) => {
            "IAM knows no trusted profile of this name or ID, or none that trusts this cluster, namespace and ServiceAccount"
        }
        (Some("BXNIM0137E"), _) => {
            "IAM does not take the operator's ServiceAccount token: the trusted profile has to name this cluster, namespace and ServiceAccount"
        }
        (Some("BXNIM0513E"), _) => {
            "IAM refuses this credential: its account, service ID or profile is locked, or may not sign in from this network"
        }
        (Some("BXNIM0109E"), _) => "IAM misses a parameter of the request",
        (_, Proof::ApiKey(_)) => "IAM refuses this API key",
        (_, Proof::ServiceAccountToken { .. }) => "IAM refuses the operator's ServiceAccount token",
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_lifetime_is_always_sane() {
        for (said, seconds) in [
            (None, 60),
            (Some(0.0), 60),
            (Some(-5.0), 60),
            (Some(f64::NAN), 60),
            (Some(3.0), 3),
            (Some(3600.0), 3600),
            (Some(1e18), 3600),
            (Some(f64::INFINITY), 3600),
        ] {
            assert_eq!(lifetime(said), Duration::from_secs(seconds), "{said:?}");
        }
    }

    #[test]
    fn no_character_of_a_credential_can_leave_its_field() {
        let written = |proof: &Proof| String::from_utf8(form(proof).to_vec()).unwrap();
        let hostile = "a-_.b&c=d+e /~\u{e4}\r\n";
        let encoded = "a-_.b%26c%3Dd%2Be%20%2F%7E%C3%A4%0D%0A";
        let text = written(&Proof::ApiKey(SecretString::from(hostile)));
        let head = "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&response_type=cloud_iam&apikey=";
        assert_eq!(text, format!("{head}{encoded}"));
        for (profile, field) in [
            (Profile::Name(hostile.to_owned()), "profile_name"),
            (Profile::Id(hostile.to_owned()), "profile_id"),
        ] {
            let proof = Proof::ServiceAccountToken {
                token: SecretString::from(hostile),
                profile,
            };
            let form = form(&proof);
            assert!(form.capacity() >= form.len());
            let text = written(&proof);
            let (head, fields) = text.split_once("&cr_token=").unwrap();
            assert!(
                head.starts_with("grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Acr-token&")
            );
            assert_eq!(fields, format!("{encoded}&{field}={encoded}"));
        }
    }
}
