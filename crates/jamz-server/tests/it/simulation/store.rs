//! The store as a pod reaches it: over a way that takes time and may lose the question or the answer.

use std::sync::Arc;
use std::time::Duration;

use jamz_server::session::{Change, SessionId, SessionState};
use jamz_server::store::{
    MemoryStore, Outcome, Replaced, SharedSessions, Store, StoreFuture, Unavailable,
};
use tokio::time::sleep;
use unisono_cluster::Template;

use super::net::Net;

/// How long an answer is waited for, as `unisono-redis` has it.
const REPLY_DEADLINE: Duration = Duration::from_secs(1);

pub(super) struct SimulatedStore {
    inner: Arc<MemoryStore>,
    net: Net,
    pod: usize,
}

impl SimulatedStore {
    pub(super) fn new(net: &Net, pod: usize, shared: &SharedSessions) -> Self {
        Self {
            inner: Arc::new(MemoryStore::new(shared.clone(), net.at_bus())),
            net: net.clone(),
            pod,
        }
    }

    /// Asks the true store. A question that is lost may still get there, and later than its asker has given up.
    async fn ask<T, F>(
        &self,
        of: &str,
        step: impl FnOnce(Arc<MemoryStore>) -> F,
    ) -> Result<T, Unavailable>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Unavailable>> + Send + 'static,
    {
        if !self.net.is_up(self.pod) {
            return Err(Unavailable::because("the link is away"));
        }
        let step = step(self.inner.clone());
        if self.net.way(self.pod, of).await.is_none() {
            if self.net.toss(self.pod, of) {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(500)).await;
                    step.await
                });
            }
            sleep(REPLY_DEADLINE).await;
            return Err(Unavailable::because("the question was lost"));
        }
        let answer = step.await;
        if self.net.way(self.pod, of).await.is_none() {
            sleep(REPLY_DEADLINE).await;
            return Err(Unavailable::because("the answer was lost"));
        }
        answer
    }
}

/// For what chance is asked: the default session has no name.
fn name(session: &SessionId) -> &str {
    session.as_deref().unwrap_or_default()
}

impl Store for SimulatedStore {
    fn load<'a>(&'a self, session: &'a SessionId) -> StoreFuture<'a, SessionState> {
        let (of, session) = (name(session), session.clone());
        Box::pin(self.ask(of, |store| async move { store.load(&session).await }))
    }

    fn commit<'a>(
        &'a self,
        change: &'a Change,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Outcome> {
        let of = name(&change.session);
        let (change, messages) = (change.clone(), messages.to_vec());
        Box::pin(self.ask(
            of,
            |store| async move { store.commit(&change, &messages).await },
        ))
    }

    fn replace<'a>(
        &'a self,
        session: &'a SessionId,
        expected_revision: u32,
        state: &'a SessionState,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Replaced> {
        let of = name(session);
        let (session, state, messages) = (session.clone(), state.clone(), messages.to_vec());
        Box::pin(self.ask(of, move |store| async move {
            store
                .replace(&session, expected_revision, &state, &messages)
                .await
        }))
    }
}
