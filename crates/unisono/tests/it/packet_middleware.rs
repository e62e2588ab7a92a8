//! What happens to an event before its handler.

use std::sync::{Arc, Mutex};

use unisono::{Ack, Args, Data, Event, EventError, Namespace, Socket, Value};

use crate::raw::RawSocket;
use crate::server::TestServer;

#[tokio::test]
async fn events_pass_in_order_changed_or_not_or_are_dropped_and_told() {
    // The first waits a little for some, so that order is not for free.
    let first = async |mut event: Event| {
        if event.name() == Some("slow") {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        if let Some(Value::Int(n)) = event.args_mut().first_mut() {
            *n *= 10;
        }
        Ok(event)
    };
    let second = async |socket: Socket, event: Event, ack: Ack| match event.name() {
        Some("forbidden") => {
            ack.send(&"no").unwrap();
            Err(EventError::new(format!("{} may not", socket.id().len())))
        }
        Some("old name") => Ok(Event::new("echo", event.args().to_vec())),
        _ => Ok(event),
    };
    let echo = async |socket: Socket, Args(args): Args| socket.emit("echo", &args).unwrap();
    let strict = async |_: Data<u8>| {};
    let complain = async |socket: Socket, error: EventError| {
        socket.emit("complaint", &error.to_string()).unwrap();
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let namespace = Namespace::new("/")
        .on_any(move |_, event| {
            let first = event.args().first().cloned();
            let name = event.name().map(str::to_owned);
            log.lock().unwrap().push((name, first));
        })
        .packet_middleware(first)
        .packet_middleware(second)
        .on("echo", echo)
        .on("slow", echo)
        .on("strict", strict)
        .on_fallback(async |socket: Socket, event: Event| {
            socket.emit("fallback", &event.args().len()).unwrap();
        })
        .on_error(complain);
    let server = TestServer::of(namespace).await;
    let mut client = RawSocket::enter(server.port).await;
    for event in [
        "42[\"slow\",1]",
        "42[\"echo\",2]",
        "427[\"forbidden\"]",
        "42[\"old name\",3]",
        "42[\"strict\",\"x\"]",
        "42[5,6]",
    ] {
        client.send(event).await;
    }
    for answer in [
        "42[\"echo\",[10]]",
        "42[\"echo\",[20]]",
        "437[\"no\"]",
        "42[\"complaint\",\"20 may not\"]",
        "42[\"echo\",[30]]",
    ] {
        assert_eq!(client.text().await, answer);
    }
    assert!(
        client
            .text()
            .await
            .starts_with("42[\"complaint\",\"the arguments")
    );
    assert_eq!(client.text().await, "42[\"fallback\",1]");
    assert_eq!(server.refused("event"), 1);
    assert_eq!(server.refused("arguments"), 1);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    // The observer sees what came, not what the middleware makes of it.
    assert_eq!(seen[0], (Some("slow".to_owned()), Some(Value::Int(1))));
    assert_eq!(seen[5].0, None);
}

#[tokio::test]
async fn a_panic_before_the_handler_costs_its_event_only() {
    let picky = async |event: Event| {
        assert_ne!(event.name(), Some("bad"), "a middleware may panic");
        Ok(event)
    };
    let namespace = Namespace::new("/")
        .packet_middleware(picky)
        .on_any(|_, event| assert_ne!(event.name(), Some("worse"), "so may an observer"))
        .on_fallback(async |socket: Socket| socket.emit("ok", &()).unwrap());
    let server = TestServer::of(namespace).await;
    let mut client = RawSocket::enter(server.port).await;
    for event in ["bad", "worse", "good"] {
        client.send(&format!("42[\"{event}\"]")).await;
    }
    assert_eq!(client.text().await, "42[\"ok\"]");
    assert_eq!(server.refused("panic"), 2);
}

#[test]
#[should_panic(expected = "`disconnect` is reserved")]
fn a_handler_that_could_never_run_is_refused() {
    drop(Namespace::new("/").on("disconnect", async || {}));
}
