//! A caller of the emulator over real sockets.

use std::sync::Once;

use key_protect_emulator::control::types::{CreateKey, NewInstance, NewServiceId};
use key_protect_emulator::http::route::Operation;
use key_protect_emulator::{Emulator, Options, Tls};
use reqwest::{Certificate, Method, RequestBuilder, Response};
use serde_json::{Value, json};

pub(crate) const INSTANCE: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const OTHER_INSTANCE: &str = "aaaaaaaa-0000-4000-8000-000000000002";
const APIKEY_GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";

/// An emulator with an instance and a Manager, and a client for it.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) client: reqwest::Client,
    pub(crate) token: String,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Read {
    pub(crate) fn code(&self) -> Option<&str> {
        self.body["resources"][0]["reasons"][0]["code"].as_str()
    }

    pub(crate) fn resource(&self) -> &Value {
        &self.body["resources"][0]
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let rows = self.body["resources"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["id"].as_str().map(str::to_owned))
            .collect()
    }
}

pub(crate) async fn read(response: Response) -> Read {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Read {
        status,
        headers,
        body,
        text,
    }
}

pub(crate) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
}

pub(crate) fn roles(role: &str) -> Value {
    json!([{ "instance": INSTANCE, "role": role }])
}

impl World {
    pub(crate) async fn plain() -> Self {
        Self::start(None).await
    }

    pub(crate) async fn start(tls: Option<Tls>) -> Self {
        install_provider();
        let emulator = Emulator::start(Options {
            tls,
            ..Options::default()
        })
        .await
        .unwrap();
        for id in [INSTANCE, OTHER_INSTANCE] {
            let new = NewInstance {
                id: id.to_owned(),
                ..NewInstance::default()
            };
            emulator.create_instance(new).unwrap();
        }
        let builder = match emulator.ca_pem() {
            Some(pem) => {
                let ca = Certificate::from_pem(pem.as_bytes()).unwrap();
                reqwest::Client::builder().tls_certs_only([ca])
            }
            None => reqwest::Client::builder().tls_certs_only([]),
        };
        let client = builder.no_proxy().build().unwrap();
        let mut world = Self {
            emulator,
            client,
            token: String::new(),
        };
        world.token = world.token_for("manager", &roles("Manager")).await;
        world
    }

    /// Makes a service ID with these roles, and a token for it.
    pub(crate) async fn token_for(&self, name: &str, roles: &Value) -> String {
        let key = format!("key-of-{name}");
        let new = json!({ "name": name, "apiKey": key, "roles": roles });
        let new: NewServiceId = serde_json::from_value(new).unwrap();
        self.emulator.create_service_id(new).unwrap();
        let answer = self.ask_token("/identity/token", &key).await;
        answer.body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn ask_token(&self, path: &str, key: &str) -> Read {
        let request = self
            .client
            .post(format!("{}{path}", self.emulator.api_url()))
            .form(&[("grant_type", APIKEY_GRANT), ("apikey", key)]);
        read(request.send().await.unwrap()).await
    }

    /// A request with a token and the instance.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.as_caller(&self.token, method, path)
    }

    pub(crate) fn as_caller(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .bearer_auth(token)
            .header("bluemix-instance", INSTANCE)
    }

    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}/api/v2/{path}", self.emulator.api_url()))
    }

    pub(crate) async fn send(&self, method: Method, path: &str) -> Read {
        read(self.request(method, path).send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Read {
        self.send(Method::GET, path).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Read {
        read(
            self.request(Method::POST, path)
                .body(body.to_string())
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Read {
        read(
            self.as_caller(token, Method::GET, path)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    /// Makes a key behind the service's back and returns its ID.
    pub(crate) fn key(&self, new: Value) -> String {
        let new: CreateKey = serde_json::from_value(new).unwrap();
        let key = self.emulator.create_key(INSTANCE, new).unwrap();
        key["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn modes(&self, changes: Value) {
        let Value::Object(changes) = changes else {
            panic!("modes are an object")
        };
        self.emulator.change_modes(changes).unwrap();
    }

    pub(crate) fn fault(&self, name: &str, fault: &Value) {
        self.emulator
            .put_fault(name, serde_json::from_value(fault.clone()).unwrap());
    }
}

/// Every request that writes: its operation, its method and its path, with
/// `{key}` for a key.
const WRITES: [(&str, &str, &str); 29] = [
    ("create", "POST", "keys"),
    ("createWithPolicies", "POST", "keys_with_policy_overrides"),
    ("patch", "PATCH", "keys/{key}"),
    ("delete", "DELETE", "keys/{key}"),
    ("purge", "DELETE", "keys/{key}/purge"),
    ("restore", "POST", "keys/{key}/restore"),
    ("rotate", "POST", "keys/{key}/actions/rotate"),
    ("enable", "POST", "keys/{key}/actions/enable"),
    ("disable", "POST", "keys/{key}/actions/disable"),
    (
        "setKeyForDeletion",
        "POST",
        "keys/{key}/actions/setKeyForDeletion",
    ),
    (
        "unsetKeyForDeletion",
        "POST",
        "keys/{key}/actions/unsetKeyForDeletion",
    ),
    ("sync", "POST", "keys/{key}/actions/sync"),
    ("setKeyPolicies", "PUT", "keys/{key}/policies"),
    ("createAlias", "POST", "keys/{key}/aliases/new-alias"),
    ("deleteAlias", "DELETE", "keys/{key}/aliases/alias"),
    ("createRing", "POST", "key_rings/ring-b"),
    ("deleteRing", "DELETE", "key_rings/ring-a"),
    ("setInstancePolicies", "PUT", "instance/policies"),
    ("createImportToken", "POST", "import_token"),
    // It is read, and has one retrieval less.
    ("importToken", "GET", "import_token"),
    ("createRegistration", "POST", "keys/{key}/registrations/crn"),
    ("replaceRegistration", "PUT", "keys/{key}/registrations/crn"),
    (
        "updateRegistration",
        "PATCH",
        "keys/{key}/registrations/crn",
    ),
    (
        "deleteRegistration",
        "DELETE",
        "keys/{key}/registrations/crn",
    ),
    ("createKmipAdapter", "POST", "kmip_adapters"),
    ("deleteKmipAdapter", "DELETE", "kmip_adapters/adapter"),
    (
        "deleteKmipObject",
        "DELETE",
        "kmip_adapters/adapter/kmip_objects/object",
    ),
    (
        "addKmipCertificate",
        "POST",
        "kmip_adapters/adapter/certificates",
    ),
    (
        "deleteKmipCertificate",
        "DELETE",
        "kmip_adapters/adapter/certificates/one",
    ),
];

/// Returns every request that writes, with this key where there is one in it:
/// its operation, its method and its path.
pub(crate) fn writes(key: &str) -> Vec<(&'static str, Method, String)> {
    // A write that a table leaves out would go on unnoticed.
    let listed: Vec<&str> = WRITES.iter().map(|(operation, ..)| *operation).collect();
    let all = Operation::ALL.iter().filter(|operation| operation.writes());
    assert_eq!(listed, all.map(|one| one.name()).collect::<Vec<_>>());
    let of = |(operation, method, path): &(&'static str, &str, &str)| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        (*operation, method, path.replace("{key}", key))
    };
    WRITES.iter().map(of).collect()
}

/// Wraps a resource in the envelope of a create request.
pub(crate) fn wrapped(resource: &Value) -> Value {
    json!({
        "metadata": {
            "collectionType": "application/vnd.ibm.kms.key+json", "collectionTotal": 1,
        },
        "resources": [resource],
    })
}
