//! `kmsfs kms serve`: from the command line to a service that answers, until it is told to end.

use std::{
    net::{SocketAddr, TcpListener},
    os::linux::net::SocketAddrExt,
    os::unix::ffi::OsStrExt,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::log::LogArgs;
use crate::{
    api::{
        exposition::Exposition,
        gate::Gate,
        oversight::Oversight,
        server::{Limits, Listeners, Socket, tls},
        service::Service,
    },
    cli::{Exit, Failure, Global, access, output},
    crypto,
    fuse::{control, sys},
    hsm::{self, Sealed, shares::Secret},
    kms::{
        self, Kms, SystemClock,
        audit::{AuditLog, Durability, Options},
        quota::Quotas,
    },
};

/// Threads that may wait for the keystore's disk or compute for milliseconds.
const BLOCKING_THREADS: usize = 64;
/// How long calls that are still running at the end are waited for.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Arguments of `kmsfs kms serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Whoever connects to the socket is the principal that `kmsfs kms map-uid` gave their
user; over TCP, requests carry a signature made with an access key. What a principal
may do is up to key policies, grants and its own policies.

Runs in the foreground until SIGTERM or SIGINT; requests in progress are finished.

Every call is a line of the audit log, which `kmsfs kms audit` shows. Without
--audit-durable a power cut may take the last second's lines along; with it no call
is answered before its line is on the disk, and none while it cannot be written.

Examples:
  kmsfs kms serve
  kmsfs kms serve --listen 127.0.0.1:4599
  kmsfs kms serve --listen 0.0.0.0:4599 --tls-cert server.pem --tls-key server.key
  aws kms list-keys --endpoint-url http://127.0.0.1:4599")]
pub struct Args {
    /// Unix socket to serve on [default: kms.sock in /run/kmsfs for root, in $XDG_RUNTIME_DIR/kmsfs for others]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Who may connect to the socket, as file permissions
    #[arg(long, value_name = "OCTAL", default_value = "600", value_parser = parse_mode)]
    socket_mode: u32,
    /// Serve on TCP only
    #[arg(long, conflicts_with_all = ["socket", "socket_mode"], requires = "listen")]
    no_socket: bool,
    /// TCP address and port to serve on; without TLS it must be a loopback address
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The server's certificate, and those that vouch for it: a PEM file
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "listen"])]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key: a PEM file that only its owner may read
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
    /// Answer no call before its line of the audit log is on the disk
    #[arg(long)]
    audit_durable: bool,
    /// Keep no audit log
    #[arg(long, conflicts_with_all = ["directory", "audit_durable"])]
    no_audit: bool,
    /// Calls a second that are served, by kind: a JSON file, or `aws` for AWS's default quotas [default: no limit]
    #[arg(long, value_name = "FILE")]
    quota: Option<PathBuf>,
    /// Loopback address and port where Prometheus may read the service's figures, at /metrics
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Threads that serve requests [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Runs the command: returns when the service has ended.
///
/// # Errors
/// The keystore cannot be opened, or an address cannot be served.
pub fn run(args: &Args, global: &Global, open: impl FnOnce() -> Result<Kms, Failure>) -> Result<(), Failure> {
    // Before anybody is asked for a passphrase.
    let directory = (!args.no_audit).then(|| args.log.directory(global)).transpose()?;
    let durability = if args.audit_durable { Durability::Durable } else { Durability::Buffered };
    let making = Making { directory, durability, quota: args.quota.clone() };
    making.quotas()?;
    if let Err(error) = crypto::hide_secrets() {
        log::info!("keys are locked in memory, but not hidden from root: {error}");
    }
    let keystore = match custodians(global)? {
        None => Keystore::Open(open()?),
        Some(sealed) => Keystore::Sealed(sealed),
    };
    // Buffers of the network hold plaintexts too, and are not ours to place.
    if let Err(error) = crypto::lock_all_memory() {
        log::warn!("requests and answers could be swapped to disk: {error}");
    }
    let exposition = args.metrics.map(Exposition::bind).transpose();
    let exposition = exposition.map_err(|error| refused("show figures", &error))?;
    let listeners = listeners(args)?.showing(exposition);
    let gate = Arc::new(making.gate(keystore)?);
    let runtime = runtime(args.threads).map_err(|error| failed("start its threads", &error))?;
    let served = runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        announce(&listeners);
        let end = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            notify("STOPPING=1");
            log::info!("ending; requests in progress are finished first");
        };
        listeners.serve(Arc::clone(&gate), Limits::default(), end).await
    });
    runtime.shutdown_timeout(LAST_CALLS);
    gate.close();
    served.map_err(|error| failed("serve", &error))
}

/// What is to be served.
enum Keystore {
    Open(Kms),
    Sealed(Sealed),
}

/// What it takes to make the service of an open keystore; of an HSM, each time that it is unlocked.
struct Making {
    /// Of the audit log.
    directory: Option<PathBuf>,
    durability: Durability,
    quota: Option<PathBuf>,
}

impl Making {
    fn quotas(&self) -> Result<Option<Quotas>, Failure> {
        self.quota.as_ref().map(quotas).transpose()
    }

