//! The network between a client and a server, to be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes TCP connections on to a server on this machine.
pub(crate) struct Relay {
    port: u16,
    target: Arc<AtomicU16>,
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Listens on a free port.
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(target));
        let (cuts, _) = watch::channel(0);
        let task = tokio::spawn(accept(listener, target.clone(), cuts.clone()));
        Self {
            port,
            target,
            cuts,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Breaks every connection; new ones are passed on as before.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Breaks every connection; new ones go to another server.
    pub(crate) fn redirect(&self, target: u16) {
        self.target.store(target, Relaxed);
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: Arc<AtomicU16>, cuts: watch::Sender<u64>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let target = target.load(Relaxed);
        let mut cut = cuts.subscribe();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = cut.changed() => {}
            }
        });
    }
}
