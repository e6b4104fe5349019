//! TLS: loading a certificate, and making one for those who have no authority of their own.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConfig};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// How long an authority that was made here is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// How long a server's certificate that was made here is valid: as long as the strictest clients accept.
const SERVER_DAYS: i64 = 825;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path}: {what}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The certificate cannot be used or made.
    #[error("{0}")]
    Certificate(String),
}

/// A server's TLS of a certificate (PEM, the server's own first, then those that vouch for it) and its private
/// key (PEM). TLS 1.2 and 1.3.
///
/// # Errors
/// Files that cannot be read, that others may read where they should not, or that do not belong together.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |path: &Path, error: rustls::pki_types::pem::Error| TlsError::Content {
        path: path.to_owned(),
        what: error.to_string(),
    };
    let file = |path: &Path, source| TlsError::File { path: path.to_owned(), source };
    let text = std::fs::read(certificate).map_err(|error| file(certificate, error))?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem(certificate, error))?;
    let mode = std::fs::metadata(key).map_err(|error| file(key, error))?.mode();
    if mode & 0o077 != 0 {
        let what = "others may read this private key: take that right away (chmod 600)".to_owned();
        return Err(TlsError::Content { path: key.to_owned(), what });
    }
    let text = Zeroizing::new(std::fs::read(key).map_err(|error| file(key, error))?);
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| pem(key, error))?;
    let unusable = |error: rustls::Error| {
        TlsError::Certificate(format!("{} cannot be used: {error}", certificate.display()))
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Where [`init`] puts its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The authority's certificate: what clients are to trust.
    pub authority: PathBuf,
    /// The authority's private key: needed for the next server certificate, by nobody else.
    pub authority_key: PathBuf,
    /// The server's certificate.
    pub server: PathBuf,
    /// The server's private key.
    pub server_key: PathBuf,
}

impl Files {
    /// The files in `directory`.
    pub fn new(directory: &Path) -> Files {
        let file = |name| directory.join(name);
        Files {
            authority: file("ca.pem"),
            authority_key: file("ca.key"),
            server: file("server.pem"),
            server_key: file("server.key"),
        }
    }
}

