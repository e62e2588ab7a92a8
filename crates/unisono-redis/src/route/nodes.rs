//! Asking nodes of a cluster where to be.

use std::time::Duration;

use tokio::task::JoinSet;

use super::judgement::ClusterView;
use super::within;
use crate::cluster::{self, Survey};
use crate::config::{Address, RedisConfig};
use crate::connect::{Role, attempt_options};
use crate::failure::Failure;
use crate::limits::{ASK_AT_ONCE, ASK_ROUNDS};

/// Asks these nodes, and then those whose word is missing, until it is clear where to be; gives why something is missing.
pub(super) async fn look(
    config: &RedisConfig,
    mut nodes: Vec<Address>,
    deadline: Duration,
    is_struck: impl Fn(&Address) -> bool,
    view: &mut ClusterView,
) -> Failure {
    let mut failure = Failure::new("no master of the cluster answered");
    for _ in 0..ASK_ROUNDS {
        if nodes.is_empty() {
            break;
        }
        let mut asked = JoinSet::new();
        for node in nodes {
            let config = config.clone();
            asked.spawn(async move {
                let answer = within(deadline, &node, ask(&config, &node)).await;
                (node, answer)
            });
        }
        while let Some(Ok((node, answer))) = asked.join_next().await {
            match answer {
                Ok(survey) => view.take(node, Some(survey)),
                Err(error) => {
                    failure = failure.or(error);
                    view.take(node, None);
                }
            }
            if view.is_decisive(&is_struck) {
                return failure;
            }
        }
        nodes = view.to_ask(ASK_AT_ONCE);
    }
    failure
}

async fn ask(config: &RedisConfig, node: &Address) -> Result<Survey, Failure> {
    let mut connection = config
        .connect(node, Role::Server, &attempt_options())
        .await?;
    cluster::survey(config, node, &mut connection).await
}
