//! Rows with goals, made of what was measured; as a table, and as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::audit::Asked;
use crate::cold::{Cold, Cpu, Floor};
use crate::emulator::Served;
use crate::latency::{Latencies, quantile};
use crate::peer::{PeerRun, Tuning};
use crate::steady::{Counts, Idle};

/// Keys that one page of a listing holds.
const PAGE: usize = 5000;
const KIB_IN_MIB: f64 = 1024.0;

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1000.0)
}

/// Three digits after the point are more than is known.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) n: usize,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the value is to be; none, where it is there to compare with.
    pub(crate) goal: Option<String>,
    pub(crate) met: Option<bool>,
}

/// What a value is to be.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
    None,
}

impl Row {
    fn new(name: impl Into<String>, n: usize, value: f64, unit: &'static str, goal: Goal) -> Self {
        let (goal, met) = match goal {
            Goal::AtMost(limit) => (Some(format!("≤ {limit}")), Some(value <= limit)),
            Goal::AtLeast(limit) => (Some(format!("≥ {limit}")), Some(value >= limit)),
            Goal::Exactly(wanted) => (
                Some(format!("{wanted}")),
                Some((value - wanted).abs() < 1e-9),
            ),
            Goal::None => (None, None),
        };
        Self {
            name: name.into(),
            n,
            value: round(value),
            unit,
            goal,
            met,
        }
    }
}

/// Cold starts and floors of one size, round by round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rounds {
    pub(crate) objects: usize,
    pub(crate) fence: bool,
    pub(crate) floor: Vec<Floor>,
    pub(crate) cold: Vec<Cold>,
    pub(crate) delayed: Vec<Cold>,
    /// Peak and resident memory after each undelayed cold start, in KiB.
    pub(crate) memory: Vec<(u64, u64)>,
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values.collect(), 0.5)
}

#[allow(clippy::cast_precision_loss, reason = "counts of this size are exact")]
fn number(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "counts of this size are exact")]
fn size(count: usize) -> f64 {
    count as f64
}

/// Rows of the cold starts of one size.
pub(crate) fn cold_rows(rounds: &Rounds, peer: &[PeerRun]) -> Vec<Row> {
    let n = rounds.objects;
    let mark = if rounds.fence { ", fence on" } else { "" };
    let named = |name: &str| format!("{name}{mark}");
    let floor = median(rounds.floor.iter().map(|floor| floor.seconds));
    let cold = median(rounds.cold.iter().map(|cold| cold.seconds));
    let delayed = median(rounds.delayed.iter().map(|cold| cold.seconds));
    let mut rows = vec![
        Row::new(
            named("floor: two writes per object by a tight client"),
            n,
            floor,
            "s",
            Goal::None,
        ),
        Row::new(
            named("cold start to all Secrets and all Ready"),
            n,
            cold,
            "s",
            Goal::None,
        ),
        Row::new(
            named("cold start, in floors"),
            n,
            cold / floor,
            "×",
            Goal::AtMost(1.2),
        ),
    ];
    if !rounds.delayed.is_empty() {
        rows.push(Row::new(
            named("cold start with 80 ms at the service"),
            n,
            delayed,
            "s",
            Goal::None,
        ));
        rows.push(Row::new(
            named("cold start with 80 ms, in cold starts without"),
            n,
            delayed / cold,
            "×",
            Goal::AtMost(1.1),
        ));
    }
    for run in peer
        .iter()
        .filter(|run| run.objects == n && run.api.is_none())
    {
        let (name, goal) = match run.tuning {
            Tuning::Tuned => ("cold start of the peer, tuned, in ours", Goal::AtLeast(4.0)),
            Tuning::Defaults => (
                "cold start of the peer, by its defaults, in ours",
                Goal::None,
            ),
        };
        rows.push(Row::new(named(name), n, run.cold.seconds / cold, "×", goal));
    }
    let each = |used: f64| used / size(n);
    let mean = |values: Vec<f64>| median(values.into_iter());
    let own = mean(rounds.cold.iter().map(|cold| cold.cpu.subject).collect());
    let server = |cpu: &Cpu| cpu.apiserver + cpu.etcd + cpu.controller_manager;
    let asked = mean(rounds.cold.iter().map(|cold| server(&cold.cpu)).collect());
    let least = mean(
        rounds
            .floor
            .iter()
            .map(|floor| server(&floor.cpu))
            .collect(),
    );
    let served = mean(rounds.cold.iter().map(|cold| cold.cpu.emulator).collect());
    rows.extend([
        Row::new(
            named("CPU of the operator per object, cold"),
            n,
            each(own),
            "ms",
            Goal::None,
        ),
        Row::new(
            named("CPU of the control plane per object, cold"),
            n,
            each(asked),
            "ms",
            Goal::None,
        ),
        Row::new(
            named("CPU of the control plane per object, floor"),
            n,
            each(least),
            "ms",
            Goal::None,
        ),
        Row::new(
            named("CPU of the emulator per object, cold"),
            n,
            each(served),
            "ms",
            Goal::None,
        ),
    ]);
    let peak = rounds
        .memory
        .iter()
        .map(|(peak, _)| number(*peak) / KIB_IN_MIB);
    let resident = rounds
        .memory
        .iter()
        .map(|(_, resident)| number(*resident) / KIB_IN_MIB);
    rows.push(Row::new(
        named("peak memory"),
        n,
        peak.fold(0.0, f64::max),
        "MiB",
        Goal::AtMost(40.0),
    ));
    rows.push(Row::new(
        named("memory after the cold start, at rest"),
        n,
        median(resident),
        "MiB",
        Goal::None,
    ));
    rows
}

