//! Records every version of every object that matters, from the cluster's first moment on, and
//! wakes those who wait for one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::etcd::{self, Etcd, Line};
use crate::history::{Present, Version, Which};
use crate::ledger::At;

/// When etcd is asked again that did not answer: it may be restarting.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Record {
    versions: Vec<Version>,
    present: Present,
    revision: u64,
    gap: bool,
}

pub(crate) struct Recorder {
    record: Mutex<Record>,
    revision: watch::Sender<u64>,
    pub(crate) etcd: Etcd,
    begun: Instant,
}

impl Recorder {
    /// Begins to record; ends with the task.
    pub(crate) fn start(etcd: Etcd, begun: Instant) -> (Arc<Self>, JoinHandle<()>) {
        let recorder = Arc::new(Self {
            record: Mutex::default(),
            revision: watch::Sender::new(0),
            etcd,
            begun,
        });
        let task = tokio::spawn(Arc::clone(&recorder).run());
        (recorder, task)
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> At {
        At::try_from(self.begun.elapsed().as_millis()).unwrap_or(At::MAX)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        loop {
            let from = self.record().revision + 1;
            if let Ok(mut stream) = self.etcd.watch(from).await {
                let mut rest: Vec<u8> = Vec::new();
                while let Ok(Some(chunk)) = stream.chunk().await {
                    rest.extend_from_slice(&chunk);
                    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = rest.drain(..=end).collect();
                        if !self.take(&line) {
                            return;
                        }
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn take(&self, line: &[u8]) -> bool {
        let at = self.now();
        let mut record = self.record();
        match etcd::read(line) {
            Line::Compacted => record.gap = true,
            Line::Changes(changes) => {
                for change in changes {
                    record.revision = record.revision.max(change.revision);
                    let Some(which) = Which::from_path(&change.path) else {
                        continue;
                    };
                    let object = change
                        .value
                        .map(|value| serde_json::from_slice(&value).expect("an object as JSON"));
                    let version = Version {
                        which: which.clone(),
                        revision: change.revision,
                        count: change.count,
                        at,
                        object,
                    };
                    if version.object.is_some() {
                        record.present.insert(which, version.clone());
                    } else {
                        record.present.remove(&which);
                    }
                    record.versions.push(version);
                }
            }
        }
        let (revision, gap) = (record.revision, record.gap);
        drop(record);
        self.revision.send_replace(revision);
        !gap
    }

    /// Looks at what there is.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Present) -> T) -> T {
        at(&self.record().present)
    }

    /// The versions after so many of them.
    pub(crate) fn since(&self, count: usize) -> Vec<Version> {
        self.record().versions[count..].to_vec()
    }

    /// Every version of one object.
    pub(crate) fn history(&self, which: &Which) -> Vec<Version> {
        let record = self.record();
        let all = record.versions.iter().filter(|v| v.which == *which);
        all.cloned().collect()
    }

    /// Whether versions were missed.
    pub(crate) fn has_gap(&self) -> bool {
        self.record().gap
    }

    /// Waits until what there is is as asked; says whether that came in time.
    pub(crate) async fn until(
        &self,
        patience: Duration,
        mut holds: impl FnMut(&Present) -> bool,
    ) -> bool {
        let mut revision = self.revision.subscribe();
        let wait = async {
            loop {
                revision.borrow_and_update();
                if self.look(&mut holds) {
                    return;
                }
                if revision.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(patience, wait).await.is_ok()
    }

    /// Waits until everything that was written before is recorded; returns the revision.
    pub(crate) async fn catch_up(&self) -> u64 {
        let patience = Duration::from_secs(30);
        let marked = async {
            loop {
                match self.etcd.mark().await {
                    Ok(revision) => return revision,
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            }
        };
        let mark = tokio::time::timeout(patience, marked).await.expect("etcd");
        let mut revision = self.revision.subscribe();
        let seen = revision.wait_for(|seen| *seen >= mark);
        let seen = tokio::time::timeout(patience, seen).await;
        assert!(
            seen.is_ok_and(|seen| seen.is_ok()) && !self.has_gap(),
            "the recorder does not see what is written"
        );
        mark
    }
}
