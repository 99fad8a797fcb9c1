//! Measures the operator on a real API server and the emulator, beside the fastest client there
//! can be, against the goals of the project. `make bench` starts it; see its README.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "it talks to whoever started it, and measures time"
)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test says so by panicking")
)]

mod audit;
mod bed;
mod chart;
mod cluster;
mod cold;
mod emulator;
mod factors;
mod failure;
mod floor;
mod http;
mod latency;
mod machine;
mod operator;
mod peer;
mod process;
mod protobuf;
mod report;
mod run;
mod steady;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Measures the operator against the goals of the project.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Numbers of objects to measure with
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1000,5000"
    )]
    n: Vec<usize>,

    /// Instead of everything else: how the cost grows with the number of objects
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 0..=1,
        default_missing_value = "100,500,1000,2000,5000,10000,20000")]
    growth: Option<Vec<usize>>,

    /// Instead of everything else: what each habit of the operator's would cost the floor
    #[arg(long, conflicts_with = "growth")]
    factors: bool,

    /// How often cold starts and floors are measured, in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// What to measure; default: all of it
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Refreshes whose cost is averaged
    #[arg(long, default_value_t = 24)]
    refreshes: u32,

    /// Samples of each latency
    #[arg(long, default_value_t = 60)]
    samples: usize,

    /// With the fence, without, or both; default: both, where this version ships one
    #[arg(long, value_enum)]
    fence: Option<Fence>,

    /// The operator's binary; default: beside this one
    #[arg(long, env = "OPERATOR", value_name = "PATH")]
    operator: Option<PathBuf>,

    /// The emulator's binary; default: beside this one
    #[arg(long, env = "EMULATOR", value_name = "PATH")]
    emulator: Option<PathBuf>,

    /// On a busy machine: favour everything measured, and what measures it (-20 to 19; as root)
    #[arg(long, value_name = "NICE", allow_negative_numbers = true)]
    nice: Option<i32>,

    /// The peer's binary (External Secrets Operator), to measure it side by side
    #[arg(long, env = "PEER", value_name = "PATH", requires = "peer_crds")]
    peer: Option<PathBuf>,

    /// The folder of the peer's CRDs
    #[arg(long, env = "PEER_CRDS", value_name = "DIR")]
    peer_crds: Option<PathBuf>,

    /// Objects for which the peer is measured with its defaults too: some 10 a second
    #[arg(long, value_name = "N", default_value_t = 1000)]
    peer_defaults: usize,

    /// The folder for report.json, chart.svg and logs
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Cold starts, with and without latency at the service, and floors
    Cold,
    /// Requests, CPU of refreshes, restart
    Counts,
    /// How long a new object and a deleted Secret wait
    Latency,
    /// An operator with nothing to do
    Idle,
}

/// With or without the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fence {
    /// With it
    On,
    /// Without it
    Off,
    /// One after the other
    Both,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("bench: another TLS provider is installed");
        return ExitCode::FAILURE;
    }
    // On the main thread, which lives as long as what it starts.
    match runtime.block_on(run::all(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
