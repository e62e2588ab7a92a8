//! Events for the nodes, not for their clients.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use unisono_cluster::classic::RESERVED_SERVER_SIDE;
use unisono_cluster::{AnswerBody, RequestBody};
use unisono_proto::Value;
use unisono_proto::value::{ValueError, from_args, to_args, to_value};

use super::Answers;
use super::serving::{Kind, MAX_SERVICE};
use crate::error::EmitError;
use crate::handler::BoxFuture;
use crate::namespace::Namespace;
use crate::space::{Space, SpaceInner};
use crate::stats::Refusal;

pub(crate) type ServerSideHandler = Arc<dyn Fn(ServerSide) -> BoxFuture + Send + Sync>;

/// An event that another node sent with [`Space::server_side_emit`], or a Node.js pod or emitter with `serverSideEmit`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerSide {
    /// The namespace.
    pub space: Space,
    /// The arguments, as they came.
    pub args: Vec<Value>,
    /// To answer with.
    pub ack: ServerSideAck,
}

impl ServerSide {
    /// The arguments, read as `T`; as [`Data<T>`](crate::Data) for events of clients.
    ///
    /// # Errors
    /// They are something else.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        from_args(self.args.clone())
    }
}

/// Answers a server-side event. If it is dropped without an answer, an empty one is sent, so that nobody waits in vain; not by a handler
/// that panics or is given up after two minutes: its node counts as one that did not answer.
#[derive(Debug)]
pub struct ServerSideAck {
    space: Space,
    /// Who asks under which id; none if no answer is wanted, or when it is given.
    asker: Option<(String, String)>,
    /// When the handler is given up.
    until: Instant,
}

impl ServerSideAck {
    /// Whether the other node waits for an answer.
    pub fn is_wanted(&self) -> bool {
        self.asker.is_some()
    }

    /// Answers. Does nothing when no answer is wanted.
    ///
    /// # Errors
    /// The answer cannot be written; an empty one is sent.
    pub fn send<T: Serialize + ?Sized>(mut self, answer: &T) -> Result<(), EmitError> {
        let data = to_value(answer)?;
        self.answer(Some(data))
    }

    fn answer(&mut self, data: Option<Value>) -> Result<(), EmitError> {
        let Some((uid, id)) = self.asker.take() else {
            return Ok(());
        };
        let body = AnswerBody::ServerSide(data);
        let answered = self.space.0.answer(&uid, &id, body);
        if answered.is_err() {
            // Kept for the empty answer.
            self.asker = Some((uid, id));
        }
        answered
    }
}

impl Drop for ServerSideAck {
    fn drop(&mut self) {
        if std::thread::panicking() || self.until <= Instant::now() {
            return;
        }
        // What is empty can be written.
        let _ = self.answer(None);
        self.asker = None;
    }
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Space").field(&self.name()).finish()
    }
}

impl<S: Clone + Send + Sync + 'static> Namespace<S> {
    /// Runs for every [server-side event](Space::server_side_emit) of this name from another node. A later handler for the same name replaces
    /// the earlier one.
    ///
    /// Handlers start in the order in which the events came; where one waits, the next begins. There run at most 256 of a namespace; events
    /// beyond are dropped and counted, and not answered. A handler has two minutes: then it is dropped where it waits, and counted; what
    /// takes longer belongs into a task of its own. What other nodes send is as trustworthy as whoever can write to the bus.
    ///
    /// ```
    /// use unisono::{Namespace, ServerSide};
    ///
    /// async fn load(event: ServerSide) {
    ///     let sockets = event.space.local_len();
    ///     event.ack.send(&sockets).ok();
    /// }
    ///
    /// # drop(
    /// Namespace::new("/").on_server_side("load?", load)
    /// # );
    /// ```
    #[must_use]
    pub fn on_server_side<F, Fut>(mut self, event: &str, handler: F) -> Self
    where
        F: Fn(ServerSide) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler: ServerSideHandler = Arc::new(move |event| Box::pin(handler(event)));
        self.set_server_side(event, handler);
        self
    }
}

