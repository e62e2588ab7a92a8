//! Just enough of the Redis protocol to run commands from a test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Sends one command on a connection of its own; the reply as text, or the error reply.
pub(crate) fn command(
    address: SocketAddr,
    words: &[&str],
    limit: Duration,
) -> Result<String, String> {
    commands(address, &[words], limit)
}

/// Sends commands on one connection; the reply of the last as text, or the first error reply.
pub(crate) fn commands(
    address: SocketAddr,
    commands: &[&[&str]],
    limit: Duration,
) -> Result<String, String> {
    let run = || -> std::io::Result<Result<String, String>> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        let mut request = String::new();
        for words in commands {
            request.push_str(&format!("*{}\r\n", words.len()));
            for word in *words {
                request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
        }
        stream.write_all(request.as_bytes())?;
        let mut stream = BufReader::new(stream);
        let mut last = Ok(String::new());
        for _ in commands {
            last = reply(&mut stream)?;
            if last.is_err() {
                break;
            }
        }
        Ok(last)
    };
    run().map_err(|error| error.to_string()).flatten()
}

fn reply(stream: &mut impl BufRead) -> std::io::Result<Result<String, String>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let count = rest.parse::<i64>().unwrap_or(-1);
    Ok(match kind {
        "-" => Err(rest.to_owned()),
        "$" if count >= 0 => {
            let mut text = vec![0; count as usize + 2];
            stream.read_exact(&mut text)?;
            text.truncate(count as usize);
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        "*" => {
            let mut lines = Vec::new();
            for _ in 0..count {
                match reply(stream)? {
                    Ok(text) => lines.push(text),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(lines.join("\n"))
        }
        _ => Ok(rest.to_owned()),
    })
}
