//! The restricted pod security profile, and roll-outs that never take capacity away.

use serde_json::{Value, json};

use super::Problems;
use super::bundle::{Bundle, Object, at};

/// Below it a number may belong to a user of the node.
const LOWEST_UID: u64 = 10_000;

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    for workload in bundle.workloads() {
        pod(workload, problems);
        for container in workload.containers() {
            self::container(workload, container, problems);
        }
    }
    for deployment in bundle.all("Deployment") {
        roll_out(deployment, problems);
    }
    for budget in bundle.all("PodDisruptionBudget") {
        problems.unless(budget.at("/spec/maxUnavailable") == 1, || {
            format!(
                "{}: it must let one pod go, else nodes cannot be drained",
                budget.title()
            )
        });
    }
}

/// Notes a problem where the value at the pointer differs.
fn want(owner: &Object, value: &Value, wanted: &[(&str, Value)], problems: &mut Problems) {
    for (pointer, wanted) in wanted {
        let found = at(value, pointer);
        problems.unless(found == wanted, || {
            format!("{}: {pointer} is {found}, must be {wanted}", owner.title())
        });
    }
}

fn pod(workload: &Object, problems: &mut Problems) {
    let spec = workload.at("/spec/template/spec");
    want(
        workload,
        spec,
        &[
            ("/automountServiceAccountToken", json!(false)),
            ("/enableServiceLinks", json!(false)),
            ("/securityContext/runAsNonRoot", json!(true)),
            (
                "/securityContext/seccompProfile/type",
                json!("RuntimeDefault"),
            ),
            ("/hostNetwork", Value::Null),
            ("/hostPID", Value::Null),
            ("/hostIPC", Value::Null),
        ],
        problems,
    );
    let uid = at(spec, "/securityContext/runAsUser").as_u64();
    problems.unless(uid.is_some_and(|uid| uid > LOWEST_UID), || {
        format!("{}: runAsUser must be above {LOWEST_UID}", workload.title())
    });
}

fn container(workload: &Object, container: &Value, problems: &mut Problems) {
    want(
        workload,
        container,
        &[
            ("/securityContext/allowPrivilegeEscalation", json!(false)),
            ("/securityContext/readOnlyRootFilesystem", json!(true)),
            ("/securityContext/capabilities", json!({"drop": ["ALL"]})),
            ("/securityContext/privileged", Value::Null),
        ],
        problems,
    );
    for bound in [
        "/resources/requests/memory",
        "/resources/requests/cpu",
        "/resources/limits/memory",
    ] {
        problems.unless(at(container, bound).is_string(), || {
            format!("{}: {bound} is missing", workload.title())
        });
    }
}

fn roll_out(deployment: &Object, problems: &mut Problems) {
    want(
        deployment,
        &deployment.body,
        &[
            ("/spec/strategy/rollingUpdate/maxUnavailable", json!(0)),
            ("/spec/strategy/rollingUpdate/maxSurge", json!(1)),
            (
                "/spec/template/spec/containers/0/resources/limits/cpu",
                Value::Null,
            ),
        ],
        problems,
    );
    problems.unless(
        deployment.at("/spec/minReadySeconds").as_u64() >= Some(10),
        || {
            format!(
                "{}: minReadySeconds must tell a start from a crash in its first seconds",
                deployment.title()
            )
        },
    );
}
