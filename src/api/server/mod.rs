//! Listening, connections, and their end.
//!
//! Whoever can connect can try to use up memory, descriptors and time, so each has a bound: connections per
//! listener (more wait in the kernel's queue), bytes and seconds of a head, of a body, of a handshake, and
//! seconds without the peer taking anything of an answer. See [`Limits`].

mod patient;
mod socket;
pub mod tls;

pub use socket::Socket;

use super::ending::Ending;
use super::exposition::Exposition;
use super::gate::Gate;
use super::service::Origin;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use patient::Patient;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Longest head of a request, in bytes; also what a connection may have in its read buffer.
const HEAD_MAX: usize = 32 * 1024;

/// What a peer may take of time and connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of one listener at the same time.
    pub connections: usize,
    /// How long a connection may be idle, and a head may take.
    pub head: Duration,
    /// How long a body, a TLS handshake, or a stop in taking an answer may take.
    pub stall: Duration,
    /// How long requests in progress may go on after the end was asked for.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            head: Duration::from_secs(30),
            stall: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

/// Listeners that are bound but not served yet.
#[derive(Debug)]
pub struct Listeners {
    socket: Option<Socket>,
    tcp: Option<(StdTcpListener, Option<Arc<rustls::ServerConfig>>)>,
    exposition: Option<Exposition>,
}

impl Listeners {
    /// Takes listeners together: a unix socket, a TCP port with or without TLS, or both.
    ///
    /// # Errors
    /// Without TLS, anybody on the way can read plaintexts and replay requests: only a loopback address is
    /// served so.
    pub fn new(
        socket: Option<Socket>,
        tcp: Option<(StdTcpListener, Option<Arc<rustls::ServerConfig>>)>,
    ) -> io::Result<Listeners> {
        if let Some((listener, None)) = &tcp
            && !listener.local_addr()?.ip().is_loopback()
        {
            let address = listener.local_addr()?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{address} is no loopback address: it can be served with TLS only"),
            ));
        }
        Ok(Listeners { socket, tcp, exposition: None })
    }

    /// The same, with the service's figures shown at a port of their own.
    pub fn showing(self, exposition: Option<Exposition>) -> Listeners {
        Listeners { exposition, ..self }
    }

    /// Where the figures are shown.
    pub fn exposition(&self) -> Option<SocketAddr> {
        self.exposition.as_ref()?.address().ok()
    }

    /// Where the unix socket is.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(Socket::path)
    }

    /// `http` or `https`, and the TCP address with the port that the kernel chose if none was asked for.
    pub fn address(&self) -> Option<(&'static str, SocketAddr)> {
        let (listener, tls) = self.tcp.as_ref()?;
        Some((if tls.is_some() { "https" } else { "http" }, listener.local_addr().ok()?))
    }

    /// Serves until `until` is ready, then finishes what is in progress.
    ///
    /// # Errors
    /// The listeners cannot be used.
    pub async fn serve(
        self,
        gate: Arc<Gate>,
        limits: Limits,
        until: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (end, ending) = super::ending::end();
        let (alive, mut all_gone) = mpsc::channel(1);
        let mut listening = JoinSet::new();
        if let Some(exposition) = self.exposition {
            let (gate, ending) = (Arc::clone(&gate), ending.clone());
            listening.spawn(async move {
                if let Err(error) = exposition.serve(gate, ending).await {
                    log::error!("the figures are not shown: {error}");
                }
            });
        }
        let connections = Connections { gate, limits, ending, _alive: alive };
        let followed = Arc::clone(&connections.gate);
        listening.spawn(async move { followed.follow_changes().await });
        if let Some(socket) = &self.socket {
            let listener = UnixListener::from_std(socket.listener()?)?;
            listening.spawn(connections.clone().accept_unix(listener));
        }
        if let Some((listener, tls)) = self.tcp {
            listener.set_nonblocking(true)?;
            let (listener, tls) = (TcpListener::from_std(listener)?, tls.map(TlsAcceptor::from));
            listening.spawn(connections.clone().accept_tcp(listener, tls));
        }
        drop(connections);
        until.await;
        listening.shutdown().await;
        drop(self.socket);
        end.come();
        if timeout(limits.grace, all_gone.recv()).await.is_err() {
            log::warn!("requests were still in progress and are given up");
        }
        Ok(())
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Connections {
    gate: Arc<Gate>,
    limits: Limits,
    ending: Ending,
    /// Held by every connection; once all are dropped, the last one has ended.
    _alive: mpsc::Sender<()>,
}

impl Connections {
    async fn accept_unix(self, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let place = place(&places, "the unix socket").await;
            let accepted = listener.accept().await.and_then(|(stream, _)| {
                let uid = stream.peer_cred()?.uid();
                Ok((stream, Origin::Peer { uid }))
            });
            match accepted {
                Ok((stream, origin)) => drop(tokio::spawn(self.clone().serve(stream, origin, place))),
                Err(error) => rest(&error).await,
            }
        }
    }

    async fn accept_tcp(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let place = place(&places, "TCP").await;
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest(&error).await;
                    continue;
                }
            };
            // Answers are written at once: waiting for more to send would only delay them.
            if let Err(error) = stream.set_nodelay(true) {
                log::debug!("{address}: {error}");
            }
            let (connections, origin) = (self.clone(), Origin::Address { address, tls: tls.is_some() });
            let Some(tls) = tls.clone() else {
                drop(tokio::spawn(connections.serve(stream, origin, place)));
                continue;
            };
            tokio::spawn(async move {
                match timeout(connections.limits.stall, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connections.serve(stream, origin, place).await,
                    Ok(Err(error)) => log::info!("{address}: no TLS handshake: {error}"),
                    Err(_) => log::info!("{address}: no TLS handshake in time"),
                }
            });
        }
    }

    /// Serves one connection until its peer, a limit or the end of the service ends it.
    async fn serve<S>(self, stream: S, origin: Origin, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (gate, stall) = (&self.gate, self.limits.stall);
        let answer = service_fn(|request| async {
            Ok::<_, Infallible>(gate.answer(&origin, request, stall, self.ending.clone()).await)
        });
        let stream = TokioIo::new(Patient::new(stream, stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(HEAD_MAX)
            .writev(true) // an answer's bytes go to the kernel from where they are zeroed afterwards
            .serve_connection(stream, answer);
        let mut connection = pin!(connection);
        let mut ending = self.ending.clone();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = ending.come() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            log::debug!("{origin}: connection ended: {error}");
        }
        drop(place);
    }
}

/// Waits for a free place among a listener's connections.
async fn place(places: &Arc<Semaphore>, listener: &str) -> OwnedSemaphorePermit {
    if places.available_permits() == 0 {
        log::warn!("{listener} has as many connections as it may have; others wait");
    }
    Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed")
}

/// Most failures to accept are about one peer. Some, such as a lack of descriptors, last: then this keeps the
/// loop from spinning.
pub(super) async fn rest(error: &io::Error) {
    log::warn!("a connection was not accepted: {error}");
    sleep(Duration::from_millis(50)).await;
}
