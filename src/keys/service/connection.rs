//! Connections to a KMS service, kept for the next call.

use super::http::{self, Answer};
use super::place::Place;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Idle connections that are kept. More are made as needed.
const KEPT: usize = 32;

/// Certificates of authorities are looked for in these files, unless the environment names one.
const SYSTEM_AUTHORITIES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A stream of any kind.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn set_timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)))
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)))
            }
            Stream::Tls(stream) => {
                let stream = &stream.sock;
                stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)))
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.flush(),
            Stream::Tcp(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// Connections to one service.
pub(super) struct Connections {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Vec<Stream>>,
}

impl Connections {
    /// Connections to `place`; none is made yet.
    ///
    /// # Errors
    /// There are no certificates to trust, for https.
    pub(super) fn new(place: Place) -> io::Result<Connections> {
        let tls = match &place {
            Place::Tcp { tls: true, .. } => Some(tls_config()?),
            _ => None,
        };
        Ok(Connections { place, tls, idle: Mutex::default() })
    }

    /// Sends a request and reads the answer, which may take `time`. A kept connection that the server has closed
    /// meanwhile is replaced by a new one.
    ///
    /// # Errors
    /// Those of the network; `InvalidData` for what is no answer.
    pub(super) fn exchange(&self, request: &[u8], time: Duration) -> io::Result<Answer> {
        let kept = self.idle.lock().pop();
        if let Some(mut stream) = kept {
            match ask(&mut stream, request, time) {
                Ok(Some(answer)) => return Ok(self.keep(stream, answer)),
                // No request here has an effect that a second one would add to.
                Ok(None) => {}
                Err(error) if is_closed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut stream = self.connect()?;
        match ask(&mut stream, request, time)? {
            Some(answer) => Ok(self.keep(stream, answer)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn keep(&self, stream: Stream, answer: Answer) -> Answer {
        let mut idle = self.idle.lock();
        if answer.keep_alive && idle.len() < KEPT {
            idle.push(stream);
        }
        answer
    }

    fn connect(&self) -> io::Result<Stream> {
        let (host, port) = match &self.place {
            Place::Unix(path) => return UnixStream::connect(path).map(Stream::Unix),
            Place::Tcp { host, port, .. } => (host, *port),
        };
        let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for address in (host.as_str(), port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let Some(config) = &self.tls else { return Ok(Stream::Tcp(stream)) };
                    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                    let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                    return Ok(Stream::Tls(Box::new(StreamOwned::new(tls, stream))));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Whether the peer has closed the connection.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn ask(stream: &mut Stream, request: &[u8], time: Duration) -> io::Result<Option<Answer>> {
    stream.set_timeout(time)?;
    stream.write_all(request)?;
    stream.flush()?;
    http::read(stream)
}

/// TLS that trusts the authorities of the file that the environment names, as AWS's clients do, or else the
/// system's.
fn tls_config() -> io::Result<Arc<ClientConfig>> {
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
