//! The audit stream: standard output, one JSON object a line, and nothing else. It is no log: it
//! has no levels and no filter. Logs go to standard error, and a container's log keeps the two
//! apart.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::controller::audit::Sink;
use crate::domain::audit::Line;
use crate::metrics::Metrics;

/// Writes lines, each in one piece.
pub struct Stream {
    out: Mutex<Box<dyn Write + Send>>,
    broken: AtomicBool,
    metrics: Metrics,
}

impl Stream {
    /// The process's standard output.
    #[must_use]
    pub fn stdout(metrics: Metrics) -> Self {
        Self::to(Box::new(io::stdout()), metrics)
    }

    /// Some other place.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, metrics: Metrics) -> Self {
        Self {
            out: Mutex::new(out),
            broken: AtomicBool::new(false),
            metrics,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl Sink for Stream {
    /// Where a line cannot be written, Secrets are kept all the same: teams depend on them, and
    /// what was read is in the customer's audit log too. The loss is counted, and told once.
    fn write(&self, line: &Line<'_>) {
        let written = serde_json::to_vec(line)
            .map_err(io::Error::from)
            .and_then(|mut text| {
                text.push(b'\n');
                let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
                out.write_all(&text)?;
                out.flush()
            });
        match written {
            Ok(()) => self.broken.store(false, Ordering::Relaxed),
            Err(error) => {
                self.metrics.audit_line_lost();
                if !self.broken.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the audit stream cannot be written; lines are lost");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::audit::{self, Key, Object, Sent, Subject, Why};

    /// What is written, for as long as it may be.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut page = self.0.lock().unwrap();
            if page.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            page.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_line_and_one_that_is_lost_is_counted() {
        let (page, metrics) = (Page::default(), Metrics::default());
        let stream = Stream::to(Box::new(page.clone()), metrics.clone());
        let object = Object {
            namespace: "n\nn",
            namespace_uid: None,
            name: "x",
            uid: None,
        };
        let subject = Subject {
            object,
            instance: None,
        };
        let sent = Sent {
            correlation_id: "c".to_owned(),
            end: None,
        };
        let write = || {
            let time = Timestamp::UNIX_EPOCH;
            let line = audit::read(time, subject, Why::FirstSync, &Key::default(), &sent);
            stream.write(&line);
        };
        write();
        write();
        page.0.lock().unwrap().1 = true;
        write();
        let text = String::from_utf8(page.0.lock().unwrap().0.clone()).unwrap();
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["object"]["namespace"], "n\nn");
        }
        assert_eq!(metrics.audit_lines_lost(), 1);
    }
}
