//! Listeners: they take connections and hand requests on.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connections::{ConnectionFault, Open};
use crate::http::pipeline;
use crate::tls::Prepared;
use crate::world::Shared;

/// Serves the API until the returned future is dropped.
pub(crate) async fn serve_api(listener: TcpListener, tls: Option<Prepared>, shared: Arc<Shared>) {
    let tls = tls.map(Arc::new);
    accept(listener, move |stream| {
        let tls = tls.clone();
        let shared = Arc::clone(&shared);
        async move {
            let _open = Open::new(&shared);
            let fault = shared.connections.fault();
            tokio::select! {
                () = begin(stream, tls.as_deref(), fault, &shared) => {}
                () = shared.connections.when_cut() => tracing::debug!("a connection is cut"),
            }
        }
    })
    .await;
}

/// Serves a connection, or what a fault makes of it.
async fn begin(
    stream: TcpStream,
    tls: Option<&Prepared>,
    fault: ConnectionFault,
    shared: &Arc<Shared>,
) {
    match fault {
        ConnectionFault::Closed => return,
        // Until the caller has had enough.
        ConnectionFault::Silent => {
            let mut stream = stream;
            drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
            return;
        }
        // The caller has begun by then, and is left in the middle.
        ConnectionFault::CutHandshake => return drop(stream.readable().await),
        ConnectionFault::None
        | ConnectionFault::OtherAuthority
        | ConnectionFault::ExpiredCertificate
        | ConnectionFault::OtherName => {}
    }
    let peer = stream.peer_addr().ok().map(|peer| peer.ip());
    let Some(tls) = tls else {
        return api_connection(stream, peer, Arc::clone(shared)).await;
    };
    let acceptor = TlsAcceptor::from(tls.config(fault));
    match acceptor.accept(stream).await {
        Ok(stream) => api_connection(stream, peer, Arc::clone(shared)).await,
        Err(error) => tracing::debug!(%error, "no TLS session"),
    }
}

/// Serves the admin port until the returned future is dropped.
pub(crate) async fn serve_admin(listener: TcpListener, router: Router) {
    accept(listener, move |stream| {
        let service = TowerToHyperService::new(router.clone());
        async move {
            let served = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(error, "admin connection ended");
            }
        }
    })
    .await;
}

async fn api_connection<S>(stream: S, peer: Option<IpAddr>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let hangup = Arc::new(Notify::new());
    let service = {
        let hangup = Arc::clone(&hangup);
        service_fn(move |request: Request<Incoming>| {
            pipeline::serve(Arc::clone(&shared), peer, Arc::clone(&hangup), request)
        })
    };
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = connection => {
            if let Err(error) = served {
                tracing::debug!(error, "connection ended");
            }
        }
        () = hangup.notified() => tracing::debug!("a fault hangs up"),
    }
}

/// Takes connections for ever. The tasks end with the set that holds them.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers go out at once. Without it they only do so later.
                    stream.set_nodelay(true).unwrap_or_default();
                    connections.spawn(serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task failed");
                }
            }
        }
    }
}

/// Binds a port.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
