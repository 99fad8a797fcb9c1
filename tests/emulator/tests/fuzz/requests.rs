//! Requests: paths, queries, headers and bodies, put together at random.

use crate::INSTANCES;
use crate::bodies;
use crate::dice::Dice;

/// A resource that a root key protects from the beginning.
pub(crate) const BUCKET: &str =
    "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:bucket:b/c";

/// What requests may name.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) tokens: Vec<String>,
    pub(crate) keys: Vec<String>,
    pub(crate) ciphertext: Option<String>,
}

impl Known {
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn key(&self, dice: &mut Dice) -> String {
        if self.keys.is_empty() || dice.once_in(9) {
            let other = [
                "alias-a",
                "alias-1",
                "00000000-0000-4000-8000-000000000000",
                "registrations",
            ];
            return dice.pick(&other).to_owned();
        }
        self.keys[dice.below(self.keys.len())].clone()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Api,
    Admin,
}

pub(crate) struct Request {
    pub(crate) surface: Surface,
    pub(crate) bytes: Vec<u8>,
    /// The answer has no body.
    pub(crate) head: bool,
    /// It is not meant to be HTTP.
    pub(crate) broken: bool,
}

const API_PATHS: [&str; 50] = [
    "GET keys",
    "HEAD keys",
    "POST keys",
    "POST keys",
    "POST keys_with_policy_overrides",
    "GET keys/{key}",
    "GET keys/{key}/metadata",
    "PATCH keys/{key}",
    "DELETE keys/{key}",
    "DELETE keys/{key}/purge",
    "POST keys/{key}/restore",
    "GET keys/{key}/versions",
    "POST keys/{key}/actions/wrap",
    "POST keys/{key}/actions/unwrap",
    "POST keys/{key}/actions/rewrap",
    "POST keys/{key}/actions/rotate",
    "POST keys/{key}/actions/enable",
    "POST keys/{key}/actions/disable",
    "POST keys/{key}/actions/setKeyForDeletion",
    "POST keys/{key}/actions/sync",
    "POST keys/{key}",
    "GET keys/{key}/policies",
    "PUT keys/{key}/policies",
    "GET keys/{key}/registrations",
    "GET keys/registrations",
    "POST keys/{key}/aliases/{name}",
    "DELETE keys/{key}/aliases/{name}",
    "GET key_rings",
    "POST key_rings/{name}",
    "DELETE key_rings/{name}",
    "GET instance/policies",
    "PUT instance/policies",
    "POST import_token",
    "GET import_token",
    "POST kmip_adapters",
    "POST kmip_adapters/adapter/certificates",
    "GET kmip_adapters",
    "GET kmip_adapters/adapter",
    "DELETE kmip_adapters/adapter",
    "GET kmip_adapters/adapter/kmip_objects",
    "DELETE kmip_adapters/adapter/kmip_objects/{key}",
    "GET kmip_adapters/adapter/certificates",
    "GET kmip_adapters/adapter/certificates/certificate",
    "DELETE kmip_adapters/adapter/certificates/certificate",
    "GET instance/allowed_ip_port",
    "POST keys/{key}/actions/unsetKeyForDeletion",
    "POST keys/{key}/registrations/{crn}",
    "PUT keys/{key}/registrations/{crn}",
    "PATCH keys/{key}/registrations/{crn}",
    "DELETE keys/{key}/registrations/{crn}",
];

const ADMIN_PATHS: [&str; 27] = [
    "PUT clock",
    "GET clock",
    "PATCH modes",
    "PUT modes",
    "PUT faults/{name}",
    "GET faults",
    "DELETE faults",
    "GET requests?since=1",
    "GET requests/wait?count=0&timeoutMs=1",
    "DELETE requests",
    "POST instances/{id}/keys",
    "POST instances/{id}/keys/bulk",
    "GET instances/{id}/keys",
    "POST instances/{id}/keys/{key}/state",
    "DELETE instances/{id}/keys/{key}",
    "POST instances/{id}/keys/{key}/restore",
    "PUT instances/{id}/keys/{key}/ring",
    "PUT instances/{id}/keys/{key}/expiration",
    "POST instances/{id}/keys/{key}/registrations",
    "PUT instances/{id}/aliases/{name}",
    "POST instances/{id}/expiry-pass",
    "POST instances/{id}/snapshots/s",
    "PUT instances/{id}/snapshots/s",
    "POST instances/{id}/failover",
    "PUT tokens/lifetime",
    "PUT service-ids/manager/roles",
    "PUT instances/{id}/keys/{key}/damage",
];

impl Request {
    /// A request for a token.
    pub(crate) fn token(api_key: &str) -> Self {
        let body = format!("grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={api_key}");
        let head = "content-type: application/x-www-form-urlencoded\r\n";
        Self {
            surface: Surface::Api,
            bytes: whole("POST", "/identity/token", head, body.as_bytes()),
            head: false,
            broken: false,
        }
    }

