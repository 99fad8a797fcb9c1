//! An emulator with a few keys, and clients for it.

use std::path::PathBuf;

use key_protect_emulator::{Emulator, Options, Served, Wanted};
use key_protect_operator::api::KeyProtectInstanceSpec;
use key_protect_operator::domain::service::endpoint::{AllowedHosts, Endpoint, resolve};
use key_protect_operator::keyprotect::{Client, ClientOptions, CredentialSource};
use serde_json::{Value, json};

pub(crate) const INSTANCE: &str = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";
pub(crate) const STANDARD: &str = "02fd6835-6001-4482-a892-13bd2085f75d";
pub(crate) const ROOT: &str = "fc0d8ef3-e0f5-4a90-8bd9-0f4bba1b2c8a";
pub(crate) const UNKNOWN: &str = "0b0e8cd0-c24c-4b4e-8a52-8e3a29cbfa0e";
pub(crate) const ORG: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const SPACE: &str = "aaaaaaaa-0000-4000-8000-000000000002";
pub(crate) const API_KEY: &str = "reader-plus-api-key";

/// An emulator, and a folder with an API key for it.
pub(crate) struct Bed {
    pub(crate) emulator: Emulator,
    folder: PathBuf,
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// reqwest panics without a process-wide TLS provider.
pub(crate) fn tls_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

impl Bed {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        tls_provider();
        let seed = json!({
            "instances": [{
                "id": INSTANCE, "bluemixOrg": ORG, "bluemixSpace": SPACE, "rings": ["payments"],
                "keys": [
                    {"name": "orders", "id": STANDARD, "aliases": ["orders-db"], "payload": "aGVsbG8=", "keyRing": "payments"},
                    {"name": "root", "id": ROOT, "extractable": false},
                ],
            }],
            "serviceIds": [
                {"name": "iam-ServiceId-plus", "apiKey": API_KEY, "roles": [{"instance": INSTANCE, "role": "ReaderPlus"}]},
                {"name": "iam-ServiceId-reader", "apiKey": "reader-api-key", "roles": [{"instance": INSTANCE, "role": "Reader"}]},
            ],
        });
        let seed = serde_json::from_value(seed).unwrap();
        let emulator = Emulator::start(Options { seed, ..options }).await.unwrap();
        let folder = std::env::temp_dir().join(format!("kpo-it-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        let bed = Self { emulator, folder };
        bed.put_api_key(API_KEY);
        bed
    }

    /// Puts an API key into the file, as the kubelet does: never half of it.
    pub(crate) fn put_api_key(&self, key: &str) {
        let new = self.folder.join("new");
        std::fs::write(&new, format!("{key}\n")).unwrap();
        std::fs::rename(&new, self.folder.join("apikey")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub(crate) fn credential(&self) -> CredentialSource {
        CredentialSource::at(self.folder.join("apikey"))
    }

    pub(crate) fn spec(&self, more: &Value) -> KeyProtectInstanceSpec {
        let mut spec = json!({
            "instanceID": INSTANCE,
            "region": "us-south",
            "endpoint": {"url": self.emulator.api_url(), "iamURL": self.emulator.api_url()},
        });
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    pub(crate) fn endpoint(&self, more: &Value) -> Endpoint {
        resolve(&self.spec(more), &allowed(&self.emulator.api_url())).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(&json!({}), &options())
    }

    pub(crate) fn client_with(&self, more: &Value, options: &ClientOptions) -> Client {
        Client::new(&self.endpoint(more), self.credential(), options).unwrap()
    }

    pub(crate) fn fault(&self, fault: Value) {
        self.emulator
            .put_fault("f", serde_json::from_value(fault).unwrap());
    }

    pub(crate) fn modes(&self, modes: Value) {
        self.emulator
            .set_modes(serde_json::from_value(modes).unwrap());
    }

    pub(crate) fn served(&self, operation: &str) -> Vec<Served> {
        self.emulator.requests(&Wanted {
            operation: Some(operation.to_owned()),
            ..Wanted::default()
        })
    }
}

pub(crate) fn allowed(url: &str) -> AllowedHosts {
    let host = url.split_once("://").unwrap().1.to_owned();
    AllowedHosts {
        iam: vec![host.clone()],
        keys: vec![host],
        insecure_loopback: true,
    }
}

pub(crate) fn options() -> ClientOptions {
    ClientOptions {
        jitter_seed: Some(7),
        ..ClientOptions::default()
    }
}

/// Waits until something holds, for as long as a noisy machine may need.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed().as_secs() < 60, "not in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
