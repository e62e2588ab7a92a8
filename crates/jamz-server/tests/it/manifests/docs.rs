//! What `docs/` tells operators to look at exists: metrics and variables.

use std::collections::{BTreeMap, BTreeSet};

use jamz_server::app::{Backing, Pod};
use jamz_server::config::{Config, names};
use jamz_server::http::METRICS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bundle::document;

/// Words in capitals that are no variables of ours.
const FOREIGN: &[&str] = &[
    "NODE_POD",
    "RUST_POD",
    "REDIS_PORT",
    "REDISCLI_AUTH",
    "DISABLE_MEDIASOUP",
];

/// Words of a text, made of the letters that metrics and variables are made of.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .collect()
}

fn documents() -> String {
    document("docs/operations.md") + &document("docs/migration-from-node.md")
}

async fn metrics_page() -> String {
    let ports = [
        (names::PORT, "0"),
        (names::ADMIN_PORT, "0"),
        (names::HOST, "127.0.0.1"),
    ];
    let source: BTreeMap<String, String> = ports
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = Config::read(&source).expect("free ports are a valid configuration");
    let pod = Pod::start(config, Backing::Configured)
        .await
        .expect("free ports can be bound");
    let address = pod.admin_address();
    let running = tokio::spawn(pod.run(std::future::pending()));
    let mut stream = TcpStream::connect(address).await.expect("the pod listens");
    let request = format!("GET {METRICS} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the pod reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the pod answers");
    running.abort();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

#[tokio::test]
async fn documented_metrics_are_on_the_page() {
    let page = metrics_page().await;
    let exported = words(&page);
    let documents = documents();
    let missing: Vec<_> = words(&documents)
        .into_iter()
        .filter(|word| {
            ["unisono_", "jamz_", "process_"]
                .iter()
                .any(|family| word.starts_with(family))
        })
        .filter(|word| !exported.contains(word))
        .collect();
    assert!(
        missing.is_empty(),
        "documented, and not exported: {missing:?}"
    );
}

/// Those of the operators' page say what each is.
#[tokio::test]
async fn metrics_on_the_page_are_documented() {
    let page = metrics_page().await;
    let document = document("docs/operations.md");
    let documented = words(&document);
    let named = page.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some(name)
    });
    let missing: Vec<_> = named.filter(|name| !documented.contains(name)).collect();
    assert!(
        missing.is_empty(),
        "exported, and not documented: {missing:?}"
    );
}

#[test]
fn documented_variables_are_read() {
    let documents = documents();
    let unknown: Vec<_> = words(&documents)
        .into_iter()
        .filter(|word| {
            word.contains('_')
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_uppercase() || letter == '_')
        })
        .filter(|word| !names::ALL.contains(word) && !FOREIGN.contains(word))
        .collect();
    assert!(unknown.is_empty(), "documented, and not read: {unknown:?}");
}
