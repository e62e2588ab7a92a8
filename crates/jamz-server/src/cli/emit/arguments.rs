//! The arguments of an event, from the command line, files and standard input.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};
use unisono::Value;
use unisono_cluster::limits::MAX_BUS_MESSAGE_BYTES;
use unisono_proto::value::{JsonError, from_json};

/// What stands for standard input.
const STDIN: &str = "-";

/// In the order in which the event has them.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Arguments of the event, each in JSON: 1, true, '"text"', '{"a": null}'; - reads one from standard input
    #[arg(value_name = "JSON", requires = "event", allow_negative_numbers = true)]
    json: Vec<String>,
    /// One more argument, the JSON in this file; - is standard input
    #[arg(long, value_name = "PATH", requires = "event")]
    file: Vec<PathBuf>,
    /// One more argument, the bytes of this file; - is standard input
    #[arg(
        long,
        value_name = "PATH",
        requires = "event",
        conflicts_with = "server_side"
    )]
    binary: Vec<PathBuf>,
}

/// Why an argument cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArgumentError {
    #[error("argument {text:?} is not JSON; write a text as '\"text\"'")]
    Json { text: String, source: JsonError },
    #[error("what is in {} is not JSON", path.display())]
    FileJson { path: PathBuf, source: JsonError },
    #[error("only one argument can come from standard input")]
    Stdin,
    #[error("{} has more than the {MAX_BUS_MESSAGE_BYTES} bytes that one message may have", path.display())]
    TooLarge { path: PathBuf },
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Arguments {
    /// Reads them all.
    pub(super) fn read(&self) -> Result<Vec<Value>, ArgumentError> {
        let files = self.file.iter().chain(&self.binary);
        let from_stdin = self.json.iter().filter(|text| *text == STDIN).count()
            + files.filter(|path| is_stdin(path)).count();
        if from_stdin > 1 {
            return Err(ArgumentError::Stdin);
        }
        let texts = self.json.iter().map(|text| match text.as_str() {
            STDIN => json_of(Path::new(STDIN)),
            text => from_json(text, &[]).map_err(|source| ArgumentError::Json {
                text: text.to_owned(),
                source,
            }),
        });
        let files = self.file.iter().map(|path| json_of(path));
        let binary = self
            .binary
            .iter()
            .map(|path| Ok(Value::Bin(bytes_of(path)?.into())));
        texts.chain(files).chain(binary).collect()
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

fn json_of(path: &Path) -> Result<Value, ArgumentError> {
    let bytes = bytes_of(path)?;
    from_json(&String::from_utf8_lossy(&bytes), &[]).map_err(|source| ArgumentError::FileJson {
        path: path.to_owned(),
        source,
    })
}

/// No more than a message may have: nothing larger could be sent.
fn bytes_of(path: &Path) -> Result<Vec<u8>, ArgumentError> {
    let mut bytes = Vec::new();
    let most = MAX_BUS_MESSAGE_BYTES as u64 + 1;
    let read = if is_stdin(path) {
        stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    let path = path.to_owned();
    match read {
        Err(source) => Err(ArgumentError::File { path, source }),
        Ok(count) if count > MAX_BUS_MESSAGE_BYTES => Err(ArgumentError::TooLarge { path }),
        Ok(_) => Ok(bytes),
    }
}

/// A list as several arguments.
pub(super) struct Spread(pub(super) Vec<Value>);

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}
