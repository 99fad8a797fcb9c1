//! The journal: every request that was served, in the order of the answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A request that was served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// Its number; they only ever rise.
    pub seq: u64,
    /// When it was answered, on the emulator's clock.
    pub at: String,
    /// The operation.
    pub operation: String,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as it was sent.
    pub query: String,
    /// The HTTP version.
    pub version: String,
    /// The instance that the headers name.
    pub instance: Option<String>,
    /// The service ID that the token names.
    pub service_id: Option<String>,
    /// The correlation ID.
    pub correlation_id: Option<String>,
    /// The ring that the header names.
    pub key_ring: Option<String>,
    /// The key, by ID, whatever the request called it.
    pub key_id: Option<String>,
    /// The status; none when the connection was cut before any, or the caller
    /// left before it.
    pub status: Option<u16>,
    /// The reason code of an error.
    pub code: Option<String>,
    /// The faults that befell it.
    pub faults: Vec<String>,
    /// The caller left before the answer.
    pub abandoned: bool,
    /// The headers, but for `authorization`.
    pub headers: BTreeMap<String, String>,
}

/// Which requests are asked for: those that fit all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Wanted {
    /// Those after this number.
    pub since: u64,
    /// An operation.
    pub operation: Option<String>,
    /// A key's ID.
    pub key_id: Option<String>,
    /// An instance.
    pub instance: Option<String>,
    /// A service ID.
    pub service_id: Option<String>,
    /// A status.
    pub status: Option<u16>,
}

impl Wanted {
    fn fits(&self, served: &Served) -> bool {
        let same = |wanted: &Option<String>, actual: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| Some(wanted) == actual)
        };
        served.seq > self.since
            && same(&self.operation, Some(&served.operation))
            && same(&self.key_id, served.key_id.as_deref())
            && same(&self.instance, served.instance.as_deref())
            && same(&self.service_id, served.service_id.as_deref())
            && self
                .status
                .is_none_or(|status| Some(status) == served.status)
    }
}

/// Keeps what was served, and wakes those who wait for it.
#[derive(Debug)]
pub struct Journal {
    entries: Mutex<Vec<Served>>,
    last: watch::Sender<u64>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }
}

impl Journal {
    /// Adds a request and gives it its number.
    pub fn record(&self, mut served: Served) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.last.send_modify(|last| {
            *last += 1;
            served.seq = *last;
        });
        entries.push(served);
    }

    /// Returns the requests that are asked for.
    pub fn find(&self, wanted: &Wanted) -> Vec<Served> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .filter(|served| wanted.fits(served))
            .cloned()
            .collect()
    }

    /// Counts the requests that are asked for, of those after one number and up
    /// to another.
    fn count(&self, wanted: &Wanted, after: u64, to: u64) -> usize {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let start = entries.partition_point(|served| served.seq <= after);
        let new = entries.iter().skip(start);
        new.take_while(|served| served.seq <= to)
            .filter(|served| wanted.fits(served))
            .count()
    }

    /// Forgets every request; the numbers go on.
    pub fn clear(&self) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Returns the number of the last request.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Waits for so many of the requests that are asked for. Returns those
    /// that there are, and whether they are enough.
    pub async fn wait(
        &self,
        wanted: &Wanted,
        count: usize,
        timeout: Duration,
    ) -> (Vec<Served>, bool) {
        let mut last = self.last.subscribe();
        let enough = async {
            // Counted onwards from what was counted before: a wait during a
            // long run would otherwise go through all of it for each request.
            let (mut counted, mut to) = (0, wanted.since);
            loop {
                let newest = *last.borrow_and_update();
                counted += self.count(wanted, to, newest);
                to = newest;
                if counted >= count || last.changed().await.is_err() {
                    return;
                }
            }
        };
        let timely = tokio::time::timeout(timeout, enough).await;
        drop(timely);
        let found = self.find(wanted);
        let complete = found.len() >= count;
        (found, complete)
    }
}
