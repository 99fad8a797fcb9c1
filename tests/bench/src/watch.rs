//! A watch that writes down when something came to be: the clock of every measurement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::{Context, Failure, Result};
use crate::http::{Client, METADATA_ONLY};

/// What was seen of one object.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// When it was made: the last time, if it was made again.
    pub(crate) added: Option<Instant>,
    /// When it changed first after that.
    pub(crate) modified: Option<Instant>,
    /// When it was deleted last.
    pub(crate) deleted: Option<Instant>,
    /// When anything was last heard of it.
    pub(crate) last: Option<Instant>,
    /// The object, where the watch is for whole ones.
    pub(crate) object: Value,
}

/// Everything that was seen, by NAMESPACE/NAME.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) objects: HashMap<String, Seen>,
    /// Objects that were made.
    pub(crate) added: usize,
    /// Objects that have changed.
    pub(crate) modified: usize,
    /// Where to go on when the server ends the watch, as it may at any time.
    version: String,
    ended: Option<String>,
}

/// A watch.
pub(crate) struct Watch {
    log: Arc<Mutex<Log>>,
    changed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// What counts of an event's object when only its metadata are looked at.
#[derive(Deserialize)]
struct BareEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: BareObject<'a>,
}

#[derive(Deserialize)]
struct BareObject<'a> {
    #[serde(borrow, default)]
    metadata: BareMetadata<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BareMetadata<'a> {
    #[serde(borrow, default)]
    namespace: &'a str,
    #[serde(borrow, default)]
    name: &'a str,
    #[serde(borrow, default)]
    resource_version: &'a str,
}

impl Watch {
    /// Watches the metadata of what is under a path, from now on.
    pub(crate) async fn metadata(client: &Arc<Client>, path: &str) -> Result<Self> {
        Self::start(client, path, true).await
    }

    /// Watches whole objects, from now on.
    pub(crate) async fn whole(client: &Arc<Client>, path: &str) -> Result<Self> {
        Self::start(client, path, false).await
    }

    async fn start(client: &Arc<Client>, path: &str, bare: bool) -> Result<Self> {
        let list = client.get(&format!("{path}?limit=1")).await?;
        let version = list["metadata"]["resourceVersion"]
            .as_str()
            .context(|| format!("{path} has no resourceVersion"))?;
        let stream = Stream {
            client: Arc::clone(client),
            path: path.to_owned(),
            bare,
        };
        let body = stream.open(version).await?;
        let log = Arc::new(Mutex::new(Log {
            version: version.to_owned(),
            ..Log::default()
        }));
        let (sender, changed) = watch::channel(0);
        let task = tokio::spawn(follow(stream, body, Arc::clone(&log), sender));
        Ok(Self { log, changed, task })
    }

    /// What was seen so far.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// Waits until something that was seen holds.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut(&Log) -> Option<T>,
    ) -> Result<T> {
        let mut changed = self.changed.clone();
        let wait = async {
            loop {
                changed.mark_unchanged();
                {
                    let log = self.log();
                    if let Some(found) = holds(&log) {
                        return Ok(found);
                    }
                    if let Some(reason) = &log.ended {
                        return Err(Failure::new(format!("the watch ended: {reason}")));
                    }
                }
                if changed.changed().await.is_err() {
                    let log = self.log();
                    return holds(&log).context(|| format!("the watch ended before {what}"));
                }
            }
        };
        tokio::time::timeout(patience, wait)
            .await
            .map_err(|_| Failure::new(format!("not within {patience:?}: {what}")))?
    }

    /// Waits until an object was made after some moment; when that was.
    pub(crate) async fn until_added(
        &self,
        key: &str,
        after: Instant,
        patience: Duration,
    ) -> Result<Instant> {
        self.until(&format!("{key} is made"), patience, |log| {
            log.objects
                .get(key)
                .and_then(|seen| seen.added)
                .filter(|added| *added > after)
        })
        .await
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is watched.
struct Stream {
    client: Arc<Client>,
    path: String,
    bare: bool,
}

impl Stream {
    async fn open(&self, version: &str) -> Result<Incoming> {
        let accept = if self.bare {
            METADATA_ONLY
        } else {
            "application/json"
        };
        let Self { client, path, .. } = self;
        let path = format!("{path}?watch=1&resourceVersion={version}&timeoutSeconds=7200");
        client.stream(&path, accept).await
    }
}

async fn follow(
    stream: Stream,
    mut body: Incoming,
    log: Arc<Mutex<Log>>,
    changed: watch::Sender<u64>,
) {
    let mut rest = Vec::new();
    loop {
        let read = match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let now = Instant::now();
                    rest.extend_from_slice(&data);
                    take_lines(&mut rest, &log, now, stream.bare)
                }
                Err(_) => Ok(()),
            },
            Some(Err(_)) | None => {
                rest.clear();
                let version = lock(&log).version.clone();
                match stream.open(&version).await {
                    Ok(again) => {
                        body = again;
                        Ok(())
                    }
                    Err(failure) => Err(failure.to_string()),
                }
            }
        };
        let ended = read.err();
        let stop = ended.is_some();
        if stop {
            lock(&log).ended = ended;
        }
        changed.send_modify(|count| *count += 1);
        if stop {
            return;
        }
    }
}

