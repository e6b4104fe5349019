//! How to reach a PostgreSQL server: its URL, checked.
//!
//! A URL never holds a password: it would show in the list of processes, in shell histories and logs. Passwords
//! come from a password file ([`super::passfile`]); a Unix socket needs none where the server trusts the user that
//! it is told by the kernel (`peer`).
//!
//! Rows are sealed, but who can change what passes between the KMS and its server can hold back a change: a key
//! that was disabled would live on. So a connection that leaves the machine is by TLS, with the server's
//! certificate verified against an authority that the URL names.

use super::super::Location;
use super::super::database::Database;
use super::super::error::{Error, Result};
use super::Postgres;
use super::passfile;
use super::tls::MakeTls;
use postgres::config::{Host, SslMode, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where Debian's servers, and those of most others, have their socket.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// How long a server may take to answer to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a network connection may be silent, and how long sent data may go unacknowledged, before it counts as
/// lost.
const SILENCE: Duration = Duration::from_secs(5);

/// A database of a PostgreSQL server.
#[derive(Clone)]
pub struct Server {
    url: String,
    config: Config,
    /// The certificates of the authority that vouches for the server, in PEM.
    authority: Option<PathBuf>,
}

impl Server {
    /// Whether `text` means a PostgreSQL server.
    pub(in super::super) fn is_url(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads a URL as PostgreSQL's own programs do, with `sslrootcert` for the authority's certificate.
    pub(in super::super) fn parse(url: &str) -> Result<Server> {
        let (plain, authority) = take_parameter(url, "sslrootcert");
        let mut config: Config = plain.parse().map_err(|e| malformed(&e))?;
        if config.get_password().is_some() {
            return Err(Error::Location(
                "the URL of a store must not hold a password, which others could read there: put it into a \
                 password file (~/.pgpass, or the file that PGPASSFILE names)"
                    .into(),
            ));
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(SOCKET_DIRECTORY);
        }
        if authority.is_some() {
            config.ssl_mode(SslMode::Require);
        } else if !stays_here(&config) {
            return Err(Error::Location(
                "a PostgreSQL server on another machine is reached by TLS only: name the certificate of its \
                 authority with sslrootcert=FILE"
                    .into(),
            ));
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // A standby lags behind: a key that was disabled would live on there.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .application_name("kmsfs")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(SILENCE)
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3)
            .tcp_user_timeout(SILENCE);
        Ok(Server { url: url.to_owned(), config, authority: authority.map(PathBuf::from) })
    }

    /// Whether a keystore is in the database.
    pub(in super::super) fn has_keystore(&self) -> Result<bool> {
        Ok(Postgres::connect(self)?.format()? > 0)
    }

    /// The files that connecting reads.
    pub fn files(&self) -> Vec<PathBuf> {
        self.authority.clone().into_iter().chain(passfile::path()).collect()
    }

    /// The TCP ports that it may be reached at.
    pub fn ports(&self) -> Vec<u16> {
        match self.config.get_ports() {
            [] => vec![passfile::PORT],
            ports => ports.to_vec(),
        }
    }

    /// Connects. Blocks, and must not be called in a thread that runs asynchronous tasks.
    pub(super) fn connect(&self) -> Result<Client> {
        let mut config = self.config.clone();
        if let Some(password) = passfile::find(&config)? {
            config.password(password.expose());
        }
        let connected = match &self.authority {
            Some(authority) => config.connect(MakeTls::trusting(authority)?),
            None => config.connect(NoTls),
        };
        connected.map_err(|e| self.unreachable(&describe(&e)))
    }

    /// The error that the server cannot be reached, or no longer.
    pub(super) fn unreachable(&self, why: &str) -> Error {
        Error::Unreachable { location: self.location(), why: why.to_owned() }
    }

    pub(super) fn location(&self) -> Location {
        Location::Postgres(Box::new(self.clone()))
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Server) -> bool {
        self.url == other.url
    }
}

impl Eq for Server {}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.url)
    }
}

/// An error of PostgreSQL with everything that led to it, on one line.
pub(super) fn describe(error: &postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What is wrong, without the URL, which may hold a password.
fn malformed(error: &postgres::Error) -> Error {
    Error::Location(format!("the URL of the store is malformed: {}", describe(error)))
}

/// Whether every way to the server ends on this machine.
fn stays_here(config: &Config) -> bool {
    let named = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    });
    named && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

/// The URL without a parameter that PostgreSQL's client library does not know, and the parameter's value.
fn take_parameter(url: &str, name: &str) -> (String, Option<String>) {
    let Some((head, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut found = None;
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((key, value)) if key == name => found = Some(percent_decode(value)),
            _ => rest.push(pair),
        }
    }
    (format!("{head}?{}", rest.join("&")), found)
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match Server::parse(url) {
            Err(Error::Location(why)) => why,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for url in ["postgres://me:hunter2@localhost/k", "postgres://localhost/k?password=hunter2"] {
            let why = refused(url);
            assert!(why.contains("password file") && !why.contains("hunter2"), "{why}");
        }
        let why = refused("postgres://me:hunter2@localhost:port/k");
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn only_what_stays_on_the_machine_goes_without_tls() {
        for url in [
            "postgres:///k",
            "postgres://%2Frun%2Fpg/k",
            "postgres:///k?host=/run/pg",
            "postgres://localhost/k",
            "postgres://127.0.0.1:5433/k",
            "postgres://[::1]/k",
            "postgres://db.example.org/k?sslrootcert=/etc/ca.pem",
        ] {
            Server::parse(url).unwrap();
        }
        for url in [
            "postgres://db.example.org/k",
            "postgres://10.0.0.1/k",
            "postgres://localhost,db.example.org/k",
            "postgres://localhost/k?hostaddr=10.0.0.1",
            "postgres://db.example.org/k?sslmode=require",
        ] {
            assert!(refused(url).contains("TLS"), "{url}");
        }
    }

    #[test]
    fn the_authority_is_taken_out_of_the_url() {
        let server = Server::parse("postgres://h/k?a%3D&sslrootcert=%2Fetc%2Fca%20%25.pem&user=u");
        assert!(server.is_err(), "an unknown parameter stays unknown");
        let server = Server::parse("postgres://h/k?sslrootcert=%2Fetc%2Fca%20%25.pem&user=u").unwrap();
        assert_eq!(server.authority, Some("/etc/ca %.pem".into()));
        assert_eq!(server.config.get_user(), Some("u"));
        assert_eq!(server.config.get_ssl_mode(), SslMode::Require);
    }
}
