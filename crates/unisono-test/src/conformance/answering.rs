//! The clause on inboxes that use their broker.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use unisono_cluster::{Broker, Inbox, LinkState, Subscription};

use super::{FENCE, Maker};
use crate::recorder::Recorder;

/// An inbox may use its broker from inside a call; what it publishes comes after what it was given.
pub async fn publishing_from_an_inbox(maker: Maker<'_>) {
    let brokers = maker();
    let answering = Answering {
        broker: brokers[0].clone(),
        recorder: OnceLock::new(),
    };
    let recorder = Recorder::new();
    answering
        .recorder
        .set(recorder.clone())
        .unwrap_or_else(|_| unreachable!("it was just made"));
    brokers[0].attach(Arc::new(answering));
    let others = brokers[1..].to_vec();
    let listener = Recorder::new();
    others[0].attach(listener.clone());
    for broker in [&brokers[0], &others[0]] {
        for name in ["question", "answer", FENCE] {
            broker.subscribe(Subscription::Channel(name.to_owned()));
        }
    }
    crate::await_until("questions are answered", Duration::from_secs(20), || {
        others[0]
            .publish("question", Bytes::from_static(b"?"))
            .expect("the message is small");
        !listener.texts("answer").is_empty()
    })
    .await;
    recorder.await_text("answer", "!").await;
    let first_question = listener
        .messages()
        .iter()
        .position(|(name, _)| name == "question");
    let first_answer = listener
        .messages()
        .iter()
        .position(|(name, _)| name == "answer");
    assert!(
        first_question < first_answer,
        "an answer came before its question"
    );
    for broker in &brokers {
        broker.close();
    }
}

/// Answers every question, and looks at its broker while at it.
struct Answering {
    broker: Arc<dyn Broker>,
    recorder: OnceLock<Arc<Recorder>>,
}

impl Inbox for Answering {
    fn message(&self, channel: &str, payload: Bytes) {
        assert!(self.broker.state().is_up() || self.broker.state() == LinkState::Connecting);
        assert!(self.broker.stats().received > 0);
        if channel == "question" {
            self.broker
                .subscribe(Subscription::Channel("more".to_owned()));
            self.broker
                .publish("answer", Bytes::from_static(b"!"))
                .expect("the message is small");
        }
        if let Some(recorder) = self.recorder.get() {
            recorder.message(channel, payload);
        }
    }

    fn link(&self, _: LinkState) {}
}
