//! A client that sends any bytes, and reads HTTP/1.1 answers off the socket.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Wire {
    address: String,
    stream: Option<TcpStream>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Nothing came for long.
    Silent,
    /// The connection ended first.
    Closed,
    /// What came is no HTTP.
    Garbled(String),
}

impl Wire {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// Sends bytes and reads one answer. The connection is kept for the next
    /// request unless this is its last, or something is wrong with it.
    pub(crate) async fn send(
        &mut self,
        bytes: &[u8],
        head: bool,
        last: bool,
    ) -> Result<Answer, Broken> {
        let kept = self.stream.take();
        let reused = kept.is_some();
        let mut stream = match kept {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address)
                .await
                .map_err(|_| Broken::Closed)?,
        };
        let exchange = tokio::time::timeout(PATIENCE, exchange(&mut stream, bytes, head, last));
        match exchange.await {
            Err(_) => Err(Broken::Silent),
            // The server may have closed a connection that it was asked to.
            Ok(Err(Broken::Closed)) if reused => Box::pin(self.send(bytes, head, last)).await,
            Ok(Err(broken)) => Err(broken),
            Ok(Ok((answer, keep))) => {
                self.stream = keep.then_some(stream);
                Ok(answer)
            }
        }
    }
}

async fn exchange(
    stream: &mut TcpStream,
    bytes: &[u8],
    head_only: bool,
    last: bool,
) -> Result<(Answer, bool), Broken> {
    stream.write_all(bytes).await.map_err(|_| Broken::Closed)?;
    if last {
        // Else a server may wait for the rest of what has none.
        stream.shutdown().await.map_err(|_| Broken::Closed)?;
    }
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut read).await?;
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let status = head
        .strip_prefix("http/1.1 ")
        .or_else(|| head.strip_prefix("http/1.0 "))
        .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
        .ok_or_else(|| Broken::Garbled(head.clone()))?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(": ")
                .map(str::to_owned)
        })
    };
    let length = match header("content-length") {
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| Broken::Garbled(head.clone()))?,
        None if head.contains("transfer-encoding: chunked") => {
            return Err(Broken::Garbled(format!("chunked: {head}")));
        }
        None => 0,
    };
    let length: usize = if head_only || status == 204 || status == 304 {
        0
    } else {
        length
    };
    while read.len() < end + length {
        more(stream, &mut read).await?;
    }
    let keep = !last && !head.contains("connection: close") && read.len() == end + length;
    let answer = Answer {
        status,
        content_type: header("content-type").unwrap_or_default(),
        body: read[end..end + length].to_vec(),
    };
    Ok((answer, keep))
}

async fn more(stream: &mut TcpStream, into: &mut Vec<u8>) -> Result<(), Broken> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => Err(Broken::Closed),
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}
