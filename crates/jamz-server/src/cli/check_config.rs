//! `check-config`: what the pod would run with, without secrets.

use std::process::ExitCode;

use crate::config::Config;

pub(super) fn run(config: &Config) -> ExitCode {
    for line in config.redacted() {
        say!("{line}");
    }
    ExitCode::SUCCESS
}
