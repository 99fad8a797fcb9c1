//! HTTP without anything around it: connections over which a request is sent and an answer read.
//! The floor is measured with it, so it does as little as can be done.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::{Context, Failure, Result};

/// Asks for an object's metadata alone.
pub(crate) const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const JSON: &str = "application/json";

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A server, and who is asking it.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    tls: Option<Arc<RootCertStore>>,
    authorization: Option<HeaderValue>,
}

/// One connection. Over HTTP/2 it can be cloned, and carries many requests at a time.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Server {
    /// A server without TLS, like `http://127.0.0.1:1234`.
    pub(crate) fn plain(url: &str) -> Result<Self> {
        Ok(Self {
            address: address_of(url)?,
            tls: None,
            authorization: None,
        })
    }

    /// A server with TLS by this authority, asked with this token (if it is not empty).
    pub(crate) fn tls(url: &str, authority: &[u8], token: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority) {
            let certificate = certificate.context(|| format!("the authority of {url}"))?;
            roots.add(certificate)?;
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            address: address_of(url)?,
            tls: Some(Arc::new(roots)),
            authorization: Some(authorization).filter(|_| !token.is_empty()),
        })
    }

    /// Connects.
    pub(crate) async fn connect(&self, protocol: Protocol) -> Result<Connection> {
        let stream = TcpStream::connect(self.address)
            .await
            .context(|| format!("connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        let Some(roots) = &self.tls else {
            return handshake(TokioIo::new(stream), protocol).await;
        };
        let mut config = ClientConfig::builder()
            .with_root_certificates(Arc::clone(roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .context(|| format!("TLS with {}", self.address))?;
        handshake(TokioIo::new(stream), protocol).await
    }

    /// Makes a request for this server.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Bytes,
        protocol: Protocol,
    ) -> Result<Request<Full<Bytes>>> {
        let uri = match protocol {
            Protocol::Http1 => path.to_owned(),
            Protocol::Http2 => format!("https://{}{path}", self.address),
        };
        let content_type = if method == Method::PATCH {
            "application/merge-patch+json"
        } else if path.starts_with("/identity/") {
            "application/x-www-form-urlencoded"
        } else {
            JSON
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, content_type);
        if protocol == Protocol::Http1 {
            request = request.header(HOST, self.address.to_string());
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        Ok(request.body(Full::new(body))?)
    }
}

impl Connection {
    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes)> {
        let (status, body) = self.open(request).await?;
        Ok((status, body.collect().await?.to_bytes()))
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn open(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Incoming)> {
        let response = match self {
            Self::Http1(connection) => {
                connection.ready().await?;
                connection.send_request(request).await?
            }
            Self::Http2(connection) => {
                connection.ready().await?;
                connection.send_request(request).await?
            }
        };
        Ok((response.status(), response.into_body()))
    }

    /// Another handle on the same connection, over HTTP/2.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(connection) => Some(Self::Http2(connection.clone())),
        }
    }
}

async fn handshake<S>(stream: TokioIo<S>, protocol: Protocol) -> Result<Connection>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    Ok(match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection);
            Connection::Http1(sender)
        }
        Protocol::Http2 => {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(1 << 22)
                .handshake(stream)
                .await?;
            tokio::spawn(connection);
            Connection::Http2(sender)
        }
    })
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    host.parse()
        .context(|| format!("{url} does not name an address"))
}

/// A client for everything whose speed does not count: as many HTTP/1.1 connections as are in use.
pub(crate) struct Client {
    pub(crate) server: Server,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            idle: Mutex::default(),
        }
    }

    async fn connection(&self) -> Result<Connection> {
        let idle = self.idle().pop();
        match idle {
            // The server may have closed it meanwhile.
            Some(Connection::Http1(connection)) if !connection.is_closed() => {
                Ok(Connection::Http1(connection))
            }
            _ => self.server.connect(Protocol::Http1).await,
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and reads the answer, whatever it is.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let mut connection = self.connection().await?;
        let what = format!("{method} {path}");
        let request = self
            .server
            .request(method, path, accept, body, Protocol::Http1)?;
        let answer = connection.send(request).await.context(|| what)?;
        self.idle().push(connection);
        Ok(answer)
    }

    /// Sends a request that has to succeed; the answer as JSON, null where it is empty.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let what = format!("{method} {path}");
        let (status, answer) = self.send(method, path, JSON, bytes).await?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&answer);
            return Err(Failure::new(format!("{what}: {status}: {text}")));
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).context(|| what)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Method::POST, path, body).await
    }

    /// Opens an answer that does not end.
    pub(crate) async fn stream(&self, path: &str, accept: &'static str) -> Result<Incoming> {
        let mut connection = self.server.connect(Protocol::Http1).await?;
        let request =
            self.server
                .request(Method::GET, path, accept, Bytes::new(), Protocol::Http1)?;
        let (status, body) = connection.open(request).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(Failure::new(format!("GET {path}: {status}")))
        }
    }
}
