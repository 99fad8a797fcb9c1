//! Files that people write: API keys and certificates.

use futures::FutureExt as _;
use key_protect_operator::domain::service::endpoint::resolve;
use key_protect_operator::domain::service::hosts::AllowedHosts;
use key_protect_operator::keyprotect::credential::Proof;
use key_protect_operator::keyprotect::{Client, ClientOptions, CredentialSource};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

fn read(text: &str) -> Result<String, String> {
    let file = CredentialSource::given(SecretString::from(text));
    // What was given is at hand, so that nothing is waited for.
    let read = file.read().now_or_never();
    match read.unwrap_or_else(|| panic!("it waits")).proof {
        Ok(Proof::ApiKey(key)) => {
            let shown = format!("{key:?}");
            let secret = key.expose_secret().to_owned();
            assert!(
                secret.len() < 24 || !shown.contains(&secret),
                "shown in {shown}"
            );
            Ok(secret)
        }
        Ok(other) => panic!("no API key: {other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

/// A key that is read is one word that a form can carry, reads as itself, and is shown nowhere;
/// what is refused is not quoted.
pub(crate) fn api_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match read(text) {
        Ok(key) => {
            assert!(!key.is_empty());
            assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
            assert_eq!(read(&key).as_ref(), Ok(&key), "read twice");
            assert_eq!(read(&format!("\u{feff} {key}\r\n")).as_ref(), Ok(&key));
        }
        Err(message) => {
            let is_quoted = text
                .split(|character: char| !character.is_ascii_alphanumeric())
                .filter(|word| word.len() > 16)
                .any(|word| message.contains(word));
            assert!(!is_quoted, "quoted in {message}");
        }
    }
}

/// A bundle makes a client, or an error that names the field and quotes nothing.
pub(crate) fn ca_bundle(data: &[u8]) {
    let Ok(pem) = std::str::from_utf8(data) else {
        return;
    };
    let provider = rustls::crypto::ring::default_provider();
    drop(provider.install_default());
    let spec = serde_json::from_value(json!({
        "instanceID": "12e8c9c2-a162-472d-b7d6-8b9a86b815a6",
        "region": "us-south",
        "endpoint": {"caBundle": pem},
    }));
    let Ok(spec) = spec else { return };
    let endpoint = resolve(&spec, &AllowedHosts::default()).unwrap_or_else(|error| {
        panic!("a bundle has no say in where an instance is: {error}");
    });
    let key = CredentialSource::given(SecretString::from("a-key"));
    if let Err(error) = Client::new(&endpoint, key, &ClientOptions::default()) {
        let message = error.to_string();
        assert!(message.contains("spec.endpoint.caBundle"), "{message}");
    }
}
