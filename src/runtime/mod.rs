//! The process: settings, logs, health, metrics, shutdown.

pub mod health;
pub mod metrics;
pub mod process;
pub mod server;
pub mod settings;
pub mod telemetry;
