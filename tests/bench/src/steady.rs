//! What it costs while nothing changes: refreshes, a restart, memory.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::audit::Asked;
use crate::bed::{ACCOUNT, Bed, INSTANCES, Kind, OPERATOR_NAMESPACE, Places, Wanted};
use crate::cluster::user;
use crate::cold::{self, Eyes};
use crate::emulator::Served;
use crate::failure::Result;
use crate::operator::Operator;
use crate::report::{millis, round};
use crate::watch::Watch;

const PATIENCE: Duration = Duration::from_secs(30);
/// Over which idleness is measured.
const IDLE: Duration = Duration::from_secs(6);

/// Requests of both sides, and CPU.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) upstream: Served,
    pub(crate) api: Asked,
    pub(crate) cpu_ms: f64,
}

/// What was counted on one bed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) objects: usize,
    pub(crate) cold: Cost,
    pub(crate) cold_seconds: f64,
    /// After the cold start, at rest, in KiB.
    pub(crate) peak_kib: u64,
    pub(crate) resident_kib: u64,
    /// CPU of a minute in which nothing happens.
    pub(crate) idle_cpu_ms_a_minute: f64,
    pub(crate) refreshes: u32,
    /// All refreshes together.
    pub(crate) refreshed: Cost,
    pub(crate) restart: Cost,
    pub(crate) restart_ready_seconds: f64,
    pub(crate) restart_peak_kib: u64,
}

/// Counts everything on one bed. Requests to the API server are counted only where it writes them
/// down, which slows it.
pub(crate) async fn counts(
    places: &Places,
    objects: usize,
    fence: bool,
    refreshes: u32,
    audited: bool,
) -> Result<Counts> {
    let wanted = Wanted {
        objects,
        later: 0,
        kind: Kind::Own,
        fence,
        audited: audited.then(|| user(OPERATOR_NAMESPACE, ACCOUNT)),
    };
    let bed = Bed::make(places, &wanted).await?;
    let eyes = Eyes::open(&bed).await?;
    let (mut operator, cold) = cold::start(&bed, &eyes, &places.operator).await?;
    operator.until_quiet().await?;
    let memory = operator.memory()?;
    let cold_seconds = cold.seconds;
    let cold = Cost {
        upstream: cold.served,
        api: asked(&bed)?,
        cpu_ms: cold.cpu.subject,
    };

    let before = operator.cpu()?;
    tokio::time::sleep(IDLE).await;
    let minutes = 60.0 / IDLE.as_secs_f64();
    let idle_cpu_ms_a_minute = round(millis(operator.cpu()? - before) * minutes);

    let refreshed = refresh(&bed, &mut operator, refreshes).await?;
    operator.stop().await?;
    let (restart, restart_ready_seconds, restart_peak_kib) =
        restart(&bed, &places.operator).await?;
    Ok(Counts {
        objects,
        cold,
        cold_seconds,
        peak_kib: memory.peak,
        resident_kib: memory.resident,
        idle_cpu_ms_a_minute,
        refreshes,
        refreshed,
        restart,
        restart_ready_seconds,
        restart_peak_kib,
    })
}

/// Everything that the operator has asked so far; nothing, where nobody writes it down.
fn asked(bed: &Bed) -> Result<Asked> {
    if bed.audited {
        Asked::read(&bed.cluster.audit_log()?)
    } else {
        Ok(Asked::default())
    }
}

/// Asks for so many looks at all keys, one after the other; what they cost together.
pub(crate) async fn refresh(bed: &Bed, operator: &mut Operator, count: u32) -> Result<Cost> {
    let instance = Watch::whole(&bed.admin, INSTANCES).await?;
    let mark = bed.emulator.mark().await?;
    let asked_before = asked(bed)?;
    let cpu = operator.cpu()?;
    for number in 1..=count {
        let word = format!("look-{number}");
        bed.ask_for_sync(&word).await?;
        instance
            .until(&format!("the answer to {word}"), PATIENCE, |log| {
                log.objects
                    .values()
                    .any(|seen| seen.object["status"]["lastHandledSyncRequest"] == word.as_str())
                    .then_some(())
            })
            .await?;
    }
    operator.until_quiet().await?;
    let cpu = operator.cpu()? - cpu;
    Ok(Cost {
        upstream: bed.emulator.served(mark).await?,
        api: asked(bed)?.since(&asked_before),
        cpu_ms: millis(cpu),
    })
}

/// Starts the operator anew where everything is in sync.
pub(crate) async fn restart(bed: &Bed, program: &Path) -> Result<(Cost, f64, u64)> {
    let mark = bed.emulator.mark().await?;
    let asked_before = asked(bed)?;
    let mut operator = Operator::start(program, bed)?;
    let ready = operator.until_ready().await?;
    bed.emulator.until_served("list", mark).await?;
    operator.until_quiet().await?;
    let cost = Cost {
        upstream: bed.emulator.served(mark).await?,
        api: asked(bed)?.since(&asked_before),
        cpu_ms: millis(operator.cpu()?),
    };
    let peak = operator.memory()?.peak;
    operator.stop().await?;
    Ok((cost, round(ready.as_secs_f64()), peak))
}

/// Memory of an operator with nothing to do, in KiB: peak and at rest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) peak_kib: u64,
    pub(crate) resident_kib: u64,
    pub(crate) ready_seconds: f64,
}

/// Measures an operator that has an instance and no objects.
pub(crate) async fn idle(places: &Places, fence: bool) -> Result<Idle> {
    let wanted = Wanted {
        objects: 0,
        later: 0,
        kind: Kind::Own,
        fence,
        audited: None,
    };
    let bed = Bed::make(places, &wanted).await?;
    let mark = bed.emulator.mark().await?;
    let mut operator = Operator::start(&places.operator, &bed)?;
    let ready = operator.until_ready().await?;
    bed.emulator.until_served("list", mark).await?;
    operator.until_quiet().await?;
    let memory = operator.memory()?;
    operator.stop().await?;
    Ok(Idle {
        peak_kib: memory.peak,
        resident_kib: memory.resident,
        ready_seconds: round(ready.as_secs_f64()),
    })
}
