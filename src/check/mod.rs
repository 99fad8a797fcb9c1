//! `key-protect-operator check`: from a name to a readable payload, step by step, saying at the
//! first step that fails what to do about it. It reads what the operator would read, by the same
//! code and under the same rules, and prints nothing of a payload, key or token.

mod args;

use std::fmt::{Display, Write as _};
use std::io::{self, Read, Write};
use std::path::Path;

use jiff::Timestamp;
use secrecy::SecretString;
use zeroize::Zeroizing;

pub use self::args::{CheckArgs, KindArg, NetworkArg};
use self::args::{in_flags, spec};
use crate::domain::service::endpoint::{AllowedHosts, Endpoint, resolve};
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::service::hosts::is_local;
use crate::domain::service::ids::{Alias, KeyId, KeyRing};
use crate::domain::service::metadata::{KeyMetadata, KeyState};
use crate::domain::service::reference::KeyName;
use crate::keyprotect::{Client, ClientOptions, CredentialSource};

/// Largest token or key read from a file or from standard input.
const LARGEST_INPUT: u64 = 64 * 1024;

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step that was to be taken succeeded.
    AllOk,
    /// Some step failed.
    Failed,
}

impl Outcome {
    /// Tells the exit code: 0 only when all is well.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::AllOk => 0,
            Self::Failed => 1,
        }
    }
}

/// Takes every step that can be taken, and writes a line on each.
///
/// # Errors
/// The output could not be written.
pub async fn run(args: &CheckArgs, out: &mut impl Write) -> io::Result<Outcome> {
    let mut report = Report {
        out,
        outcome: Outcome::AllOk,
    };
    let Some((endpoint, client, key)) = settings(args, &mut report).await? else {
        return Ok(report.outcome);
    };
    connections(args, &endpoint, &client, &mut report).await?;
    let token = client.token_source().token().await;
    match &token {
        Ok(_) if args.token_file.is_some() => report.ok("token", "as given; IAM was not asked")?,
        Ok(_) => report.ok("token", "IAM takes the API key")?,
        Err(failure) => report.failed("token", failure, remedy(failure))?,
    }
    if token.is_err() {
        for step in ["listing", "metadata", "payload"] {
            report.skipped(step, "needs a token")?;
        }
        return Ok(report.outcome);
    }
    listing(&client, &mut report).await?;
    keys(&client, key, &mut report).await?;
    Ok(report.outcome)
}

struct Report<'w, W> {
    out: &'w mut W,
    outcome: Outcome,
}

impl<W: Write> Report<'_, W> {
    fn line(&mut self, verdict: &str, step: &str, text: impl Display) -> io::Result<()> {
        let text = in_flags(&text.to_string());
        writeln!(self.out, "{verdict:<8}{step:<13}{text}")?;
        self.out.flush()
    }

    fn ok(&mut self, step: &str, text: impl Display) -> io::Result<()> {
        self.line("ok", step, text)
    }

    fn skipped(&mut self, step: &str, why: impl Display) -> io::Result<()> {
        self.line("skipped", step, why)
    }

    fn failed(&mut self, step: &str, what: impl Display, todo: &str) -> io::Result<()> {
        self.outcome = Outcome::Failed;
        self.line("FAILED", step, what)?;
        if todo.is_empty() {
            return Ok(());
        }
        self.line("", "", format_args!("what to do: {todo}"))
    }
}

type Prepared = (Endpoint, Client, Option<(KeyName, Option<KeyRing>)>);

/// Everything that can be wrong before anything is sent.
async fn settings<W: Write>(
    args: &CheckArgs,
    report: &mut Report<'_, W>,
) -> io::Result<Option<Prepared>> {
    let prepared = async {
        let ca_bundle = match &args.ca_file {
            None => None,
            Some(file) => {
                let text = read_input(file).await?;
                Some(String::from_utf8_lossy(&text).into_owned())
            }
        };
        let allowed = AllowedHosts {
            iam: args.allowed_iam_hosts.clone(),
            keys: args.allowed_key_hosts.clone(),
            insecure_loopback: args.allow_insecure_loopback,
        };
        if let Some(entry) = allowed.malformed() {
            return Err(format!("{entry:?} is not HOST or HOST:PORT"));
        }
        let endpoint = resolve(&spec(args, ca_bundle), &allowed).map_err(|e| e.to_string())?;
        let client = client(args, &endpoint).await?;
        let key = key_name(args)?;
        Ok((endpoint, client, key))
    };
    match prepared.await {
        Err(error) => {
            report.failed("settings", error, "")?;
            Ok(None)
        }
        Ok(prepared) => {
            let endpoint = &prepared.0;
            let text = format!("{}, tokens from {}", endpoint.key_base, endpoint.iam_url);
            report.ok("settings", text)?;
            for warning in &endpoint.warnings {
                report.line("note", "", warning)?;
            }
            Ok(Some(prepared))
        }
    }
}

