//! The image fits the pod: its ports, its user, its health check.

use jamz_server::config::names;

use super::Problems;
use super::bundle::Bundle;

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    let text = &bundle.dockerfile;
    let uid = bundle
        .get("Deployment", "trafficjamz-backend")
        .and_then(|backend| {
            backend
                .at("/spec/template/spec/securityContext/runAsUser")
                .as_u64()
        })
        .unwrap_or_default();
    let ports = format!(
        "EXPOSE {} {}",
        names::DEFAULT_PORT,
        names::DEFAULT_ADMIN_PORT
    );
    let admin_port = format!("ENV {}={}", names::ADMIN_PORT, names::DEFAULT_ADMIN_PORT);
    let user = format!("USER {uid}:{uid}");
    for line in [
        ports.as_str(),
        admin_port.as_str(),
        user.as_str(),
        r#"ENTRYPOINT ["/usr/local/bin/jamz-server"]"#,
        r#"CMD ["/usr/local/bin/jamz-server", "healthcheck"]"#,
    ] {
        problems.unless(text.lines().any(|found| found.trim() == line), || {
            format!("Dockerfile: the line `{line}` is missing")
        });
    }
    for base in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let image = base.split(' ').next().unwrap_or_default();
        let pinned = image
            .rsplit('/')
            .next()
            .is_some_and(|name| name.contains(':'))
            && !image.ends_with(":latest");
        problems.unless(pinned, || format!("Dockerfile: {image} has no pinned tag"));
    }
}
