//! `doctor`: one line for each thing that Redis must offer, and what to do where it does not.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::time::timeout;
use unisono_redis::redis::aio::MultiplexedConnection;
use unisono_redis::redis::{self, Cmd, FromRedisValue, RedisError, RedisResult, Script};

use super::{FAILED, block_on, table};
use crate::config::{Config, RedisSettings, names};

/// How long Redis may take to answer one question.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many round trips are measured.
const PINGS: usize = 20;
/// Round trips above this make every event feel late: 100 ms from pod to pod is the promise.
const SLOW: Duration = Duration::from_millis(20);
/// Protocol version 3, which the link uses, came with this major version.
const OLDEST_MAJOR: u32 = 6;

/// What was found; remembers whether something must be done.
#[derive(Default)]
struct Findings {
    must_act: bool,
}

impl Findings {
    fn good(&self, what: &str, found: impl Display) {
        say!("ok    {what}: {found}");
    }

    fn note(&self, what: &str, found: impl Display) {
        say!("note  {what}: {found}");
    }

    fn bad(&mut self, what: &str, found: impl Display, advice: &str) {
        self.must_act = true;
        say!("FAIL  {what}: {found}; {advice}");
    }
}

pub(super) fn run(config: &Config) -> ExitCode {
    let Some(redis) = &config.redis else {
        say!(
            "note  {} is not set: the pod runs in single-instance mode, and pods do not hear each other",
            names::REDIS_URL
        );
        return ExitCode::SUCCESS;
    };
    block_on(async {
        let mut findings = Findings::default();
        examine(redis, &mut findings).await;
        if findings.must_act {
            ExitCode::from(FAILED)
        } else {
            ExitCode::SUCCESS
        }
    })
}

async fn examine(settings: &RedisSettings, findings: &mut Findings) {
    let shown = settings.config.redacted_url();
    let mut connection = match connect(&settings.url).await {
        Ok(connection) => connection,
        Err(error) => {
            let advice = "check that Redis runs, that its name resolves, that the password is right and that a network policy lets this pod out";
            return findings.bad("reachable", format!("{shown}: {error}"), advice);
        }
    };
    findings.good("reachable", shown);
    latency(&mut connection, findings).await;
    version(&mut connection, findings).await;
    eviction(&mut connection, findings).await;
    rights(&mut connection, &settings.key, findings).await;
    round_trip(settings, &mut connection, findings).await;
    nodes(&mut connection, &settings.key, findings).await;
}

async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    let client = redis::Client::open(url)?;
    timeout(PATIENCE, client.get_multiplexed_async_connection())
        .await
        .unwrap_or_else(|_| Err(late()))
}

async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
) -> RedisResult<T> {
    timeout(PATIENCE, command.query_async(connection))
        .await
        .unwrap_or_else(|_| Err(late()))
}

fn late() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 3 s").into()
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

async fn latency(connection: &mut MultiplexedConnection, findings: &mut Findings) {
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let started = Instant::now();
        if let Err(error) = ask::<String>(connection, &command(&["PING"])).await {
            return findings.bad(
                "latency",
                error,
                "allow PING, and look at the load of Redis",
            );
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let (median, worst) = (times[PINGS / 2], times[PINGS - 1]);
    let found = format!(
        "median {}, worst {}",
        table::time(median),
        table::time(worst)
    );
    if median > SLOW {
        findings.bad(
            "latency",
            found,
            "put Redis near the pods, or give it more CPU",
        );
    } else {
        findings.good("latency", found);
    }
}

async fn version(connection: &mut MultiplexedConnection, findings: &mut Findings) {
    match info(connection, "server", "redis_version").await {
        Ok(Some(version)) => {
            let major = version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok());
            if major.is_some_and(|major: u32| major >= OLDEST_MAJOR) {
                findings.good("version", version);
            } else {
                findings.bad("version", version, "use Redis 6 or later, or Valkey");
            }
        }
        Ok(None) => findings.note("version", "not told"),
        Err(error) => findings.note("version", error),
    }
}

