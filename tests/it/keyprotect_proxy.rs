//! Through a proxy, as in clusters that have no other way out. The proxy is named by the
//! environment, so the client runs in a process of its own: this test binary, started again.

use std::sync::{Arc, Mutex};

use key_protect_emulator::{Options, Tls};
use key_protect_operator::domain::service::endpoint::{AllowedHosts, resolve};
use key_protect_operator::keyprotect::{Client, CredentialFile};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::bed::{Bed, INSTANCE, options, tls_provider};

const FOLDER: &str = "KPO_TEST_FOLDER";

/// A proxy that takes every tunnel to one server, and remembers where it was asked to go.
async fn proxy(server: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    drop(tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (server, log) = (server.clone(), Arc::clone(&log));
            drop(tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                let line = String::from_utf8(head).unwrap();
                log.lock()
                    .unwrap()
                    .push(line.lines().next().unwrap().to_owned());
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut far = TcpStream::connect(server).await.unwrap();
                drop(copy_bidirectional(&mut near, &mut far).await);
            }));
        }
    }));
    (url, asked)
}

#[tokio::test]
async fn ibm_clouds_own_hosts_are_reached_through_a_proxy() {
    let names = vec![
        "iam.cloud.ibm.com".to_owned(),
        "us-south.kms.cloud.ibm.com".to_owned(),
    ];
    let tls = Some(Tls::Make { names });
    let bed = Bed::with(Options {
        tls,
        ..Options::default()
    })
    .await;
    std::fs::write(bed.path("ca.pem"), bed.emulator.ca_pem().unwrap()).unwrap();
    let server = bed
        .emulator
        .api_url()
        .split_once("://")
        .unwrap()
        .1
        .to_owned();
    let (proxy, asked) = proxy(server).await;
    let status = tokio::task::spawn_blocking({
        let folder = bed.path("");
        move || {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "keyprotect_proxy::behind_the_proxy", "--ignored"])
                .env("HTTPS_PROXY", proxy)
                .env_remove("NO_PROXY")
                .env_remove("no_proxy")
                .env(FOLDER, folder)
                .output()
                .unwrap()
        }
    })
    .await
    .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    let to = |host: &str| format!("CONNECT {host}:443 HTTP/1.1");
    assert_eq!(
        asked,
        [to("iam.cloud.ibm.com"), to("us-south.kms.cloud.ibm.com")]
    );
    assert_eq!(bed.served("list")[0].instance.as_deref(), Some(INSTANCE));
}

#[tokio::test]
#[ignore = "the other half of the test above, in a process of its own"]
#[expect(
    clippy::disallowed_methods,
    reason = "the first half speaks through the environment"
)]
async fn behind_the_proxy() {
    tls_provider();
    let folder = std::path::PathBuf::from(std::env::var(FOLDER).unwrap());
    let pem = std::fs::read_to_string(folder.join("ca.pem")).unwrap();
    let spec = json!({"instanceID": INSTANCE, "region": "us-south", "endpoint": {"caBundle": pem}});
    let endpoint = resolve(
        &serde_json::from_value(spec).unwrap(),
        &AllowedHosts::default(),
    )
    .unwrap();
    let credential = CredentialFile::at(folder.join("apikey"));
    let client = Client::new(&endpoint, credential, &options()).unwrap();
    assert_eq!(client.list_keys().await.unwrap().len(), 1);
}
