//! Exceptions from the checks, each with its reason. One that nothing needs any more is reported.

use super::{Finding, Rule};

/// One file that need not keep one rule.
pub(super) struct Exception {
    /// Path from the root.
    pub(super) path: &'static str,
    pub(super) rule: Rule,
    #[expect(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const ALL: &[Exception] = &[Exception {
    path: "e2e/rust-client/Cargo.toml",
    rule: Rule::Lints,
    reason: "a workspace of its own has no lints to inherit",
}];

/// Remembers which exceptions were used.
#[derive(Default)]
pub(super) struct Exceptions {
    used: Vec<usize>,
}

impl Exceptions {
    /// Is there an exception for this finding?
    pub(super) fn cover(&mut self, finding: &Finding) -> bool {
        let index = ALL.iter().position(|exception| {
            exception.rule == finding.rule && finding.path.as_os_str() == exception.path
        });
        self.used.extend(index);
        index.is_some()
    }

    /// Exceptions that covered nothing.
    pub(super) fn unused(&self) -> impl Iterator<Item = &'static Exception> {
        ALL.iter()
            .enumerate()
            .filter(|(index, _)| !self.used.contains(index))
            .map(|(_, exception)| exception)
    }
}
