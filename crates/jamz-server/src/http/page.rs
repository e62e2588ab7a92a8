//! The Prometheus page: every number the pod knows, in the text format 0.0.4.
//!
//! Label values are of fixed sets, and the names of other pods. Nothing a client chooses becomes
//! one, so that clients cannot add series.

mod nodes;

use std::fmt::{Display, Write};

use unisono::{Io, LAG_BUCKETS_US, Stats};
use unisono_cluster::{LinkState, LinkStats};

use crate::app::App;
use crate::metrics::{CommitResult, Refused};
use crate::process::Usage;

/// The page under construction.
pub(super) struct Page(String);

impl Page {
    /// Every number of this moment; `usage` is what the system says of the process, if it says anything.
    pub(super) fn of(app: &App, io: &Io, usage: Option<Usage>) -> Self {
        let mut page = Self(String::with_capacity(8 * 1024));
        page.clients(io);
        page.bus(app, io);
        page.product(app);
        if let Some(usage) = usage {
            page.process(usage);
        }
        page
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn clients(&mut self, io: &Io) {
        let stats = io.stats();
        self.head(
            "unisono_connections",
            "gauge",
            "Open connections by transport.",
        );
        let polling = stats.connections_polling;
        self.labelled("unisono_connections", "transport", "polling", polling);
        let websocket = stats.connections_websocket;
        self.labelled("unisono_connections", "transport", "websocket", websocket);
        self.one(
            "unisono_connections_lingering",
            "gauge",
            "Connections that have ended and whose handlers still run.",
            stats.connections_lingering,
        );
        self.one(
            "unisono_sockets",
            "gauge",
            "Connections times joined namespaces.",
            stats.sockets,
        );
        for (name, help, value) in [
            (
                "unisono_handshakes_total",
                "Connections opened.",
                stats.handshakes,
            ),
            (
                "unisono_upgrades_total",
                "Connections moved from polling to WebSocket.",
                stats.upgrades,
            ),
            (
                "unisono_events_received_total",
                "Events that clients sent.",
                stats.events_received,
            ),
            (
                "unisono_events_sent_total",
                "Events queued for clients, once for each recipient.",
                stats.events_sent,
            ),
            (
                "unisono_volatile_dropped_total",
                "Volatile events dropped because the recipient was busy.",
                stats.volatile_dropped,
            ),
            (
                "unisono_slow_dropped_total",
                "Events dropped to make room for newer ones of a slow reader.",
                stats.slow_dropped,
            ),
            (
                "unisono_slow_replaced_total",
                "Events of a slow reader replaced by newer ones of the same key.",
                stats.slow_replaced,
            ),
        ] {
            self.one(name, "counter", help, value);
        }
        self.reasons(&stats);
    }

    fn reasons(&mut self, stats: &Stats) {
        self.head(
            "unisono_refused_total",
            "counter",
            "Requests, connections and events refused, by reason.",
        );
        for &(reason, count) in &stats.refused {
            self.labelled("unisono_refused_total", "reason", reason, count);
        }
        self.head(
            "unisono_disconnects_total",
            "counter",
            "Sockets that ended, by reason.",
        );
        for &(reason, count) in &stats.disconnects {
            self.labelled("unisono_disconnects_total", "reason", reason, count);
        }
    }

    fn bus(&mut self, app: &App, io: &Io) {
        let now = app.link().state();
        self.head(
            "unisono_link_state",
            "gauge",
            "1 for the state the link to other pods is in.",
        );
        for state in [
            LinkState::Connecting,
            LinkState::Subscribed,
            LinkState::Deaf,
            LinkState::Down,
            LinkState::Local,
        ] {
            let is = u64::from(state == now);
            self.labelled("unisono_link_state", "state", state.as_str(), is);
        }
        self.server(app);
        let degraded = u64::from(app.is_degraded(now));
        self.one(
            "unisono_degraded",
            "gauge",
            "1 while events do not cross pods, or are not stored, although they should.",
            degraded,
        );
        self.bus_counters(&app.link().stats(), &io.stats());
        self.nodes(io);
    }

    fn bus_counters(&mut self, link: &LinkStats, stats: &Stats) {
        for (name, help, value) in [
            (
                "unisono_bus_published_total",
                "Messages handed to the bus. Commits are not among them: the store publishes those.",
                link.published,
            ),
            (
                "unisono_bus_received_total",
                "Messages received from the bus, this pod's own among them.",
                link.received,
            ),
            (
                "unisono_bus_unconfirmed_total",
                "Messages sent when the link broke before the bus confirmed.",
                link.unconfirmed,
            ),
            (
                "unisono_link_reconnects_total",
                "Times the link came back.",
                link.reconnects,
            ),
            (
                "unisono_link_connects_failed_total",
                "Attempts to connect that failed.",
                link.connects_failed,
            ),
            (
                "unisono_link_probe_failures_total",
                "Probes that did not come back in time.",
                link.probes_failed,
            ),
            (
                "unisono_echoes_missed_total",
                "Ordered broadcasts delivered on this pod alone because their echo did not come.",
                stats.echoes_missed,
            ),
        ] {
            self.one(name, "counter", help, value);
        }
        self.bus_buffer(link);
        self.lag(&stats.lag_buckets, stats.lag_sum_us);
    }

    fn bus_buffer(&mut self, link: &LinkStats) {
        self.head(
            "unisono_bus_dropped_total",
            "counter",
            "Messages that were not published, by reason.",
        );
        for (reason, count) in [
            ("too_large", link.dropped_too_large),
            ("buffer_full", link.dropped_buffer_full),
            ("expired", link.dropped_expired),
            ("refused", link.refused),
        ] {
            self.labelled("unisono_bus_dropped_total", "reason", reason, count);
        }
        self.one(
            "unisono_bus_buffered_bytes",
            "gauge",
            "Bytes waiting to be published.",
            link.buffered_bytes,
        );
        self.one(
            "unisono_bus_buffered_messages",
            "gauge",
            "Messages waiting to be published.",
            link.buffered_messages,
        );
    }

    fn lag(&mut self, buckets: &[u64], sum_us: u64) {
        let name = "unisono_bus_lag_seconds";
        self.head(
            name,
            "histogram",
            "Time of this pod's own ordered broadcasts from their sending to their delivery here.",
        );
        let mut count = 0;
        let mut series = String::new();
        for (index, observed) in buckets.iter().enumerate() {
            count += observed;
            let bound = LAG_BUCKETS_US
                .get(index)
                .map_or_else(|| "+Inf".to_owned(), |&us| seconds(us).to_string());
            let _ = writeln!(series, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        self.0.push_str(&series);
        self.line(&format!("{name}_sum"), seconds(sum_us));
        self.line(&format!("{name}_count"), count);
    }

    fn product(&mut self, app: &App) {
        let metrics = app.metrics();
        self.one(
            "jamz_sessions",
            "gauge",
            "Sessions this pod keeps a copy of.",
            metrics.replicas(),
        );
        self.head(
            "jamz_commits_total",
            "counter",
            "Changes of sessions, by what became of them.",
        );
        for result in CommitResult::ALL {
            let count = metrics.commits(result);
            self.labelled("jamz_commits_total", "result", result.as_str(), count);
        }
        self.head(
            "jamz_refused_total",
            "counter",
            "Well-formed events of clients that were dropped, by reason.",
        );
        for reason in Refused::ALL {
            let count = metrics.refused(reason);
            self.labelled("jamz_refused_total", "reason", reason.as_str(), count);
        }
        self.one(
            "jamz_resyncs_total",
            "counter",
            "Sessions whose clients were told the state again.",
            metrics.resyncs(),
        );
        self.one(
            "jamz_refused_sessions",
            "gauge",
            "Sessions that Redis answers for with an error.",
            metrics.refused_sessions(),
        );
        self.one(
            "jamz_implausible_notes_total",
            "counter",
            "Changes of other pods ignored because their revision cannot be.",
            metrics.implausible(),
        );
        let draining = u64::from(app.health().is_draining());
        self.one(
            "jamz_draining",
            "gauge",
            "1 while the pod drains.",
            draining,
        );
        let ready = u64::from(app.health().is_ready());
        self.one("jamz_ready", "gauge", "1 once the pod is ready.", ready);
        self.head(
            "jamz_build_info",
            "gauge",
            "1, with the version of the program.",
        );
        let version = env!("CARGO_PKG_VERSION");
        self.labelled("jamz_build_info", "version", version, 1);
    }

    fn process(&mut self, usage: Usage) {
        self.one(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            usage.resident_bytes,
        );
        self.one(
            "process_cpu_seconds_total",
            "counter",
            "CPU time used.",
            usage.cpu_seconds,
        );
        self.one(
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            usage.open_files,
        );
        self.one(
            "process_start_time_seconds",
            "gauge",
            "Start time since the epoch.",
            usage.started_seconds,
        );
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, value);
    }

    fn line(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str, number: u64) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {number}");
    }
}

/// Precise for every number of microseconds that fits into 53 bits, some 285 years.
#[allow(clippy::cast_precision_loss)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
