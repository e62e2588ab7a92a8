//! Every client library, on every transport, through the same scenarios. `e2e/README.md` shows the table for people; a test holds it
//! against this one.

mod rows;
mod scenarios;
mod stage;

use unisono_test::Peer;

use rows::Row;
use scenarios::SCENARIOS;
use stage::{Stage, Way};

/// Runs a row over one transport, one scenario after the other, each with a server of its own.
async fn run(row: &Row, way: Way) {
    let mut peer = row.start().await;
    for scenario in SCENARIOS {
        // Shown when the test fails.
        eprintln!("{} over {}: {}", row.name, way.name(), scenario.name());
        Stage::set(row, way, &mut peer, scenario).await.play().await;
    }
}

/// One module for each row, with one test for each transport.
macro_rules! matrix {
    ($($row:ident: $constant:expr;)*) => {
        $(mod $row {
            use super::{Way, rows, run};

            #[tokio::test]
            async fn websocket() {
                run(&$constant, Way::WebSocket).await;
            }

            #[tokio::test]
            async fn polling() {
                run(&$constant, Way::Polling).await;
            }

            #[tokio::test]
            async fn polling_then_websocket() {
                run(&$constant, Way::Upgrade).await;
            }
        })*

        const ROWS: &[&Row] = &[$(&$constant),*];
    };
}

matrix! {
    socket_io_client_4: rows::SOCKET_IO_CLIENT_4;
    socket_io_client_3: rows::SOCKET_IO_CLIENT_3;
    socket_io_client_2: rows::SOCKET_IO_CLIENT_2;
    chromium: rows::CHROMIUM;
    python_socketio_sync: rows::PYTHON_SYNC;
    python_socketio_async: rows::PYTHON_ASYNC;
    rust_socketio: rows::RUST;
}

/// The table as `e2e/README.md` has it.
fn table() -> String {
    let mut table = String::from("| client |");
    for scenario in SCENARIOS {
        table += &format!(" {} |", scenario.name());
    }
    table += "\n|---|";
    table += &"---|".repeat(SCENARIOS.len());
    table += "\n";
    let mut notes = String::new();
    let mut count = 0;
    for row in ROWS {
        table += &format!("| {} |", row.name);
        for scenario in SCENARIOS {
            table += " yes";
            for gap in row
                .gaps
                .iter()
                .filter(|gap| gap.part.scenario() == scenario)
            {
                count += 1;
                table += &format!(" ({count})");
                notes += &format!("{count}. {}: {}\n", row.name, gap.reason);
            }
            table += " |";
        }
        table += "\n";
    }
    format!("{table}\n{notes}")
}

#[test]
fn the_table_for_people_is_this_one() {
    let readme = std::fs::read_to_string(Peer::directory().join("README.md")).unwrap();
    let table = table();
    assert!(
        readme.contains(&table),
        "e2e/README.md must contain:\n\n{table}"
    );
}
