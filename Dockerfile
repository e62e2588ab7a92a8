# syntax=docker/dockerfile:1
#
# Builds the server and puts it, alone, into an image without shell and package manager.
# Tags are pinned by version here. Whoever releases pins them by digest (`docker buildx imagetools inspect <image>` prints it) and
# deploys the result by digest too.

FROM rust:1.95-bookworm AS builder
WORKDIR /src
COPY . .
# Optimised over all crates at once: 13 % fewer instructions for a delivery in user space, for a slower build.
ENV CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
# The two caches live in the builder, not in a layer: a changed line of source compiles only what depends on it, and no list of
# dependencies has to be kept in step with Cargo.toml. --locked: what was tested is what is built.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package jamz-server \
    && cp target/release/jamz-server /usr/local/bin/jamz-server

# Same Debian as the builder, so the same C library.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="jamz-server" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=builder --chown=0:0 --chmod=0755 /usr/local/bin/jamz-server /usr/local/bin/jamz-server
# The same number as runAsUser in kubernetes/backend-deployment.yaml. It owns nothing and writes nothing: run it with --read-only.
USER 10001:10001
# Said outright, so that a server which finds it taken ends instead of taking a free one: the health check below asks there.
ENV ADMIN_PORT=9464
# Clients, and probes with metrics. Publish the first one only.
EXPOSE 5000 9464
# For plain Docker and Compose; Kubernetes has its own probes. Exec form, since there is no shell.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/jamz-server", "healthcheck"]
# Exec form: the server is process 1 and gets SIGTERM itself. Without arguments it serves.
ENTRYPOINT ["/usr/local/bin/jamz-server"]
