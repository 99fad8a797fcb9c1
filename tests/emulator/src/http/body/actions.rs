//! Bodies of the actions on a key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{encryption, object, optional_object, text, texts};
use crate::domain::import::Encryption;
use crate::domain::refusal::Refusal;

/// What is to be wrapped.
#[derive(Debug)]
pub struct Wrap {
    /// The data key, when one is brought along.
    pub plaintext: Option<Vec<u8>>,
    /// What is bound to it.
    pub aad: Vec<String>,
}

/// What is to be unwrapped.
#[derive(Debug)]
pub struct Wrapped {
    /// The wrapped data key.
    pub ciphertext: String,
    /// What was bound to it.
    pub aad: Vec<String>,
}

/// Reads a request to wrap; it may have no body at all.
pub fn wrap(body: &[u8]) -> Result<Wrap, Refusal> {
    let mut fields = optional_object(body, &["plaintext", "aad"])?.unwrap_or_default();
    let plaintext = text(&mut fields, "plaintext")?
        .filter(|text| !text.is_empty())
        .map(|text| STANDARD.decode(text))
        .transpose()
        .map_err(|_| Refusal::field("plaintext", "The plaintext is not in base64."))?;
    Ok(Wrap {
        plaintext,
        aad: texts(&mut fields, "aad")?,
    })
}

/// Reads a request to unwrap or to rewrap.
pub fn wrapped(body: &[u8]) -> Result<Wrapped, Refusal> {
    let mut fields = object(body, &["ciphertext", "aad"])?;
    let ciphertext = text(&mut fields, "ciphertext")?.filter(|text| !text.is_empty());
    Ok(Wrapped {
        ciphertext: ciphertext
            .ok_or_else(|| Refusal::field("ciphertext", "There is no ciphertext."))?,
        aad: texts(&mut fields, "aad")?,
    })
}

/// Reads a request to rotate: the payload, when one is brought along, and how
/// it is encrypted.
pub fn rotation(body: &[u8]) -> Result<(Option<String>, Option<Encryption>), Refusal> {
    let known = ["payload", "encryptedNonce", "iv", "encryptionAlgorithm"];
    let mut fields = optional_object(body, &known)?.unwrap_or_default();
    let encryption = encryption(&mut fields)?;
    Ok((text(&mut fields, "payload")?, encryption))
}

/// Reads the body of an action that takes none: nothing, `null` or `{}`.
pub fn nothing(body: &[u8]) -> Result<(), Refusal> {
    optional_object(body, &[]).map(drop)
}
