//! The floor: what nobody who writes these Secrets and statuses can be faster than. A client
//! that knows beforehand what to write, and does nothing but the two writes per object, with the
//! bodies that the operator would send, under the operator's own ServiceAccount.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bed::{Bed, Object};
use crate::failure::{Context, Failure, Result};
use crate::http::{Connection, METADATA_ONLY, Protocol, Server};
use crate::protobuf;

const MANAGER: &str = "fieldManager=keyprotect.dev%2Foperator";

/// How the client spreads its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) protocol: Protocol,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

/// The ways that are tried; the best of them is the floor.
pub(crate) const SPREADS: [Spread; 8] = [
    http1(4),
    http1(8),
    http1(16),
    http1(32),
    http2(1, 16),
    http2(1, 32),
    http2(4, 16),
    http2(4, 32),
];

pub(crate) const fn http1(connections: usize) -> Spread {
    Spread {
        protocol: Protocol::Http1,
        connections,
        in_flight: connections,
    }
}

pub(crate) const fn http2(connections: usize, in_flight: usize) -> Spread {
    Spread {
        protocol: Protocol::Http2,
        connections,
        in_flight,
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            Protocol::Http1 => write!(f, "HTTP/1.1, {} connections", self.connections),
            Protocol::Http2 => write!(
                f,
                "HTTP/2, {} in flight, {} connections",
                self.in_flight, self.connections
            ),
        }
    }
}

impl Serialize for Spread {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the Secret is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Json,
    Protobuf,
}

/// What answers are asked for as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Metadata,
    MetadataProtobuf,
    Whole,
}

impl Answer {
    const fn accept(self) -> &'static str {
        match self {
            Self::Metadata => METADATA_ONLY,
            Self::MetadataProtobuf => {
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
            }
            Self::Whole => "application/json",
        }
    }
}

/// How a client writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) spread: Spread,
    pub(crate) secret: Body,
    pub(crate) answer: Answer,
}

impl From<Spread> for Manner {
    /// As the floor does.
    fn from(spread: Spread) -> Self {
        Self {
            spread,
            secret: Body::Json,
            answer: Answer::Metadata,
        }
    }
}

/// What the operator wrote for one object; for others it is the same with other names.
pub(crate) struct Sample {
    object: Object,
    secret: String,
    status: String,
}

/// The two requests of one object.
struct Writes {
    post: (String, Bytes),
    put: (String, Bytes),
}

impl Sample {
    /// Takes what the operator has made of an object.
    pub(crate) async fn take(bed: &Bed, object: &Object) -> Result<Self> {
        let Object {
            namespace, name, ..
        } = object;
        let secret = bed
            .admin
            .get(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
            .await?;
        let path =
            format!("/apis/keyprotect.dev/v1alpha1/namespaces/{namespace}/keyprotectkeys/{name}");
        let owner = bed.admin.get(&path).await?;
        let of = |value: &Value, field: &str| value["metadata"][field].clone();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": secret["type"], "data": secret["data"],
            "metadata": {
                "name": name, "namespace": namespace,
                "labels": of(&secret, "labels"), "annotations": of(&secret, "annotations"),
                "ownerReferences": of(&secret, "ownerReferences"),
            },
        });
        let status = json!({
            "apiVersion": owner["apiVersion"], "kind": owner["kind"],
            "metadata": {"name": name, "namespace": namespace, "uid": object.uid, "resourceVersion": "VERSION"},
            "spec": {}, "status": owner["status"],
        });
        Ok(Self {
            object: object.clone(),
            secret: secret.to_string(),
            status: status.to_string(),
        })
    }

    /// Bytes of both bodies, for the report.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.secret.len(), self.status.len())
    }

    fn writes(&self, object: &Object, body: Body) -> Result<Writes> {
        let Object {
            namespace, name, ..
        } = object;
        let quoted = |text: &str| format!("\"{text}\"");
        let fill = |text: &str| {
            text.replace(&quoted(&self.object.name), &quoted(name))
                .replace(&quoted(&self.object.namespace), &quoted(namespace))
                .replace(&self.object.uid, &object.uid)
                .replace("VERSION", &object.version)
        };
        let secrets = format!("/api/v1/namespaces/{namespace}/secrets?{MANAGER}");
        let status = format!(
            "/apis/keyprotect.dev/v1alpha1/namespaces/{namespace}/keyprotectkeys/{name}/status?{MANAGER}"
        );
        let secret = fill(&self.secret);
        Ok(Writes {
            post: match body {
                Body::Json => (secrets, Bytes::from(secret)),
                Body::Protobuf => (secrets, protobuf::secret(&serde_json::from_str(&secret)?)?),
            },
            put: (status, Bytes::from(fill(&self.status))),
        })
    }
}

/// Does the two writes for each object; how many seconds that took.
pub(crate) async fn run(
    server: &Server,
    sample: &Sample,
    objects: &[Object],
    manner: impl Into<Manner>,
) -> Result<f64> {
    let manner = manner.into();
    let spread = manner.spread;
    let writes = objects.iter().map(|o| sample.writes(o, manner.secret));
    let writes: Arc<Vec<Writes>> = Arc::new(writes.collect::<Result<_>>()?);
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..spread.connections {
        connections.push(server.connect(spread.protocol).await?);
    }
    let mut workers = tokio::task::JoinSet::new();
    let handles = share(connections, spread)?;
    for connection in handles {
        let work = work(
            server.clone(),
            connection,
            Arc::clone(&writes),
            Arc::clone(&next),
            manner,
        );
        workers.spawn(work);
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// A handle for each request in flight.
fn share(connections: Vec<Connection>, spread: Spread) -> Result<Vec<Connection>> {
    if spread.protocol == Protocol::Http1 {
        return Ok(connections);
    }
    (0..spread.in_flight)
        .map(|at| {
            connections[at % spread.connections]
                .share()
                .context(|| "HTTP/1.1 is not shared".to_owned())
        })
        .collect()
}

async fn work(
    server: Server,
    mut connection: Connection,
    writes: Arc<Vec<Writes>>,
    next: Arc<AtomicUsize>,
    manner: Manner,
) -> Result<()> {
    let (protocol, accept) = (manner.spread.protocol, manner.answer.accept());
    loop {
        let Some(writes) = writes.get(next.fetch_add(1, Ordering::Relaxed)) else {
            return Ok(());
        };
        for (method, (path, body)) in [(Method::POST, &writes.post), (Method::PUT, &writes.put)] {
            let is_secret = method == Method::POST;
            let mut request = server.request(method, path, accept, body.clone(), protocol)?;
            if is_secret && manner.secret == Body::Protobuf {
                let headers = request.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(protobuf::MEDIA_TYPE));
            }
            let (status, answer) = connection.send(request).await?;
            if !status.is_success() {
                let text = String::from_utf8_lossy(&answer);
                return Err(Failure::new(format!(
                    "the floor's {path}: {status}: {text}"
                )));
            }
        }
    }
}