async fn eviction(connection: &mut MultiplexedConnection, findings: &mut Findings) {
    let policy = info(connection, "memory", "maxmemory_policy").await;
    let limit = info(connection, "memory", "maxmemory").await;
    let (Ok(Some(policy)), Ok(Some(limit))) = (policy, limit) else {
        return findings.note(
            "eviction",
            "not told; make sure that maxmemory-policy is noeviction",
        );
    };
    let found = format!("maxmemory-policy {policy}, maxmemory {limit} bytes");
    if policy == "noeviction" || limit == "0" {
        findings.good("eviction", found);
    } else {
        let advice =
            "set maxmemory-policy noeviction: sessions could vanish while people are in them";
        findings.bad("eviction", found, advice);
    }
}

async fn info(
    connection: &mut MultiplexedConnection,
    section: &str,
    field: &str,
) -> RedisResult<Option<String>> {
    let text: String = ask(connection, &command(&["INFO", section])).await?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.map(str::to_owned))
}

/// Does what a pod does, on a key and a channel that nobody uses.
async fn rights(connection: &mut MultiplexedConnection, key: &str, findings: &mut Findings) {
    const TRIAL: &str = "redis.call('HSET', KEYS[1], 'a', '1') \
        redis.call('EXPIRE', KEYS[1], 10) \
        redis.call('PUBLISH', ARGV[1], '') \
        redis.call('DEL', KEYS[1]) \
        return redis.call('HGETALL', KEYS[1])";
    let script = Script::new(TRIAL);
    let mut trial = script.prepare_invoke();
    trial.key("jamz:doctor").arg(format!("{key}-doctor"));
    let done = timeout(PATIENCE, trial.invoke_async::<redis::Value>(connection)).await;
    match done.unwrap_or_else(|_| Err(late())) {
        Ok(_) => findings.good("rights", "scripts may write sessions and publish"),
        Err(error) => {
            let advice = "give the user +@scripting +@hash +expire +del +publish +psubscribe +subscribe, keys ~jamz:* and channels &<REDIS_KEY>* and &<REDIS_KEY>#/#*";
            findings.bad("rights", error, advice);
        }
    }
}

async fn round_trip(
    settings: &RedisSettings,
    connection: &mut MultiplexedConnection,
    findings: &mut Findings,
) {
    let advice = "allow subscribe and publish on channels &<REDIS_KEY>*, and psubscribe on the very pattern &<REDIS_KEY>#/#*";
    match timeout(PATIENCE, pub_sub(settings, connection)).await {
        Ok(Ok(time)) => findings.good("pub/sub round trip", table::time(time)),
        Ok(Err(error)) => findings.bad("pub/sub round trip", error, advice),
        Err(_) => findings.bad(
            "pub/sub round trip",
            "no message came back within 3 s",
            advice,
        ),
    }
}

async fn pub_sub(
    settings: &RedisSettings,
    connection: &mut MultiplexedConnection,
) -> RedisResult<Duration> {
    let channel = format!("{}-doctor-{}", settings.key, std::process::id());
    let client = redis::Client::open(settings.url.as_str())?;
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe(&channel).await?;
    let started = Instant::now();
    let _: i64 = command(&["PUBLISH", &channel, "x"])
        .query_async(connection)
        .await?;
    // Whoever calls bounds the wait.
    let _ = listener.on_message().next().await;
    Ok(started.elapsed())
}

async fn nodes(connection: &mut MultiplexedConnection, key: &str, findings: &mut Findings) {
    let clients: RedisResult<String> =
        ask(connection, &command(&["CLIENT", "LIST", "TYPE", "PUBSUB"])).await;
    match clients {
        Ok(clients) => {
            let listening = |line: &&str| {
                line.split(' ')
                    .any(|f| f.starts_with("psub=") && f != "psub=0")
            };
            let count = clients.lines().filter(listening).count();
            findings.note(
                "pods seen",
                format!("{count} connection(s) listen to a pattern"),
            );
        }
        Err(_) => findings.note(
            "pods seen",
            "not countable without the right to CLIENT LIST",
        ),
    }
    let requests = format!("{key}-request#/#");
    let answering: RedisResult<(String, i64)> =
        ask(connection, &command(&["PUBSUB", "NUMSUB", &requests])).await;
    if let Ok((_, count)) = answering {
        findings.note("pods that answer requests", count);
    }
}
