//! Passwords and certificates: given, or in files that are read anew for every connection.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, TlsCertificates};

use super::{ConfigError, Redacted};

/// Largest file that is read: the public authorities of the world together are a fifth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Bytes that are given, or that a file has when they are needed: what mounts secrets (Kubernetes) changes them in place.
#[derive(Clone, Debug)]
pub(crate) enum Material {
    Given(Redacted<Vec<u8>>),
    File(PathBuf),
}

impl Material {
    pub(crate) fn given(bytes: &[u8]) -> Self {
        Self::Given(Redacted(bytes.to_vec()))
    }

    fn read(&self) -> Result<Vec<u8>, ConfigError> {
        match self {
            Self::Given(bytes) => Ok(bytes.0.clone()),
            Self::File(path) => read_file(path).map_err(|error| ConfigError::File {
                path: path.clone(),
                reason: error.to_string(),
            }),
        }
    }

    /// A password: text, and a line break at its end is the editor's.
    fn read_password(&self) -> Result<String, ConfigError> {
        let unusable = |reason: &str| ConfigError::File {
            path: match self {
                Self::File(path) => path.clone(),
                Self::Given(_) => PathBuf::new(),
            },
            reason: reason.to_owned(),
        };
        let text = String::from_utf8(self.read()?).map_err(|_| unusable("it is no UTF-8 text"))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(unusable("it is empty")),
            password => Ok(password.to_owned()),
        }
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match read as u64 > MAX_FILE_BYTES {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(bytes),
    }
}

/// Who we are to a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Material>,
}

/// What TLS connections trust and show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Trusted instead of the public authorities.
    pub(crate) roots: Option<Material>,
    /// Certificate and key.
    pub(crate) client: Option<(Material, Material)>,
}

impl Login {
    pub(crate) fn read(&self) -> Result<Option<String>, ConfigError> {
        self.password
            .as_ref()
            .map(Material::read_password)
            .transpose()
    }
}

impl Tls {
    /// `None` where the defaults hold.
    pub(crate) fn read(&self) -> Result<Option<TlsCertificates>, ConfigError> {
        let root_cert = self.roots.as_ref().map(Material::read).transpose()?;
        let client_tls = match &self.client {
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: certificate.read()?,
                client_key: key.read()?,
            }),
            None => None,
        };
        let any = root_cert.is_some() || client_tls.is_some();
        Ok(any.then_some(TlsCertificates {
            client_tls,
            root_cert,
        }))
    }
}
