//! The emulator, asked in-process, on a clock of the test's own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use key_protect_emulator::Shared;
use key_protect_emulator::domain::access::Grant;
use key_protect_emulator::domain::instance::{Instance, Random};
use key_protect_emulator::domain::registrations::{Registration, check_creation};
use key_protect_emulator::http::calls::{Call, Trace, serve};
use key_protect_emulator::http::route::route;
use key_protect_emulator::iam::ServiceId;
use key_protect_emulator::iam::token::{Bearer, Claims};
use serde_json::{Value, json};
use uuid::Builder;

use crate::key::Key;
use crate::model::{Model, START};
use crate::operations::{Act, Caller, Create, Operation, Policies, Step};

const INSTANCE: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";
/// 32 bytes, fit for either class.
const PAYLOAD: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub(crate) struct Service {
    shared: Arc<Shared>,
    now: i64,
    drawn: u8,
}

/// What the emulator answered.
pub(crate) struct Asked {
    pub(crate) status: u16,
    pub(crate) code: Option<String>,
    pub(crate) body: Value,
    /// The ID of what was made.
    pub(crate) made: Option<String>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::new(i64::MAX / 4));
        {
            let mut world = shared.world();
            world
                .instances
                .insert(INSTANCE.to_owned(), Instance::new(INSTANCE, None));
            for caller in Caller::ALL {
                let (role, ring) = match caller {
                    Caller::Manager | Caller::SecondManager => ("Manager", None),
                    Caller::Writer => ("Writer", None),
                    Caller::ReaderPlus => ("ReaderPlus", None),
                    Caller::Reader => ("Reader", None),
                    Caller::Purger => ("KeyPurge", None),
                    Caller::RingManager => ("Manager", Some("ring-a")),
                };
                let mut grant = json!({ "instance": INSTANCE, "role": role });
                if let Some(ring) = ring {
                    grant["keyRing"] = json!(ring);
                }
                let grant: Grant = serde_json::from_value(grant).unwrap();
                let service = ServiceId::new(vec![grant]);
                world.identities.services.insert(caller.name(), service);
            }
        }
        Self {
            shared,
            now: START,
            drawn: 0,
        }
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += seconds;
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }

    fn draw(&mut self) -> Random {
        self.drawn = self.drawn.wrapping_add(1);
        let now = self.now.to_be_bytes();
        let uuid = |salt: u8| {
            let mut bytes = [salt; 16];
            bytes[..8].copy_from_slice(&now);
            // In front, so that the order of IDs is not that of creation.
            bytes[0] = self.drawn.wrapping_mul(97);
            bytes[15] = self.drawn;
            Builder::from_random_bytes(bytes).into_uuid()
        };
        Random {
            id: uuid(1),
            policies: [uuid(2), uuid(3)],
            payload: [self.drawn; 32],
            iv: [self.drawn; 12],
        }
    }

    fn call(
        &mut self,
        caller: Caller,
        method: &Method,
        path: &str,
        ring: Option<&str>,
        body: &Value,
    ) -> Asked {
        let (path, raw) = path.split_once('?').unwrap_or((path, ""));
        let query: Vec<(String, String)> = form_urlencoded::parse(raw.as_bytes())
            .into_owned()
            .collect();
        let random = self.draw();
        let now = self.time();
        let name = caller.name();
        let claims = Claims::new(&Bearer::ServiceId(&name), "g", "j".to_owned(), now, 3600);
        let mut world = self.shared.world();
        let token = world.signer.sign(&claims);
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        };
        set("authorization", &format!("Bearer {token}"));
        set("bluemix-instance", INSTANCE);
        if let Some(ring) = ring {
            set("x-kms-key-ring", ring);
        }
        let call = Call {
            host: None,
            route: route(method, &format!("/api/v2/{path}"), &query),
            query,
            headers,
            body: if body.is_null() {
                Bytes::new()
            } else {
                Bytes::from(body.to_string())
            },
            now,
            random,
            peer: None,
        };
        let answer = serve(&mut world, &call, &mut Trace::default());
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Asked {
            status: answer.status,
            code: answer.code,
            made: body["resources"][0]["id"].as_str().map(str::to_owned),
            body,
        }
    }

    /// Asks for what a step is about.
    pub(crate) fn ask(&mut self, model: &Model, step: &Step) -> Asked {
        let caller = step.caller;
        match &step.operation {
            Operation::Create(create) => self.create(caller, create),
            Operation::OnKey { key, header, act } => {
                let id = model
                    .keys()
                    .get(*key)
                    .map_or(UNKNOWN, |key| key.id.as_str());
                let (method, path, body) = request(id, act, model);
                self.call(caller, &method, &path, *header, &body)
            }
            Operation::CreateRing(ring) => self.call(
                caller,
                &Method::POST,
                &format!("key_rings/{ring}"),
                None,
                &Value::Null,
            ),
            Operation::DeleteRing { ring, force } => {
                let path = format!("key_rings/{ring}?force={force}");
                self.call(caller, &Method::DELETE, &path, None, &Value::Null)
            }
            Operation::SetAccess {
                enabled,
                create_root,
                create_standard,
                import_root,
                import_standard,
                enforce_token,
            } => {
                let attributes = json!({
                    "create_root_key": create_root, "create_standard_key": create_standard,
                    "import_root_key": import_root, "import_standard_key": import_standard,
                    "enforce_token": enforce_token,
                });
                self.set_policy(caller, "keyCreateImportAccess", *enabled, &attributes)
            }
            Operation::SetDualAuthOfNewKeys(enabled) => {
                self.set_policy(caller, "dualAuthDelete", *enabled, &Value::Null)
            }
            Operation::SetRotationOfNewKeys(enabled, months) => {
                let attributes = json!({ "interval_month": months });
                self.set_policy(caller, "rotation", *enabled, &attributes)
            }
            Operation::Register { key, retained } => {
                let id = model
                    .keys()
                    .get(*key)
                    .map_or(UNKNOWN, |key| key.id.as_str())
                    .to_owned();
                self.register(&id, *retained)
            }
        }
    }

    fn create(&mut self, caller: Caller, create: &Create) -> Asked {
        let mut resource = json!({ "name": "a key", "extractable": !create.root });
        if create.imported {
            resource["payload"] = json!(PAYLOAD);
        }
        if let Some(alias) = create.alias {
            resource["aliases"] = json!([alias]);
        }
        if let Some(after) = create.expires {
            let date = Timestamp::from_second(self.now + after).unwrap();
            resource["expirationDate"] = json!(date.to_string());
        }
        let path = if let Some(policies) = &create.policies {
            add_policies(&mut resource, policies);
            "keys_with_policy_overrides"
        } else {
            "keys"
        };
        self.call(
            caller,
            &Method::POST,
            path,
            create.ring,
            &envelope(&resource),
        )
    }

    fn set_policy(
        &mut self,
        caller: Caller,
        name: &str,
        enabled: bool,
        attributes: &Value,
    ) -> Asked {
        let mut data = json!({ "enabled": enabled });
        if !attributes.is_null() {
            data["attributes"] = attributes.clone();
        }
        let body = envelope(&json!({ "policy_type": name, "policy_data": data }));
        let path = format!("instance/policies?policy={name}");
        self.call(caller, &Method::PUT, &path, None, &body)
    }

    fn register(&mut self, id: &str, retained: bool) -> Asked {
        let creation_date = self.time();
        // Time goes by for the instance when it is asked, and not before.
        self.call(Caller::Manager, &Method::GET, "keys", None, &Value::Null);
        let mut world = self.shared.world();
        let instance = world.instances.get_mut(INSTANCE).unwrap();
        let status = match instance.keys.get(id) {
            None => 404,
            Some(key) => {
                check_creation(key.class, key.state).map_or_else(|refusal| refusal.status, |()| 201)
            }
        };
        if status == 201 {
            instance.registrations.push(Registration {
                key: id.to_owned(),
                resource_crn: "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:bucket:b"
                    .to_owned(),
                description: None,
                prevent_key_deletion: retained,
                version: (id.to_owned(), creation_date),
                created_by: "a service".to_owned(),
                creation_date,
                last_update: creation_date,
            });
        }
        Asked {
            status,
            code: None,
            body: Value::Null,
            made: None,
        }
    }

    /// Compares a key with the model's.
    pub(crate) fn compare(&mut self, key: &Key) -> Result<(), String> {
        let path = format!("keys/{}/metadata", key.id);
        let read = self.call(Caller::Manager, &Method::GET, &path, None, &Value::Null);
        if key.purged {
            return if read.status == 404 {
                Ok(())
            } else {
                Err("a purged key is there".to_owned())
            };
        }
        let row = &read.body["resources"][0];
        // A list tells the same, though it keeps what it has written.
        let listed = self.call(
            Caller::Manager,
            &Method::GET,
            "keys?state=0,1,2,3,5",
            None,
            &Value::Null,
        );
        let rows = listed.body["resources"].as_array();
        if !rows.is_some_and(|rows| rows.contains(row)) {
            return Err(format!(
                "a list has another row than {row}: {}",
                listed.body
            ));
        }
        let date = |second: i64| {
            Timestamp::from_second(second)
                .unwrap()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
        };
        let dual = key.dual == Some(true);
        let set = key.set.is_some_and(|(_, until)| self.now < until);
        for (name, actual, expected) in [
            ("state", &row["state"], json!(key.state)),
            ("extractable", &row["extractable"], json!(!key.root)),
            ("imported", &row["imported"], json!(key.imported)),
            ("keyRingID", &row["keyRingID"], json!(key.ring)),
            ("aliases", &row["aliases"], json!(key.aliases)),
            ("deleted", &row["deleted"], json!(key.deleted.is_some())),
            (
                "deletionDate",
                &row["deletionDate"],
                json!(key.deleted.map(|(at, _)| date(at))),
            ),
            (
                "expirationDate",
                &row["expirationDate"],
                json!(key.expires.map(date)),
            ),
            (
                "lastRotateDate",
                &row["lastRotateDate"],
                json!(key.rotated.map(date)),
            ),
            (
                "dualAuthDelete",
                &row["dualAuthDelete"]["enabled"],
                json!(dual),
            ),
            (
                "keySetForDeletion",
                &row["dualAuthDelete"]["keySetForDeletion"],
                json!(dual.then_some(set)),
            ),
            (
                "rotation",
                &row["rotation"]["interval_month"],
                json!(key.rotation.map(|(_, months)| months)),
            ),
            (
                "rotation",
                &row["rotation"]["enabled"],
                json!(key.rotation.map(|(enabled, _)| enabled)),
            ),
        ] {
            if *actual != expected {
                return Err(format!("{name} is {actual}, not {expected}: {row}"));
            }
        }
        Ok(())
    }

    /// Compares somebody's list, and its count, with the model's.
    pub(crate) fn compare_list(&mut self, model: &Model, caller: Caller) -> Result<(), String> {
        assert_eq!(self.now, model.now());
        let read = self.call(caller, &Method::GET, "keys?limit=5000", None, &Value::Null);
        let rows = read.body["resources"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        let expected = model.listed(caller);
        if read.status != 200 || ids != expected {
            return Err(format!("{caller:?} lists {ids:?}, not {expected:?}"));
        }
        Ok(())
    }
}

