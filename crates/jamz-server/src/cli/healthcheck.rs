//! `healthcheck`: one request to the liveness probe, for images that have no curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::FAILED;
use crate::config::Config;
use crate::http::LIVEZ;

/// How long each step may take. Container runtimes wait 30 s by default; a pod that needs
/// three is not well.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much of the answer is read: the status line is all that matters.
const ANSWER_BYTES: usize = 256;

pub(super) fn run(config: &Config) -> ExitCode {
    match ask(address(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("not alive: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// The admin port on this host.
fn address(config: &Config) -> SocketAddr {
    let host = match config.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    (host, config.admin_port).into()
}

fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {LIVEZ} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    (&mut stream)
        .take(ANSWER_BYTES as u64)
        .read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    if status.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(std::io::Error::other(format!(
        "{address} answered {status:?}"
    )))
}
