//! `kmsfs hsm`: a keystore that only a quorum of custodians opens.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, BufRead, IsTerminal, Write},
    os::fd::RawFd,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Subcommand;
use qrcode::{QrCode, render::unicode};
use serde_json::{Value, json};

use super::{Exit, Failure, Global, access, output, secret};
use crate::{
    crypto::SecretBytes,
    fuse::control,
    hsm::{
        Sealed,
        shares::Secret,
        text::Labelled,
        unsealing::{Taken, Unsealing},
    },
    keys::{Caller, Place},
    kms::{self, keystore},
};

/// Arguments of `kmsfs hsm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An HSM's keystore is opened by a quorum: any M of its N custodians, each with a
share of their own. There is no passphrase beside it and no recovery: if more
than N - M shares are lost, so are the keys, and what they protect.

`kmsfs kms serve` starts sealed on such a keystore. Custodians unlock it one by
one, from any terminal of the machine; mounts that were waiting go on by
themselves.

What software cannot promise: whoever is root on the machine while the HSM is
operational can read the keys from memory.

Examples:
  kmsfs hsm init --quorum 2/3
  kmsfs kms serve &
  kmsfs hsm unlock          (two custodians, one after the other)
  kmsfs hsm lock")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a keystore whose root key custodians share, and their shares
    ///
    /// Each share is shown once, on a page of its own. Nothing of it is kept.
    Init(InitArgs),
    /// Show whether the HSM is sealed, and whose shares are there
    Status(SocketArgs),
    /// Give a share to the HSM; the last one needed opens it
    Unlock(UnlockArgs),
    /// Seal the HSM at once: its keys leave memory
    Lock(SocketArgs),
    /// Hand out new shares, of the same quorum or another; old ones are worth nothing with them
    ///
    /// A quorum of custodians gives its shares to this command. It helps where fewer than a
    /// quorum of shares were lost or seen. Whoever has a quorum of old shares has the secret;
    /// against that, move the keys to a new HSM.
    Refresh(RefreshArgs),
}

#[derive(Debug, clap::Args)]
struct RefreshArgs {
    #[command(flatten)]
    new: InitArgs,
    /// Read a share from a file; several times, until there are enough
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    /// How many of how many custodians open it, as in 2/3
    #[arg(long, value_name = "M/N", value_parser = parse_quorum)]
    quorum: (u8, u8),
    /// Have all shares be needed: one that is lost takes the keys along
    #[arg(long)]
    all: bool,
    /// Write each share to a file of its own in DIR, to be handed out, in place of showing it
    #[arg(long, value_name = "DIR")]
    shares_to: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct SocketArgs {
    /// The service's unix socket [default: kms.sock in /run/kmsfs for root, in $XDG_RUNTIME_DIR/kmsfs for others]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct UnlockArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Read the share from a file
    #[arg(long, value_name = "FILE", conflicts_with = "share_fd")]
    share_file: Option<PathBuf>,
    /// Read the share from a file descriptor
    #[arg(long, value_name = "N")]
    share_fd: Option<RawFd>,
}

/// Runs the command.
///
/// # Errors
/// The keystore cannot be made; the service does not answer, or refuses.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    match &args.command {
        Command::Init(args) => init(args, global),
        Command::Status(args) => show(&args.call("HsmStatus", &json!({}))?, global.json),
        Command::Unlock(args) => unlock(args, global.json),
        Command::Refresh(args) => refresh(args, global),
        Command::Lock(args) => {
            let status = args.call("HsmLock", &json!({}))?;
            if global.json {
                return output::json(&status);
            }
            output::note(format_args!("The HSM is sealed."));
            Ok(())
        }
    }
}

fn parse_quorum(text: &str) -> Result<(u8, u8), String> {
    let numbers = text.split_once('/').and_then(|(m, n)| Some((m.parse().ok()?, n.parse().ok()?)));
    numbers.ok_or_else(|| "expected how many of how many, as in 2/3".to_owned())
}

