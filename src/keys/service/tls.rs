//! TLS to a service: whom to trust.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Certificates of authorities are looked for in these files, unless the environment names one.
const SYSTEM_AUTHORITIES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// TLS that trusts the authorities of the file that the environment names, as AWS's clients do, or else the
/// system's.
///
/// # Errors
/// There is no such file, or it holds no certificate.
pub(super) fn config() -> io::Result<Arc<ClientConfig>> {
    let named = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().find_map(std::env::var_os).map(PathBuf::from);
    let system = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
    let path = named.or_else(system).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "no certificates to trust; name a file with AWS_CA_BUNDLE")
    })?;
    let unusable =
        |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| unusable(error.to_string()))?;
    let certificates =
        certificates.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(error.to_string()))?;
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(unusable("holds no certificate of an authority".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
