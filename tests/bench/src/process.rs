//! Processes that are measured, and what the kernel says of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::failure::{Context, Failure, Result};

/// A process that ends with this one, or when it is let go of.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    /// Starts it; what it prints goes to `log`. To be called from the main thread: Linux takes the
    /// thread for the parent that the process ends with.
    pub(crate) fn start(command: &Command, name: &str, log: &Path) -> Result<Self> {
        let out = fs::File::create(log).context(|| log.display().to_string())?;
        let mut whole = Command::new("setpriv");
        whole
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => whole.env(variable, value),
                None => whole.env_remove(variable),
            };
        }
        let child = whole
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context(|| format!("start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    /// Its number: `setpriv` becomes the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(8).collect();
                let end: Vec<&str> = end.into_iter().rev().collect();
                Err(Failure::new(format!(
                    "{} ended with {status}:\n{}",
                    self.name,
                    end.join("\n")
                )))
            }
        }
    }

    /// Ends it by SIGTERM; fails when it does not end in time.
    pub(crate) async fn stop(mut self, patience: Duration) -> Result<()> {
        let told = Command::new("kill").arg(self.pid().to_string()).status()?;
        if !told.success() {
            return Err(Failure::new(format!("{} was gone already", self.name)));
        }
        let end = tokio::time::Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if tokio::time::Instant::now() > end {
                let name = &self.name;
                return Err(Failure::new(format!("{name} does not end on SIGTERM")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Favours the session of a process (`self`, or a number) before the rest of a busy machine. Linux
/// shares processors between sessions first, and only within them by the niceness of processes.
pub(crate) fn favour(process: &str, nice: i32) -> Result<()> {
    let file = format!("/proc/{process}/autogroup");
    fs::write(&file, nice.to_string()).context(|| format!("set {file} to {nice}"))
}

/// How the session of this process is favoured now: the file says `/autogroup-7 nice 0`.
pub(crate) fn favoured() -> i32 {
    let text = fs::read_to_string("/proc/self/autogroup").unwrap_or_default();
    let nice = text.split_whitespace().last();
    nice.and_then(|nice| nice.parse().ok()).unwrap_or_default()
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// The most that it has had.
    pub(crate) peak: u64,
    /// What it has now.
    pub(crate) resident: u64,
}

/// Reads how much memory a process has.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok())
            .context(|| format!("/proc/{pid}/status says nothing of {name}"))
    };
    Ok(Memory {
        peak: field("VmHWM:")?,
        resident: field("VmRSS:")?,
    })
}

/// Reads how much CPU a process has used, all its threads together, in ticks of 10 ms (which add
/// up exactly: the kernel scales them to the time that it counted).
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .context(|| format!("the process {pid} is gone"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * 10))
        .context(|| format!("/proc/{pid}/stat: {stat}"))
}

/// User and system time out of `/proc/PID/stat`. The name of the program may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_past_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 900 0 0 0 12 30 0 0 20 0 4 0 100";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        let now = memory(pid).unwrap();
        // Neither is exact to the page while other threads allocate.
        assert!(now.peak > 0 && now.resident > 0);
        cpu(pid).unwrap();
    }
}
