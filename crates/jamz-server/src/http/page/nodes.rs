//! The conversation with other nodes, in numbers.

use unisono::{Io, NodeInfo};
use unisono_cluster::NodeStats;

use super::Page;
use crate::app::App;
use crate::http::MAX_NODES_SHOWN;

type Count = fn(&NodeInfo) -> u64;

impl Page {
    /// Where all pods should be. The label comes from the configuration, or from sentinels or a cluster that it names.
    pub(super) fn server(&mut self, app: &App) {
        let name = "unisono_link_server_info";
        self.head(
            name,
            "gauge",
            "1 for the Redis server that the link is on; none while it is on none.",
        );
        if let Some(server) = app.redis_server() {
            self.labelled(name, "server", &label(&server), 1);
        }
    }

    /// What the numbers of messages say: their gaps are what was lost on the way.
    pub(super) fn nodes(&mut self, io: &Io) {
        self.servers(io);
        let stats = io.node_stats();
        let sum = |of: fn(&NodeStats) -> u64| stats.iter().map(|(_, node)| of(node)).sum::<u64>();
        for (name, help, value) in [
            (
                "unisono_node_gaps_total",
                "Messages that other unisono nodes sent and this one never received.",
                sum(|node| node.gaps),
            ),
            (
                "unisono_node_out_of_order_total",
                "Messages of other nodes that came after a later one, or twice.",
                sum(|node| node.out_of_order),
            ),
            (
                "unisono_node_undecodable_total",
                "Messages on the bus that were no broadcast, and no request or answer where those belong.",
                sum(|node| node.undecodable),
            ),
            (
                "unisono_node_echoes_expired_total",
                "Ordered messages of this node that did not come back in time.",
                sum(|node| node.echoes_expired),
            ),
            (
                "unisono_node_requests_total",
                "Requests of other nodes.",
                sum(|node| node.requests),
            ),
            (
                "unisono_node_requests_unknown_total",
                "Requests of other nodes of a type that is not known, ignored.",
                sum(|node| node.requests_unknown),
            ),
            (
                "unisono_node_requests_expired_total",
                "Requests of this node that ended before everybody had answered.",
                sum(|node| node.requests_expired),
            ),
            (
                "unisono_node_answers_late_total",
                "Answers that came after the end of their request, or to none.",
                sum(|node| node.answers_late),
            ),
            (
                "unisono_node_answers_refused_total",
                "Answers that were not what was asked for, repeated or more than is kept.",
                sum(|node| node.answers_refused),
            ),
        ] {
            self.one(name, "counter", help, value);
        }
    }

    /// Who the other pods are, as they say themselves: pods of Node.js do not. Their names are the only labels that are not of a fixed
    /// set; they come from whoever may write to Redis, and no client.
    fn servers(&mut self, io: &Io) {
        let mut nodes = io.nodes();
        let silent = nodes.iter().filter(|node| node.is_silent).count();
        self.head(
            "unisono_nodes",
            "gauge",
            "Other unisono nodes on the bus: heard of, and silent for more than three seconds.",
        );
        for (state, count) in [("heard", nodes.len() - silent), ("silent", silent)] {
            self.labelled("unisono_nodes", "state", state, count as u64);
        }
        self.one(
            "unisono_link_round_trip_seconds",
            "gauge",
            "Time of this pod's last announcement through the bus back to itself.",
            io.link_lag().unwrap_or_default().as_secs_f64(),
        );
        nodes.truncate(MAX_NODES_SHOWN);
        let series: [(&str, &str, Count); 3] = [
            (
                "unisono_peer_received",
                "Messages of another node that came, since it is known.",
                |node| node.received,
            ),
            (
                "unisono_peer_lost",
                "Messages that another node published and this one never received, since it is known.",
                |node| node.lost,
            ),
            (
                "unisono_peer_out_of_order",
                "Messages of another node that came after a later one, or twice, since it is known.",
                |node| node.out_of_order,
            ),
        ];
        for (name, help, of) in series {
            self.head(name, "gauge", help);
            for node in &nodes {
                let id = label(&node.name.id);
                let node_name = label(&node.name.name);
                let labels = format!("{name}{{node=\"{node_name}\",id=\"{id}\"}}");
                self.line(&labels, of(node));
            }
        }
    }
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#);
    escaped.replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_cannot_leave_its_label() {
        assert_eq!(super::label("pod-1"), "pod-1");
        assert_eq!(super::label("a\"} 1\n\\"), r#"a\"} 1\n\\"#);
    }
}
