//! What stands between the floor and the operator, one thing at a time: the floor's client with
//! one habit of the operator's after the other, on one API server, by turns. Each is paid for in
//! CPU of the control plane, which a busy machine disturbs less than it does times.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;

use crate::bed::{Bed, KEYS, Kind, Places, SECRETS, Wanted};
use crate::cold::{Eyes, Meters};
use crate::failure::{Context, Failure, Result};
use crate::floor::{self, Answer, Body, Manner, Sample};
use crate::http::{Connection, METADATA_ONLY, Protocol, Server};
use crate::latency::quantile;
use crate::report::round;

/// Objects that are written each time.
const EACH: usize = 400;
/// How long a watch may be behind the last write.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which watches are open meanwhile, over one HTTP/2 connection, beside the benchmark's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watches {
    /// Metadata of the Secrets that carry the operator's mark.
    secrets: bool,
    /// Whole objects.
    objects: bool,
}

const NONE: Watches = Watches {
    secrets: false,
    objects: false,
};
const BOTH: Watches = Watches {
    secrets: true,
    objects: true,
};

/// One way to write.
struct Factor {
    name: &'static str,
    manner: Manner,
    watches: Watches,
}

const FLOOR: Manner = Manner {
    spread: floor::http1(8),
    secret: Body::Json,
    answer: Answer::Metadata,
};

/// As the operator writes.
const OPERATOR: Manner = Manner {
    secret: Body::Protobuf,
    ..FLOOR
};

const fn over_http1(connections: usize) -> Manner {
    Manner {
        spread: floor::http1(connections),
        ..FLOOR
    }
}

const fn over_http2(in_flight: usize) -> Manner {
    Manner {
        spread: floor::http2(1, in_flight),
        ..FLOOR
    }
}

const fn factor(name: &'static str, manner: Manner, watches: Watches) -> Factor {
    Factor {
        name,
        manner,
        watches,
    }
}

const FACTORS: [Factor; 17] = [
    factor("the floor: HTTP/1.1, 8 connections", FLOOR, NONE),
    factor("HTTP/1.1, 4 connections", over_http1(4), NONE),
    factor("HTTP/1.1, 6 connections", over_http1(6), NONE),
    factor("HTTP/1.1, 12 connections", over_http1(12), NONE),
    factor("HTTP/1.1, 16 connections", over_http1(16), NONE),
    factor("one HTTP/2 connection, 6 in flight", over_http2(6), NONE),
    factor("one HTTP/2 connection, 8 in flight", over_http2(8), NONE),
    factor("one HTTP/2 connection, 12 in flight", over_http2(12), NONE),
    factor("one HTTP/2 connection, 16 in flight", over_http2(16), NONE),
    factor(
        "the floor, the Secret as protobuf",
        Manner {
            secret: Body::Protobuf,
            ..FLOOR
        },
        NONE,
    ),
    factor(
        "the floor, whole answers",
        Manner {
            answer: Answer::Whole,
            ..FLOOR
        },
        NONE,
    ),
    factor(
        "the floor, metadata of answers as protobuf",
        Manner {
            answer: Answer::MetadataProtobuf,
            ..FLOOR
        },
        NONE,
    ),
    factor(
        "the floor beside a watch of Secrets' metadata",
        FLOOR,
        Watches {
            secrets: true,
            objects: false,
        },
    ),
    factor(
        "the floor beside a watch of objects",
        FLOOR,
        Watches {
            secrets: false,
            objects: true,
        },
    ),
    factor("the floor beside both watches", FLOOR, BOTH),
    factor(
        "as the operator: protobuf, beside both watches",
        OPERATOR,
        BOTH,
    ),
    factor(
        "the same over one HTTP/2 connection, 12 in flight",
        Manner {
            secret: Body::Protobuf,
            ..over_http2(12)
        },
        BOTH,
    ),
];

/// What one way costs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    pub(crate) objects: usize,
    /// Round by round.
    pub(crate) seconds: Vec<f64>,
    /// CPU of API server, etcd and controller manager for one object, round by round.
    pub(crate) control_plane_ms: Vec<f64>,
    /// The same of the client, which is the benchmark itself.
    pub(crate) client_ms: Vec<f64>,
}

impl Cost {
    /// Seconds and milliseconds of the median round.
    pub(crate) fn median(&self) -> (f64, f64) {
        (
            quantile(self.seconds.clone(), 0.5),
            quantile(self.control_plane_ms.clone(), 0.5),
        )
    }
}

