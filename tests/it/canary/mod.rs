//! No leak: every payload, API key and token has a known value; everything that can go wrong goes
//! wrong; and then whatever left the process is searched for those values, and the process's memory
//! too.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read files of processes and of the operator"
)]

mod needles;
mod relay;

use std::fs;
use std::io::{Read, Seek, SeekFrom};

use serde_json::{Value, json};

use self::needles::Needle;
use self::relay::{Relay, lies};
use crate::cluster::{eventually, eventually_none};
use crate::scene::{INSTANCE, KEY, Scene, api_key_beginning, base64, open_to_all};
use crate::seen::condition;
use crate::stage::{OPERATOR_NAMESPACE, Stage, answers_ok, spawn};

/// With characters that URLs, JSON and base64 each write in their own way.
fn payload() -> String {
    let random = || uuid::Uuid::new_v4().simple().to_string();
    format!("canary/payload+{} \"{}\"=~", random(), random())
}

/// What a service can do to an answer.
fn effects(payload: &str, encoded: &str) -> Vec<Value> {
    let mut effects: Vec<Value> = [400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503, 504]
        .iter()
        .map(|status| json!({"status": status}))
        .collect();
    let quoted = json!({
        "metadata": {"collectionType": "application/vnd.ibm.kms.error+json", "collectionTotal": 1},
        "resources": [{"errorMsg": format!("{payload} {encoded}"), "reasons": [
            {"code": payload, "message": encoded, "status": 500, "moreInfo": payload}
        ]}],
    })
    .to_string();
    effects.extend([
        json!({"body": "html"}),
        json!({"body": "empty"}),
        json!({"body": "truncatedJson"}),
        json!({"body": "wrongContentType"}),
        json!({"body": "halfBody"}),
        json!({"cut": "beforeResponse"}),
        json!({"cut": "midBody"}),
        json!({"delayMs": 200}),
        json!({"status": 302, "headers": {"location": format!("https://{encoded}.example.org/")}}),
        json!({"status": 401, "headers": {"www-authenticate": payload.replace('"', "'")}}),
        json!({"body": {"raw": quoted}}),
        json!({"body": {"raw": format!("{{\"payload\": {payload:?}}}")}}),
        json!({"body": {"raw": payload}}),
    ]);
    for status in [400, 401, 404, 429, 500] {
        effects.push(json!({"status": status, "body": {"raw": quoted}}));
        effects.push(json!({"status": status, "code": payload}));
    }
    effects
}

/// Entries that a payload cannot be written as.
fn unrenderable() -> Vec<Value> {
    let mut targets: Vec<Value> = [
        json!({"name": "a", "property": "no.such.field"}),
        json!({"name": "a", "property": "secret[9].field"}),
        json!({"name": "a", "template": "{{ payload | json('no.such') }}"}),
        json!({"name": "a", "template": "{{ payload | json('secret') | json('more') }}"}),
    ]
    .into_iter()
    .map(|entry| json!({"data": [entry]}))
    .collect();
    targets.push(json!({"expand": "JSON"}));
    targets.push(
        json!({"type": "kubernetes.io/tls", "data": [{"name": "tls.crt"}, {"name": "tls.key"}]}),
    );
    targets.push(
        json!({"type": "kubernetes.io/dockerconfigjson", "data": [{"name": ".dockerconfigjson"}]}),
    );
    targets
}

/// Everything that was said of objects, whichever they are.
fn said(stage: &Stage) -> String {
    let all = "keyprotectkeys,keyprotectinstances,events,events.events.k8s.io,leases,configmaps";
    let output = stage.cluster.kubectl(&["get", all, "-A", "-o", "yaml"], "");
    assert!(output.ok, "{}", output.stderr);
    output.stdout
}

/// All memory of a process that it can write, and so may have put something in.
fn memory(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else {
            continue;
        };
        if !rights.starts_with("rw") {
            continue;
        }
        let (begin, end) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (begin, end) = (number(begin), number(end));
        let mut part = vec![0; usize::try_from(end - begin).expect("a length")];
        memory.seek(SeekFrom::Start(begin)).expect("a place in it");
        // Some of it, like guard pages, cannot be read.
        if memory.read_exact(&mut part).is_ok() {
            all.extend(part);
        }
    }
    all
}

#[track_caller]
fn nothing_in(place: &str, hay: &[u8], needles: &[Needle]) {
    assert!(!hay.is_empty(), "{place} is empty: nothing was searched");
    for needle in needles {
        let found = needle.found(hay);
        assert!(found.is_empty(), "{place} holds {}: {found:?}", needle.what);
    }
}

/// Whether the operator has said something of an object as it is now.
fn looked_at(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|ready| {
        let generation = &object["metadata"]["generation"];
        object["status"]["observedGeneration"] == *generation || ready.status == "True"
    })
}

