//! Whatever a user meets in our public signatures has its name in `unisono`: this program has no other of our crates in scope, and neither
//! `bytes` nor `http`.

use std::fmt::Debug;
use std::sync::Arc;

use unisono::{
    Adapter, AnswerBody, Broker, Bytes, CloseReason, CountError, CountFuture, EmitError,
    EncodeError, HandshakeRequest, HeaderMap, Inbox, Io, LinkState, LinkStats, Method, Namespace,
    NodeStats, NotFound, Prepared, PublishError, ResponseBody, Socket, SocketIoService, StatusCode,
    Subscription, SubscriptionMode, Template, UnknownMode, Uri, Value, ValueError,
};

/// A broker of a user's own. Nobody else is there.
struct Alone;

impl Broker for Alone {
    fn adapter(&self) -> Adapter {
        Adapter::Classic
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        inbox.link(LinkState::Local);
    }

    fn subscribe(&self, _: Subscription) {}

    fn unsubscribe(&self, _: &Subscription) {}

    fn publish(&self, _: &str, _: Bytes) -> Result<(), PublishError> {
        Err(PublishError::Closed)
    }

    fn count(&self, _: &str) -> CountFuture {
        Box::pin(async { Err(CountError) })
    }

    fn state(&self) -> LinkState {
        LinkState::Local
    }

    fn suspect(&self) {}

    fn stats(&self) -> LinkStats {
        let mut stats = LinkStats::default();
        stats.dropped_buffer_full = 1;
        stats
    }

    fn close(&self) {}
}

fn shares(socket: &Socket) -> Result<(), ValueError> {
    socket.share(&"shared")
}

/// What a shell would publish for a commit: where, and the bytes.
fn filled(prepared: &Prepared) -> Option<(String, Bytes)> {
    let template: &Template = prepared.template()?;
    Some((template.channel.clone(), template.fill(7)))
}

fn why(error: &EmitError) -> &dyn Debug {
    match error {
        EmitError::Value(error) => {
            let error: &ValueError = error;
            error
        }
        EmitError::Encode(error) => {
            let error: &EncodeError = error;
            error
        }
        other => other,
    }
}

/// What a service and the hooks are made of.
#[allow(dead_code, reason = "that it compiles is what is shown")]
fn seen(
    request: &HandshakeRequest,
    _: SocketIoService<NotFound>,
) -> (Method, Uri, HeaderMap, StatusCode, ResponseBody<AnswerBody>) {
    let (method, uri) = (request.method.clone(), request.uri.clone());
    let body = AnswerBody::from("instead").into();
    let headers = request.headers.clone();
    (method, uri, headers, StatusCode::OK, body)
}

#[tokio::test]
async fn what_users_meet_has_a_name_here() {
    let io = Io::builder()
        .namespace(Namespace::new("/").on_disconnect(async |_: CloseReason| {}))
        .broker(Arc::new(Alone), "socket.io")
        .build();
    assert_eq!(io.link_stats().dropped_buffer_full, 1);
    let of_namespaces: Vec<(String, NodeStats)> = io.node_stats();
    assert_eq!(of_namespaces[0].0, "/");
    let space = io.of("/").unwrap();
    let prepared = space
        .prepare(&["room"], "event", &Value::Map(Vec::new()), None)
        .unwrap();
    let (channel, payload) = filled(&prepared).unwrap();
    assert_eq!(channel, "socket.io#/#room#");
    assert!(!payload.is_empty());
    assert_eq!("often".parse::<SubscriptionMode>(), Err(UnknownMode));
    let error = space.emit("connect", &()).unwrap_err();
    assert!(format!("{:?}", why(&error)).contains("Reserved"));
    for socket in space.local_sockets() {
        shares(&socket).unwrap();
    }
}
