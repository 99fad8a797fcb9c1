//! Where what proves to IAM who asks is read: an API key in a file in the Pod or in an entry of a
//! Secret, or the token of the Pod's ServiceAccount, which a trusted profile trusts. It is read anew
//! whenever somebody asks: the kubelet swaps what is mounted by symlink, and reading some hundred
//! bytes costs less than any way of being told. An entry of a Secret costs a request, so it is read
//! at most so often.

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::domain::credentials::Profile;

/// Largest file looked at; IBM's CLI writes about half a kilobyte.
const LARGEST: u64 = 64 * 1024;
/// An entry of a Secret is read again after this long while it serves.
const CALM: Duration = Duration::from_secs(60);
/// And after this long where something is wrong with it, or with the key in it.
const SOON: Duration = Duration::from_secs(10);

/// Says why there is no credential, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It cannot be read.
    #[error("{place} {what}")]
    Unreadable {
        /// Which file or entry.
        place: String,
        /// What happened.
        what: &'static str,
    },
    /// It can be read, but holds no credential.
    #[error("{place} {flaw}")]
    Flaw {
        /// Which file or entry.
        place: String,
        /// What is wrong with it.
        flaw: KeyFlaw,
    },
    /// Whether it can be read is not known: what was read before stays true.
    #[error("{place} could not be read: the API server did not answer")]
    NoAnswer {
        /// Which entry.
        place: String,
    },
}

/// Why an entry of a Secret was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// The operator has no right to.
    Forbidden,
    /// There is no such Secret.
    NoSecret,
    /// The Secret has no such entry.
    NoEntry,
    /// There was no answer, or none that could be read.
    NoAnswer,
}

impl NotRead {
    /// What happened, after the name of the entry.
    const fn what(self) -> Option<&'static str> {
        match self {
            Self::Forbidden => Some("may not be read by the operator"),
            Self::NoSecret => Some("does not exist: there is no such Secret"),
            Self::NoEntry => Some("does not exist: the Secret has no entry of that name"),
            Self::NoAnswer => None,
        }
    }
}

/// Reads an entry of a Secret. Whoever does it knows the API server; this module does not.
pub trait ReadEntry: fmt::Debug + Send + Sync {
    /// Names the entry in messages, like `entry apikey of Secret payments/key-protect`.
    fn place(&self) -> String;

    /// Reads it.
    fn read(&self) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, NotRead>>;
}

/// What is wrong with the content of a file or entry. No word of it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFlaw {
    /// Nothing is in it.
    #[error("is empty; put the API key into it")]
    Empty,
    /// It is far too large.
    #[error("is too large for an API key")]
    TooLarge,
    /// It is no text.
    #[error("is not text; write the API key into it as it was shown")]
    NotText,
    /// It has several lines and is no JSON.
    #[error(
        "has several lines; it must hold the API key alone, or the JSON that 'ibmcloud iam service-api-key-create NAME ID --file FILE' writes"
    )]
    SeveralLines,
    /// It is JSON without an API key.
    #[error(
        "is JSON without a field apikey; use the file that 'ibmcloud iam service-api-key-create NAME ID --file FILE' writes"
    )]
    Json,
    /// It holds what some instructions show in the key's place.
    #[error("holds a placeholder; replace it by a real API key")]
    Placeholder,
    /// It holds an access token.
    #[error("holds an access token, which lives for an hour only; put an API key into it")]
    AccessToken,
    /// It has characters that no API key has.
    #[error(
        "has characters that no API key has; write the API key into it alone, without quotes or blanks"
    )]
    Characters,
    /// It should hold a ServiceAccount token, and does not.
    #[error(
        "holds no ServiceAccount token; project one into the operator's Pod, as deploy/components/trusted-profile does"
    )]
    NoServiceAccountToken,
}

