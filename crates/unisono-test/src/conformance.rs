//! What every [`Broker`] must do: one function per clause of its contract.
//!
//! Each takes a maker of three brokers that share a bus, attached to nothing yet. [`run`] goes through all of them.

mod answering;
mod clauses;
mod cluster;

use std::sync::Arc;

use unisono_cluster::{Adapter, Broker};

pub use answering::publishing_from_an_inbox;
pub use clauses::{
    any_bytes_and_names, close_is_final, echo_reaches_the_publisher, inbox_is_told_the_state,
    literal_subscribers_are_counted, nothing_from_before, one_publisher_keeps_its_order,
    oversize_is_refused, patterns_and_literals, publishing_comes_after_subscribing,
    rapid_changes_end_as_said_last, total_order_is_shared, unsubscribing_ends_delivery,
};
pub use cluster::{Cluster, FENCE};

/// Makes three brokers on one bus.
pub type Maker<'a> = &'a dyn Fn() -> Vec<Arc<dyn Broker>>;

/// All clauses, one after another.
///
/// # Panics
/// At the first that is not kept.
pub async fn run(maker: Maker<'_>) {
    inbox_is_told_the_state(maker).await;
    one_publisher_keeps_its_order(maker).await;
    total_order_is_shared(maker).await;
    echo_reaches_the_publisher(maker).await;
    // Sharded publish/subscribe has no patterns.
    if maker()[0].adapter() == Adapter::Classic {
        patterns_and_literals(maker).await;
    }
    unsubscribing_ends_delivery(maker).await;
    rapid_changes_end_as_said_last(maker).await;
    publishing_comes_after_subscribing(maker).await;
    nothing_from_before(maker).await;
    any_bytes_and_names(maker).await;
    publishing_from_an_inbox(maker).await;
    oversize_is_refused(maker).await;
    literal_subscribers_are_counted(maker).await;
    close_is_final(maker).await;
}
