//! Finding, making and unlocking the keystore for a command.

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Once,
    time::Instant,
};

use super::{
    Exit, Failure, Global, output,
    secret::{self, AdministerArgs, Source, UnlockArgs},
};
use crate::{
    crypto::{self, passphrase::Argon2Params},
    hsm::{
        self, Sealed,
        shares::Secret,
        text::Labelled,
        unsealing::{Taken, Unsealing},
    },
    kms::{
        self, Kms,
        keystore::{self, Location},
    },
    volume::{config::CONFIG, lower::descriptors},
};

/// How often a person may try a passphrase at the terminal.
const ATTEMPTS: u32 = 3;

/// Where the keystore is: `--keystore`, `KMSFS_KEYSTORE`, or below the user's data directory.
///
/// # Errors
/// Neither option, environment nor home directory say where.
pub fn location(global: &Global) -> Result<Location, Failure> {
    if let Some(location) = &global.keystore {
        return Ok(location.clone());
    }
    // The XDG specification has relative paths ignored.
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home =
        || std::env::home_dir().filter(|path| path.is_absolute()).map(|home| home.join(".local/share"));
    match data.or_else(home) {
        Some(data) => Ok(data.join("kmsfs/keystore.db").into()),
        None => Err(Failure::new(Exit::NoKeystore, "there is no home directory to look for the keystore in")
            .hint("Name it with --keystore or KMSFS_KEYSTORE.")),
    }
}

/// Opens the keystore. A person at the terminal may mistype the passphrase.
///
/// # Errors
/// There is none, it is damaged, or the secret opens no slot.
pub fn open(global: &Global, unlock: &UnlockArgs) -> Result<Kms, Failure> {
    open_at_cost(global, unlock, None)
}

/// As [`open`], to administer the keystore: custodians open an HSM's with a quorum of their shares, whether it is served or not.
///
/// # Errors
/// As [`open`]; shares that are none.
pub fn administer(global: &Global, args: &AdministerArgs) -> Result<Kms, Failure> {
    prepare()?;
    let location = location(global)?;
    let Some(sealed) = custodians(&location)? else { return open(global, &args.unlock) };
    if args.share_file.is_empty() {
        if args.unlock.source() != Source::Prompt {
            return Err(keystore::Error::QuorumOnly(location).into());
        }
        output::note(format_args!("The HSM {sealed}: custodians give their shares to this command."));
    }
    let secret = collect(&sealed, &args.share_file)?;
    Ok(sealed.open(&secret, options(None))?)
}

