//! The main job's stage: a real API server, and the operator as a process under the
//! ServiceAccount and RBAC that ship. Each [`Scene`] on it brings an emulator of its own.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use key_protect_emulator::{Emulator, Options, Tls};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, client_of, eventually, new_namespace};
use crate::form::Form;

pub(crate) const OPERATOR_NAMESPACE: &str = "key-protect-system";
/// The grace that the operator under test is given, so that a test can see its end.
pub(crate) const GRACE: &str = "4s";
/// Scenes that one stage has room for: the operator is told of every host at its start.
const SCENES: u8 = 200;

/// Cluster and operator.
pub(crate) struct Stage {
    pub(crate) cluster: &'static Cluster,
    /// A client of the cluster's administrator, on the stage's runtime.
    pub(crate) client: kube::Client,
    folder: PathBuf,
    /// Port of every emulator; each listens on a loopback address of its own.
    port: u16,
    scenes: AtomicU8,
    /// The form of this run.
    pub(crate) form: Form,
    /// Namespaces that no scene has taken yet, where only some are served.
    free: Mutex<Vec<String>>,
    operator: Mutex<Option<Child>>,
    /// Where the operator serves its metrics.
    metrics_port: AtomicU16,
    runtime: Runtime,
}

impl Stage {
    /// The one stage of this process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<&'static Stage> = OnceLock::new();
        SHARED.get_or_init(|| {
            let stage = Self::set(Cluster::shared());
            stage.start_operator();
            stage
        })
    }

    /// A stage with a cluster and an operator of its own, for tests that count what is asked of
    /// the API server, or that stop the operator. None where the tests were given a cluster: two
    /// operators in one would fight.
    pub(crate) fn alone(name: &str) -> Option<&'static Self> {
        let stage = Self::empty(name)?;
        stage.start_operator();
        Some(stage)
    }

    /// The same, where no operator runs yet.
    pub(crate) fn empty(name: &str) -> Option<&'static Self> {
        Cluster::another(name).map(Self::set)
    }

    fn set(cluster: &'static Cluster) -> &'static Self {
        let form = Form::current();
        crate::bed::tls_provider();
        let runtime = Runtime::new().expect("a runtime");
        let client = runtime.block_on(client_of(cluster.kubeconfig_path()));
        let folder = cluster.scratch().join("stage");
        fs::create_dir_all(&folder).expect("a folder");
        let stage: &'static Self = Box::leak(Box::new(Self {
            cluster,
            client,
            folder,
            port: free_port(),
            scenes: AtomicU8::new(1),
            form,
            free: Mutex::new(form.pool()),
            operator: Mutex::new(None),
            metrics_port: AtomicU16::new(0),
            runtime,
        }));
        cluster.install_form();
        stage
    }

    /// A namespace that no other scene has.
    pub(crate) fn namespace(&self, prefix: &str) -> String {
        if !self.form.is_for_namespaces() {
            // Not by a process of its own: there are hundreds of scenes.
            let namespace = new_namespace(prefix);
            let namespace: Namespace = serde_json::from_value(namespace).expect("a namespace");
            let api = Api::all(self.client.clone());
            let options = PostParams::default();
            let made = self.block_on(api.create(&options, &namespace));
            return made.expect("a namespace").name_any();
        }
        let free = self.free.lock().expect("the pool").pop();
        free.expect("a namespace is free: run fewer tests at once in this form")
    }

    /// Ends operator and cluster, so that they cost other tests nothing.
    pub(crate) fn strike(&self) {
        if self.operator().is_some() {
            self.stop_operator();
        }
        self.cluster.down();
    }

    /// Waits for what needs the stage's runtime.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Does something beside the test, for as long as the stage is there.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(future));
    }

    fn operator(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.operator.lock().expect("the operator")
    }

    /// Starts the operator and waits until it is ready.
    pub(crate) fn start_operator(&self) {
        self.start_operator_with(&[]);
    }

    /// The same, with more flags; returns the port of its health.
    pub(crate) fn start_operator_with(&self, more: &[&str]) -> u16 {
        let (mut command, port) = self.operator_command("operator.log");
        // As in a Pod, whose containers follow each other.
        command.args(["--pod-uid", "stage"]).args(more);
        *self.operator() = Some(spawn(command));
        eventually("the operator is ready", || answers_ok(port, "/readyz"));
        port
    }

    /// What starts an operator that logs to a file of this name, and the port of its health.
    pub(crate) fn operator_command(&self, log: &str) -> (Command, u16) {
        let kubeconfig = self
            .cluster
            .service_account_kubeconfig(OPERATOR_NAMESPACE, "key-protect-operator");
        let hosts: Vec<String> = (1..=SCENES).map(|number| self.host(number)).collect();
        let hosts = hosts.join(",");
        let open = |name: &str| {
            let mut options = fs::OpenOptions::new();
            let file = options.create(true).append(true);
            file.open(self.folder.join(name)).expect("a log")
        };
        let (audit, log) = (open(&audit_of(log)), open(log));
        let (port, metrics_port) = (free_port(), free_port());
        self.metrics_port.store(metrics_port, Ordering::Relaxed);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary())
            .arg("run")
            .arg("--credentials-dir")
            .arg(self.folder.join("credentials"))
            .arg("--service-account-token-file")
            .arg(self.service_account_token_file())
            .args(["--allowed-key-hosts", &hosts, "--allowed-iam-hosts", &hosts])
            .args(["--grace", GRACE, "--fence", "on"])
            .args(self.form_flags())
            .args(["--health-address", &format!("127.0.0.1:{port}")])
            .args(["--metrics-address", &format!("127.0.0.1:{metrics_port}")])
            .env("LOG", "info,key_protect_operator=debug")
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(audit)
            .stderr(log);
        (command, port)
    }

    /// What the form of this run asks of the operator: its namespaces; and where it reads no Secret,
    /// and changes are noticed by turns, turns that a test can wait for.
    fn form_flags(&self) -> Vec<String> {
        let pool = self.form.pool();
        let namespaces = format!("--namespaces={}", pool.join(","));
        let turns = "--drift-interval=2s".to_owned();
        let flags = [
            (!pool.is_empty(), namespaces),
            (!self.form.reads_secrets(), turns),
        ];
        flags
            .into_iter()
            .filter_map(|(is, flag)| is.then_some(flag))
            .collect()
    }

    /// The process ID of the operator. (`setpriv` becomes it.)
    pub(crate) fn operator_id(&self) -> u32 {
        self.operator().as_ref().expect("a running operator").id()
    }

    /// Ends the operator by SIGTERM, and says how long that took.
    pub(crate) fn stop_operator(&self) -> Duration {
        let mut child = self.operator().take().expect("a running operator");
        let begun = Instant::now();
        let told = Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .expect("kill");
        assert!(told.success());
        let ended = child.wait().expect("its end");
        assert!(ended.success(), "the operator ended with {ended}");
        begun.elapsed()
    }

    /// Everything that the operator has logged.
    pub(crate) fn log(&self) -> String {
        self.log_named("operator.log")
    }

    /// Everything that is in a log.
    pub(crate) fn log_named(&self, log: &str) -> String {
        fs::read_to_string(self.folder.join(log)).unwrap_or_default()
    }

    /// The audit lines of everything that the operator has read and written.
    pub(crate) fn audit(&self) -> Vec<Value> {
        self.audit_named("operator.log")
    }

    /// The audit lines of the operator that has this log. The last one may be under way.
    pub(crate) fn audit_named(&self, log: &str) -> Vec<Value> {
        let text = self.log_named(&audit_of(log));
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |line| serde_json::from_str(line).expect("an audit line is JSON");
        whole.lines().map(line).collect()
    }

    /// The metrics, once they are served.
    pub(crate) fn metrics_if_served(&self) -> Option<String> {
        answer(self.metrics_port.load(Ordering::Relaxed), "/metrics")
    }

    /// What `/metrics` answers to whoever accepts this, head included.
    pub(crate) fn metrics(&self, accept: &str) -> String {
        use std::io::{Read, Write};
        let port = self.metrics_port.load(Ordering::Relaxed);
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("metrics");
        write!(stream, "GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Folder of a mounted API key.
    pub(crate) fn credential_folder(&self, name: &str) -> PathBuf {
        self.folder.join("credentials").join(name)
    }

    /// Where the operator looks for the token that trusted profiles are had for.
    pub(crate) fn service_account_token_file(&self) -> PathBuf {
        self.folder.join("iam").join("token")
    }

    fn host(&self, number: u8) -> String {
        format!("127.0.1.{number}:{}", self.port)
    }

    /// Starts an emulator at an address that the operator may call, with a service ID `operator`
    /// that has this API key.
    pub(crate) fn emulator(&self, api_key: &str) -> Emulator {
        let number = self.scenes.fetch_add(1, Ordering::Relaxed);
        assert!(number <= SCENES, "the stage is full: raise SCENES");
        let seed: Value = json!({"serviceIds": [{"name": "operator", "apiKey": api_key}]});
        let listen: std::net::SocketAddr = self.host(number).parse().expect("an address");
        let options = Options {
            listen,
            tls: Some(Tls::Make {
                names: vec![listen.ip().to_string()],
            }),
            seed: serde_json::from_value(seed).expect("a seed"),
            ..Options::default()
        };
        self.block_on(Emulator::start(options))
            .expect("an emulator")
    }
}

/// Where the audit stream of the operator with this log is kept.
fn audit_of(log: &str) -> String {
    format!("{log}.audit")
}

/// The operator: what cargo built, or what `OPERATOR_BIN` names (a release build, say).
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("OPERATOR_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_key-protect-operator")),
        PathBuf::from,
    )
}

/// Starts a process that dies with this one. Linux counts the thread as the parent, so the
/// thread stays until the end.
pub(crate) fn spawn(mut command: Command) -> Child {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        sender.send(command.spawn()).expect("who waits for it");
        loop {
            std::thread::park();
        }
    });
    receiver.recv().expect("a thread").expect("the operator")
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

pub(crate) fn answers_ok(port: u16, path: &str) -> bool {
    answer(port, path).is_some_and(|answer| answer.starts_with("HTTP/1.0 200"))
}

/// What a server answers, head and body.
pub(crate) fn answer(port: u16, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut answer = String::new();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
