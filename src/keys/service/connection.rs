//! Connections to a KMS service, kept for the next call. Everything ends by a deadline.

use super::http::{self, Answer};
use super::place::{Endpoint, Place};
use super::tls;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long one address may take to answer that it is there, so that there is time for another.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a peer may leave bytes unacknowledged: one that has vanished is noticed before an answer is overdue.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// Idle connections that are kept. More are made as needed.
const KEPT: usize = 32;

/// A socket whose reads and writes end by a deadline.
struct Timed {
    socket: Socket,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        left(self.deadline)
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer).map_err(late)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        // Without a signal: in a program that is not ours, one would end it.
        self.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The time until `deadline`; never none, which sockets take for no limit.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(overdue()) } else { Ok(left) }
}

/// A timeout of a socket, under its name.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { overdue() } else { error }
}

fn overdue() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// A stream of any kind.
enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Stream::Plain(stream) => stream.deadline = deadline,
            Stream::Tls(stream) => stream.sock.deadline = deadline,
        }
    }

    /// Whether the peer has neither closed the connection nor sent what nobody asked for.
    fn is_open(&self) -> bool {
        let socket = match self {
            Stream::Plain(stream) => &stream.socket,
            Stream::Tls(stream) => &stream.sock.socket,
        };
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a request and reads the answer; `None` if the peer has closed the connection instead.
    fn ask(&mut self, request: &[u8], deadline: Instant) -> io::Result<Option<Answer>> {
        self.set_deadline(deadline);
        match self {
            Stream::Plain(stream) => ask(stream, request),
            Stream::Tls(stream) => ask(stream, request),
        }
    }
}

fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> io::Result<Option<Answer>> {
    stream.write_all(request)?;
    stream.flush()?;
    http::read(stream)
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
        let tls = match place.endpoint() {
            Some(Endpoint { tls: true, .. }) => Some(tls::config()?),
            _ => None,
        };
        Ok(Connections { place, tls, idle: Mutex::default() })
    }

    /// Sends a request and reads the answer, all by `deadline`. A kept connection that the server has closed
    /// meanwhile is replaced by a new one. Only with `again` is a request sent a second time, where the first may or may
    /// not have reached the server.
    ///
    /// # Errors
    /// Those of the network; `TimedOut`; `InvalidData` for what is no answer.
    pub(super) fn exchange(&self, request: &[u8], deadline: Instant, again: bool) -> io::Result<Answer> {
        let mut kept = self.idle.lock().pop();
        if !again {
            kept = kept.filter(|stream| stream.is_open());
        }
        if let Some(mut stream) = kept {
            match stream.ask(request, deadline) {
                Ok(Some(answer)) => return Ok(self.keep(stream, answer)),
                Ok(None) if again => {}
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if again && is_closed(&error) => {}
                Err(error) => {
                    // The others were made to the same peer.
                    self.idle.lock().clear();
                    return Err(error);
                }
            }
        }
        let mut stream = match &self.place.endpoint() {
            Some(endpoint) => connect(endpoint, self.tls.as_ref(), deadline)?,
            None => self.connect_unix(deadline)?,
        };
        match stream.ask(request, deadline)? {
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

    fn connect_unix(&self, deadline: Instant) -> io::Result<Stream> {
        let Place::Unix(path) = &self.place else { return Err(io::ErrorKind::Unsupported.into()) };
        unix(path, deadline)
    }
}

/// Asks `endpoint` once, on a connection of its own.
///
/// # Errors
/// As [`Connections::exchange`].
pub(super) fn once(endpoint: &Endpoint, request: &[u8], deadline: Instant) -> io::Result<Answer> {
    let tls = if endpoint.tls { Some(tls::config()?) } else { None };
    let answer = connect(endpoint, tls.as_ref(), deadline)?.ask(request, deadline)?;
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Connects to a unix socket. The queue of one whose server hangs may be full: then there is a wait, too.
fn unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(left(deadline)?))?;
    socket.connect(&SockAddr::unix(path)?).map_err(late)?;
    Ok(Stream::Plain(Timed { socket, deadline }))
}

fn connect(endpoint: &Endpoint, config: Option<&Arc<ClientConfig>>, deadline: Instant) -> io::Result<Stream> {
    let host = &endpoint.host;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in addresses(host, endpoint.port, deadline)? {
        match tcp(address, deadline) {
            Ok(stream) => {
                let Some(config) = config else { return Ok(Stream::Plain(stream)) };
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                return Ok(Stream::Tls(Box::new(StreamOwned::new(tls, stream))));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn tcp(address: SocketAddr, deadline: Instant) -> io::Result<Timed> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.connect_timeout(&address.into(), left(deadline)?.min(CONNECT))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(Timed { socket, deadline })
}

/// The addresses of a host. The system's resolver knows no deadline, so it is left behind when it takes too long.
fn addresses(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let (tell, told) = mpsc::sync_channel(1);
    let name = host.to_owned();
    thread::Builder::new().name("resolve".into()).spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody listens any more where it took too long.
        let _ = tell.send(found);
    })?;
    told.recv_timeout(left(deadline)?).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no address of {host} in time")))
    })
}

/// Whether the peer has closed the connection.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