fn upstream(served: &Served, operation: &str) -> f64 {
    number(served.get(operation).copied().unwrap_or_default())
}

/// Requests to Key Protect: every one is an event in the customer's audit log.
fn events(served: &Served) -> f64 {
    let tokens = served.get("token").copied().unwrap_or_default();
    number(served.values().sum::<u64>() - tokens)
}

/// Rows of what was counted.
pub(crate) fn count_rows(counts: &Counts) -> Vec<Row> {
    let n = counts.objects;
    let objects = size(n);
    let pages = size(n.div_ceil(PAGE));
    let refreshes = f64::from(counts.refreshes);
    let cold = &counts.cold;
    let restart = &counts.restart;
    let each = |asked: u64| number(asked) / objects;
    let quiet = |asked: &Asked| number(asked.beside_status());
    vec![
        Row::new(
            "API writes per object, cold",
            n,
            each(cold.api.writes()),
            "",
            Goal::Exactly(2.0),
        ),
        Row::new(
            "API reads of single objects, cold",
            n,
            number(cold.api.reads()),
            "",
            Goal::Exactly(0.0),
        ),
        Row::new(
            "listing pages, cold",
            n,
            upstream(&cold.upstream, "list"),
            "",
            Goal::Exactly(pages),
        ),
        Row::new(
            "payload fetches, cold",
            n,
            upstream(&cold.upstream, "get"),
            "",
            Goal::Exactly(objects),
        ),
        Row::new(
            "other requests to Key Protect, cold",
            n,
            events(&cold.upstream)
                - upstream(&cold.upstream, "list")
                - upstream(&cold.upstream, "get"),
            "",
            Goal::Exactly(0.0),
        ),
        Row::new(
            "requests to Key Protect, one refresh of all",
            n,
            events(&counts.refreshed.upstream) / refreshes,
            "",
            Goal::Exactly(pages),
        ),
        Row::new(
            "API requests beside the instance's status, one refresh of all",
            n,
            quiet(&counts.refreshed.api) / refreshes,
            "",
            Goal::Exactly(0.0),
        ),
        Row::new(
            "audit events at the service, a day of hourly refreshes",
            n,
            events(&counts.refreshed.upstream) / refreshes * 24.0,
            "",
            Goal::Exactly(24.0 * pages),
        ),
        Row::new(
            "CPU for one refresh of all",
            n,
            counts.refreshed.cpu_ms / refreshes,
            "ms",
            Goal::AtMost(50.0),
        ),
        Row::new(
            "CPU of a minute with nothing to do",
            n,
            counts.idle_cpu_ms_a_minute,
            "ms",
            Goal::None,
        ),
        Row::new(
            "restart in sync: payload fetches",
            n,
            upstream(&restart.upstream, "get"),
            "",
            Goal::Exactly(0.0),
        ),
        Row::new(
            "restart in sync: reads of single Secrets and objects",
            n,
            number(restart.api.reads()),
            "",
            Goal::Exactly(0.0),
        ),
        Row::new(
            "restart in sync: writes",
            n,
            number(restart.api.all_writes()),
            "",
            Goal::Exactly(0.0),
        ),
        Row::new(
            "restart in sync: ready after",
            n,
            counts.restart_ready_seconds,
            "s",
            Goal::AtMost(2.0),
        ),
        Row::new("restart in sync: CPU", n, restart.cpu_ms, "ms", Goal::None),
        Row::new(
            "restart in sync: peak memory",
            n,
            number(counts.restart_peak_kib) / KIB_IN_MIB,
            "MiB",
            Goal::AtMost(40.0),
        ),
    ]
}

