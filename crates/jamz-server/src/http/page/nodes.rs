//! The conversation with other nodes, in numbers.

use unisono::Io;
use unisono_cluster::NodeStats;

use super::Page;

impl Page {
    /// What the numbers of messages say: their gaps are what was lost on the way.
    pub(super) fn nodes(&mut self, io: &Io) {
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
}
