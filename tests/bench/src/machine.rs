//! The machine that everything runs on, and what else it does meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{Context, Result};

/// How busy the whole machine has been since it started.
pub(crate) struct Load {
    busy: Duration,
}

impl Load {
    pub(crate) fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let busy = busy_ticks(&stat).context(|| "/proc/stat has no line cpu".to_owned())?;
        Ok(Self {
            busy: Duration::from_millis(busy * 10),
        })
    }

    pub(crate) fn busy_since(&self, before: &Self) -> Duration {
        self.busy.saturating_sub(before.busy)
    }
}

/// User, nice, system, irq, softirq and stolen time of all processors.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    Some(
        [0, 1, 2, 5, 6, 7]
            .iter()
            .filter_map(|at| fields.get(*at))
            .sum(),
    )
}

/// What the machine and the programs are, for the report.
pub(crate) fn conditions(root: &Path, operator: &Path, profile: &str) -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    let memory = fs::read_to_string("/proc/meminfo")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")
                .map(|rest| rest.trim().to_owned())
        });
    json!({
        "date": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": memory,
        "kernel": first_line(Command::new("uname").args(["-sr"])),
        "load_before": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        "commit": first_line(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root)),
        "rustc": first_line(Command::new("rustc").arg("--version")),
        "operator": first_line(Command::new(operator).arg("--version")),
        "operator_bytes": fs::metadata(operator).map(|file| file.len()).ok(),
        "profile": profile,
    })
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  1 2 4 1000 2000 8 16 32 64 0\ncpu0 5";
        assert_eq!(busy_ticks(stat), Some(1 + 2 + 4 + 8 + 16 + 32));
    }
}
