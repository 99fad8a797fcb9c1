//! Envelope encryption: data keys wrapped by the versions of a root key.
//!
//! A wrapped key is base64 of a JSON object with the sealed bytes, the IV and a
//! handle, which is the version of the root key that sealed it. Clients take it
//! as opaque. Rights, classes and states are decided elsewhere.

pub mod cipher;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use self::cipher::IV_BYTES;
use super::refusal::Refusal;
use super::versions::{Version, Versions};

/// How long each text of the associated data may be.
const MAX_AAD: usize = 255;

/// The form of a wrapped key, as the service's own has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    ciphertext: String,
    iv: String,
    version: String,
    handle: String,
}

const FORM: &str = "4.0.0";

/// A data key, unwrapped.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwrapped<'k> {
    /// The data key.
    pub plaintext: Vec<u8>,
    /// The version that had wrapped it.
    pub version: &'k Version,
}

/// Wraps a data key by the newest version.
pub fn wrap(
    versions: &Versions,
    plaintext: &[u8],
    aad: &[String],
    iv: &[u8; IV_BYTES],
) -> Result<String, Refusal> {
    let newest = versions.newest();
    let sealed = cipher::seal(&newest.material, iv, &bind(aad), plaintext)
        .map_err(|_| Refusal::bare(500, "The root key's material has no size of AES."))?;
    let sealed = Sealed {
        ciphertext: STANDARD.encode(sealed),
        iv: STANDARD.encode(iv),
        version: FORM.to_owned(),
        handle: newest.id.clone(),
    };
    Ok(STANDARD.encode(serde_json::to_string(&sealed).unwrap_or_default()))
}

/// Unwraps a data key by whichever version wrapped it.
pub fn unwrap<'k>(
    versions: &'k Versions,
    ciphertext: &str,
    aad: &[String],
) -> Result<Unwrapped<'k>, Refusal> {
    let sealed = read(ciphertext).ok_or_else(unprocessable)?;
    let version = versions.find(&sealed.handle).ok_or_else(unprocessable)?;
    let iv = STANDARD.decode(&sealed.iv).map_err(|_| unprocessable())?;
    let iv = iv.as_slice().try_into().map_err(|_| unprocessable())?;
    let bytes = STANDARD
        .decode(&sealed.ciphertext)
        .map_err(|_| unprocessable())?;
    let plaintext =
        cipher::open(&version.material, iv, &bind(aad), &bytes).map_err(|_| unprocessable())?;
    Ok(Unwrapped { plaintext, version })
}

fn read(ciphertext: &str) -> Option<Sealed> {
    let sealed: Sealed = serde_json::from_slice(&STANDARD.decode(ciphertext).ok()?).ok()?;
    (sealed.version == FORM).then_some(sealed)
}

/// Makes the bytes that the cipher binds. They keep the texts apart: `a`, `bc`
/// is not `ab`, `c`. Without any text there is nothing to bind.
fn bind(aad: &[String]) -> Vec<u8> {
    if aad.is_empty() {
        return Vec::new();
    }
    serde_json::to_vec(aad).unwrap_or_default()
}

/// Refuses associated data that the service does not take.
pub fn check_aad(aad: &[String]) -> Result<(), Refusal> {
    if aad.iter().any(|text| text.chars().count() > MAX_AAD) {
        return Err(Refusal::field(
            "aad",
            "Additional authentication data has up to 255 characters each.",
        ));
    }
    Ok(())
}

/// The refusal for what was not wrapped by this key with this associated data.
fn unprocessable() -> Refusal {
    Refusal::because(
        422,
        "UNPROCESSABLE_CIPHERTEXT_ERR",
        "The provided ciphertext is invalid or corrupted.",
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn versions() -> Versions {
        Versions::new(version("v1", 1))
    }

    fn version(id: &str, byte: u8) -> Version {
        Version {
            id: id.to_owned(),
            creation_date: Timestamp::UNIX_EPOCH,
            material: vec![byte; 32],
        }
    }

    fn texts(aad: &[&str]) -> Vec<String> {
        aad.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_wrapped_key_opens_under_its_version_and_associated_data_only() {
        let mut versions = versions();
        let aad = texts(&["ab", "c"]);
        let old = wrap(&versions, b"data key", &aad, &[7; 12]).unwrap();
        versions.rotate(version("v2", 2));
        let opened = unwrap(&versions, &old, &aad).unwrap();
        assert_eq!(
            (opened.plaintext.as_slice(), opened.version.id.as_str()),
            (&b"data key"[..], "v1")
        );
        let new = wrap(&versions, b"data key", &aad, &[8; 12]).unwrap();
        assert_eq!(unwrap(&versions, &new, &aad).unwrap().version.id, "v2");
        for wrong in [
            texts(&[]),
            texts(&["abc"]),
            texts(&["a", "bc"]),
            texts(&["c", "ab"]),
        ] {
            let refusal = unwrap(&versions, &old, &wrong).unwrap_err();
            assert_eq!(
                (refusal.status, refusal.code()),
                (422, Some("UNPROCESSABLE_CIPHERTEXT_ERR"))
            );
        }
        let stranger = Versions::new(version("v1", 9));
        assert_eq!(unwrap(&stranger, &old, &aad).unwrap_err().status, 422);
    }

    #[test]
    fn texts_that_are_no_wrapped_key_are_unprocessable() {
        let versions = versions();
        let good = wrap(&versions, b"", &[], &[0; 12]).unwrap();
        assert!(unwrap(&versions, &good, &[]).is_ok());
        let inner = String::from_utf8(STANDARD.decode(&good).unwrap()).unwrap();
        for bad in [
            String::new(),
            "no base64".to_owned(),
            STANDARD.encode("{}"),
            STANDARD.encode(inner.replace("4.0.0", "3.0.0")),
            STANDARD.encode(inner.replace("v1", "v9")),
            STANDARD.encode(inner.replace("\"iv\":\"", "\"iv\":\"AA")),
            STANDARD.encode(inner.replace("\"ciphertext\":\"", "\"ciphertext\":\"!")),
        ] {
            assert_eq!(
                unwrap(&versions, &bad, &[]).unwrap_err().status,
                422,
                "{bad}"
            );
        }
    }

    #[test]
    fn associated_data_has_a_length() {
        assert!(check_aad(&["x".repeat(255)]).is_ok());
        assert_eq!(check_aad(&["x".repeat(256)]).unwrap_err().status, 400);
    }
}
