//! `docs/hostile-inputs.md` is the tables of these tests.

use std::fmt::Write as _;
use std::path::Path;

use super::floods::Flood;
use super::{BELOW, Row, floods, http, packets, rfc6455, times, websocket};

/// Set to write the document instead of comparing it.
const WRITE: &str = "WRITE_DOCS";

const PREFACE: &str = "\
# Hostile inputs

What has brought servers of this kind down, what unisono does with it, and which counter of `unisono_refused_total` moves. Every line is a test:
`cargo nextest run -p unisono hostile --no-capture` sends each input to a running server and prints what it got. Around each line the test checks
that exactly this counter has moved, by one unless the line says otherwise, that another connection of the same server is still served, and that
no session, socket, probe or awaited answer is left behind. A test holds this page equal to those tables; `WRITE_DOCS=1` before the command
writes it anew.

In the column of counters, `–` means that nothing was refused because nothing was wrong, and `HTTP` that the HTTP server answered or hung up
before there was a request that Socket.IO could count. `served` means that an event sent afterwards is answered. Words for ends: `close 1002` is a
WebSocket close frame with that code, `close` one without, `hang-up` an end of stream or a reset without more. Lines without the number of an
advisory or an issue are variations.

Not offered, and therefore refused or ignored as shown: WebTransport, connection state recovery, permessage-deflate. TLS ends in
front of this server.
";

const FLOODS: &str = "\
The server of these is a process of its own with one thread. *Memory* is the most that its resident memory may have grown at any moment of the
flood. The median round trip of a bystander must stay within SLOWDOWN times that of the idle server in the same run, or 250 ms, both without optimisation;
a flood that is worked off in one go makes it thousands.
";

const RULES: &str = "\
What a client may send by [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455), by section, against the running server.
";

#[test]
fn the_document_is_these_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/hostile-inputs.md");
    let rendered = render();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, rendered).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let other = rendered
        .lines()
        .zip(written.lines().chain(std::iter::repeat("")))
        .find(|(rendered, written)| rendered != written);
    assert!(
        written == rendered,
        "docs/hostile-inputs.md differs, first in {other:?}; {WRITE}=1 writes it"
    );
}

fn render() -> String {
    let mut page = PREFACE.to_owned();
    page += "\n## HTTP and Engine.IO\n";
    rows(
        &mut page,
        "from",
        &[http::REQUESTS, http::ORIGINS, http::BODIES],
    );
    page += "\n## WebSocket\n";
    rows(
        &mut page,
        "from",
        &[websocket::HANDSHAKES, websocket::PROBES],
    );
    page += "\n## Socket.IO packets\n\nThose that are messages are sent over long-polling too, with the same end and the same counter.\n";
    rows(&mut page, "from", &[packets::PACKETS, packets::OTHERS]);
    page += "\n## Too slow\n";
    rows(&mut page, "from", &[times::TIMES]);
    page += "\n## Too much\n\n";
    page += &FLOODS.replace("SLOWDOWN", &floods::SLOWDOWN.to_string());
    flood_rows(
        &mut page,
        &[floods::FRAMES, floods::PACKETS, floods::REQUESTS],
    );
    page += "\n## Rules of WebSocket\n\n";
    page += RULES;
    rows(&mut page, "section", &[rfc6455::FRAMES]);
    page += "\nTexts (section 8.1): each is sent in one frame, in frames of one byte and in segments of one byte, hence the three refusals.\n";
    rows(&mut page, "section", &[rfc6455::TEXTS]);
    page
}

fn rows(page: &mut String, from: &str, tables: &[&[Row]]) {
    let _ = writeln!(
        page,
        "\n| {from} | input | the sender gets | counter |\n|---|---|---|---|"
    );
    for row in tables.iter().copied().flatten() {
        let (id, input) = (row.id, cell(row.input));
        let (got, counter) = (cell(row.got), counter(row.counted));
        let _ = writeln!(page, "| {id} | {input} | {got} | {counter} |");
    }
}

fn flood_rows(page: &mut String, tables: &[&[Flood]]) {
    *page += "\n| from | input | the sender gets | counter | memory |\n|---|---|---|---|---|\n";
    for flood in tables.iter().copied().flatten() {
        let (id, input) = (flood.id, cell(flood.input));
        let (got, counter) = (cell(flood.got), counter(flood.counted));
        let _ = writeln!(
            page,
            "| {id} | {input} | {got} | {counter} | {} MiB |",
            flood.mib
        );
    }
}

fn counter((name, count): (&str, u64)) -> String {
    match count {
        0 if name == BELOW.0 => "HTTP".to_owned(),
        0 => "–".to_owned(),
        1 => format!("`{name}`"),
        count => format!("`{name}` × {count}"),
    }
}

/// What stands in a cell of a table: no line breaks, no bars, and packets as code.
fn cell(text: &str) -> String {
    let words = text.split(", ").map(|word| {
        let is_packet = word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(['[', '{']);
        if is_packet {
            format!("`{word}`")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(", ").replace('|', "\\|")
}
