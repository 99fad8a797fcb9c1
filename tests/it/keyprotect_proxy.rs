//! Through a proxy, as in clusters that have no other way out. The proxy is named by the
//! environment, so the client runs in a process of its own: `key-protect-operator check`.

use std::sync::{Arc, Mutex};

use key_protect_emulator::{Options, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::bed::{Bed, INSTANCE};

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
    let output = check(&bed, &proxy).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let mut tunnels = asked.lock().unwrap().clone();
    tunnels.sort();
    let to = |host: &str| format!("CONNECT {host}:443 HTTP/1.1");
    assert_eq!(
        tunnels,
        [to("iam.cloud.ibm.com"), to("us-south.kms.cloud.ibm.com")]
    );
    assert_eq!(bed.served("list")[0].instance.as_deref(), Some(INSTANCE));
}

/// Runs the check command with a proxy in its environment.
async fn check(bed: &Bed, proxy: &str) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_key-protect-operator"));
    command
        .args(["check", "--instance", INSTANCE, "--region", "us-south"])
        .args(["--ca-file", &bed.path("ca.pem")])
        .args(["--api-key-file", &bed.path("apikey")])
        .env("HTTPS_PROXY", proxy)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}
