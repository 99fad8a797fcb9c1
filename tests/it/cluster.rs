//! A real API server for the tests, with both CRDs and the guard against their deletion.
//!
//! The first test that asks for it starts it by `tests/cluster/cluster`; it goes down when this
//! process ends, however that ends. With `TEST_KUBECONFIG` the cluster there is used instead, by
//! the `kubectl` in the PATH, and nothing but the tests' own namespaces, CRDs, roles and policies is
//! changed in it.
#![allow(
    dead_code,
    reason = "what one module of tests does not need, another one does"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::form::Form;

/// How long something may take that is done at once, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(80);

/// Names the kubeconfig of a cluster to use instead of one of the tests' own.
const GIVEN: &str = "TEST_KUBECONFIG";

/// A running cluster.
pub(crate) struct Cluster {
    kubeconfig: PathBuf,
    /// Folder for what the tests write about the cluster.
    scratch: PathBuf,
    /// Folder of the cluster, where this process has started it.
    own: Option<PathBuf>,
    installed: Mutex<BTreeSet<String>>,
}

/// What `kubectl` said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cluster {
    /// The one cluster of this process, started when it is first asked for.
    pub(crate) fn shared() -> &'static Self {
        // The failure is kept too: one reason, not another one for each test.
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let cluster = Self::start("cluster", &[])?;
            cluster.install_crds()?;
            Ok(cluster)
        });
        match shared {
            Ok(cluster) => cluster,
            Err(reason) => panic!("no cluster: {reason}"),
        }
    }

    /// Another cluster than the shared one; none where the tests were given one.
    pub(crate) fn another(name: &str) -> Option<&'static Self> {
        Self::another_with(name, &[])
    }

    /// The same, whose etcd holds JSON: every object can be read there.
    pub(crate) fn readable(name: &str) -> Option<&'static Self> {
        Self::another_with(
            name,
            &[(
                "CLUSTER_APISERVER_FLAGS",
                "--storage-media-type=application/json",
            )],
        )
    }

    fn another_with(name: &str, settings: &[(&str, &str)]) -> Option<&'static Self> {
        if std::env::var_os(GIVEN).is_some() {
            return None;
        }
        let cluster = Self::start(name, settings).and_then(|cluster| {
            cluster.install_crds()?;
            Ok(cluster)
        });
        match cluster {
            Ok(cluster) => Some(Box::leak(Box::new(cluster))),
            Err(reason) => panic!("no cluster: {reason}"),
        }
    }

    /// Ends a cluster that this process has started.
    pub(crate) fn down(&self) {
        if let Some(dir) = &self.own {
            let output = run(script("down").arg(dir), "");
            assert!(output.ok, "the cluster does not end: {}", output.stderr);
        }
    }

    /// Stops or starts a component of a cluster that this process has started.
    pub(crate) fn order(&self, verb: &str, component: &str) {
        let dir = self.own.as_ref().expect("a cluster of the tests' own");
        let output = run(script(verb).arg(dir).arg(component), "");
        assert!(output.ok, "{verb} {component}: {}", output.stderr);
    }

    /// The folder of a cluster that this process has started.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.own.as_deref()
    }

    /// A folder for what the tests write about the cluster.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A kubeconfig of its administrator.
    pub(crate) fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of its administrator. It belongs to the runtime of the test that asks.
    pub(crate) async fn client(&self) -> kube::Client {
        client_of(&self.kubeconfig).await
    }

    /// Installs the RBAC of an overlay, and nothing else of it.
    pub(crate) fn install_rbac(&self, overlay: &str) {
        self.kubectl_ok(
            &["apply", "-f", "-"],
            &self.rbac_of(overlay).join("\n---\n"),
        );
    }

    /// Takes the RBAC of an overlay away.
    pub(crate) fn remove_rbac(&self, overlay: &str) {
        let rbac = self.rbac_of(overlay).join("\n---\n");
        self.kubectl_ok(&["delete", "--ignore-not-found", "-f", "-"], &rbac);
    }

    /// The roles of an overlay and their bindings, as YAML each.
    pub(crate) fn rbac_of(&self, overlay: &str) -> Vec<String> {
        let rendered = self.kubectl_ok(&["kustomize", overlay], "");
        let is_rbac = |document: &&str| {
            let mut lines = document.lines();
            lines.any(|line| line == "apiVersion: rbac.authorization.k8s.io/v1")
        };
        let rbac = rendered.split("\n---\n").filter(is_rbac);
        rbac.map(str::to_owned).collect()
    }

    /// Makes a namespace of this name, if it is not there.
    pub(crate) fn namespace_named(&self, name: &str) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.kubectl_ok(&["apply", "-f", "-"], &namespace.to_string());
    }

    /// Makes a namespace whose name begins with `prefix`, and which no other test has.
    pub(crate) async fn namespace(&'static self, prefix: &str) -> String {
        let prefix = prefix.to_owned();
        tokio::task::spawn_blocking(move || self.namespace_blocking(&prefix))
            .await
            .expect("the namespace")
    }

    /// The same, for tests that are not async.
    pub(crate) fn namespace_blocking(&self, prefix: &str) -> String {
        let namespace = new_namespace(prefix);
        let template = "jsonpath={.metadata.name}";
        self.kubectl_ok(
            &["create", "-f", "-", "-o", template],
            &namespace.to_string(),
        )
    }

    /// A kubeconfig of a ServiceAccount, which has to exist.
    pub(crate) fn service_account_kubeconfig(&self, namespace: &str, account: &str) -> PathBuf {
        // Two tests may ask for the same one at the same time.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.join(format!("{account}-{count}.kubeconfig"));
        if let Some(dir) = &self.own {
            let mut command = script("kubeconfig");
            command.arg(dir).args([namespace, account]).arg(&path);
            let output = run(&mut command, "");
            assert!(output.ok, "kubeconfig of {account}: {}", output.stderr);
            return path;
        }
        let token = self.kubectl_ok(
            &[
                "create",
                "token",
                "-n",
                namespace,
                account,
                "--duration",
                "24h",
            ],
            "",
        );
        fs::copy(&self.kubeconfig, &path).expect("a copy of the kubeconfig");
        let edit = |args: &[&str]| {
            let mut command = Command::new("kubectl");
            command
                .arg("--kubeconfig")
                .arg(&path)
                .arg("config")
                .args(args);
            let output = run(&mut command, "");
            assert!(output.ok, "{args:?}: {}", output.stderr);
        };
        edit(&["set-credentials", "account", "--token", token.trim()]);
        edit(&[
            "set-context",
            "--current",
            "--user",
            "account",
            "--namespace",
            namespace,
        ]);
        path
    }

    /// Installs a form of the operator, once: all of it but the Deployment, since tests start
    /// the operator as a process of their own.
    pub(crate) fn install(&self, overlay: &str) {
        self.install_once(overlay, || overlay.to_owned());
    }

    /// Installs the operator in the form of this run, once.
    pub(crate) fn install_form(&self) {
        let form = Form::current();
        self.install_once(form.folder(), || {
            let pool = form.pool();
            for namespace in &pool {
                self.namespace_named(namespace);
            }
            form.overlay(self, &pool)
        });
    }

    fn install_once(&self, name: &str, overlay: impl FnOnce() -> String) {
        let mut installed = self.installed.lock().expect("what is installed");
        if installed.insert(name.to_owned()) {
            let overlay = &*overlay();
            let rendered = self.kubectl_ok(&["kustomize", overlay], "");
            let documents: Vec<&str> = rendered
                .split("\n---\n")
                .filter(|document| !document.lines().any(|line| line == "kind: Deployment"))
                .collect();
            self.kubectl_ok(&["apply", "-f", "-"], &documents.join("\n---\n"));
        }
    }

    /// Tells whether controllers run: garbage collection, the roles that are put together.
    pub(crate) fn has_controllers(&self) -> bool {
        self.own.is_none() || std::env::var_os("KUBEBUILDER_ASSETS").is_none()
    }

    /// `kubectl` as the administrator, in the repository's folder.
    pub(crate) fn kubectl(&self, args: &[&str], stdin: &str) -> Output {
        let mut command = match &self.own {
            Some(dir) => {
                let mut command = script("kubectl");
                command.arg(dir);
                command
            }
            None => {
                let mut command = Command::new("kubectl");
                command.arg("--kubeconfig").arg(&self.kubeconfig);
                command
            }
        };
        command.args(args);
        run(&mut command, stdin)
    }

    /// `kubectl` that has to succeed: what it printed.
    pub(crate) fn kubectl_ok(&self, args: &[&str], stdin: &str) -> String {
        let output = self.kubectl(args, stdin);
        assert!(output.ok, "kubectl {args:?}: {}", output.stderr);
        output.stdout
    }

    fn start(name: &str, settings: &[(&str, &str)]) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        remove_remains(folder);
        let scratch = folder
            .join(format!("cluster-{}", std::process::id()))
            .join(name);
        fs::create_dir_all(&scratch).map_err(|error| format!("{scratch:?}: {error}"))?;
        if let Some(kubeconfig) = std::env::var_os(GIVEN) {
            return Ok(Self {
                kubeconfig: PathBuf::from(kubeconfig),
                scratch,
                own: None,
                installed: Mutex::default(),
            });
        }
        let dir = scratch.join("cluster");
        let mut command = script("up");
        command
            .envs(settings.iter().copied())
            .arg(&dir)
            .args(["--owner", &std::process::id().to_string()]);
        run(&mut command, "").success()?;
        Ok(Self {
            kubeconfig: dir.join("admin.kubeconfig"),
            scratch,
            own: Some(dir),
            installed: Mutex::default(),
        })
    }

    fn install_crds(&self) -> Result<(), String> {
        self.kubectl(&["apply", "-k", "crds"], "").success()?;
        let timeout = format!("{}s", PATIENCE.as_secs());
        for kind in ["keyprotectkeys", "keyprotectinstances"] {
            let crd = format!("crd/{kind}.keyprotect.dev");
            let args = [
                "wait",
                "--for=condition=Established",
                &crd,
                "--timeout",
                &timeout,
            ];
            self.kubectl(&args, "").success()?;
        }
        // A policy counts some moments after it was made.
        eventually("the guard refuses to delete a CRD", || {
            let crd = "keyprotectkeys.keyprotect.dev";
            !self
                .kubectl(&["delete", "--dry-run=server", "crd", crd], "")
                .ok
        });
        Ok(())
    }
}

