//! The operator as a process, under the ServiceAccount and RBAC that ship.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;

use crate::bed::Bed;
use crate::failure::{Failure, Result};
use crate::http::{Client, Server};
use crate::process::{self, Memory, Process};

/// How long the operator may take for anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// CPU within [`QUIET_FOR`] below which it is at rest.
const QUIET: Duration = Duration::from_millis(10);
const QUIET_FOR: Duration = Duration::from_millis(1500);

/// A running operator.
pub(crate) struct Operator {
    process: Process,
    /// Where it says that it is ready.
    health: Option<Client>,
    /// Just before it was started.
    pub(crate) begun: Instant,
}

impl Operator {
    /// Starts it, as the Deployment does but for addresses and folders.
    pub(crate) fn start(program: &Path, bed: &Bed) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg("--credentials-dir")
            .arg(bed.folder.join("credentials"))
            .args(["--allowed-key-hosts", bed.emulator.host()])
            .args(["--allowed-iam-hosts", bed.emulator.host()])
            .args(["--health-address", &address])
            .args(["--metrics-address", "127.0.0.1:0"])
            .args(["--metrics-address", "127.0.0.1:0"])
            .env("KUBECONFIG", &bed.kubeconfig);
        if !bed.fence {
            command.args(["--fence", "off"]);
        }
        let log = bed.folder.join("operator.log");
        let begun = Instant::now();
        let process = Process::start(&command, "the operator", &log)?;
        Ok(Self {
            process,
            health: Some(Client::new(Server::plain(&format!("http://{address}"))?)),
            begun,
        })
    }

    /// Starts somebody else in its place.
    pub(crate) fn peer(command: &Command, log: &Path) -> Result<Self> {
        let begun = Instant::now();
        let process = Process::start(command, "the peer", log)?;
        Ok(Self {
            process,
            health: None,
            begun,
        })
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// Waits until it says that it is ready; how long after its start that was.
    pub(crate) async fn until_ready(&mut self) -> Result<Duration> {
        let Some(health) = &self.health else {
            return Err(Failure::new("nobody knows when a peer is ready"));
        };
        loop {
            self.process.check()?;
            let asked = health
                .send(Method::GET, "/readyz", "*/*", Bytes::new())
                .await;
            if asked.is_ok_and(|(status, _)| status.is_success()) {
                return Ok(self.begun.elapsed());
            }
            if self.begun.elapsed() > PATIENCE {
                return Err(Failure::new("the operator does not become ready"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it has nothing to do any more.
    pub(crate) async fn until_quiet(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.process.check()?;
            let before = self.cpu()?;
            tokio::time::sleep(QUIET_FOR).await;
            if self.cpu()? - before <= QUIET {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Failure::new("the operator does not come to rest"));
            }
        }
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        process::cpu(self.process.pid())
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        process::memory(self.process.pid())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop(PATIENCE).await
    }
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
