//! `doctor`: one line for each thing that Redis must offer, and what to do where it does not.
//!
//! Looks through a link as a pod has it, so whatever stands between a pod and its Redis is met here too.

use std::error::Error as _;
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;
use unisono_cluster::classic::{Subscriptions, request_channel};
use unisono_cluster::sharded::main_channel;
use unisono_cluster::{Adapter, Broker, Inbox, LinkState, Subscription};
use unisono_redis::redis::{self, Cmd, FromRedisValue, Value};
use unisono_redis::{CommandError, Commander, RedisBroker};

use super::{FAILED, block_on, table};
use crate::config::{Config, RedisSettings, names};
use crate::store::{Trial, acl_rules, answers_to, try_rights};

/// How long the link may take, which tries again after each failure, and then a message to come back.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many round trips are measured.
const PINGS: usize = 20;
/// Round trips above this make every event feel late: 100 ms from pod to pod is the promise.
const SLOW: Duration = Duration::from_millis(20);
/// Protocol version 3, which the link uses, came with this major version.
const OLDEST_MAJOR: u32 = 6;
/// Sharded publish/subscribe came with this one.
const OLDEST_SHARDED_MAJOR: u32 = 7;

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
    let ear = Arc::new(Ear::new(settings));
    let broker = RedisBroker::start(settings.config.clone());
    broker.attach(ear.clone());
    for subscription in ear.subscriptions(settings) {
        broker.subscribe(subscription);
    }
    if !joined(&broker, settings, findings).await {
        return;
    }
    let commander = broker.commander();
    for server in Server::all(&commander) {
        latency(&server, findings).await;
        version(&server, settings.config.adapter(), findings).await;
        eviction(&server, findings).await;
    }
    rights(&commander, settings, findings).await;
    round_trip(&broker, &ear, findings).await;
    nodes(&broker, settings, findings).await;
    broker.close();
}

/// The Redis of the link, or one of the masters of its cluster.
struct Server<'a> {
    commander: &'a Commander,
    master: Option<String>,
}

impl<'a> Server<'a> {
    fn all(commander: &'a Commander) -> Vec<Self> {
        let masters = commander.masters();
        let one = masters.is_empty().then_some(None);
        let masters = masters.into_iter().map(Some).chain(one);
        let server = |master| Self { commander, master };
        masters.map(server).collect()
    }

    /// What is looked at here.
    fn named(&self, what: &str) -> String {
        match &self.master {
            Some(master) => format!("{what} of {master}"),
            None => what.to_owned(),
        }
    }

    async fn query(&self, command: &Cmd) -> Result<Value, CommandError> {
        match &self.master {
            Some(master) => self.commander.query_at(master, command).await,
            None => self.commander.query(command).await,
        }
    }

    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, String> {
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        let reply = self.query(&command).await.map_err(|error| told(&error))?;
        redis::from_redis_value(reply).map_err(|error| error.to_string())
    }

    async fn info(&self, section: &str, field: &str) -> Result<Option<String>, String> {
        let text: String = self.ask(&["INFO", section]).await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.map(str::to_owned))
    }
}

/// With what Redis said, or why it was not asked.
fn told(error: &CommandError) -> String {
    match error
        .detail()
        .map(str::to_owned)
        .or_else(|| Some(error.source()?.to_string()))
    {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    }
}

/// Listens for the one message of the doctor.
struct Ear {
    id: String,
    channel: String,
    heard: Notify,
}

impl Ear {
    fn new(settings: &RedisSettings) -> Self {
        // Where answers to a node of this name would come: pods may publish and listen there.
        let id = format!("doctor-{}", std::process::id());
        Self {
            channel: answers_to(settings.config.adapter(), &settings.key, &id),
            id,
            heard: Notify::new(),
        }
    }

    /// As a pod's, but beside the channel of requests: whoever listens to that is counted as a pod, and waited for.
    fn subscriptions(&self, settings: &RedisSettings) -> Vec<Subscription> {
        let key = &settings.key;
        let own = Subscription::Channel(self.channel.clone());
        match settings.config.adapter() {
            Adapter::Classic => {
                let all = Subscriptions::new(key, "/", &self.id);
                let requests = format!("{}{}#", request_channel(key, "/"), self.id);
                vec![all.broadcasts, own, Subscription::Channel(requests)]
            }
            Adapter::Sharded(_) => vec![own],
        }
    }
}

impl Inbox for Ear {
    fn message(&self, channel: &str, _: Bytes) {
        if channel == self.channel {
            self.heard.notify_one();
        }
    }

    fn link(&self, _: LinkState) {}
}

async fn joined(broker: &RedisBroker, settings: &RedisSettings, findings: &mut Findings) -> bool {
    let shown = settings.config.redacted_url();
    let mut states = broker.watch();
    let up = timeout(PATIENCE, states.wait_for(|state| state.is_up())).await;
    if up.is_ok() {
        findings.good("reachable", shown);
        return true;
    }
    let error = broker
        .last_error()
        .unwrap_or_else(|| "no answer".to_owned());
    match broker.refusal() {
        Some(refusal) => {
            let (user, rules) = (
                settings.config.user(),
                acl_rules(&settings.config, &settings.key),
            );
            let advice = format!("all that a pod needs: ACL SETUSER {user} {rules}");
            findings.bad("let in", format!("{shown}: {refusal}"), &advice);
        }
        None => {
            let advice = "check that Redis runs, that its name resolves, and that a network policy lets this pod out";
            findings.bad("reachable", format!("{shown}: {error}"), advice);
        }
    }
    false
}

