//! The binary: its files, its seed, its end.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use key_protect_emulator::{Emulator, Options, Tls};
use serde_json::{Value, json};

use crate::support::{INSTANCE, install_provider};

const LIMIT: Duration = Duration::from_secs(20);

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, found)
        .await
        .expect("within the limit")
}

#[tokio::test]
async fn the_binary_writes_its_ports_takes_a_seed_and_ends_with_its_owner() {
    install_provider();
    let folder = std::env::temp_dir().join(format!("kp-emulator-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name);
    let seed = json!({
        "instances": [{ "id": INSTANCE, "rings": ["ring-a"], "keys": [
            { "name": "key", "payload": "aGk=", "aliases": ["alias"], "keyRing": "ring-a" },
        ] }],
        "serviceIds": [{ "name": "app", "apiKey": "secret",
                         "roles": [{ "instance": INSTANCE, "role": "ReaderPlus" }] }],
        "modes": { "deletedGet": 410 },
        "faults": { "f": { "match": { "operation": "rings" }, "effect": { "status": 500 } } },
    });
    std::fs::write(file("seed.json"), seed.to_string()).unwrap();
    let mut owner = Killed(Command::new("sleep").arg("600").spawn().unwrap());
    let mut emulator = Killed(
        Command::new(env!("CARGO_BIN_EXE_key-protect-emulator"))
            .args(["--tls", "--tls-name", "kms.test", "--token-lifetime", "90s"])
            .arg("--tls-cert-out")
            .arg(file("ca.pem"))
            .arg("--ports-file")
            .arg(file("ports.json"))
            .arg("--seed")
            .arg(file("seed.json"))
            .args(["--owner-pid", &owner.0.id().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let ports = until(|| std::fs::read_to_string(file("ports.json")).ok()).await;
    let ports: Value = serde_json::from_str(&ports).unwrap();
    let ca = std::fs::read(file("ca.pem")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .no_proxy()
        .build()
        .unwrap();
    let api = ports["api"].as_str().unwrap();
    assert!(api.starts_with("https://127.0.0.1:"));
    let form = [
        ("grant_type", "urn:ibm:params:oauth:grant-type:apikey"),
        ("apikey", "secret"),
    ];
    let token = client
        .post(format!("{api}/oidc/token"))
        .form(&form)
        .send()
        .await
        .unwrap();
    let token: Value = serde_json::from_str(&token.text().await.unwrap()).unwrap();
    assert_eq!(token["expires_in"], 90);
    let get = client
        .get(format!("{api}/api/v2/keys/alias"))
        .bearer_auth(token["access_token"].as_str().unwrap())
        .header("bluemix-instance", INSTANCE);
    let key: Value =
        serde_json::from_str(&get.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(key["resources"][0]["payload"], "aGk=");
    let admin = ports["admin"].as_str().unwrap();
    let healthy = client.get(format!("{admin}/healthz")).send().await.unwrap();
    assert_eq!(healthy.status(), 200);

    owner.0.kill().unwrap();
    let status = until(|| emulator.0.try_wait().unwrap()).await;
    assert!(status.success());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Runs the binary until it ends by itself, and returns what it said.
fn refused(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_key-protect-emulator"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn temporary(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("kp-emulator-{}-{name}", std::process::id()))
}

#[test]
fn a_seed_with_a_mistake_is_refused_with_its_place() {
    let id = INSTANCE;
    let instance = |keys: Value| json!({ "instances": [{ "id": id, "keys": keys }] }).to_string();
    let two =
        json!([{ "name": "one", "aliases": ["same"] }, { "name": "two", "aliases": ["same"] }]);
    let role = json!({ "serviceIds": [{ "name": "app", "roles": [{ "instance": "x", "role": "Reader" }] }] });
    for (number, (seed, says)) in [
        (
            r#"{"instances": [{"id": "x", "kees": []}]}"#.to_owned(),
            vec!["kees", "line 1"],
        ),
        ("{".to_owned(), vec!["line 1"]),
        (
            instance(two),
            vec![id, "key 1 (two)", "ALIAS_NOT_UNIQUE_ERR"],
        ),
        (
            instance(json!([{ "name": "x" }])),
            vec!["key 0 (x)", "A name has 2 to 90 characters"],
        ),
        (
            instance(json!([{ "name": "key", "expirationDate": "soon" }])),
            vec!["soon is no date"],
        ),
        (
            role.to_string(),
            vec!["service ID app", "there is no instance x"],
        ),
        (
            r#"{"modes": {"deletedGet": 500}}"#.to_owned(),
            vec!["500, expected 200 or 410"],
        ),
        (
            r#"{"faults": {"f": {"effect": {"status": 99}}}}"#.to_owned(),
            vec!["from 200 to 599"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let file = temporary(&format!("seed-{number}.json"));
        std::fs::write(&file, &seed).unwrap();
        let said = refused(&["--seed", file.to_str().unwrap()]);
        std::fs::remove_file(&file).unwrap();
        for word in says {
            assert!(said.contains(word), "{seed}: {said}");
        }
    }
}

#[test]
fn options_that_make_no_sense_are_refused_with_a_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let nowhere = "/nonexistent/seed.json";
    for (arguments, says) in [
        (vec!["--seed", nowhere], vec![nowhere, "No such file"]),
        (vec!["--listen", &taken], vec!["listen at", &taken]),
        (vec!["--listen", "nowhere"], vec!["--listen", "nowhere"]),
        (vec!["--token-lifetime", "1d"], vec!["d is no unit"]),
        (vec!["--tls-cert", nowhere], vec!["--tls-key"]),
        (
            vec!["--tls-cert", nowhere, "--tls-key", nowhere],
            vec!["read", nowhere],
        ),
        (
            vec!["--tls-cert", "Cargo.toml", "--tls-key", "Cargo.toml"],
            vec!["Cargo.toml holds no certificate in PEM"],
        ),
        (vec!["--tls-name", "kms.test"], vec!["--tls"]),
        (vec!["--colour"], vec!["--colour"]),
        (vec!["--log", "info=loud"], vec!["--log", "use a level"]),
        // What keeps it from starting is said however little is logged.
        (
            vec!["--log", "off", "--seed", nowhere],
            vec![nowhere, "No such file"],
        ),
    ] {
        let said = refused(&arguments);
        for word in says {
            assert!(said.contains(word), "{arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_given_is_served() {
    install_provider();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (temporary("cert.pem"), temporary("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let options = Options {
        tls: Some(Tls::Files {
            cert: cert.clone(),
            key: key.clone(),
        }),
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    std::fs::remove_file(cert).unwrap();
    std::fs::remove_file(key).unwrap();
    assert_eq!(emulator.ca_pem(), None);
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()])
        .no_proxy()
        .build()
        .unwrap();
    let url = emulator.api_url().replace("127.0.0.1", "localhost");
    let answer = client
        .get(format!("{url}/api/v2/keys"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn every_request_is_logged_and_no_secret_is() {
    install_provider();
    let file = temporary("log-seed.json");
    let ports = temporary("log-ports.json");
    let seed = json!({
        "instances": [{ "id": INSTANCE, "keys": [{ "name": "key", "payload": "c2VjcmV0", "aliases": ["db"] }] }],
        "serviceIds": [{ "name": "app", "apiKey": "the-api-key",
                         "roles": [{ "instance": INSTANCE, "role": "ReaderPlus" }] }],
    });
    std::fs::write(&file, seed.to_string()).unwrap();
    let emulator = Command::new(env!("CARGO_BIN_EXE_key-protect-emulator"))
        .args([
            "--seed",
            file.to_str().unwrap(),
            "--ports-file",
            ports.to_str().unwrap(),
        ])
        .args(["--owner-pid", &std::process::id().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut emulator = Killed(emulator);
    let urls = until(|| std::fs::read_to_string(&ports).ok()).await;
    let urls: Value = serde_json::from_str(&urls).unwrap();
    let (api, client) = (urls["api"].as_str().unwrap(), plain_client());
    let form = [
        ("grant_type", "urn:ibm:params:oauth:grant-type:apikey"),
        ("apikey", "the-api-key"),
    ];
    let token = client
        .post(format!("{api}/identity/token"))
        .form(&form)
        .send()
        .await
        .unwrap();
    let token: Value = serde_json::from_str(&token.text().await.unwrap()).unwrap();
    let token = token["access_token"].as_str().unwrap();
    // A key in the URL is refused, and not logged either.
    let url = format!("{api}/identity/token?apikey=the-api-key");
    assert_eq!(client.post(url).send().await.unwrap().status(), 400);
    let get = client
        .get(format!("{api}/api/v2/keys/db"))
        .bearer_auth(token);
    let get = get
        .header("bluemix-instance", INSTANCE)
        .header("correlation-id", "my-correlation-id");
    assert_eq!(get.send().await.unwrap().status(), 200);

    emulator.0.kill().unwrap();
    let mut said = String::new();
    let mut stderr = emulator.0.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    for word in [
        "operation=\"token\"",
        "operation=\"get\"",
        "status=200",
        "my-correlation-id",
        "db",
    ] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    for secret in ["the-api-key", "c2VjcmV0", token] {
        assert!(!said.contains(secret), "{secret} is in {said}");
    }
    std::fs::remove_file(file).unwrap();
    std::fs::remove_file(ports).unwrap();
}

fn plain_client() -> reqwest::Client {
    let builder = reqwest::Client::builder().tls_certs_only([]);
    builder.no_proxy().build().unwrap()
}
