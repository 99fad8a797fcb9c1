//! The emulator of Key Protect and IAM, as a process behind TLS.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::failure::{Context, Failure, Result};
use crate::http::{Client, Server};
use crate::process::Process;

/// GUID of the one instance.
pub(crate) const GUID: &str = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";
pub(crate) const API_KEY: &str = "api-key-of-the-benchmark";

/// A running emulator.
pub(crate) struct Emulator {
    pub(crate) process: Process,
    admin: Client,
    /// Base URL of Key Protect and IAM.
    pub(crate) url: String,
    /// The authority of its certificate, in PEM.
    pub(crate) authority: String,
}

/// Requests that were served, by operation.
pub(crate) type Served = BTreeMap<String, u64>;

impl Emulator {
    /// Starts it.
    pub(crate) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let seed = json!({
            "instances": [{"id": GUID}],
            "serviceIds": [{"name": "operator", "apiKey": API_KEY,
                "roles": [{"instance": GUID, "role": "ReaderPlus"}]}],
        });
        let file = |name: &str| folder.join(name);
        fs::write(file("seed.json"), seed.to_string())?;
        fs::remove_file(file("ports.json")).ok();
        let mut command = Command::new(program);
        command
            .args(["--tls", "--log", "warn", "--token-lifetime", "1h"])
            .args(["--owner-pid", &std::process::id().to_string()])
            .arg("--tls-cert-out")
            .arg(file("ca.pem"))
            .arg("--ports-file")
            .arg(file("ports.json"))
            .arg("--seed")
            .arg(file("seed.json"));
        let mut process = Process::start(&command, "the emulator", &file("emulator.log"))?;
        let ports = loop {
            process.check()?;
            match fs::read_to_string(file("ports.json")) {
                Ok(text) => break serde_json::from_str::<Value>(&text)?,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let url = |name: &str| ports[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            process,
            admin: Client::new(Server::plain(&url("admin"))?),
            url: url("api"),
            authority: fs::read_to_string(file("ca.pem"))?,
        })
    }

    /// Its host and port, as the operator's lists of allowed hosts want it.
    pub(crate) fn host(&self) -> &str {
        self.url
            .split_once("://")
            .map_or(self.url.as_str(), |(_, host)| host)
    }

    /// Makes keys with aliases `PREFIX0…`, as many digits as the count has.
    pub(crate) async fn keys(&self, count: usize, prefix: &str) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let body = json!({"count": count, "prefix": prefix, "aliasPrefix": prefix});
        self.admin
            .post(&format!("/instances/{GUID}/keys/bulk"), &body)
            .await?;
        Ok(())
    }

    /// Makes one key behind an alias.
    pub(crate) async fn key(&self, alias: &str) -> Result<()> {
        let body = json!({"name": alias, "aliases": [alias]});
        self.admin
            .post(&format!("/instances/{GUID}/keys"), &body)
            .await?;
        Ok(())
    }

    /// ID and payload (base64) of every key, by its alias.
    pub(crate) async fn truth(&self) -> Result<BTreeMap<String, (String, String)>> {
        let answer = self.admin.get(&format!("/instances/{GUID}/keys")).await?;
        let keys = answer["keys"].as_array().context(|| "no keys".to_owned())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(keys
            .iter()
            .map(|key| {
                let alias = text(&key["aliases"][0]);
                (alias, (text(&key["id"]), text(&key["payload"])))
            })
            .collect())
    }

    /// Answers every request so much later, from now on.
    pub(crate) async fn delay(&self, delay: Duration) -> Result<()> {
        if delay.is_zero() {
            self.admin
                .ask(Method::DELETE, "/faults", &Value::Null)
                .await?;
        } else {
            let fault = json!({"effect": {"delayMs": delay.as_millis()}});
            self.admin.ask(Method::PUT, "/faults/delay", &fault).await?;
        }
        Ok(())
    }

    /// Number of the last request.
    pub(crate) async fn mark(&self) -> Result<u64> {
        let answer = self.admin.get("/requests?operation=token").await?;
        answer["last"]
            .as_u64()
            .context(|| "the journal has no number".to_owned())
    }

    /// What was served after a number.
    pub(crate) async fn served(&self, since: u64) -> Result<Served> {
        let answer = self.admin.get(&format!("/requests?since={since}")).await?;
        let requests = answer["requests"]
            .as_array()
            .context(|| "no journal".to_owned())?;
        let mut served = Served::new();
        for request in requests {
            let operation = request["operation"].as_str().unwrap_or("?");
            *served.entry(operation.to_owned()).or_default() += 1;
        }
        Ok(served)
    }

    /// Waits until an operation was served after a number.
    pub(crate) async fn until_served(&self, operation: &str, since: u64) -> Result<()> {
        let path =
            format!("/requests/wait?since={since}&operation={operation}&count=1&timeoutMs=60000");
        self.admin
            .get(&path)
            .await
            .map_err(|error| Failure::new(format!("no {operation} came: {error}")))?;
        Ok(())
    }
}