async fn client(args: &CheckArgs, endpoint: &Endpoint) -> Result<Client, String> {
    let options = ClientOptions::default();
    let client = if let Some(file) = &args.token_file {
        Client::with_token(endpoint, &read_secret(file).await?, &options)
    } else {
        let credential = match &args.api_key_file {
            None => return Err("give --api-key-file or --token-file".to_owned()),
            Some(file) if is_stdin(file) => CredentialSource::given(read_secret(file).await?),
            Some(file) => CredentialSource::at(file.clone()),
        };
        Client::new(endpoint, credential, &options)
    };
    client.map_err(|error| error.to_string())
}

fn key_name(args: &CheckArgs) -> Result<Option<(KeyName, Option<KeyRing>)>, String> {
    let ring = args.key_ring.as_deref().map(KeyRing::parse).transpose();
    let ring = ring.map_err(|flaw| format!("--key-ring: {flaw}"))?;
    let name = match (&args.key_id, &args.alias) {
        (Some(id), _) => KeyId::parse(id)
            .map(KeyName::Id)
            .map_err(|flaw| format!("--key-id: {flaw}"))?,
        (None, Some(alias)) => Alias::parse(alias)
            .map(KeyName::Alias)
            .map_err(|flaw| format!("--alias: {flaw}"))?,
        (None, None) => return Ok(None),
    };
    Ok(Some((name, ring)))
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

async fn read_secret(file: &Path) -> Result<SecretString, String> {
    let text = read_input(file).await?;
    let text = std::str::from_utf8(&text).map_err(|_| format!("{} is not text", file.display()))?;
    Ok(SecretString::from(text))
}

async fn read_input(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let capacity = usize::try_from(LARGEST_INPUT).unwrap_or(usize::MAX);
        let mut text = Zeroizing::new(Vec::with_capacity(capacity.saturating_add(1)));
        if is_stdin(&path) {
            io::stdin()
                .lock()
                .take(LARGEST_INPUT)
                .read_to_end(&mut text)?;
        } else {
            let file = std::fs::File::open(&path)?;
            file.take(LARGEST_INPUT).read_to_end(&mut text)?;
        }
        io::Result::Ok(text)
    });
    match read.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::NotFound => format!("{} does not exist", file.display()),
            io::ErrorKind::PermissionDenied => format!("{} may not be read", file.display()),
            _ => format!("{} cannot be read", file.display()),
        }),
        Err(_) => Err(format!("{} cannot be read", file.display())),
    }
}

async fn connections<W: Write>(
    args: &CheckArgs,
    endpoint: &Endpoint,
    client: &Client,
    report: &mut Report<'_, W>,
) -> io::Result<()> {
    let hosts = [
        (&endpoint.iam_url.origin, client.reach_iam_host().await),
        (&endpoint.key_base, client.reach_key_host().await),
    ];
    // A person's token needs no IAM.
    for (origin, reached) in hosts.iter().skip(usize::from(args.token_file.is_some())) {
        let host = origin.host();
        let addresses: Vec<_> = tokio::net::lookup_host((host, origin.port()))
            .await
            .map(Iterator::collect)
            .unwrap_or_default();
        let is_guarded = endpoint.guarded_hosts.iter().any(|name| name == host);
        let list: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
        let text = format!("{host} is {}", list.join(", "));
        if addresses.is_empty() && reached.is_ok() {
            let text = format!("{host} has no address here, but a proxy reaches it");
            report.skipped("name", text)?;
        } else if addresses.is_empty() {
            let todo = "correct the host's name or this machine's name service (or HTTPS_PROXY)";
            report.failed("name", format!("{host} has no address here"), todo)?;
        } else if is_guarded && addresses.iter().any(|a| is_local(a.ip())) && reached.is_err() {
            let todo = "this is no address of IBM Cloud; correct this machine's name service";
            report.failed("name", text, todo)?;
        } else {
            report.ok("name", text)?;
        }
        match reached {
            Ok(()) => report.ok("connection", format!("{origin} answers"))?,
            Err(detail) => {
                let todo = "check firewall, proxy (HTTPS_PROXY, NO_PROXY) and certificates; from a private network, try --network private";
                report.failed("connection", detail, todo)?;
            }
        }
    }
    Ok(())
}

