//! A volume as a whole: made, opened, closed.
//!
//! Opening is one fixed order: config, volume key, MAC, lock, journal, recovery. Nothing of the volume is
//! believed before the config's MAC holds, and nothing is served before a crash is made good.

use super::config::{CONFIG, CmkPlace, Config, Settings};
use super::dirrec::{RECORD, Record};
use super::journal::{Journal, Opened, State};
use super::keys::{VolumeKeys, journal_key};
use super::lower::{Fd, Lower, SystemLower, Timespec, open_root};
use super::names::LOST_FOUND;
use super::recover::{Recovery, RecoveryReport};
use super::replay::{ReplayReport, replay};
use super::store::FileStore;
use super::{Error, Result};
use crate::crypto::{Cipher, Key, random};
use crate::keys::{
    self, CacheLimits, Cmk, Context, ErrorKind, KeyProvider, Keyring, NO_ZONE, Purpose, Sources, WrapMode,
    WrappedKey, Zone,
};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

/// What a mount survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Power cuts: an overwritten block reads as before or after.
    #[default]
    Power,
    /// Killed daemons only: no disk flush but those an fsync asks for.
    Process,
}

/// How a volume is to be opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What the mount survives.
    pub durability: Durability,
    /// Bounds of the data-key cache.
    pub cache: CacheLimits,
}

/// What was done about a session that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The journal.
    pub replay: ReplayReport,
    /// The files.
    pub files: RecoveryReport,
}

/// An open volume. Whoever holds it owns the lower directory; [`FileStore::close`] lets it go.
pub struct Volume {
    /// The lower filesystem's calls.
    pub lower: Arc<dyn Lower>,
    /// The lower directory.
    pub root: Fd,
    /// What the volume is.
    pub config: Config,
    /// What seals names, records, link targets and attributes.
    pub keys: VolumeKeys,
    /// The data keys.
    pub keyring: Arc<Keyring>,
    /// The content of regular files.
    pub store: FileStore,
    /// What was done about a session that died, if the last one did.
    pub recovered: Option<Recovered>,
}

impl Volume {
    /// Makes a volume in the empty directory `dir`, its volume key wrapped by the key that `cmk` names.
    ///
    /// Without `wrap`, data keys are wrapped as the cost of the provider's calls suggests. Files of a `shreddable` volume
    /// have shred secrets, which not every provider keeps.
    ///
    /// The config is written last: a directory is a volume once it has one.
    ///
    /// # Errors
    /// [`Error::Volume`] if the directory is not empty; key errors; those of the lower filesystem.
    pub fn create(
        dir: &Path,
        provider: &dyn KeyProvider,
        kms: &str,
        cmk: &str,
        cipher: Cipher,
        wrap: Option<WrapMode>,
        shreddable: bool,
    ) -> Result<Config> {
        if let Some(name) = Volume::occupant(dir)? {
            let what = if name == CONFIG { "is a volume already" } else { "is not empty" };
            return Err(Error::Volume(format!(
                "{} {what}: a new volume wants an empty directory",
                dir.display()
            )));
        }
        let lower = SystemLower;
        let root = open_root(dir)?;
        let info = provider.resolve(cmk)?;
        if shreddable {
            keys::secret_store(provider)?;
        }
        let volume_id = random::array::<16>();
        let (volume_key, wrapped) = provider.generate(&info.arn, &volume_context(volume_id))?;
        let settings = Settings {
            volume_id,
            cipher,
            wrap: wrap.unwrap_or_else(|| provider.cost().wrap_mode()),
            kms: kms.to_owned(),
            cmk: info.arn,
            wrapped,
            former: Vec::new(),
            shreddable,
            zones: Vec::new(),
        };
        let made = lay_out(&lower, &root, settings, &volume_key);
        match &made {
            // What was there before, another process is making just now.
            Err(Error::Os(e)) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(_) => take_back(&lower, &root),
            Ok(_) => {}
        }
        made
    }

