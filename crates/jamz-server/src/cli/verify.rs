//! `verify`: the proof on pods that run.

use std::process::ExitCode;

use clap::Args;
use unisono_client::ConnectError;

use super::proof::{Proof, ProofError, Report, percentile};
use super::{FAILED, USAGE, block_on, failed, table};

/// Most rounds: each makes one change for every client.
const MAX_ROUNDS: u64 = 100_000;

/// Which pods.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// URL of a pod, such as http://10.0.0.1:5000; give one for each pod
    #[arg(long = "url", required = true)]
    urls: Vec<String>,
    /// How many changes to make one after another, and how many times all at once
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=MAX_ROUNDS))]
    rounds: u64,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let mut urls = options.urls.clone();
    if urls.len() == 1 {
        // Behind one address there may be several pods; two clients may meet two of them.
        urls.push(urls[0].clone());
    }
    let rounds = usize::try_from(options.rounds).unwrap_or(usize::MAX);
    block_on(async {
        match prove(&urls, true, rounds).await {
            Ok(report) => {
                conclude(&report);
                if report.is_good() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::from(FAILED)
                }
            }
            Err(error) => {
                let code = failed(&error);
                match error {
                    ProofError::Connect {
                        source: ConnectError::Url(_),
                        ..
                    } => ExitCode::from(USAGE),
                    _ => code,
                }
            }
        }
    })
}

/// Carries the proof through and closes its connections.
pub(super) async fn prove(
    urls: &[String],
    session: bool,
    rounds: usize,
) -> Result<Report, ProofError> {
    let proof = Proof::connect(urls, session).await?;
    let clients = proof.clients();
    let report = proof.run(rounds).await;
    Proof::close(clients).await;
    report
}

/// Prints what came out.
pub(super) fn conclude(report: &Report) {
    let times = report.latencies();
    let time = |share| table::time(percentile(&times, share));
    say!(
        "{} changes one after another, {} at the same moment as others",
        report.takes.len(),
        report.races
    );
    say!(
        "from one client to another: p50 {}, p99 {}, worst {}",
        time(0.5),
        time(0.99),
        time(1.0)
    );
    for problem in &report.problems {
        say!("FAIL  {problem}");
    }
    if report.is_good() {
        say!("ok    every client saw every change, and all saw the same order");
    }
}