/// Rows of the peer, to compare with.
pub(crate) fn peer_rows(run: &PeerRun) -> Vec<Row> {
    let n = run.objects;
    let each = |count: f64| count / size(n);
    let tuning = match run.tuning {
        Tuning::Tuned => "tuned",
        Tuning::Defaults => "by its defaults",
    };
    let named = |name: &str| format!("peer, {tuning}: {name}");
    if let Some(api) = &run.api {
        let all = number(api.reads() + api.writes());
        return vec![Row::new(
            named("API requests per object, cold"),
            n,
            each(all),
            "",
            Goal::None,
        )];
    }
    let upstream = events(&run.cold.served);
    let peak = number(run.peak_kib) / KIB_IN_MIB;
    vec![
        Row::new(named("cold start"), n, run.cold.seconds, "s", Goal::None),
        Row::new(
            named("requests to Key Protect per object, cold"),
            n,
            each(upstream),
            "",
            Goal::None,
        ),
        Row::new(
            named("CPU per object, cold"),
            n,
            each(run.cold.cpu.subject),
            "ms",
            Goal::None,
        ),
        Row::new(named("peak memory"), n, peak, "MiB", Goal::None),
    ]
}

/// Rows of an operator with no objects.
pub(crate) fn idle_rows(idle: Idle) -> Vec<Row> {
    let mib = |kib: u64| number(kib) / KIB_IN_MIB;
    vec![
        Row::new(
            "peak memory with nothing to do",
            0,
            mib(idle.peak_kib),
            "MiB",
            Goal::AtMost(15.0),
        ),
        Row::new(
            "memory with nothing to do",
            0,
            mib(idle.resident_kib),
            "MiB",
            Goal::None,
        ),
        Row::new(
            "ready with nothing to do",
            0,
            idle.ready_seconds,
            "s",
            Goal::None,
        ),
    ]
}

