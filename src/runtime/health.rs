//! `/livez` and `/readyz`. Ready means that the fence holds, that the
//! operator's rights are known, and that every watch has shown its
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
use tokio_util::sync::CancellationToken;

use super::server;
use crate::controller::context::Context;

/// The dispatcher is stuck when it has not come round for this long; it does so every ten seconds.
const STUCK: Duration = Duration::from_secs(60);

/// Serves until told to stop.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    context: Arc<Context>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(context);
    server::serve("health", address, routes, stop).await
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
    let problem = context.problem().or_else(|| {
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

    #[test]
    fn an_operator_whose_dispatcher_is_stuck_is_not_alive() {
        assert_eq!(answer_for(Duration::from_secs(11)).0, StatusCode::OK);
        let stuck = answer_for(Duration::from_secs(61)).0;
        assert_eq!(stuck, StatusCode::SERVICE_UNAVAILABLE);
    }
}
