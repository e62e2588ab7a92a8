//! Pods of the true server on a simulated bus and store, and what is done to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jamz_server::app::{Backing, Pod};
use jamz_server::config::Config;
use jamz_server::session::{SessionId, SessionState};
use jamz_server::store::{MemoryStore, SharedSessions, Store};
use serde_json::json;
use tokio::time::sleep;

use super::client::PollingClient;
use super::net::Net;
use super::script::Step;
use super::sentences::{Client, Ended};
use super::store::SimulatedStore;
use crate::support::settings;

const SESSION: &str = "s";

/// Pods, and clients on them.
pub(super) struct Cluster {
    net: Net,
    shared: SharedSessions,
    pods: Vec<Arc<Pod>>,
    clients: Arc<Mutex<Vec<(PollingClient, String)>>>,
    came: usize,
}

impl Cluster {
    pub(super) async fn start(seed: u64, count: usize, loses: bool) -> Self {
        let net = Net::start(seed, loses);
        let shared = SharedSessions::default();
        let mut pods = Vec::new();
        for _ in 0..count {
            let link = net.end();
            let store = SimulatedStore::new(&net, link.pod, &shared);
            let backing = Backing::Given {
                link: Arc::new(link),
                store: Arc::new(store),
            };
            let config = Config::read(&settings(&[])).expect("the settings are good");
            pods.push(Arc::new(
                Pod::start(config, backing).await.expect("free ports"),
            ));
        }
        let clients = Arc::default();
        let mut cluster = Self {
            net,
            shared,
            pods,
            clients,
            came: 0,
        };
        for pod in 0..count {
            cluster.act(Step::Come { pod });
        }
        cluster
    }

    /// Begins it: nobody waits for what comes of it.
    pub(super) fn act(&mut self, step: Step) {
        match step {
            Step::Come { pod } => self.come(pod, None),
            Step::ComeAfterHealing { pod, after_ms } => self.come(pod, Some(after_ms)),
            Step::Rejoin { client } => self.emit(client, "join-music-session"),
            Step::Take { client } => self.emit(client, "music-take-control"),
            Step::Release { client } => self.emit(client, "music-release-control"),
            Step::Cut {
                pod,
                for_ms,
                is_deaf,
            } => self.net.cut(pod, for_ms, is_deaf),
            Step::CutAll { for_ms } => self.cut_all(for_ms),
            Step::Forget { for_ms } => {
                self.cut_all(for_ms);
                let store = self.store();
                tokio::spawn(async move {
                    let known = stored(&store).await.revision;
                    store
                        .replace(&id(), known, &SessionState::default(), &[])
                        .await
                });
            }
        }
    }

    fn come(&mut self, pod: usize, after_healing_ms: Option<u64>) {
        self.came += 1;
        let user = format!("user{}", self.came);
        let (on, clients) = (self.pods[pod].clone(), self.clients.clone());
        let mut heals = self.net.heals();
        tokio::spawn(async move {
            if let Some(after_ms) = after_healing_ms {
                let _ = heals.changed().await;
                sleep(Duration::from_millis(after_ms)).await;
            }
            let client = PollingClient::connect(&on, pod).await;
            let known = (client.clone(), user.clone());
            clients.lock().expect("nobody panics here").push(known);
            let payload = json!({"sessionId": SESSION, "userId": user});
            client.emit("join-music-session", &payload).await;
        });
    }

    fn cut_all(&self, for_ms: u64) {
        (0..self.pods.len()).for_each(|pod| self.net.cut(pod, for_ms, false));
    }

    fn emit(&self, client: usize, event: &'static str) {
        let clients = self.clients.lock().expect("nobody panics here");
        if clients.is_empty() {
            return;
        }
        let (client, user) = clients[client % clients.len()].clone();
        tokio::spawn(async move {
            let payload = json!({"sessionId": SESSION, "userId": user});
            client.emit(event, &payload).await;
        });
    }

    /// What there is in the end.
    pub(super) async fn end(&self) -> Ended {
        let stored = stored(&self.store()).await;
        let mut pods = Vec::new();
        for pod in &self.pods {
            let entry = pod.app().sessions().open(&id()).await;
            pods.push(entry.expect("there are few").state());
        }
        let clients = self.clients.lock().expect("nobody panics here");
        assert!(clients.len() >= self.pods.len(), "clients cannot connect");
        let clients = clients.iter().map(|(client, user)| Client {
            user: user.clone(),
            pod: client.pod,
            shown: client.shown(),
        });
        let clients = clients.collect();
        Ended {
            stored,
            pods,
            clients,
        }
    }

    fn store(&self) -> MemoryStore {
        MemoryStore::new(self.shared.clone(), self.net.at_bus())
    }
}

fn id() -> SessionId {
    SessionId::Named(SESSION.to_owned())
}

async fn stored(store: &MemoryStore) -> SessionState {
    store.load(&id()).await.expect("it is in memory")
}
