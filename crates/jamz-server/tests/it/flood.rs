//! One client that sends as fast as it can.

use jamz_server::config::names;
use jamz_server::http::METRICS;
use serde_json::json;
use unisono_test::await_until;

use crate::http::get;
use crate::support::{PATIENCE, TestPod, change};

#[tokio::test]
async fn a_flood_of_takes_ends_the_flooder_and_bounds_what_others_hear() {
    const ALLOWED: usize = 50;
    let pod = TestPod::start(&[(names::EVENT_RATE, "1:50")]).await;
    let mut flooder = pod.client().await;
    let mut listener = pod.client().await;
    flooder.join("s", None).await;
    listener.join("s", None).await;
    for n in 0..500 {
        let take = json!({ "sessionId": "s", "userId": format!("u{n}") });
        if flooder
            .client
            .emit("music-take-control", &take)
            .await
            .is_err()
        {
            break;
        }
    }
    await_until("the flooder is closed", PATIENCE, || {
        flooder.client.is_closed()
    })
    .await;
    let (_, page) = get(&pod.admin, METRICS).await;
    let counted = "unisono_refused_total{reason=\"event_rate\"} 1";
    assert!(page.contains(counted), "{page}");
    listener.take("s", "last").await;
    let mut heard = 0;
    while change(&listener.next("music-control-changed").await).1 != "last" {
        heard += 1;
    }
    assert!(heard > 0 && heard <= ALLOWED, "{heard} changes");
}
