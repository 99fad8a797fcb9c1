//! The file that proves to IAM who asks: an API key, or the ServiceAccount token of the operator's
//! Pod, which a trusted profile trusts. It is read anew whenever somebody asks: the kubelet swaps
//! what is mounted by symlink, and reading some hundred bytes costs less than any way of being told.

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Largest file looked at; IBM's CLI writes about half a kilobyte.
const LARGEST: u64 = 64 * 1024;

/// Says why there is no credential, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("the {file} {path} {what}")]
    Unreadable {
        /// What file it is.
        file: &'static str,
        /// Where it is.
        path: String,
        /// What happened.
        what: &'static str,
    },
    /// The file can be read, but holds no credential.
    #[error("the {file} {path} {flaw}")]
    Flaw {
        /// What file it is.
        file: &'static str,
        /// Where it is.
        path: String,
        /// What is wrong with it.
        flaw: KeyFlaw,
    },
}

/// What is wrong with the content of such a file. No word of it is quoted.
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

/// A trusted profile, as its owner names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// By name, which is unique in an account.
    Name(String),
    /// By ID.
    Id(String),
}

/// What IAM grants a token for.
#[derive(Clone, Debug)]
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

/// A proof, and which version of the file it was in.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The proof.
    pub proof: Proof,
    /// See [`CredentialFile::version`].
    pub version: u64,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Given(SecretString),
}

/// What the file is to hold.
#[derive(Debug)]
enum Holds {
    ApiKey,
    ServiceAccountToken(Profile),
}

impl Holds {
    const fn file(&self) -> &'static str {
        match self {
            Self::ApiKey => "API key file",
            Self::ServiceAccountToken(_) => "ServiceAccount token file",
        }
    }

    const fn when_absent(&self) -> &'static str {
        match self {
            Self::ApiKey => {
                "does not exist; mount a Secret that holds the API key in its entry apikey"
            }
            Self::ServiceAccountToken(_) => {
                "does not exist; project a token into the operator's Pod, as deploy/components/trusted-profile does"
            }
        }
    }
}

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
    holds: Holds,
    hasher: RandomState,
    seen: Mutex<Seen>,
}

/// A file that holds an API key, as plain text or as the JSON that IBM's CLI writes, or a
/// ServiceAccount token.
#[derive(Clone, Debug)]
pub struct CredentialFile(Arc<Inner>);

impl CredentialFile {
    /// Names the file `apikey` of a credential in the credentials folder. The name comes from a
    /// schema that lets only DNS labels pass.
    #[must_use]
    pub fn mounted(credentials_dir: &Path, name: &str) -> Self {
        Self::at(credentials_dir.join(name).join("apikey"))
    }

    /// Names a file that holds an API key.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self::new(Source::File(path), Holds::ApiKey)
    }

    /// Takes the content of an API key file that came some other way (standard input).
    #[must_use]
    pub fn given(content: SecretString) -> Self {
        Self::new(Source::Given(content), Holds::ApiKey)
    }

    /// Names the file that the kubelet keeps a token of the operator's ServiceAccount in, and the
    /// trusted profile that it is exchanged for.
    #[must_use]
    pub fn service_account_token(path: PathBuf, profile: Profile) -> Self {
        Self::new(Source::File(path), Holds::ServiceAccountToken(profile))
    }

    fn new(source: Source, holds: Holds) -> Self {
        Self(Arc::new(Inner {
            source,
            holds,
            hasher: RandomState::new(),
            seen: Mutex::default(),
        }))
    }

    /// Tells which version of the content the file holds now. It is a counter: it moves when
    /// the content changes, also from and to an unreadable file, and says nothing about it. Of a
    /// ServiceAccount token it is who it speaks of that counts: the kubelet renews it every hour,
    /// and the next one is the same credential.
    #[must_use]
    pub fn version(&self) -> u64 {
        let content = self.content();
        self.count(&content)
    }

    /// Reads the credential.
    ///
    /// # Errors
    /// Says what is wrong with the file, and what to do about it.
    pub fn read(&self) -> Result<Credential, CredentialError> {
        let content = self.content();
        let version = self.count(&content);
        let content = content?;
        let proof = match &self.0.holds {
            Holds::ApiKey => parse(&content).map(Proof::ApiKey),
            Holds::ServiceAccountToken(profile) => {
                parse_token(&content).map(|(token, _)| Proof::ServiceAccountToken {
                    token,
                    profile: profile.clone(),
                })
            }
        };
        let proof = proof.map_err(|flaw| self.flaw(flaw))?;
        Ok(Credential { proof, version })
    }

    fn path(&self) -> String {
        match &self.0.source {
            Source::File(path) => path.display().to_string(),
            Source::Given(_) => "(standard input)".to_owned(),
        }
    }

    fn flaw(&self, flaw: KeyFlaw) -> CredentialError {
        let path = self.path();
        let file = self.0.holds.file();
        CredentialError::Flaw { file, path, flaw }
    }

    fn content(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        match &self.0.source {
            Source::Given(content) => Ok(Zeroizing::new(content.expose_secret().into())),
            Source::File(path) => match read_file(path) {
                Ok(Some(content)) => Ok(content),
                Ok(None) => Err(self.flaw(KeyFlaw::TooLarge)),
                Err(error) => Err(CredentialError::Unreadable {
                    file: self.0.holds.file(),
                    path: self.path(),
                    what: match error.kind() {
                        io::ErrorKind::NotFound => self.0.holds.when_absent(),
                        io::ErrorKind::PermissionDenied => {
                            "may not be read; mount it with mode 0444"
                        }
                        io::ErrorKind::IsADirectory => "is a folder",
                        _ => "cannot be read",
                    },
                }),
            },
        }
    }

    fn count(&self, content: &Result<Zeroizing<Vec<u8>>, CredentialError>) -> u64 {
        let hasher = &self.0.hasher;
        let hash = match content {
            Ok(content) => match (&self.0.holds, parse_token(content)) {
                (Holds::ServiceAccountToken(_), Ok((_, identity))) => hasher.hash_one(identity),
                _ => hasher.hash_one((true, content.as_slice())),
            },
            Err(error) => hasher.hash_one((false, error.to_string())),
        };
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.hash != Some(hash) {
            seen.hash = Some(hash);
            seen.version += 1;
        }
        seen.version
    }
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
