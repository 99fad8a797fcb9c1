//! Servers that no emulator is: silent, endless, elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use key_protect_operator::domain::service::endpoint::{Endpoint, resolve};
use key_protect_operator::domain::service::failure::{FailureKind, FetchFailure};
use key_protect_operator::domain::service::ids::KeyId;
use key_protect_operator::keyprotect::{Client, ClientOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::bed::{INSTANCE, allowed, options, tls_provider};

const ID: &str = "02fd6835-6001-4482-a892-13bd2085f75d";

/// A server that answers every request with the same bytes, then goes on for ever with `more`.
async fn server(head: &'static str, more: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(head.as_bytes()).await.is_err() {
                        return;
                    }
                    while !more.is_empty() && stream.write_all(more).await.is_ok() {}
                }
            }));
        }
    }));
    (url, connections)
}

fn endpoint(url: &str) -> Endpoint {
    tls_provider();
    let spec = json!({"instanceID": INSTANCE, "region": "us-south", "endpoint": {"url": url}});
    resolve(&serde_json::from_value(spec).unwrap(), &allowed(url)).unwrap()
}

fn client(endpoint: &Endpoint, options: &ClientOptions) -> Client {
    Client::with_token(endpoint, &"Bearer eyJ.a.b".into(), options).unwrap()
}

async fn get(client: &Client) -> Result<(), FetchFailure> {
    client
        .key(&KeyId::parse(ID).unwrap(), None)
        .await
        .map(|_| ())
}

fn quick() -> ClientOptions {
    ClientOptions {
        call_deadline: Duration::from_millis(700),
        ..options()
    }
}

#[tokio::test]
async fn a_silent_server_is_left_at_the_deadline() {
    let (url, _) = server("", b"").await;
    let begun = Instant::now();
    let failure = get(&client(&endpoint(&url), &quick())).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failure = get(&client(&endpoint(&url), &options())).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(
        failure.detail.contains("127.0.0.1 refused the connection"),
        "{failure}"
    );
}

#[tokio::test]
async fn an_answer_is_never_larger_than_allowed() {
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n";
    let chunk: &[u8] = &[b' '; 65536];
    for head in [announced, endless] {
        let (url, _) = server(head, chunk).await;
        let failure = get(&client(&endpoint(&url), &options())).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ServiceError, "{failure}");
        assert!(
            failure.detail.contains("more than 1048576 bytes"),
            "{failure}"
        );
    }
    // An endless page of an error is not read on either: its status says enough.
    let (url, _) = server("HTTP/1.1 401 Unauthorized\r\n\r\n", chunk).await;
    let failure = get(&client(&endpoint(&url), &options())).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Denied, "{failure}");
}

#[tokio::test]
async fn an_endless_head_is_no_answer() {
    let (url, _) = server("HTTP/1.1 200 OK\r\nx: ", &[b'a'; 4096]).await;
    let failure = get(&client(&endpoint(&url), &quick())).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
    let (url, connections) = server(answer, b"").await;
    let client = client(&endpoint(&url), &options());
    for _ in 0..10 {
        assert_eq!(
            get(&client).await.unwrap_err().kind,
            FailureKind::ServiceError
        );
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_guarded_name_that_leads_to_this_machine_is_not_called() {
    let (url, connections) = server("", b"").await;
    let url = url.replace("127.0.0.1", "localhost");
    let mut endpoint = endpoint(&url);
    // As if localhost were one of IBM Cloud's names and its name service forged.
    endpoint.guarded_hosts.push("localhost".to_owned());
    let failure = get(&client(&endpoint, &options())).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
    assert!(failure.detail.contains("loopback"), "{failure}");
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}
