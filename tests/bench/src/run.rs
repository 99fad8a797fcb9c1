//! The order of the measurements, and what becomes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::bed::{self, Bed, Kind, Places, Wanted};
use crate::chart::{Bar, Chart, svg};
use crate::cold::{self, Eyes};
use crate::failure::{Context, Failure, Result};
use crate::floor::{self, SPREADS, Sample, Spread};
use crate::latency::{self, Latencies};
use crate::peer::{self, Peer, PeerRun, Tuning};
use crate::report::{self, Rounds, Row};
use crate::steady::{self, Counts, Idle};
use crate::{Cli, Fence, Part, factors, machine, process};

/// Latency at the service, where there is to be some.
const DELAY: std::time::Duration = std::time::Duration::from_millis(80);
/// Objects for each way in which the floor's client is tried.
const TRIAL: usize = 400;

/// Everything that was measured.
#[derive(Default)]
struct Measured {
    spreads: Vec<(Spread, f64)>,
    sizes: (usize, usize),
    rounds: Vec<Rounds>,
    counts: Vec<Counts>,
    latencies: Vec<Latencies>,
    idle: Option<Idle>,
    peer: Vec<PeerRun>,
}

/// Says how far it is.
struct Progress {
    begun: Instant,
}

impl Progress {
    fn say(&self, text: &str) {
        let seconds = self.begun.elapsed().as_secs();
        println!("{:>3}:{:02}  {text}", seconds / 60, seconds % 60);
    }
}

/// Measures what was asked for and writes it down.
pub(crate) async fn all(cli: &Cli) -> Result<()> {
    let before = process::favoured();
    let Some(nice) = cli.nice else {
        return measure(cli).await;
    };
    process::favour("self", nice)?;
    let measured = measure(cli).await;
    process::favour("self", before)?;
    measured
}

async fn measure(cli: &Cli) -> Result<()> {
    let places = places(cli)?;
    let profile = profile_of(&places.operator);
    let conditions = machine::conditions(&places.root, &places.operator, &profile);
    let progress = Progress {
        begun: Instant::now(),
    };
    progress.say(&format!(
        "on {}, {} cores, load {}",
        conditions["cpu"].as_str().unwrap_or("?"),
        conditions["cores"],
        conditions["load_before"].as_str().unwrap_or("?")
    ));
    if let Some(sizes) = &cli.growth {
        return growth(cli, &places, sizes, &conditions, &progress).await;
    }
    if cli.factors {
        return factors(cli, &places, &conditions, &progress).await;
    }
    let mut measured = Measured::default();
    // What was measured before something failed, or somebody had enough, is written down too.
    let mut terminate = signal(SignalKind::terminate())?;
    let outcome = tokio::select! {
        outcome = parts(cli, &places, &progress, &mut measured) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        _ = terminate.recv() => Err(Failure::new("told to end")),
    };
    let rows = rows(&measured);
    let charts = charts(&measured);
    println!("\n{}", report::table(&rows));
    for chart in &charts {
        println!("{}", chart.text());
    }
    write(cli, &conditions, &measured, &rows, &charts)?;
    outcome
}

/// Measures one part after the other.
async fn parts(
    cli: &Cli,
    places: &Places,
    progress: &Progress,
    measured: &mut Measured,
) -> Result<()> {
    let wanted = |part: Part| cli.only.is_empty() || cli.only.contains(&part);
    let fences = fences(cli, &places.root);
    if wanted(Part::Idle) {
        let idle = steady::idle(places, fences[0]).await?;
        progress.say(&format!(
            "nothing to do: peak {} KiB, ready after {:.2} s",
            idle.peak_kib, idle.ready_seconds
        ));
        measured.idle = Some(idle);
    }
    if wanted(Part::Cold) {
        cold_starts(cli, places, &fences, progress, measured).await?;
    }
    for n in &cli.n {
        if wanted(Part::Counts) {
            let counts = steady::counts(places, *n, fences[0], cli.refreshes, true).await?;
            progress.say(&format!(
                "{n} objects: refresh {:.1} ms CPU, restart ready after {:.2} s",
                counts.refreshed.cpu_ms / f64::from(counts.refreshes),
                counts.restart_ready_seconds
            ));
            measured.counts.push(counts);
        }
        if wanted(Part::Latency) {
            let latencies = latency::measure(places, *n, fences[0], cli.samples).await?;
            progress.say(&format!(
                "{n} objects: new object p50 {:.1} ms, in a cold start {:.1} ms, restored {:.1} ms",
                latencies.listed.quantile(0.5),
                latencies.during_cold.quantile(0.5),
                latencies.restored.quantile(0.5)
            ));
            measured.latencies.push(latencies);
        }
    }
    if let (Some(program), Some(crds)) = (&cli.peer, &cli.peer_crds) {
        let peer = Peer {
            program: program.canonicalize()?,
            crds: crds.canonicalize()?,
        };
        peers(cli, places, &peer, progress, measured).await?;
    }
    Ok(())
}