fn init(args: &InitArgs, global: &Global) -> Result<(), Failure> {
    let (threshold, custodians) = args.quorum()?;
    access::prepare()?;
    let location = access::location(global)?;
    if location.exists()? {
        return Err(keystore::Error::Exists(location).into());
    }
    let place = Shares::to(args, global)?;
    access::make_directory_for(&location)?;
    let (sealed, shares) = Sealed::create(&location, threshold, custodians, kms::Options::default())?;
    let files = place.hand_out(&sealed, &shares).map_err(|failure| {
        let hint = "was made but its shares did not reach you: remove it, and begin again.";
        failure.hint(format_args!("The keystore {location} {hint}"))
    })?;
    done(&sealed, &files, global.json, "Made the keystore")
}

fn refresh(args: &RefreshArgs, global: &Global) -> Result<(), Failure> {
    let (threshold, custodians) = args.new.quorum()?;
    access::prepare()?;
    let sealed = Sealed::find(&access::location(global)?)?;
    let place = Shares::to(&args.new, global)?;
    let secret = collect(&sealed, &args.share_file)?;
    let kms = sealed.open(&secret, kms::Options::default())?;
    let (sealed, shares) = sealed.refresh(&kms, &secret, threshold, custodians)?;
    drop(secret);
    let files = place.hand_out(&sealed, &shares).map_err(|failure| {
        failure.hint("The old shares are void and the new ones did not all reach you: refresh again at once.")
    })?;
    done(&sealed, &files, global.json, "Handed out new shares for the keystore")
}

/// The secret, of the shares in files, or else of those that custodians type.
fn collect(sealed: &Sealed, files: &[PathBuf]) -> Result<Secret, Failure> {
    let mut unsealing = Unsealing::default();
    let mut files = files.iter();
    loop {
        let file = files.next();
        let share = secret::share(file.map(PathBuf::as_path), None)?;
        let wrong = |what: &dyn std::fmt::Display| Failure::new(Exit::WrongSecret, what);
        let words = std::str::from_utf8(share.expose()).map_err(|_| wrong(&"the share is no text"))?;
        let labelled = Labelled::from_words(words).map_err(|err| wrong(&err))?;
        match unsealing.submit(sealed, labelled, Instant::now()).map_err(|err| wrong(&err))? {
            Taken::Complete(secret) => return Ok(secret),
            Taken::More { have, need } => output::note(format_args!("{} of {need} shares.", have.len())),
        }
    }
}

fn done(sealed: &Sealed, files: &[PathBuf], json: bool, what: &str) -> Result<(), Failure> {
    let (location, quorum) = (sealed.location(), sealed.quorum());
    let (threshold, custodians) = (quorum.threshold(), quorum.custodians());
    if json {
        return output::json(&json!({
            "Keystore": location.to_string(), "Name": sealed.to_string(), "Threshold": threshold,
            "Custodians": custodians, "ShareSet": sealed.set(), "Shares": files,
        }));
    }
    output::note(format_args!(
        "{what} {location} of the HSM {sealed}: {threshold} of {custodians} shares open it.\n\
         Every combination that was tried does. Start it with: kmsfs kms serve"
    ));
    Ok(())
}

impl InitArgs {
    fn quorum(&self) -> Result<(u8, u8), Failure> {
        let (threshold, custodians) = self.quorum;
        if threshold == custodians && !self.all {
            let message =
                format!("with {threshold}/{custodians}, one share that is lost takes the keys along");
            return Err(
                Failure::new(Exit::Usage, message).hint("If that is what you want, say so with --all.")
            );
        }
        Ok((threshold, custodians))
    }
}

/// Where the shares of a new HSM go.
enum Shares {
    Terminal,
    Output,
    Directory(PathBuf),
}

impl Shares {
    /// Made ready before the keystore is: its shares are to be had once.
    fn to(args: &InitArgs, global: &Global) -> Result<Shares, Failure> {
        match &args.shares_to {
            Some(path) => {
                let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
                made.map_err(|err| Failure::io("make the directory", path, &err))?;
                Ok(Shares::Directory(path.clone()))
            }
            None if global.json => {
                let message = "--json shows no shares: they would end up wherever the output goes";
                Err(Failure::new(Exit::Usage, message).hint("Name a directory for them: --shares-to DIR."))
            }
            None if output::is_terminal() && io::stdin().is_terminal() => Ok(Shares::Terminal),
            None => Ok(Shares::Output),
        }
    }

