//! Where configuration text comes from: the process environment, or a table in tests.

use std::collections::BTreeMap;

/// A set of named texts, read once when the configuration is built.
pub trait Source {
    /// The text behind `name`; `None` if it is not set.
    fn text(&self, name: &str) -> Option<String>;
    /// Every name that is set.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process. Values that are not Unicode are read lossily,
/// so that the check of their content refuses them by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Source for ProcessEnvironment {
    fn text(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect()
    }
}

impl Source for BTreeMap<String, String> {
    fn text(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}