/// How the cost grows with the number of objects.
async fn growth(
    cli: &Cli,
    places: &Places,
    sizes: &[usize],
    conditions: &Value,
    progress: &Progress,
) -> Result<()> {
    let fence = fences(cli, &places.root)[0];
    let mut all = Vec::new();
    for n in sizes {
        let counts = steady::counts(places, *n, fence, cli.refreshes, false).await?;
        progress.say(&format!(
            "{n} objects: cold {:.2} s, peak {} KiB, refresh {:.1} ms CPU",
            counts.cold_seconds,
            counts.peak_kib,
            counts.refreshed.cpu_ms / f64::from(counts.refreshes)
        ));
        all.push(counts);
    }
    println!("\n{}", report::growth_table(&all));
    let path = cli.out.join("growth.json");
    let report = json!({"conditions": conditions, "fence": fence, "nice": cli.nice, "raw": all});
    fs::write(
        &path,
        format!("{}\n", serde_json::to_string_pretty(&report)?),
    )?;
    println!("{}", path.display());
    Ok(())
}

/// What each habit of the operator's would cost the floor.
async fn factors(
    cli: &Cli,
    places: &Places,
    conditions: &Value,
    progress: &Progress,
) -> Result<()> {
    let fence = fences(cli, &places.root)[0];
    let sample = sample(places).await?;
    progress.say("the bodies are known; now each habit by turns");
    let costs = factors::measure(places, &sample, fence, cli.rounds).await?;
    println!("\n{}", factors::table(&costs));
    let path = cli.out.join("factors.json");
    let report = json!({"conditions": conditions, "fence": fence, "nice": cli.nice, "raw": costs});
    fs::write(
        &path,
        format!("{}\n", serde_json::to_string_pretty(&report)?),
    )?;
    println!("{}", path.display());
    Ok(())
}

/// The peer's cold starts: tuned for every size and once audited, by its defaults for one.
async fn peers(
    cli: &Cli,
    places: &Places,
    peer: &Peer,
    progress: &Progress,
    measured: &mut Measured,
) -> Result<()> {
    let least = cli.n.iter().copied().min().unwrap_or_default();
    let tuned = cli.n.iter().map(|n| (*n, Tuning::Tuned, false));
    let counted = [
        (least, Tuning::Tuned, true),
        (cli.peer_defaults, Tuning::Defaults, false),
    ];
    for (n, tuning, audited) in tuned.chain(counted).filter(|run| run.0 > 0) {
        let run = peer::run(places, peer, n, tuning, audited).await?;
        progress.say(&format!(
            "{n} objects, the peer, {tuning:?}: {:.1} s{}",
            run.cold.seconds,
            if audited { ", audited" } else { "" }
        ));
        measured.peer.push(run);
    }
    Ok(())
}

/// Floors and cold starts by turns, each on a fresh API server, so that noise strikes both.
async fn cold_starts(
    cli: &Cli,
    places: &Places,
    fences: &[bool],
    progress: &Progress,
    measured: &mut Measured,
) -> Result<()> {
    let (sample, spread) = calibrate(places, progress, measured).await?;
    for n in &cli.n {
        for fence in fences {
            measured.rounds.push(Rounds {
                objects: *n,
                fence: *fence,
                floor: Vec::new(),
                cold: Vec::new(),
                delayed: Vec::new(),
                memory: Vec::new(),
            });
            let Some(rounds) = measured.rounds.last_mut() else {
                continue;
            };
            for round in 1..=cli.rounds {
                one_round(places, &sample, spread, rounds).await?;
                let last =
                    |values: &[cold::Cold]| values.last().map_or(f64::NAN, |cold| cold.seconds);
                progress.say(&format!(
                    "{n} objects{}, round {round} of {}: floor {:.2} s, cold {:.2} s, with 80 ms {:.2} s",
                    if *fence { ", fence on" } else { "" },
                    cli.rounds,
                    rounds.floor.last().map_or(f64::NAN, |floor| floor.seconds),
                    last(&rounds.cold),
                    last(&rounds.delayed),
                ));
            }
        }
    }
    Ok(())
}

