//! The command line: `run` is the operator, `check` tries a credential, `crds` prints the CRDs.

use std::alloc::System;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use key_protect_operator::check::{self, CheckArgs};
use key_protect_operator::controller::clock::now;
use key_protect_operator::controller::context::{Context, Settings};
use key_protect_operator::crds::{self, CrdsArgs, CrdsError};
use key_protect_operator::domain::form::InvalidScope;
use key_protect_operator::metrics::Metrics;
use key_protect_operator::runtime::settings::{MetricsAddress, RunArgs};
use key_protect_operator::runtime::{audit, health, metrics, process, telemetry};
use key_protect_operator::{cluster, controller};
use tokio_util::sync::CancellationToken;
use zeroizing_alloc::ZeroAlloc;

/// Keeps Kubernetes Secrets equal to keys held in IBM Key Protect.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the operator.
    Run(Box<RunArgs>),
    /// Tries, step by step, whether an instance and a key can be read from here.
    Check(Box<CheckArgs>),
    /// Prints the CRDs, or writes them to a folder.
    Crds(CrdsArgs),
}

/// Wipes whatever is let go of. The operator's own types wipe themselves; this is for the buffers in
/// which TLS and HTTP libraries hold what they send and receive, which they do not wipe.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Threads that do the work, whatever the node has: it is waiting, nearly all of it, and each more
/// costs memory.
const WORKERS: usize = 2;
/// How long what cannot be called off may take once everything else has stopped.
const LAST_MOMENT: Duration = Duration::from_millis(300);

/// Why the operator could not run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Crds(#[from] CrdsError),
    #[error("--allowed-key-hosts, --allowed-iam-hosts: {0:?} is no HOST or HOST:PORT")]
    Host(String),
    #[error(transparent)]
    Namespaces(#[from] InvalidScope),
    #[error(transparent)]
    Filter(#[from] telemetry::InvalidFilter),
    #[error("no TLS provider could be set up: another one is installed already")]
    Tls,
    #[error("no way to a cluster: {0}")]
    Cluster(#[from] kube::Error),
    #[error(transparent)]
    Ended(#[from] controller::Ended),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run(&args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => run_check(&args),
        Command::Crds(args) => crds::run(&args)
            .map(|()| ExitCode::SUCCESS)
            .map_err(StartError::from),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "the log may not have been started")]
            {
                eprintln!("key-protect-operator: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run_check(args: &CheckArgs) -> Result<ExitCode, StartError> {
    install_tls()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(check::run(args, &mut std::io::stdout()))?;
    Ok(ExitCode::from(outcome.exit_code()))
}

fn install_tls() -> Result<(), StartError> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| StartError::Tls)
}

fn run(args: &RunArgs) -> Result<(), StartError> {
    let settings = args.controller()?;
    if let Some(host) = settings.allowed_hosts.malformed() {
        return Err(StartError::Host(host.to_owned()));
    }
    telemetry::start(args.log_format, &args.log)?;
    if let Err(error) = process::protect_memory() {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| StartError::Tls)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    let result = runtime.block_on(operate(args, settings));
    // A name that is being looked up cannot be called off, and may take minutes.
    runtime.shutdown_timeout(LAST_MOMENT);
    result
}

async fn operate(args: &RunArgs, settings: Settings) -> Result<(), StartError> {
    let told_to_stop = process::told_to_stop()?;
    let stop = CancellationToken::new();
    let recorded = Metrics::default();
    let client = cluster::client::connect(&recorded.api).await?;
    let audit = Arc::new(audit::Stream::stdout(recorded.clone()));
    let context = Arc::new(Context::new(client, recorded, audit, settings, now()));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        "key-protect-operator starts"
    );
    let health = health::serve(args.health_address, Arc::clone(&context), stop.clone());
    let metrics = serve_metrics(args.metrics_address, &context, &stop);
    let controller = controller::run(Arc::clone(&context), stop.clone());
    let signals = async {
        told_to_stop.await;
        tracing::info!("told to stop");
        stop.cancel();
    };
    // Any of them that ends takes the others along.
    let (health, metrics, controller, ()) = tokio::join!(
        async {
            let ended = health.await;
            stop.cancel();
            ended
        },
        async {
            let ended = metrics.await;
            stop.cancel();
            ended
        },
        async {
            let ended = controller.await;
            stop.cancel();
            ended
        },
        async {
            tokio::select! {
                () = signals => {}
                () = stop.cancelled() => {}
            }
        }
    );
    health?;
    metrics?;
    controller?;
    Ok(())
}

async fn serve_metrics(
    address: MetricsAddress,
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    match address {
        MetricsAddress::At(address) => {
            metrics::serve(address, Arc::clone(context), stop.clone()).await
        }
        MetricsAddress::Off => {
            stop.cancelled().await;
            Ok(())
        }
    }
}
