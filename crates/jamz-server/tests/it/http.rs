//! Both ports as probes, monitors and browsers see them.

use std::time::Instant;

use jamz_server::config::names;
use jamz_server::http::{LIVEZ, METRICS, READYZ};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use unisono_test::{RedisServer, await_until};

use crate::support::{PATIENCE, TestPod};

/// Status, head and body of an answer.
async fn ask(address: &str, method: &str, path: &str, headers: &str) -> (u16, String, String) {
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

pub(crate) async fn get(address: &str, path: &str) -> (u16, String) {
    let (status, _, body) = ask(address, "GET", path, "").await;
    (status, body)
}

#[tokio::test]
async fn what_the_node_server_answered_is_answered() {
    let pod = TestPod::start(&[(names::POD_NAME, "pod-x")]).await;
    let _client = pod.client().await;
    let (status, body) = get(&pod.url, "/health").await;
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &health["status"]), (200, &"ok".into()));
    for key in ["timestamp", "mongodb", "mongodb_state", "postgres"] {
        assert!(health[key].is_string(), "{key}");
    }
    assert_eq!(health["socketio"], "initialized");
    assert_eq!(health["adapter"], "single-instance");
    assert_eq!(health["degraded"], false);
    assert_eq!(health["connections"], 1);
    assert_eq!(health["pod"], "pod-x");
    assert_eq!(
        get(&pod.url, "/health/socketio").await,
        (200, "socketio-ok".to_owned())
    );
    let (status, body) = get(&pod.url, "/api/status").await;
    assert_eq!(status, 200);
    assert!(body.contains("TrafficJamz backend is live"), "{body}");
    assert_eq!(get(&pod.url, "/api/health").await.0, 200);
    let (status, body) = get(&pod.url, "/api/nothing").await;
    let expected = serde_json::json!({"success": false, "message": "Route not found"});
    assert_eq!(
        (status, serde_json::from_str::<Value>(&body).unwrap()),
        (404, expected)
    );
    for path in [LIVEZ, READYZ, METRICS] {
        assert_eq!(
            get(&pod.url, path).await.0,
            404,
            "{path} is not for clients"
        );
    }
}

#[tokio::test]
async fn browsers_of_allowed_origins_may_read_the_answers() {
    let pod = TestPod::start(&[(names::FRONTEND_URL, "https://a.example,https://b.example")]).await;
    let allowed = async |method: &str, origin: &str| {
        let (status, head, _) = ask(
            &pod.url,
            method,
            "/api/health",
            &format!("origin: {origin}\r\n"),
        )
        .await;
        (
            status,
            head.contains(&format!("access-control-allow-origin: {origin}")),
        )
    };
    assert_eq!(allowed("GET", "https://b.example").await, (200, true));
    assert_eq!(allowed("OPTIONS", "https://a.example").await, (204, true));
    assert_eq!(allowed("GET", "https://c.example").await, (200, false));
    let polling = "/socket.io/?EIO=4&transport=polling";
    let (status, head, _) = ask(&pod.url, "GET", polling, "origin: https://a.example\r\n").await;
    assert_eq!(status, 200);
    assert!(
        head.contains("access-control-allow-credentials: true"),
        "{head}"
    );
    assert_eq!(
        head.matches("access-control-allow-origin").count(),
        1,
        "{head}"
    );
}

/// Socket.IO and the other answers judge a page alike.
#[tokio::test]
async fn one_list_of_origins_is_judged_in_one_way() {
    let list = "https://a.example/, capacitor://localhost";
    let pod = TestPod::start(&[(names::FRONTEND_URL, list)]).await;
    let check = async |headers: &str, allowed: bool| {
        for (path, foreign) in [
            ("/api/health", 200),
            ("/socket.io/?EIO=4&transport=polling", 403),
        ] {
            let (status, head, _) = ask(&pod.url, "GET", path, headers).await;
            let named = head.contains("access-control-allow-origin");
            let expected = if allowed { 200 } else { foreign };
            assert_eq!((status, named), (expected, allowed), "{path} {headers}");
            let (_, head, _) = ask(&pod.url, "OPTIONS", path, headers).await;
            let methods = head.contains("access-control-allow-methods: get,post,options");
            assert_eq!(methods, allowed, "{path} {headers}");
        }
    };
    check("origin: https://a.example\r\n", true).await;
    check("origin: capacitor://localhost\r\n", true).await;
    for foreign in [
        "https://b.example",
        "http://a.example",
        "https://a.example/",
        "https://A.example",
        "https://a.example:443",
        "https://x.a.example",
        "null",
    ] {
        check(&format!("origin: {foreign}\r\n"), false).await;
    }
    let two = "origin: https://a.example\r\norigin: https://a.example\r\n";
    check(two, false).await;
}