async fn one_round(
    places: &Places,
    sample: &Sample,
    spread: Spread,
    rounds: &mut Rounds,
) -> Result<()> {
    let wanted = Wanted {
        objects: rounds.objects,
        later: 0,
        kind: Kind::Own,
        fence: rounds.fence,
        audited: None,
    };
    {
        let bed = Bed::make(places, &wanted).await?;
        rounds.floor.push(cold::floor(&bed, sample, spread).await?);
    }
    {
        let bed = Bed::make(places, &wanted).await?;
        let eyes = Eyes::open(&bed).await?;
        let (mut operator, cold) = cold::start(&bed, &eyes, &places.operator).await?;
        operator.until_quiet().await?;
        let memory = operator.memory()?;
        operator.stop().await?;
        rounds.cold.push(cold);
        rounds.memory.push((memory.peak, memory.resident));
    }
    {
        let bed = Bed::make(places, &wanted).await?;
        bed.emulator.delay(DELAY).await?;
        let eyes = Eyes::open(&bed).await?;
        let (operator, cold) = cold::start(&bed, &eyes, &places.operator).await?;
        operator.stop().await?;
        rounds.delayed.push(cold);
    }
    Ok(())
}

/// Takes a sample of what the operator writes.
async fn sample(places: &Places) -> Result<Sample> {
    let bed = Bed::make(places, &unfenced(1)).await?;
    let eyes = Eyes::open(&bed).await?;
    let (operator, _) = cold::start(&bed, &eyes, &places.operator).await?;
    let object = bed.objects.first().context(|| "no object".to_owned())?;
    let sample = Sample::take(&bed, object).await?;
    operator.stop().await?;
    Ok(sample)
}

/// A bed with so many objects and without the fence.
const fn unfenced(objects: usize) -> Wanted {
    Wanted {
        objects,
        later: 0,
        kind: Kind::Own,
        fence: false,
        audited: None,
    }
}

/// Takes a sample of what the operator writes, and finds the way in which the floor's client is
/// fastest.
async fn calibrate(
    places: &Places,
    progress: &Progress,
    measured: &mut Measured,
) -> Result<(Sample, Spread)> {
    let sample = sample(places).await?;
    measured.sizes = sample.sizes();
    let bed = Bed::make(places, &unfenced(TRIAL * SPREADS.len() * 2)).await?;
    let mut best: Option<(Spread, f64)> = None;
    // Twice, since the first ones meet a server that has just started.
    for (at, objects) in bed.objects.chunks(TRIAL).enumerate() {
        let spread = SPREADS[at % SPREADS.len()];
        let seconds = floor::run(&bed.account.server, &sample, objects, spread).await?;
        measured.spreads.push((spread, seconds));
        if at >= SPREADS.len() && best.is_none_or(|(_, least)| seconds < least) {
            best = Some((spread, seconds));
        }
    }
    let (spread, seconds) = best.context(|| "no spread was tried".to_owned())?;
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let rate = TRIAL as f64 / seconds;
    progress.say(&format!(
        "the floor is by {spread}: {rate:.0} objects/s in a trial"
    ));
    Ok((sample, spread))
}

fn rows(measured: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    for rounds in measured
        .rounds
        .iter()
        .filter(|rounds| !rounds.cold.is_empty())
    {
        rows.extend(report::cold_rows(rounds, &measured.peer));
    }
    rows.extend(measured.counts.iter().flat_map(report::count_rows));
    rows.extend(measured.latencies.iter().flat_map(report::latency_rows));
    rows.extend(measured.peer.iter().flat_map(report::peer_rows));
    rows.extend(measured.idle.into_iter().flat_map(report::idle_rows));
    rows
}

