//! A client comes, tests the line, and goes.

use serde::Serialize;
use unisono::{Ack, Args, Auth, ConnectError, DisconnectReason, Socket, State, Value};

use super::member::Member;
use crate::app::App;

#[derive(Serialize)]
struct Hello {
    ok: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TestPong {
    received: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    your_data: Option<Value>,
}

/// Whoever has no valid token where one is required is not let in.
pub(super) async fn admit(
    Auth(auth): Auth<Value>,
    State(app): State<App>,
) -> Result<(), ConnectError> {
    let admitted = app.guard().admit(&auth);
    admitted.map_err(|error| ConnectError::new(error.to_string()))
}

/// `hello` is the first event every socket gets.
pub(super) async fn connect(socket: Socket, State(app): State<App>) {
    let verified = app.guard().is_verified(socket.auth());
    let (socket_id, pod) = (socket.log_id(), app.pod_name());
    tracing::info!(socket = socket_id, pod, verified, "Socket.IO connection");
    send(&socket, "hello", &Hello { ok: true });
}

/// `test-ping` is answered with `test-pong` and what came with it.
pub(super) async fn test_ping(socket: Socket, Args(args): Args) {
    let pong = TestPong {
        received: true,
        your_data: args.into_iter().next(),
    };
    send(&socket, "test-pong", &pong);
}

/// The answer to a client that wants to send its voice through a media server.
#[derive(Serialize)]
struct NoMediaServer {
    success: bool,
    error: &'static str,
}

/// `mediasoup-*`: there is no media server here. A client waits for the answer without a limit;
/// at this one it goes on from peer to peer.
pub(super) async fn mediasoup(ack: Ack) {
    let answer = NoMediaServer {
        success: false,
        error: "mediasoup-disabled",
    };
    if let Err(error) = ack.send(&answer) {
        tracing::warn!(%error, "acknowledgement cannot be sent");
    }
}

/// The socket no longer counts as a member of its sessions. The DJ stays the DJ: the same
/// user may come back on another socket.
pub(super) async fn disconnect(socket: Socket, State(app): State<App>, reason: DisconnectReason) {
    tracing::debug!(
        socket = socket.log_id(),
        reason = reason.as_str(),
        "socket gone"
    );
    if let Some(member) = socket.data::<Member>() {
        for session in member.leave_all() {
            app.sessions().remove_member(&session);
        }
    }
}

/// Emits to one socket; what cannot be written is logged.
pub(super) fn send<T: Serialize + ?Sized>(socket: &Socket, event: &str, payload: &T) {
    if let Err(error) = socket.emit(event, payload) {
        tracing::warn!(event, %error, "event cannot be sent");
    }
}
