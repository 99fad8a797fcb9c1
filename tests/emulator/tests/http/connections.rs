//! What goes wrong with connections before any request.

use std::time::Duration;

use key_protect_emulator::{ConnectionFault, Emulator, Options, Tls};

use crate::support::install_provider;

/// A client that trusts the emulator, and keeps no connection for a second request.
fn client(emulator: &Emulator, keep: usize) -> reqwest::Client {
    let pem = emulator.ca_pem().unwrap();
    let authority = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_merge([authority])
        .no_proxy()
        .pool_max_idle_per_host(keep)
        .timeout(Duration::from_secs(2))
        .build()
        .unwrap()
}

async fn with_tls() -> Emulator {
    install_provider();
    let options = Options {
        tls: Some(Tls::Make { names: vec![] }),
        ..Options::default()
    };
    Emulator::start(options).await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let timely = tokio::time::timeout(Duration::from_secs(20), waited).await;
    assert!(timely.is_ok(), "not in time: {what}");
}

#[tokio::test]
async fn each_fault_keeps_new_connections_from_being_used_and_ends() {
    let emulator = with_tls().await;
    let client = client(&emulator, 0);
    let url = format!("{}/api/v2/keys", emulator.api_url());
    let answers = async || client.get(&url).send().await.map(|r| r.status().as_u16());
    assert_eq!(answers().await.unwrap(), 401);
    for fault in [
        ConnectionFault::Closed,
        ConnectionFault::Silent,
        ConnectionFault::CutHandshake,
        ConnectionFault::OtherAuthority,
        ConnectionFault::ExpiredCertificate,
        ConnectionFault::OtherName,
    ] {
        emulator.set_connection_fault(fault);
        assert_eq!(emulator.connection_fault(), fault);
        let error = answers().await.unwrap_err();
        assert!(
            error.is_timeout() == (fault == ConnectionFault::Silent),
            "{fault:?}: {error:?}"
        );
        emulator.set_connection_fault(ConnectionFault::None);
        assert_eq!(answers().await.unwrap(), 401, "{fault:?}");
    }
    until("nothing is left open", || emulator.open_connections() == 0).await;
}

#[tokio::test]
async fn what_is_open_is_counted_and_cut() {
    let emulator = with_tls().await;
    let client = client(&emulator, 1);
    let url = format!("{}/api/v2/keys", emulator.api_url());
    client.get(&url).send().await.unwrap();
    assert_eq!(emulator.open_connections(), 1);
    // A fault of new connections is none of those that there are.
    emulator.set_connection_fault(ConnectionFault::Closed);
    client.get(&url).send().await.unwrap();
    emulator.cut_connections();
    until("it is cut", || emulator.open_connections() == 0).await;
    client.get(&url).send().await.unwrap_err();
}
