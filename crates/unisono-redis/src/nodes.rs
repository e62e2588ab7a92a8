//! Commands on their way to the server that takes them.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, Value};
use tokio::time::timeout;
use unisono_cluster::Adapter;

use crate::cluster::{Cluster, redirection, slot_of};
use crate::config::Address;
use crate::failure::Failure;
use crate::limits::{COUNT_DEADLINE, MAX_REDIRECTIONS};

/// The link's own server for commands, and the others of its cluster.
#[derive(Clone)]
pub(crate) struct Nodes {
    pub(crate) home: MultiplexedConnection,
    pub(crate) home_address: Address,
    pub(crate) cluster: Option<Arc<Cluster>>,
}

/// A command, and the script that it runs by its hash.
pub(crate) struct Request<'a> {
    pub(crate) command: &'a Cmd,
    pub(crate) script: Option<&'a Script>,
}

/// Why a request failed, and where.
pub(crate) enum RequestError {
    /// Nothing was sent: the node of the cluster that serves the key cannot be reached, or does not let this process in.
    Unreachable(Failure),
    /// At the link's own server.
    Home(RedisError),
    /// At another node of the cluster.
    Elsewhere(RedisError),
}

impl RequestError {
    /// Whether there was no answer, of whatever kind.
    pub(crate) fn is_of_connection(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Home(error) | Self::Elsewhere(error) => {
                error.is_unrecoverable_error() || error.is_timeout()
            }
        }
    }
}

impl Nodes {
    /// Sends a request to the owner of its key's slot, and on where that node says it is wrong. `at` tells which node is being waited
    /// for, `None` being the link's own, to whoever gives up waiting.
    pub(crate) async fn run(
        &self,
        request: &Request<'_>,
        at: &mut Option<Address>,
    ) -> Result<Value, RequestError> {
        let Some(cluster) = &self.cluster else {
            let mut connection = self.home.clone();
            return send(&mut connection, request, false)
                .await
                .map_err(RequestError::Home);
        };
        let mut node = self.owner(cluster, request.command);
        let mut is_asking = false;
        let mut redirections = 0;
        loop {
            *at = (node != self.home_address).then(|| node.clone());
            let mut connection = self.connection(cluster, &node).await?;
            let error = match send(&mut connection, request, is_asking).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if redirections < MAX_REDIRECTIONS
                && let Some((text, slot)) = error.redirect_node()
                && let Some(next) = redirection(text, &node)
            {
                redirections += 1;
                is_asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
                if !is_asking {
                    cluster.note_move(slot, next.clone());
                }
                node = next;
                continue;
            }
            return Err(self.failed(cluster, &node, error));
        }
    }

    /// Sends a command to this node, whatever its key is.
    pub(crate) async fn run_at(
        &self,
        node: &Address,
        command: &Cmd,
    ) -> Result<Value, RequestError> {
        let Some(cluster) = &self.cluster else {
            let mut home = self.home.clone();
            let reply = send_once(&mut home, command, false).await;
            return reply.map_err(RequestError::Home);
        };
        let mut connection = self.connection(cluster, node).await?;
        let reply = send_once(&mut connection, command, false).await;
        reply.map_err(|error| self.failed(cluster, node, error))
    }

    /// `PUBSUB NUMSUB` or `SHARDNUMSUB` of some channels, of all nodes together: each counts those that are connected to itself. Nodes that
    /// cannot be reached count nobody if the cluster takes them for dead; else there is no count.
    pub(crate) async fn count_each(
        &self,
        adapter: Adapter,
        channels: &[String],
    ) -> Result<Vec<usize>, RequestError> {
        let mut question = redis::cmd("PUBSUB");
        question.arg(count_command(adapter)).arg(channels);
        let mut sums = numsub(self.home.clone(), &question)
            .await
            .map_err(RequestError::Home)?;
        let Some(cluster) = &self.cluster else {
            return Ok(sums);
        };
        let mut asked = tokio::task::JoinSet::new();
        for node in cluster.nodes() {
            if node != self.home_address {
                let (nodes, question) = (self.clone(), question.clone());
                asked.spawn(async move {
                    let counting = timeout(COUNT_DEADLINE, nodes.count_at(&node, &question));
                    (counting.await, node)
                });
            }
        }
        let mut unreached = Vec::new();
        for (counts, node) in asked.join_all().await {
            match counts {
                Ok(Ok(counts)) => {
                    for (sum, count) in sums.iter_mut().zip(counts) {
                        *sum += count;
                    }
                }
                Ok(Err(error)) if !error.is_of_connection() => return Err(error),
                Ok(Err(_)) => unreached.push(node),
                Err(_) => {
                    // The next count shall not wait for it again.
                    cluster.give_up(&node);
                    unreached.push(node);
                }
            }
        }
        if unreached.is_empty() || cluster.have_failed(&unreached, self.home.clone()).await {
            return Ok(sums);
        }
        tracing::debug!(?unreached, "nodes of the cluster cannot be counted on");
        Err(RequestError::Unreachable(Failure::new(
            "not every node of the cluster can be counted on",
        )))
    }