    /// Any request.
    pub(crate) fn any(dice: &mut Dice, known: &Known) -> Self {
        match dice.below(100) {
            0..=2 => garbage(dice),
            3..=12 => admin(dice, known),
            13 | 14 => token(dice),
            _ => api(dice, known),
        }
    }

    /// What to show of it when something went wrong.
    pub(crate) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("authorization: Bearer"));
        let text = lines.collect::<Vec<_>>().join("\n");
        format!(
            "{:?}: {}",
            self.surface,
            text.chars().take(1500).collect::<String>()
        )
    }
}

fn whole(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    whole_at("emulator", method, target, headers, body)
}

fn whole_at(host: &str, method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn fill(dice: &mut Dice, known: &Known, path: &str) -> String {
    let name = match dice.below(5) {
        0 => dice.text(95),
        1 => "default".to_owned(),
        2 => "ring-a".to_owned(),
        _ => format!("alias-{}", dice.below(9)),
    };
    let key = if dice.once_in(25) {
        dice.text(40)
    } else {
        known.key(dice)
    };
    let instance = INSTANCES[dice.below(2)];
    let crn = dice.pick(&[
        BUCKET,
        BUCKET,
        BUCKET,
        "crn:v1:bluemix:public:databases-for-postgresql:global:a/1:2::",
        "crn:v1",
    ]);
    path.replace("{id}", instance)
        .replace("{key}", &escape(&key))
        .replace("{name}", &escape(&name))
        .replace("{crn}", &escape(crn))
}

/// Percent-encodes what a request line cannot have.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn query(dice: &mut Dice) -> String {
    const NAMES: [&str; 13] = [
        "limit",
        "offset",
        "state",
        "extractable",
        "search",
        "sort",
        "filter",
        "force",
        "policy",
        "action",
        "totalCount",
        "allKeyStates",
        "urlEncodedResourceCRNQuery",
    ];
    let mut parts = Vec::new();
    for _ in 0..dice.below(4) {
        let value = match dice.below(5) {
            0 => dice.number().to_string(),
            1 => dice.text(60),
            _ => dice
                .pick(&[
                    "true",
                    "0,1,2,3,5",
                    "5",
                    "exact:alias:alias-a",
                    "not:name:x",
                    "escape:",
                    "-creationDate,id",
                    "creationDate=gte:\"2022-02-15T00:00:00Z\" state=1",
                    "lastRotateDate=none",
                    "rotation",
                    "dualAuthDelete",
                    "wrap",
                    "restore",
                    "rotate",
                    "a:b:c:*:*",
                ])
                .to_owned(),
        };
        parts.push(format!("{}={}", dice.pick(&NAMES), escape(&value)));
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

fn header_text(dice: &mut Dice) -> String {
    dice.text(30)
        .chars()
        .filter(|character| !character.is_control())
        .collect()
}

fn api_headers(dice: &mut Dice, known: &Known, path: &str) -> String {
    let mut headers = String::new();
    let token = if known.tokens.is_empty() {
        "none".to_owned()
    } else {
        // Mostly the Manager: others are refused most of the time.
        let at = if dice.once_in(4) {
            dice.below(known.tokens.len())
        } else if path.ends_with("{crn}") {
            // The one of a service.
            known.tokens.len() - 1
        } else {
            0
        };
        known.tokens[at].clone()
    };
    match dice.below(40) {
        0 => {}
        1 => headers.push_str(&format!("authorization: {}\r\n", header_text(dice))),
        2 => headers.push_str(&format!(
            "authorization: bearer {}.{}\r\n",
            token,
            dice.below(9)
        )),
        _ => headers.push_str(&format!("authorization: Bearer {token}\r\n")),
    }
    match dice.below(40) {
        0 => {}
        1 => headers.push_str(&format!("bluemix-instance: {}\r\n", header_text(dice))),
        2 => headers.push_str("bluemix-org: o\r\nbluemix-space: s\r\n"),
        _ => headers.push_str(&format!("Bluemix-Instance: {}\r\n", INSTANCES[0])),
    }
    if dice.once_in(8) {
        let ring = if dice.once_in(4) {
            header_text(dice)
        } else {
            "ring-a".to_owned()
        };
        headers.push_str(&format!("x-kms-key-ring: {ring}\r\n"));
    }
    if dice.once_in(4) {
        headers.push_str(dice.pick(&[
            "prefer: return=minimal\r\n",
            "prefer: return=representation\r\n",
            "prefer: \r\n",
        ]));
    }
    if dice.once_in(5) {
        headers.push_str(&format!("correlation-id: {}\r\n", header_text(dice)));
    }
    headers
}

fn body(dice: &mut Dice, mut value: serde_json::Value) -> Vec<u8> {
    for _ in 0..dice.below(5).saturating_sub(2) {
        bodies::mutate(dice, &mut value);
    }
    bodies::hasten(&mut value);
    let mut bytes = value.to_string().into_bytes();
    match dice.below(24) {
        0 => bytes.truncate(dice.below(bytes.len() + 1)),
        1 => bytes = dice.bytes(300),
        2 => bytes = b"null".to_vec(),
        3 => bytes.clear(),
        4 => bytes = "[".repeat(2000).into_bytes(),
        5 if !bytes.is_empty() => {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        _ => {}
    }
    bytes
}

fn api(dice: &mut Dice, known: &Known) -> Request {
    let template = dice.pick(&API_PATHS);
    let (method, path) = template.split_once(' ').unwrap();
    let method = if dice.once_in(60) {
        dice.pick(&["PUT", "TRACE", "OPTIONS", "HEAD"])
    } else {
        method
    };
    let target = format!("/api/v2/{}{}", fill(dice, known, path), query(dice));
    let of_key = method == "PATCH" && path == "keys/{key}";
    let fitting = if of_key { method } else { path };
    let value = bodies::of_api(dice, known, fitting);
    let wants_body = matches!(method, "POST" | "PUT" | "PATCH");
    let body = if wants_body || dice.once_in(9) {
        body(dice, value)
    } else {
        Vec::new()
    };
    let headers = api_headers(dice, known, path);
    let host = dice.pick(&["emulator", "private.emulator", "private.emulator"]);
    Request {
        surface: Surface::Api,
        bytes: whole_at(host, method, &target, &headers, &body),
        head: method == "HEAD",
        broken: false,
    }
}

fn admin(dice: &mut Dice, known: &Known) -> Request {
    let template = dice.pick(&ADMIN_PATHS);
    let (method, path) = template.split_once(' ').unwrap();
    let target = format!("/{}", fill(dice, known, path));
    let value = bodies::of_admin(dice, known);
    let body = if method == "GET" {
        Vec::new()
    } else {
        body(dice, value)
    };
    Request {
        surface: Surface::Admin,
        bytes: whole(method, &target, "content-type: application/json\r\n", &body),
        head: false,
        broken: false,
    }
}

fn token(dice: &mut Dice) -> Request {
    let path = dice.pick(&["/identity/token", "/oidc/token", "/identity/token?apikey=x"]);
    let body = match dice.below(4) {
        0 => dice.bytes(200),
        1 => b"grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Acr-token&cr_token=a.b.c&profile_id=p".to_vec(),
        2 => b"grant_type=%ff&apikey=%".to_vec(),
        _ => b"grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey=key-of-manager".to_vec(),
    };
    let headers = dice.pick(&[
        "content-type: application/x-www-form-urlencoded; charset=utf-8\r\n",
        "content-type: application/json\r\n",
        "",
    ]);
    Request {
        surface: Surface::Api,
        bytes: whole("POST", path, headers, &body),
        head: false,
        broken: false,
    }
}

/// What is no HTTP, or breaks off, or lies about its length.
fn garbage(dice: &mut Dice) -> Request {
    let bytes = match dice.below(6) {
        0 => dice.bytes(400),
        1 => [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &dice.bytes(200)].concat(),
        2 => b"GET /api/v2/keys HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(),
        3 => b"POST /api/v2/keys HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        4 => [&b"GET /"[..], "a".repeat(dice.below(9000)).as_bytes(), b" HTTP/1.1\r\nhost: x\r\n\r\n"].concat(),
        _ => [&b"GET /api/v2/keys/%zz%00 HTTP/1.0\r\nx: "[..], &dice.bytes(40), b"\r\n\r\n"].concat(),
    };
    // A line's end makes the server judge, and a second one ends its patience.
    let bytes = [&bytes[..], b"\r\n\r\n\r\n\r\n"].concat();
    Request {
        surface: if dice.once_in(3) {
            Surface::Admin
        } else {
            Surface::Api
        },
        bytes,
        head: false,
        broken: true,
    }
}
