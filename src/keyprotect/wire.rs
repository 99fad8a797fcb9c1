//! What IAM and Key Protect write, read with care: a field may be absent or odd, a body may be
//! a gateway's HTML. Nothing of a text is kept but codes and IDs of a known form.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use zeroize::Zeroizing;

use crate::domain::service::ids::KeyId;
use crate::domain::service::material::KeyMaterial;
use crate::domain::service::metadata::{KeyMetadata, KeyState};

/// Says why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is not the JSON that was expected.
    #[error("the answer is not the JSON that was expected")]
    Json,
    /// It holds no key, or several.
    #[error("the answer does not hold exactly one key")]
    NotOneKey,
    /// Its key has no ID.
    #[error("the key in the answer has no ID")]
    NoId,
    /// The payload is no base64.
    #[error("the payload in the answer is not base64")]
    Payload,
    /// There is no token that could be sent.
    #[error("the answer holds no usable access token")]
    NoToken,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// Its rows, but for those without an ID.
    pub rows: Vec<KeyMetadata>,
    /// How many rows it has.
    pub count: usize,
    /// How many the envelope says there are: in the page, or in all.
    pub announced: Option<usize>,
}

/// A token, as IAM hands it out.
#[derive(Debug)]
pub struct TokenAnswer {
    /// The token.
    pub access_token: SecretString,
    /// How many seconds it lives.
    pub expires_in: Option<f64>,
    /// When it expires, in seconds since 1970 by IAM's clock.
    pub expiration: Option<i64>,
}

/// What an error body says that is safe to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// Whether it is the service's own form of error rather than a gateway's.
    pub is_own: bool,
    /// The reason codes in it.
    pub codes: Vec<String>,
    /// IAM's request ID.
    pub request_id: Option<String>,
}

/// Takes a value of the expected type, and anything else as unknown.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).ok())
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default, deserialize_with = "lenient")]
    metadata: Option<CollectionMetadata>,
    resources: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CollectionMetadata {
    #[serde(default, deserialize_with = "lenient")]
    collection_total: Option<usize>,
}

/// The fields of `KeyFullRepresentation` (IBM's Python client) that the operator uses. `payload`
/// is not among them: see [`Secret`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default, deserialize_with = "lenient")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    aliases: Option<Vec<String>>,
    #[serde(default, rename = "keyRingID", deserialize_with = "lenient")]
    key_ring: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    state: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    extractable: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    deleted: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    crn: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    creation_date: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    expiration_date: Option<Timestamp>,
}

impl Row {
    fn into_metadata(self) -> Option<KeyMetadata> {
        Some(KeyMetadata {
            id: KeyId::parse(&self.id?).ok()?,
            name: self.name,
            aliases: self.aliases,
            key_ring: self.key_ring,
            state: self.state.and_then(KeyState::from_number),
            extractable: self.extractable,
            deleted: self.deleted,
            crn: self.crn,
            creation_date: self.creation_date,
            expiration_date: self.expiration_date,
        })
    }
}

/// Reads a page of a listing. Without the right to list, the service answers a total of 0 and
/// no `resources` at all (Key Protect docs, "Viewing keys"): an empty page.
///
/// # Errors
/// The body is no such JSON.
pub fn key_page(body: &[u8]) -> Result<KeyPage, WireError> {
    let envelope: Envelope<Row> = serde_json::from_slice(body).map_err(|_| WireError::Json)?;
    if envelope.metadata.is_none() && envelope.resources.is_none() {
        return Err(WireError::Json);
    }
    let rows = envelope.resources.unwrap_or_default();
    Ok(KeyPage {
        count: rows.len(),
        announced: envelope.metadata.and_then(|m| m.collection_total),
        rows: rows.into_iter().filter_map(Row::into_metadata).collect(),
    })
}

/// Reads the one key of an answer, without a payload.
///
/// # Errors
/// The body is no such JSON, or holds not exactly one key with an ID.
pub fn key_metadata(body: &[u8]) -> Result<KeyMetadata, WireError> {
    let envelope: Envelope<Row> = serde_json::from_slice(body).map_err(|_| WireError::Json)?;
    one(envelope.resources)?
        .into_metadata()
        .ok_or(WireError::NoId)
}

/// Reads the one key of an answer and its payload.
///
/// # Errors
/// Like [`key_metadata`], and where the payload is no base64.
pub fn key(body: &[u8]) -> Result<(KeyMetadata, Option<KeyMaterial>), WireError> {
    let metadata = key_metadata(body)?;
    let envelope: Envelope<Secret> =
        serde_json::from_slice(body).map_err(|_| WireError::Payload)?;
    let material = one(envelope.resources)?.payload.0;
    Ok((metadata, material.map(KeyMaterial::new)))
}