#[tokio::test]
async fn probes_do_not_depend_on_redis() {
    let mut redis = RedisServer::stopped();
    let pod = TestPod::start(&[(names::REDIS_URL, &redis.url())]).await;
    assert_eq!(get(&pod.admin, LIVEZ).await.0, 200);
    await_until("the pod declares that it goes on without", PATIENCE, || {
        pod.app.health().is_ready()
    })
    .await;
    assert_eq!(get(&pod.admin, READYZ).await.0, 200);
    let health: Value = serde_json::from_str(&get(&pod.url, "/health").await.1).unwrap();
    assert_eq!(
        (&health["adapter"], &health["degraded"]),
        (&"down".into(), &true.into())
    );
    let page = get(&pod.admin, METRICS).await.1;
    assert!(page.contains("unisono_degraded 1"), "{page}");
    redis.restart();
    pod.await_link().await;
    redis.kill9();
    pod.await_no_link().await;
    assert_eq!(get(&pod.admin, LIVEZ).await.0, 200);
    assert_eq!(get(&pod.admin, READYZ).await.0, 200);
}

#[tokio::test]
async fn pods_are_named_in_health_and_metrics_of_each_other() {
    let redis = RedisServer::start();
    let named = [
        (names::REDIS_URL, &*redis.url()),
        (names::POD_NAME, "pod-x"),
    ];
    let one = TestPod::start(&named).await;
    let named = [
        (names::REDIS_URL, &*redis.url()),
        (names::POD_NAME, "pod-y"),
    ];
    let other = TestPod::start(&named).await;
    let start = Instant::now();
    let nodes = loop {
        let health: Value = serde_json::from_str(&get(&one.url, "/health").await.1).unwrap();
        let nodes = health["nodes"].as_array().unwrap().clone();
        if !nodes.is_empty() {
            break nodes;
        }
        assert!(start.elapsed() < PATIENCE, "nobody is heard of");
    };
    let [node] = &*nodes else { panic!("{nodes:?}") };
    assert_eq!(
        (&node["name"], &node["lost"], &node["silent"]),
        (&"pod-y".into(), &0.into(), &false.into())
    );
    await_page(&other, "unisono_peer_lost{node=\"pod-x\",id=\"").await;
    let page = get(&other.admin, METRICS).await.1;
    assert!(page.contains("unisono_nodes{state=\"heard\"} 1"), "{page}");
}

/// Waits until the metrics of a pod contain a text.
async fn await_page(pod: &TestPod, text: &str) {
    let start = Instant::now();
    while !get(&pod.admin, METRICS).await.1.contains(text) {
        assert!(start.elapsed() < PATIENCE, "{text} never shows");
    }
}

#[tokio::test]
async fn metrics_say_which_redis_the_pod_is_on_and_clients_are_not_told() {
    let mut redis = RedisServer::start();
    let pod = TestPod::joined(&redis.url()).await;
    let server = format!("127.0.0.1:{}", redis.port());
    let health = get(&pod.url, "/health").await.1;
    assert!(!health.contains(&server), "{health}");
    let series = format!("unisono_link_server_info{{server=\"{server}\"}} 1\n");
    let page = get(&pod.admin, METRICS).await.1;
    assert!(page.contains(&series), "{page}");
    redis.kill9();
    pod.await_no_link().await;
    let page = get(&pod.admin, METRICS).await.1;
    assert!(!page.contains("unisono_link_server_info{"), "{page}");
}

#[tokio::test]
async fn the_metrics_page_names_every_series_and_none_that_clients_choose() {
    let pod = TestPod::start(&[]).await;
    let mut client = pod.client().await;
    client.join("s1", None).await;
    client.take("s1", "alice").await;
    client.next("music-control-changed").await;
    let page = get(&pod.admin, METRICS).await.1;
    for series in [
        "unisono_connections{transport=\"websocket\"} 1",
        "unisono_connections{transport=\"polling\"} 0",
        "unisono_events_received_total 3",
        "unisono_refused_total{reason=\"packet\"} 0",
        "unisono_link_state{state=\"local\"} 1",
        "unisono_bus_dropped_total{reason=\"buffer_full\"} 0",
        "unisono_bus_lag_seconds_bucket{le=\"+Inf\"}",
        "unisono_link_reconnects_total 0",
        "unisono_nodes{state=\"heard\"} 0",
        "unisono_nodes{state=\"silent\"} 0",
        "unisono_link_round_trip_seconds ",
        "unisono_node_gaps_total 0",
        "unisono_node_out_of_order_total 0",
        "unisono_node_undecodable_total 0",
        "unisono_node_echoes_expired_total 0",
        "unisono_node_requests_total 0",
        "unisono_node_requests_unknown_total 0",
        "unisono_node_requests_expired_total 0",
        "unisono_node_answers_late_total 0",
        "unisono_node_answers_refused_total 0",
        "jamz_refused_total{reason=\"new_sessions\"} 0",
        "jamz_sessions 2",
        "jamz_commits_total{result=\"committed\"} 1",
        "jamz_draining 0",
        "jamz_build_info{version=\"",
        "process_resident_memory_bytes ",
    ] {
        assert!(page.contains(series), "{series} is missing in\n{page}");
    }
    let count = page.lines().count();
    for number in 0..50 {
        client
            .join(&format!("room-{number}"), Some(&format!("user-{number}")))
            .await;
        client.emit(&format!("event-{number}"), &Value::Null).await;
    }
    client.drain().await;
    let page = get(&pod.admin, METRICS).await.1;
    assert_eq!(page.lines().count(), count);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
