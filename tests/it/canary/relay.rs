//! Between the operator and the API server: passes everything on, but answers writes of some
//! Secrets itself, as an API server that quotes what it was sent, or says nothing sensible.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use futures::stream;
use serde_json::json;

/// How writes of one Secret are answered.
#[derive(Clone)]
pub(crate) struct Lie {
    /// The Secret's name.
    pub(crate) secret: String,
    /// HTTP status.
    pub(crate) status: u16,
    /// Media type.
    pub(crate) media_type: &'static str,
    /// Body.
    pub(crate) body: String,
}

/// The relay.
pub(crate) struct Relay {
    /// Where it listens.
    pub(crate) url: String,
    /// Names of Secrets whose write was lied about, as often as it was.
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

struct Behind {
    server: String,
    client: reqwest::Client,
    lies: Vec<Lie>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// Listens, in front of a server whose certificate is of this authority.
    pub(crate) async fn start(server: &str, authority: &[u8], lies: Vec<Lie>) -> Self {
        let roots = reqwest::Certificate::from_pem(authority).expect("a certificate");
        let client = reqwest::Client::builder()
            .tls_certs_only([roots])
            .no_proxy()
            .build()
            .expect("a client");
        let told = Arc::<Mutex<Vec<String>>>::default();
        let behind = Behind {
            server: server.trim_end_matches('/').to_owned(),
            client,
            lies,
            told: Arc::clone(&told),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let router = Router::new().fallback(pass).with_state(Arc::new(behind));
        drop(tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the relay");
        }));
        Self { url, told }
    }
}

async fn pass(State(behind): State<Arc<Behind>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 4 << 20).await.expect("a request");
    let path = head.uri.path_and_query().expect("a path").as_str();
    if let Some(lie) = behind.lie(&head.method, path, &body) {
        return lie;
    }
    let mut headers = head.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let sent = behind
        .client
        .request(head.method, format!("{}{path}", behind.server))
        .headers(headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = sent else {
        return status(StatusCode::BAD_GATEWAY, &HeaderMap::new(), Body::empty());
    };
    let (code, headers) = (answer.status(), answer.headers().clone());
    // A watch comes piece by piece, for as long as it goes on.
    let pieces = stream::unfold(answer, |mut answer| async move {
        let piece = answer.chunk().await.transpose()?;
        Some((piece, answer))
    });
    status(code, &headers, Body::from_stream(pieces))
}

fn status(code: StatusCode, headers: &HeaderMap, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    for (name, value) in headers {
        let framing = [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
        ];
        if !framing.contains(name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

impl Behind {
    fn lie(&self, method: &Method, path: &str, body: &Bytes) -> Option<Response<Body>> {
        let writes = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        if !writes || !path.contains("/secrets") || path.contains("dryRun") {
            return None;
        }
        let names = |lie: &&Lie| {
            let name = lie.secret.as_bytes();
            body.windows(name.len()).any(|part| part == name)
        };
        let lie = self.lies.iter().find(names)?;
        self.told.lock().expect("a list").push(lie.secret.clone());
        let answer = Response::builder()
            .status(lie.status)
            .header(header::CONTENT_TYPE, lie.media_type)
            .body(Body::from(lie.body.clone()));
        Some(answer.expect("an answer"))
    }
}

/// The lies: each answers the write of a Secret of its own with what must not be passed on.
pub(crate) fn lies(payload: &str, encoded: &str) -> Vec<Lie> {
    let json = "application/json";
    let refusal = |code: u16, reason: &str, field: &str| {
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": format!("Secret in version \"v1\" cannot be handled: data: {encoded} ({payload})"),
            "details": {"name": payload, "kind": encoded, "causes": [
                {"reason": "FieldValueInvalid", "message": format!("Invalid value: {payload:?}"), "field": field}
            ]},
        })
        .to_string()
    };
    let secret = json!({
        "kind": "Secret", "apiVersion": "v1",
        "metadata": {"name": "x", "uid": "u", "resourceVersion": "1", "namespace": payload},
        "data": {"key": encoded},
    })
    .to_string();
    let html = format!("<html><body>{payload} {encoded}</body></html>");
    [
        (422, json, refusal(422, "Invalid", "data[key]")),
        (422, json, refusal(422, "Invalid", payload)),
        (400, json, refusal(400, "BadRequest", "")),
        (403, json, refusal(403, "Forbidden", "metadata.labels")),
        (409, json, refusal(409, "AlreadyExists", "")),
        (409, json, refusal(409, "Conflict", "")),
        (413, json, refusal(413, "RequestEntityTooLarge", "")),
        (429, json, refusal(429, "TooManyRequests", "")),
        (500, json, refusal(500, payload, "")),
        (504, "text/plain", format!("{payload} {encoded}")),
        (200, json, secret.clone()),
        (201, json, secret[..secret.len() - 9].to_owned()),
        (200, "text/html", html.clone()),
        (502, "text/html", html),
        (200, json, format!("[{encoded:?}, {payload:?}]")),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (status, media_type, body))| Lie {
        secret: format!("lied-about-{number:02}"),
        status,
        media_type,
        body,
    })
    .collect()
}
