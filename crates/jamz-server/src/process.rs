//! What the system says of this process.

use std::fs;

/// What the process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// CPU time in user and system mode, in seconds.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_files: usize,
    /// When the process started, in seconds since the epoch.
    pub started_seconds: f64,
}

/// Clock ticks a second in `/proc`, a constant of the kernel's interface on all platforms in
/// use.
const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    /// Reads `/proc`; `None` where there is none.
    pub fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold blanks; fields are counted behind it, from 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
        let system = fs::read_to_string("/proc/stat").ok()?;
        let boot = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?;
        let boot: f64 = boot.trim().parse().ok()?;
        Some(Self {
            resident_bytes: kibibytes * 1024,
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count(),
            started_seconds: boot + field(22)? / TICKS_PER_SECOND,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now_ms;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_something_and_started_lately() {
        let usage = Usage::read().unwrap();
        assert!(usage.resident_bytes > 100_000);
        assert!(usage.open_files > 0);
        let now = now_ms() as f64 / 1000.0;
        assert!(usage.started_seconds <= now + 2.0);
        assert!(usage.started_seconds > now - 3600.0);
    }
}
