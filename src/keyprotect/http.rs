//! One HTTP client for an instance's two hosts. Every request is checked against those hosts
//! once more when it is complete, has a deadline and a largest answer, follows no redirect, and
//! leaves no copy of an answer behind in memory, as far as that is this program's to decide.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::{Certificate, Request, Response, redirect};
use zeroize::Zeroizing;

use super::cause::{self, NoAnswer};
use super::dns::GuardedResolver;
use super::options::{ClientError, ClientOptions};
use super::wire::tracing_id;
use crate::buffer::{append, wipe};
use crate::domain::service::endpoint::Endpoint;
use crate::domain::service::failure::FailureKind;
use crate::domain::service::hosts::Origin;

/// How the operator names itself.
pub(super) const USER_AGENT: &str = concat!("key-protect-operator/", env!("CARGO_PKG_VERSION"));
/// The header by which a request is found in IBM's logs.
pub(super) const CORRELATION_ID: &str = "correlation-id";
/// A Retry-After beyond this is taken as this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(10);

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) retry_after: Option<Duration>,
    pub(super) correlation_id: Option<String>,
}

impl Answer {
    /// Whether it asks for fewer requests.
    pub(super) const fn is_throttled(&self) -> bool {
        self.status == 429 || self.retry_after.is_some()
    }
}

/// The client.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
    origins: [Origin; 2],
}

impl Transport {
    pub(super) fn new(endpoint: &Endpoint, options: &ClientOptions) -> Result<Self, ClientError> {
        let origins = [endpoint.key_base.clone(), endpoint.iam_url.origin.clone()];
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .https_only(origins.iter().all(Origin::is_secure))
            .connect_timeout(options.connect_timeout)
            // HTTP/2 where the server has it: one connection for all requests to a host.
            // Not for long: the buffers of a connection hold the last answer while it is open.
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(8)
            .tcp_keepalive(Duration::from_secs(30))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .dns_resolver(GuardedResolver::new(&endpoint.guarded_hosts));
        if origins.iter().any(Origin::is_loopback) {
            // A proxy's loopback is another machine's.
            builder = builder.no_proxy();
        }
        if let Some(pem) = &endpoint.ca_bundle {
            let roots = Certificate::from_pem_bundle(pem.as_bytes())
                .ok()
                .filter(|roots| !roots.is_empty())
                .ok_or(ClientError::CaBundle)?;
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder.build().map_err(|_| ClientError::Build)?;
        Ok(Self { client, origins })
    }

    /// Begins a request; the URL's origin is checked when it is sent.
    pub(super) const fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        deadline: Duration,
        largest: usize,
    ) -> Result<Answer, NoAnswer> {
        let request = request
            .build()
            .map_err(|_| NoAnswer::new(FailureKind::Invalid, "the request could not be built"))?;
        let origin = self
            .origins
            .iter()
            .find(|origin| leads_to(&request, origin))
            .ok_or_else(|| {
                NoAnswer::new(
                    FailureKind::Invalid,
                    "the request leads to a host that is not allowed",
                )
            })?;
        let host = origin.host();
        let exchange = async {
            let response = self
                .client
                .execute(request)
                .await
                .map_err(|error| cause::of(&error, host))?;
            read(response, host, largest).await
        };
        tokio::time::timeout(deadline, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(NoAnswer {
                    timed_out: true,
                    ..NoAnswer::unreachable(format!(
                        "{host} did not answer within {} s",
                        deadline.as_secs()
                    ))
                })
            })
    }
}

/// The last look at a request before it leaves: what it *is*, not what it was made from.
fn leads_to(request: &Request, origin: &Origin) -> bool {
    let url = request.url();
    let scheme = if origin.is_secure() { "https" } else { "http" };
    url.scheme() == scheme
        && url.host_str() == Some(origin.host())
        && url.port_or_known_default() == Some(origin.port())
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
}

async fn read(mut response: Response, host: &str, largest: usize) -> Result<Answer, NoAnswer> {
    let status = response.status();
    let mut answer = Answer {
        status: status.as_u16(),
        body: Zeroizing::new(Vec::new()),
        retry_after: retry_after(response.headers()),
        correlation_id: response
            .headers()
            .get(CORRELATION_ID)
            .and_then(|value| value.to_str().ok())
            .and_then(tracing_id),
    };
    match read_body(&mut response, host, largest).await {
        Ok(body) => answer.body = body,
        Err(error) if status.is_success() => return Err(error),
        // The status alone says enough; without a body it is evidence of nothing more.
        Err(_) => {}
    }
    Ok(answer)
}

async fn read_body(
    response: &mut Response,
    host: &str,
    largest: usize,
) -> Result<Zeroizing<Vec<u8>>, NoAnswer> {
    let too_large = || {
        NoAnswer::new(
            FailureKind::ServiceError,
            format!("{host} sent an answer of more than {largest} bytes"),
        )
    };
    let announced = response
        .content_length()
        .map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced > largest {
        return Err(too_large());
    }
    let mut body = Zeroizing::new(Vec::with_capacity(announced));
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| cause::of(&error, host))?
    {
        if chunk.len() > largest.saturating_sub(body.len()) {
            return Err(too_large());
        }
        append(&mut body, &chunk);
        wipe(chunk);
    }
    Ok(body)
}

/// Reads Retry-After, in seconds or as a date. A date is compared with the answer's own Date:
/// that is the clock it was meant by.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let after = text(RETRY_AFTER)?;
    let wait = if let Ok(seconds) = after.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let parse = |text: &str| -> Option<Timestamp> {
            rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
        };
        let wait = parse(after)?.duration_since(parse(text(DATE)?)?);
        Duration::try_from(wait).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_leaves_for_exactly_its_origin() {
        let leads = |url: &str, origin: &str| {
            let url = reqwest::Url::parse(url).unwrap();
            let (origin, _) = Origin::parse(origin).unwrap();
            leads_to(&Request::new(reqwest::Method::GET, url), &origin)
        };
        let origin = "https://us-south.kms.cloud.ibm.com";
        for url in [
            "https://us-south.kms.cloud.ibm.com/api/v2/keys?limit=1",
            "https://us-south.kms.cloud.ibm.com:443/",
            "https://US-SOUTH.kms.cloud.ibm.com/",
        ] {
            assert!(leads(url, origin), "{url}");
        }
        for url in [
            "http://us-south.kms.cloud.ibm.com/",
            "http://us-south.kms.cloud.ibm.com:443/",
            "https://us-south.kms.cloud.ibm.com:8443/",
            "https://us-south.kms.cloud.ibm.com./",
            "https://us-south.kms.cloud.ibm.com.evil.com/",
            "https://us-south.kms.cloud.ibm.com@evil.com/",
            "https://user@us-south.kms.cloud.ibm.com/",
            "https://:pass@us-south.kms.cloud.ibm.com/",
            "https://us-south.kms.cloud.ibm.com/#x",
        ] {
            assert!(!leads(url, origin), "{url}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let read = |after: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let now = Some("Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(read("7", None), Some(7));
        assert_eq!(read(" 0 ", None), Some(0));
        assert_eq!(read("99999999999", None), Some(3600));
        assert_eq!(read("Wed, 21 Oct 2026 07:28:30 GMT", now), Some(30));
        assert_eq!(read("Wed, 21 Oct 2026 07:27:00 GMT", now), Some(0));
        assert_eq!(read("Wed, 21 Oct 2026 07:28:30 GMT", None), None);
        assert_eq!(read("-1", None), None);
        assert_eq!(read("soon", now), None);
    }
}
