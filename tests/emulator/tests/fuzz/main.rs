//! A fuzzer of the emulator's HTTP surface: random requests, whole and broken,
//! to the API, to IAM and to the admin port, over real sockets.
//!
//! It fails on a panic anywhere, which a server would otherwise swallow with
//! the task that panicked; on an answer that is no HTTP or no JSON; on a 5xx
//! that nothing asked for; and on a request that is not answered.
//!
//! `FUZZ_SECONDS` says how long it runs (10 by default), `FUZZ_SEED` which
//! requests it makes. `make fuzz-emulator` runs it for an hour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests too, which the lints cannot tell"
)]

mod bodies;
mod dice;
mod requests;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use key_protect_emulator::control::types::{Failover, NewInstance, NewServiceId};
use key_protect_emulator::http::route::Operation;
use key_protect_emulator::{Emulator, Modes, Options, Wanted};
use serde_json::{Value, json};

use dice::Dice;
use requests::{Known, Request, Surface};
use wire::{Answer, Wire};

const INSTANCES: [&str; 2] = [
    "aaaaaaaa-0000-4000-8000-000000000001",
    "aaaaaaaa-0000-4000-8000-000000000002",
];

/// What random requests hardly get done: a purge takes four hours after a
/// deletion, KMIP objects do not exist, and some names are never guessed.
const HARD: [&str; 10] = [
    "purge",
    "unknown",
    "kmipObject",
    "deleteKmipObject",
    "kmipObjects",
    "kmipCertificates",
    "kmipCertificate",
    "deleteKmipCertificate",
    "kmipAdapter",
    "deleteKmipAdapter",
];

/// Everything that panicked, wherever it did.
fn count_panics() -> Arc<Mutex<Vec<String>>> {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&panics);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        seen.lock().unwrap().push(panic.to_string());
        before(panic);
    }));
    panics
}

struct Fuzz {
    emulator: Emulator,
    known: Known,
    dice: Dice,
    wires: [Wire; 2],
    recent: VecDeque<String>,
    panics: Arc<Mutex<Vec<String>>>,
    /// How often each operation answered each status.
    tally: BTreeMap<(String, u16), u64>,
}

impl Fuzz {
    async fn start(seed: u64) -> Self {
        let panics = count_panics();
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let roles = |role: &str, scope: Value| {
            let mut grant = json!({ "instance": INSTANCES[0], "role": role });
            grant
                .as_object_mut()
                .unwrap()
                .extend(scope.as_object().unwrap().clone());
            serde_json::from_value(json!([grant])).unwrap()
        };
        for (name, role, scope) in [
            ("manager", "Manager", json!({})),
            ("second", "Manager", json!({})),
            ("reader", "Reader", json!({})),
            ("writer", "Writer", json!({ "keyRing": "ring-a" })),
            ("purger", "KeyPurge", json!({})),
            ("storage", "Reader", json!({})),
        ] {
            let new = NewServiceId {
                name: name.to_owned(),
                api_key: Some(format!("key-of-{name}")),
                roles: roles(role, scope),
                service: (name == "storage").then(|| "cloud-object-storage".to_owned()),
            };
            emulator.create_service_id(new).unwrap();
        }
        let host = |url: String| url.trim_start_matches("http://").to_owned();
        let wires = [
            Wire::new(host(emulator.api_url())),
            Wire::new(host(emulator.admin_url())),
        ];
        let mut fuzz = Self {
            emulator,
            known: Known::default(),
            dice: Dice::new(seed),
            wires,
            recent: VecDeque::new(),
            panics,
            tally: BTreeMap::new(),
        };
        fuzz.renew().await;
        fuzz
    }

    /// Makes the world anew, so that it neither grows without end nor stays in
    /// a corner where every request is refused.
    async fn renew(&mut self) {
        for id in INSTANCES {
            self.emulator.delete_instance(id).unwrap_or_default();
            let new = json!({ "id": id, "rings": ["ring-a"], "keys": [
                { "name": "standard", "payload": "aGVsbG8=", "aliases": ["alias-a"] },
                { "name": "root", "extractable": false, "keyRing": "ring-a" },
            ] });
            let new: NewInstance = serde_json::from_value(new).unwrap();
            self.emulator.create_instance(new).unwrap();
            let keys = self.emulator.keys(id).unwrap();
            let root = keys.iter().find(|key| key["name"] == "root").unwrap();
            let bucket = json!({ "resourceCrn": requests::BUCKET });
            let bucket = serde_json::from_value(bucket).unwrap();
            self.emulator
                .register(id, root["id"].as_str().unwrap(), bucket)
                .unwrap();
        }
        self.known.forget();
        self.settle().await;
    }

    /// Ends faults and modes, sets the clock right and gets new tokens.
    async fn settle(&mut self) {
        self.count();
        self.emulator.clear_faults();
        self.emulator.clear_requests();
        self.emulator.set_modes(Modes::default());
        self.emulator.set_clock_rate(1.0).unwrap();
        self.emulator.set_clock_offset(0);
        for instance in INSTANCES {
            // Ends a failover: data of no age, read-only for no time.
            self.emulator
                .fail_over(instance, Failover::default())
                .unwrap();
        }
        // Long enough that a moved clock does not end them.
        self.emulator.set_token_lifetime(3650 * 86_400);
        let manager = json!([{ "instance": INSTANCES[0], "role": "Manager" }]);
        let manager = serde_json::from_value(manager).unwrap();
        self.emulator.set_roles("manager", manager).unwrap();
        self.renew_tokens().await;
        self.learn();
    }

