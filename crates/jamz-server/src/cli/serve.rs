//! `serve`: a pod until SIGTERM or SIGINT, then a drain; a second signal ends it at once.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{FAILED, block_on, failed};
use crate::app::{Backing, Pod};
use crate::config::Config;
use crate::logging;

pub(super) fn run(config: Config) -> ExitCode {
    logging::start(&config);
    block_on(serve(config))
}

async fn serve(config: Config) -> ExitCode {
    let (count, mut signals) = watch::channel(0);
    let counting = match count_signals(count) {
        Ok(counting) => counting,
        Err(error) => return failed(&error),
    };
    let pod = match Pod::start(config, Backing::Configured).await {
        Ok(pod) => pod,
        Err(error) => return failed(&error),
    };
    let mut first = signals.clone();
    let running = pod.run(async move {
        let _ = first.wait_for(|count| *count >= 1).await;
    });
    let code = tokio::select! {
        () = running => ExitCode::SUCCESS,
        _ = signals.wait_for(|count| *count >= 2) => {
            tracing::warn!("second signal, ending without waiting for clients");
            ExitCode::from(FAILED)
        }
    };
    counting.abort();
    code
}

/// SIGTERM is what Kubernetes sends, SIGINT what a terminal sends.
fn count_signals(count: watch::Sender<u32>) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            count.send_modify(|count| *count += 1);
        }
    }))
}
