//! Material that is brought along: plain, or encrypted for an import token.
//!
//! Whoever imports a root key encrypts its material by the token's public key,
//! and the token's nonce by the material: that shows that the one was meant for
//! the other.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rsa::PrivateKey;
use rsa::pkcs8::DecodePrivateKey as _;
use sha1::Sha1;
use sha2::Sha256;

use super::envelope::cipher::{self, IV_BYTES};
use super::import_token::{ImportToken, PRIVATE_KEY, expired};
use super::new_key::{check_size, decode_payload};
use super::refusal::Refusal;
use super::state::KeyClass;

/// How the material is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `RSAES_OAEP_SHA_256`
    OaepSha256,
    /// `RSAES_OAEP_SHA_1`
    OaepSha1,
}

/// What comes with material that is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// How.
    pub algorithm: Algorithm,
    /// The token's nonce, encrypted by the material, with its tag.
    pub encrypted_nonce: Vec<u8>,
    /// The IV of that.
    pub iv: Vec<u8>,
}

impl Encryption {
    /// Reads it from the fields of a request, where there are any.
    pub fn parse(
        encrypted_nonce: Option<&str>,
        iv: Option<&str>,
        algorithm: Option<&str>,
    ) -> Result<Option<Self>, Refusal> {
        if encrypted_nonce.is_none() && iv.is_none() && algorithm.is_none() {
            return Ok(None);
        }
        let algorithm = match algorithm {
            None | Some("RSAES_OAEP_SHA_256") => Algorithm::OaepSha256,
            Some("RSAES_OAEP_SHA_1") => Algorithm::OaepSha1,
            Some(_) => {
                return Err(Refusal::field(
                    "encryptionAlgorithm",
                    "Either RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1.",
                ));
            }
        };
        Ok(Some(Self {
            algorithm,
            encrypted_nonce: bytes("encryptedNonce", encrypted_nonce)?,
            iv: bytes("iv", iv)?,
        }))
    }
}

fn bytes(name: &str, text: Option<&str>) -> Result<Vec<u8>, Refusal> {
    let decoded = text.and_then(|text| STANDARD.decode(text).ok());
    decoded
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| Refusal::field(name, "An encrypted import needs this, in base64."))
}

/// Returns the material that a request brings along.
pub fn material(
    class: KeyClass,
    payload: &str,
    encryption: Option<&Encryption>,
    token: Option<&ImportToken>,
    now: Timestamp,
) -> Result<Vec<u8>, Refusal> {
    let Some(encryption) = encryption else {
        return decode_payload(class, payload);
    };
    if class == KeyClass::Standard {
        return Err(Refusal::field(
            "encryptedNonce",
            "Only a root key is imported by an import token.",
        ));
    }
    let token = token
        .filter(|token| now < token.expiration())
        .ok_or_else(expired)?;
    let material = STANDARD
        .decode(payload)
        .ok()
        .and_then(|sealed| decrypt(encryption.algorithm, &sealed))
        .ok_or_else(|| {
            Refusal::field(
                "payload",
                "The payload is not encrypted by the import token's public key.",
            )
        })?;
    check_size(class, &material)?;
    check_nonce(&material, encryption, token)?;
    Ok(material)
}

fn decrypt(algorithm: Algorithm, sealed: &[u8]) -> Option<Vec<u8>> {
    static KEY: LazyLock<Option<PrivateKey>> =
        LazyLock::new(|| PrivateKey::from_pkcs8_pem(PRIVATE_KEY).ok());
    let key = KEY.as_ref()?;
    match algorithm {
        Algorithm::OaepSha256 => key.oaep_decrypt::<Sha256>(sealed),
        Algorithm::OaepSha1 => key.oaep_decrypt::<Sha1>(sealed),
    }
    .ok()
}