#[test]
fn no_payload_api_key_or_token_leaves_the_process_whatever_goes_wrong() {
    let Some(stage) = Stage::empty("canary") else {
        return;
    };
    let payload = payload();
    // The service keeps payloads in base64, and the operator decodes them.
    let encoded = base64(payload.as_bytes());
    let (mut command, port) = stage.operator_command("operator.log");
    let kubeconfig = command
        .get_envs()
        .find(|(name, _)| *name == "KUBECONFIG")
        .and_then(|(_, value)| value)
        .expect("a kubeconfig")
        .to_owned();
    let text = fs::read_to_string(&kubeconfig).expect("a kubeconfig");
    let config: Value = serde_saphyr::from_str(&text).expect("a kubeconfig");
    let cluster = &config["clusters"][0]["cluster"];
    let authority = cluster["certificate-authority-data"].as_str().map(|text| {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        bytes.expect("a certificate")
    });
    let authority = authority.unwrap_or_else(|| {
        fs::read(cluster["certificate-authority"].as_str().expect("its file"))
            .expect("a certificate")
    });
    let server = cluster["server"].as_str().expect("a server");
    let liars = lies(&payload, &encoded);
    let relay = stage.block_on(Relay::start(server, &authority, liars.clone()));
    let mut relayed = config.clone();
    relayed["clusters"][0]["cluster"] = json!({"server": relay.url});
    let path = stage.cluster.scratch().join("relayed.kubeconfig");
    fs::write(&path, relayed.to_string()).expect("a kubeconfig");
    command.env("KUBECONFIG", &path).env("LOG", "trace");
    let mut operator = spawn(command);
    eventually("the operator is ready", || answers_ok(port, "/readyz"));

    // What must be found nowhere.
    let scene = stage.scene("canary");
    let account = config["users"][0]["user"]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let token = stage.block_on(iam_token(&scene));
    let signature = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
    let (head, _) = token.split_once('.').expect("a token");
    let mut secrets = vec![
        Needle::new("a payload", &payload),
        Needle::new("a payload as the service keeps it", &encoded),
        Needle::new("an API key", api_key_beginning()),
        Needle::new("the operator's own token", &signature(&account)),
        // Every token that this emulator issues begins alike.
        Needle::new("an IAM token", head),
    ];

    // Everything goes wrong that can. No scene shares its instance or namespace with another: where
    // a breaker opened, nobody would meet what else goes wrong there.
    scene.alias("well", &payload);
    scene.synced_object("well", json!({}));
    let mut scenes = requests_that_fail(stage, &payload, &encoded);
    scenes.push(payloads_that_cannot_be_rendered(stage, &payload));
    secrets.extend(credentials_that_fail(stage));
    let lied_to = stage.scene("lied-to");
    for lie in &liars {
        lied_to.alias(&lie.secret, &payload);
        lied_to.object(&lie.secret, json!({}));
    }
    for lie in &liars {
        lied_to.until(KEY, &lie.secret, "it was looked at", looked_at);
    }
    eventually_none("every lie is told", || {
        let told = relay.told.lock().expect("a list");
        let mut names = liars.iter().map(|lie| &lie.secret);
        names.find(|name| !told.contains(name)).cloned()
    });
    scenes.extend([scene, lied_to]);

    // Nothing of it is anywhere.
    let pid = operator_of(operator.id());
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect(name);
    nothing_in("its arguments", &file("cmdline"), &secrets);
    nothing_in("its environment", &file("environ"), &secrets);
    nothing_in(
        "what objects and Events say",
        said(stage).as_bytes(),
        &secrets,
    );
    nothing_in(
        "its metrics",
        stage.metrics("text/plain").as_bytes(),
        &secrets,
    );
    nothing_in("its log", stage.log().as_bytes(), &secrets);
    let audit: Vec<String> = stage.audit().iter().map(Value::to_string).collect();
    nothing_in("its audit stream", audit.join("\n").as_bytes(), &secrets);
    let limits = String::from_utf8(file("limits")).expect("text");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core
        .expect("a limit")
        .split_whitespace()
        .rev()
        .take(3)
        .collect();
    assert_eq!(core, ["bytes", "0", "0"], "core dumps are off");

    // Payloads are wiped some seconds after the last sync.
    for scene in &scenes {
        scene.kubectl(&["delete", "keyprotectkeys", "--all", "--wait=false"]);
    }
    let instances = ["keyprotectinstances", "--all", "--wait=false"];
    let delete = [&["-n", OPERATOR_NAMESPACE, "delete"], &instances[..]].concat();
    stage.cluster.kubectl_ok(&delete, "");
    until_wiped(pid, &secrets[..2]);
    drop(scenes);
    operator.kill().expect("its end");
    drop(operator.wait());
    stage.strike();
}

/// Waits until none of these is in a process's memory.
fn until_wiped(pid: u32, needles: &[Needle]) {
    eventually_none("no payload is left in memory", || {
        let memory = memory(pid);
        let mut left = needles.iter().map(|needle| needle.found(&memory));
        left.find(|found| !found.is_empty())
    });
}