/// Makes a server certificate for `names` (host names and IP addresses) in `directory`, signed by the authority
/// there, which is made too if there is none. Keys are P-256, in files that only their owner may read.
///
/// # Errors
/// A server certificate is there already: no file is ever overwritten.
pub fn init(directory: &Path, names: &[String], now: OffsetDateTime) -> Result<Files, TlsError> {
    let files = Files::new(directory);
    for path in [&files.server, &files.server_key] {
        if path.symlink_metadata().is_ok() {
            let what = "exists already; remove it to have a new one made".to_owned();
            return Err(TlsError::Content { path: path.clone(), what });
        }
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| TlsError::File { path: directory.to_owned(), source })?;
    let authority = authority(&files, now)?;
    let key = new_key()?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = called(names.first().map_or("kmsfs", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = valid(now, SERVER_DAYS);
    let certificate = params.signed_by(&key, &authority).map_err(failed)?;
    if let Some(name) = names.first() {
        check_trust(&files, certificate.der(), name)?;
    }
    write(&files.server_key, 0o600, &Zeroizing::new(key.serialize_pem()))?;
    write(&files.server, 0o644, &certificate.pem())?;
    Ok(files)
}

/// The authority in the directory, made if it is not there.
///
/// All authorities made here have the same parameters but their key, so an issuer is built anew from its key.
fn authority(files: &Files, now: OffsetDateTime) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = called("kmsfs certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = valid(now, AUTHORITY_DAYS);
    if files.authority.exists() || files.authority_key.exists() {
        let path = &files.authority_key;
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|source| TlsError::File { path: path.clone(), source })?;
        let key = KeyPair::from_pem(&text)
            .map_err(|error| TlsError::Content { path: path.clone(), what: error.to_string() })?;
        return Ok(Issuer::new(params, key));
    }
    let key = new_key()?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    write(&files.authority_key, 0o600, &Zeroizing::new(key.serialize_pem()))?;
    write(&files.authority, 0o644, &certificate.pem())?;
    Ok(Issuer::new(params, key))
}

/// Checks that clients who trust the authority's certificate will trust `certificate`: the one on disk may be
/// another than the one that was made here.
fn check_trust(files: &Files, certificate: &CertificateDer<'_>, name: &str) -> Result<(), TlsError> {
    let wrong = |what: String| TlsError::Content { path: files.authority.clone(), what };
    let authority = CertificateDer::from_pem_file(&files.authority).map_err(|e| wrong(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(|e| wrong(e.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| wrong(e.to_string()))?;
    let name = ServerName::try_from(name).map_err(|e| TlsError::Certificate(format!("{name}: {e}")))?;
    verifier
        .verify_server_cert(certificate, &[], &name, &[], UnixTime::now())
        .map_err(|_| wrong("is not the certificate of the authority's key beside it".to_owned()))?;
    Ok(())
}

fn new_key() -> Result<KeyPair, TlsError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// From an hour ago, for clients whose clocks are late.
fn valid(now: OffsetDateTime, days: i64) -> (OffsetDateTime, OffsetDateTime) {
    (now - Duration::hours(1), now + Duration::days(days))
}

fn failed(error: rcgen::Error) -> TlsError {
    TlsError::Certificate(format!("the certificate cannot be made: {error}"))
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), TlsError> {
    let file = |source| TlsError::File { path: path.to_owned(), source };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(file)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let files = init(&dir.path().join("tls"), &names, OffsetDateTime::now_utc()).unwrap();
        (dir, files)
    }

    #[test]
    fn what_is_made_can_be_loaded_and_keys_are_private() {
        let (_dir, files) = made(&["kms.example", "127.0.0.1"]);
        load(&files.server, &files.server_key).unwrap();
        for key in [&files.authority_key, &files.server_key] {
            assert_eq!(std::fs::metadata(key).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_is_overwritten_and_the_authority_stays() {
        let (dir, files) = made(&["localhost"]);
        let read = |path: &Path| std::fs::read(path).unwrap();
        let (authority, server) = (read(&files.authority), read(&files.server));
        let again = || init(&dir.path().join("tls"), &["localhost".into()], OffsetDateTime::now_utc());
        assert!(again().unwrap_err().to_string().contains("exists already"));
        assert_eq!(read(&files.server), server);
        std::fs::remove_file(&files.server).unwrap();
        std::fs::remove_file(&files.server_key).unwrap();
        again().unwrap();
        assert_eq!(read(&files.authority), authority);
        assert_ne!(read(&files.server), server);
    }

    #[test]
    fn an_authority_that_clients_would_not_find_is_refused() {
        let (dir, files) = made(&["localhost"]);
        let (_other_dir, others) = made(&["localhost"]);
        std::fs::remove_file(&files.server).unwrap();
        std::fs::remove_file(&files.server_key).unwrap();
        std::fs::copy(&others.authority, &files.authority).unwrap();
        let error = init(&dir.path().join("tls"), &["localhost".into()], OffsetDateTime::now_utc());
        assert!(error.unwrap_err().to_string().contains("ca.pem: is not the certificate"));
        assert!(!files.server_key.exists());
    }

    #[test]
    fn unusable_files_are_named() {
        let (_dir, files) = made(&["localhost"]);
        let message = |certificate: &Path, key: &Path| load(certificate, key).unwrap_err().to_string();
        assert!(message(&files.server, &files.authority_key).contains("cannot be used"));
        assert!(message(&files.server, &files.server).contains("others may read"));
        assert!(message(Path::new("/nonexistent"), &files.server_key).contains("/nonexistent"));
        std::fs::write(&files.server_key, "nonsense").unwrap();
        assert!(message(&files.server, &files.server_key).contains("server.key"));
    }
}