/// The HSM, if custodians open the keystore.
///
/// # Errors
/// What an HSM's keystore says of its shares cannot be read.
pub fn custodians(location: &Location) -> Result<Option<Sealed>, Failure> {
    match Sealed::find(location) {
        Ok(sealed) => Ok(Some(sealed)),
        // Whatever else there is to say of it, opening it says.
        Err(hsm::Error::NotAnHsm(_) | hsm::Error::Keystore(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The secret, of the shares in files, or else of those that custodians type.
///
/// # Errors
/// A share that is none, or another HSM's.
pub fn collect(sealed: &Sealed, files: &[PathBuf]) -> Result<Secret, Failure> {
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

/// As [`open`]; slots that are made get `cost` instead of the tuned one.
///
/// # Errors
/// As [`open`].
pub fn open_at_cost(
    global: &Global,
    unlock: &UnlockArgs,
    cost: Option<Argon2Params>,
) -> Result<Kms, Failure> {
    prepare()?;
    let location = location(global)?;
    if !location.exists()? {
        return Err(keystore::Error::Missing(location).into());
    }
    let source = unlock.source();
    if source == Source::Prompt {
        refuse_quorum(&location)?;
    }
    let mut attempt = 1;
    loop {
        let secret = source.existing(&format!("Passphrase for {location}"))?;
        match Kms::open(&location, &secret, options(cost)) {
            Ok(kms) => return Ok(kms),
            Err(keystore::Error::WrongPassphrase(_)) if source == Source::Prompt && attempt < ATTEMPTS => {
                output::note(format_args!("Wrong passphrase, try again."));
                attempt += 1;
            }
            Err(err) => return Err(err.into()),
        }
    }
}

/// Nobody is asked for a passphrase where custodians share the root key.
fn refuse_quorum(location: &Location) -> Result<(), Failure> {
    match Kms::inspect(location.clone())?.slots.iter().all(keystore::SlotInfo::is_of_quorum) {
        true => Err(keystore::Error::QuorumOnly(location.clone()).into()),
        false => Ok(()),
    }
}

/// Makes a keystore with one slot, and opens it.
///
/// # Errors
/// There is one already, it cannot be written, or no secret is given.
pub fn create(
    location: &Location,
    source: &Source,
    label: &str,
    cost: Option<Argon2Params>,
) -> Result<Kms, Failure> {
    prepare()?;
    if location.exists()? {
        return Err(keystore::Error::Exists(location.clone()).into());
    }
    make_directory_for(location)?;
    let secret = source.new_secret(&format!("passphrase for the keystore {location}"))?;
    Ok(Kms::create(location, &secret, label, options(cost))?)
}

/// Makes the directory that a keystore is to be in, for its owner alone.
///
/// # Errors
/// It cannot be made.
pub fn make_directory_for(location: &Location) -> Result<(), Failure> {
    let Location::File(path) = location else { return Ok(()) };
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.map_err(|err| Failure::io("make the directory", parent, &err))
}

fn options(passphrase_cost: Option<Argon2Params>) -> kms::Options {
    kms::Options { passphrase_cost, ..kms::Options::default() }
}

/// Before any key is touched: no core dumps from here on, and both cipher backends agree.
pub(super) fn prepare() -> Result<(), Failure> {
    // Once: a service that is confined by now can no longer do it.
    static HARDENED: Once = Once::new();
    HARDENED.call_once(|| {
        if let Err(err) = crypto::harden_process() {
            log::warn!("cannot keep this process out of core dumps: {err}");
        }
    });
    crypto::self_test().map_err(|err| {
        Failure::new(Exit::Failure, err)
            .hint("This build or this machine computes ciphers wrongly; do not use it.")
    })
}

/// As many descriptors as may be had, for what opens a volume's files.
pub fn raise_descriptor_limit() {
    match descriptors::raise_limit() {
        Ok(limit) => log::debug!("up to {limit} open descriptors"),
        Err(err) => log::info!("the limit of open descriptors stays as it is: {err}"),
    }
}

/// Reads where a keystore is. Unlike clap's own parsers it does not repeat what it refuses: a URL with a password.
#[derive(Debug, Clone, Copy)]
pub struct PlaceParser;

impl clap::builder::TypedValueParser for PlaceParser {
    type Value = Location;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Location, clap::Error> {
        Location::parse(value).map_err(|err| {
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("--keystore: {err}\n"))
                .with_cmd(command)
        })
    }
}

/// Reads the cost of a passphrase guess: "MEMORY_KIB,PASSES,LANES".
///
/// # Errors
/// It is not three numbers.
pub fn parse_cost(text: &str) -> Result<Argon2Params, String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[m_kib, t, p]) => Ok(Argon2Params { m_kib, t, p }),
        _ => Err("expected MEMORY_KIB,PASSES,LANES, as in 65536,3,1".to_owned()),
    }
}

/// A directory without a volume is told before anybody is asked for a passphrase.
///
/// # Errors
/// [`Exit::NoVolume`] if `lower` has no config.
pub fn volume_exists(lower: &Path) -> Result<(), Failure> {
    let config = lower.join(CONFIG);
    match config.symlink_metadata() {
        Ok(_) => Ok(()),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::new(Exit::NoVolume, format_args!("{} is not a kmsfs volume", lower.display()))
                .hint("Name the lower directory, or make a volume with `kmsfs init`."))
        }
        Err(err) => Err(Failure::io("open", &config, &err)),
    }
}
