//! Rust source without what is not code: comments, and the insides of strings and characters, become spaces. Lines stay where they are.

/// Blanks comments and literals. Good enough to count lines and find calls; what it cannot tell apart, it leaves.
pub(super) fn scrub(source: &str) -> String {
    let mut scrubber = Scrubber {
        source: source.as_bytes(),
        at: 0,
        out: Vec::with_capacity(source.len()),
    };
    while scrubber.at < scrubber.source.len() {
        scrubber.token();
    }
    String::from_utf8_lossy(&scrubber.out).into_owned()
}

struct Scrubber<'s> {
    source: &'s [u8],
    at: usize,
    out: Vec<u8>,
}

impl Scrubber<'_> {
    fn rest(&self) -> &[u8] {
        &self.source[self.at..]
    }

    fn keep(&mut self, count: usize) {
        self.out
            .extend_from_slice(&self.source[self.at..self.at + count]);
        self.at += count;
    }

    fn blank(&mut self, count: usize) {
        let end = (self.at + count).min(self.source.len());
        self.out.extend(
            self.source[self.at..end]
                .iter()
                .map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }),
        );
        self.at = end;
    }

    fn token(&mut self) {
        match self.rest() {
            [b'/', b'/', ..] => {
                let line = self.rest().iter().position(|byte| *byte == b'\n');
                self.blank(line.unwrap_or(self.source.len()));
            }
            [b'/', b'*', ..] => self.block_comment(),
            [b'"', ..] => self.string(),
            [b'\'', ..] => self.quote(),
            [first, ..] if first.is_ascii_alphanumeric() || *first == b'_' => self.word(),
            _ => self.keep(1),
        }
    }

    /// A name, a number, or the prefix of a raw string.
    fn word(&mut self) {
        let length = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
            .count();
        let is_raw = matches!(&self.rest()[..length], b"r" | b"br" | b"cr");
        self.keep(length);
        let hashes = self.rest().iter().take_while(|byte| **byte == b'#').count();
        if is_raw && self.rest().get(hashes) == Some(&b'"') {
            self.keep(hashes + 1);
            let end = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            let length = self
                .rest()
                .windows(end.len())
                .position(|window| window == end)
                .unwrap_or(self.rest().len());
            self.blank(length);
            self.keep(end.len().min(self.rest().len()));
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match self.rest() {
                [b'/', b'*', ..] => {
                    depth += 1;
                    self.blank(2);
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.blank(2);
                }
                [] => return,
                _ => self.blank(1),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep(1);
        loop {
            match self.rest() {
                [b'\\', ..] => self.blank(2),
                [b'"', ..] => return self.keep(1),
                [] => return,
                _ => self.blank(1),
            }
        }
    }

    /// A character, or a lifetime.
    fn quote(&mut self) {
        match self.rest() {
            [_, b'\\', ..] => {
                self.blank(3);
                while !matches!(self.rest(), [b'\'', ..] | []) {
                    self.blank(1);
                }
                self.blank(1);
            }
            [_, first, ..] => {
                // The character's length in UTF-8 tells where its closing quote would be.
                let width = 1
                    + usize::from(*first >= 0xc0)
                    + usize::from(*first >= 0xe0)
                    + usize::from(*first >= 0xf0);
                if self.rest().get(1 + width) == Some(&b'\'') {
                    self.blank(2 + width);
                } else {
                    self.keep(1);
                }
            }
            _ => self.keep(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(scrub(source), expected, "{source}");
        // Cut off anywhere, it must come to an end and keep the lines.
        for cut in (0..source.len()).filter(|cut| source.is_char_boundary(*cut)) {
            assert_eq!(
                scrub(&source[..cut]).lines().count(),
                source[..cut].lines().count()
            );
        }
    }

    #[test]
    fn blanks_what_is_not_code() {
        check("a // b { }\nc", "a         \nc");
        check("/* { /* } */ \n */ d", "             \n    d");
        check(r#"f("a\"{", b"}")"#, r#"f("    ", b" ")"#);
        check("r#\"a\"{\"# + br\"\\\" + r", "r#\"   \"# + br\" \" + r");
        check("'{' '\\'' '\\u{7d}' 'é' x", &format!("{}x", " ".repeat(23)));
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("for_ r#type r", "for_ r#type r");
    }
}