/// Rows of how long one waits.
pub(crate) fn latency_rows(latencies: &Latencies) -> Vec<Row> {
    let n = latencies.objects;
    let kinds = [
        ("a new object to its Secret", &latencies.listed, 8.0),
        (
            "the same, key made after the last listing",
            &latencies.unlisted,
            8.0,
        ),
        (
            "a new object during a cold start",
            &latencies.during_cold,
            25.0,
        ),
        ("a deleted Secret restored", &latencies.restored, 5.0),
    ];
    let mut rows = Vec::new();
    // A small crowd may be served before anybody else comes.
    for (name, samples, goal) in kinds.into_iter().filter(|kind| !kind.1.0.is_empty()) {
        let at = |part: f64| samples.quantile(part);
        rows.push(Row::new(
            format!("{name}: p50"),
            n,
            at(0.5),
            "ms",
            Goal::AtMost(goal),
        ));
        rows.push(Row::new(
            format!("{name}: p90"),
            n,
            at(0.9),
            "ms",
            Goal::None,
        ));
        rows.push(Row::new(
            format!("{name}: p99"),
            n,
            at(0.99),
            "ms",
            Goal::None,
        ));
        let sent = samples.sent_quantile(0.5);
        rows.push(Row::new(
            format!("{name}: p50 with the request itself"),
            n,
            sent,
            "ms",
            Goal::None,
        ));
    }
    rows
}

/// How the cost grows with the number of objects, as a table of Markdown.
pub(crate) fn growth_table(all: &[Counts]) -> String {
    let mut text = "| objects | cold start, s | objects a second | operator CPU, ms an object | peak memory, MiB \
                    | at rest, MiB | CPU of a refresh, ms | restart: ready, s | CPU, ms |\n"
        .to_owned();
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for counts in all {
        let objects = size(counts.objects);
        let cells = [
            objects,
            counts.cold_seconds,
            objects / counts.cold_seconds,
            counts.cold.cpu_ms / objects,
            number(counts.peak_kib) / KIB_IN_MIB,
            number(counts.resident_kib) / KIB_IN_MIB,
            counts.refreshed.cpu_ms / f64::from(counts.refreshes),
            counts.restart_ready_seconds,
            counts.restart.cpu_ms,
        ];
        text.push('|');
        for cell in cells {
            text.push_str(&format!(" {} |", plain(cell)));
        }
        text.push('\n');
    }
    text
}

/// The table, for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let verdict = match row.met {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        let goal = row.goal.as_deref().unwrap_or("");
        let line = format!(
            "{:>6}  {:<width$}  {:>10} {:<3}  {:<9} {}",
            row.n,
            row.name,
            plain(row.value),
            row.unit,
            goal,
            verdict
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The table as Markdown, for `docs/performance.md`.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text =
        "| measured | N | value | goal | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let verdict = match row.met {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "",
        };
        let value = format!("{} {}", plain(row.value), row.unit);
        let goal = row.goal.as_deref().unwrap_or("");
        let cells = [
            &row.name,
            &row.n.to_string(),
            value.trim_end(),
            goal,
            verdict,
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// As many digits as say something.
fn plain(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = match value.abs() {
        size if (size - size.round()).abs() < 1e-9 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_missed_and_said_so() {
        let rows = [
            Row::new("a", 5, 1.2, "×", Goal::AtMost(1.2)),
            Row::new("b", 5, 3.9, "×", Goal::AtLeast(4.0)),
            Row::new("c", 5, 0.0, "", Goal::Exactly(0.0)),
            Row::new("d", 5, f64::NAN, "", Goal::AtMost(1.0)),
            Row::new("e", 5, 7.0, "s", Goal::None),
        ];
        let met: Vec<_> = rows.iter().map(|row| row.met).collect();
        assert_eq!(
            met,
            [Some(true), Some(false), Some(true), Some(false), None]
        );
        let table = table(&rows);
        assert_eq!(table.matches("MISSED").count(), 2, "{table}");
        let markdown = markdown(&rows);
        assert!(markdown.contains("| e | 5 | 7 s |  |  |\n"), "{markdown}");
    }

    #[test]
    fn tokens_are_no_events_of_key_protect() {
        let served = Served::from([("token".to_owned(), 2), ("list".to_owned(), 1)]);
        assert!((events(&served) - 1.0).abs() < 1e-9);
    }
}
