//! Every rule bites: one value of the real manifests is broken at a time.

use serde_json::Value;

use super::bundle::{Bundle, at};
use super::problems;

/// One object, or a part of it, and the ways to break it.
struct Breakage {
    kind: &'static str,
    name: &'static str,
    /// Stands before the pointer of each case.
    prefix: &'static str,
    /// JSON pointer, the new value as JSON (null removes the field), and a part of the problem that must be reported.
    cases: &'static [(&'static str, &'static str, &'static str)],
}

const BACKEND: &[Breakage] = &[
    Breakage {
        kind: "Deployment",
        name: "trafficjamz-backend",
        prefix: "/spec",
        cases: &[
            ("/replicas", r#""3""#, "invalid type"),
            (
                "/selector/matchLabels/app",
                r#""x""#,
                "does not match its own pods",
            ),
            (
                "/template/metadata/labels/app",
                r#""x""#,
                "must match one workload's pods",
            ),
            (
                "/strategy/rollingUpdate/maxUnavailable",
                "1",
                "maxUnavailable is 1",
            ),
            ("/minReadySeconds", "null", "minReadySeconds"),
        ],
    },
    Breakage {
        kind: "Deployment",
        name: "trafficjamz-backend",
        prefix: "/spec/template/spec",
        cases: &[
            (
                "/terminationGracePeriodSeconds",
                "39",
                "the grace period is 39 s",
            ),
            (
                "/terminationGracePeriodSeconds",
                "null",
                "the grace period is 30 s",
            ),
            (
                "/topologySpreadConstraints/0/matchLabelKeys",
                "null",
                "previous roll-out",
            ),
            (
                "/securityContext/runAsUser",
                "1000",
                "runAsUser must be above",
            ),
            ("/enableServiceLinks", "null", "/enableServiceLinks is null"),
            ("/hostNetwork", "true", "/hostNetwork is true"),
        ],
    },
    Breakage {
        kind: "Deployment",
        name: "trafficjamz-backend",
        prefix: "/spec/template/spec/containers/0",
        cases: &[
            ("/name", r#""web""#, "there is no container backend"),
            (
                "/ports/0/containerPort",
                "5050",
                "the binary listens on 5000",
            ),
            ("/ports/1/name", r#""metrics""#, r#"names the port "admin""#),
            (
                "/livenessProbe/httpGet/path",
                r#""/health""#,
                "the binary serves /livez",
            ),
            (
                "/readinessProbe/httpGet/port",
                r#""http""#,
                "must ask the admin port",
            ),
            (
                "/env/1/name",
                r#""FRONTEND_URI""#,
                "does not read FRONTEND_URI",
            ),
            ("/env/1/name", r#""REDIS_URL""#, "REDIS_URL is set twice"),
            ("/env/2/value", r#""60""#, "need 80 s"),
            ("/env/4/valueFrom", "null", "POD_NAME has no value"),
            (
                "/env/0/value",
                r#""redis://redis:6379""#,
                "the service is at",
            ),
            ("/lifecycle", "null", "pre-stop sleep is missing"),
            ("/resources/limits/cpu", r#""1""#, "limits/cpu is \"1\""),
            (
                "/resources/limits/memory",
                "null",
                "limits/memory is missing",
            ),
            (
                "/securityContext/capabilities/add",
                r#"["NET_ADMIN"]"#,
                "capabilities",
            ),
        ],
    },
];

const WIRING: &[Breakage] = &[
    Breakage {
        kind: "Service",
        name: "trafficjamz-backend",
        prefix: "",
        cases: &[
            (
                "/spec/ports/0/targetPort",
                r#""admin""#,
                "exposes the admin port",
            ),
            ("/spec/ports/0/targetPort", "9464", "exposes the admin port"),
            (
                "/spec/ports/0/targetPort",
                r#""web""#,
                "leads to no container port",
            ),
            (
                "/spec/selector/app",
                r#""x""#,
                "must match one workload's pods",
            ),
            (
                "/metadata/namespace",
                r#""other""#,
                "not the kustomization's",
            ),
            (
                "/apiVersion",
                r#""v2""#,
                "is not a kind that this project deploys",
            ),
        ],
    },
    Breakage {
        kind: "Service",
        name: "redis-service",
        prefix: "",
        cases: &[
            ("/spec/clusterIP", "null", "be headless"),
            ("/metadata/name", r#""redis""#, "source of a replacement"),
        ],
    },
    Breakage {
        kind: "PodDisruptionBudget",
        name: "trafficjamz-backend",
        prefix: "/spec",
        cases: &[
            (
                "/selector/matchLabels/app",
                r#""x""#,
                "must match one workload's pods",
            ),
            ("/maxUnavailable", "0", "let one pod go"),
        ],
    },
    Breakage {
        kind: "NetworkPolicy",
        name: "trafficjamz-backend",
        prefix: "/spec",
        cases: &[
            ("/ingress/0/ports/0/port", "5050", "opens {5050, 9464}"),
            ("/ingress/0/from", "null", "name its peers"),
            ("/ingress/1/ports/0", r#"{"port": 5000}"#, "opens {5000}"),
            ("/egress/1", "null", "the way to Redis"),
            ("/egress/0", "null", "names cannot be resolved"),
        ],
    },
    Breakage {
        kind: "NetworkPolicy",
        name: "redis",
        prefix: "/spec",
        cases: &[
            ("/policyTypes/1", "null", "egress is left open"),
            ("/ingress/0/ports/0/port", "6380", "the way to Redis"),
            (
                "/ingress/0/from/0/podSelector/matchLabels/app",
                r#""x""#,
                "matches no pod",
            ),
        ],
    },
    Breakage {
        kind: "Ingress",
        name: "trafficjamz-ingress",
        prefix: "",
        cases: &[
            (
                "/spec/rules/0/http/paths/0/backend/service/port/name",
                r#""web""#,
                "leads to no service port",
            ),
            (
                "/metadata/annotations/nginx.ingress.kubernetes.io~1affinity",
                r#""ip""#,
                r#"the instructions say "cookie""#,
            ),
            (
                "/metadata/annotations/nginx.ingress.kubernetes.io~1proxy-body-size",
                r#""8m""#,
                "not above the server's 8388608 bytes",
            ),
        ],
    },
];

/// The options of the command line: the word after each is replaced.
const REDIS_OPTIONS: &[(&str, &str, &str)] = &[
    ("--maxmemory-policy", "allkeys-lru", "could be evicted"),
    ("--appendonly", "no", "would lose the sessions"),
    ("--maxmemory", "256mb", "not below 75 %"),
    ("--maxmemory", "100mb", "four slow pods"),
    (
        "--client-output-buffer-limit",
        "pubsub 8mb 2mb 60",
        "too small",
    ),
];

const REDIS: Breakage = Breakage {
    kind: "StatefulSet",
    name: "redis",
    prefix: "/spec",
    cases: &[
        ("/serviceName", r#""redis""#, "must exist and be headless"),
        (
            "/volumeClaimTemplates/0/metadata/name",
            r#""data""#,
            "has no volume",
        ),
        (
            "/template/spec/containers/0/image",
            r#""redis:latest""#,
            "the instructions say",
        ),
    ],
};

fn check_all(breakage: &Breakage) {
    for (pointer, value, expected) in breakage.cases {
        let pointer = format!("{}{pointer}", breakage.prefix);
        let value = serde_json::from_str(value).expect("the table holds JSON");
        check(breakage.kind, breakage.name, &pointer, &value, expected);
    }
}

fn check(kind: &str, name: &str, pointer: &str, value: &Value, expected: &str) {
    let mut bundle = Bundle::load();
    let object = bundle
        .objects
        .iter_mut()
        .find(|object| object.kind() == kind && object.name() == name)
        .unwrap_or_else(|| panic!("there is no {kind} {name}"));
    put(&mut object.body, pointer, value);
    let found = problems(&bundle);
    assert!(
        found.iter().any(|problem| problem.contains(expected)),
        "{kind} {name} {pointer} = {value}: wanted {expected:?}, found {found:?}"
    );
}

/// Sets the value at the pointer; null removes it.
fn put(body: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer
        .rsplit_once('/')
        .expect("a pointer begins with a slash");
    let key = key.replace("~1", "/");
    match body.pointer_mut(parent) {
        Some(Value::Object(fields)) if value.is_null() => {
            fields
                .remove(&key)
                .unwrap_or_else(|| panic!("{pointer} does not exist"));
        }
        Some(Value::Object(fields)) => {
            fields.insert(key, value.clone());
        }
        Some(Value::Array(items)) => {
            let index: usize = key.parse().expect("an item is named by its index");
            if value.is_null() {
                items.remove(index);
            } else {
                items[index] = value.clone();
            }
        }
        _ => panic!("{parent} has no {key}"),
    }
}

#[test]
fn a_broken_backend_is_noticed() {
    BACKEND.iter().for_each(check_all);
}

#[test]
fn broken_wiring_is_noticed() {
    WIRING.iter().for_each(check_all);
}

#[test]
fn a_broken_redis_is_noticed() {
    check_all(&REDIS);
    let bundle = Bundle::load();
    let redis = bundle
        .get("StatefulSet", "redis")
        .expect("it is in the files");
    let command = "/spec/template/spec/containers/0/command";
    let words = at(&redis.body, command)
        .as_array()
        .expect("a command is a list");
    for (option, value, expected) in REDIS_OPTIONS {
        let index = words.iter().position(|word| word == option);
        let index = index.expect("the option is given") + 1;
        check(
            "StatefulSet",
            "redis",
            &format!("{command}/{index}"),
            &(*value).into(),
            expected,
        );
    }
}

#[test]
fn a_forgotten_file_and_a_floating_image_are_noticed() {
    let mut bundle = Bundle::load();
    bundle
        .kustomization
        .resources
        .retain(|file| file != "ingress.yaml");
    bundle.kustomization.resources.push("hpa.yaml".to_owned());
    bundle.dockerfile = bundle.dockerfile.replace("FROM rust:", "FROM rust # ");
    let found = problems(&bundle).join("\n");
    for expected in [
        "ingress.yaml exists and is not listed",
        "hpa.yaml is listed and does not exist",
        "rust has no pinned tag",
    ] {
        assert!(
            found.contains(expected),
            "wanted {expected:?}, found\n{found}"
        );
    }
}
