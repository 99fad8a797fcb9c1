//! `/livez` and `/readyz`. Ready means that the fence holds and that every watch has shown its
//! first listing, whatever IBM Cloud does: an operator that cannot reach it still guards Secrets
//! and says why. Live means
//! that the dispatcher comes round, whatever anybody else does: a restart heals nothing elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::controller::context::Context;

/// The dispatcher is stuck when it has not come round for this long; it does so every ten seconds.
const STUCK: Duration = Duration::from_secs(60);
/// How long whoever asked may take to have the answer, once told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until told to stop.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    context: Arc<Context>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    tracing::info!(address = %local, "health is served");
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(context);
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

async fn livez(State(context): State<Arc<Context>>) -> (StatusCode, &'static str) {
    answer_for(context.heartbeat.age())
}

fn answer_for(age: Duration) -> (StatusCode, &'static str) {
    if age < STUCK {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the dispatcher has not come round for a minute\n",
        )
    }
}

async fn readyz(State(context): State<Arc<Context>>) -> (StatusCode, String) {
    let problem = context.fence.problem().or_else(|| {
        let waits = "the watches have not shown their first listings yet";
        (!context.is_ready()).then(|| waits.to_owned())
    });
    problem.map_or_else(
        || (StatusCode::OK, "ok\n".to_owned()),
        |problem| (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    #[test]
    fn an_operator_whose_dispatcher_is_stuck_is_not_alive() {
        assert_eq!(answer_for(Duration::from_secs(11)).0, StatusCode::OK);
        let stuck = answer_for(Duration::from_secs(61)).0;
        assert_eq!(stuck, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn half_a_request_does_not_keep_the_operator_from_stopping() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(address, Arc::new(Context::nowhere()), stop.clone()));
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
}
