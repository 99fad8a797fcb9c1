//! A server that ends in time.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long whoever asked may take to have the answer, once told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until told to stop.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    what: &'static str,
    address: SocketAddr,
    routes: Router,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let told = format!("{what} cannot be served at {address}: {error}");
        std::io::Error::new(error.kind(), told)
    })?;
    let local = listener.local_addr()?;
    tracing::info!(address = %local, "{what} is served");
    let served =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = served => ended,
        // Somebody holds a connection open, with half a request.
        () = drained => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    fn free_address() -> SocketAddr {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    }

    #[tokio::test]
    async fn half_a_request_does_not_keep_the_operator_from_stopping() {
        let address = free_address();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve("a test", address, Router::new(), stop.clone()));
        let mut caller = loop {
            if let Ok(caller) = TcpStream::connect(address).await {
                break caller;
            }
            tokio::task::yield_now().await;
        };
        caller.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(3), server).await;
        assert!(ended.unwrap().unwrap().is_ok());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let ended = serve("health", address, Router::new(), CancellationToken::new()).await;
        let told = ended.unwrap_err().to_string();
        let expected = format!("health cannot be served at {address}");
        assert!(told.starts_with(&expected), "{told}");
    }
}
