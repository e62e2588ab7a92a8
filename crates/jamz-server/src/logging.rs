//! Log lines on standard output, for people or for collectors.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Config, LogFormat, names};

/// Starts logging as configured. Later calls change nothing.
pub fn start(config: &Config) {
    // The filter was checked when the configuration was read.
    let filter = EnvFilter::try_new(&config.log_filter)
        .unwrap_or_else(|_| EnvFilter::new(names::DEFAULT_RUST_LOG));
    let lines = fmt().with_env_filter(filter);
    let started = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(std::io::stdout().is_terminal()).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
