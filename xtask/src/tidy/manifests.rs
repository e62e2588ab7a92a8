//! Checks of Cargo and Kubernetes manifests.

use super::{File, Finding, Rule};

/// Every package must inherit the workspace's lints: forgetting to is silent.
pub(super) fn check_lints(file: &File) -> Option<Finding> {
    let is_package = file.text.contains("[package]");
    // Fuzz targets and the servers that ours is compared with are no part of the workspace.
    if !is_package
        || file.path.starts_with("fuzz")
        || file.path.starts_with("bench/peers")
        || file.text.contains("[lints]\nworkspace = true")
    {
        return None;
    }
    Some(file.finding(Rule::Lints, 0, "add `[lints]` with `workspace = true`"))
}

/// Every manifest is applied: one that kustomization.yaml does not list is dead, or forgotten.
pub(super) fn check_kustomization(files: &[File]) -> Vec<Finding> {
    let Some(kustomization) = files
        .iter()
        .find(|file| file.path.ends_with("kubernetes/kustomization.yaml"))
    else {
        return Vec::new();
    };
    let folder = kustomization.path.parent().unwrap_or(&kustomization.path);
    let listed: Vec<&str> = kustomization
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .collect();
    let manifests = files.iter().filter(|file| {
        file.path.starts_with(folder)
            && file.has_extension("yaml")
            && file.path != kustomization.path
    });
    let name = |file: &File| {
        file.path
            .strip_prefix(folder)
            .unwrap_or(&file.path)
            .to_string_lossy()
            .into_owned()
    };
    manifests
        .filter(|file| !listed.contains(&name(file).as_str()))
        .map(|file| {
            file.finding(
                Rule::Manifest,
                0,
                "kustomization.yaml does not list this file",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn finds_packages_without_lints() {
        assert!(check_lints(&file("a/Cargo.toml", "[package]\nname = \"a\"\n")).is_some());
        assert!(
            check_lints(&file(
                "a/Cargo.toml",
                "[package]\n\n[lints]\nworkspace = true\n"
            ))
            .is_none()
        );
        assert!(check_lints(&file("Cargo.toml", "[workspace]\n")).is_none());
    }

    #[test]
    fn finds_manifests_that_are_not_listed() {
        let list = file("kubernetes/kustomization.yaml", "resources:\n  - a.yaml\n");
        let findings = check_kustomization(&[
            list,
            file("kubernetes/a.yaml", ""),
            file("kubernetes/b.yaml", ""),
            file("c.yaml", ""),
        ]);
        let paths: Vec<_> = findings
            .iter()
            .map(|finding| finding.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["kubernetes/b.yaml"]);
    }
}
