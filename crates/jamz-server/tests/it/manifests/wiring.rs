//! Names that point at each other: selectors, ports, services, volumes.

use serde_json::Value;

use super::Problems;
use super::bundle::{Bundle, Object, at, list, text};

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    for workload in bundle.workloads() {
        own_pods(workload, problems);
        probe_ports(workload, problems);
    }
    for service in bundle.all("Service") {
        service_ports(bundle, service, problems);
    }
    for budget in bundle.all("PodDisruptionBudget") {
        let selector = budget.at("/spec/selector/matchLabels");
        problems.unless(selected(bundle, selector).count() == 1, || {
            format!(
                "{}: its selector must match one workload's pods",
                budget.title()
            )
        });
    }
    for policy in bundle.all("NetworkPolicy") {
        policy_peers(bundle, policy, problems);
    }
    for ingress in bundle.all("Ingress") {
        ingress_backends(bundle, ingress, problems);
    }
    stateful_sets(bundle, problems);
}

/// Whether every label of the selector is on the pod. An empty selector matches every pod, so it counts as none: nothing here means that.
fn matches(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// The workloads whose pods the selector matches.
fn selected<'a>(bundle: &'a Bundle, selector: &'a Value) -> impl Iterator<Item = &'a Object> {
    bundle
        .workloads()
        .filter(move |workload| matches(selector, workload.at("/spec/template/metadata/labels")))
}

fn own_pods(workload: &Object, problems: &mut Problems) {
    let labels = workload.at("/spec/template/metadata/labels");
    problems.unless(
        matches(workload.at("/spec/selector/matchLabels"), labels),
        || {
            format!(
                "{}: its selector does not match its own pods",
                workload.title()
            )
        },
    );
    for spread in list(
        &workload.body,
        "/spec/template/spec/topologySpreadConstraints",
    ) {
        problems.unless(
            matches(at(spread, "/labelSelector/matchLabels"), labels),
            || {
                format!(
                    "{}: a spread constraint does not match its own pods",
                    workload.title()
                )
            },
        );
        problems.unless(
            list(spread, "/matchLabelKeys").contains(&"pod-template-hash".into()),
            || {
                format!(
                    "{}: a spread constraint counts the pods of the previous roll-out",
                    workload.title()
                )
            },
        );
    }
}

fn probe_ports(workload: &Object, problems: &mut Problems) {
    for container in workload.containers() {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let port = at(container, &format!("/{probe}/httpGet/port"));
            problems.unless(port.is_null() || resolve(container, port).is_some(), || {
                format!(
                    "{}: {probe} names the port {port}, which no container has",
                    workload.title()
                )
            });
        }
    }
}

/// The number of a container's port, given by name or by number.
pub(super) fn resolve(container: &Value, port: &Value) -> Option<u64> {
    list(container, "/ports")
        .iter()
        .find(|candidate| match port {
            Value::String(name) => text(candidate, "/name") == name,
            number => at(candidate, "/containerPort") == number,
        })
        .and_then(|found| at(found, "/containerPort").as_u64())
}

/// Numbers of the container ports that a service leads to, in the order of its ports; a port that leads nowhere is left out.
pub(super) fn targets(bundle: &Bundle, service: &Object) -> Vec<u64> {
    let workloads: Vec<_> = selected(bundle, service.at("/spec/selector")).collect();
    list(&service.body, "/spec/ports")
        .iter()
        .filter_map(|port| {
            let target = match at(port, "/targetPort") {
                Value::Null => at(port, "/port"),
                target => target,
            };
            workloads
                .iter()
                .flat_map(|workload| workload.containers())
                .find_map(|container| resolve(container, target))
        })
        .collect()
}

fn service_ports(bundle: &Bundle, service: &Object, problems: &mut Problems) {
    problems.unless(
        selected(bundle, service.at("/spec/selector")).count() == 1,
        || {
            format!(
                "{}: its selector must match one workload's pods",
                service.title()
            )
        },
    );
    problems.unless(
        targets(bundle, service).len() == list(&service.body, "/spec/ports").len(),
        || format!("{}: a port leads to no container port", service.title()),
    );
}

/// Peers of this namespace are pods of this bundle; the others are told by their namespace's name.
fn policy_peers(bundle: &Bundle, policy: &Object, problems: &mut Problems) {
    problems.unless(
        selected(bundle, policy.at("/spec/podSelector/matchLabels")).count() == 1,
        || {
            format!(
                "{}: its selector must match one workload's pods",
                policy.title()
            )
        },
    );
    for (direction, peers, title) in [("ingress", "/from", "Ingress"), ("egress", "/to", "Egress")]
    {
        problems.unless(
            list(&policy.body, "/spec/policyTypes").contains(&title.into()),
            || format!("{}: {direction} is left open", policy.title()),
        );
        for rule in list(&policy.body, &format!("/spec/{direction}")) {
            problems.unless(
                !list(rule, peers).is_empty() && !list(rule, "/ports").is_empty(),
                || {
                    format!(
                        "{}: a rule for {direction} must name its peers and its ports",
                        policy.title()
                    )
                },
            );
            for peer in list(rule, peers) {
                let elsewhere = !at(peer, "/namespaceSelector").is_null();
                let here = selected(bundle, at(peer, "/podSelector/matchLabels")).count() == 1;
                problems.unless(elsewhere || here, || {
                    format!("{}: a peer of {direction} matches no pod", policy.title())
                });
            }
        }
    }
}

fn ingress_backends(bundle: &Bundle, ingress: &Object, problems: &mut Problems) {
    for path in list(&ingress.body, "/spec/rules")
        .iter()
        .flat_map(|rule| list(rule, "/http/paths"))
    {
        let service = bundle.get("Service", text(path, "/backend/service/name"));
        let wanted = at(path, "/backend/service/port");
        let found = service.is_some_and(|service| {
            list(&service.body, "/spec/ports").iter().any(|port| {
                (wanted.get("name").is_some() && wanted.get("name") == port.get("name"))
                    || (wanted.get("number").is_some() && wanted.get("number") == port.get("port"))
            })
        });
        problems.unless(found, || {
            format!(
                "{}: the path {} leads to no service port",
                ingress.title(),
                text(path, "/path")
            )
        });
    }
}

fn stateful_sets(bundle: &Bundle, problems: &mut Problems) {
    for set in bundle.all("StatefulSet") {
        let service = bundle.get("Service", set.text("/spec/serviceName"));
        problems.unless(
            service.is_some_and(|service| service.text("/spec/clusterIP") == "None"),
            || format!("{}: its service must exist and be headless", set.title()),
        );
        let claims = list(&set.body, "/spec/volumeClaimTemplates");
        for mount in set
            .containers()
            .iter()
            .flat_map(|container| list(container, "/volumeMounts"))
        {
            let found = claims
                .iter()
                .any(|claim| text(claim, "/metadata/name") == text(mount, "/name"));
            problems.unless(found, || {
                format!(
                    "{}: the mount {} has no volume",
                    set.title(),
                    text(mount, "/name")
                )
            });
        }
    }
}
