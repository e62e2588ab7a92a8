//! Other processes seen from outside, through `/proc` (proc(5)), and the limit on open files.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// CPU time a process has used so far, in nanoseconds: user and system time of the threads alive now, as the scheduler counts them.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("process {pid} is gone"))?;
    let mut total = 0;
    for task in tasks {
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        total += text
            .split(' ')
            .next()
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(total)
}

/// Resident memory of a process in KiB.
pub fn rss_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = text
        .lines()
        .find(|line| line.starts_with("Rss:"))
        .context("smaps_rollup has no Rss line")?;
    let number = line
        .split_whitespace()
        .nth(1)
        .context("smaps_rollup's Rss line has no number")?;
    Ok(number.parse()?)
}

/// Open file descriptors of a process.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))
        .with_context(|| format!("process {pid} is gone"))?
        .count())
}

/// What the kernel holds for TCP in KiB, sockets of all processes together (`mem` of /proc/net/sockstat, in pages): it is in nobody's resident memory.
pub fn kernel_tcp_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let pages: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("TCP:")?.split_once(" mem "))
        .and_then(|(_, number)| number.trim().parse().ok())
        .context("sockstat does not tell TCP's memory")?;
    Ok(pages * (rustix::param::page_size() as u64 / 1024))
}

/// Raises the soft limit on open files of this process and its future children to `wanted` if it is lower: beyond the hard limit
/// where the system allows that, else up to it. Gives the limit that holds now.
pub fn raise_open_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX);
    if now.current.unwrap_or(u64::MAX) < wanted {
        let beyond = Rlimit {
            current: Some(wanted),
            maximum: Some(hard.max(wanted)),
        };
        if setrlimit(Resource::Nofile, beyond).is_err() {
            // Lowering the wish to the hard limit cannot fail; if it does, the old limit is what is reported.
            let _ = setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: Some(hard.min(wanted)),
                    maximum: Some(hard),
                },
            );
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_this_very_process() {
        let pid = std::process::id();
        let before = cpu_ns(pid).unwrap();
        let mut number = 1u64;
        while cpu_ns(pid).unwrap() == before {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(rss_kib(pid).unwrap() > 100);
        assert!(open_files(pid).unwrap() >= 3);
        assert!(kernel_tcp_kib().is_ok());
        assert!(cpu_ns(u32::MAX).is_err());
    }
}
