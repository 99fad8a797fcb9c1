//! The emulator as a whole: started, asked for its addresses, shut down.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::control::types::Seed;
use crate::control::{Control, ControlError};
use crate::tls::{self, Tls, TlsError};
use crate::world::Shared;
use crate::{admin, server};

/// How to start an emulator.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where Key Protect and IAM listen.
    pub listen: SocketAddr,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    /// TLS for Key Protect and IAM; plain when absent.
    pub tls: Option<Tls>,
    /// What there is to begin with.
    pub seed: Seed,
    /// How long tokens live.
    pub token_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: any,
            admin: any,
            tls: None,
            seed: Seed::default(),
            token_lifetime: Duration::from_secs(3600),
        }
    }
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be had.
    #[error("listen at {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// There is no certificate.
    #[error("set up TLS")]
    Tls(#[from] TlsError),
    /// The seed is wrong.
    #[error("seed")]
    Seed(#[from] ControlError),
}

/// A running emulator. It derefs to [`Control`], which has a method for
/// everything that the admin port does. It ends when dropped.
#[derive(Debug)]
pub struct Emulator {
    control: Control,
    api: SocketAddr,
    admin: SocketAddr,
    tls: bool,
    ca_pem: Option<String>,
    tasks: Vec<JoinHandle<()>>,
}

impl Emulator {
    /// Starts an emulator on the caller's runtime.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let lifetime = i64::try_from(options.token_lifetime.as_secs()).unwrap_or(i64::MAX / 4);
        let shared = Arc::new(Shared::new(lifetime));
        let control = Control {
            shared: Arc::clone(&shared),
        };
        control.seed(options.seed)?;
        let prepared = options.tls.as_ref().map(tls::prepare).transpose()?;
        let ca_pem = prepared
            .as_ref()
            .and_then(|prepared| prepared.ca_pem.clone());
        let bind = async |address| {
            server::bind(address)
                .await
                .map_err(|error| StartError::Listen(address, error))
        };
        let (api_listener, api) = bind(options.listen).await?;
        let (admin_listener, admin) = bind(options.admin).await?;
        let tls = prepared.is_some();
        let tasks = vec![
            tokio::spawn(server::serve_api(api_listener, prepared, shared)),
            tokio::spawn(server::serve_admin(
                admin_listener,
                admin::router(control.clone()),
            )),
        ];
        Ok(Self {
            control,
            api,
            admin,
            tls,
            ca_pem,
            tasks,
        })
    }

    /// Returns the base URL of Key Protect and IAM.
    pub fn api_url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.api)
    }

    /// Returns the base URL of the admin port.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Returns the authority in PEM that the certificate was signed by, when
    /// the emulator made them.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Ends the emulator, with every connection.
    pub async fn shutdown(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // Aborted is how it is meant to end.
            drop(task.await);
        }
    }
}

impl Deref for Emulator {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