fn check_nonce(
    material: &[u8],
    encryption: &Encryption,
    token: &ImportToken,
) -> Result<(), Refusal> {
    let iv = <&[u8; IV_BYTES]>::try_from(encryption.iv.as_slice()).ok();
    let nonce = iv.and_then(|iv| cipher::open(material, iv, b"", &encryption.encrypted_nonce).ok());
    match nonce {
        None => Err(Refusal::because(
            400,
            "INCORRECT_NONCE_IV_ERR",
            "The provided encrypted nonce was not encrypted with the key material given OR the \
             provided IV does not match the encrypted nonce.",
        )),
        Some(nonce) if nonce != token.nonce => Err(Refusal::because(
            400,
            "INCORRECT_NONCE_ERR",
            "The encrypted nonce given does not match existing record, please ensure the correct \
             nonce was given in the request.",
        )),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::modes::after;

    const MATERIAL: [u8; 32] = *b"material of a root key, 32 bytes";
    const NONCE: [u8; 12] = [5; 12];

    /// What OpenSSL made of the material: `pkeyutl -encrypt` with OAEP padding.
    const BY_OPENSSL: [(Algorithm, &str); 2] = [
        (
            Algorithm::OaepSha256,
            include_str!("vectors/oaep_sha256.b64"),
        ),
        (Algorithm::OaepSha1, include_str!("vectors/oaep_sha1.b64")),
    ];

    fn token() -> ImportToken {
        ImportToken::new(Some(300), None, NONCE, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn encryption(algorithm: Algorithm, nonce: &[u8]) -> Encryption {
        let iv = [7; IV_BYTES];
        Encryption {
            algorithm,
            encrypted_nonce: cipher::seal(&MATERIAL, &iv, b"", nonce).unwrap(),
            iv: iv.to_vec(),
        }
    }

    fn open(payload: &str, encryption: &Encryption) -> Result<Vec<u8>, Option<&'static str>> {
        let now = Timestamp::UNIX_EPOCH;
        material(
            KeyClass::Root,
            payload,
            Some(encryption),
            Some(&token()),
            now,
        )
        .map_err(|refusal| refusal.code())
    }

    #[test]
    fn what_openssl_encrypts_is_opened() {
        for (algorithm, sealed) in BY_OPENSSL {
            let encryption = encryption(algorithm, &NONCE);
            assert_eq!(open(sealed.trim(), &encryption), Ok(MATERIAL.to_vec()));
        }
    }

    #[test]
    fn whatever_does_not_fit_together_is_refused_by_its_own_code() {
        let (algorithm, sealed) = BY_OPENSSL[0];
        let sealed = sealed.trim();
        let right = encryption(algorithm, &NONCE);
        let other_iv = Encryption {
            iv: vec![8; IV_BYTES],
            ..right.clone()
        };
        let short_iv = Encryption {
            iv: vec![7; 3],
            ..right.clone()
        };
        let other_algorithm = Encryption {
            algorithm: Algorithm::OaepSha1,
            ..right.clone()
        };
        let other_nonce = encryption(algorithm, &[6; 12]);
        for (payload, encryption, code) in [
            (sealed, &other_iv, "INCORRECT_NONCE_IV_ERR"),
            (sealed, &short_iv, "INCORRECT_NONCE_IV_ERR"),
            (sealed, &other_nonce, "INCORRECT_NONCE_ERR"),
            (sealed, &other_algorithm, "INVALID_FIELD_ERR"),
            ("aGVsbG8=", &right, "INVALID_FIELD_ERR"),
            ("no base64!", &right, "INVALID_FIELD_ERR"),
        ] {
            assert_eq!(open(payload, encryption), Err(Some(code)), "{payload}");
        }
        let late = after(Timestamp::UNIX_EPOCH, 300);
        for token in [None, Some(&token())] {
            let refused = material(KeyClass::Root, sealed, Some(&right), token, late);
            assert_eq!(
                refused.unwrap_err().code(),
                Some("IMPORT_TOKEN_EXPIRED_ERR")
            );
        }
        let now = Timestamp::UNIX_EPOCH;
        let standard = material(
            KeyClass::Standard,
            sealed,
            Some(&right),
            Some(&token()),
            now,
        );
        assert_eq!(standard.unwrap_err().status, 400);
    }

    #[test]
    fn an_encryption_is_whole_or_refused() {
        assert_eq!(Encryption::parse(None, None, None), Ok(None));
        let whole = Encryption::parse(Some("aGk="), Some("aGk="), None).unwrap();
        assert_eq!(whole.unwrap().algorithm, Algorithm::OaepSha256);
        for (nonce, iv, algorithm, field) in [
            (None, Some("aGk="), None, "encryptedNonce"),
            (Some("aGk="), None, None, "iv"),
            (Some("aGk="), Some("?"), None, "iv"),
            (
                Some("aGk="),
                Some("aGk="),
                Some("RSA"),
                "encryptionAlgorithm",
            ),
        ] {
            let refusal = Encryption::parse(nonce, iv, algorithm).unwrap_err();
            assert_eq!(refusal.reasons[0].field.as_deref(), Some(field));
        }
    }
}
