//! What stands between the operator and the API server: a way that can be cut and blocked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Way {
    blocked: AtomicBool,
    open: AtomicUsize,
    cut: Notify,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    way: Arc<Way>,
    pub(crate) address: SocketAddr,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let way = Arc::new(Way::default());
        let shared = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, to, Arc::clone(&shared)));
            }
        });
        Self { way, address }
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.way.cut.notify_waiters();
    }

    /// From now on, new connections are closed at once, or no more.
    pub(crate) fn block(&self, blocked: bool) {
        self.way.blocked.store(blocked, Ordering::Release);
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.way.open.load(Ordering::Acquire)
    }
}

async fn pass(mut from: TcpStream, to: SocketAddr, way: Arc<Way>) {
    if way.blocked.load(Ordering::Acquire) {
        return;
    }
    way.open.fetch_add(1, Ordering::AcqRel);
    let passed = async {
        let mut to = TcpStream::connect(to).await?;
        from.set_nodelay(true)?;
        to.set_nodelay(true)?;
        copy_bidirectional(&mut from, &mut to).await
    };
    tokio::select! {
        // However it ends, it is over.
        ended = passed => drop(ended),
        () = way.cut.notified() => {}
    }
    way.open.fetch_sub(1, Ordering::AcqRel);
}
