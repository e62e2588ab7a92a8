//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

/// Prints a line. A reader that has gone, such as `head`, is no reason to fail.
macro_rules! say {
    ($($line:tt)*) => {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stdout().lock(),
            format_args!("{}\n", format_args!($($line)*)),
        );
    };
}

mod check_config;
mod demo;
mod doctor;
mod emit;
mod healthcheck;
mod private_redis;
mod proof;
mod serve;
mod table;
mod verify;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ProcessEnvironment};

/// Exit code of a command that failed at what it was asked to do.
pub const FAILED: u8 = 1;
/// Exit code for wrong usage or configuration; also what the argument parser uses.
pub const USAGE: u8 = 2;

/// The realtime backend of TrafficJamz. Settings come from the environment; see check-config.
#[derive(Debug, Parser)]
#[command(name = "jamz-server", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pod until SIGTERM or SIGINT (the default)
    Serve,
    /// Run three pods in this process and show that an event on one is heard on all
    Demo(demo::Options),
    /// Show the same on running pods
    Verify(verify::Options),
    Emit(emit::Options),
    /// Look at the Redis behind REDIS_URL and say what must be done
    Doctor,
    /// Check the configuration and show it, without secrets
    CheckConfig,
    /// Ask the pod on this host whether it is alive, for images without curl
    Healthcheck,
    /// Show the version
    Version,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    match Cli::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => with_config(serve::run),
        Command::Demo(options) => demo::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Emit(options) => with_config(|config| emit::run(&config, options)),
        Command::Doctor => with_config(|config| doctor::run(&config)),
        Command::CheckConfig => with_config(|config| check_config::run(&config)),
        Command::Healthcheck => with_config(|config| healthcheck::run(&config)),
        Command::Version => {
            say!("jamz-server {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// Runs a command that needs the configuration; all that is wrong with it is shown at once.
fn with_config(command: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match Config::read(&ProcessEnvironment) {
        Ok(config) => command(config),
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(USAGE)
        }
    }
}

/// Runs to completion on a runtime with a thread for each core.
fn block_on<F: Future<Output = ExitCode>>(future: F) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let code = runtime.block_on(future);
            // Tasks that still run must not hold up the end.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Prints an error with its causes.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprint!("{error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::from(FAILED)
}
