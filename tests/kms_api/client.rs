//! A small client of its own: HTTP/1.1 by hand and Signature Version 4 as its specification says, so that the
//! service is not tested against itself.

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What a client signs with.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
    pub region: String,
}

/// A request, to be sent as it is.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A call of `TrentService.{operation}`, without a signature.
    pub fn new(operation: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::to(&format!("TrentService.{operation}"), body)
    }

    /// A call of any target, without a signature.
    pub fn to(target: &str, body: impl Into<Vec<u8>>) -> Request {
        let headers =
            [("host", "localhost"), ("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Request { line: "POST / HTTP/1.1".into(), headers, body: body.into() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Signs all headers, as of now.
    pub fn signed(self, with: &Credentials) -> Request {
        self.signed_at(with, SystemTime::now())
    }

    pub fn signed_at(self, with: &Credentials, when: SystemTime) -> Request {
        let date = amz_date(when);
        let mut request = self.header("x-amz-date", &date);
        if let Some(token) = &with.token {
            request = request.header("x-amz-security-token", token);
        }
        request.headers.sort();
        let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let hash = hex::encode(digest::digest(&digest::SHA256, &request.body));
        let canonical = format!("POST\n/\n\n{headers}\n{names}\n{hash}");
        let scope = format!("{}/{}/kms/aws4_request", &date[..8], with.region);
        let hash = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let mut key = format!("AWS4{}", with.secret).into_bytes();
        for part in scope.split('/') {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex::encode(hmac(&key, text.as_bytes()));
        request.header(
            "authorization",
            &format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
                with.id
            ),
        )
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = format!("{}\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        out.extend_from_slice(&self.body);
        out
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

fn amz_date(when: SystemTime) -> String {
    let when = time::OffsetDateTime::from(when);
    let ((year, month, day), (hour, minute, second)) = (when.to_calendar_date(), when.to_hms());
    format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The document of a call that succeeded.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Status, error name and message of a call that failed.
    pub fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |name: &str| body[name].as_str().unwrap_or("").to_owned();
        assert_eq!(self.header("x-amzn-errortype"), body["__type"].as_str());
        (self.status, text("__type"), text("message"))
    }
}

/// A connection that stays open between requests.
#[derive(Debug)]
pub enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Connection {
    pub fn unix(path: &Path) -> Connection {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection::Unix(stream)
    }

    pub fn tcp(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection::Tcp(stream)
    }

    /// Sends a request and reads the answer.
    pub fn send(&mut self, request: &Request) -> Reply {
        self.send_raw(&request.encode());
        self.receive().expect("the server answers")
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes, to a server that may have closed the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Connection::Unix(stream) => stream.write_all(bytes),
            Connection::Tcp(stream) => stream.write_all(bytes),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Connection::Unix(stream) => stream.read(buffer),
            Connection::Tcp(stream) => stream.read(buffer),
        }
    }

    /// Reads an answer; `None` if the server closes the connection instead.
    pub fn receive(&mut self) -> Option<Reply> {
        self.receive_many(1).pop()
    }

    /// Reads as many answers; fewer if the server closes the connection.
    pub fn receive_many(&mut self, count: usize) -> Vec<Reply> {
        let (mut bytes, mut buffer, mut replies) = (Vec::new(), [0; 4096], Vec::new());
        loop {
            while let Some((reply, length)) = parse(&bytes) {
                bytes.drain(..length);
                replies.push(reply);
            }
            if replies.len() >= count {
                return replies;
            }
            match self.read(&mut buffer) {
                Ok(0) => return replies,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return replies,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// An answer that has arrived as a whole, and its length.
fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some((Reply { status, headers, body }, end + 4 + length))
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