/// Measures all of them, by turns.
pub(crate) async fn measure(
    places: &Places,
    sample: &Sample,
    fence: bool,
    rounds: usize,
) -> Result<Vec<Cost>> {
    let wanted = Wanted {
        // One more turn than counts: the first meets a server that has just started.
        objects: EACH * FACTORS.len() * rounds + EACH,
        later: 0,
        kind: Kind::Own,
        fence,
        audited: None,
    };
    let bed = Bed::make(places, &wanted).await?;
    let _eyes = Eyes::open(&bed).await?;
    let mut chunks = bed.objects.chunks(EACH);
    let warming = chunks.next().context(|| "no objects".to_owned())?;
    floor::run(&bed.account.server, sample, warming, FLOOR).await?;
    let mut costs: Vec<Cost> = FACTORS
        .iter()
        .map(|factor| Cost {
            name: factor.name,
            objects: EACH,
            seconds: Vec::new(),
            control_plane_ms: Vec::new(),
            client_ms: Vec::new(),
        })
        .collect();
    for turn in 0..FACTORS.len() * rounds {
        // Each time in another order, so that none is always after the same one.
        let at = (turn + turn / FACTORS.len() * 5) % FACTORS.len();
        let (Some(objects), Some(factor), Some(cost)) =
            (chunks.next(), FACTORS.get(at), costs.get_mut(at))
        else {
            break;
        };
        let meters = Meters::read(&bed)?;
        let watching = open(&bed.account.server, factor).await?;
        let seconds = floor::run(&bed.account.server, sample, objects, factor.manner).await?;
        for watch in watching {
            watch.await??;
        }
        let cpu = meters.since(&bed, Duration::ZERO)?;
        #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
        let each = |ms: f64| round(ms / EACH as f64);
        cost.seconds.push(round(seconds));
        cost.control_plane_ms
            .push(each(cpu.apiserver + cpu.etcd + cpu.controller_manager));
        cost.client_ms.push(each(cpu.bench));
    }
    Ok(costs)
}

type Watching = tokio::task::JoinHandle<Result<()>>;

/// Opens a factor's watches; each ends when it has seen what is going to be written.
async fn open(server: &Server, factor: &Factor) -> Result<Vec<Watching>> {
    let protocol = Protocol::Http2;
    let marked = format!("{SECRETS}?labelSelector=keyprotect.dev%2Ftarget%3Downed");
    let wanted = [
        (factor.watches.secrets, marked, METADATA_ONLY),
        (
            factor.watches.objects,
            format!("{KEYS}?"),
            "application/json",
        ),
    ];
    let mut shared: Option<Connection> = None;
    let mut watching = Vec::new();
    for (_, path, accept) in wanted.into_iter().filter(|(is_wanted, ..)| *is_wanted) {
        let mut connection = match shared.as_ref().and_then(Connection::share) {
            Some(connection) => connection,
            None => server.connect(protocol).await?,
        };
        let list = format!("{path}&limit=1");
        let request = server.request(
            Method::GET,
            &list,
            "application/json",
            bytes::Bytes::new(),
            protocol,
        )?;
        let (status, answer) = connection.send(request).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let version = answer["metadata"]["resourceVersion"]
            .as_str()
            .context(|| format!("GET {list}: {status}: {answer}"))?;
        let follow = format!("{path}&watch=1&resourceVersion={version}&timeoutSeconds=7200");
        let request =
            server.request(Method::GET, &follow, accept, bytes::Bytes::new(), protocol)?;
        let (status, body) = connection.open(request).await?;
        if !status.is_success() {
            return Err(Failure::new(format!("GET {follow}: {status}")));
        }
        shared = connection.share();
        watching.push(tokio::spawn(drain(body, connection)));
    }
    Ok(watching)
}

/// Reads as many events as objects are written.
async fn drain(mut body: Incoming, connection: Connection) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut seen = 0;
    while seen < EACH {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        let frame = frame
            .ok()
            .flatten()
            .filter(|_| Instant::now() < end)
            .context(|| "a watch does not show what was written".to_owned())??;
        if let Some(data) = frame.data_ref() {
            seen += data.iter().filter(|byte| **byte == b'\n').count();
        }
    }
    drop(connection);
    Ok(())
}

/// A table of what each costs.
pub(crate) fn table(costs: &[Cost]) -> String {
    let floor = costs.first().map_or((f64::NAN, f64::NAN), Cost::median);
    let mut text = format!(
        "{:<78} {:>9} {:>8} {:>9} {:>8}\n",
        "", "objects/s", "of floor", "CPU, ms", "of floor"
    );
    for cost in costs {
        let (seconds, cpu) = cost.median();
        #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
        let rate = cost.objects as f64 / seconds;
        text.push_str(&format!(
            "{:<78} {:>9.0} {:>7.2}× {:>9.2} {:>7.2}×\n",
            cost.name,
            rate,
            seconds / floor.0,
            cpu,
            cpu / floor.1
        ));
    }
    text
}
