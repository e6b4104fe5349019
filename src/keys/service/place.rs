//! Where a KMS service is: `unix:PATH`, `https://HOST[:PORT]`, `http://HOST[:PORT]` on this machine.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a KMS service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
}

impl Place {
    /// The value of the `Host` header.
    pub(super) fn authority(&self) -> String {
        match self {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Tcp { host, port, tls } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                match (tls, port) {
                    (true, 443) | (false, 80) => host,
                    _ => format!("{host}:{port}"),
                }
            }
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                path if path.starts_with('/') => Ok(Place::Unix(path.into())),
                _ => Err(format!(
                    "{text}: the path of the socket must be absolute, as in unix:/run/kmsfs/kms.sock"
                )),
            };
        }
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => {
                return Err(format!("{text}: a KMS is named by unix:PATH or https://HOST:PORT"));
            }
        };
        let malformed = || format!("{text}: expected a host and a port, and nothing after them");
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':'))),
            None => Some(rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))),
        }
        .ok_or_else(malformed)?;
        let port = match port {
            Some(port) => port.parse().map_err(|_| malformed())?,
            None if tls => 443,
            None => 80,
        };
        if host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(malformed());
        }
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !tls && !here {
            return Err(format!(
                "{text}: without TLS, keys would cross the network in the clear; use https://"
            ));
        }
        Ok(Place::Tcp { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp { tls, .. } => {
                write!(f, "{}://{}", if *tls { "https" } else { "http" }, self.authority())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Place {
        Place::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn a_place_reads_back() {
        for (text, place) in [
            ("unix:/run/kms.sock", Place::Unix("/run/kms.sock".into())),
            ("https://kms.example:4599", tcp("kms.example", 4599, true)),
            ("https://kms.example", tcp("kms.example", 443, true)),
            ("http://localhost:4599", tcp("localhost", 4599, false)),
            ("http://127.0.0.1:1", tcp("127.0.0.1", 1, false)),
            ("http://[::1]:1", tcp("::1", 1, false)),
        ] {
            assert_eq!(text.parse::<Place>().unwrap(), place);
            assert_eq!(place.to_string(), text);
        }
        assert_eq!("unix:///run/kms.sock".parse::<Place>().unwrap(), Place::Unix("/run/kms.sock".into()));
        assert_eq!("https://h:1/".parse::<Place>().unwrap(), tcp("h", 1, true));
    }

    #[test]
    fn what_is_no_place_or_not_safe_is_refused() {
        for (text, words) in [
            ("unix:kms.sock", "must be absolute"),
            ("local", "unix:PATH or https://"),
            ("ftp://x", "unix:PATH or https://"),
            ("https://", "a host and a port"),
            ("https://h:x", "a host and a port"),
            ("https://h:1/path", "a host and a port"),
            ("https://u@h", "a host and a port"),
            ("https://[::1", "a host and a port"),
            ("http://kms.example:80", "in the clear"),
            ("http://192.0.2.1", "in the clear"),
        ] {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