    /// An entry that keeps `dir` from becoming a volume: its config if it is one already.
    ///
    /// # Errors
    /// `ENOENT` if there is no `dir`, and other errors of the lower filesystem.
    pub fn occupant(dir: &Path) -> Result<Option<OsString>> {
        // A freshly made filesystem is not empty.
        let ignored = [".", "..", LOST_FOUND].map(OsStr::new);
        let entries = SystemLower.read_dir(&open_root(dir)?)?.into_iter().map(|entry| entry.name);
        let mut there: Vec<_> = entries.filter(|name| !ignored.contains(&name.as_os_str())).collect();
        there.sort_by_key(|name| name != CONFIG);
        Ok(there.into_iter().next())
    }

    /// Opens the volume in `dir`, through the calls of `lower`, with keys from `sources`.
    ///
    /// # Errors
    /// [`Error::Volume`] if there is none, or it is of a newer format; [`Error::InUse`] if another process has
    /// it open; [`Error::Corrupt`] if its config, journal or records were altered; key errors; those of the
    /// lower filesystem.
    pub fn open(lower: Arc<dyn Lower>, dir: &Path, sources: Sources, options: Options) -> Result<Volume> {
        let root = open_root(dir)?;
        let (config, volume_key) = open_config(&*lower, &root, &sources)?;
        let keys = VolumeKeys::new(&volume_key, *config.volume_id());
        let zones = zones(config.settings(), &sources)?;
        let keyring = Keyring::new(sources, zones, *config.volume_id(), config.cipher(), options.cache);
        let keyring = Arc::new(keyring);
        let power = options.durability == Durability::Power;
        let (journal, recovered) =
            open_journal(&lower, &root, journal_key(&volume_key), (&keys, &keyring), power)?;
        let store = FileStore::new(Arc::clone(&lower), Arc::clone(&keyring), journal, power);
        store.start_background()?;
        Ok(Volume { lower, root, config, keys, keyring, store, recovered })
    }
}

/// Reads the config of the volume in the lower directory `root`, and believes it by the volume key that it leads to.
///
/// # Errors
/// As [`Volume::open`], which does this first.
pub fn open_config(lower: &dyn Lower, root: &Fd, sources: &Sources) -> Result<(Config, Key)> {
    let unverified = Config::read(lower, root)?;
    let provider = sources.get(unverified.kms())?;
    let context = volume_context(*unverified.volume_id());
    let volume_key = match provider.unwrap_key(unverified.cmk(), unverified.wrapped(), &context) {
        Err(e) if e.kind() == ErrorKind::Invalid => {
            return Err(Error::corrupt(CONFIG, format_args!("the volume key does not unwrap: {e}")));
        }
        other => other?,
    };
    let config = unverified.verify(&volume_key)?;
    Ok((config, volume_key))
}

fn volume_context(volume: [u8; 16]) -> Context<'static> {
    Context { volume, zone: None, purpose: Purpose::Volume }
}

/// The zones of a config, the volume's own first.
///
/// # Errors
/// A KMS is not among `sources`.
fn zones(settings: &Settings, sources: &Sources) -> Result<Vec<Zone>> {
    let cmk = |place: &CmkPlace| -> Result<Cmk> {
        let provider = Arc::clone(sources.get(&place.kms)?);
        Ok(Cmk { provider, arn: place.arn.clone(), id: place.id })
    };
    let former = |places: &[CmkPlace]| places.iter().map(cmk).collect::<Result<Vec<_>>>();
    let mut zones = vec![Zone {
        id: NO_ZONE,
        name: None,
        cmk: cmk(&settings.cmk_place())?,
        former: former(&settings.former)?,
        wrap: settings.wrap,
        shreddable: settings.shreddable,
    }];
    for zone in &settings.zones {
        zones.push(Zone {
            id: zone.id,
            name: Some(zone.name.clone()),
            cmk: cmk(&zone.cmk)?,
            former: former(&zone.former)?,
            wrap: zone.wrap,
            shreddable: zone.shreddable,
        });
    }
    Ok(zones)
}

/// Puts other settings into the config of an open volume, durably, and in force for its keys.
///
/// # Errors
/// [`Error::Volume`] if a config cannot hold them; a key error if a KMS of theirs was not named when the volume was
/// opened; those of the lower filesystem. What was in force stays then.
pub fn change_settings(
    lower: &dyn Lower,
    root: &Fd,
    keys: &VolumeKeys,
    keyring: &Keyring,
    config: &Config,
    settings: Settings,
) -> Result<Config> {
    let zones = zones(&settings, keyring.sources())?;
    let config = config.replace(lower, root, settings, keys)?;
    keyring.set_zones(zones);
    Ok(config)
}