fn charts(measured: &Measured) -> Vec<Chart> {
    let cold = measured.rounds.iter().map(|rounds| {
        let bar = |label: &str, values: Vec<f64>| Bar {
            label: label.to_owned(),
            value: latency::quantile(values, 0.5),
        };
        let peer = measured
            .peer
            .iter()
            .filter(|run| run.objects == rounds.objects && run.api.is_none());
        let peer = peer.map(|run| Bar {
            label: format!("External Secrets Operator, {:?}", run.tuning),
            value: run.cold.seconds,
        });
        let mut chart = Chart {
            title: format!(
                "{} objects to Secrets and Ready{}",
                rounds.objects,
                if rounds.fence { ", fence on" } else { "" }
            ),
            unit: "s",
            bars: vec![
                bar(
                    "floor",
                    rounds.floor.iter().map(|floor| floor.seconds).collect(),
                ),
                bar(
                    "operator",
                    rounds.cold.iter().map(|cold| cold.seconds).collect(),
                ),
                bar(
                    "operator, 80 ms at the service",
                    rounds.delayed.iter().map(|cold| cold.seconds).collect(),
                ),
            ],
        };
        chart.bars.extend(peer);
        chart
    });
    let waits = measured.latencies.iter().map(|latencies| {
        let bar = |label: &str, samples: &latency::Samples| Bar {
            label: label.to_owned(),
            value: samples.quantile(0.5),
        };
        Chart {
            title: format!(
                "How long one waits beside {} others, p50",
                latencies.objects
            ),
            unit: "ms",
            bars: vec![
                bar("new object", &latencies.listed),
                bar("new object, new key", &latencies.unlisted),
                bar("new object in a cold start", &latencies.during_cold),
                bar("deleted Secret", &latencies.restored),
            ],
        }
    });
    cold.chain(waits).collect()
}

fn write(
    cli: &Cli,
    conditions: &Value,
    measured: &Measured,
    rows: &[Row],
    charts: &[Chart],
) -> Result<()> {
    let spreads: Vec<Value> = measured
        .spreads
        .iter()
        .map(|(spread, seconds)| json!({"spread": spread, "objects": TRIAL, "seconds": report::round(*seconds)}))
        .collect();
    let report = json!({
        "conditions": conditions,
        "settings": {
            "n": cli.n, "rounds": cli.rounds, "refreshes": cli.refreshes, "samples": cli.samples,
            "nice": cli.nice,
            "namespaces": bed::NAMESPACES, "delay_ms": DELAY.as_millis(),
            "everyone": "an ordinary ServiceAccount with the RBAC of deploy/overlays/standard",
            "secret_bytes": measured.sizes.0, "status_bytes": measured.sizes.1,
        },
        "rows": rows,
        "raw": {
            "floor_trials": spreads,
            "cold": measured.rounds,
            "counts": measured.counts,
            "latency": measured.latencies,
            "idle": measured.idle,
            "peer": measured.peer,
        },
    });
    fs::create_dir_all(&cli.out)?;
    let path = cli.out.join("report.json");
    fs::write(
        &path,
        format!("{}\n", serde_json::to_string_pretty(&report)?),
    )?;
    fs::write(cli.out.join("chart.svg"), svg(charts))?;
    fs::write(cli.out.join("report.md"), report::markdown(rows))?;
    println!("{}", path.display());
    Ok(())
}

fn fences(cli: &Cli, root: &Path) -> Vec<bool> {
    match cli.fence {
        Some(Fence::On) => vec![true],
        Some(Fence::Both) => vec![true, false],
        None if bed::has_fence(root) => vec![true, false],
        Some(Fence::Off) | None => vec![false],
    }
}

fn places(cli: &Cli) -> Result<Places> {
    let own = std::env::current_exe()?;
    let beside = |name: &str| own.with_file_name(name);
    let found = |given: &Option<PathBuf>, name: &str| {
        let path = given.clone().unwrap_or_else(|| beside(name));
        path.canonicalize().map_err(|error| {
            Failure::new(format!(
                "{}: {error}; `make bench` builds it",
                path.display()
            ))
        })
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    let work = cli.out.join("work");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    Ok(Places {
        root,
        work: work.canonicalize()?,
        operator: found(&cli.operator, "key-protect-operator")?,
        emulator: found(&cli.emulator, "key-protect-emulator")?,
        nice: cli.nice,
    })
}

/// The folder that cargo put the operator in is named after the profile.
fn profile_of(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name);
    folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
