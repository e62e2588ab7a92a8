//! Strict validation against the Kubernetes API, without a cluster.
//!
//! The typed structs ignore fields they do not know, as a lenient API server does. So each object is read into its type, written back and
//! compared: whatever the type did not understand is missing afterwards.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Problems;
use super::bundle::{Bundle, Object, parse};

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    for object in &bundle.objects {
        for problem in strict(object) {
            problems.0.push(format!("{}: {problem}", object.title()));
        }
    }
}

/// What the API would not understand. Versions that are not listed are removed from Kubernetes, or not used here.
fn strict(object: &Object) -> Vec<String> {
    let body = &object.body;
    match (object.text("/apiVersion"), object.kind()) {
        ("apps/v1", "Deployment") => round_trip::<Deployment>(body),
        ("apps/v1", "StatefulSet") => round_trip::<StatefulSet>(body),
        ("v1", "Service") => round_trip::<Service>(body),
        ("networking.k8s.io/v1", "Ingress") => round_trip::<Ingress>(body),
        ("networking.k8s.io/v1", "NetworkPolicy") => round_trip::<NetworkPolicy>(body),
        ("policy/v1", "PodDisruptionBudget") => round_trip::<PodDisruptionBudget>(body),
        (version, kind) => vec![format!(
            "{version} {kind} is not a kind that this project deploys"
        )],
    }
}

fn round_trip<T: DeserializeOwned + Serialize>(body: &Value) -> Vec<String> {
    match serde_json::from_value::<T>(body.clone()) {
        Err(error) => vec![error.to_string()],
        Ok(typed) => {
            let back = serde_json::to_value(typed).expect("an API type is written as JSON");
            let mut lost = Vec::new();
            compare("", body, &back, &mut lost);
            lost
        }
    }
}

/// Everything of `before` must stand in `after`; `after` may have more (required fields with their defaults).
/// The depth is that of our own files.
fn compare(path: &str, before: &Value, after: &Value, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}/{key}");
                match after.get(key) {
                    None => lost.push(format!("{path} is not a field")),
                    Some(after) => compare(&path, value, after, lost),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{path}/{index}"), before, after, lost);
            }
        }
        (before, after) if before == after => {}
        (before, after) => lost.push(format!("{path} is {before}, and was understood as {after}")),
    }
}

fn check(source: &str, expected: &str) {
    let objects = parse("test.yaml", source);
    let found = strict(&objects[0]);
    assert!(
        found.iter().any(|problem| problem.contains(expected)),
        "wanted {expected:?}, found {found:?} in\n{source}"
    );
}

#[test]
fn wrong_fields_and_types_are_caught() {
    let deployment = |line: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: x}}\n\
             spec: {{selector: {{}}, template: {{spec: {{containers: [{{name: a}}], {line}}}}}}}"
        )
    };
    check(
        &deployment("terminationGracePeriodSecond: 45"),
        "/spec/template/spec/terminationGracePeriodSecond is not a field",
    );
    check(
        &deployment("terminationGracePeriodSeconds: \"45\""),
        "invalid type",
    );
    check(&deployment("enableServiceLinks: 1"), "invalid type");
    check(
        &deployment("securityContext: {seccompProfil: {type: RuntimeDefault}}"),
        "seccompProfil is not a field",
    );
    check(
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: http}]}",
        "invalid type",
    );
    check(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\n\
         spec: {podSelector: {}, ingress: [{from: [{namespaceSelectors: {}}]}]}",
        "/spec/ingress/0/from/0/namespaceSelectors is not a field",
    );
}

#[test]
fn removed_and_unknown_kinds_are_refused() {
    for (version, kind) in [
        ("extensions/v1beta1", "Ingress"),
        ("networking.k8s.io/v1beta1", "Ingress"),
        ("policy/v1beta1", "PodDisruptionBudget"),
        ("policy/v1beta1", "PodSecurityPolicy"),
        ("apps/v1beta2", "Deployment"),
        ("v1", "Endpoints"),
    ] {
        check(
            &format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}"),
            "is not a kind that this project deploys",
        );
    }
}