/// What IAM grants a token for.
#[derive(Debug)]
pub enum Proof {
    /// The API key of a service ID.
    ApiKey(SecretString),
    /// A token of the operator's ServiceAccount, which a trusted profile trusts. IBM calls it a
    /// compute resource token.
    ServiceAccountToken {
        /// The token.
        token: SecretString,
        /// The profile.
        profile: Profile,
    },
}

/// What was read, and which version of the content it was.
#[derive(Debug)]
pub struct Reading {
    /// The credential, or why there is none.
    pub proof: Result<Proof, CredentialError>,
    /// See [`CredentialSource::version`].
    pub version: u64,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Given(SecretString),
    Entry(Arc<dyn ReadEntry>),
    ServiceAccountToken(PathBuf, Profile),
}

type Content = Result<Zeroizing<Vec<u8>>, CredentialError>;

/// Counts the contents seen. They are told apart by a hash whose key is random and stays in
/// this process, so that no copy of the API key need be kept.
#[derive(Default)]
struct Seen {
    hash: Option<u64>,
    version: u64,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)
    }
}

#[derive(Debug)]
struct Inner {
    source: Source,
    hasher: RandomState,
    seen: Mutex<Seen>,
    /// When an entry was last read, and whether that went well. Held while it is read, so that one
    /// request does for all who ask.
    looked: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// Where an API key is read, as plain text or as the JSON that IBM's CLI writes, or a ServiceAccount
/// token. Clones are one.
#[derive(Clone, Debug)]
pub struct CredentialSource(Arc<Inner>);

impl CredentialSource {
    /// Names the file `apikey` of a credential in the credentials folder. The name comes from a
    /// schema that lets only DNS labels pass.
    #[must_use]
    pub fn mounted(credentials_dir: &Path, name: &str) -> Self {
        Self::at(credentials_dir.join(name).join("apikey"))
    }

    /// Names a file.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self::new(Source::File(path))
    }

    /// Takes the content of such a file that came some other way (standard input).
    #[must_use]
    pub fn given(content: SecretString) -> Self {
        Self::new(Source::Given(content))
    }

    /// Names the file in which the kubelet keeps a token of the operator's ServiceAccount, and the
    /// trusted profile that is asked for with it.
    #[must_use]
    pub fn service_account_token(path: PathBuf, profile: Profile) -> Self {
        Self::new(Source::ServiceAccountToken(path, profile))
    }

    /// Names an entry of a Secret.
    #[must_use]
    pub fn entry(entry: Arc<dyn ReadEntry>) -> Self {
        Self::new(Source::Entry(entry))
    }

    fn new(source: Source) -> Self {
        Self(Arc::new(Inner {
            source,
            hasher: RandomState::new(),
            seen: Mutex::default(),
            looked: tokio::sync::Mutex::default(),
        }))
    }

    /// Tells which version the content has: a counter that moves when the content changes, also
    /// from and to what cannot be read, and says nothing about it. An entry of a Secret is looked
    /// at only where the last look is old. Of a ServiceAccount token it is who it speaks of that
    /// counts: the kubelet renews it every hour, and the next one is the same credential.
    pub async fn version(&self) -> u64 {
        self.version_within(CALM).await
    }

    /// The same, where the key is in doubt: an entry of a Secret is looked at sooner.
    pub async fn version_in_doubt(&self) -> u64 {
        self.version_within(SOON).await
    }

    async fn version_within(&self, age: Duration) -> u64 {
        let Source::Entry(entry) = &self.0.source else {
            let content = self.content().await;
            return self.count(&content);
        };
        let mut looked = self.0.looked.lock().await;
        let now = Instant::now();
        if looked.is_some_and(|(at, went_well)| !is_old(now.duration_since(at), went_well, age)) {
            return self.seen().version;
        }
        let content = self.read_entry(entry, &mut looked).await;
        self.count(&content)
    }

    /// Reads the credential. An entry of a Secret is read in any case.
    pub async fn read(&self) -> Reading {
        let content = self.content().await;
        let version = self.count(&content);
        let proof = content.and_then(|content| self.proof(&content).map_err(|f| self.flaw(f)));
        Reading { proof, version }
    }

