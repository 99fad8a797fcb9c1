//! Trusted profiles: whether a Pod's ServiceAccount token is one that a profile
//! trusts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a profile trusts: a ServiceAccount of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Trust {
    /// The namespace.
    pub namespace: String,
    /// The ServiceAccount's name.
    pub service_account: String,
    /// The cluster's issuer; any, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The audience that must be among the token's; `iam` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The cluster's keys, as its `/openid/v1/jwks` has them. Signatures go
    /// unchecked when absent, for tests without a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
}

/// Says why a ServiceAccount token is not trusted, if it is not.
pub fn distrust(trust: &Trust, token: &str, now: Timestamp) -> Option<&'static str> {
    let Some((signed, signature)) = token.rsplit_once('.') else {
        return Some("The compute resource token is no JWT.");
    };
    let parts: Vec<Value> = signed.split('.').filter_map(decode).collect();
    let [header, claims] = parts.as_slice() else {
        return Some("The compute resource token is no JWT.");
    };
    if let Some(jwks) = &trust.jwks
        && !signed_by(jwks, header, signed, signature)
    {
        return Some("The signature of the compute resource token is not the cluster's.");
    }
    if claims["exp"]
        .as_i64()
        .is_none_or(|expiry| expiry <= now.as_second())
    {
        return Some("The compute resource token has expired.");
    }
    if trust.issuer.is_some() && claims["iss"].as_str() != trust.issuer.as_deref() {
        return Some("The compute resource token is another cluster's.");
    }
    let audience = trust.audience.as_deref().unwrap_or("iam");
    let meant = match &claims["aud"] {
        Value::String(one) => one == audience,
        Value::Array(many) => many.iter().any(|one| one == audience),
        _ => false,
    };
    if !meant {
        return Some("The compute resource token is for another audience.");
    }
    let subject = format!(
        "system:serviceaccount:{}:{}",
        trust.namespace, trust.service_account
    );
    if claims["sub"].as_str() != Some(&subject) {
        return Some("The profile does not trust this compute resource.");
    }
    None
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Checks an RS256 signature, which is what Kubernetes makes.
fn signed_by(jwks: &Value, header: &Value, signed: &str, signature: &str) -> bool {
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
        return false;
    };
    let keys = jwks["keys"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let component = |key: &Value, name: &str| {
        URL_SAFE_NO_PAD
            .decode(key[name].as_str().unwrap_or_default())
            .unwrap_or_default()
    };
    header["alg"] == "RS256"
        && keys
            .iter()
            .filter(|key| key["kid"] == header["kid"])
            .any(|key| {
                RsaPublicKeyComponents {
                    n: component(key, "n"),
                    e: component(key, "e"),
                }
                .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
                .is_ok()
            })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use ring::rand::SystemRandom;
    use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
    use serde_json::json;

    use super::*;
    use crate::domain::import_token::PRIVATE_KEY;

    fn token(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!(
            "{}.{}.c2ln",
            part(&json!({ "alg": "RS256", "kid": "k" })),
            part(claims)
        )
    }

    #[test]
    fn only_the_service_account_that_is_named_is_trusted() {
        let now = Timestamp::from_second(1000).unwrap();
        let trust = Trust {
            namespace: "ns".to_owned(),
            service_account: "op".to_owned(),
            ..Trust::default()
        };
        let claims = |subject: &str, audience: Value, expiry: i64| {
            token(&json!({ "sub": subject, "aud": audience, "exp": expiry }))
        };
        let good = "system:serviceaccount:ns:op";
        assert_eq!(
            distrust(&trust, &claims(good, json!(["iam"]), 2000), now),
            None
        );
        for bad in [
            claims("system:serviceaccount:ns:other", json!(["iam"]), 2000),
            claims(good, json!("vault"), 2000),
            claims(good, json!(["iam"]), 1000),
            "x.y".to_owned(),
        ] {
            assert!(distrust(&trust, &bad, now).is_some(), "{bad}");
        }
        let strict = Trust {
            jwks: Some(json!({ "keys": [] })),
            ..trust
        };
        assert!(distrust(&strict, &claims(good, json!(["iam"]), 2000), now).is_some());
    }

    #[test]
    fn a_signature_counts_that_a_key_of_the_cluster_made_over_these_bytes() {
        let pem: String = PRIVATE_KEY
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).unwrap()).unwrap();
        let public = key.public();
        let component = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = |kid: &str| {
            let RsaPublicKeyComponents::<Vec<u8>> { n, e } = public.into();
            let (n, e) = (component(&n), component(&e));
            json!({ "keys": [{ "kid": kid, "kty": "RSA", "n": n, "e": e }] })
        };
        let claims = json!({ "sub": "system:serviceaccount:ns:op", "aud": "iam", "exp": 2000 });
        let unsigned = token(&claims);
        let (signed, _) = unsigned.rsplit_once('.').unwrap();
        let mut signature = vec![0; public.modulus_len()];
        let random = SystemRandom::new();
        key.sign(
            &RSA_PKCS1_SHA256,
            &random,
            signed.as_bytes(),
            &mut signature,
        )
        .unwrap();
        let good = format!("{signed}.{}", component(&signature));
        let distrusted = |jwks: Value, token: &str| {
            let trust = Trust {
                namespace: "ns".to_owned(),
                service_account: "op".to_owned(),
                jwks: Some(jwks),
                ..Trust::default()
            };
            distrust(&trust, token, Timestamp::from_second(1000).unwrap())
        };
        assert_eq!(distrusted(jwk("k"), &good), None);
        let forged = Some("The signature of the compute resource token is not the cluster's.");
        assert_eq!(distrusted(jwk("another"), &good), forged);
        assert_eq!(distrusted(jwk("k"), &unsigned), forged);
        signature[7] ^= 1;
        let spoilt = format!("{signed}.{}", component(&signature));
        assert_eq!(distrusted(jwk("k"), &spoilt), forged);
    }
}
