//! A `redis-server` of our own for the demo: free port, nothing on disk, gone with us.

use std::io;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use unisono_redis::redis;

/// How long the server may take to start; it takes some 50 ms.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Pause between attempts to reach it.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// A running server, killed when dropped.
pub(super) struct PrivateRedis {
    child: Child,
    url: String,
}

impl PrivateRedis {
    /// Starts one; `Ok(None)` if `redis-server` is not installed.
    pub(super) async fn start() -> io::Result<Option<Self>> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let port_text = port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port_text, "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let url = format!("redis://127.0.0.1:{port}");
        let server = Self { child, url };
        server.answered().await?;
        Ok(Some(server))
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    async fn answered(&self) -> io::Result<()> {
        let started = Instant::now();
        let client = redis::Client::open(self.url.as_str()).map_err(io::Error::other)?;
        loop {
            match client.get_multiplexed_async_connection().await {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > START_LIMIT => {
                    return Err(io::Error::other(error));
                }
                Err(_) => tokio::time::sleep(RETRY_EVERY).await,
            }
        }
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
