//! Reads one entry of one Secret: an instance's API key, where the Secret's owner has given the right
//! to. No other Secret is ever read; what comes is wiped, and its other entries are not looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::ACCEPT;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Secret;
use kube::client::Body;
use kube::{Client, Resource};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::buffer::{append, wipe};

/// How long the answer may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Largest answer: a Secret holds a mebibyte, which base64 and metadata make larger.
const LARGEST: usize = 4 * 1024 * 1024;

/// Why there is no such content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// RBAC does not let the operator read it.
    Forbidden,
    /// There is no such Secret.
    NoSecret,
    /// It has no such entry.
    NoEntry,
    /// There was no answer, or none that could be read.
    NoAnswer,
}

/// The Secret, as far as it is looked at. Entries are base64, in which JSON escapes nothing.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    data: Option<BTreeMap<&'a str, &'a str>>,
}

/// Reads an entry.
///
/// # Errors
/// Says why it was not read.
pub async fn read(
    client: &Client,
    namespace: &str,
    secret: &str,
    entry: &str,
) -> Result<Zeroizing<Vec<u8>>, Missing> {
    let uri = format!("{}/{secret}", Secret::url_path(&(), Some(namespace)));
    let request = Request::builder()
        .method(Method::GET)
        .uri(uri)
        .header(ACCEPT, "application/json")
        .body(Body::empty())
        .map_err(|_| Missing::NoAnswer)?;
    let answer = tokio::time::timeout(DEADLINE, exchange(client, request)).await;
    let (status, body) = answer.map_err(|_| Missing::NoAnswer)??;
    match status {
        StatusCode::OK => entry_of(&body, entry),
        StatusCode::FORBIDDEN => Err(Missing::Forbidden),
        StatusCode::NOT_FOUND => Err(Missing::NoSecret),
        _ => Err(Missing::NoAnswer),
    }
}

async fn exchange(
    client: &Client,
    request: Request<Body>,
) -> Result<(StatusCode, Zeroizing<Vec<u8>>), Missing> {
    let response = client.send(request).await.map_err(|_| Missing::NoAnswer)?;
    let status = response.status();
    let mut body = response.into_body();
    let mut whole = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Missing::NoAnswer)?;
        if let Ok(chunk) = frame.into_data() {
            if chunk.len() > LARGEST.saturating_sub(whole.len()) {
                return Err(Missing::NoAnswer);
            }
            append(&mut whole, &chunk);
            wipe(chunk);
        }
    }
    Ok((status, whole))
}

fn entry_of(body: &[u8], entry: &str) -> Result<Zeroizing<Vec<u8>>, Missing> {
    let secret: Data<'_> = serde_json::from_slice(body).map_err(|_| Missing::NoAnswer)?;
    let data = secret.data.unwrap_or_default();
    let text = data.get(entry).ok_or(Missing::NoEntry)?;
    let most = base64::decoded_len_estimate(text.len());
    let mut bytes = Zeroizing::new(vec![0; most]);
    let length = STANDARD
        .decode_slice(text, &mut bytes)
        .map_err(|_| Missing::NoAnswer)?;
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_is_found_and_nothing_else_is() {
        let body = br#"{"kind":"Secret","metadata":{"annotations":{"a":"\u003cb\u003e"}},
            "data":{"apikey":"a2V5","other":"!"},"type":"Opaque"}"#;
        let read = |entry| entry_of(body, entry).map(|bytes| bytes.to_vec());
        assert_eq!(read("apikey"), Ok(b"key".to_vec()));
        assert_eq!(read("missing"), Err(Missing::NoEntry));
        assert_eq!(read("other"), Err(Missing::NoAnswer));
        for empty in [&b"{}"[..], br#"{"data":null}"#, br#"{"data":{}}"#] {
            assert_eq!(entry_of(empty, "apikey").err(), Some(Missing::NoEntry));
        }
        assert_eq!(entry_of(b"<html>", "apikey").err(), Some(Missing::NoAnswer));
    }
}
