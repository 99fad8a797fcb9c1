//! The emulator's command line.

mod cli;
mod owner;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use key_protect_emulator::control::types::Seed;
use key_protect_emulator::{Emulator, Options};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use cli::Cli;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.seed_schema {
        return print_schema();
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(&cli.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            // Said however little is logged.
            drop(writeln!(std::io::stderr(), "error: {text}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints the JSON schema of seed files. It is what the program is asked for,
/// and so goes to standard output, whatever the log does.
fn print_schema() -> ExitCode {
    let schema = serde_json::to_string_pretty(&Seed::schema()).unwrap_or_default();
    match writeln!(std::io::stdout(), "{schema}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let emulator = Emulator::start(Options {
        listen: cli.listen,
        admin: cli.admin,
        tls: cli.tls_source(),
        seed: cli
            .seed
            .as_deref()
            .map(read_seed)
            .transpose()?
            .unwrap_or_default(),
        token_lifetime: cli.token_lifetime,
    })
    .await?;
    if let (Some(file), Some(pem)) = (&cli.tls_cert_out, emulator.ca_pem()) {
        write_atomically(file, pem)?;
    }
    let ports = json!({ "api": emulator.api_url(), "admin": emulator.admin_url() });
    if let Some(file) = &cli.ports_file {
        // Last, so that whoever waits for it finds everything else in place.
        write_atomically(file, &format!("{ports}\n"))?;
    }
    tracing::info!(
        api = emulator.api_url(),
        admin = emulator.admin_url(),
        "listening"
    );
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to end"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
        () = owner::gone(cli.owner_pid) => tracing::info!("the owner is gone"),
    }
    emulator.shutdown().await;
    Ok(())
}

fn read_seed(file: &Path) -> Result<Seed, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("read {}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn write_atomically(file: &Path, text: &str) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(".tmp");
    std::fs::write(&name, text)
        .and_then(|()| std::fs::rename(&name, file))
        .map_err(|error| format!("write {}: {error}", file.display()).into())
}
