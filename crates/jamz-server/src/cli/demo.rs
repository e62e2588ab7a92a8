//! `demo`: three pods in this process, and the proof that they are in unison.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;
use unisono_cluster::MemoryBus;

use super::private_redis::PrivateRedis;
use super::proof::Report;
use super::{FAILED, USAGE, block_on, table, verify};
use crate::app::{App, Backing, Pod};
use crate::config::{Config, ConfigErrors, ProcessEnvironment, Source, names};
use crate::store::SharedSessions;

/// As many pods as the manifests run.
const PODS: usize = 3;
/// Changes that are shown one by one.
const ROUNDS: usize = 9;
/// How long the pods may take to find each other.
const JOIN_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Prefix of the demo's channels and keys: it stays away from pods that use the same Redis. Of the settings of Redis all hold but this one.
const DEMO_KEY: &str = "jamz-demo";

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Exit after the proof, with its verdict, instead of staying up
    #[arg(long)]
    once: bool,
}

/// What joins the pods of the demo.
enum Joint {
    Given(String),
    Private(PrivateRedis),
    InProcess(MemoryBus, SharedSessions),
}

pub(super) fn run(options: &Options) -> ExitCode {
    block_on(async {
        match show(options.once).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(FAILED),
            Err(error) => {
                eprintln!("{error:#}");
                let code = if error.is::<ConfigErrors>() {
                    USAGE
                } else {
                    FAILED
                };
                ExitCode::from(code)
            }
        }
    })
}

async fn show(once: bool) -> anyhow::Result<bool> {
    let joint = Joint::find().await?;
    say!("{}", joint.describe());
    let (stop, stopped) = watch::channel(false);
    let mut urls = Vec::new();
    let mut running = Vec::new();
    for number in 1..=PODS {
        let pod = joint.pod(number).await?;
        await_link(pod.app()).await?;
        let address = pod.client_address();
        say!(
            "pod-{number}  http://{address}  (admin http://{})",
            pod.admin_address()
        );
        urls.push(format!("http://{address}"));
        let mut stopped = stopped.clone();
        let told = async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        running.push(tokio::spawn(pod.run(told)));
    }
    say!("\nthree clients, one on each pod; one after another takes control of the music:\n");
    let report = verify::prove(&urls, false, ROUNDS).await?;
    print(&report);
    verify::conclude(&report);
    if !once {
        say!("\nthe pods stay up; end with Ctrl-C");
        tokio::signal::ctrl_c()
            .await
            .context("cannot wait for Ctrl-C")?;
    }
    stop.send_replace(true);
    for pod in running {
        pod.await.context("a pod ended badly")?;
    }
    Ok(report.is_good())
}

fn print(report: &Report) {
    let header = [
        "taken by",
        "client 1 heard",
        "client 2 heard",
        "client 3 heard",
    ];
    let rows: Vec<Vec<String>> = report
        .takes
        .iter()
        .map(|take| {
            let mut row = vec![format!("client {} on pod-{}", take.by + 1, take.by + 1)];
            row.extend(take.heard.iter().map(|heard| match heard {
                Some(time) => format!("after {}", table::time(*time)),
                None => "never".to_owned(),
            }));
            row
        })
        .collect();
    table::print(&header, &rows);
    say!("");
}

async fn await_link(app: &App) -> anyhow::Result<()> {
    let started = Instant::now();
    while !app.link().state().is_up() {
        if started.elapsed() >= JOIN_LIMIT {
            let pod = app.pod_name();
            match app.refusal() {
                Some(refusal) => anyhow::bail!("{pod}: {refusal}"),
                None => anyhow::bail!("{pod} cannot reach Redis; try `jamz-server doctor`"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

impl Joint {
    async fn find() -> anyhow::Result<Self> {
        let url = ProcessEnvironment.text(names::REDIS_URL);
        if let Some(url) = url.filter(|url| !url.trim().is_empty()) {
            return Ok(Self::Given(url));
        }
        let private = PrivateRedis::start().await;
        Ok(match private.context("redis-server does not start")? {
            Some(redis) => Self::Private(redis),
            None => Self::InProcess(MemoryBus::new(), SharedSessions::default()),
        })
    }

    fn describe(&self) -> String {
        match self {
            Self::Given(url) => format!("joined by {} (REDIS_URL)", unisono_redis::redact_url(url)),
            Self::Private(redis) => {
                format!("joined by a redis-server of our own at {}", redis.url())
            }
            Self::InProcess(..) => {
                "joined by the in-process bus, since redis-server is not installed".to_owned()
            }
        }
    }

    async fn pod(&self, number: usize) -> anyhow::Result<Pod> {
        let mut settings = BTreeMap::new();
        let mut set = |name: &str, value: &str| settings.insert(name.to_owned(), value.to_owned());
        set(names::HOST, "127.0.0.1");
        set(names::PORT, "0");
        set(names::ADMIN_PORT, "0");
        set(names::POD_NAME, &format!("pod-{number}"));
        set(names::DRAIN_SECONDS, "1");
        let redis = match self {
            Self::Given(url) => Some(url.as_str()),
            Self::Private(redis) => Some(redis.url()),
            Self::InProcess(..) => None,
        };
        if let Some(url) = redis {
            set(names::REDIS_URL, url);
            set(names::REDIS_KEY, DEMO_KEY);
        }
        if let Self::Given(_) = self {
            let adapter = [names::REDIS_ADAPTER, names::REDIS_SUBSCRIPTION_MODE];
            let how = names::REDIS_ACCESS.into_iter().chain(adapter);
            let said =
                how.filter_map(|name| Some((name.to_owned(), ProcessEnvironment.text(name)?)));
            settings.extend(said);
        }
        let config = Config::read(&settings)?;
        let backing = match self {
            Self::InProcess(bus, sessions) => Backing::InProcess {
                bus: bus.clone(),
                sessions: sessions.clone(),
            },
            _ => Backing::Configured,
        };
        Ok(Pod::start(config, backing).await?)
    }
}
