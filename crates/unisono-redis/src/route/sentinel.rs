//! Asking sentinels who the master is.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use super::judgement::SentinelView;
use super::within;
use crate::config::{Address, RedisConfig};
use crate::connect::{Role, attempt_options};
use crate::failure::{Deed, Failure};

/// The sentinels of one master. All are asked at once: one may be cut off, and believe what was true yesterday.
pub(super) struct Sentinels {
    config: RedisConfig,
    master: String,
    /// For each question.
    deadline: Duration,
    /// Connections from the last time.
    kept: BTreeMap<Address, MultiplexedConnection>,
}

impl Sentinels {
    pub(super) fn new(config: &RedisConfig, master: &str, deadline: Duration) -> Self {
        Self {
            config: config.clone(),
            master: master.to_owned(),
            deadline,
            kept: BTreeMap::new(),
        }
    }

    /// What they say, and the servers that they name; with why something is missing in it.
    pub(super) async fn look(&mut self) -> (SentinelView, Failure) {
        let mut view = SentinelView::default();
        let failure = self.ask_sentinels(&mut view).await;
        let failure = self.ask_servers(&mut view, failure).await;
        (view, failure)
    }

    async fn ask_sentinels(&mut self, view: &mut SentinelView) -> Failure {
        let mut questions = JoinSet::new();
        for address in self.config.addresses.clone() {
            let (config, master) = (self.config.clone(), self.master.clone());
            let (kept, deadline) = (self.kept.remove(&address), self.deadline);
            questions.spawn(async move {
                let asking = ask(&config, &address, &master, kept);
                let answer = within(deadline, &address, asking).await;
                (address, answer)
            });
        }
        let mut failure = Failure::new("no sentinel answered");
        for (address, answer) in questions.join_all().await {
            match answer {
                Ok((connection, named)) => {
                    self.kept.insert(address, connection);
                    view.take_vote(named);
                }
                Err(error) => failure = failure.or(error),
            }
        }
        failure
    }

    async fn ask_servers(&self, view: &mut SentinelView, mut failure: Failure) -> Failure {
        let mut questions = JoinSet::new();
        for address in view.named().cloned() {
            let (config, deadline) = (self.config.clone(), self.deadline);
            questions.spawn(async move {
                let asking = async {
                    let mut connection = config
                        .connect(&address, Role::Server, &attempt_options())
                        .await?;
                    role(&config, &address, &mut connection).await
                };
                let answer = within(deadline, &address, asking).await;
                (address, answer)
            });
        }
        for (address, answer) in questions.join_all().await {
            match answer {
                Ok(role) => {
                    if role != "master" {
                        failure = failure.or(Failure::new(format!(
                            "sentinels name {address} as master, which says that it is a {role}: a failover is under way"
                        )));
                    }
                    view.take_role(address, role == "master");
                }
                Err(error) => failure = failure.or(error),
            }
        }
        failure
    }
}

async fn ask(
    config: &RedisConfig,
    sentinel: &Address,
    master: &str,
    kept: Option<MultiplexedConnection>,
) -> Result<(MultiplexedConnection, Address), Failure> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            config
                .connect(sentinel, Role::Sentinel, &attempt_options())
                .await?
        }
    };
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(master);
    let answer: Result<Option<(String, u16)>, _> = question.query_async(&mut connection).await;
    let user = config.sentinel_login.user.as_deref().unwrap_or("default");
    let deed = Deed::Command("sentinel|get-master-addr-by-name");
    match answer {
        Ok(Some((host, port))) => Ok((connection, Address { host, port })),
        Ok(None) => Err(Failure::new(format!(
            "the sentinel {sentinel} does not know a master named {master:?}: check the name in the URL"
        ))),
        Err(error) => Err(Failure::of(&error, user, deed)),
    }
}

/// What a server says that it is: `master`, `slave`, `sentinel`.
pub(super) async fn role(
    config: &RedisConfig,
    address: &Address,
    connection: &mut MultiplexedConnection,
) -> Result<String, Failure> {
    let answer: Result<Vec<redis::Value>, _> = redis::cmd("ROLE").query_async(connection).await;
    let answer =
        answer.map_err(|error| Failure::of(&error, config.user(), Deed::Command("role")))?;
    let role = answer.into_iter().next().map(redis::from_redis_value);
    match role {
        Some(Ok(role)) => Ok(role),
        _ => Err(Failure::new(format!(
            "{address} gave no readable answer to ROLE"
        ))),
    }
}
