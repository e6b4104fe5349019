//! `kmsfs kms serve`: from the command line to a service that answers, until it is told to end.

use std::{
    net::{SocketAddr, TcpListener},
    os::linux::net::SocketAddrExt,
    os::unix::ffi::OsStrExt,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    confine::{Places, confine},
    log::LogArgs,
    user::User,
};
use crate::{
    api::{
        exposition::Exposition,
        gate::Gate,
        oversight::Oversight,
        server::{Limits, Listeners, Socket, tls},
        service::Service,
    },
    cli::{Exit, Failure, Global, access, output, secret::UnlockArgs},
    crypto,
    fuse::{control, sys},
    hsm::{Sealed, shares::Secret},
    kms::{
        self, Kms, SystemClock,
        audit::{AuditLog, Durability, Options},
        keystore::{self, Location},
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

Before the keystore is opened, the process gives up what it does not need: other
files than its own, other programs, other processes, most of the kernel's calls.
With --user it is not even root's any more.

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
    /// As root: the user to run as. The keystore must be in a directory of theirs
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Threads that serve requests [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Runs the command: returns when the service has ended.
///
/// What root is needed for comes first, then the process gives up what it does not need, and only then is the keystore
/// opened: whatever opening it takes later, when an HSM is unlocked or a server's connection was lost, was possible then.
///
/// # Errors
/// The keystore cannot be opened, or an address cannot be served.
pub fn run(args: &Args, global: &Global, unlock: &UnlockArgs) -> Result<(), Failure> {
    let user = args.user.as_deref().map(User::named).transpose()?;
    let location = access::location(global)?;
    let directory = (!args.no_audit).then(|| args.log.directory(global)).transpose()?;
    let durability = if args.audit_durable { Durability::Durable } else { Durability::Buffered };
    let making = Making { directory, durability, quota: args.quota.as_ref().map(Quota::read).transpose()? };
    making.quotas()?;
    // Before anything else takes memory for secrets, which is kept for the next one.
    if let Err(error) = crypto::hide_secrets() {
        log::info!("keys are locked in memory, but not hidden from root: {error}");
    }
    access::prepare()?;
    // Buffers of the network hold plaintexts too, and are not ours to place.
    if let Err(error) = crypto::lock_all_memory() {
        log::warn!("requests and answers could be swapped to disk: {error}");
    }
    let exposition = args.metrics.map(Exposition::bind).transpose();
    let exposition = exposition.map_err(|error| refused("show figures", &error))?;
    let listeners = listeners(args)?.showing(exposition);
    let source = unlock.source();
    let places = Places {
        keystore: &location,
        secret: source.file(),
        audit: making.directory.as_deref(),
        socket: listeners.socket(),
    };
    hand_over(&places, user.as_ref())?;
    confine(&places);
    let keystore = match access::custodians(&location)? {
        None => Keystore::Open(access::open(global, unlock)?),
        Some(sealed) => {
            output::note(format_args!("The HSM {sealed} is sealed: its custodians run `kmsfs hsm unlock`."));
            Keystore::Sealed(sealed)
        }
    };
    let gate = Arc::new(making.gate(keystore)?);
    let runtime = runtime(args.threads).map_err(|error| failed("start its threads", &error))?;
    let served = runtime.block_on(serve(listeners, Arc::clone(&gate)));
    runtime.shutdown_timeout(LAST_CALLS);
    gate.close();
    served.map_err(|error| failed("serve", &error))
}

/// Makes what must be there before the process is confined, and becomes `user`, to whom everything then belongs.
fn hand_over(places: &Places<'_>, user: Option<&User>) -> Result<(), Failure> {
    if let Location::File(path) = places.keystore {
        if !places.keystore.exists()? {
            return Err(keystore::Error::Missing(places.keystore.clone()).into());
        }
        if let Some(user) = user {
            user.expect_owned(path)?;
            user.expect_owned(
                path.parent().filter(|parent| parent != &Path::new("")).unwrap_or(Path::new(".")),
            )?;
        }
    }
    if let Some(directory) = places.audit {
        let made = !directory.exists();
        AuditLog::make_directory(directory)?;
        match user {
            Some(user) if made => user.give(directory)?,
            Some(user) => user.expect_owned(directory)?,
            None => {}
        }
    }
    let Some(user) = user else { return Ok(()) };
    if let Some(socket) = places.socket {
        user.give(socket)?;
    }
    user.become_it()
}

/// Serves until the process is told to end.
async fn serve(listeners: Listeners, gate: Arc<Gate>) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    announce(&listeners);
    let end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify("STOPPING=1");
        log::info!("ending; requests in progress are finished first");
    };
    listeners.serve(gate, Limits::default(), end).await
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
    quota: Option<Quota>,
}

impl Making {
    fn quotas(&self) -> Result<Option<Quotas>, Failure> {
        self.quota.as_ref().map(Quota::begin).transpose()
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

/// Quotas as they were asked for.
enum Quota {
    /// AWS's own.
    Aws,
    /// What a file said when the service was started.
    File(PathBuf, String),
}

impl Quota {
    fn read(file: &PathBuf) -> Result<Quota, Failure> {
        if file.as_os_str() == "aws" {
            return Ok(Quota::Aws);
        }
        let text = std::fs::read_to_string(file).map_err(|error| Failure::io("read", file, &error))?;
        Ok(Quota::File(file.clone(), text))
    }

    /// The quotas, of which nothing is used up yet.
    fn begin(&self) -> Result<Quotas, Failure> {
        let now = Instant::now();
        match self {
            Quota::Aws => Ok(Quotas::aws(now)),
            Quota::File(file, text) => Quotas::parse(text, now)
                .map_err(|error| Failure::new(Exit::Usage, format_args!("{}: {error}", file.display()))),
        }
    }
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