    fn gate(self, keystore: Keystore) -> Result<Gate, Failure> {
        Ok(match keystore {
            Keystore::Open(kms) => Gate::open(self.service(kms)?),
            Keystore::Sealed(sealed) => {
                let unlocked = move |sealed: &Sealed, secret: &Secret| self.unlocked(sealed, secret);
                Gate::sealed(sealed, sys::euid(), Box::new(unlocked))
            }
        })
    }

    fn service(&self, kms: Kms) -> Result<Arc<Service>, Failure> {
        let options = Options { durability: self.durability, ..Options::default() };
        let audit =
            self.directory.as_ref().map(|directory| AuditLog::open(directory, kms.audit_key(), options));
        let oversight = Oversight::new(audit.transpose()?, self.quotas()?);
        Ok(Arc::new(Service::new(Arc::new(kms), sys::euid(), Arc::new(SystemClock), oversight)))
    }

    fn unlocked(&self, sealed: &Sealed, secret: &Secret) -> Result<Arc<Service>, String> {
        let kms = sealed.open(secret, kms::Options::default()).map_err(|error| error.to_string())?;
        self.service(kms).map_err(|failure| failure.to_string())
    }
}

/// The HSM, if custodians open the keystore.
fn custodians(global: &Global) -> Result<Option<Sealed>, Failure> {
    access::prepare()?;
    match Sealed::find(&access::location(global)?) {
        Ok(sealed) => Ok(Some(sealed)),
        // Whatever else there is to say of it, opening it says.
        Err(hsm::Error::NotAnHsm(_) | hsm::Error::Keystore(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The quotas of a file, or AWS's own.
fn quotas(file: &PathBuf) -> Result<Quotas, Failure> {
    let now = Instant::now();
    if file.as_os_str() == "aws" {
        return Ok(Quotas::aws(now));
    }
    let text = std::fs::read_to_string(file).map_err(|error| Failure::io("read", file, &error))?;
    let quotas = Quotas::parse(&text, now);
    quotas.map_err(|error| Failure::new(Exit::Usage, format_args!("{}: {error}", file.display())))
}

fn runtime(threads: Option<u16>) -> std::io::Result<runtime::Runtime> {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("kmsfs-kms").max_blocking_threads(BLOCKING_THREADS);
    if let Some(threads) = threads {
        builder.worker_threads(threads.into());
    }
    builder.build()
}

fn listeners(args: &Args) -> Result<Listeners, Failure> {
    let socket = match (args.no_socket, &args.socket) {
        (true, _) => None,
        (false, Some(path)) => Some(path.clone()),
        (false, None) => {
            let directory = control::make_runtime_directory();
            let place = control::runtime_directory();
            Some(directory.map_err(|error| Failure::io("make", &place, &error))?.join("kms.sock"))
        }
    };
    let socket = socket.map(|path| {
        Socket::bind(&path, args.socket_mode)
            .map_err(|error| refused(&format!("serve {}", path.display()), &error))
    });
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            let loaded = tls::load(certificate, key);
            Some(loaded.map_err(|error| {
                Failure::new(Exit::Failure, format_args!("cannot serve TLS: {error}"))
                    .hint("`kmsfs kms init-tls` makes a certificate.")
            })?)
        }
        _ => None,
    };
    let tcp = args.listen.map(|address| match TcpListener::bind(address) {
        Ok(listener) => Ok((listener, tls)),
        Err(error) => Err(refused(&format!("serve {address}"), &error)),
    });
    Listeners::new(socket.transpose()?, tcp.transpose()?).map_err(|error| {
        refused("serve", &error)
            .hint("Name a certificate with --tls-cert and --tls-key, or listen on 127.0.0.1.")
    })
}

/// The service answers from here on.
fn announce(listeners: &Listeners) {
    if let Some(path) = listeners.socket() {
        output::note(format_args!("Serving on {}.", path.display()));
    }
    if let Some((scheme, address)) = listeners.address() {
        output::note(format_args!("Serving on {scheme}://{address}."));
    }
    if let Some(address) = listeners.exposition() {
        output::note(format_args!("Showing figures on http://{address}/metrics."));
    }
    notify("READY=1");
}

/// Tells a service manager that asked for it (`Type=notify` of systemd).
fn notify(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match place.as_bytes() {
        [b'@', name @ ..] => std::os::unix::net::SocketAddr::from_abstract_name(name),
        _ => std::os::unix::net::SocketAddr::from_pathname(&place),
    };
    let sent = UnixDatagram::unbound()
        .and_then(|socket| socket.send_to_addr(state.as_bytes(), &address?).map(|_| ()));
    if let Err(error) = sent {
        log::warn!("the service manager was not told {state}: {error}");
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected file permissions, as in 660".to_owned()),
    }
}

/// An address that another process has is busy; anything else is a failure.
fn refused(verb: &str, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::AddrInUse => Exit::Busy,
        _ => Exit::Failure,
    };
    Failure::new(exit, format_args!("cannot {verb}: {error}"))
}

fn failed(verb: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failure, format_args!("the service cannot {verb}: {error}"))
}
