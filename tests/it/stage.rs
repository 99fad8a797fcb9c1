//! The main job's stage: a real API server, the emulator behind real TLS, and the operator as a
//! process under the ServiceAccount and RBAC that ship.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use key_protect_emulator::{Emulator, Options, Served, Tls, Wanted};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, Output, eventually};

pub(crate) const OPERATOR_NAMESPACE: &str = "key-protect-system";
pub(crate) const API_KEY: &str = "stage-api-key-0123456789";
/// The grace that the operator under test is given, so that a test can see its end.
pub(crate) const GRACE: &str = "4s";

/// Cluster, emulator and operator.
pub(crate) struct Stage {
    pub(crate) cluster: &'static Cluster,
    pub(crate) emulator: Emulator,
    folder: PathBuf,
    operator: Mutex<Option<Child>>,
    _runtime: Runtime,
}

/// An instance of its own in the emulator, the object that names it, and a namespace.
pub(crate) struct Scene {
    pub(crate) stage: &'static Stage,
    /// GUID in the emulator.
    pub(crate) guid: String,
    /// Name of the KeyProtectInstance.
    pub(crate) instance: String,
    /// The team's namespace.
    pub(crate) namespace: String,
}

impl Stage {
    /// The one stage of this process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Stage> = OnceLock::new();
        SHARED.get_or_init(|| {
            let stage = Self::set();
            stage.start_operator();
            stage
        })
    }

    fn set() -> Self {
        crate::bed::tls_provider();
        let cluster = Cluster::shared();
        let runtime = Runtime::new().expect("a runtime for the emulator");
        // Block on a thread of its own: the test that comes first may be in a runtime itself.
        let emulator = std::thread::scope(|scope| {
            let started = scope.spawn(|| runtime.block_on(Emulator::start(options())));
            started
                .join()
                .expect("the emulator's start")
                .expect("the emulator")
        });
        let folder = std::env::temp_dir().join(format!("kpo-stage-{}", std::process::id()));
        fs::create_dir_all(folder.join("credentials/default")).expect("a folder");
        let stage = Self {
            cluster,
            emulator,
            folder,
            operator: Mutex::new(None),
            _runtime: runtime,
        };
        stage.put_api_key(API_KEY);
        cluster.install("deploy/overlays/standard");
        stage
    }

    /// Puts an API key where the operator finds it, as the kubelet does: never half of it.
    pub(crate) fn put_api_key(&self, key: &str) {
        let file = self.folder.join("credentials/default/apikey");
        let new = file.with_extension("new");
        fs::write(&new, key).expect("the API key");
        fs::rename(new, file).expect("the API key in its place");
    }

    /// Starts the operator and waits until it is ready.
    pub(crate) fn start_operator(&self) {
        let kubeconfig = self
            .cluster
            .service_account_kubeconfig(OPERATOR_NAMESPACE, "key-protect-operator");
        let host = self.emulator.api_url().replace("https://", "");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the operator's log");
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_key-protect-operator"))
            .arg("run")
            .arg("--credentials-dir")
            .arg(self.folder.join("credentials"))
            .args(["--allowed-key-hosts", &host, "--allowed-iam-hosts", &host])
            .args(["--grace", GRACE, "--fence", "off"])
            .args(["--health-address", &format!("127.0.0.1:{port}")])
            .args(["--log", "info,key_protect_operator=debug"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the operator");
        *self.operator.lock().expect("the operator") = Some(child);
        eventually("the operator is ready", || answers_ok(port, "/readyz"));
    }

    /// Ends the operator by SIGTERM, and says how long that took.
    pub(crate) fn stop_operator(&self) -> std::time::Duration {
        let mut child = self
            .operator
            .lock()
            .expect("the operator")
            .take()
            .expect("a running operator");
        let begun = std::time::Instant::now();
        let told = Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .expect("kill");
        assert!(told.success());
        let ended = child.wait().expect("its end");
        assert!(ended.success(), "the operator ended with {ended}");
        begun.elapsed()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("operator.log")
    }

    /// Everything that the operator has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// An instance, its object (usable from every namespace) and a namespace of its own.
    pub(crate) fn scene(&'static self, name: &str) -> Scene {
        self.scene_with(name, json!({"access": [{"namespaces": {"from": "All"}}]}))
    }

    pub(crate) fn scene_with(&'static self, name: &str, more: Value) -> Scene {
        let guid = uuid::Uuid::new_v4().to_string();
        let new = serde_json::from_value(json!({"id": guid})).expect("an instance");
        self.emulator.create_instance(new).expect("an instance");
        let role = json!([{"instance": guid, "role": "ReaderPlus"}]);
        self.grant(&guid, &role);
        let scene = Scene {
            stage: self,
            instance: format!("{name}-{}", &guid[..8]),
            namespace: self.cluster.namespace_blocking(name),
            guid,
        };
        scene.apply_instance(more);
        scene
    }

    /// Adds roles of the operator's service ID.
    pub(crate) fn grant(&self, guid: &str, roles: &Value) {
        static ROLES: Mutex<Vec<Value>> = Mutex::new(Vec::new());
        let mut all = ROLES.lock().expect("the roles");
        all.retain(|role| role["instance"] != guid);
        all.extend(roles.as_array().expect("a list").iter().cloned());
        let roles = serde_json::from_value(Value::Array(all.clone())).expect("roles");
        self.emulator.set_roles("operator", roles).expect("roles");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.operator.lock().expect("the operator").take() {
            drop(child.kill());
        }
    }
}

fn options() -> Options {
    let seed = json!({"instances": [], "serviceIds": [{"name": "operator", "apiKey": API_KEY, "roles": []}]});
    Options {
        tls: Some(Tls::Make { names: Vec::new() }),
        seed: serde_json::from_value(seed).expect("a seed"),
        ..Options::default()
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

fn answers_ok(port: u16, path: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut answer = String::new();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.0 200")
}

impl Scene {
    /// Makes or changes the KeyProtectInstance.
    pub(crate) fn apply_instance(&self, more: Value) {
        let url = self.stage.emulator.api_url();
        let mut spec = json!({
            "instanceID": self.guid,
            "region": "us-south",
            "endpoint": {"url": url, "iamURL": url, "caBundle": self.stage.emulator.ca_pem()},
        });
        for (field, value) in more.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        self.apply(&json!({
            "apiVersion": "keyprotect.dev/v1alpha1",
            "kind": "KeyProtectInstance",
            "metadata": {"name": self.instance, "namespace": OPERATOR_NAMESPACE},
            "spec": spec,
        }));
    }

    /// Makes a key in the emulator; returns its ID.
    pub(crate) fn key(&self, new: Value) -> String {
        let new = serde_json::from_value(new).expect("a key");
        let key = self
            .stage
            .emulator
            .create_key(&self.guid, new)
            .expect("a key");
        key["id"].as_str().expect("its ID").to_owned()
    }

    /// Makes a KeyProtectKey that names this scene's instance.
    pub(crate) fn object(&self, name: &str, mut spec: Value) {
        spec["instanceRef"] = json!({"name": self.instance, "namespace": OPERATOR_NAMESPACE});
        self.apply(&json!({
            "apiVersion": "keyprotect.dev/v1alpha1",
            "kind": "KeyProtectKey",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }));
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.stage
            .cluster
            .kubectl_ok(&["apply", "-f", "-"], &object.to_string());
    }

    /// `kubectl` in the team's namespace.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Output {
        let mut all = vec!["-n", &self.namespace];
        all.extend(args);
        self.stage.cluster.kubectl(&all, "")
    }

    /// `kubectl` in the team's namespace that has to succeed.
    pub(crate) fn kubectl_ok(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(
            output.ok,
            "kubectl {args:?}: {}\n{}",
            output.stderr,
            self.describe()
        );
        output.stdout
    }

    /// Waits until the object's Ready has this reason.
    pub(crate) fn wait_reason(&self, name: &str, reason: &str) {
        let what =
            r#"jsonpath={.status.conditions[?(@.type=="Ready")].reason}="#.to_owned() + reason;
        self.wait("keyprotectkey", name, &what);
    }

    pub(crate) fn wait(&self, kind: &str, name: &str, what: &str) {
        self.kubectl_ok(&[
            "wait",
            kind,
            name,
            &format!("--for={what}"),
            "--timeout=20s",
        ]);
    }

    /// Asks for a look now, and waits for the answer.
    pub(crate) fn sync(&self, name: &str) {
        let stamp = uuid::Uuid::new_v4().to_string();
        let annotation = format!("keyprotect.dev/sync-requested-at={stamp}");
        self.kubectl_ok(&[
            "annotate",
            "--overwrite",
            "keyprotectkey",
            name,
            &annotation,
        ]);
        self.wait(
            "keyprotectkey",
            name,
            &format!("jsonpath={{.status.lastHandledSyncRequest}}={stamp}"),
        );
    }

    /// The object, as the API server has it.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.kubectl_ok(&["get", kind, name, "-o", "json"]);
        serde_json::from_str(&text).expect("JSON")
    }

    /// The data of a Secret, decoded.
    pub(crate) fn data(&self, name: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
        use base64::Engine;
        let secret = self.get("secret", name);
        let data = secret["data"].as_object().expect("data");
        data.iter()
            .map(|(entry, value)| {
                let text = value.as_str().expect("base64");
                (
                    entry.clone(),
                    base64::engine::general_purpose::STANDARD
                        .decode(text)
                        .expect("base64"),
                )
            })
            .collect()
    }

    /// Ready's status, reason and message.
    pub(crate) fn ready(&self, name: &str) -> (String, String, String) {
        let object = self.get("keyprotectkey", name);
        let ready = object["status"]["conditions"]
            .as_array()
            .expect("conditions")
            .iter()
            .find(|condition| condition["type"] == "Ready")
            .expect("Ready")
            .clone();
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// Reasons of the Events about an object.
    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let text = self.kubectl_ok(&["get", "events.events.k8s.io", "-o", "json"]);
        let all: Value = serde_json::from_str(&text).expect("JSON");
        let events = all["items"].as_array().expect("items").iter();
        events
            .filter(|event| event["regarding"]["name"] == name)
            .map(|event| event["reason"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Requests that the emulator has served for this instance.
    pub(crate) fn served(&self, operation: &str) -> Vec<Served> {
        self.stage.emulator.requests(&Wanted {
            operation: Some(operation.to_owned()),
            instance: Some(self.guid.clone()),
            ..Wanted::default()
        })
    }

    /// What there is, for whoever reads why a test failed.
    fn describe(&self) -> String {
        let objects = self.kubectl(&["get", "kpk", "-o", "yaml"]).stdout;
        let log = self.stage.log();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        format!(
            "{objects}\n{}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    }
}
