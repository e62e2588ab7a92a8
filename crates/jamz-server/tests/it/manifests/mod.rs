//! The manifests in `kubernetes/`, the `Dockerfile` and the documents for operators, held against the constants of the binary.
//!
//! A manifest can be valid and wrong all the same: a budget that selects no pod, a probe of a path that nobody serves, a grace period
//! shorter than the drain. Each rule is a function from the [`Bundle`] to problems in words. One test wants no problem in the files as they
//! are; another breaks them, one value at a time, and wants the rule to say so.

mod binary;
mod breakage;
mod bundle;
mod docs;
mod document;
mod files;
mod hardening;
mod image;
mod redis_server;
mod schema;
mod wiring;

use bundle::Bundle;

/// What is wrong, in sentences that name the file and the object.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    /// Notes `problem` unless `right`.
    fn unless(&mut self, right: bool, problem: impl FnOnce() -> String) {
        if !right {
            self.0.push(problem());
        }
    }
}

/// All rules over the whole bundle.
fn problems(bundle: &Bundle) -> Vec<String> {
    let mut problems = Problems::default();
    for rules in [
        files::rules,
        schema::rules,
        wiring::rules,
        binary::rules,
        redis_server::rules,
        hardening::rules,
        document::rules,
        image::rules,
    ] {
        rules(bundle, &mut problems);
    }
    problems.0
}

#[test]
fn manifests_obey_every_rule() {
    let problems = problems(&Bundle::load());
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}
