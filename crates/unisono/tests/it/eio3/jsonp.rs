//! Polling by scripts and forms.

use super::{joined, poll, record};
use crate::raw::{Answer, get, request, sid_of};
use crate::server::TestServer;

async fn start() -> TestServer {
    TestServer::with(|io| io.allow_eio3(true).jsonp(true)).await
}

async fn ask(port: u16, query: &str) -> Answer {
    get(port, &format!("transport=polling&{query}")).await
}

async fn submit(port: u16, query: &str, form: &str) -> Answer {
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
    let target = format!("/socket.io/?transport=polling&{query}");
    request(port, "POST", &target, headers, form).await
}

/// The session id in an open packet inside of a script.
fn sid_in(script: &str) -> String {
    sid_of(&script.replace('\\', ""))
}

#[tokio::test]
async fn a_session_is_joined_and_used_by_scripts_and_forms() {
    let server = start().await;
    let answer = ask(server.port, "EIO=3&j=2x7").await;
    let sid = sid_in(&answer.body);
    let open = format!(
        "___eio[27](\"118:0{{\\\"sid\\\":\\\"{sid}\\\",\\\"upgrades\\\":[\\\"websocket\\\"],\\\"pingInterval\\\":25000,\\\"pingTimeout\\\":20000,\\\"maxPayload\\\":1000000}}\");"
    );
    assert_eq!(answer.body, open);
    let script = Some("text/javascript; charset=UTF-8");
    assert_eq!(answer.header("content-type"), script);
    let session = format!("EIO=3&sid={sid}&j=27");
    let answer = ask(server.port, &session).await;
    assert_eq!(answer.body, "___eio[27](\"2:4010:42[\\\"auth\\\"]\");");
    // A line feed, and characters that end a line in a script: as the stock client escapes them.
    let form = "d=20%3A42%5B%22message%22%2C%22a%5C%5Cn%E2%80%A8%22%5D";
    assert_eq!(submit(server.port, &session, form).await.body, "ok");
    let answer = ask(server.port, &session).await;
    assert_eq!(
        answer.body,
        "___eio[27](\"25:42[\\\"message-back\\\",\\\"a\\\\n\\u2028\\\"]\");"
    );
    // Bytes are base64 although the client did not say so.
    let head = record("451-[\"message\",{\"_placeholder\":true,\"num\":0}]");
    let form = format!("d={head}6:b4AQID");
    assert_eq!(submit(server.port, &session, &form).await.body, "ok");
    let answer = ask(server.port, &session).await;
    assert!(answer.body.ends_with("6:b4AQID\");"), "{answer:?}");
}

#[tokio::test]
async fn revision_4_is_served_by_scripts_as_well() {
    let server = start().await;
    let opened = ask(server.port, "EIO=4&j=0").await;
    assert!(opened.body.starts_with("___eio[0](\"0{"), "{opened:?}");
    let session = format!("EIO=4&sid={}&j=0", sid_in(&opened.body));
    assert_eq!(submit(server.port, &session, "d=40").await.body, "ok");
    let body = ask(server.port, &session).await.body;
    assert!(body.starts_with("___eio[0](\"40{\\\"sid\\\""), "{body}");
    // Records are apart by an escape.
    assert!(body.ends_with("\\u001e42[\\\"auth\\\"]\");"), "{body}");
}

#[tokio::test]
async fn a_form_without_its_field_ends_the_session() {
    let server = start().await;
    for form in ["", "e=1", "d=", "d=1:9"] {
        let sid = sid_in(&ask(server.port, "EIO=3&j=0").await.body);
        let session = format!("EIO=3&sid={sid}&j=0");
        assert_eq!(submit(server.port, &session, form).await.body, "ok");
        assert_eq!(submit(server.port, &session, "d=1:2").await.status, 400);
    }
    assert_eq!(server.refused("packet"), 4);
}

#[tokio::test]
async fn scripts_are_not_served_unless_they_are_allowed() {
    let server = super::start().await;
    let answer = ask(server.port, "EIO=3&j=0").await;
    let text = Some("text/plain; charset=UTF-8");
    assert_eq!(answer.header("content-type"), text);
    assert!(answer.body.starts_with("118:0{"));
    let sid = joined(server.port).await;
    let session = format!("EIO=3&sid={sid}&j=0");
    assert_eq!(submit(server.port, &session, "1:2").await.body, "ok");
    assert_eq!(poll(server.port, &sid).await.body, "1:3");
}