impl Output {
    fn success(self) -> Result<String, String> {
        if self.ok {
            Ok(self.stdout)
        } else {
            Err(self.stderr)
        }
    }
}

/// A namespace whose name is to begin with `prefix`.
pub(crate) fn new_namespace(prefix: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "generateName": format!("{prefix}-"),
        "labels": {"app.kubernetes.io/part-of": "key-protect-operator-tests"}}})
}

/// A client of whoever the kubeconfig names.
pub(crate) async fn client_of(kubeconfig: &Path) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the cluster's configuration");
    kube::Client::try_from(config).expect("a client")
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_none(what, || (!holds()).then_some(()));
}

/// Waits until there is nothing left of what is not as it is to be.
#[track_caller]
pub(crate) fn eventually_none<T: Debug>(what: &str, mut left: impl FnMut() -> Option<T>) {
    let begun = Instant::now();
    while let Some(left) = left() {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}: {left:?}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// The cluster's script with a verb. It keeps its binary in the target folder, which the tests
/// know better than it does.
fn script(verb: &str) -> Command {
    let mut command = Command::new("tests/cluster/cluster");
    if std::env::var_os("CLUSTER_CACHE").is_none() {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        command.env(
            "CLUSTER_CACHE",
            target.expect("a target folder").join("cluster"),
        );
    }
    command.arg(verb);
    command
}

fn run(command: &mut Command, stdin: &str) -> Output {
    let mut child = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // One that does not read its input may have ended already.
    let mut input = child.stdin.take().expect("its input");
    let written = input.write_all(stdin.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("its output");
    if output.status.success() {
        assert!(
            written.is_ok() || stdin.is_empty(),
            "{command:?} read nothing"
        );
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output {
        ok: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Removes the logs of clusters whose tests have ended. Those of the last run are kept for
/// whoever wants to know why it failed, until the next.
fn remove_remains(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("cluster-"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
