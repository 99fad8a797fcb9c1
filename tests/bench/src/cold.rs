//! Cold start: from the start of the process until every Secret is there and every object Ready.
//! And the floor for the same objects, on a bed of its own, seen by the same watches.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bed::{Bed, KEYS, SECRETS};
use crate::emulator::Served;
use crate::failure::{Context, Failure, Result};
use crate::floor::{self, Sample, Spread};
use crate::machine::Load;
use crate::operator::Operator;
use crate::process;
use crate::report::{millis, round};
use crate::watch::Watch;

/// How long a cold start may take for one object. ESO takes 0.1 s by its defaults.
const PATIENCE_EACH: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// The watches by which a cold start is seen.
pub(crate) struct Eyes {
    pub(crate) secrets: Watch,
    pub(crate) keys: Watch,
    path: &'static str,
}

impl Eyes {
    pub(crate) async fn open(bed: &Bed) -> Result<Self> {
        Self::on(bed, KEYS).await
    }

    /// On objects of another kind.
    pub(crate) async fn on(bed: &Bed, path: &'static str) -> Result<Self> {
        Ok(Self {
            secrets: Watch::metadata(&bed.admin, SECRETS).await?,
            keys: Watch::metadata(&bed.admin, path).await?,
            path,
        })
    }
}

/// CPU that each part has used, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cpu {
    pub(crate) subject: f64,
    pub(crate) apiserver: f64,
    pub(crate) etcd: f64,
    pub(crate) controller_manager: f64,
    pub(crate) emulator: f64,
    pub(crate) bench: f64,
    /// What the rest of the machine used: noise.
    pub(crate) others: f64,
}

/// Meters of every part, read before and after.
pub(crate) struct Meters {
    parts: [Duration; 5],
    load: Load,
}

impl Meters {
    pub(crate) fn read(bed: &Bed) -> Result<Self> {
        // A cluster from KUBEBUILDER_ASSETS has no controller manager.
        let cpu = |component: &str| bed.cluster.cpu(component).unwrap_or_default();
        Ok(Self {
            parts: [
                cpu("apiserver"),
                cpu("etcd"),
                cpu("controller-manager"),
                process::cpu(bed.emulator.process.pid())?,
                process::cpu(std::process::id())?,
            ],
            load: Load::read()?,
        })
    }

    /// What was used since; `subject` by who was measured.
    pub(crate) fn since(&self, bed: &Bed, subject: Duration) -> Result<Cpu> {
        let now = Self::read(bed)?;
        let used = |part: usize| millis(now.parts[part].saturating_sub(self.parts[part]));
        let known = (0..5).map(used).sum::<f64>() + millis(subject);
        Ok(Cpu {
            subject: millis(subject),
            apiserver: used(0),
            etcd: used(1),
            controller_manager: used(2),
            emulator: used(3),
            bench: used(4),
            others: (millis(now.load.busy_since(&self.load)) - known).max(0.0),
        })
    }
}

/// What a cold start was like.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cold {
    /// From the start of the process to the last Secret and Ready.
    pub(crate) seconds: f64,
    /// To the first Secret.
    pub(crate) first_secret: f64,
    /// To the last Secret.
    pub(crate) last_secret: f64,
    pub(crate) cpu: Cpu,
    pub(crate) served: Served,
}

/// Starts the operator on a bed and waits until everything is done.
pub(crate) async fn start(bed: &Bed, eyes: &Eyes, program: &Path) -> Result<(Operator, Cold)> {
    watched(bed, eyes, || Operator::start(program, bed)).await
}

/// Starts whoever is to be measured, and waits until everything is done.
pub(crate) async fn watched(
    bed: &Bed,
    eyes: &Eyes,
    subject: impl FnOnce() -> Result<Operator>,
) -> Result<(Operator, Cold)> {
    let mark = bed.emulator.mark().await?;
    let meters = Meters::read(bed)?;
    let mut operator = subject()?;
    let begun = operator.begun;
    tokio::select! {
        done = until_done(bed, eyes) => done?,
        died = died(&mut operator) => return Err(died),
    }
    let cpu = meters.since(bed, operator.cpu()?)?;
    bed.check_secrets().await?;
    let cold = seen(bed, eyes, begun, cpu, bed.emulator.served(mark).await?)?;
    Ok((operator, cold))
}

/// Waits until all objects of the bed are Ready.
pub(crate) async fn until_done(bed: &Bed, eyes: &Eyes) -> Result<()> {
    let count = bed.objects.len();
    let patience = PATIENCE + PATIENCE_EACH * u32::try_from(count).unwrap_or(u32::MAX);
    let all = |wanted: usize, found: usize| (found >= wanted).then_some(());
    eyes.secrets
        .until("all Secrets", patience, |log| all(count, log.added))
        .await?;
    eyes.keys
        .until("all objects", patience, |log| all(count, log.modified))
        .await?;
    // Some may have said something else before they were Ready.
    let end = Instant::now() + patience;
    loop {
        let missing = bed.not_ready(eyes.path).await?;
        if missing == 0 {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Failure::new(format!(
                "{missing} objects do not become Ready"
            )));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn seen(bed: &Bed, eyes: &Eyes, begun: Instant, cpu: Cpu, served: Served) -> Result<Cold> {
    let secrets = eyes.secrets.log();
    let added = || secrets.objects.values().filter_map(|seen| seen.added);
    let first = added().min().context(|| "no Secret".to_owned())?;
    let last = added().max().context(|| "no Secret".to_owned())?;
    let keys = eyes.keys.log();
    let ready = keys.last().context(|| "no object".to_owned())?;
    let since = |moment: Instant| round(moment.duration_since(begun).as_secs_f64());
    debug_assert!(secrets.added >= bed.objects.len());
    Ok(Cold {
        seconds: since(last.max(ready)),
        first_secret: since(first),
        last_secret: since(last),
        cpu,
        served,
    })
}

async fn died(operator: &mut Operator) -> Failure {
    loop {
        if let Err(failure) = operator.check() {
            return failure;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What a run of the floor was like.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Floor {
    pub(crate) seconds: f64,
    pub(crate) spread: Spread,
    pub(crate) cpu: Cpu,
}

/// Does the same writes as the operator would, as fast as can be.
pub(crate) async fn floor(bed: &Bed, sample: &Sample, spread: Spread) -> Result<Floor> {
    // Watched in the same way, so that the API server has the same to do.
    let eyes = Eyes::open(bed).await?;
    let meters = Meters::read(bed)?;
    let seconds = floor::run(&bed.account.server, sample, &bed.objects, spread).await?;
    let cpu = meters.since(bed, Duration::ZERO)?;
    until_done(bed, &eyes).await?;
    Ok(Floor {
        seconds: round(seconds),
        spread,
        cpu,
    })
}