async fn latency(server: &Server<'_>, findings: &mut Findings) {
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let started = Instant::now();
        match server.query(&redis::cmd("PING")).await {
            Ok(_) => times.push(started.elapsed()),
            Err(error) if error.is_no_permission() => {
                return findings.note(
                    &server.named("latency"),
                    "not measured without the right to PING",
                );
            }
            Err(error) => {
                let advice = "let the user in on every node, and look at the load of Redis";
                return findings.bad(&server.named("latency"), told(&error), advice);
            }
        }
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
            &server.named("latency"),
            found,
            "put Redis near the pods, or give it more CPU",
        );
    } else {
        findings.good(&server.named("latency"), found);
    }
}

async fn version(server: &Server<'_>, adapter: Adapter, findings: &mut Findings) {
    let (oldest, advice) = match adapter {
        Adapter::Classic => (OLDEST_MAJOR, "use Redis 6 or later, or Valkey"),
        Adapter::Sharded(_) => (
            OLDEST_SHARDED_MAJOR,
            "use Redis 7 or later, or Valkey, or REDIS_ADAPTER=classic",
        ),
    };
    match server.info("server", "redis_version").await {
        Ok(Some(version)) => {
            let major = version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok());
            if major.is_some_and(|major: u32| major >= oldest) {
                findings.good(&server.named("version"), version);
            } else {
                findings.bad(&server.named("version"), version, advice);
            }
        }
        Ok(None) => findings.note(&server.named("version"), "not told"),
        Err(error) => findings.note(&server.named("version"), error),
    }
}

async fn eviction(server: &Server<'_>, findings: &mut Findings) {
    let policy = server.info("memory", "maxmemory_policy").await;
    let limit = server.info("memory", "maxmemory").await;
    let (Ok(Some(policy)), Ok(Some(limit))) = (policy, limit) else {
        return findings.note(
            &server.named("eviction"),
            "not told; make sure that maxmemory-policy is noeviction",
        );
    };
    let found = format!("maxmemory-policy {policy}, maxmemory {limit} bytes");
    if policy == "noeviction" || limit == "0" {
        findings.good(&server.named("eviction"), found);
    } else {
        let advice =
            "set maxmemory-policy noeviction: sessions could vanish while people are in them";
        findings.bad(&server.named("eviction"), found, advice);
    }
}

/// Does what a pod does, on a key and a channel that nobody uses.
async fn rights(commander: &Commander, settings: &RedisSettings, findings: &mut Findings) {
    match try_rights(commander, settings).await {
        Ok(()) => findings.good("rights", "scripts may write sessions and publish"),
        Err(error) => {
            let found = match &error {
                Trial::Refused(refusal) => refusal.clone(),
                Trial::Failed(error) => told(error),
            };
            findings.bad("rights", found, "then run the doctor again");
        }
    }
}

async fn round_trip(broker: &RedisBroker, ear: &Ear, findings: &mut Findings) {
    let started = Instant::now();
    // Accepted whatever comes of it, since nothing waits before it.
    let _ = broker.publish(&ear.channel, Bytes::from_static(b"x"));
    let heard = timeout(PATIENCE, ear.heard.notified()).await;
    match (heard, broker.refusal()) {
        (Ok(()), None) => findings.good("pub/sub round trip", table::time(started.elapsed())),
        (_, Some(refusal)) => findings.bad("pub/sub", refusal, "then run the doctor again"),
        (Err(_), None) => findings.bad(
            "pub/sub round trip",
            "no message came back within 3 s",
            "look at the load of Redis, and between it and this pod",
        ),
    }
}

async fn nodes(broker: &RedisBroker, settings: &RedisSettings, findings: &mut Findings) {
    if let Adapter::Sharded(_) = settings.config.adapter() {
        if let Ok(count) = broker.count(&main_channel(&settings.key, "/")).await {
            findings.note("pods seen", count);
        }
        return;
    }
    let list = ["CLIENT", "LIST", "TYPE", "PUBSUB"];
    let server = Server {
        commander: &broker.commander(),
        master: None,
    };
    match server.ask::<String>(&list).await {
        Ok(clients) => {
            let listening = |line: &&str| {
                line.split(' ')
                    .any(|f| f.starts_with("psub=") && f != "psub=0")
            };
            // The doctor itself is one of them.
            let count = clients.lines().filter(listening).count().saturating_sub(1);
            let found = format!("{count} connection(s) listen to a pattern");
            findings.note("pods seen", found);
        }
        Err(_) => findings.note(
            "pods seen",
            "not countable without the right to CLIENT LIST",
        ),
    }
    if let Ok(count) = broker.count(&request_channel(&settings.key, "/")).await {
        findings.note("pods that answer requests", count);
    }
}
