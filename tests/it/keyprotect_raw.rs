//! Servers that no emulator is: silent, endless, elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use key_protect_operator::domain::service::endpoint::{Endpoint, resolve};
use key_protect_operator::domain::service::failure::{FailureKind, FetchFailure};
use key_protect_operator::domain::service::ids::KeyId;
use key_protect_operator::keyprotect::{Client, ClientOptions, CredentialSource};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::bed::{INSTANCE, allowed, options, tls_provider};

const ID: &str = "02fd6835-6001-4482-a892-13bd2085f75d";

/// A server that answers every request with the same bytes, then goes on for ever with `more`.
async fn server(
    head: impl AsRef<[u8]> + Send + Sync + Clone + 'static,
    more: &'static [u8],
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let head = head.clone();
            drop(tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(head.as_ref()).await.is_err() {
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
    // The server is silent for ever.
    assert!(begun.elapsed() < Duration::from_secs(20));
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

/// The key above, with the payload `hello`, as `gzip` makes it.
const GZIPPED: &[u8] = b"\
    \x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4d\xcd\xcd\x0e\x82\x30\x10\x04\xe0\x57\
    \x21\xbd\x2a\xc8\xbf\xd5\xc4\x33\x2f\x60\xbc\x18\x0f\x4b\xbb\x24\x48\xa1\x4d\xbb\
    \x18\x09\xe1\xdd\x6d\x39\x79\x9b\x7c\xc9\xcc\xac\x6c\x44\x02\x09\x04\xec\x1a\xad\
    \x4c\x68\xa5\x50\x50\xaf\xa7\xfb\x62\xd0\x13\x03\x63\x54\x2f\x20\xd0\xe9\x33\xc9\
    \xa4\x6f\xc7\x64\x18\x5d\x32\xe0\x72\x78\x3b\x3d\xb1\x63\xf4\xdf\xd2\x04\xca\xd7\
    \xb2\xcd\xb3\x45\xa7\x67\x2b\xd0\x79\x78\xae\xac\x97\x61\x2f\xcd\x3b\x59\xf3\xa2\
    \x8a\xeb\x34\xcd\xe2\xb2\xe4\x79\x0c\xfc\x92\xc7\x59\xd1\xca\x3c\xe5\x55\x77\xae\
    \x64\xd8\x9c\x60\xdc\xff\xb5\x95\x68\x5d\x10\x47\x40\x81\x32\x9f\xf1\x4b\x16\x04\
    \x41\xab\x82\x90\x9d\xd1\xa3\x81\x45\x69\xd8\x5f\xa0\x79\xb8\xb6\xe1\x37\xb6\xbd\
    \xb6\x1f\xa2\x4a\x72\xd9\xe3\x00\x00\x00";

/// Whoever answers for a listed host must not be able to send what it was shown on to another.
#[tokio::test]
async fn a_redirect_is_not_followed_by_a_token_or_an_api_key() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 See",
        "307 Temporary",
        "308 Permanent",
    ] {
        let (elsewhere, asked) =
            server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"").await;
        let head = format!(
            "HTTP/1.1 {status}\r\nlocation: {elsewhere}/api/v2/keys\r\ncontent-length: 0\r\n\r\n"
        );
        let (url, _) = server(head, b"").await;
        // Also where the host that it leads to is one that an admin has allowed.
        let mut hosts = allowed(&url);
        for allowed in [&mut hosts.iam, &mut hosts.keys] {
            allowed.push(elsewhere.split_once("://").unwrap().1.to_owned());
        }
        tls_provider();
        let spec = json!({"instanceID": INSTANCE, "region": "us-south",
            "endpoint": {"url": url, "iamURL": url}});
        let endpoint = resolve(&serde_json::from_value(spec).unwrap(), &hosts).unwrap();
        let failure = get(&client(&endpoint, &quick())).await.unwrap_err();
        assert!(failure.detail.contains("redirect"), "{failure}");
        let key = CredentialSource::given("an-api-key".into());
        let client = Client::new(&endpoint, key, &quick()).unwrap();
        let failure = client.token_source().token().await.unwrap_err();
        assert!(failure.detail.contains("redirect"), "{failure}");
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{status}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        GZIPPED.len()
    )
    .into_bytes();
    answer.extend_from_slice(GZIPPED);
    let (url, _) = server(answer, b"").await;
    let id = KeyId::parse(ID).unwrap();
    let key = client(&endpoint(&url), &options()).key(&id, None).await;
    let material = key.unwrap().material.unwrap();
    assert_eq!(material.expose(), b"hello");
}