impl Space {
    /// Sends an event to the other nodes, never to this one: their [`Namespace::on_server_side`] handlers get it, those of Node.js pods
    /// `namespace.on(event)`. A tuple becomes several arguments. Byte strings travel as JSON spells them: half a million bytes at most.
    ///
    /// # Errors
    /// The event cannot be written, or its name is `connect`, `connection`, `new_namespace` or `error`, which Node.js pods keep for themselves.
    /// A bus that is away is no error.
    pub fn server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), EmitError> {
        self.0.tell_others(server_side(event, data)?)
    }

    /// The same, and waits for the answers of the other nodes, one of each, null where a node's handler answers nothing.
    ///
    /// ```
    /// # async fn total(space: unisono::Space) -> Result<u64, unisono::EmitError> {
    /// let loads = space.server_side_emit_with_ack("load?", &()).await?;
    /// if !loads.nodes.have_all_answered() {
    ///     println!("{} of {} nodes did not say", loads.nodes.missing_count(), loads.nodes.expected);
    ///     for node in &loads.nodes.missing {
    ///         println!("{node} is one of them");
    ///     }
    /// }
    /// let others: i64 = loads.answers.iter().filter_map(unisono::Value::as_i64).sum();
    /// # Ok(others as u64)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`server_side_emit`](Self::server_side_emit), and [`EmitError::TooManyRequests`]. Nodes that do not answer are no error, see
    /// [`Answers::nodes`]; a Node.js pod without a listener is one of them.
    pub async fn server_side_emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<Answers<Value>, EmitError> {
        let body = server_side(event, data);
        self.0.ask_others(body?).await
    }
}

fn server_side<T: Serialize + ?Sized>(event: &str, data: &T) -> Result<RequestBody, EmitError> {
    if RESERVED_SERVER_SIDE.contains(&event) {
        return Err(EmitError::Reserved(event.to_owned()));
    }
    let mut args = to_args(data)?;
    args.insert(0, event.into());
    Ok(RequestBody::ServerSideEmit { args })
}

impl SpaceInner {
    /// Starts the handler of a server-side event, if there is one. `asker` waits for an answer, and gets an empty one if there is none.
    pub(super) fn serve_server_side(
        self: &Arc<Self>,
        mut args: Vec<Value>,
        asker: Option<(String, String)>,
    ) {
        let space = Space(self.clone());
        let until = Instant::now() + MAX_SERVICE;
        let mut ack = ServerSideAck {
            space: space.clone(),
            asker,
            until,
        };
        let arguments = args.split_off(1);
        let name = args.first().and_then(Value::as_str);
        let Some(handler) = name.and_then(|name| self.handlers.server_side.get(name)) else {
            return;
        };
        let Some(service) = self.begin_service(Kind::Handler) else {
            // Who is not served has not answered.
            ack.asker = None;
            return;
        };
        let (handler, args) = (handler.clone(), arguments);
        let running: BoxFuture = Box::pin(async move {
            let _service = service;
            let counters = space.0.counters.clone();
            let handled = handler(ServerSide { space, args, ack });
            if timeout_at(until, handled).await.is_err() {
                counters.refuse(Refusal::Congestion);
            }
        });
        // Bounded by the services, so there is room.
        let _ = self.starting.leave(running);
        let space = self.clone();
        self.spawn(async move { space.starting.work_off(start) });
    }
}

/// Runs a handler up to where it first waits, so that handlers start in their order; the rest is a task of its own.
fn start(mut running: BoxFuture) {
    let mut context = Context::from_waker(Waker::noop());
    let first = AssertUnwindSafe(|| running.as_mut().poll(&mut context));
    // A panic is counted by the service that it ends.
    if let Ok(Poll::Pending) = catch_unwind(first) {
        // Polled again at once, with a waker that wakes it.
        tokio::spawn(running);
    }
}