/// Takes whole lines out of what has come, and leaves the rest.
fn take_lines(
    rest: &mut Vec<u8>,
    log: &Mutex<Log>,
    now: Instant,
    bare: bool,
) -> std::result::Result<(), String> {
    let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
        return Ok(());
    };
    let mut log = lock(log);
    for line in rest[..end].split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        let unread = |error| format!("{error} in {}", String::from_utf8_lossy(line));
        if bare {
            let event: BareEvent<'_> = serde_json::from_slice(line).map_err(unread)?;
            let metadata = &event.object.metadata;
            let key = format!("{}/{}", metadata.namespace, metadata.name);
            log.take(event.kind, key, Value::Null, now)?;
            metadata.resource_version.clone_into(&mut log.version);
        } else {
            let event: Event = serde_json::from_slice(line).map_err(unread)?;
            let metadata = &event.object["metadata"];
            let part = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
            let key = format!("{}/{}", part("namespace"), part("name"));
            let version = part("resourceVersion");
            log.take(&event.kind, key, event.object, now)?;
            log.version = version;
        }
    }
    rest.drain(..=end);
    Ok(())
}

impl Log {
    fn take(
        &mut self,
        kind: &str,
        key: String,
        object: Value,
        now: Instant,
    ) -> std::result::Result<(), String> {
        let seen = self.objects.entry(key).or_default();
        seen.last = Some(now);
        seen.object = object;
        match kind {
            "ADDED" => {
                if seen.added.is_none() {
                    self.added += 1;
                }
                seen.added = Some(now);
                seen.modified = None;
            }
            "MODIFIED" => {
                if seen.modified.is_none() {
                    self.modified += 1;
                    seen.modified = Some(now);
                }
            }
            "DELETED" => seen.deleted = Some(now),
            other => return Err(format!("an event {other}")),
        }
        Ok(())
    }

    /// When the last thing happened.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.objects.values().filter_map(|seen| seen.last).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &[u8] = br#"{"type":"ADDED","object":{"kind":"PartialObjectMetadata","metadata":{"namespace":"a","name":"b","labels":{"x":"\u00e4\""}}}}
{"type":"MODIFIED","object":{"metadata":{"name":"b","namespace":"a"}}}
{"type":"MODIFIED","object":{"metadata":{"name":"c","namespace":"a"}}}
{"type":"ADD"#;

    #[test]
    fn whole_lines_are_counted_and_half_ones_kept() {
        let log = Mutex::default();
        let mut rest = EVENTS.to_vec();
        take_lines(&mut rest, &log, Instant::now(), true).unwrap();
        assert_eq!(rest, b"{\"type\":\"ADD");
        let log = lock(&log);
        assert_eq!((log.added, log.modified), (1, 2));
        assert!(log.objects["a/b"].modified >= log.objects["a/b"].added);
    }

    #[test]
    fn an_expired_watch_is_no_silence() {
        let log = Mutex::default();
        let mut rest = b"{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n".to_vec();
        assert!(take_lines(&mut rest, &log, Instant::now(), true).is_err());
    }
}