/// The volume key of a volume with `settings`, wrapped by the CMK `to`; what was wrapped is unwrapped once for a test.
///
/// # Errors
/// Key errors of both CMKs; [`ErrorKind::Invalid`] if what the KMS made of the key does not give it back.
pub fn wrap_volume_key(settings: &Settings, to: &CmkPlace, sources: &Sources) -> Result<WrappedKey> {
    let context = volume_context(settings.volume_id);
    let key = sources.get(&settings.kms)?.unwrap_key(&settings.cmk, &settings.wrapped, &context)?;
    let provider = sources.get(&to.kms)?;
    let wrapped = provider.wrap(&to.arn, &key, &context)?;
    match provider.unwrap_key(&to.arn, &wrapped, &context)?.expose() == key.expose() {
        true => Ok(wrapped),
        false => Err(keys::Error::new(
            ErrorKind::Invalid,
            "the KMS wrapped another key than the volume key it was given",
        )
        .into()),
    }
}

/// Writes all that makes an empty directory a volume, the config last.
fn lay_out(lower: &dyn Lower, root: &Fd, settings: Settings, volume_key: &Key) -> Result<Config> {
    let keys = VolumeKeys::new(volume_key, settings.volume_id);
    Journal::create(lower, root, &journal_key(volume_key))?;
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    let record = lower.open(root, OsStr::new(RECORD), flags, 0o400)?;
    lower.pwrite(&record, &keys.seal_record(&Record::root()), 0)?;
    lower.fsync(&record)?;
    lower.fsync(root)?;
    Config::create(lower, root, settings, volume_key)
}

/// Removes what a failed [`lay_out`] has made, so that the directory is empty for the next try. Best effort: the
/// first failure is the one to report, and a volume that has its config is left alone.
fn take_back(lower: &dyn Lower, root: &Fd) {
    let absent = |e: std::io::Error| e.raw_os_error() == Some(libc::ENOENT);
    if lower.stat(root, OsStr::new(CONFIG)).is_err_and(absent) {
        let _ = lower.unlink(root, OsStr::new(RECORD));
        let _ = Journal::remove(lower, root);
    }
}

/// Locks the volume, replays its journal and mends what a dead session left behind.
fn open_journal(
    lower: &Arc<dyn Lower>,
    root: &Fd,
    key: Key,
    (keys, keyring): (&VolumeKeys, &Keyring),
    power: bool,
) -> Result<(Journal, Option<Recovered>)> {
    let (dir, state) = Journal::open_files(&**lower, root).map_err(|e| match e {
        Error::Os(e) if e.raw_os_error() == Some(libc::ENOENT) => Error::corrupt(
            "kmsfs.journal/state",
            "missing; restore kmsfs.journal from the same copy of the lower directory",
        ),
        other => other,
    })?;
    if !lower.try_lock(&state)? {
        let pid = State::read(&**lower, &state, &key).map_or(0, |s| s.pid);
        return Err(Error::InUse { pid });
    }
    let Opened { journal, previous, records } = Journal::open(Arc::clone(lower), dir, state, key, power)?;
    journal.begin_session()?;
    if !previous.mounted {
        return Ok((journal, None));
    }
    log::warn!("the volume was not closed: bringing its journal into place");
    let mounted = Timespec::now();
    let replay = replay(&**lower, root, records)?;
    let files = Recovery { lower: &**lower, root, keys, keyring, mounted, began: previous.began }.run()?;
    let segments = journal.rotate();
    journal.retire(&segments)?;
    journal.recycle(segments)?;
    if files.skipped == 0 {
        journal.recovered()?;
    }
    log::warn!(
        "brought {} records into {} files; looked at {} files, mended {}, emptied {}, skipped {}, found {} damaged",
        replay.records,
        replay.files,
        files.looked_at,
        files.mended,
        files.emptied,
        files.skipped,
        files.damaged
    );
    Ok((journal, Some(Recovered { replay, files })))
}
