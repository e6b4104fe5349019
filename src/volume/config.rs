//! `kmsfs.json`: what a volume is, and which key opens it.
//!
//! The wrapped volume key is in it, so it has to be read before anything can verify it. What is needed for that
//! is reachable on [`Unverified`] and to be used for nothing else; everything becomes a [`Config`] once the MAC
//! holds under a subkey of the volume key:
//!
//! ```text
//! mac = keyed BLAKE3(config key, parts), each part preceded by its length (crypto::mac):
//!       "kmsfs.json", format u32, volume id [16], cipher u8, wrap, kms, cmk,
//!       CMK id [16], material u32, wrapped key
//! ```
//! and of a volume with the feature `zones`, which one with zones or former CMKs has, also
//!
//! ```text
//!       "zones", former, number of zones u32, then of each zone: id [16], name, wrap, CMK, former
//! CMK    = kms, arn, CMK id [16]
//! former = number of CMKs u32, the CMKs
//! ```
//! Integers are little-endian, strings are what the JSON says, unescaped. The MAC covers values, not spelling:
//! white space and the order of fields are free, but each value has only one spelling.
//!
//! A config is never changed in place: another is made durable and renamed over it.

mod codec;
mod settings;

pub use codec::decode;
pub use settings::{CmkPlace, Settings, ZONE_NAME_MAX, ZoneSettings};

use super::keys::{VolumeId, VolumeKeys, config_key};
use super::lower::{Fd, Lower, open_own};
use super::{Error, Result};
use crate::crypto::{Cipher, Key, mac, random};
use crate::keys::WrappedKey;
use codec::{encode, hex, with_parts};
use settings::check;
use std::ffi::{OsStr, OsString};

/// Name of the config in the lower root.
pub const CONFIG: &str = "kmsfs.json";
/// The format this program reads and writes.
pub const FORMAT: u32 = 1;
/// Longest config that is read at all, in bytes.
pub const CONFIG_MAX: usize = 1 << 20;

/// A config whose MAC held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config(Settings);

/// A config as read: well-formed, not yet believed.
///
/// Its accessors are what it takes to get the volume key. All of it may be an attacker's: the worst that
/// comes of it is that a KMS of their choice is asked to unwrap bytes of theirs, and the MAC fails then.
#[derive(Debug, Clone)]
pub struct Unverified {
    claimed: Settings,
    mac: [u8; mac::MAC_LEN],
}

impl Config {
    /// Makes the config of a new volume in the lower directory `root`, durably.
    ///
    /// # Errors
    /// [`Error::Volume`] if there is a config already, or `settings` are not ones a config can hold; those of the
    /// lower filesystem, with nothing left behind.
    pub fn create(lower: &dyn Lower, root: &Fd, settings: Settings, volume_key: &Key) -> Result<Config> {
        if let Err(why) = check(&settings) {
            return Err(Error::Volume(format!("cannot make a volume: {why}")));
        }
        let text = encode(&settings, &config_key(volume_key));
        let hidden = temporary_name();
        let made = write_durably(lower, root, &hidden, text.as_bytes())
            .and_then(|()| put_in_place(lower, root, &hidden));
        if made.is_err() {
            // The first failure is the one to report; a leftover is hidden and harmless.
            let _ = lower.unlink(root, &hidden);
        }
        made?;
        lower.fsync(root)?;
        Ok(Config(settings))
    }

    /// Replaces the config in the lower directory `root`, durably: a crash leaves this one or that.
    ///
    /// # Errors
    /// [`Error::Volume`] if `settings` are not ones a config can hold, or are another volume's; those of the lower
    /// filesystem.
    pub fn replace(
        &self,
        lower: &dyn Lower,
        root: &Fd,
        settings: Settings,
        keys: &VolumeKeys,
    ) -> Result<Config> {
        if (settings.volume_id, settings.cipher) != (self.0.volume_id, self.0.cipher) {
            return Err(Error::Volume("a volume keeps its id and its cipher".into()));
        }
        if let Err(why) = check(&settings) {
            return Err(Error::Volume(format!("cannot change the volume's config: {why}")));
        }
        let hidden = temporary_name();
        let text = encode(&settings, &keys.config);
        let made = write_durably(lower, root, &hidden, text.as_bytes())
            .and_then(|()| Ok(lower.rename(root, &hidden, root, OsStr::new(CONFIG), 0)?));
        if made.is_err() {
            // The first failure is the one to report; a leftover is hidden and harmless.
            let _ = lower.unlink(root, &hidden);
        }
        made?;
        lower.fsync(root)?;
        Ok(Config(settings))
    }

