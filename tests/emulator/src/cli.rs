//! The options of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use key_protect_emulator::Tls;
use tracing_subscriber::EnvFilter;

const EXAMPLE: &str = "Example: key-protect-emulator --listen 127.0.0.1:8080 \
    --admin 127.0.0.1:8081 --seed seed.json";

/// Emulates IBM Key Protect and IBM Cloud IAM on this machine.
///
/// One listener serves the Key Protect API (/api/v2/…) and IAM's token paths
/// (/identity/token, /oidc/token). A second one, plain HTTP, is the admin
/// port: it makes instances, service IDs and keys, injects faults, moves the
/// clock, and reports every request that was served. State is in memory only,
/// and anyone at the admin port can read it: give it no real secrets.
///
/// docs/emulator.md is the manual.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
pub(crate) struct Cli {
    /// Where Key Protect and IAM listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// Where the admin port listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) admin: SocketAddr,

    /// Serve TLS (HTTP/2 and HTTP/1.1) with a certificate that is made at the
    /// start, for localhost, 127.0.0.1 and ::1
    #[arg(long)]
    pub(crate) tls: bool,

    /// A further name or IP address in that certificate; may be repeated
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(crate) tls_name: Vec<String>,

    /// Where to write the authority that signed it, in PEM
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) tls_cert_out: Option<PathBuf>,

    /// Serve TLS with this certificate (PEM, with its chain)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls"
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// A JSON file with instances, service IDs, modes and faults to begin with
    #[arg(long, value_name = "FILE")]
    pub(crate) seed: Option<PathBuf>,

    /// Print the JSON schema of seed files, and end
    #[arg(long)]
    pub(crate) seed_schema: bool,

    /// Where to write {"api": URL, "admin": URL} once listening
    #[arg(long, value_name = "FILE")]
    pub(crate) ports_file: Option<PathBuf>,

    /// End when this process has ended
    #[arg(long, value_name = "PID")]
    pub(crate) owner_pid: Option<u32>,

    /// How long access tokens live, such as 90s, 5m or 1h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(crate) token_lifetime: Duration,

    /// What to log: off, error, warn, info (every request), debug, or a filter
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub(crate) log: String,
}

impl Cli {
    /// Returns where the certificate comes from, when there is to be TLS.
    pub(crate) fn tls_source(&self) -> Option<Tls> {
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            return Some(Tls::Files {
                cert: cert.clone(),
                key: key.clone(),
            });
        }
        self.tls.then(|| Tls::Make {
            names: self.tls_name.clone(),
        })
    }
}

fn filter(text: &str) -> Result<String, String> {
    match text.parse::<EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; use a level, or such as http=debug,info")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("{text} is no duration"))?;
    let seconds = match &text[digits.len()..] {
        "s" | "" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        unit => return Err(format!("{unit} is no unit; use s, m or h")),
    };
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn what_is_no_filter_of_the_log_is_refused() {
        for good in ["info", "off", "hyper=debug,info"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        assert!(filter("info=loud").is_err());
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("1h", 3600), ("90s", 90), ("5m", 300), ("7", 7)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(duration("1d").is_err() && duration("h").is_err() && duration("").is_err());
    }
}
