//! Counters of one [`Io`](crate::Io): plain numbers, for any metrics system to export.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use unisono_proto::connection::CloseReason;

/// Why a request or a connection was refused or ended for something its peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Unknown or disabled transport (HTTP 400, code 0).
    UnknownTransport,
    /// Unknown or closed session id (HTTP 400, code 1). Many of these mean that stickiness is broken.
    UnknownSid,
    /// A handshake that is not a GET (HTTP 400, code 2), or another method than GET and POST on a session (HTTP 500).
    BadMethod,
    /// A request that contradicts its session (HTTP 400, code 3).
    BadRequest,
    /// Refused by the application (HTTP 403, code 4, or CONNECT_ERROR).
    Forbidden,
    /// An Engine.IO version that is not offered (HTTP 400, code 5).
    UnsupportedVersion,
    /// A foreign origin (HTTP 403).
    Origin,
    /// The node drains (HTTP 503).
    Draining,
    /// As many connections as allowed are open (HTTP 503).
    Full,
    /// A body or a message larger than `max_payload`, answers to one broadcast beyond what is kept of them, or an answer to another node that
    /// has not all the sockets, or not all of each, because it would be too large or too deep.
    TooLarge,
    /// A second poll or post at the same time on one session.
    Overlap,
    /// A WebSocket frame that breaks RFC 6455.
    Frame,
    /// An undecodable or misplaced Engine.IO or Socket.IO packet.
    Packet,
    /// No namespace joined in time.
    ConnectTimeout,
    /// A namespace that does not exist.
    Namespace,
    /// An upgrade that failed or did not finish in time.
    Upgrade,
    /// A client that does not read what it is sent.
    SlowReader,
    /// A client that would have opened more namespaces of [`Namespace::matching`](crate::Namespace::matching) than there may be.
    DynamicNamespaces,
    /// A join beyond the rooms that one socket may be in, or a name that is too long.
    Rooms,
    /// An event that a packet middleware dropped.
    Event,
    /// An event whose arguments do not fit the handler.
    Arguments,
    /// A handler, or anything else of the application, that panicked.
    Panic,
    /// A message from another node that cannot be decoded or delivered.
    Bus,
    /// A message lost because deliveries pile up on this node, or something that is not done for another node, or not to its end, because
    /// too much is under way or it takes too long.
    Congestion,
    /// More handshakes than the node takes (HTTP 503).
    HandshakeRate,
    /// As many sessions as allowed are open from the client's address (HTTP 429).
    AddressLimit,
    /// The application did not decide about a handshake in time (HTTP 503).
    AllowTimeout,
    /// A client that sends packets faster than it may.
    EventRate,
    /// A client that sends bytes faster than it may.
    ByteRate,
}

impl Refusal {
    /// Every reason, in the order of the counters.
    pub const ALL: &'static [Self] = &[
        Self::UnknownTransport,
        Self::UnknownSid,
        Self::BadMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::UnsupportedVersion,
        Self::Origin,
        Self::Draining,
        Self::Full,
        Self::TooLarge,
        Self::Overlap,
        Self::Frame,
        Self::Packet,
        Self::ConnectTimeout,
        Self::Namespace,
        Self::Upgrade,
        Self::SlowReader,
        Self::DynamicNamespaces,
        Self::Rooms,
        Self::Event,
        Self::Arguments,
        Self::Panic,
        Self::Bus,
        Self::Congestion,
        Self::HandshakeRate,
        Self::AddressLimit,
        Self::AllowTimeout,
        Self::EventRate,
        Self::ByteRate,
    ];

    /// The label value for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTransport => "unknown_transport",
            Self::UnknownSid => "unknown_sid",
            Self::BadMethod => "bad_method",
            Self::BadRequest => "bad_request",
            Self::Forbidden => "forbidden",
            Self::UnsupportedVersion => "unsupported_version",
            Self::Origin => "origin",
            Self::Draining => "draining",
            Self::Full => "full",
            Self::TooLarge => "too_large",
            Self::Overlap => "overlap",
            Self::Frame => "frame",
            Self::Packet => "packet",
            Self::ConnectTimeout => "connect_timeout",
            Self::Namespace => "namespace",
            Self::Upgrade => "upgrade",
            Self::SlowReader => "slow_reader",
            Self::DynamicNamespaces => "dynamic_namespaces",
            Self::Rooms => "rooms",
            Self::Event => "event",
            Self::Arguments => "arguments",
            Self::Panic => "panic",
            Self::Bus => "bus",
            Self::Congestion => "congestion",
            Self::HandshakeRate => "handshake_rate",
            Self::AddressLimit => "address_limit",
            Self::AllowTimeout => "allow_timeout",
            Self::EventRate => "event_rate",
            Self::ByteRate => "byte_rate",
        }
    }
}

/// Upper bounds of the lag histogram's buckets, in microseconds. A last bucket without bound follows.
pub const LAG_BUCKETS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000,
];

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) polling: AtomicI64,
    pub(crate) websocket: AtomicI64,
    /// Sessions whose task still runs: beyond the open ones, those whose handlers have not finished.
    pub(crate) tasks: AtomicUsize,
    pub(crate) sockets: AtomicI64,
    pub(crate) joining: AtomicI64,
    pub(crate) probing: AtomicI64,
    pub(crate) acks_pending: AtomicI64,
    pub(crate) dynamic_namespaces: AtomicI64,
    pub(crate) handshakes: AtomicU64,
    pub(crate) upgrades: AtomicU64,
    pub(crate) events_received: AtomicU64,
    pub(crate) events_sent: AtomicU64,
    pub(crate) volatile_dropped: AtomicU64,
    pub(crate) slow_dropped: AtomicU64,
    pub(crate) slow_replaced: AtomicU64,
    pub(crate) echoes_missed: AtomicU64,
    pub(crate) lag: LagHistogram,
    refused: [AtomicU64; Refusal::ALL.len()],
    disconnects: [AtomicU64; CloseReason::ALL.len()],
}

