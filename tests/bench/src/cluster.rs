//! A fresh API server for each measurement, by `tests/cluster/cluster`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::http::{Client, Server};
use crate::process;

/// The user that a ServiceAccount is to the API server.
pub(crate) fn user(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// A running cluster, which ends when it is let go of.
pub(crate) struct Cluster {
    dir: PathBuf,
    root: PathBuf,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        run(script(&self.root, "down").arg(&self.dir), "").ok();
    }
}

impl Cluster {
    /// Starts one in a folder. With `audited`, it writes down every request of that user: not
    /// where times are measured.
    pub(crate) fn up(
        root: &Path,
        dir: &Path,
        audited: Option<&str>,
        nice: Option<i32>,
    ) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let mut command = script(root, "up");
        command
            .arg(&dir)
            .args(["--owner", &std::process::id().to_string()]);
        if let Some(user) = audited {
            let policy = dir.join("audit-policy.yaml");
            fs::write(&policy, audit_policy(user))?;
            let flags = format!(
                "--audit-policy-file={} --audit-log-path={}",
                policy.display(),
                dir.join("audit.log").display()
            );
            fs::remove_file(dir.join("audit.log")).ok();
            command.env("CLUSTER_APISERVER_FLAGS", flags);
        }
        let favoured = nice.map(|nice| favour_when_there(dir.join("run/keeper"), nice));
        run(&mut command, "")?;
        if let Some(favoured) = favoured {
            favoured
                .join()
                .map_err(|_| Failure::new("the cluster could not be favoured"))??;
        }
        Ok(Self {
            dir,
            root: root.to_owned(),
        })
    }

    /// `kubectl` as the administrator, in the repository's folder.
    pub(crate) fn kubectl(&self, args: &[&str], stdin: &str) -> Result<String> {
        run(
            script(&self.root, "kubectl").arg(&self.dir).args(args),
            stdin,
        )
    }

    /// A client of the administrator.
    pub(crate) fn admin(&self) -> Result<Client> {
        self.client_by(&self.dir.join("admin.kubeconfig"))
    }

    /// Writes a kubeconfig of a ServiceAccount, and makes a client of it.
    pub(crate) fn account(&self, namespace: &str, account: &str) -> Result<(PathBuf, Client)> {
        let path = self.dir.join(format!("{account}.kubeconfig"));
        run(
            script(&self.root, "kubeconfig")
                .arg(&self.dir)
                .args([namespace, account])
                .arg(&path),
            "",
        )?;
        let client = self.client_by(&path)?;
        Ok((path, client))
    }

    fn client_by(&self, kubeconfig: &Path) -> Result<Client> {
        let path = kubeconfig.display().to_string();
        let args = [
            "--kubeconfig",
            &path,
            "config",
            "view",
            "--raw",
            "-o",
            "json",
        ];
        let config: Value = serde_json::from_str(&self.kubectl(&args, "")?)?;
        let text = |pointer: &str| {
            config
                .pointer(pointer)
                .and_then(Value::as_str)
                .context(|| format!("{path} has no {pointer}"))
        };
        let authority = text("/clusters/0/cluster/certificate-authority-data")?;
        let authority = STANDARD.decode(authority)?;
        let server = Server::tls(
            text("/clusters/0/cluster/server")?,
            &authority,
            text("/users/0/user/token")?,
        )?;
        Ok(Client::new(server))
    }

    /// CPU that a component has used.
    pub(crate) fn cpu(&self, component: &str) -> Result<Duration> {
        process::cpu(self.pid(component)?)
    }

    fn pid(&self, component: &str) -> Result<u32> {
        let file = self.dir.join("run/component").join(component);
        let text = fs::read_to_string(&file).context(|| file.display().to_string())?;
        let pid = text.split_whitespace().next().unwrap_or_default();
        pid.parse().context(|| text.clone())
    }

    /// What was written down of the audited user's requests.
    pub(crate) fn audit_log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join("audit.log"))?)
    }
}

/// Favours a cluster's session as soon as its keeper has written down its number: on a busy
/// machine it may not even come up otherwise.
fn favour_when_there(keeper: PathBuf, nice: i32) -> JoinHandle<Result<()>> {
    std::thread::spawn(move || {
        for _ in 0..1000 {
            let text = fs::read_to_string(&keeper).unwrap_or_default();
            if let Some(pid) = text.split_whitespace().next() {
                return process::favour(pid, nice);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::new("the cluster's keeper is not there"))
    })
}

/// Requests of one user, without bodies.
fn audit_policy(user: &str) -> String {
    format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
         - {{level: Metadata, users: [\"{user}\"]}}\n- {{level: None}}\n"
    )
}

fn script(root: &Path, verb: &str) -> Command {
    let mut command = Command::new(root.join("tests/cluster/cluster"));
    command.arg(verb).current_dir(root);
    command
}

/// Runs a command to its end; what it printed.
pub(crate) fn run(command: &mut Command, stdin: &str) -> Result<String> {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| what.clone())?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input may have ended already; then its status says so.
        input.write_all(stdin.as_bytes()).ok();
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("{what}: {error}")))
    }
}
