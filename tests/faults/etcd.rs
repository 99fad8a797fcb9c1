//! etcd itself, by the JSON that it speaks on its socket: there every version can be seen without
//! a gap, also those that were written while no API server ran.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const BASE: &str = "http://etcd/v3";
/// What the API server keeps is between these two.
const FIRST: &str = "/registry/";
const END: &str = "/registry0";
/// A key that no API server looks at.
const MARKER: &str = "/registry/faults.example/marker";

pub(crate) struct Etcd {
    client: reqwest::Client,
    /// Keeps the way to the socket open, whose own path may be too long for one.
    _folder: File,
}

/// One change.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) revision: u64,
    pub(crate) count: u64,
    pub(crate) value: Option<Vec<u8>>,
}

/// What a line of a watch says.
#[derive(Debug)]
pub(crate) enum Line {
    Changes(Vec<Change>),
    /// What was asked for is not there any more, so the record has a gap.
    Compacted,
}

impl Etcd {
    /// Of the cluster in a folder.
    pub(crate) fn of(cluster: &Path) -> Self {
        let folder = File::open(cluster.join("data")).expect("the cluster's folder");
        let socket = format!("/proc/self/fd/{}/client:0", folder.as_raw_fd());
        let client = reqwest::Client::builder()
            .unix_socket(socket)
            .build()
            .expect("a client");
        Self {
            client,
            _folder: folder,
        }
    }

    async fn ask(&self, what: &str, body: &Value) -> Result<Value, reqwest::Error> {
        let url = format!("{BASE}/{what}");
        let sent = self.client.post(url).body(body.to_string());
        let sent = sent.timeout(Duration::from_secs(10));
        let text = sent.send().await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text).expect("JSON of etcd"))
    }

    /// Writes something of no meaning; returns its revision.
    pub(crate) async fn mark(&self) -> Result<u64, reqwest::Error> {
        let body = json!({"key": STANDARD.encode(MARKER), "value": STANDARD.encode("x")});
        let answer = self.ask("kv/put", &body).await?;
        Ok(number(&answer["header"]["revision"]))
    }

    /// Forgets everything before a revision.
    pub(crate) async fn compact(&self, revision: u64) -> Result<(), reqwest::Error> {
        let body = json!({"revision": revision.to_string(), "physical": true});
        self.ask("kv/compaction", &body).await.map(drop)
    }

    /// Begins a watch of everything from a revision on.
    pub(crate) async fn watch(&self, from: u64) -> Result<reqwest::Response, reqwest::Error> {
        let body = json!({"create_request": {
            "key": STANDARD.encode(FIRST),
            "range_end": STANDARD.encode(END),
            "start_revision": from.to_string(),
        }});
        let sent = self
            .client
            .post(format!("{BASE}/watch"))
            .body(body.to_string());
        sent.send().await?.error_for_status()
    }
}

/// Reads a line of a watch.
pub(crate) fn read(line: &[u8]) -> Line {
    let line: Value = serde_json::from_slice(line).expect("JSON of etcd");
    let result = &line["result"];
    if result["canceled"] == true || !line["error"].is_null() {
        return Line::Compacted;
    }
    let events = result["events"].as_array().into_iter().flatten();
    let changes = events.map(|event| {
        let kv = &event["kv"];
        let path = bytes(&kv["key"]);
        let deleted = event["type"] == "DELETE";
        Change {
            path: String::from_utf8(path).expect("a path"),
            revision: number(&kv["mod_revision"]),
            count: number(&kv["version"]),
            value: (!deleted).then(|| bytes(&kv["value"])),
        }
    });
    Line::Changes(changes.collect())
}

fn number(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD
        .decode(value.as_str().unwrap_or_default())
        .expect("base64 of etcd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_watch_are_read() {
        let key = STANDARD.encode("/registry/secrets/n/s");
        let put = json!({"result": {"header": {"revision": "7"}, "events": [
            {"kv": {"key": key, "mod_revision": "7", "version": "2", "value": STANDARD.encode("v")}},
            {"type": "DELETE", "kv": {"key": key, "mod_revision": "7"}},
        ]}});
        let Line::Changes(changes) = read(put.to_string().as_bytes()) else {
            panic!("no changes");
        };
        assert_eq!((changes[0].revision, changes[0].count), (7, 2));
        assert_eq!(changes[0].value.as_deref(), Some(&b"v"[..]));
        assert!(changes[1].value.is_none() && changes[1].path.ends_with("/s"));
        let gone = json!({"result": {"canceled": true, "compact_revision": "9"}});
        assert!(matches!(read(gone.to_string().as_bytes()), Line::Compacted));
    }
}