    fn hand_out(&self, sealed: &Sealed, shares: &[Labelled]) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        for share in shares {
            let page = page(sealed, share)?;
            match self {
                Shares::Terminal => show_page(&page)?,
                Shares::Output => output::bytes(page.expose())?,
                Shares::Directory(path) => files.push(write(path, share.share.index, share)?),
            }
        }
        Ok(files)
    }
}

/// A share as its custodian gets it.
fn page(sealed: &Sealed, labelled: &Labelled) -> Result<SecretBytes, Failure> {
    let words = labelled.to_words();
    let code = QrCode::new(words.expose())
        .map_err(|err| Failure::new(Exit::Failure, format_args!("cannot draw a share: {err}")))?;
    let picture = code.render::<unicode::Dense1x2>().build();
    let (index, of, need) = (labelled.share.index, labelled.custodians, labelled.threshold);
    let mut text =
        format!("kmsfs HSM {sealed}: share {index} of {of}, of which {need} open it\n\n{picture}\n");
    let words = std::str::from_utf8(words.expose()).expect("words are ASCII");
    for (line, words) in words.split(' ').collect::<Vec<_>>().chunks(6).enumerate() {
        text.push_str(&format!("{:3}  {}\n", 6 * line + 1, words.join(" ")));
    }
    text.push('\n');
    Ok(SecretBytes::from(text))
}

/// Shows a page until its reader has it, and then no longer.
fn show_page(page: &SecretBytes) -> Result<(), Failure> {
    output::bytes(page.expose())?;
    output::bytes(b"For this custodian only. Write the words down, then press Enter.")?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|err| Failure::new(Exit::Failure, format_args!("cannot read the terminal: {err}")))?;
    output::bytes(b"\x1b[2J\x1b[3J\x1b[H") // the screen, what was scrolled off it, and to the top
}

fn write(directory: &Path, index: u8, labelled: &Labelled) -> Result<PathBuf, Failure> {
    let path = directory.join(format!("share-{index}.txt"));
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| {
        file.write_all(labelled.to_words().expose())?;
        file.write_all(b"\n")?;
        file.sync_all()
    })
    .map_err(|err| Failure::io("write", &path, &err))?;
    Ok(path)
}

impl SocketArgs {
    fn call(&self, operation: &str, body: &Value) -> Result<Value, Failure> {
        let socket = self.socket.clone().unwrap_or_else(|| control::runtime_directory().join("kms.sock"));
        let socket = std::path::absolute(&socket).map_err(|err| Failure::io("find", &socket, &err))?;
        Ok(Caller::new(Place::Unix(socket))?.call(operation, body)?)
    }
}

fn unlock(args: &UnlockArgs, json: bool) -> Result<(), Failure> {
    access::prepare()?;
    // Before anybody types: is there an HSM, and does it wait for shares?
    let status = args.socket.call("HsmStatus", &json!({}))?;
    if status["State"] == "Operational" {
        return show(&status, json);
    }
    let share = secret::share(args.share_file.as_deref(), args.share_fd)?;
    let words = std::str::from_utf8(share.expose());
    let words = words.map_err(|_| Failure::new(Exit::NoSecret, "the share is no text"))?;
    show(&args.socket.call("HsmUnlock", &json!({ "Share": words.trim() }))?, json)
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
    output::fields(&[
        ("HSM", text("Name")),
        ("State", text("State").to_lowercase()),
        ("Quorum", format!("{} of {} shares", text("Threshold"), text("Custodians"))),
        (
            "Shares given",
            if submitted.is_empty() {
                String::new()
            } else {
                format!("of custodians {}", submitted.join(", "))
            },
        ),
        ("Time left", left.unwrap_or_default()),
    ])
}
