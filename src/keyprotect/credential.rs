//! The API key file. It is read anew whenever somebody asks: a mounted Secret is swapped by
//! symlink, and reading some hundred bytes costs less than any way of being told.

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Largest file looked at; IBM's CLI writes about half a kilobyte.
const LARGEST: u64 = 64 * 1024;

/// Says why there is no API key, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("the API key file {path} {what}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What happened.
        what: &'static str,
    },
    /// The file can be read, but holds no API key.
    #[error("the API key file {path} {flaw}")]
    Flaw {
        /// Which file.
        path: String,
        /// What is wrong with it.
        flaw: KeyFlaw,
    },
}

/// What is wrong with the content of an API key file. No word of it is quoted.
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
}

/// An API key, and which version of the file it was in.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The key.
    pub secret: SecretString,
    /// See [`CredentialFile::version`].
    pub version: u64,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Given(SecretString),
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
    hasher: RandomState,
    seen: Mutex<Seen>,
}

/// A file that holds an API key, as plain text or as the JSON that IBM's CLI writes.
#[derive(Clone, Debug)]
pub struct CredentialFile(Arc<Inner>);

impl CredentialFile {
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

    fn new(source: Source) -> Self {
        Self(Arc::new(Inner {
            source,
            hasher: RandomState::new(),
            seen: Mutex::default(),
        }))
    }

    /// Tells which version of the content the file holds now. It is a counter: it moves when
    /// the content changes, also from and to an unreadable file, and says nothing about it.
    #[must_use]
    pub fn version(&self) -> u64 {
        let content = self.content();
        self.count(&content)
    }

    /// Reads the API key.
    ///
    /// # Errors
    /// Says what is wrong with the file, and what to do about it.
    pub fn read(&self) -> Result<ApiKey, CredentialError> {
        let content = self.content();
        let version = self.count(&content);
        let secret = parse(&content?).map_err(|flaw| self.flaw(flaw))?;
        Ok(ApiKey { secret, version })
    }

    fn path(&self) -> String {
        match &self.0.source {
            Source::File(path) => path.display().to_string(),
            Source::Given(_) => "(standard input)".to_owned(),
        }
    }

    fn flaw(&self, flaw: KeyFlaw) -> CredentialError {
        let path = self.path();
        CredentialError::Flaw { path, flaw }
    }

    fn content(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        match &self.0.source {
            Source::Given(content) => Ok(Zeroizing::new(content.expose_secret().into())),
            Source::File(path) => match read_file(path) {
                Ok(Some(content)) => Ok(content),
                Ok(None) => Err(self.flaw(KeyFlaw::TooLarge)),
                Err(error) => Err(CredentialError::Unreadable {
                    path: self.path(),
                    what: match error.kind() {
                        io::ErrorKind::NotFound => {
                            "does not exist; mount a Secret that holds the API key in its entry apikey"
                        }
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
        let hash = match content {
            Ok(content) => self.0.hasher.hash_one((true, content.as_slice())),
            Err(error) => self.0.hasher.hash_one((false, error.to_string())),
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
mod tests {
    use super::*;

    const KEY: &str = "Zz9-abcDEF_0123456789abcdefghijklmnopqrstuvw";

    #[test]
    fn every_way_a_key_is_written_down_is_read() {
        for text in [
            KEY.to_owned(),
            format!("{KEY}\n"),
            format!("  {KEY}\r\n\n"),
            format!("\u{feff}{KEY}"),
            format!(
                r#"{{"name":"op","description":"","createdAt":"2026-01-01T00:00+0000","apikey":"{KEY}"}}"#
            ),
            format!("{{\n\t\"name\": \"op\",\n\t\"apiKey\": \"{KEY}\"\n}}\n"),
        ] {
            let read = parse(text.as_bytes()).map(|key| key.expose_secret().to_owned());
            assert_eq!(read.as_deref(), Ok(KEY), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_name_and_never_quoted() {
        for (text, flaw) in [
            ("", KeyFlaw::Empty),
            (" \n\t\n", KeyFlaw::Empty),
            ("{\"apikey\": \"\"}", KeyFlaw::Empty),
            ("canaryA\ncanaryB\n", KeyFlaw::SeveralLines),
            ("<your_API_key>", KeyFlaw::Placeholder),
            ("<canary>", KeyFlaw::Placeholder),
            ("${CANARY}", KeyFlaw::Placeholder),
            ("YOUR-API-KEY", KeyFlaw::Placeholder),
            ("{{ .Values.canary }}", KeyFlaw::Placeholder),
            ("{\"apikey\": \"<API_KEY>\"}", KeyFlaw::Placeholder),
            ("{\"name\": \"canary\"}", KeyFlaw::Json),
            ("{\"apikey\": 5}", KeyFlaw::Json),
            ("{\"apikey\": \"canary\",}", KeyFlaw::Json),
            ("eyJcanary.canary.canary", KeyFlaw::AccessToken),
            ("Bearer canary", KeyFlaw::AccessToken),
            ("canary canary", KeyFlaw::Characters),
            ("\"canary\"", KeyFlaw::Characters),
            ("can\u{e4}ry", KeyFlaw::Characters),
            ("can\0ary", KeyFlaw::Characters),
        ] {
            let read = parse(text.as_bytes()).map(|_| ());
            assert_eq!(read, Err(flaw), "{text:?}");
            assert!(!flaw.to_string().contains("canary"));
        }
        assert_eq!(parse(b"\xff\xfe").map(|_| ()), Err(KeyFlaw::NotText));
    }

    #[test]
    fn the_version_moves_with_the_content_and_with_nothing_else() {
        let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
        let folder = dir.join("default");
        std::fs::create_dir_all(&folder).unwrap();
        let file = CredentialFile::mounted(&dir, "default");
        let missing = file.version();
        assert!(matches!(
            file.read(),
            Err(CredentialError::Unreadable { .. })
        ));
        assert_eq!(file.version(), missing);

        // As the kubelet swaps a mounted Secret: by a symlink to another folder.
        let put = |name: &str, key: &str| {
            std::fs::create_dir_all(dir.join(name)).unwrap();
            std::fs::write(dir.join(name).join("apikey"), key).unwrap();
            let link = dir.join("link");
            std::os::unix::fs::symlink(dir.join(name).join("apikey"), &link).unwrap();
            std::fs::rename(&link, folder.join("apikey")).unwrap();
        };
        put("one", "first-key\n");
        let first = file.read().unwrap();
        assert!(first.version > missing);
        assert_eq!(file.version(), first.version);
        put("two", "first-key\n");
        assert_eq!(file.version(), first.version);
        put("three", "other-key\n");
        let other = file.read().unwrap();
        assert!(other.version > first.version);
        assert_eq!(other.secret.expose_secret(), "other-key");
        std::fs::write(folder.join("apikey"), vec![b'a'; 100_000]).unwrap();
        let large = file.read().map(|_| ()).unwrap_err();
        assert!(large.to_string().contains("too large"), "{large}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nothing_prints_a_key() {
        let file = CredentialFile::given(SecretString::from("canary-key"));
        let key = file.read().unwrap();
        assert!(!format!("{file:?} {key:?}").contains("canary"));
    }
}
