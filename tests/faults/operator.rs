//! The operator as a process: started, killed, stopped for a while, and counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::schedule::LEASE;

/// How long a process may take to come so far that it listens for signals.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

/// Starts processes that die with this one. Linux counts the thread as the parent, so one thread
/// starts them all and stays until the end.
#[derive(Debug)]
struct Nursery(mpsc::Sender<(Command, mpsc::Sender<std::io::Result<Child>>)>);

impl Nursery {
    fn new() -> Self {
        let (sender, orders) = mpsc::channel::<(Command, mpsc::Sender<_>)>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                answer.send(command.spawn()).expect("who waits for it");
            }
        });
        Self(sender)
    }

    fn spawn(&self, command: Command) -> Child {
        let (answer, born) = mpsc::channel();
        self.0.send((command, answer)).expect("the nursery");
        born.recv().expect("the nursery").expect("the operator")
    }
}

/// How an operator is started.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) credentials: PathBuf,
    pub(crate) service: String,
    pub(crate) log: PathBuf,
    /// Name and UID of its Pod, which containers that follow each other share.
    pub(crate) pod: String,
}

#[derive(Debug)]
pub(crate) struct Operator {
    nursery: Nursery,
    settings: Settings,
    child: Option<Child>,
    /// How long the log was when the last one was started.
    logged: usize,
    pub(crate) starts: u64,
}

impl Operator {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            nursery: Nursery::new(),
            settings,
            child: None,
            logged: 0,
            starts: 0,
        }
    }

    /// Starts it, if it does not run.
    pub(crate) fn start(&mut self) {
        if self.child.is_some() {
            return;
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.settings.log)
            .expect("the operator's log");
        let (service, pod) = (&self.settings.service, &self.settings.pod);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary())
            .arg("run")
            .arg("--credentials-dir")
            .arg(&self.settings.credentials)
            .args([
                "--allowed-key-hosts",
                service,
                "--allowed-iam-hosts",
                service,
            ])
            .args(["--fence", "off"])
            .args(["--pod-name", pod, "--pod-uid", &format!("uid-of-{pod}")])
            .args(["--lease-duration", &format!("{LEASE}s")])
            .args(["--health-address", "127.0.0.1:0"])
            .args(["--metrics-address", "127.0.0.1:0"])
            .args(["--log", "info,key_protect_operator=debug"])
            .env("KUBECONFIG", &self.settings.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.logged = self.log().len();
        self.child = Some(self.nursery.spawn(command));
        self.starts += 1;
    }

    /// Kills it, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a killed operator");
            child.wait().expect("its end");
        }
    }

    /// Ends it by SIGTERM, and says whether it ended well; one that does not run has.
    pub(crate) fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        // A signal that comes before anybody listens for it ends any process at once.
        let begun = Instant::now();
        while !self.has_begun() && begun.elapsed() < LISTENS_WITHIN {
            std::thread::sleep(Duration::from_millis(20));
        }
        signal(child.id(), "TERM");
        child.wait().expect("its end").success()
    }

    /// Whether the last one has said that it starts, for which it has to listen for signals.
    fn has_begun(&self) -> bool {
        let log = self.log();
        log.get(self.logged..)
            .is_some_and(|new| new.contains("key-protect-operator starts"))
    }

    /// Lets it stand still, or go on.
    pub(crate) fn pause(&self, pause: bool) {
        if let Some(child) = &self.child {
            signal(child.id(), if pause { "STOP" } else { "CONT" });
        }
    }

    /// Whether it ended by itself, which it never should.
    pub(crate) fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().expect("its state").is_some())
    }

    pub(crate) fn held(&self) -> Held {
        let Some(child) = &self.child else {
            return Held::default();
        };
        let folder = Path::new("/proc").join(child.id().to_string());
        let count = |of: &str| fs::read_dir(folder.join(of)).map_or(0, Iterator::count);
        Held {
            files: count("fd"),
            threads: count("task"),
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.settings.log).unwrap_or_default()
    }
}

fn signal(process: u32, signal: &str) {
    // One that has just ended cannot be told anything, and kill says so.
    Command::new("kill")
        .args(["-s", signal, &process.to_string()])
        .stderr(Stdio::null())
        .status()
        .expect("kill");
}

/// The operator: what cargo built, or what `OPERATOR_BIN` names (a release build, say).
fn binary() -> PathBuf {
    std::env::var_os("OPERATOR_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_key-protect-operator")),
        PathBuf::from,
    )
}
