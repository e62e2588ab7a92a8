//! A redis-server seen from outside: the few words that a measurement needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A Redis that does not answer within this is part of what went wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, which asks and waits.
pub struct Redis(BufReader<TcpStream>);

/// What all clients together have made it do since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes that it sent.
    pub output_bytes: u64,
    /// How often it read from a client: commands that came together are read together.
    pub reads: u64,
}

impl Redis {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// What it counted so far, these questions included.
    pub fn traffic(&mut self) -> Result<Traffic> {
        let text = self.command("INFO stats")?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.strip_prefix(':')?.trim().parse().ok());
            number.with_context(|| format!("redis does not tell {name}"))
        };
        Ok(Traffic {
            output_bytes: number("total_net_output_bytes")?,
            reads: number("total_reads_processed")?,
        })
    }

    /// Sends a command of words without spaces and gives its reply, if that is a number, a status or a text.
    pub fn command(&mut self, command: &str) -> Result<String> {
        write!(self.0.get_mut(), "{command}\r\n")?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        let Some(length) = line.strip_prefix('$') else {
            match line.strip_prefix([':', '+']) {
                Some(reply) => return Ok(reply.to_owned()),
                None => bail!("redis answered {line:?} to {command}"),
            }
        };
        let mut text = vec![0; length.parse::<usize>()? + "\r\n".len()];
        self.0.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }
}
