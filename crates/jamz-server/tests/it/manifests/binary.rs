//! The manifests against the constants of the binary: ports, paths, variables, and the arithmetic of the drain.

use std::collections::BTreeSet;

use jamz_server::config::names;
use jamz_server::http::{LIVEZ, READYZ};
use serde_json::Value;

use super::Problems;
use super::bundle::{Bundle, Object, at, list, text};
use super::wiring::{resolve, targets};

/// Seconds that must be left when the pre-stop pause and the drain have both taken all of their time: to leave Redis, to flush the log and
/// for a node that is short of CPU.
const GRACE_MARGIN_SECONDS: u64 = 10;

/// The workload and the container that run the binary.
const BACKEND: &str = "trafficjamz-backend";
const CONTAINER: &str = "backend";

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    let Some(backend) = bundle.get("Deployment", BACKEND) else {
        return problems.0.push(format!("there is no Deployment {BACKEND}"));
    };
    let Some(container) = backend
        .containers()
        .iter()
        .find(|container| text(container, "/name") == CONTAINER)
    else {
        return problems.0.push(format!(
            "{}: there is no container {CONTAINER}",
            backend.title()
        ));
    };
    let ports = Ports::of(container);
    variables(backend, container, problems);
    listening(backend, container, &ports, problems);
    probes(backend, container, &ports, problems);
    grace(backend, container, problems);
    admin_stays_inside(bundle, &ports, problems);
    policy_ports(bundle, &ports, problems);
    redis_url(bundle, backend, container, problems);
    payload(bundle, container, problems);
}

/// The ports that the binary will listen on with the environment of the manifest.
struct Ports {
    client: u64,
    admin: u64,
}

impl Ports {
    fn of(container: &Value) -> Self {
        Ports {
            client: number(container, names::PORT, names::DEFAULT_PORT.into()),
            admin: number(
                container,
                names::ADMIN_PORT,
                names::DEFAULT_ADMIN_PORT.into(),
            ),
        }
    }
}

/// The literal value of an environment variable of the container.
fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    list(container, "/env")
        .iter()
        .find(|entry| text(entry, "/name") == name)
        .and_then(|entry| at(entry, "/value").as_str())
}