/// How long this node's own ordered broadcasts took from their publish (a commit: from before its script) to their delivery here.
#[derive(Debug, Default)]
pub(crate) struct LagHistogram {
    buckets: [AtomicU64; LAG_BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl LagHistogram {
    pub(crate) fn observe_us(&self, us: u64) {
        let bucket = LAG_BUCKETS_US.partition_point(|&bound| bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }
}

impl Counters {
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn disconnected(&self, reason: CloseReason) {
        self.disconnects[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let gauge = |value: &AtomicI64| u64::try_from(value.load(Relaxed)).unwrap_or(0);
        let (polling, websocket) = (gauge(&self.polling), gauge(&self.websocket));
        let tasks = self.tasks.load(Relaxed) as u64;
        Stats {
            connections_polling: polling,
            connections_websocket: websocket,
            connections_lingering: tasks.saturating_sub(polling + websocket),
            sockets: gauge(&self.sockets),
            joining: gauge(&self.joining),
            probing: gauge(&self.probing),
            acks_pending: gauge(&self.acks_pending),
            dynamic_namespaces: gauge(&self.dynamic_namespaces),
            handshakes: self.handshakes.load(Relaxed),
            upgrades: self.upgrades.load(Relaxed),
            events_received: self.events_received.load(Relaxed),
            events_sent: self.events_sent.load(Relaxed),
            volatile_dropped: self.volatile_dropped.load(Relaxed),
            slow_dropped: self.slow_dropped.load(Relaxed),
            slow_replaced: self.slow_replaced.load(Relaxed),
            echoes_missed: self.echoes_missed.load(Relaxed),
            refused: Refusal::ALL
                .iter()
                .map(|&r| (r.as_str(), self.refused[r as usize].load(Relaxed)))
                .collect(),
            disconnects: CloseReason::ALL
                .iter()
                .map(|&r| (r.as_str(), self.disconnects[r as usize].load(Relaxed)))
                .collect(),
            lag_buckets: self.lag.buckets.iter().map(|b| b.load(Relaxed)).collect(),
            lag_sum_us: self.lag.sum_us.load(Relaxed),
        }
    }
}

/// A reading of all counters. Gauges are of this moment; everything else only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Open long-polling sessions.
    pub connections_polling: u64,
    /// Open WebSocket sessions.
    pub connections_websocket: u64,
    /// Sessions that have ended and whose handlers still run; they count in every limit of connections.
    pub connections_lingering: u64,
    /// Sockets, that is connections times joined namespaces.
    pub sockets: u64,
    /// Sessions that have not joined a namespace yet; each has the connect time-out to do so.
    pub joining: u64,
    /// WebSockets that want to take over a polling session and have not finished their probe; each has the upgrade time-out to do so.
    pub probing: u64,
    /// Answers to events that are waited for.
    pub acks_pending: u64,
    /// Namespaces of [`Namespace::matching`](crate::Namespace::matching) that exist now.
    pub dynamic_namespaces: u64,
    /// Sessions opened.
    pub handshakes: u64,
    /// Sessions that moved from polling to WebSocket.
    pub upgrades: u64,
    /// Events that clients sent.
    pub events_received: u64,
    /// Events queued for clients; a broadcast counts once for each recipient.
    pub events_sent: u64,
    /// Volatile events dropped because the recipient was not ready.
    pub volatile_dropped: u64,
    /// Events dropped to make room in the queue of a client that does not read; see
    /// [`SlowReaders::DropOldest`](crate::SlowReaders::DropOldest).
    pub slow_dropped: u64,
    /// Events dropped because a newer one of the same key came while they waited; see
    /// [`SlowReaders::KeepLatest`](crate::SlowReaders::KeepLatest).
    pub slow_replaced: u64,
    /// Ordered broadcasts whose echo did not come back in time. They were delivered on this node alone, except commits whose outcome was
    /// never heard of: those are for whoever reads the state again when the link is back.
    pub echoes_missed: u64,
    /// Refusals by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Ended sockets by reason.
    pub disconnects: Vec<(&'static str, u64)>,
    /// Observations in each bucket of [`LAG_BUCKETS_US`], and beyond the last (not cumulative).
    pub lag_buckets: Vec<u64>,
    /// Sum of the observed lags in microseconds.
    pub lag_sum_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_counter_and_name() {
        let counters = Counters::default();
        for (index, &refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal as usize, index);
            counters.refuse(refusal);
        }
        let stats = counters.snapshot();
        assert!(stats.refused.iter().all(|&(_, n)| n == 1));
        let names: std::collections::HashSet<_> = stats.refused.iter().map(|r| r.0).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        for (index, &reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn a_lag_falls_into_the_first_bucket_that_holds_it() {
        let histogram = LagHistogram::default();
        for us in [100, 101, 3_000_000] {
            histogram.observe_us(us);
        }
        let counts: Vec<_> = histogram.buckets.iter().map(|b| b.load(Relaxed)).collect();
        assert_eq!((counts[0], counts[1], counts[12]), (1, 1, 1));
    }
}
