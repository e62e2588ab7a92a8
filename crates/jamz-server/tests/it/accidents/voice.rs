//! Clients that talk all the time and write down what they hear.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use unisono_client::{Client, Event, Events, Options};
use unisono_test::await_until;

use crate::support::PATIENCE;

/// The session of these tests.
pub(super) const SESSION: &str = "s1";
/// Its room.
const ROOM: &str = "audio-s1";
/// A plain broadcast to the others of a session: delivered on its own pod at once, published
/// to the others.
const JOINED: &str = "user-joined-music";
/// A change of who is the DJ: committed to the store, delivered when it comes back.
const CHANGED: &str = "music-control-changed";
/// The whole state, when a pod has reason to tell it again.
const STATE: &str = "music-session-state";
/// Pause between two words of a talker: well below what a client may send in a second.
const TALK_EVERY: Duration = Duration::from_millis(40);

#[derive(Clone, Debug)]
struct Heard {
    at: Instant,
    event: String,
    payload: Value,
}

/// A client and everything it has heard.
pub(super) struct Voice {
    client: Client,
    /// Whether its pod is one of Node.js, which knows no sessions.
    is_on_node: bool,
    heard: Arc<Mutex<Vec<Heard>>>,
    reading: AbortHandle,
}

impl Voice {
    /// A client that has joined the session.
    pub(super) async fn on(url: &str) -> Self {
        let voice = Self::connect(url, false).await;
        voice.say("join-music-session", None).await;
        // Answered behind everything that comes of joining.
        voice.say("test-ping", None).await;
        await_until("a client joins", PATIENCE, || {
            voice.times_heard("test-pong") == 1
        })
        .await;
        voice
    }

    /// A client of a pod of Node.js that is in the room of the session.
    pub(super) async fn on_node(url: &str) -> Self {
        let voice = Self::connect(url, true).await;
        let joined = voice.client.emit_with_ack("join", &ROOM, PATIENCE).await;
        joined.expect("it may join");
        voice
    }

    async fn connect(url: &str, is_on_node: bool) -> Self {
        let (client, events) = Client::connect(url, Options::default())
            .await
            .expect("the pod takes clients");
        let heard = Arc::default();
        let reading = tokio::spawn(listen(events, Arc::clone(&heard))).abort_handle();
        Self {
            client,
            is_on_node,
            heard,
            reading,
        }
    }

    /// Says a word to the others in the session.
    async fn say_word(&self, word: &str) {
        if self.is_on_node {
            let said = (ROOM, JOINED, json!({ "userId": word }));
            let said = self.client.emit("in-room", &said).await;
            said.expect("nobody is cut off");
        } else {
            self.say("join-music-session", Some(word)).await;
        }
    }

    /// Forgets what it has heard.
    pub(super) fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    async fn say(&self, event: &str, user: Option<&str>) {
        let mut payload = json!({ "sessionId": SESSION });
        if let Some(user) = user {
            payload["userId"] = user.into();
        }
        let said = self.client.emit(event, &payload).await;
        said.expect("nobody is cut off");
    }

    /// Becomes the DJ under this name.
    pub(super) async fn take(&self, user: &str) {
        self.say("music-take-control", Some(user)).await;
    }

    /// Waits until it is told of that DJ as of a change.
    pub(super) async fn await_change(&self, user: &str) {
        let what = format!("a client hears of {user}");
        await_until(&what, PATIENCE, || self.has_heard_change(user)).await;
    }

    pub(super) fn has_heard_change(&self, user: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        let mut changes = heard.iter().filter(|heard| heard.event == CHANGED);
        changes.any(|heard| user_of(heard) == Some(user))
    }

    /// Whether it was shown the state of the session with that DJ.
    pub(super) fn was_shown(&self, user: &str, since: Instant) -> bool {
        let heard = self.heard.lock().unwrap();
        let mut states = heard
            .iter()
            .filter(|heard| heard.event == STATE && heard.at >= since);
        states.any(|heard| user_of(heard) == Some(user))
    }

    /// Whether what it heard last of who is the DJ is this.
    pub(super) fn believes_in(&self, user: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        let last = heard
            .iter()
            .rev()
            .find(|heard| [CHANGED, STATE].contains(&heard.event.as_str()));
        last.and_then(user_of).is_some_and(|told| told == user)
    }

    /// How often it has heard an event of this name.
    pub(super) fn times_heard(&self, event: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|heard| heard.event == event).count()
    }

    /// The words of a talker of this name, in the order in which they were heard: number and time.
    pub(super) fn words_of(&self, name: &str) -> Vec<(usize, Instant)> {
        let heard = self.heard.lock().unwrap();
        let words = heard.iter().filter_map(|heard| {
            let user = (heard.event == JOINED).then(|| heard.payload["userId"].as_str())??;
            let number = user.strip_prefix(name)?.strip_prefix('-')?;
            Some((number.parse().ok()?, heard.at))
        });
        words.collect()
    }

    /// The state of the session as a newcomer is shown it, without the time of showing.
    pub(super) async fn shown_to_newcomer(url: &str) -> Value {
        let newcomer = Self::on(url).await;
        let heard = newcomer.heard.lock().unwrap();
        let shown = heard.iter().find(|heard| heard.event == STATE);
        let mut state = shown.expect("the session is known").payload.clone();
        state["timestamp"] = Value::Null;
        state
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn user_of(heard: &Heard) -> Option<&str> {
    let field = match heard.event.as_str() {
        CHANGED => "userId",
        _ => "controller_id",
    };
    heard.payload[field].as_str()
}

async fn listen(mut events: Events, heard: Arc<Mutex<Vec<Heard>>>) {
    while let Some(event) = events.next().await {
        let Event::Message(message) = event else {
            continue;
        };
        let payload = serde_json::to_value(message.data()).unwrap_or_default();
        heard.lock().unwrap().push(Heard {
            at: Instant::now(),
            event: message.name,
            payload,
        });
    }
}

/// A client that says one number after another until it is told to stop.
pub(super) struct Talker {
    pub(super) name: &'static str,
    pub(super) voice: Arc<Voice>,
    said: Arc<Mutex<Vec<Instant>>>,
    stop: watch::Sender<bool>,
    talking: JoinSet<()>,
}

impl Talker {
    pub(super) fn of(voice: Voice) -> Self {
        Self {
            name: "",
            voice: Arc::new(voice),
            said: Arc::default(),
            stop: watch::Sender::new(false),
            talking: JoinSet::new(),
        }
    }

    pub(super) fn start(&mut self, name: &'static str) {
        self.name = name;
        let (voice, said) = (self.voice.clone(), self.said.clone());
        self.talking
            .spawn(talk(name, voice, said, self.stop.subscribe()));
    }

    /// When each number was said.
    pub(super) fn said(&self) -> Vec<Instant> {
        self.said.lock().unwrap().clone()
    }

    /// When something that was said after `since` was first heard there.
    pub(super) fn first_heard_by(&self, other: &Voice, since: Instant) -> Option<Instant> {
        let said = self.said.lock().unwrap();
        let words = other.words_of(self.name);
        let heard = words.iter().find(|(number, _)| said[*number] >= since);
        heard.map(|(_, at)| *at)
    }

    /// Finishes its word and says no more.
    pub(super) async fn stop(&mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.talking.join_next().await {
            ended.expect("it was not cut off");
        }
    }
}

async fn talk(
    name: &'static str,
    voice: Arc<Voice>,
    said: Arc<Mutex<Vec<Instant>>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = interval(TALK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        said.lock().unwrap().push(Instant::now());
        let word = format!("{name}-{number}");
        voice.say_word(&word).await;
    }
}
