//! A Redis that speaks TLS.

use std::fs;
use std::process::{Command, Stdio};

use crate::redis_server::{RedisServer, own_directory};
use crate::wait::free_port;

/// What a server of these tests shows, and takes from its clients where it asks for that: one certificate, which vouches for itself.
pub struct TestCertificate {
    /// The certificate, PEM.
    pub certificate: Vec<u8>,
    /// Its key, PEM.
    pub key: Vec<u8>,
}

impl RedisServer {
    /// Starts one that speaks TLS on [`RedisServer::tls_url`], with a certificate of its own; the second value is that certificate, PEM.
    ///
    /// # Panics
    /// When `redis-server` or `openssl` is not installed, or it does not start.
    pub fn start_tls() -> (Self, Vec<u8>) {
        let (server, certificate) = Self::start_tls_with("no");
        (server, certificate.certificate)
    }

    /// The same, for clients that show the server's own certificate.
    ///
    /// # Panics
    /// As [`RedisServer::start_tls`].
    pub fn start_mutual_tls() -> (Self, TestCertificate) {
        Self::start_tls_with("yes")
    }

    fn start_tls_with(auth_clients: &str) -> (Self, TestCertificate) {
        let directory = own_directory();
        let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        let port = free_port().to_string();
        make_certificate(&certificate, &key);
        let read = |path: &str| fs::read(path).expect("openssl wrote it");
        let pem = TestCertificate {
            certificate: read(&certificate),
            key: read(&key),
        };
        let files = [
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &certificate],
        ];
        let options = [["--tls-port", &port], ["--tls-auth-clients", auth_clients]];
        let server = Self::start_with(&[&options[..], &files].concat().concat());
        let _ = fs::remove_dir_all(&directory);
        (server, pem)
    }

    /// `rediss://127.0.0.1:<TLS port>`, for a server that was started with TLS.
    ///
    /// # Panics
    /// For any other server.
    pub fn tls_url(&self) -> String {
        let mut options = self.options.iter();
        assert!(
            options.any(|option| option == "--tls-port"),
            "the server speaks no TLS"
        );
        let port = options.next().expect("the option has a value");
        format!("rediss://127.0.0.1:{port}")
    }
}

fn make_certificate(certificate: &str, key: &str) {
    let request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=unisono-test \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let mut openssl = Command::new("openssl");
    openssl.args(request.split_whitespace());
    openssl.args(["-keyout", key, "-out", certificate]);
    let made = openssl.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "openssl is not installed: run the tests with `cargo xtask test`"
    );
}
