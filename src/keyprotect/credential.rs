//! Where an API key is read: a file in the Pod, or an entry of a Secret. It is read anew whenever
//! somebody asks: a mounted Secret is swapped by symlink, and reading some hundred bytes costs less
//! than any way of being told. An entry of a Secret costs a request, so it is read at most so often.

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Largest file looked at; IBM's CLI writes about half a kilobyte.
const LARGEST: u64 = 64 * 1024;
/// An entry of a Secret is read again after this long while it serves.
const CALM: Duration = Duration::from_secs(60);
/// And after this long where something is wrong with it, or with the key in it.
const SOON: Duration = Duration::from_secs(10);

/// Says why there is no API key, and what to do about it.
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
    /// It can be read, but holds no API key.
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
}

/// What was read, and which version of the content it was.
#[derive(Debug)]
pub struct Reading {
    /// The API key, or why there is none.
    pub key: Result<SecretString, CredentialError>,
    /// See [`ApiKeySource::version`].
    pub version: u64,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Given(SecretString),
    Entry(Arc<dyn ReadEntry>),
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

/// Where an API key is read, as plain text or as the JSON that IBM's CLI writes. Clones are one.
#[derive(Clone, Debug)]
pub struct ApiKeySource(Arc<Inner>);

impl ApiKeySource {
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
    /// at only where the last look is old.
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

