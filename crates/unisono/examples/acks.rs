//! Acknowledgements, both ways: `cargo run -p unisono --example acks`, then connect a stock Socket.IO client to port 3000.
//!
//! ```js
//! const socket = io("http://localhost:3000");
//! socket.on("still there?", (answer) => answer("yes"));       // the server asks, the client answers
//! await socket.timeout(1000).emitWithAck("add", 1, 2);        // the client asks, the server answers: 3
//! await socket.timeout(1000).emitWithAck("add", 1, "two");    // { error: "two numbers, please" }
//! ```

use std::time::Duration;

use unisono::{Ack, AckError, Args, Cors, Io, Namespace, Socket};

/// What a stock client on a bad line needs for a round trip.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the arguments as they came, so that the answer can say what is wrong with them. An argument such as `Data<(f64, f64)>` would
/// leave an event that does not fit unanswered, and count it.
async fn add(Args(numbers): Args, ack: Ack) {
    let numbers: Vec<f64> = numbers.iter().filter_map(|n| n.as_f64()).collect();
    let answered = match numbers[..] {
        [a, b] => ack.send(&(a + b)),
        _ => ack.send(&serde_json::json!({ "error": "two numbers, please" })),
    };
    if let Err(error) = answered {
        println!("the answer cannot be sent: {error}");
    }
}

/// Runs when a client has joined. A handler may await the answer, but the client's next events wait for its handlers; so the answer
/// is awaited beside them.
async fn greet(socket: Socket) {
    let answer = socket.emit_with_ack("still there?", &(), PATIENCE);
    tokio::spawn(async move {
        match answer.await {
            Ok(answer) => println!("{} says {answer:?}", socket.id()),
            Err(AckError::Timeout) => println!("{} does not answer", socket.id()),
            Err(error) => println!("{}: {error}", socket.id()),
        }
    });
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Io::builder()
        .cors(Cors::any())
        .namespace(Namespace::new("/").on_connect(greet).on("add", add))
        .build();
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let port = listener.local_addr()?.port();
    println!("listening on http://127.0.0.1:{port}");
    unisono::serve(listener, io.service(), std::future::pending()).await
}