    /// How many listen where what is published on a channel goes, as the reply to it would say.
    pub(crate) async fn count_listeners(
        &self,
        adapter: Adapter,
        channel: &str,
    ) -> Result<usize, RequestError> {
        let mut question = redis::cmd("PUBSUB");
        question.arg(count_command(adapter)).arg(channel);
        let owner = match (adapter, &self.cluster) {
            (Adapter::Sharded(_), Some(cluster)) => cluster.owner(slot_of(channel.as_bytes())),
            _ => None,
        };
        let counts = match owner.filter(|owner| *owner != self.home_address) {
            Some(owner) => self.count_at(&owner, &question).await?,
            None => numsub(self.home.clone(), &question)
                .await
                .map_err(RequestError::Home)?,
        };
        Ok(counts.into_iter().sum())
    }

    /// The connection to another node of the cluster is silent.
    pub(crate) fn give_up(&self, node: &Address) {
        if let Some(cluster) = &self.cluster {
            cluster.give_up(node);
        }
    }

    async fn count_at(&self, node: &Address, question: &Cmd) -> Result<Vec<usize>, RequestError> {
        let Some(cluster) = &self.cluster else {
            return Ok(Vec::new());
        };
        let connection = self.connection(cluster, node).await?;
        numsub(connection, question)
            .await
            .map_err(|error| self.failed(cluster, node, error))
    }

    /// Who serves the key of a command; any node will do for one without.
    fn owner(&self, cluster: &Cluster, command: &Cmd) -> Address {
        let slot = key_of(command).map(slot_of);
        let owner = slot.and_then(|slot| cluster.owner(slot));
        owner.unwrap_or_else(|| self.home_address.clone())
    }

    async fn connection(
        &self,
        cluster: &Arc<Cluster>,
        node: &Address,
    ) -> Result<MultiplexedConnection, RequestError> {
        if *node == self.home_address {
            return Ok(self.home.clone());
        }
        cluster.connection(node).await.map_err(|failure| {
            tracing::debug!(node = %node, error = failure.text, "a node of the cluster cannot be reached");
            RequestError::Unreachable(failure)
        })
    }

    fn failed(&self, cluster: &Cluster, node: &Address, error: RedisError) -> RequestError {
        if *node == self.home_address {
            return RequestError::Home(error);
        }
        if error.is_unrecoverable_error() || error.is_timeout() {
            cluster.give_up(node);
        }
        RequestError::Elsewhere(error)
    }
}

/// The right to ask for it.
pub(crate) fn count_right(adapter: Adapter) -> &'static str {
    match adapter {
        Adapter::Classic => "pubsub|numsub",
        Adapter::Sharded(_) => "pubsub|shardnumsub",
    }
}

/// What `PUBSUB` is asked for the number of those who listen to a channel.
pub(crate) fn count_command(adapter: Adapter) -> &'static str {
    match adapter {
        Adapter::Classic => "NUMSUB",
        Adapter::Sharded(_) => "SHARDNUMSUB",
    }
}

/// The key of a command is its first argument, of a script the first behind their number. Where that is wrong, the cluster says so.
fn key_of(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().filter_map(|word| match word {
        Arg::Simple(word) => Some(word),
        _ => None,
    });
    match words.next()? {
        b"INFO" | b"CLIENT" | b"PUBSUB" | b"CONFIG" | b"ACL" | b"CLUSTER" | b"SCRIPT" => None,
        b"EVALSHA" | b"EVAL" => {
            let keys = words.nth(1)?;
            (keys != b"0").then(|| words.next()).flatten()
        }
        _ => words.next(),
    }
}

/// Sends a request to one node, and loads its script there if it has to.
async fn send(
    connection: &mut MultiplexedConnection,
    request: &Request<'_>,
    is_asking: bool,
) -> RedisResult<Value> {
    let reply = send_once(connection, request.command, is_asking).await;
    match (reply, request.script) {
        (Err(error), Some(script))
            if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
        {
            script.load_async(connection).await?;
            send_once(connection, request.command, is_asking).await
        }
        (reply, _) => reply,
    }
}

async fn send_once(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    is_asking: bool,
) -> RedisResult<Value> {
    if !is_asking {
        return connection
            .send_packed_command(command)
            .await?
            .extract_error();
    }
    // In one write, since it holds for the next command on the connection only.
    let mut both = redis::pipe();
    both.cmd("ASKING").add_command(command.clone());
    let replies = connection.send_packed_commands(&both, 0, 2).await?;
    replies
        .into_iter()
        .next_back()
        .unwrap_or(Value::Nil)
        .extract_error()
}

/// In the order of the channels.
async fn numsub(mut connection: MultiplexedConnection, question: &Cmd) -> RedisResult<Vec<usize>> {
    let reply = connection.send_packed_command(question).await?;
    let counts: Vec<(String, usize)> = redis::from_redis_value(reply.extract_error()?)?;
    Ok(counts.into_iter().map(|(_, count)| count).collect())
}