fn envelope(resource: &Value) -> Value {
    json!({ "metadata": { "collectionTotal": 1 }, "resources": [resource] })
}

fn add_policies(resource: &mut Value, policies: &Policies) {
    if let Some(dual) = policies.dual {
        resource["dualAuthDelete"] = json!({ "enabled": dual });
    }
    if let Some((enabled, interval)) = policies.rotation {
        resource["rotation"] = json!({ "enabled": enabled, "interval_month": interval });
    }
}

/// Makes the request of an act: method, path and body.
fn request(id: &str, act: &Act, model: &Model) -> (Method, String, Value) {
    let texts = |aad: bool| if aad { json!(["bound"]) } else { json!([]) };
    let wrapped = |at: usize, aad: bool| {
        let ciphertext = model
            .wrapped
            .get(at)
            .map_or("bm9uZQ==", |one| one.ciphertext.as_str());
        json!({ "ciphertext": ciphertext, "aad": texts(aad) })
    };
    let (method, path, body) = match act {
        Act::Metadata => (Method::GET, "/metadata".to_owned(), Value::Null),
        Act::Get => (Method::GET, String::new(), Value::Null),
        Act::Patch(ring) => (Method::PATCH, String::new(), json!({ "keyRingID": ring })),
        Act::Delete { force } => (Method::DELETE, format!("?force={force}"), Value::Null),
        Act::Purge => (Method::DELETE, "/purge".to_owned(), Value::Null),
        Act::Restore => (Method::POST, "/restore".to_owned(), Value::Null),
        Act::Versions => (Method::GET, "/versions".to_owned(), Value::Null),
        Act::Wrap { aad } => (
            Method::POST,
            "/actions/wrap".to_owned(),
            json!({ "aad": texts(*aad) }),
        ),
        Act::Unwrap { wrapped: at, aad } => (
            Method::POST,
            "/actions/unwrap".to_owned(),
            wrapped(*at, *aad),
        ),
        // The deprecated form, which answers the same.
        Act::Rewrap { wrapped: at, aad } => (
            Method::POST,
            "?action=rewrap".to_owned(),
            wrapped(*at, *aad),
        ),
        Act::Rotate { payload } => {
            let payload = payload.then_some(PAYLOAD);
            (
                Method::POST,
                "/actions/rotate".to_owned(),
                json!({ "payload": payload }),
            )
        }
        Act::Enable => (Method::POST, "/actions/enable".to_owned(), Value::Null),
        Act::Disable => (Method::POST, "?action=disable".to_owned(), Value::Null),
        Act::SetForDeletion => (
            Method::POST,
            "/actions/setKeyForDeletion".to_owned(),
            Value::Null,
        ),
        Act::UnsetForDeletion => (
            Method::POST,
            "/actions/unsetKeyForDeletion".to_owned(),
            json!({}),
        ),
        Act::Sync => (Method::POST, "/actions/sync".to_owned(), Value::Null),
        Act::SetPolicies(policies) => {
            let mut resource = json!({ "type": "application/vnd.ibm.kms.policy+json" });
            add_policies(&mut resource, policies);
            (Method::PUT, "/policies".to_owned(), envelope(&resource))
        }
        Act::Policies => (Method::GET, "/policies".to_owned(), Value::Null),
        Act::Registrations => (Method::GET, "/registrations".to_owned(), Value::Null),
        Act::CreateAlias(alias) => (Method::POST, format!("/aliases/{alias}"), Value::Null),
        Act::DeleteAlias(alias) => (Method::DELETE, format!("/aliases/{alias}"), Value::Null),
    };
    (method, format!("keys/{id}{path}"), body)
}