    fn proof(&self, content: &[u8]) -> Result<Proof, KeyFlaw> {
        match &self.0.source {
            Source::ServiceAccountToken(_, profile) => {
                let (token, _) = parse_token(content)?;
                let profile = profile.clone();
                Ok(Proof::ServiceAccountToken { token, profile })
            }
            _ => parse(content).map(Proof::ApiKey),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait before reading again what could not be read.
    #[must_use]
    pub fn pause(&self) -> Duration {
        match &self.0.source {
            Source::File(_) | Source::Given(_) | Source::ServiceAccountToken(..) => {
                Duration::from_secs(2)
            }
            Source::Entry(_) => SOON,
        }
    }

    /// How messages name it.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.0.source {
            Source::File(path) => format!("the API key file {}", path.display()),
            Source::Given(_) => "the API key file (standard input)".to_owned(),
            Source::Entry(entry) => entry.place(),
            Source::ServiceAccountToken(path, _) => {
                format!("the ServiceAccount token file {}", path.display())
            }
        }
    }

    fn flaw(&self, flaw: KeyFlaw) -> CredentialError {
        let place = self.place();
        CredentialError::Flaw { place, flaw }
    }

    fn unreadable(&self, what: &'static str) -> CredentialError {
        let place = self.place();
        CredentialError::Unreadable { place, what }
    }

    async fn content(&self) -> Content {
        match &self.0.source {
            Source::Given(content) => Ok(Zeroizing::new(content.expose_secret().into())),
            Source::File(path) | Source::ServiceAccountToken(path, _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                match read {
                    Ok(Ok(Some(content))) => Ok(content),
                    Ok(Ok(None)) => Err(self.flaw(KeyFlaw::TooLarge)),
                    Ok(Err(error)) => Err(self.unreadable(self.unreadable_file(error.kind()))),
                    Err(_) => Err(self.unreadable("cannot be read")),
                }
            }
            Source::Entry(entry) => {
                let mut looked = self.0.looked.lock().await;
                self.read_entry(entry, &mut looked).await
            }
        }
    }

    fn unreadable_file(&self, kind: io::ErrorKind) -> &'static str {
        match (kind, &self.0.source) {
            (io::ErrorKind::NotFound, Source::ServiceAccountToken(..)) => {
                "does not exist; project a token into the operator's Pod, as deploy/components/trusted-profile does"
            }
            (io::ErrorKind::NotFound, _) => {
                "does not exist; mount a Secret that holds the API key in its entry apikey"
            }
            (io::ErrorKind::PermissionDenied, _) => "may not be read; mount it with mode 0444",
            (io::ErrorKind::IsADirectory, _) => "is a folder",
            _ => "cannot be read",
        }
    }

    async fn read_entry(
        &self,
        entry: &Arc<dyn ReadEntry>,
        looked: &mut Option<(Instant, bool)>,
    ) -> Content {
        let read = entry.read().await;
        *looked = Some((Instant::now(), read.is_ok()));
        read.map_err(|not_read| {
            let place = entry.place();
            match not_read.what() {
                Some(what) => CredentialError::Unreadable { place, what },
                None => CredentialError::NoAnswer { place },
            }
        })
    }

    /// Counts what was read. Silence is no news.
    fn count(&self, content: &Content) -> u64 {
        let hasher = &self.0.hasher;
        let hash = match content {
            Ok(content) => match (&self.0.source, parse_token(content)) {
                (Source::ServiceAccountToken(..), Ok((_, identity))) => hasher.hash_one(identity),
                _ => hasher.hash_one((true, content.as_slice())),
            },
            Err(CredentialError::NoAnswer { .. }) => return self.seen().version,
            Err(error) => hasher.hash_one((false, error.to_string())),
        };
        let mut seen = self.seen();
        if seen.hash != Some(hash) {
            seen.hash = Some(hash);
            seen.version += 1;
        }
        seen.version
    }
}

