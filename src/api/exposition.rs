//! The figures on a port of their own, for a Prometheus on the same machine.

use super::ending::Ending;
use super::gate::Gate;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at the same time.
const CONNECTIONS: usize = 16;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that is bound but not served yet.
#[derive(Debug)]
pub struct Exposition(StdTcpListener);

impl Exposition {
    /// Binds `address`.
    ///
    /// # Errors
    /// It is not a loopback address, since anybody who can connect may read; or it cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Exposition> {
        if !address.ip().is_loopback() {
            let message = format!("{address} is no loopback address");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = StdTcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Exposition(listener))
    }

    /// The address, with the port that the kernel chose if none was asked for.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves the figures of a service, for ever.
    ///
    /// # Errors
    /// The port cannot be served.
    pub async fn serve(self, gate: Arc<Gate>, ending: Ending) -> io::Result<()> {
        let listener = TcpListener::from_std(self.0)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    super::server::rest(&error).await;
                    continue;
                }
            };
            let (gate, mut ending) = (Arc::clone(&gate), ending.clone());
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let answer = answer(&gate, &request);
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                tokio::select! {
                    served = http.serve_connection(TokioIo::new(stream), answer) => {
                        if let Err(error) = served {
                            log::debug!("the figures were not taken: {error}");
                        }
                    }
                    () = ending.come() => {}
                }
                drop(place);
            });
        }
    }
}

fn answer(gate: &Gate, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            *response.body_mut() = Full::new(Bytes::from(gate.figures()));
            let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, text);
        }
        (_, "/metrics") => {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}
