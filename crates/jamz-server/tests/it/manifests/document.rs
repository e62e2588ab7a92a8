//! Names and numbers that the instructions of the product, and the scripts made after them, rely on.

use serde_json::Value;

use super::Problems;
use super::bundle::Bundle;

/// Fields of one object that are promised.
struct Promise {
    file: &'static str,
    kind: &'static str,
    name: &'static str,
    /// Stands before the pointer of each field.
    prefix: &'static str,
    /// JSON pointer and the value as JSON.
    fields: &'static [(&'static str, &'static str)],
}

/// Prefix of the one container of a pod template.
const CONTAINER: &str = "/spec/template/spec/containers/0";

const PROMISES: &[Promise] = &[
    Promise {
        file: "redis-deployment.yaml",
        kind: "StatefulSet",
        name: "redis",
        prefix: "/spec",
        fields: &[
            ("/serviceName", r#""redis-service""#),
            ("/replicas", "1"),
            ("/template/metadata/labels/app", r#""redis""#),
            ("/volumeClaimTemplates/0/metadata/name", r#""redis-data""#),
            (
                "/volumeClaimTemplates/0/spec/accessModes",
                r#"["ReadWriteOnce"]"#,
            ),
            (
                "/volumeClaimTemplates/0/spec/resources/requests/storage",
                r#""1Gi""#,
            ),
        ],
    },
    Promise {
        file: "redis-deployment.yaml",
        kind: "StatefulSet",
        name: "redis",
        prefix: CONTAINER,
        fields: &[
            ("/name", r#""redis""#),
            ("/image", r#""redis:7-alpine""#),
            ("/ports/0", r#"{"containerPort": 6379, "name": "redis"}"#),
            ("/command/0", r#""redis-server""#),
            ("/command/1", r#""--appendonly""#),
            ("/command/2", r#""yes""#),
            (
                "/volumeMounts/0",
                r#"{"name": "redis-data", "mountPath": "/data"}"#,
            ),
            (
                "/resources/requests",
                r#"{"memory": "128Mi", "cpu": "100m"}"#,
            ),
            ("/resources/limits", r#"{"memory": "256Mi", "cpu": "250m"}"#),
        ],
    },
    Promise {
        file: "redis-deployment.yaml",
        kind: "Service",
        name: "redis-service",
        prefix: "/spec",
        fields: &[
            ("/clusterIP", r#""None""#),
            ("/selector", r#"{"app": "redis"}"#),
            ("/ports/0/port", "6379"),
        ],
    },
    Promise {
        file: "backend-deployment.yaml",
        kind: "Deployment",
        name: "trafficjamz-backend",
        prefix: "/spec",
        fields: &[
            ("/replicas", "3"),
            ("/template/metadata/labels/app", r#""trafficjamz-backend""#),
        ],
    },
    Promise {
        file: "backend-deployment.yaml",
        kind: "Deployment",
        name: "trafficjamz-backend",
        prefix: CONTAINER,
        fields: &[
            ("/name", r#""backend""#),
            ("/image", r#""trafficjamz-backend:latest""#),
            ("/env/0/name", r#""REDIS_URL""#),
            (
                "/resources/requests",
                r#"{"memory": "256Mi", "cpu": "250m"}"#,
            ),
        ],
    },
    Promise {
        file: "ingress.yaml",
        kind: "Ingress",
        name: "trafficjamz-ingress",
        prefix: NGINX,
        fields: &[
            ("affinity", r#""cookie""#),
            ("session-cookie-name", r#""trafficjamz-session""#),
            ("session-cookie-max-age", r#""86400""#),
        ],
    },
];

/// Prefix of the annotations in the ingress.
const NGINX: &str = "/metadata/annotations/nginx.ingress.kubernetes.io~1";

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    for promise in PROMISES {
        let Some(object) = bundle.get(promise.kind, promise.name) else {
            let Promise {
                file, kind, name, ..
            } = promise;
            problems
                .0
                .push(format!("{file}: there is no {kind} {name}"));
            continue;
        };
        problems.unless(object.file == promise.file, || {
            format!("{}: it must stand in {}", object.title(), promise.file)
        });
        for (pointer, wanted) in promise.fields {
            let wanted: Value = serde_json::from_str(wanted).expect("the table holds JSON");
            let found = object.at(&format!("{}{pointer}", promise.prefix));
            problems.unless(found == &wanted, || {
                format!(
                    "{}: {pointer} is {found}, the instructions say {wanted}",
                    object.title()
                )
            });
        }
    }
}

/// Both controllers give out the same cookie: whoever changes the controller finds one name in scripts and in dashboards.
#[test]
fn both_controllers_use_one_cookie() {
    let bundle = Bundle::load();
    let find = |kind, name| bundle.get(kind, name).expect("it is in the files");
    let ingress = find("Ingress", "trafficjamz-ingress");
    let service = find("Service", "trafficjamz-backend");
    let traefik = "/metadata/annotations/traefik.ingress.kubernetes.io~1service.sticky.cookie";
    assert_eq!(service.at(traefik), "true");
    for (ours, theirs) in [
        (".name", "session-cookie-name"),
        (".maxage", "session-cookie-max-age"),
    ] {
        assert_eq!(
            service.at(&format!("{traefik}{ours}")),
            ingress.at(&format!("{NGINX}{theirs}"))
        );
    }
}