async fn listing<W: Write>(client: &Client, report: &mut Report<'_, W>) -> io::Result<()> {
    match client.list_keys().await {
        Ok(keys) if keys.is_empty() => report.ok(
            "listing",
            "no standard key is listed: there is none, or the credential has no right to list (single grants never show in it)",
        ),
        Ok(keys) if keys.len() == 1 => report.ok("listing", "1 standard key"),
        Ok(keys) => report.ok("listing", format!("{} standard keys", keys.len())),
        Err(failure) => report.failed("listing", &failure, remedy(&failure)),
    }
}

async fn keys<W: Write>(
    client: &Client,
    key: Option<(KeyName, Option<KeyRing>)>,
    report: &mut Report<'_, W>,
) -> io::Result<()> {
    let Some((name, ring)) = key else {
        for step in ["metadata", "payload"] {
            report.skipped(step, "no key was named; give --alias or --key-id")?;
        }
        return Ok(());
    };
    let metadata = match client.key_metadata(&name, ring.as_ref()).await {
        Ok(metadata) => metadata,
        Err(failure) => {
            report.failed("metadata", &failure, remedy(&failure))?;
            return report.skipped("payload", "needs the key's metadata");
        }
    };
    report.ok("metadata", describe(&metadata))?;
    if metadata.extractable == Some(false) {
        let todo =
            "name a standard key: create one with 'ibmcloud kp key create NAME --standard-key'";
        let what = "this is a root key, whose payload never leaves the service";
        return report.failed("payload", what, todo);
    }
    if let Some((what, todo)) = unusable(&metadata) {
        return report.failed("payload", what, todo);
    }
    match client.key(&metadata.id, ring.as_ref()).await {
        Ok(answer) if answer.material.is_some() => report.ok("payload", "readable"),
        Ok(_) => {
            let todo = "a new key's payload may come a little later: try again in a minute";
            report.failed("payload", "the answer holds no payload", todo)
        }
        Err(failure) if failure.kind == FailureKind::Denied => {
            let todo = "metadata may be read, but not the payload: give the service ID the role ReaderPlus (Writer and Manager do too) on the instance, the ring or the key";
            report.failed("payload", &failure, todo)
        }
        Err(failure) => report.failed("payload", &failure, remedy(&failure)),
    }
}

/// Says why the operator would not use a key, whose payload may be readable all the same.
#[expect(
    clippy::disallowed_methods,
    reason = "a person asks now, and nothing is kept"
)]
fn unusable(key: &KeyMetadata) -> Option<(String, &'static str)> {
    if key.is_deleted() {
        let todo = "restore the key, or name another one";
        return Some(("the key is deleted".to_owned(), todo));
    }
    let now = Timestamp::now();
    if let Some(date) = key.expiration_date.filter(|date| *date <= now) {
        let what = format!("the key expired at {date}, and the operator uses no expired key");
        return Some((what, "create a new key, and move the alias to it"));
    }
    match key.state {
        Some(state) if state != KeyState::Active => {
            let what = format!(
                "the key is in state {}, and the operator uses active keys only",
                state.as_str()
            );
            Some((what, "enable the key, or name another one"))
        }
        _ => None,
    }
}

fn describe(key: &KeyMetadata) -> String {
    let mut text = format!("key {}", key.id);
    // Names are anybody's text: shown with escapes.
    if let Some(name) = &key.name {
        let _ = write!(text, ", name {name:?}");
    }
    if let Some(ring) = &key.key_ring {
        let _ = write!(text, ", ring {ring:?}");
    }
    if let Some(state) = key.state {
        let _ = write!(text, ", {}", state.as_str());
    }
    text
}

/// Says what a person can do about a failure.
const fn remedy(failure: &FetchFailure) -> &'static str {
    match failure.kind {
        FailureKind::Unreachable => "check network, proxy and certificates, as above",
        FailureKind::Throttled => "wait, and try again",
        FailureKind::ServiceError => {
            "try again later; if it stays, check the instance's ID, its region and the URLs, and give the ID above to IBM's support"
        }
        FailureKind::CredentialMissing => "put a valid API key into the file",
        FailureKind::CredentialRejected => {
            "create a new API key for the service ID, and check that it is of this account"
        }
        FailureKind::Denied => {
            "check the service ID's role on the instance, the instance ID and region, and network rules (allowed IPs, context-based restrictions)"
        }
        FailureKind::KeyNotFound => "check the alias or ID, and the key ring if one is given",
        FailureKind::KeyGone => "the key was deleted: restore it, or name another one",
        FailureKind::Invalid => "correct what is named above",
    }
}