fn one<T>(resources: Option<Vec<T>>) -> Result<T, WireError> {
    let mut resources = resources.unwrap_or_default().into_iter();
    match (resources.next(), resources.next()) {
        (Some(resource), None) => Ok(resource),
        _ => Err(WireError::NotOneKey),
    }
}

#[derive(Deserialize)]
struct Secret {
    #[serde(default)]
    payload: Decoded,
}

/// Base64 decoded while it is read: no string of it is ever made.
#[derive(Default)]
struct Decoded(Option<Zeroizing<Vec<u8>>>);

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Decoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 or null")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decoded, E> {
                // An error of serde quotes what it saw, so this one says nothing.
                decode(text).map(Decoded).ok_or_else(|| E::custom(""))
            }

            fn visit_unit<E>(self) -> Result<Decoded, E> {
                Ok(Decoded(None))
            }
        }
        deserializer
            .deserialize_any(Reader)
            .map_err(|_| D::Error::custom(""))
    }
}

/// The standard alphabet, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64, line breaks and all. Nothing decodes to no payload, never to an empty one:
/// a new key's payload may come later than the key.
fn decode(text: &str) -> Option<Option<Zeroizing<Vec<u8>>>> {
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(text.bytes().filter(|b| !b.is_ascii_whitespace()));
    if packed.is_empty() {
        return Some(None);
    }
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(packed.len())]);
    let length = BASE64.decode_slice(&packed, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

/// Reads the IDs of key rings.
///
/// # Errors
/// The body is no such JSON.
pub fn key_rings(body: &[u8]) -> Result<Vec<String>, WireError> {
    #[derive(Deserialize)]
    struct Ring {
        id: String,
    }
    let envelope: Envelope<Ring> = serde_json::from_slice(body).map_err(|_| WireError::Json)?;
    let rings = envelope.resources.ok_or(WireError::Json)?;
    Ok(rings.into_iter().map(|ring| ring.id).collect())
}

/// Reads a token.
///
/// # Errors
/// The body is no such JSON, or has no token.
pub fn token(body: &[u8]) -> Result<TokenAnswer, WireError> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        access_token: Option<&'a str>,
        #[serde(default, deserialize_with = "number")]
        expires_in: Option<f64>,
        #[serde(default, deserialize_with = "lenient")]
        expiration: Option<i64>,
    }
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| WireError::Json)?;
    let token = answer.access_token.unwrap_or_default();
    if token.is_empty() {
        return Err(WireError::NoToken);
    }
    Ok(TokenAnswer {
        access_token: SecretString::from(token),
        expires_in: answer.expires_in,
        expiration: answer.expiration,
    })
}

/// Takes a number, also one that is written as a string.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value
        .as_f64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok())))
}

/// Reads an error of Key Protect: `reasons[].code`, and where there is none the code in
/// brackets at the end of `errorMsg`.
#[must_use]
pub fn service_error(body: &[u8]) -> ErrorBody {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Problem {
        #[serde(default, deserialize_with = "lenient")]
        error_msg: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        reasons: Option<Vec<Reason>>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default, deserialize_with = "lenient")]
        code: Option<String>,
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope<Problem>>(body) else {
        return ErrorBody::default();
    };
    let problems = envelope.resources.unwrap_or_default();
    let mut codes: Vec<String> = problems
        .iter()
        .flat_map(|problem| problem.reasons.iter().flatten())
        .filter_map(|reason| code(reason.code.as_deref()?))
        .collect();
    if codes.is_empty() {
        codes.extend(problems.iter().filter_map(|problem| {
            let text = problem.error_msg.as_deref()?.trim_end_matches(['.', ' ']);
            code(text.strip_suffix(')')?.rsplit_once('(')?.1)
        }));
    }
    ErrorBody {
        is_own: !problems.is_empty(),
        codes,
        request_id: None,
    }
}

/// Reads an error of IAM.
#[must_use]
pub fn iam_error(body: &[u8]) -> ErrorBody {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Problem {
        #[serde(default, deserialize_with = "lenient")]
        error_code: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        context: Option<Context>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Context {
        #[serde(default, deserialize_with = "lenient")]
        request_id: Option<String>,
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return ErrorBody::default();
    };
    ErrorBody {
        is_own: problem.error_code.is_some() || problem.context.is_some(),
        codes: problem
            .error_code
            .as_deref()
            .and_then(code)
            .into_iter()
            .collect(),
        request_id: problem
            .context
            .and_then(|context| context.request_id)
            .and_then(|id| tracing_id(&id)),
    }
}

/// Takes a reason code of the form that codes have.
fn code(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    fits.then(|| text.to_owned())
}

/// Takes a request or correlation ID of a form that can be shown.
#[must_use]
pub fn tracing_id(text: &str) -> Option<String> {
    let fits = (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=".contains(&b));
    fits.then(|| text.to_owned())
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
