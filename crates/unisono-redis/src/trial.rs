//! Whether a server lets a link do what it does.

use redis::Value;
use redis::aio::MultiplexedConnection;
use unisono_cluster::Adapter;

use crate::config::RedisConfig;
use crate::failure::{Deed, Failure};
use crate::nodes::{count_command, count_right};

/// Gives the connection its name and tries everything on `channel`, which only we listen to, in one round trip: subscribing, publishing,
/// counting. What only requests need is no reason to have no link: that it is refused is told beside.
///
/// # Errors
/// Without one of the others there can be no link.
pub(crate) async fn attempt(
    connection: &mut MultiplexedConnection,
    config: &RedisConfig,
    name: &str,
    channel: &str,
) -> Result<Option<Failure>, Failure> {
    let (user, adapter) = (config.user(), config.adapter);
    let subscribe = match adapter {
        Adapter::Classic => "SUBSCRIBE",
        Adapter::Sharded(_) => "SSUBSCRIBE",
    };
    let mut questions = redis::pipe();
    questions.add_command(config.naming(name));
    questions.cmd(subscribe).arg(channel);
    questions
        .cmd(adapter.publish_command())
        .arg(channel)
        .arg("");
    questions
        .cmd("PUBSUB")
        .arg(count_command(adapter))
        .arg(channel);
    let replies = connection.send_packed_commands(&questions, 0, 4).await?;
    let mut replies = replies.into_iter();
    let mut reply = || replies.next().unwrap_or(Value::Nil).extract_error();
    // A name only helps whoever reads CLIENT LIST.
    let _ = reply();
    reply().map_err(|error| Failure::of(&error, user, Deed::SubscribeProbe(adapter, channel)))?;
    reply().map_err(|error| Failure::of(&error, user, Deed::Publish(adapter, channel)))?;
    let uncounted = reply()
        .err()
        .map(|error| Failure::of(&error, user, Deed::Command(count_right(adapter))));
    match uncounted {
        Some(failure) if !failure.is_refusal => Err(failure),
        uncounted => Ok(uncounted),
    }
}
