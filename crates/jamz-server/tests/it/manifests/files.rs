//! The kustomization lists every file, and every object lives in its namespace.

use std::collections::BTreeSet;

use super::Problems;
use super::bundle::{Bundle, list, text};

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    let kustomization = &bundle.kustomization;
    problems.unless(kustomization.kind == "Kustomization", || {
        "kustomization.yaml: kind must be Kustomization".to_owned()
    });
    problems.unless(
        kustomization.api_version == "kustomize.config.k8s.io/v1beta1",
        || {
            format!(
                "kustomization.yaml: apiVersion {} is not known",
                kustomization.api_version
            )
        },
    );
    listing(bundle, problems);
    namespaces(bundle, problems);
    replacements(bundle, problems);
}

fn listing(bundle: &Bundle, problems: &mut Problems) {
    let listed: BTreeSet<_> = bundle.kustomization.resources.iter().collect();
    let present: BTreeSet<_> = bundle.files.iter().collect();
    problems.unless(listed.len() == bundle.kustomization.resources.len(), || {
        "kustomization.yaml: a file is listed twice".to_owned()
    });
    for file in present.difference(&listed) {
        problems.0.push(format!(
            "kustomization.yaml: {file} exists and is not listed"
        ));
    }
    for file in listed.difference(&present) {
        problems.0.push(format!(
            "kustomization.yaml: {file} is listed and does not exist"
        ));
    }
}

fn namespaces(bundle: &Bundle, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for object in &bundle.objects {
        // Applied one by one the files must land where the kustomization would put them.
        problems.unless(
            object.text("/metadata/namespace") == bundle.kustomization.namespace,
            || {
                format!(
                    "{}: its namespace is not the kustomization's",
                    object.title()
                )
            },
        );
        problems.unless(seen.insert((object.kind(), object.name())), || {
            format!("{}: stands twice", object.title())
        });
    }
}

/// Every replacement reads from an object, and writes to a field, that exist: kustomize would stop at the first that does not.
fn replacements(bundle: &Bundle, problems: &mut Problems) {
    for replacement in &bundle.kustomization.replacements {
        let source = bundle.get(
            text(replacement, "/source/kind"),
            text(replacement, "/source/name"),
        );
        problems.unless(source.is_some(), || {
            "kustomization.yaml: the source of a replacement does not exist".to_owned()
        });
        for target in list(replacement, "/targets") {
            let selected = bundle.get(text(target, "/select/kind"), text(target, "/select/name"));
            problems.unless(selected.is_some(), || {
                "kustomization.yaml: the target of a replacement does not exist".to_owned()
            });
        }
    }
}