/// Whether a look is so long ago that an entry is looked at again.
fn is_old(ago: Duration, went_well: bool, age: Duration) -> bool {
    ago >= if went_well { age } else { age.min(SOON) }
}

/// Reads a file of reasonable size into a buffer that never grows, and so leaves no copy.
fn read_file(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        // Opening a FIFO would block.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if metadata.len() > LARGEST {
        return Ok(None);
    }
    let file = File::open(path)?;
    let capacity = usize::try_from(LARGEST).unwrap_or(usize::MAX);
    let mut content = Zeroizing::new(Vec::with_capacity(capacity.saturating_add(1)));
    file.take(LARGEST.saturating_add(1))
        .read_to_end(&mut content)?;
    Ok((content.len() <= capacity).then_some(content))
}

fn parse(content: &[u8]) -> Result<SecretString, KeyFlaw> {
    #[derive(serde::Deserialize)]
    struct Json<'a> {
        // `apiKey` is what older versions of the CLI wrote.
        #[serde(borrow, alias = "apiKey")]
        apikey: &'a str,
    }
    let text = std::str::from_utf8(content).map_err(|_| KeyFlaw::NotText)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let key = if text.starts_with('{') && text.ends_with('}') && text.contains('"') {
        let json: Json<'_> = serde_json::from_str(text).map_err(|_| KeyFlaw::Json)?;
        json.apikey.trim()
    } else {
        text
    };
    judge(key)?;
    Ok(SecretString::from(key))
}

/// Who a ServiceAccount token speaks of, and to whom.
#[derive(Debug, Hash, PartialEq, Eq)]
struct Identity {
    issuer: String,
    subject: String,
    audience: String,
}

/// Reads a ServiceAccount token: a JWT, of which the claims that IAM decides by are there. Whether
/// it is genuine is IAM's to judge.
fn parse_token(content: &[u8]) -> Result<(SecretString, Identity), KeyFlaw> {
    #[derive(serde::Deserialize)]
    struct Claims {
        iss: String,
        sub: String,
        aud: serde_json::Value,
    }
    let flaw = KeyFlaw::NoServiceAccountToken;
    let text = std::str::from_utf8(content).map_err(|_| flaw)?.trim();
    let is_token_char = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let parts: Vec<&str> = text.split('.').collect();
    let [_, claims, _] = parts.as_slice() else {
        return Err(flaw);
    };
    if !text.bytes().all(is_token_char) {
        return Err(flaw);
    }
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).map_err(|_| flaw)?);
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| flaw)?;
    let identity = Identity {
        issuer: claims.iss,
        subject: claims.sub,
        audience: claims.aud.to_string(),
    };
    Ok((SecretString::from(text), identity))
}

fn judge(key: &str) -> Result<(), KeyFlaw> {
    if key.is_empty() {
        return Err(KeyFlaw::Empty);
    }
    if key.contains(['\n', '\r']) {
        return Err(KeyFlaw::SeveralLines);
    }
    let folded = key.to_ascii_lowercase().replace(['-', ' '], "_");
    let is_placeholder = key.starts_with('<')
        || key.starts_with("${")
        || key.starts_with("{{")
        || [
            "your_api_key",
            "your_apikey",
            "replace_me",
            "changeme",
            "change_me",
        ]
        .iter()
        .any(|known| folded.contains(known));
    if is_placeholder {
        return Err(KeyFlaw::Placeholder);
    }
    if key.starts_with("eyJ") && key.bytes().filter(|b| *b == b'.').count() == 2
        || folded.starts_with("bearer_")
    {
        return Err(KeyFlaw::AccessToken);
    }
    // Today's keys are letters, digits, '-' and '_'; a little more is let through, since IAM
    // and not this program decides what a key is.
    let is_key_char = |b: u8| b.is_ascii_alphanumeric() || b"-_.~+/=:".contains(&b);
    if key.bytes().all(is_key_char) {
        Ok(())
    } else {
        Err(KeyFlaw::Characters)
    }
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
