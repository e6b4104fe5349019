//! Where a KMS service is: `unix:PATH`, `https://HOST[:PORT]`, `http://HOST[:PORT]` on this machine, `aws:REGION`.

use crate::sigv4::SERVICE;
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
    Tcp(Endpoint),
    /// AWS KMS in a region, as in `eu-central-1`.
    Aws(String),
}

/// A TCP port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl Endpoint {
    /// The host that `service` of AWS has in `region`, by its pattern `SERVICE.REGION.amazonaws.com`.
    pub(super) fn of_aws(service: &str, region: &str) -> Endpoint {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Endpoint { host: format!("{service}.{region}.{domain}"), port: 443, tls: true }
    }

    /// Takes a URL apart into endpoint and path, which is `/` if it has none. `None` if it is no URL of HTTP.
    pub(super) fn parse(text: &str) -> Option<(Endpoint, &str)> {
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) => port.parse().ok()?,
            None if tls => 443,
            None => 80,
        };
        let sound =
            !host.is_empty() && !host.contains(['@', '?', '#']) && text.bytes().all(|b| b.is_ascii_graphic());
        let path = if path.is_empty() { "/" } else { path };
        sound.then(|| (Endpoint { host: host.to_owned(), port, tls }, path))
    }

    /// Whether it is on this machine.
    pub(super) fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The value of the `Host` header.
    pub(super) fn authority(&self) -> String {
        let Endpoint { host, port, tls } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match (tls, port) {
            (true, 443) | (false, 80) => host,
            _ => format!("{host}:{port}"),
        }
    }
}

impl Place {
    /// Where to connect to; `None` for a unix socket.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Place::Unix(_) => None,
            Place::Tcp(endpoint) => Some(endpoint.clone()),
            Place::Aws(region) => Some(Endpoint::of_aws(SERVICE, region)),
        }
    }

    /// The region of AWS that the place tells: by name, or by that of a host of AWS, such as
    /// `kms.eu-west-1.amazonaws.com` or that of an interface endpoint.
    pub(super) fn region(&self) -> Option<&str> {
        match self {
            Place::Unix(_) => None,
            Place::Aws(region) => Some(region),
            Place::Tcp(Endpoint { host, .. }) => {
                let name = host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".amazonaws.com")?;
                name.split('.').skip_while(|label| *label != SERVICE).nth(1)
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
        if let Some(region) = text.strip_prefix("aws:") {
            let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            return match region.len() {
                1..=32 if region.bytes().all(good) => Ok(Place::Aws(region.to_owned())),
                _ => Err(format!("{text}: expected a region of AWS, as in aws:eu-central-1")),
            };
        }
        if !text.starts_with("https://") && !text.starts_with("http://") {
            return Err(format!("{text}: a KMS is named by unix:PATH, https://HOST:PORT or aws:REGION"));
        }
        match Endpoint::parse(text) {
            Some((endpoint, "/")) if endpoint.tls || endpoint.is_here() => Ok(Place::Tcp(endpoint)),
            Some((_, "/")) => {
                Err(format!("{text}: without TLS, keys would cross the network in the clear; use https://"))
            }
            _ => Err(format!("{text}: expected a host and a port, and nothing after them")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp(endpoint) => endpoint.fmt(f),
            Place::Aws(region) => write!(f, "aws:{region}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Place {
        Place::Tcp(Endpoint { host: host.into(), port, tls })
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
            ("aws:us-gov-west-1", Place::Aws("us-gov-west-1".into())),
        ] {
            assert_eq!(text.parse::<Place>().unwrap(), place);
            assert_eq!(place.to_string(), text);
        }
        assert_eq!("unix:///run/kms.sock".parse::<Place>().unwrap(), Place::Unix("/run/kms.sock".into()));
        assert_eq!("https://h:1/".parse::<Place>().unwrap(), tcp("h", 1, true));
    }

    #[test]
    fn a_region_has_a_host_and_a_host_of_aws_has_a_region() {
        for (region, host) in [
            ("eu-west-1", "kms.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", "kms.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "kms.cn-north-1.amazonaws.com.cn"),
        ] {
            let place: Place = format!("aws:{region}").parse().unwrap();
            assert_eq!(place.endpoint(), Some(Endpoint { host: host.into(), port: 443, tls: true }));
            assert_eq!(place.region(), Some(region));
            assert_eq!(tcp(host, 443, true).region(), Some(region));
        }
        let interface = "vpce-0ab1-2cd3.kms.eu-west-1.vpce.amazonaws.com";
        assert_eq!(tcp(interface, 443, true).region(), Some("eu-west-1"));
        for host in ["kms.example", "localhost", "kms.eu-west-1.amazonaws.com.example"] {
            assert_eq!(tcp(host, 443, true).region(), None, "{host}");
        }
    }

    #[test]
    fn what_is_no_place_or_not_safe_is_refused() {
        for (text, words) in [
            ("unix:kms.sock", "must be absolute"),
            ("local", "unix:PATH, https://"),
            ("ftp://x", "unix:PATH, https://"),
            ("aws:", "a region of AWS"),
            ("aws:evil.example/", "a region of AWS"),
            ("aws:EU-WEST-1", "a region of AWS"),
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
