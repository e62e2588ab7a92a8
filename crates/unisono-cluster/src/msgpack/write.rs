//! Writing values as `notepack` does.

use bytes::Bytes;
use unisono_proto::Value;

use crate::classic::EncodeError;
use crate::limits::{MAX_ATTACHMENTS, MAX_DEPTH};

/// The largest magnitude up to which a double holds every integer: beyond it JavaScript needs a float64.
const EXACT_INTEGER: i64 = 1 << 53;

/// Marker of an unsigned 32-bit integer, big endian.
const UINT32: u8 = 0xce;

/// Marker of an array whose length has 32 bits.
const ARRAY32: u8 = 0xdd;

/// Appends to one buffer; remembers where four bytes were left open.
pub(crate) struct Writer {
    out: Vec<u8>,
    holes: Vec<usize>,
    attachments: usize,
    /// Whether clients get what is written, hence not more byte strings than they take.
    for_clients: bool,
}

/// Writing to a `Vec` reports no errors.
const INFALLIBLE: &str = "writing to a Vec cannot fail";

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            holes: Vec::new(),
            attachments: 0,
            for_clients: true,
        }
    }

    /// What is written stays among the nodes: any number of byte strings.
    pub(crate) fn for_nodes(self) -> Self {
        Self {
            for_clients: false,
            ..self
        }
    }

    pub(crate) fn array(&mut self, len: usize) {
        rmp::encode::write_array_len(&mut self.out, len as u32).expect(INFALLIBLE);
    }

    pub(crate) fn map(&mut self, len: usize) {
        rmp::encode::write_map_len(&mut self.out, len as u32).expect(INFALLIBLE);
    }

    pub(crate) fn str(&mut self, text: &str) {
        rmp::encode::write_str(&mut self.out, text).expect(INFALLIBLE);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.push(if value { 0xc3 } else { 0xc2 });
    }

    pub(crate) fn bin(&mut self, bytes: &[u8]) {
        rmp::encode::write_bin(&mut self.out, bytes).expect(INFALLIBLE);
    }

    pub(crate) fn int(&mut self, value: i64) {
        if (-EXACT_INTEGER..=EXACT_INTEGER).contains(&value) {
            rmp::encode::write_sint(&mut self.out, value).expect(INFALLIBLE);
        } else {
            rmp::encode::write_f64(&mut self.out, value as f64).expect(INFALLIBLE);
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn uint32(&mut self, value: u32) {
        self.out.push(UINT32);
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// An unsigned 32-bit integer that is filled in later.
    pub(crate) fn uint32_hole(&mut self) {
        self.out.push(UINT32);
        self.holes.push(self.out.len());
        self.out.extend_from_slice(&[0; 4]);
    }

    /// `depth` is the level of `value`: 1 for the outermost.
    pub(crate) fn value(&mut self, value: &Value, depth: usize) -> Result<(), EncodeError> {
        match value {
            Value::Null => self.out.push(0xc0),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => self.float(*value),
            Value::Str(text) => self.str(text),
            Value::Bin(bytes) => {
                self.attachments += 1;
                if self.for_clients && self.attachments > MAX_ATTACHMENTS {
                    return Err(EncodeError::TooManyAttachments);
                }
                self.bin(bytes);
            }
            Value::Array(items) => {
                check_depth(depth)?;
                self.array(items.len());
                items
                    .iter()
                    .try_for_each(|item| self.value(item, depth + 1))?;
            }
            Value::Map(pairs) => {
                check_depth(depth)?;
                self.map(pairs.len());
                pairs
                    .iter()
                    .try_for_each(|pair| self.pair(pair, depth + 1))?;
            }
        }
        Ok(())
    }

    /// Key and value; `depth` is the level of the value.
    pub(crate) fn pair(
        &mut self,
        (key, value): &(String, Value),
        depth: usize,
    ) -> Result<(), EncodeError> {
        self.str(key);
        self.value(value, depth)
    }

    fn float(&mut self, value: f64) {
        if value.fract() == 0.0 && value.abs() <= EXACT_INTEGER as f64 {
            self.int(value as i64);
        } else {
            rmp::encode::write_f64(&mut self.out, value).expect(INFALLIBLE);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written beyond that length; no hole may be there.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Sets the length of an array of 32 bits that was opened at `at`.
    pub(crate) fn set_array32(&mut self, at: usize, len: u32) {
        if let Some(place) = self.out.get_mut(at + 1..at + 5) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }

    /// Opens an array whose length is set later; gives where it stands.
    pub(crate) fn array32(&mut self) -> usize {
        let at = self.out.len();
        self.out.extend_from_slice(&[ARRAY32, 0, 0, 0, 0]);
        at
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.out)
    }

    /// The parts before, between and behind the holes.
    pub(crate) fn finish_segments(self) -> Vec<Bytes> {
        let whole = Bytes::from(self.out);
        let mut segments = Vec::with_capacity(self.holes.len() + 1);
        let mut start = 0;
        for hole in self.holes {
            segments.push(whole.slice(start..hole));
            start = hole + 4;
        }
        segments.push(whole.slice(start..));
        segments
    }
}

fn check_depth(depth: usize) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        Err(EncodeError::TooDeep)
    } else {
        Ok(())
    }
}
