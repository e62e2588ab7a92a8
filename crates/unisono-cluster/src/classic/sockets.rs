//! An answer with sockets, written one after another.

use bytes::Bytes;
use unisono_proto::Value;
use unisono_proto::limits::MAX_JSON_DEPTH;

use super::EncodeError;
use super::body::JsonWriter;
use super::encode::check_size;

/// Levels around a socket: the answer and its list.
const LEVELS: usize = 2;

/// The same bytes as [`encode_answer`](super::encode_answer) of [`AnswerBody::Sockets`](super::AnswerBody::Sockets), socket by socket: one
/// that cannot be written does not spoil the rest, and no more is ever held than one message may have.
#[derive(Debug)]
pub struct SocketsAnswer {
    writer: JsonWriter,
    sockets: usize,
    /// Closes the list and the answer.
    end: String,
}

impl SocketsAnswer {
    /// An answer to the request of that id, without sockets yet. `from` is the id of the server that answers.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn new(id: &str, from: Option<&str>) -> Result<Self, EncodeError> {
        let mut end = JsonWriter::default();
        end.out.push(']');
        if let Some(from) = from {
            end.out.push(',');
            end.key("from")?;
            end.value(&Value::Str(from.to_owned()), MAX_JSON_DEPTH)?;
        }
        end.out.push('}');
        let mut writer = JsonWriter::default();
        writer.out.push('{');
        writer.key("requestId")?;
        writer.value(&Value::Str(id.to_owned()), MAX_JSON_DEPTH)?;
        writer.out.push(',');
        writer.key("sockets")?;
        writer.out.push('[');
        // The list.
        writer.count(1)?;
        Ok(Self {
            writer,
            sockets: 0,
            end: end.out,
        })
    }

    /// Adds a socket.
    ///
    /// # Errors
    /// [`EncodeError::TooDeep`]; or with it the answer would be larger, or have more values, than other nodes read. It is as it was before.
    pub fn push(&mut self, socket: &Value) -> Result<(), EncodeError> {
        let before = (self.writer.out.len(), self.writer.values);
        let pushed = self.write(socket);
        match pushed {
            Ok(()) => self.sockets += 1,
            Err(_) => {
                self.writer.out.truncate(before.0);
                self.writer.values = before.1;
            }
        }
        pushed
    }

    fn write(&mut self, socket: &Value) -> Result<(), EncodeError> {
        if self.sockets > 0 {
            self.writer.out.push(',');
        }
        self.writer.value(socket, MAX_JSON_DEPTH - LEVELS)?;
        check_size(self.writer.out.len() + self.end.len())
    }

    /// The whole answer.
    pub fn finish(mut self) -> Bytes {
        self.writer.out.push_str(&self.end);
        Bytes::from(self.writer.out)
    }
}
