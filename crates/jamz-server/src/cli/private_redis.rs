//! A `redis-server` of our own for the demo: free port, nothing on disk, gone with us.

use std::io;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use unisono_redis::redis;

/// How long the server may take to start; it takes some 50 ms.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How many ports are tried: each may be taken by another program before Redis has it.
const START_ATTEMPTS: usize = 5;
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
        for _ in 0..START_ATTEMPTS {
            let Some(mut server) = Self::launch()? else {
                return Ok(None);
            };
            if server.answers().await? {
                return Ok(Some(server));
            }
        }
        Err(io::Error::other(
            "it ends by itself, whichever port it gets",
        ))
    }

    fn launch() -> io::Result<Option<Self>> {
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
        let url = format!("redis://127.0.0.1:{port}");
        match child {
            Ok(child) => Ok(Some(Self { child, url })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it answers; `false` if it has ended, as it does when somebody else has taken its port meanwhile.
    async fn answers(&mut self) -> io::Result<bool> {
        let started = Instant::now();
        let client = redis::Client::open(self.url.as_str()).map_err(io::Error::other)?;
        loop {
            // Looked at first: who answers at the port of one that has ended is a stranger.
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            match client.get_multiplexed_async_connection().await {
                Ok(mut connection) => return self.is_reached_by(&mut connection).await,
                Err(error) if started.elapsed() > START_LIMIT => {
                    return Err(io::Error::other(error));
                }
                Err(_) => tokio::time::sleep(RETRY_EVERY).await,
            }
        }
    }

    /// Whether it is our own process that answers.
    async fn is_reached_by(
        &self,
        connection: &mut redis::aio::MultiplexedConnection,
    ) -> io::Result<bool> {
        let mut info = redis::cmd("INFO");
        let info: String = info
            .arg("server")
            .query_async(connection)
            .await
            .map_err(io::Error::other)?;
        let own = format!("process_id:{}", self.child.id());
        Ok(info.lines().any(|line| line.trim() == own))
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
