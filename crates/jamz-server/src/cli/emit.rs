//! `emit`: tells clients, or pods, something without being a pod.

mod arguments;

use std::process::ExitCode;

use clap::{ArgGroup, Args};
use unisono::Value;
use unisono_redis::{Emitter, EmitterBroadcast, EmitterError};

use super::{USAGE, block_on, failed};
use crate::config::{Config, RedisSettings, names};
use arguments::{ArgumentError, Arguments};

/// Tell clients something from outside of the pods, through the Redis behind REDIS_URL
///
/// Emits EVENT with its arguments to everybody in the namespace, or to the members of rooms, on all pods. With
/// --join, --leave or --disconnect moves or ends their sockets instead, with --server-side tells the pods
/// themselves. Ends when Redis has taken it and says how many pods listened.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["event", "join", "leave", "disconnect"])))]
#[command(group(ArgGroup::new("whom").multiple(true).args(["rooms", "everybody"])))]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Namespace of the clients
    #[arg(long, default_value = "/")]
    namespace: String,
    /// Only members of this room, or of any of several
    #[arg(long = "room", value_name = "ROOM", allow_hyphen_values = true)]
    rooms: Vec<String>,
    /// Nobody in this room
    #[arg(long, value_name = "ROOM", allow_hyphen_values = true)]
    except: Vec<String>,
    /// Everybody in the namespace, as without --room
    #[arg(long, conflicts_with = "rooms")]
    everybody: bool,
    /// Skip clients that cannot take it at once
    #[arg(long, requires = "event")]
    volatile: bool,
    /// Tell pods whether to compress
    #[arg(long, value_name = "true|false", requires = "event")]
    compress: Option<bool>,
    /// Put the sockets into this room (again for more)
    #[arg(long, value_name = "ROOM", allow_hyphen_values = true)]
    join: Vec<String>,
    /// Take the sockets out of this room (again for more)
    #[arg(long, value_name = "ROOM", allow_hyphen_values = true)]
    leave: Vec<String>,
    /// End the sockets; they do not come back by themselves, so say whose: --room or --everybody
    #[arg(long, requires = "whom")]
    disconnect: bool,
    /// And the connections under them
    #[arg(long, requires = "disconnect")]
    close: bool,
    /// Tell the pods, not their clients
    #[arg(long, requires = "event", conflicts_with_all = ["whom", "except", "volatile", "compress"])]
    server_side: bool,
    /// Name of the event
    event: Option<String>,
    #[command(flatten)]
    arguments: Arguments,
}

const EXAMPLES: &str = "\
Examples:
  jamz-server emit --room lobby news '\"tonight at eight\"' '{\"stage\": 2}'
  jamz-server emit --room lobby playlist --file playlist.json
  jamz-server emit --room lobby --join afterparty
  jamz-server emit --room 5lvXk2gGhVYAAAB --disconnect";

pub(super) fn run(config: &Config, options: Options) -> ExitCode {
    let Some(redis) = &config.redis else {
        eprintln!(
            "{} is not set: say where the Redis of the pods is",
            names::REDIS_URL
        );
        return ExitCode::from(USAGE);
    };
    let arguments = match options.arguments.read() {
        Ok(arguments) => arguments,
        Err(error) => return unreadable(&error),
    };
    block_on(async {
        match emit(redis, options, arguments).await {
            Ok(subscriptions) => conclude(redis, subscriptions),
            Err(error) => {
                let code = failed(&error);
                if error.is_misuse() {
                    ExitCode::from(USAGE)
                } else {
                    code
                }
            }
        }
    })
}

async fn emit(
    redis: &RedisSettings,
    options: Options,
    arguments: Vec<Value>,
) -> Result<u64, EmitterError> {
    let emitter = Emitter::new(redis.config.clone(), &redis.key).of(&options.namespace);
    let target = target(&emitter, &options);
    let arguments = arguments::Spread(arguments);
    match options.event {
        Some(event) if options.server_side => emitter.server_side_emit(&event, &arguments).await,
        Some(event) => target.emit(&event, &arguments).await,
        None if options.disconnect => target.disconnect_sockets(options.close).await,
        None if options.join.is_empty() => target.sockets_leave(options.leave).await,
        None => target.sockets_join(options.join).await,
    }
}

fn target(emitter: &Emitter, options: &Options) -> EmitterBroadcast {
    let everybody = emitter.broadcast();
    let rooms = options.rooms.iter();
    let mut target = rooms.fold(everybody, |target, room| target.to(room));
    for room in &options.except {
        target = target.except(room);
    }
    if options.volatile {
        target = target.volatile();
    }
    match options.compress {
        Some(compress) => target.compress(compress),
        None => target,
    }
}

fn conclude(redis: &RedisSettings, subscriptions: u64) -> ExitCode {
    say!("published, subscriptions that got it: {subscriptions}");
    if subscriptions == 0 {
        eprintln!(
            "warning: nobody listens, so nobody heard it; is {} ({}) that of the pods, and do they serve the namespace?",
            names::REDIS_KEY,
            redis.key
        );
    }
    ExitCode::SUCCESS
}

/// A file that cannot be read is a failure, all else is wrong usage.
fn unreadable(error: &ArgumentError) -> ExitCode {
    let code = failed(error);
    match error {
        ArgumentError::File { .. } => code,
        _ => ExitCode::from(USAGE),
    }
}
