//! The binary: its files, its seed, its end.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

#[tokio::test]
async fn a_seed_with_a_mistake_is_refused_with_its_place() {
    let file = std::env::temp_dir().join(format!("kp-emulator-seed-{}.json", std::process::id()));
    std::fs::write(&file, r#"{"instances": [{"id": "x", "kees": []}]}"#).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_key-protect-emulator"))
        .arg("--seed")
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("kees"), "{said}");
}
