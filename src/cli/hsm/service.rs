//! What custodians ask of a running service.

use std::{
    io,
    os::{fd::RawFd, unix::net::UnixStream},
    path::PathBuf,
};

use serde_json::{Value, json};

use crate::{
    cli::{Exit, Failure, Global, access, output, secret},
    fuse::control,
    hsm::{self, Sealed, backup::check_expected},
    keys::{Caller, Place},
    kms::keystore::{self, Counter},
};

/// Which service is asked.
#[derive(Debug, clap::Args)]
pub struct SocketArgs {
    /// The service's unix socket [default: kms.sock in /run/kmsfs for root, in $XDG_RUNTIME_DIR/kmsfs for others]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UnlockArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Read the share from a file
    #[arg(long, value_name = "FILE", conflicts_with = "share_fd")]
    share_file: Option<PathBuf>,
    /// Read the share from a file descriptor
    #[arg(long, value_name = "N")]
    share_fd: Option<RawFd>,
    /// Give no share to a keystore that is older than this, the counter that you noted last
    #[arg(long, value_name = "COUNTER")]
    expect: Option<Counter>,
}

impl SocketArgs {
    /// Whether the command line names a socket.
    pub fn is_named(&self) -> bool {
        self.socket.is_some()
    }

    fn path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| control::runtime_directory().join("kms.sock"))
    }

    /// Whether there may be a service: one that this user cannot reach is one.
    fn is_served(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        match UnixStream::connect(self.path()) {
            Err(error) => !matches!(error.kind(), NotFound | ConnectionRefused),
            Ok(_) => true,
        }
    }

    /// Calls an operation of kmsfs's own.
    ///
    /// # Errors
    /// The service does not answer, or refuses.
    pub fn call(&self, operation: &str, body: Value) -> Result<Value, Failure> {
        let socket = self.path();
        let socket = std::path::absolute(&socket).map_err(|err| Failure::io("find", &socket, &err))?;
        Ok(Caller::new(Place::Unix(socket))?.call(operation, body)?)
    }
}

pub(super) fn status(args: &SocketArgs, global: &Global) -> Result<(), Failure> {
    let status = match args.call("HsmStatus", json!({})) {
        Err(failure) if !args.is_served() => without_service(failure, global)?,
        answered => answered?,
    };
    show(&status, global.json)
}

/// What the keystore itself says where there is no service.
fn without_service(failure: Failure, global: &Global) -> Result<Value, Failure> {
    let location = access::location(global)?;
    if !location.exists()? {
        return Ok(json!({ "State": "Uninitialised" }));
    }
    match Sealed::find(&location) {
        Ok(sealed) => Ok(json!({
            "State": "Sealed", "Name": sealed.to_string(), "Counter": sealed.counter().to_string(),
            "Threshold": sealed.quorum().threshold(), "Custodians": sealed.quorum().custodians(),
            "ShareSet": sealed.set(), "Submitted": [], "Service": failure.message(),
        })),
        Err(hsm::Error::Keystore(keystore::Error::Zeroized(_))) => Ok(json!({ "State": "Zeroized" })),
        Err(_) => Err(failure),
    }
}

pub(super) fn unlock(args: &UnlockArgs, json: bool) -> Result<(), Failure> {
    access::prepare()?;
    // Before anybody types: is there an HSM, and does it wait for shares?
    let status = args.socket.call("HsmStatus", json!({}))?;
    if let Some(expected) = args.expect {
        check_counter(&status, expected)?;
    }
    if status["State"] == "Operational" {
        output::note(format_args!("The HSM is operational already: no share was looked at."));
        return show(&status, json);
    }
    let share = secret::share(args.share_file.as_deref(), args.share_fd)?;
    let words = std::str::from_utf8(share.expose());
    let words = words.map_err(|_| Failure::new(Exit::NoSecret, "the share is no text"))?;
    show(&args.socket.call("HsmUnlock", json!({ "Share": words.trim() }))?, json)
}

/// Whoever put an older copy in the keystore's place may be waiting for shares.
fn check_counter(status: &Value, expected: Counter) -> Result<(), Failure> {
    let found = status["Counter"].as_str().and_then(|text| text.parse().ok());
    let found =
        found.ok_or_else(|| Failure::new(Exit::Unavailable, "the service does not tell its counter"))?;
    Ok(check_expected(found, expected)?)
}

pub(super) fn lock(args: &SocketArgs, json: bool) -> Result<(), Failure> {
    let status = args.call("HsmLock", json!({}))?;
    if json {
        return output::json(&status);
    }
    output::note(format_args!("The HSM is sealed."));
    Ok(())
}

fn show(status: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(status);
    }
    let text = |name: &str| match &status[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let submitted: Vec<_> =
        status["Submitted"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let left = status["SecondsLeft"].as_u64().map(|left| format!("{left} seconds, then they are forgotten"));
    let quorum = match &status["Threshold"] {
        Value::Null => String::new(),
        _ => format!("{} of {} shares", text("Threshold"), text("Custodians")),
    };
    output::fields(&[
        ("HSM", text("Name")),
        ("State", text("State").to_lowercase()),
        ("Quorum", quorum),
        (
            "Shares given",
            if submitted.is_empty() {
                String::new()
            } else {
                format!("of custodians {}", submitted.join(", "))
            },
        ),
        ("Time left", left.unwrap_or_default()),
        ("Counter", text("Counter")),
        ("Cryptography", text("Cryptography")),
        ("Service", text("Service")),
    ])
}
