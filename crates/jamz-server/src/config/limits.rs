//! What clients may ask of a pod.

use std::fmt;

use unisono::IpNet;

/// The burst of a rate for which none is given: ten seconds' worth.
const BURST_SECONDS: u32 = 10;

/// What clients may ask of a pod. What is absent is not limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes of all clients together.
    pub handshakes: Option<Rate>,
    /// Packets of one client.
    pub events: Option<Rate>,
    /// Bytes of one client.
    pub bytes: Option<Rate>,
    /// Connections of one client address.
    pub connections_per_address: Option<u32>,
    /// Networks of the proxies in front.
    pub trusted_proxies: Vec<IpNet>,
}

/// So many a second, and so many at once after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Rate {
    /// `100` or `100:1000`: per second, and at once.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (per_second, burst) = match text.split_once(':') {
            Some((per_second, burst)) => (per_second.parse().ok()?, Some(burst.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let burst = burst.unwrap_or(u32::saturating_mul(per_second, BURST_SECONDS));
        (per_second > 0 && burst > 0).then_some(Self { per_second, burst })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.per_second, self.burst)
    }
}

/// A network such as `10.0.0.0/8`, or a single address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let address = || text.parse().ok().map(|ip: std::net::IpAddr| ip.into());
    text.parse().ok().or_else(address)
}

/// `off`, or whatever it is.
pub(super) fn or_off<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    match text {
        "off" => Some(None),
        text => parse(text).map(Some),
    }
}

/// `off`, or the value.
pub(super) fn show<T: fmt::Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "off".to_owned(), T::to_string)
}
