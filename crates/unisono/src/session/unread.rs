//! What was read and waits to be decoded, because the handlers are behind.

/// Bytes that are decoded from the front. They stay where they are while that goes on piece by piece, however many pieces it takes.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    bytes: Vec<u8>,
    /// How far they are decoded.
    at: usize,
}

impl Unread {
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// What is to be decoded.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.at..]
    }

    /// All but the last `left` bytes are decoded. Of none the memory is given back.
    pub(crate) fn keep_last(&mut self, left: usize) {
        if left == 0 {
            *self = Self::default();
        } else {
            self.at = self.bytes.len().saturating_sub(left);
        }
    }
}

impl From<Vec<u8>> for Unread {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_not_moved() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut unread = Unread::from(bytes);
        let end = unread.rest().as_ptr_range().end;
        for left in (1..100).rev() {
            unread.keep_last(left);
            assert_eq!(unread.rest()[0], 100 - left as u8);
            assert_eq!(unread.rest().as_ptr_range().end, end);
            assert!(!unread.is_empty());
        }
        unread.keep_last(0);
        assert!(unread.is_empty());
        assert_eq!(unread.bytes.capacity(), 0);
    }
}
