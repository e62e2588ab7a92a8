//! The `jamz-server` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    jamz_server::cli::run()
}
