//! Access tokens: signed JWTs that say who the caller is, and until when.
//!
//! A token says nothing of rights. All live tokens are revoked at once by
//! changing the key that they are signed with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the `iam_id` of a service ID begins with; its name follows.
pub const SERVICE_PREFIX: &str = "iam-ServiceId-";

/// The claims of an access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// `iam-ServiceId-…`.
    pub iam_id: String,
    /// The same.
    pub id: String,
    /// `ServiceId-…`.
    pub sub: String,
    /// `ServiceId`.
    pub sub_type: String,
    /// The token's own ID.
    pub jti: String,
    /// From when, in seconds.
    pub iat: i64,
    /// Until when, in seconds.
    pub exp: i64,
    /// Who says so.
    pub iss: String,
    /// How the token was had.
    pub grant_type: String,
    /// `ibm openid`.
    pub scope: String,
}

impl Claims {
    /// Makes the claims of a token for an identity: a service ID's, by its
    /// name, or a profile's.
    pub fn new(
        bearer: &Bearer<'_>,
        grant_type: &str,
        jti: String,
        now: Timestamp,
        lifetime_seconds: i64,
    ) -> Self {
        let (iam_id, sub_type) = match bearer {
            Bearer::ServiceId(name) => (format!("{SERVICE_PREFIX}{name}"), "ServiceId"),
            Bearer::Profile(id) => (format!("iam-{id}"), "Profile"),
        };
        Self {
            id: iam_id.clone(),
            sub: iam_id.trim_start_matches("iam-").to_owned(),
            iam_id,
            sub_type: sub_type.to_owned(),
            jti,
            iat: now.as_second(),
            exp: now.as_second().saturating_add(lifetime_seconds),
            iss: "https://iam.cloud.ibm.com/identity".to_owned(),
            grant_type: grant_type.to_owned(),
            scope: "ibm openid".to_owned(),
        }
    }

    /// Returns the service ID's name, or the profile's ID.
    pub fn bearer(&self) -> &str {
        self.iam_id
            .strip_prefix(SERVICE_PREFIX)
            .unwrap_or(&self.sub)
    }
}

/// Who a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// A service ID, by its name.
    ServiceId(&'a str),
    /// A trusted profile, by its ID.
    Profile(&'a str),
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no JWT at all.
    NoJwt,
    /// It was not signed by this IAM, or was revoked since.
    Forged,
    /// It has expired.
    Expired,
}

/// What tokens are signed with.
#[derive(Debug)]
pub struct Signer {
    key: hmac::Key,
    generation: u32,
}

impl Signer {
    /// Makes a signer from random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            generation: 1,
        }
    }

    /// Changes the key, and so revokes every token that there is.
    pub fn revoke_all(&mut self, secret: &[u8; 32]) {
        self.key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        self.generation += 1;
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Claims) -> String {
        let header = json!({ "alg": "HS256", "typ": "JWT", "kid": self.generation.to_string() });
        let claims = serde_json::to_string(claims).unwrap_or_default();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Reads a token that was signed here and has not expired.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Unfit> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Unfit::NoJwt)?;
        let (header, claims) = signed.split_once('.').ok_or(Unfit::NoJwt)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Unfit::NoJwt);
        serde_json::from_slice::<serde_json::Value>(&decode(header)?).map_err(|_| Unfit::NoJwt)?;
        let claims = decode(claims)?;
        serde_json::from_slice::<serde_json::Value>(&claims).map_err(|_| Unfit::NoJwt)?;
        hmac::verify(&self.key, signed.as_bytes(), &decode(signature)?)
            .map_err(|_| Unfit::Forged)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Unfit::Forged)?;
        if claims.exp <= now.as_second() {
            return Err(Unfit::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_serves_until_it_expires_or_is_revoked() {
        let mut signer = Signer::new(&[1; 32]);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let token = signer.sign(&Claims::new(
            &Bearer::ServiceId("app"),
            "g",
            "j".to_owned(),
            now,
            60,
        ));
        assert_eq!(signer.verify(&token, now).unwrap().bearer(), "app");
        let later = Timestamp::from_second(1_800_000_060).unwrap();
        assert_eq!(signer.verify(&token, later).unwrap_err(), Unfit::Expired);
        assert_eq!(signer.verify("nonsense", now).unwrap_err(), Unfit::NoJwt);
        assert_eq!(signer.verify("a.b.c", now).unwrap_err(), Unfit::NoJwt);
        signer.revoke_all(&[2; 32]);
        assert_eq!(signer.verify(&token, now).unwrap_err(), Unfit::Forged);
    }
}
