//! Redis' glob patterns: matching them (for the in-memory bus) and escaping names inside them.

/// Escapes what a glob would interpret, so that the result matches exactly `literal`.
pub(crate) fn escape(literal: &str) -> String {
    let mut pattern = String::with_capacity(literal.len());
    for c in literal.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Whether `text` matches `pattern` under the rules of `PSUBSCRIBE`. Takes at most `pattern.len() * text.len()` steps.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to resume after a mismatch: behind the last star, one more byte of text swallowed by it.
    let mut resume = None;
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&b'*') {
            resume = Some((p + 1, t + 1));
            p += 1;
            continue;
        }
        if let Some(&byte) = text.get(t)
            && let Some(consumed) = match_one(&pattern[p..], byte)
        {
            p += consumed;
            t += 1;
            continue;
        }
        match resume {
            Some((after_star, next)) if next <= text.len() => {
                (p, t) = (after_star, next);
                resume = Some((after_star, next + 1));
            }
            _ => return false,
        }
    }
    true
}

/// Length of the pattern element that matches `byte`, or `None` when the first element does not match it.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [b'[', ..] => match_class(pattern, byte),
        [literal, ..] => (literal == byte).then_some(1),
    }
}

/// `[abc]`, `[a-z]`, `[^a]`, with backslash escapes; an unclosed class ends with the pattern.
fn match_class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut index = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern[index.min(pattern.len())..] {
            [] => break,
            [b']', ..] => {
                index += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                index += 2;
            }
            [from, b'-', to, ..] => {
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                index += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                index += 1;
            }
        }
    }
    (found != negated).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} on {text:?}");
        };
        check("socket.io#/#*", "socket.io#/#", true);
        check("socket.io#/#*", "socket.io#/#room#", true);
        check("socket.io#/#*", "socket.io#/chat#", false);
        check("", "", true);
        check("", "a", false);
        check("a", "", false);
        check("*", "", true);
        check("a*b*c", "aXbYc", true);
        check("a*b*c", "aXbY", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("a[bc]d", "acd", true);
        check("a[^bc]d", "acd", false);
        check("a[0-9]", "a5", true);
        check("a[9-0]", "a5", true);
        check("a\\*", "a*", true);
        check("a\\*", "ab", false);
        check("a[b", "ab", true);
        check("a[\\]]", "a]", true);
        check("a[", "a", false);
        check("a\\", "a\\", true);
    }

    #[test]
    fn an_escaped_name_matches_itself_alone() {
        for name in ["/", "/a[b]", "/x*", "/?", "/back\\slash", "/caret^-"] {
            assert!(matches(&escape(name), name), "{name}");
            assert!(!matches(&escape(name), &format!("{name}x")), "{name}");
        }
        assert!(!matches(&escape("/x*"), "/xy"));
        assert!(!matches(&escape("/a[b]"), "/ab"));
    }

    #[test]
    fn hostile_patterns_end() {
        let text = "a".repeat(2_000);
        assert!(!matches(&format!("{}b", "*a".repeat(100)), &text));
    }
}
