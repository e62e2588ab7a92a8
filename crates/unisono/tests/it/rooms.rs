//! Rooms of one socket and of many, and what is kept with a socket.

use tokio::sync::mpsc;
use unisono::{
    Ack, Args, Data, Io, MAX_ROOM_NAME, Namespace, RoomError, Socket, SocketData, Value,
};

use crate::raw::RawSocket;
use crate::server::TestServer;

/// A server on which the test gets hold of every socket.
async fn with_sockets(
    configure: impl FnOnce(unisono::IoBuilder) -> unisono::IoBuilder,
) -> (TestServer, mpsc::UnboundedReceiver<Socket>) {
    let (came, sockets) = mpsc::unbounded_channel();
    let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
        came.send(socket).unwrap();
        async {}
    });
    let io = configure(Io::builder().namespace(namespace)).build();
    (TestServer::serve(io).await, sockets)
}

#[tokio::test]
async fn a_socket_joins_several_rooms_in_one_step_or_none() {
    let (server, mut sockets) = with_sockets(|io| io.max_rooms(3)).await;
    let _client = RawSocket::enter(server.port).await;
    let socket = sockets.recv().await.unwrap();
    socket.join_all(["a", "b", "a"]).unwrap();
    // Too many together; what it is in already does not count.
    assert_eq!(socket.join_all(["a", "c", "d"]), Err(RoomError::TooMany));
    assert!(!socket.is_in("c"));
    socket.join_all(["a", "b", "c"]).unwrap();
    assert_eq!(socket.join("d"), Err(RoomError::TooMany));
    socket.join("c").unwrap();
    socket.join(socket.id()).unwrap();
    assert_eq!(socket.rooms().len(), 4);
    socket.leave("a");
    socket.leave(socket.id());
    assert_eq!(
        socket.join(&"x".repeat(MAX_ROOM_NAME + 1)),
        Err(RoomError::NameTooLong)
    );
    socket.join(&"x".repeat(MAX_ROOM_NAME)).unwrap();
    assert!(socket.is_in(socket.id()));
    assert_eq!(server.refused("rooms"), 3);
}

#[tokio::test]
async fn a_flood_of_joins_ends_at_the_bound_and_the_connection_stays() {
    let join = async |socket: Socket, Data(room): Data<String>, ack: Ack| {
        ack.send(&socket.join(&room).is_ok()).unwrap();
    };
    let server = TestServer::of(Namespace::new("/").on("join", join)).await;
    let mut client = RawSocket::enter(server.port).await;
    let mut joined = 0;
    for n in 0..1200 {
        client.send(&format!("42{n}[\"join\",\"room {n}\"]")).await;
        let answer = client.text().await;
        assert!(answer.starts_with(&format!("43{n}[")), "{answer}");
        joined += usize::from(answer.ends_with("[true]"));
    }
    assert_eq!(joined, 1000);
    assert_eq!(server.refused("rooms"), 200);
    assert_eq!(server.io.of("/").unwrap().local_room_count(), 1000);
    drop(client);
    unisono_test::await_until("all rooms to be gone", crate::raw::PATIENCE, || {
        server.io.of("/").unwrap().local_room_count() == 0
    })
    .await;
}

#[tokio::test]
async fn a_socket_keeps_one_value_of_each_type() {
    #[derive(Debug, PartialEq)]
    struct User(&'static str);
    let (server, mut sockets) = with_sockets(|io| io).await;
    let _client = RawSocket::enter(server.port).await;
    let socket = sockets.recv().await.unwrap();
    assert_eq!(socket.data::<User>(), None);
    assert_eq!(socket.shared(), Value::Null);
    socket.set_data(User("ada"));
    socket.set_data(7_u32);
    socket.set_data(User("bob"));
    assert_eq!(socket.data::<User>().as_deref(), Some(&User("bob")));
    assert_eq!(socket.data::<u32>().as_deref(), Some(&7));
    assert_eq!(*socket.data_or_insert_with(|| 8_u32), 7);
    assert_eq!(*socket.data_or_insert_with(|| 8_u64), 8);
    // Somebody else has made one while this one was made: both get the first.
    let late = socket.data_or_insert_with(|| {
        assert_eq!(*socket.data_or_insert_with(|| 1_i16), 1);
        2_i16
    });
    assert_eq!((*late, *socket.data::<i16>().unwrap()), (1, 1));
    assert_eq!(socket.take_data::<u32>().as_deref(), Some(&7));
    assert_eq!(socket.data::<u32>(), None);
    assert_eq!(socket.data::<u64>().as_deref(), Some(&8));
}

#[tokio::test]
async fn a_handler_takes_the_value_or_is_not_called() {
    struct Count(std::sync::atomic::AtomicU64);
    let start = async |socket: Socket, Args(_): Args| socket.set_data(Count(5.into()));
    let next = async |socket: Socket, SocketData(count): SocketData<Count>| {
        let n = count.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        socket.emit("n", &n).unwrap();
    };
    let namespace = Namespace::new("/").on("start", start).on("next", next);
    let server = TestServer::of(namespace).await;
    let mut client = RawSocket::enter(server.port).await;
    for event in ["next", "start", "next", "next"] {
        client.send(&format!("42[\"{event}\"]")).await;
    }
    assert_eq!(client.text().await, "42[\"n\",5]");
    assert_eq!(client.text().await, "42[\"n\",6]");
    assert_eq!(server.refused("arguments"), 1);
}
