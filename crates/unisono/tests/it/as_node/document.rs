//! Holds `docs/api-from-node.md` against our sources and Node's declarations.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use unisono_test::Peer;

/// Crates whose names the document uses.
const CRATES: [&str; 4] = [
    "unisono",
    "unisono-proto",
    "unisono-cluster",
    "unisono-redis",
];

/// Declarations of Node's server, and those in them whose members users meet.
const NODE: [(&str, &str); 9] = [
    ("socket.io/dist/index", "interface ServerOptions"),
    ("socket.io/dist/index", "class Server"),
    ("socket.io/dist/namespace", "class Namespace"),
    ("socket.io/dist/parent-namespace", "class ParentNamespace"),
    ("socket.io/dist/socket", "class Socket"),
    (
        "socket.io/dist/broadcast-operator",
        "class BroadcastOperator",
    ),
    ("socket.io/dist/broadcast-operator", "class RemoteSocket"),
    ("engine.io/build/server", "interface AttachOptions"),
    ("engine.io/build/server", "interface ServerOptions"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The cells of the document's tables, row by row.
fn rows() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/api-from-node.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(str::to_owned).collect()
    })
    .collect()
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_name_of_ours_exists() {
    let mut known = HashSet::new();
    for name in CRATES {
        read_names(&root().join("crates").join(name).join("src"), &mut known);
    }
    assert!(known.contains("Io::drain"), "{known:?}");
    let mut checked = 0;
    for cells in rows() {
        let middle = cells.get(1).filter(|_| cells.len() == 3);
        let anywhere = cells.iter().flat_map(|cell| code(cell));
        let paths = anywhere.filter(|code| code.contains("::"));
        for name in middle.into_iter().flat_map(|cell| code(cell)).chain(paths) {
            assert!(exists(name, &known), "`{name}` in {cells:?}");
            checked += 1;
        }
    }
    assert!(checked > 200, "only {checked} names were found");
}

fn exists(name: &str, known: &HashSet<String>) -> bool {
    // Both are `Builder` with something more.
    let shared = name.split_once("Builder::");
    let shared = shared.map(|(_, setting)| format!("Builder::{setting}"));
    known.contains(name) || shared.is_some_and(|name| known.contains(&name))
}

/// Public items, and the public members of types, of all sources in a folder.
fn read_names(folder: &Path, known: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_names(&path, known);
        } else {
            names_of(&std::fs::read_to_string(path).unwrap(), known);
        }
    }
}

fn names_of(source: &str, known: &mut HashSet<String>) {
    let mut owner = None;
    for line in source.lines() {
        if let Some(header) = line.strip_prefix("impl") {
            owner = Some((owner_of(header).to_owned(), false));
        } else if let Some(name) = item(line) {
            known.insert(name.to_owned());
            owner = Some((name.to_owned(), line.contains("enum ")));
        } else if line == "}" {
            owner = None;
        } else if let (Some((owner, is_enum)), Some(member)) = (&owner, line.strip_prefix("    ")) {
            let name = match is_enum {
                true => member.starts_with(char::is_uppercase).then(|| word(member)),
                false => item(member).or_else(|| member.strip_prefix("pub ").map(word)),
            };
            known.extend(name.map(|name| format!("{owner}::{name}")));
        }
    }
}

/// The name of a public item that begins here.
fn item(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let kinds = ["fn ", "struct ", "enum ", "trait ", "type ", "const "];
    let name = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    Some(word(name))
}

/// The type that `impl…` is for.
fn owner_of(header: &str) -> &str {
    let mut depth = 0;
    let end = header.find(|c| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0
    });
    let rest = &header[end.map_or(0, |end| end + 1)..];
    let rest = rest.split_once(" for ").map_or(rest, |(_, owner)| owner);
    word(rest.trim_start())
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn no_public_member_of_nodes_is_left_out() {
    let mut named = HashSet::new();
    for cells in rows() {
        for code in code(&cells[0]) {
            let words = code.split(|c: char| !c.is_alphanumeric());
            named.extend(words.map(str::to_owned));
        }
    }
    for (file, declaration) in NODE {
        let path = format!("node_modules/{file}.d.ts");
        let source = std::fs::read_to_string(Peer::directory().join(path)).unwrap();
        let members = members(&source, declaration);
        assert!(members.len() > 2, "{declaration}: {members:?}");
        for member in members {
            assert!(named.contains(member), "{member} of {file}, {declaration}");
        }
    }
}

/// Public members of a class or an interface, without those for the library's own use, which begin with an underscore.
fn members<'a>(source: &'a str, declaration: &str) -> Vec<&'a str> {
    let begins = |line: &str| {
        let rest = line.trim_start_matches("export ");
        let rest = rest
            .trim_start_matches("declare ")
            .strip_prefix(declaration);
        rest.is_some_and(|rest| rest.starts_with(['<', ' ']))
    };
    let lines = source.lines().skip_while(|line| !begins(line));
    let lines = lines.skip(1).take_while(|line| *line != "}");
    lines.filter_map(member).collect()
}

fn member(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("    ")?;
    let rest = rest.strip_prefix("readonly ").unwrap_or(rest);
    let rest = rest.strip_prefix("get ").unwrap_or(rest);
    let name = word(rest);
    let is_member = rest[name.len()..].starts_with([':', '?', '(', '<']);
    let is_theirs = matches!(name, "" | "constructor") || name.starts_with('_');
    (is_member && !is_theirs).then_some(name)
}
