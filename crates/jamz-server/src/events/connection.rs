//! A client comes, tests the line, and goes.

use serde::Serialize;
use unisono::{Args, DisconnectReason, Socket, State, Value};

use super::music::Member;
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

/// `hello` is the first event every socket gets.
pub(super) async fn connect(socket: Socket, State(app): State<App>) {
    let user = app.guard().admit(socket.auth()).ok().flatten();
    let pod = app.pod_name();
    let (socket_id, verified) = (socket.id(), user.is_some());
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

/// The socket no longer counts as a member of its sessions. The DJ stays the DJ: the same
/// user may come back on another socket.
pub(super) async fn disconnect(socket: Socket, State(app): State<App>, reason: DisconnectReason) {
    tracing::debug!(
        socket = socket.id(),
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