    /// Reads the config in the lower directory `root`.
    ///
    /// # Errors
    /// [`Error::Volume`] if there is none, or a newer kmsfs wrote it; [`Error::Corrupt`] if it is not well-formed.
    pub fn read(lower: &dyn Lower, root: &Fd) -> Result<Unverified> {
        let fd = match open_own(lower, root, OsStr::new(CONFIG)) {
            Ok(fd) => fd,
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                let why = format!("not a kmsfs volume: it has no {CONFIG} (kmsfs init makes a volume)");
                return Err(Error::Volume(why));
            }
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Err(Error::corrupt(CONFIG, e)),
            Err(e) => return Err(e.into()),
        };
        let mut text = vec![0; CONFIG_MAX + 1];
        let len = lower.pread(&fd, &mut text, 0)?;
        decode(&text[..len])
    }

    /// Who the volume is.
    pub fn volume_id(&self) -> &VolumeId {
        &self.0.volume_id
    }

    /// How file contents are sealed.
    pub fn cipher(&self) -> Cipher {
        self.0.cipher
    }

    /// URL of the KMS where the CMK lives.
    pub fn kms(&self) -> &str {
        &self.0.kms
    }

    /// ARN of the CMK.
    pub fn cmk(&self) -> &str {
        &self.0.cmk
    }

    /// The volume key, wrapped.
    pub fn wrapped(&self) -> &WrappedKey {
        &self.0.wrapped
    }

    /// All it says.
    pub fn settings(&self) -> &Settings {
        &self.0
    }
}

impl Unverified {
    /// All it says: good for showing it, not for believing it.
    pub fn claimed(&self) -> &Settings {
        &self.claimed
    }

    /// Who the volume claims to be: the encryption context of its wrapped key.
    pub fn volume_id(&self) -> &VolumeId {
        &self.claimed.volume_id
    }

    /// URL of the KMS to ask.
    pub fn kms(&self) -> &str {
        &self.claimed.kms
    }

    /// ARN of the CMK.
    pub fn cmk(&self) -> &str {
        &self.claimed.cmk
    }

    /// The volume key, wrapped.
    pub fn wrapped(&self) -> &WrappedKey {
        &self.claimed.wrapped
    }

    /// Checks the config's MAC with the volume key it led to.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if anything in the config was changed.
    pub fn verify(self, volume_key: &Key) -> Result<Config> {
        if !with_parts(&self.claimed, |parts| mac::verify(&config_key(volume_key), parts, &self.mac)) {
            return Err(Error::corrupt(CONFIG, "its MAC does not hold: it was edited"));
        }
        Ok(Config(self.claimed))
    }
}

fn temporary_name() -> OsString {
    format!("kmsfs.tmp.{}", hex(&random::array::<12>())).into()
}

fn write_durably(lower: &dyn Lower, root: &Fd, name: &OsStr, text: &[u8]) -> Result<()> {
    let fd = lower.open(root, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o644)?;
    lower.pwrite(&fd, text, 0)?;
    Ok(lower.fsync(&fd)?)
}

/// Renames `hidden` to the config, unless there is one.
fn put_in_place(lower: &dyn Lower, root: &Fd, hidden: &OsStr) -> Result<()> {
    let name = OsStr::new(CONFIG);
    let taken = || Error::Volume(format!("there is a volume already: {CONFIG} exists"));
    match lower.rename(root, hidden, root, name, libc::RENAME_NOREPLACE) {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Err(taken()),
        // NFS and some others cannot rename without replacing; two `init` at once are not a case to guard there.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => match lower.stat(root, name) {
            Ok(_) => Err(taken()),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                Ok(lower.rename(root, hidden, root, name, 0)?)
            }
            Err(e) => Err(e.into()),
        },
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests;