    /// Reads the API key. An entry of a Secret is read in any case.
    pub async fn read(&self) -> Reading {
        let content = self.content().await;
        let version = self.count(&content);
        let key = content.and_then(|content| parse(&content).map_err(|flaw| self.flaw(flaw)));
        Reading { key, version }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait before reading again what could not be read.
    #[must_use]
    pub fn pause(&self) -> Duration {
        match &self.0.source {
            Source::File(_) | Source::Given(_) => Duration::from_secs(2),
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
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                match read {
                    Ok(Ok(Some(content))) => Ok(content),
                    Ok(Ok(None)) => Err(self.flaw(KeyFlaw::TooLarge)),
                    Ok(Err(error)) => Err(self.unreadable(unreadable_file(error.kind()))),
                    Err(_) => Err(self.unreadable("cannot be read")),
                }
            }
            Source::Entry(entry) => {
                let mut looked = self.0.looked.lock().await;
                self.read_entry(entry, &mut looked).await
            }
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
        let hash = match content {
            Ok(content) => self.0.hasher.hash_one((true, content.as_slice())),
            Err(CredentialError::NoAnswer { .. }) => return self.seen().version,
            Err(error) => self.0.hasher.hash_one((false, error.to_string())),
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

fn unreadable_file(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "does not exist; mount a Secret that holds the API key in its entry apikey"
        }
        io::ErrorKind::PermissionDenied => "may not be read; mount it with mode 0444",
        io::ErrorKind::IsADirectory => "is a folder",
        _ => "cannot be read",
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

    #[tokio::test]
    async fn the_version_moves_with_the_content_and_with_nothing_else() {
        let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
        let folder = dir.join("default");
        std::fs::create_dir_all(&folder).unwrap();
        let file = ApiKeySource::mounted(&dir, "default");
        let missing = file.version().await;
        assert!(matches!(
            file.read().await.key,
            Err(CredentialError::Unreadable { .. })
        ));
        assert_eq!(file.version().await, missing);

        // As the kubelet swaps a mounted Secret: by a symlink to another folder.
        let put = |name: &str, key: &str| {
            std::fs::create_dir_all(dir.join(name)).unwrap();
            std::fs::write(dir.join(name).join("apikey"), key).unwrap();
            let link = dir.join("link");
            std::os::unix::fs::symlink(dir.join(name).join("apikey"), &link).unwrap();
            std::fs::rename(&link, folder.join("apikey")).unwrap();
        };
        put("one", "first-key\n");
        let first = file.read().await;
        assert!(first.version > missing);
        assert_eq!(file.version().await, first.version);
        put("two", "first-key\n");
        assert_eq!(file.version().await, first.version);
        put("three", "other-key\n");
        let other = file.read().await;
        assert!(other.version > first.version);
        assert_eq!(other.key.unwrap().expose_secret(), "other-key");
        std::fs::write(folder.join("apikey"), vec![b'a'; 100_000]).unwrap();
        let large = file.read().await.key.map(|_| ()).unwrap_err();
        assert!(large.to_string().contains("too large"), "{large}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// An entry of a Secret that says what it is told to, and counts who asks.
    #[derive(Debug)]
    struct Entry(Mutex<(Result<&'static str, NotRead>, usize)>);

    impl Entry {
        fn source() -> (Arc<Self>, ApiKeySource) {
            let entry = Arc::new(Self(Mutex::new((Err(NotRead::Forbidden), 0))));
            let source = ApiKeySource::entry(Arc::clone(&entry) as Arc<dyn ReadEntry>);
            (entry, source)
        }

        fn says(&self, said: Result<&'static str, NotRead>) {
            self.0.lock().unwrap().0 = said;
        }

        fn reads(&self) -> usize {
            self.0.lock().unwrap().1
        }
    }

    impl ReadEntry for Entry {
        fn place(&self) -> String {
            "entry apikey of Secret payments/key".to_owned()
        }

        fn read(&self) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, NotRead>> {
            let mut entry = self.0.lock().unwrap();
            entry.1 += 1;
            let said = entry.0.map(|key| Zeroizing::new(key.as_bytes().to_vec()));
            Box::pin(std::future::ready(said))
        }
    }

    #[test]
    fn an_entry_is_read_once_a_minute_and_sooner_where_something_is_wrong() {
        for (seconds, went_well, age, expected) in [
            (59, true, CALM, false),
            (60, true, CALM, true),
            (9, true, SOON, false),
            (10, true, SOON, true),
            (9, false, CALM, false),
            (10, false, CALM, true),
        ] {
            let ago = Duration::from_secs(seconds);
            assert_eq!(
                is_old(ago, went_well, age),
                expected,
                "{seconds} {went_well}"
            );
        }
    }

    #[tokio::test]
    async fn many_who_ask_make_one_request_and_who_needs_the_key_gets_it_as_it_is_now() {
        let (entry, source) = Entry::source();
        entry.says(Ok("first-key"));
        let versions = futures::future::join_all((0..20).map(|_| source.version())).await;
        assert_eq!(entry.reads(), 1);
        entry.says(Ok("second-key"));
        let second = source.read().await;
        assert_eq!(second.key.unwrap().expose_secret(), "second-key");
        assert!(versions.iter().all(|first| *first < second.version));
        assert_eq!(source.version_in_doubt().await, second.version);
        assert_eq!(entry.reads(), 2);
    }

    #[tokio::test]
    async fn what_keeps_an_entry_from_being_read_is_told_and_silence_is_no_news() {
        let (entry, source) = Entry::source();
        entry.says(Ok("first-key"));
        let first = source.read().await.version;
        entry.says(Err(NotRead::NoAnswer));
        let silent = source.read().await;
        assert_eq!(silent.version, first);
        assert!(matches!(silent.key, Err(CredentialError::NoAnswer { .. })));
        for (not_read, words) in [
            (NotRead::Forbidden, "may not be read by the operator"),
            (NotRead::NoSecret, "there is no such Secret"),
            (NotRead::NoEntry, "has no entry of that name"),
        ] {
            entry.says(Err(not_read));
            let read = source.read().await;
            assert!(read.version > first);
            let told = read.key.unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
            assert!(
                told.starts_with("entry apikey of Secret payments/key "),
                "{told}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_prints_a_key() {
        let given = ApiKeySource::given(SecretString::from("canary-key"));
        let key = given.read().await.key.unwrap();
        assert!(!format!("{given:?} {key:?}").contains("canary"));
    }
}
