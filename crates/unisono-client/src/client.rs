//! What a caller holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use unisono_proto::Value;
use unisono_proto::value::to_args;

use crate::driver::{Command, Driver};
use crate::error::{ConnectError, EmitError};
use crate::event::{AckId, Event, Events};
use crate::options::Options;
use crate::session::Session;
use crate::target::Target;

/// Commands that wait for the session's task; further callers wait for room.
const COMMANDS: usize = 64;
/// Events that wait for their taker before the reading from the socket stops.
const EVENTS: usize = 1024;
/// How long [`Client::close`] waits for the session's last bytes to leave, plus what a busy machine may add.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);
/// First and longest pause between two attempts of [`Client::connect_within`].
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// One connection to one namespace. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    id: Arc<str>,
    commands: mpsc::Sender<Command>,
}

impl Client {
    /// Connects to a server such as `http://127.0.0.1:5000` (also `ws://`; a query is passed on to the handshake) and joins a namespace.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing goes on in the background then.
    pub async fn connect(url: &str, options: Options) -> Result<(Client, Events), ConnectError> {
        let target = Target::parse(url)?;
        let (session, id) = Session::open(&target, &options).await?;
        let (commands, commands_taken) = mpsc::channel(COMMANDS);
        let (events_given, events) = mpsc::channel::<Event>(EVENTS);
        let driver = Driver {
            session,
            namespace: options.namespace,
            commands: commands_taken,
            events: events_given,
            acks: HashMap::new(),
        };
        tokio::spawn(driver.run());
        Ok((
            Client {
                id: id.into(),
                commands,
            },
            Events::new(events),
        ))
    }

    /// As [`Client::connect`], but tries again until `deadline` has passed while the server cannot be reached, is starting or has no room.
    /// The last attempt may end later, by at most the connect timeout.
    ///
    /// # Errors
    /// The last attempt's; at once if [it will not get better](ConnectError::is_transient).
    pub async fn connect_within(
        url: &str,
        options: Options,
        deadline: Duration,
    ) -> Result<(Client, Events), ConnectError> {
        let end = Instant::now() + deadline;
        let mut pause = RETRY_PAUSE.0;
        loop {
            match Client::connect(url, options.clone()).await {
                Err(error) if error.is_transient() && Instant::now() + pause < end => {}
                other => return other,
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE.1);
        }
    }

    /// The id that the server gave this socket.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sends an event. A tuple is its arguments, `()` is none, anything else is one argument; binary data is
    /// [`unisono_proto::value::Binary`] or [`Value::Bin`]. Waits while the server reads too slowly; that it comes back says that the
    /// event is on its way, not that it has arrived.
    ///
    /// # Errors
    /// [`EmitError`], but not `Timeout`.
    pub async fn emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
    ) -> Result<(), EmitError> {
        let args = with_name(event, args)?;
        let (queued, is_queued) = oneshot::channel();
        self.send(Command::Emit { args, queued }).await?;
        Ok(is_queued.await.map_err(|_| EmitError::Closed)??)
    }

    /// Sends an event and waits for its acknowledgement: gives the acknowledgement's arguments.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        deadline: Duration,
    ) -> Result<Vec<Value>, EmitError> {
        let args = with_name(event, args)?;
        let (answer, is_answered) = oneshot::channel();
        let exchange = async {
            self.send(Command::EmitWithAck { args, answer }).await?;
            Ok(is_answered.await.map_err(|_| EmitError::Closed)??)
        };
        timeout(deadline, exchange)
            .await
            .unwrap_or(Err(EmitError::Timeout))
    }

    /// Answers a message whose [`ack`](crate::Message::ack) is set. The arguments are as in [`Client::emit`].
    ///
    /// # Errors
    /// [`EmitError`], but not `Timeout`.
    pub async fn answer<T: Serialize + ?Sized>(
        &self,
        ack: AckId,
        args: &T,
    ) -> Result<(), EmitError> {
        let args = to_args(args)?;
        let (queued, is_queued) = oneshot::channel();
        self.send(Command::Answer {
            id: ack.0,
            args,
            queued,
        })
        .await?;
        Ok(is_queued.await.map_err(|_| EmitError::Closed)??)
    }

    /// Ends the session, and comes back when its last bytes have left. Clones find it ended.
    pub async fn close(self) {
        // An error says that it has ended already.
        let _ = timeout(CLOSE_DEADLINE, async {
            let _ = self.commands.send(Command::Close).await;
            self.commands.closed().await;
        })
        .await;
    }

    /// Has the session ended?
    pub fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    async fn send(&self, command: Command) -> Result<(), EmitError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| EmitError::Closed)
    }
}

fn with_name<T: Serialize + ?Sized>(event: &str, args: &T) -> Result<Vec<Value>, EmitError> {
    let mut all = to_args(args)?;
    all.insert(0, Value::from(event));
    Ok(all)
}