    fn count(&mut self) {
        for served in self.emulator.requests(&Wanted::default()) {
            let status = served.status.unwrap_or_default();
            *self.tally.entry((served.operation, status)).or_default() += 1;
        }
    }

    async fn renew_tokens(&mut self) {
        self.known.tokens.clear();
        for name in ["manager", "second", "reader", "writer", "purger", "storage"] {
            let request = Request::token(&format!("key-of-{name}"));
            let answer = self.wires[0]
                .send(&request.bytes, false, false)
                .await
                .unwrap();
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            let token = body["access_token"].as_str().unwrap().to_owned();
            self.known.tokens.push(token);
        }
    }

    /// Learns the names of the keys that there are.
    fn learn(&mut self) {
        let keys = self.emulator.keys(INSTANCES[0]).unwrap_or_default();
        self.known.keys = keys
            .iter()
            .filter_map(|key| key["id"].as_str().map(str::to_owned))
            .collect();
        for key in &keys {
            let aliases = key["aliases"].as_array().unwrap();
            assert!(aliases.len() <= 5, "{key}");
            assert!(
                key["state"].as_u64().is_some_and(|state| state <= 5),
                "{key}"
            );
        }
    }

    async fn step(&mut self) {
        let request = Request::any(&mut self.dice, &self.known);
        if self.recent.len() == 8 {
            self.recent.pop_front();
        }
        self.recent.push_back(request.shown());
        let wire = match request.surface {
            Surface::Api => 0,
            Surface::Admin => 1,
        };
        let answer = self.wires[wire]
            .send(&request.bytes, request.head, request.broken)
            .await;
        match answer {
            Ok(answer) => self.judge(&request, &answer),
            Err(wire::Broken::Silent) => self.fail("not answered"),
            Err(wire::Broken::Garbled(_)) if request.broken => {}
            Err(wire::Broken::Garbled(what)) => self.fail(&format!("no HTTP: {what}")),
            // A cut by a fault, or by hyper for what is no request.
            Err(wire::Broken::Closed) => {}
        }
        // Let go of before failing, which is a panic that the hook counts too.
        let panic = self.panics.lock().unwrap().first().cloned();
        if let Some(panic) = panic {
            self.fail(&format!("a panic: {panic}"));
        }
    }

    /// Judges an answer to a request that was whole.
    fn judge(&mut self, request: &Request, answer: &Answer) {
        if let Some(ciphertext) = answer.json()["ciphertext"].as_str() {
            self.known.ciphertext = Some(ciphertext.to_owned());
        }
        if request.broken {
            return;
        }
        let faulty = !self.emulator.faults().is_empty();
        // The admin port breaks keys inside the service, and stops its writes.
        let asked = match answer.status {
            500 => says(answer, "INCOMPLETE_METADATA_ERR"),
            503 => says(answer, "The service is read-only"),
            status => status == 501,
        };
        if answer.status >= 500 && !faulty && !asked {
            self.fail(&format!("{} that nothing asked for", answer.status));
        }
        let json = answer.content_type.contains("json");
        if json && !faulty && !answer.body.is_empty() && answer.json().is_null() {
            self.fail("a body that is no JSON");
        }
    }

    fn fail(&self, why: &str) -> ! {
        let requests: Vec<&str> = self.recent.iter().map(String::as_str).collect();
        panic!("{why}, after these requests:\n{}", requests.join("\n---\n"));
    }
}

/// Whether an answer has these words, wherever a mode puts them.
fn says(answer: &Answer, words: &str) -> bool {
    String::from_utf8_lossy(&answer.body).contains(words)
}

#[allow(clippy::disallowed_methods)] // A run has a length, and settings.
fn settings() -> (Duration, u64) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("FUZZ_SECONDS").unwrap_or(10);
    (
        Duration::from_secs(seconds),
        number("FUZZ_SEED").unwrap_or(7),
    )
}

#[tokio::test]
#[allow(clippy::disallowed_methods)] // A run has a length.
async fn random_requests_neither_panic_nor_hang_the_emulator() {
    let (length, seed) = settings();
    let end = Instant::now() + length;
    let mut fuzz = Fuzz::start(seed).await;
    let mut sent: u64 = 0;
    while Instant::now() < end {
        for _ in 0..200 {
            fuzz.step().await;
        }
        sent += 200;
        if sent.is_multiple_of(4000) {
            fuzz.renew().await;
        } else {
            fuzz.settle().await;
        }
        if sent.is_multiple_of(100_000) {
            println!("{sent} requests, {} left", (end - Instant::now()).as_secs());
        }
    }
    assert!(fuzz.emulator.requests(&Wanted::default()).len() <= 300);
    fuzz.count();
    if sent >= 50_000 {
        let all = Operation::ALL.iter().map(|operation| operation.name());
        for operation in all.filter(|name| !HARD.contains(name)) {
            assert!(
                fuzz.tally
                    .keys()
                    .any(|(name, status)| { name == operation && (200..300).contains(status) }),
                "no {operation} ever succeeded: {:?}",
                fuzz.tally
            );
        }
    }
    let served: u64 = fuzz.tally.values().sum();
    println!("{sent} requests with seed {seed}, {served} of them to the API and to IAM, no panic");
    for ((operation, status), count) in &fuzz.tally {
        println!("{operation} {status}: {count}");
    }
}