/// A variable that is a number, or what the binary takes in its place.
fn number(container: &Value, name: &str, default: u64) -> u64 {
    variable(container, name)
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn variables(backend: &Object, container: &Value, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for entry in list(container, "/env") {
        let name = text(entry, "/name");
        problems.unless(names::ALL.contains(&name), || {
            format!("{}: the binary does not read {name}", backend.title())
        });
        problems.unless(seen.insert(name), || {
            format!("{}: {name} is set twice", backend.title())
        });
        let from = at(entry, "/valueFrom");
        problems.unless(at(entry, "/value").is_null() != from.is_null(), || {
            format!("{}: {name} has no value", backend.title())
        });
    }
    let pod_name = list(container, "/env")
        .iter()
        .find(|entry| text(entry, "/name") == names::POD_NAME)
        .map(|entry| text(entry, "/valueFrom/fieldRef/fieldPath"));
    problems.unless(pod_name == Some("metadata.name"), || {
        format!(
            "{}: {} must be the pod's name",
            backend.title(),
            names::POD_NAME
        )
    });
}

fn listening(backend: &Object, container: &Value, ports: &Ports, problems: &mut Problems) {
    for (name, port) in [("http", ports.client), ("admin", ports.admin)] {
        let declared = resolve(container, &name.into());
        problems.unless(declared == Some(port), || {
            format!(
                "{}: the port {name} is {declared:?}, the binary listens on {port}",
                backend.title()
            )
        });
    }
}

fn probes(backend: &Object, container: &Value, ports: &Ports, problems: &mut Problems) {
    for (probe, path) in [
        ("startupProbe", LIVEZ),
        ("livenessProbe", LIVEZ),
        ("readinessProbe", READYZ),
    ] {
        let get = at(container, &format!("/{probe}/httpGet"));
        problems.unless(text(get, "/path") == path, || {
            format!(
                "{}: {probe} asks for {:?}, the binary serves {path}",
                backend.title(),
                text(get, "/path")
            )
        });
        problems.unless(
            resolve(container, at(get, "/port")) == Some(ports.admin),
            || {
                format!(
                    "{}: {probe} must ask the admin port {}",
                    backend.title(),
                    ports.admin
                )
            },
        );
    }
}

/// The pod may live for pre-stop + drain + margin after it is told to go.
fn grace(backend: &Object, container: &Value, problems: &mut Problems) {
    let sleep = at(container, "/lifecycle/preStop/sleep/seconds").as_u64();
    problems.unless(sleep.is_some_and(|seconds| seconds > 0), || {
        format!("{}: a native pre-stop sleep is missing", backend.title())
    });
    let drain = number(
        container,
        names::DRAIN_SECONDS,
        names::DEFAULT_DRAIN_SECONDS,
    );
    let grace = backend
        .at("/spec/template/spec/terminationGracePeriodSeconds")
        .as_u64()
        // What Kubernetes takes when nothing is said.
        .unwrap_or(30);
    let needed = sleep.unwrap_or(0) + drain + GRACE_MARGIN_SECONDS;
    problems.unless(grace >= needed, || {
        format!(
            "{}: the grace period is {grace} s, pre-stop, drain and margin need {needed} s",
            backend.title()
        )
    });
}

fn admin_stays_inside(bundle: &Bundle, ports: &Ports, problems: &mut Problems) {
    for service in bundle.all("Service") {
        problems.unless(!targets(bundle, service).contains(&ports.admin), || {
            format!("{}: it exposes the admin port", service.title())
        });
    }
    let clients = bundle
        .get("Service", BACKEND)
        .map(|service| targets(bundle, service))
        .unwrap_or_default();
    problems.unless(clients == [ports.client], || {
        format!("Service {BACKEND}: it must lead to the client port alone, not to {clients:?}")
    });
}

fn policy_ports(bundle: &Bundle, ports: &Ports, problems: &mut Problems) {
    let Some(policy) = bundle.get("NetworkPolicy", BACKEND) else {
        return problems
            .0
            .push(format!("there is no NetworkPolicy {BACKEND}"));
    };
    let rules = list(&policy.body, "/spec/ingress");
    let open: BTreeSet<u64> = rules.iter().flat_map(rule_ports).collect();
    problems.unless(open == BTreeSet::from([ports.client, ports.admin]), || {
        format!(
            "{}: it opens {open:?}, the binary listens on {} and {}",
            policy.title(),
            ports.client,
            ports.admin
        )
    });
    // Whoever may reach clients' port must not reach the admin port by the same rule.
    problems.unless(rules.iter().all(|rule| rule_ports(rule).len() == 1), || {
        format!("{}: one rule opens both ports", policy.title())
    });
    let redis = bundle.get("NetworkPolicy", "redis");
    let inward: Vec<u64> = redis
        .iter()
        .flat_map(|policy| list(&policy.body, "/spec/ingress"))
        .flat_map(rule_ports)
        .collect();
    let outward: Vec<u64> = list(&policy.body, "/spec/egress")
        .iter()
        .flat_map(rule_ports)
        .collect();
    let served = bundle
        .get("Service", "redis-service")
        .map(|service| targets(bundle, service))
        .unwrap_or_default();
    problems.unless(
        inward == served && outward.iter().any(|port| served.contains(port)),
        || {
            format!(
                "{}: the way to Redis {served:?} is not open",
                policy.title()
            )
        },
    );
    problems.unless(outward.contains(&53), || {
        format!("{}: names cannot be resolved", policy.title())
    });
}

fn rule_ports(rule: &Value) -> Vec<u64> {
    list(rule, "/ports")
        .iter()
        .filter_map(|port| at(port, "/port").as_u64())
        .collect()
}

fn redis_url(bundle: &Bundle, backend: &Object, container: &Value, problems: &mut Problems) {
    let namespace = &bundle.kustomization.namespace;
    let port = bundle
        .get("Service", "redis-service")
        .and_then(|service| service.at("/spec/ports/0/port").as_u64());
    let wanted =
        port.map(|port| format!("redis://redis-service.{namespace}.svc.cluster.local:{port}"));
    let found = variable(container, names::REDIS_URL);
    problems.unless(found == wanted.as_deref(), || {
        format!(
            "{}: {} is {found:?}, the service is at {wanted:?}",
            backend.title(),
            names::REDIS_URL
        )
    });
}

/// The edge lets through what the server takes, so that a client which sends too much gets the server's answer.
fn payload(bundle: &Bundle, container: &Value, problems: &mut Problems) {
    let accepted = number(
        container,
        names::MAX_PAYLOAD_BYTES,
        names::DEFAULT_MAX_PAYLOAD_BYTES as u64,
    );
    for ingress in bundle.all("Ingress") {
        let size =
            ingress.text("/metadata/annotations/nginx.ingress.kubernetes.io~1proxy-body-size");
        // In nginx `m` is a mebibyte.
        let passed = size
            .strip_suffix('m')
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
            * 1024;
        problems.unless(passed > accepted, || {
            format!(
                "{}: proxy-body-size {size:?} is not above the server's {accepted} bytes",
                ingress.title()
            )
        });
    }
}