/// The operator itself, where what was started has made way for it.
fn operator_of(pid: u32) -> u32 {
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).expect("its name");
    assert!(command.starts_with("key-protect"), "{command}");
    pid
}

/// Everything that can go wrong with a request: with that for a payload, which is where payloads are,
/// and with one of the others, in turn. Returns the scenes in which it was met.
fn requests_that_fail(stage: &'static Stage, payload: &str, encoded: &str) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (number, effect) in effects(payload, encoded).iter().enumerate() {
        for operation in ["get", ["token", "list", "metadata"][number % 3]] {
            let name = format!("{operation}-{number:02}");
            let scene = stage.scene_prepared(&name, |scene| {
                scene.alias("orders-db", payload);
                scene.fault(json!({"match": {"operation": operation}, "effect": effect}));
                if operation == "metadata" {
                    // Where nothing can be listed, keys are looked at singly.
                    let refused =
                        json!({"match": {"operation": "list"}, "effect": {"status": 401}});
                    let refused = serde_json::from_value(refused).expect("a fault");
                    scene.emulator.put_fault("nothing is listed", refused);
                }
            });
            scene.object("orders-db", json!({}));
            scenes.push(scene);
        }
    }
    for scene in &scenes {
        scene.until(KEY, "orders-db", "it was looked at", looked_at);
        eventually_none("what goes wrong is met", || {
            let faults = scene.emulator.faults();
            let unmet = faults.into_iter().find(|(_, _, matched)| *matched == 0);
            unmet.map(|(name, fault, _)| (&scene.namespace, name, fault))
        });
    }
    scenes
}

/// Payloads in forms that their objects' entries cannot be made of.
fn payloads_that_cannot_be_rendered(stage: &'static Stage, payload: &str) -> Scene {
    let scene = stage.scene("unrenderable");
    let whole = json!({"secret": payload, "list": [payload]}).to_string();
    let cut = json!({"secret": payload}).to_string().into_bytes()[..60].to_vec();
    let forms = [
        ("text", payload.as_bytes().to_vec()),
        ("json", whole.into_bytes()),
        ("cut", cut),
        ("bin", [payload.as_bytes(), b"\xff\xfe\n"].concat()),
    ];
    let mut names = Vec::new();
    for (number, target) in unrenderable().into_iter().enumerate() {
        for (form, bytes) in &forms {
            let name = format!("{form}-{number}");
            scene.key(json!({"name": name, "aliases": [name], "payload": base64(bytes)}));
            scene.object(&name, json!({"target": target}));
            names.push(name);
        }
    }
    for name in &names {
        scene.until(KEY, name, "it was looked at", looked_at);
    }
    assert_eq!(scene.served("get").len(), names.len(), "each was read");
    scene
}

/// An API key that IAM does not know, and one that is none; returns them.
fn credentials_that_fail(stage: &'static Stage) -> Vec<Needle> {
    let mut needles = Vec::new();
    for (name, key) in [
        ("unknown", "canary-unknown-api-key-0123456789"),
        ("broken", "canary broken \u{e9} api key"),
    ] {
        let scene = stage.bare_scene(name, name);
        scene.put_api_key(key);
        needles.push(Needle::new("a wrong API key", key));
        scene.apply_instance(open_to_all());
        scene.until(INSTANCE, name, "it was looked at", |object| {
            condition(object, "Ready").is_some_and(|ready| ready.status == "False")
        });
    }
    needles
}

/// A token as IAM issues them.
async fn iam_token(scene: &Scene) -> String {
    let roots = reqwest::Certificate::from_pem(scene.emulator.ca_pem().expect("a CA").as_bytes());
    let client = reqwest::Client::builder()
        .tls_certs_only([roots.expect("a certificate")])
        .build()
        .expect("a client");
    let form = [
        ("grant_type", "urn:ibm:params:oauth:grant-type:apikey"),
        ("apikey", &scene.api_key),
    ];
    let url = format!("{}/identity/token", scene.emulator.api_url());
    let answer = client
        .post(url)
        .form(&form)
        .send()
        .await
        .expect("an answer");
    let answer: Value =
        serde_json::from_slice(&answer.bytes().await.expect("its body")).expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

#[test]
fn payloads_are_wiped_from_memory_some_seconds_after_they_were_written() {
    let stage = Stage::shared();
    let scene = stage.scene("wiped");
    let payload = payload();
    let encoded = base64(payload.as_bytes());
    for name in ["one", "two", "three"] {
        scene.alias(name, &payload);
        scene.synced_object(name, json!({}));
    }
    let needles = [
        Needle::new("a payload", &payload),
        Needle::new("a payload as the service keeps it", &encoded),
    ];
    // The last ones are buffers of connections, which are closed when nothing was asked for a while.
    until_wiped(operator_of(stage.operator_id()), &needles);
    assert_eq!(scene.data("one")["key"], payload.as_bytes());
}
