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

use super::header::MAX_WRAPPED;
use super::keys::{VolumeId, VolumeKeys, config_key};
use super::lower::{Fd, Lower, open_own};
use super::{Error, Result};
use crate::crypto::{Cipher, Key, mac, random};
use crate::keys::{NO_ZONE, WrapMode, WrappedKey, ZoneId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;

/// Name of the config in the lower root.
pub const CONFIG: &str = "kmsfs.json";
/// The format this program reads and writes.
pub const FORMAT: u32 = 1;
/// Longest config that is read at all, in bytes.
pub const CONFIG_MAX: usize = 1 << 20;

/// Longest URL or ARN, in bytes.
const TEXT_MAX: usize = 2048;
/// Most zones of a volume, and former CMKs of a zone.
const LIST_MAX: usize = 256;
/// Longest name of a zone, in bytes.
pub const ZONE_NAME_MAX: usize = 128;
/// The feature of a volume with zones or former CMKs.
const ZONES: &str = "zones";
/// The feature of a volume some of whose files have shred secrets.
const SHREDDABLE: &str = "shreddable";

/// What a new volume is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who the volume is; the encryption context of the wrapped key names it too.
    pub volume_id: VolumeId,
    /// How file contents are sealed.
    pub cipher: Cipher,
    /// How the data keys of files in no zone are wrapped.
    pub wrap: WrapMode,
    /// Where the CMK lives: `local:`.
    pub kms: String,
    /// ARN of the CMK.
    pub cmk: String,
    /// The volume key, wrapped by the CMK.
    pub wrapped: WrappedKey,
    /// CMKs that files in no zone may still be under.
    pub former: Vec<CmkPlace>,
    /// Whether new files in no zone have a shred secret.
    pub shreddable: bool,
    /// The zones.
    pub zones: Vec<ZoneSettings>,
}

/// A CMK, and where it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CmkPlace {
    /// URL of its KMS.
    pub kms: String,
    /// Its ARN.
    pub arn: String,
    /// Its id.
    pub id: [u8; 16],
}

/// A subtree with a CMK of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSettings {
    /// Directory records and file headers name it.
    pub id: ZoneId,
    /// People and encryption contexts name it. Never changes.
    pub name: String,
    /// What wraps the data keys of its new files.
    pub cmk: CmkPlace,
    /// How.
    pub wrap: WrapMode,
    /// CMKs that files of the zone may still be under.
    pub former: Vec<CmkPlace>,
    /// Whether its new files have a shred secret.
    pub shreddable: bool,
}

impl Settings {
    /// The CMK of files in no zone.
    pub fn cmk_place(&self) -> CmkPlace {
        CmkPlace { kms: self.kms.clone(), arn: self.cmk.clone(), id: self.wrapped.key_id }
    }

    /// URLs of all the KMSs that its keys live in, each once.
    pub fn sources(&self) -> Vec<&str> {
        let zones = self.zones.iter().flat_map(|zone| std::iter::once(&zone.cmk).chain(&zone.former));
        let places = self.former.iter().chain(zones).map(|cmk| cmk.kms.as_str());
        let mut sources = vec![self.kms.as_str()];
        for kms in places {
            if !sources.contains(&kms) {
                sources.push(kms);
            }
        }
        sources
    }
}

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

/// The JSON, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: u32,
    volume: String,
    cipher: String,
    wrap: String,
    kms: String,
    cmk: String,
    volume_key: JsonKey,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<JsonCmk>,
    #[serde(default, skip_serializing_if = "is_no")]
    shreddable: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    zones: Vec<JsonZone>,
    features: Vec<String>,
    mac: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonCmk {
    kms: String,
    cmk: String,
    cmk_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonZone {
    id: String,
    name: String,
    wrap: String,
    cmk: JsonCmk,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<JsonCmk>,
    #[serde(default, skip_serializing_if = "is_no")]
    shreddable: bool,
}

fn is_no(flag: &bool) -> bool {
    !flag
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonKey {
    cmk_id: String,
    material: u32,
    wrapped: String,
}

/// What a config of any format has, so that a newer one is told from a damaged one.
#[derive(Deserialize)]
struct Newer {
    format: u32,
    #[serde(default)]
    features: Vec<String>,
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

/// Reads the text of a config.
///
/// # Errors
/// As [`Config::read`].
pub fn decode(text: &[u8]) -> Result<Unverified> {
    if text.len() > CONFIG_MAX {
        return Err(Error::corrupt(CONFIG, format_args!("longer than {CONFIG_MAX} bytes")));
    }
    refuse_newer(text)?;
    let json: Json = serde_json::from_slice(text).map_err(|e| Error::corrupt(CONFIG, e))?;
    let wrap_mode =
        |text: &str| text.parse::<WrapMode>().map_err(|_| unknown(format_args!("wrap mode {text:?}")));
    let cipher = json.cipher.parse().map_err(|e| Error::Volume(format!("{CONFIG}: {e}")))?;
    let malformed = |field| Error::corrupt(CONFIG, format_args!("field {field:?} is malformed"));
    let cmk = |json: JsonCmk| {
        let id = unhex(&json.cmk_id).ok_or_else(|| malformed("cmk_id"))?;
        Ok(CmkPlace { kms: json.kms, arn: json.cmk, id })
    };
    let zone = |json: JsonZone| {
        let id = unhex(&json.id).ok_or_else(|| malformed("zones"))?;
        let former = json.former.into_iter().map(cmk).collect::<Result<_>>()?;
        let wrap = wrap_mode(&json.wrap)?;
        let (name, shreddable) = (json.name, json.shreddable);
        Ok(ZoneSettings { id, name, cmk: cmk(json.cmk)?, wrap, former, shreddable })
    };
    let claimed = Settings {
        volume_id: unhex(&json.volume).ok_or_else(|| malformed("volume"))?,
        cipher,
        wrap: wrap_mode(&json.wrap)?,
        kms: json.kms,
        cmk: json.cmk,
        wrapped: WrappedKey {
            key_id: unhex(&json.volume_key.cmk_id).ok_or_else(|| malformed("cmk_id"))?,
            material: json.volume_key.material,
            blob: BASE64.decode(&json.volume_key.wrapped).map_err(|_| malformed("wrapped"))?,
        },
        former: json.former.into_iter().map(cmk).collect::<Result<_>>()?,
        shreddable: json.shreddable,
        zones: json.zones.into_iter().map(zone).collect::<Result<_>>()?,
    };
    if json.features != features(&claimed) {
        return Err(malformed("features"));
    }
    check(&claimed).map_err(|why| Error::corrupt(CONFIG, why))?;
    Ok(Unverified { claimed, mac: unhex(&json.mac).ok_or_else(|| malformed("mac"))? })
}

/// Refuses what is well-formed in a way this program does not know: better than to call it damaged.
fn refuse_newer(text: &[u8]) -> Result<()> {
    let newer: Newer = serde_json::from_slice(text).map_err(|e| Error::corrupt(CONFIG, e))?;
    if newer.format != FORMAT {
        return Err(unknown(format_args!("format {}", newer.format)));
    }
    match newer.features.iter().find(|feature| ![ZONES, SHREDDABLE].contains(&feature.as_str())) {
        Some(feature) => Err(unknown(format_args!("feature {feature:?}"))),
        None => Ok(()),
    }
}

fn unknown(what: std::fmt::Arguments<'_>) -> Error {
    let version = env!("CARGO_PKG_VERSION");
    Error::Volume(format!("{CONFIG}: this volume needs {what}, which kmsfs {version} does not know"))
}

/// What whoever reads the config must know of.
fn features(settings: &Settings) -> Vec<String> {
    let features = [(ZONES, has_zones(settings)), (SHREDDABLE, is_shreddable(settings))];
    features.into_iter().filter(|(_, has)| *has).map(|(feature, _)| feature.to_owned()).collect()
}

fn has_zones(settings: &Settings) -> bool {
    !settings.former.is_empty() || !settings.zones.is_empty()
}

/// Whether any part of the volume is.
fn is_shreddable(settings: &Settings) -> bool {
    settings.shreddable || settings.zones.iter().any(|zone| zone.shreddable)
}

/// What the types do not say of a config's values.
fn check(settings: &Settings) -> std::result::Result<(), String> {
    let own = settings.cmk_place();
    let zones = &settings.zones;
    let lists = std::iter::once(&settings.former).chain(zones.iter().map(|zone| &zone.former));
    if zones.len() > LIST_MAX || lists.clone().any(|former| former.len() > LIST_MAX) {
        return Err(format!("more than {LIST_MAX} zones, or former CMKs of a zone"));
    }
    for cmk in std::iter::once(&own).chain(zones.iter().map(|zone| &zone.cmk)).chain(lists.flatten()) {
        for (what, text) in [("the KMS's URL", &cmk.kms), ("the CMK's ARN", &cmk.arn)] {
            check_text(what, text, TEXT_MAX)?;
        }
    }
    for (i, zone) in zones.iter().enumerate() {
        check_text("the name of a zone", &zone.name, ZONE_NAME_MAX)?;
        if zone.id == NO_ZONE || zones[..i].iter().any(|other| other.id == zone.id || other.name == zone.name)
        {
            return Err(format!("the zone {:?} has the name or the id of another", zone.name));
        }
    }
    match settings.wrapped.blob.len() {
        1..=MAX_WRAPPED => Ok(()),
        len => Err(format!("a wrapped key of {len} bytes, where 1 to {MAX_WRAPPED} are possible")),
    }
}

fn check_text(what: &str, text: &str, most: usize) -> std::result::Result<(), String> {
    match text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        true => Err(format!("{what} is empty, longer than {most} bytes or not printable")),
        false => Ok(()),
    }
}

/// The text of a config, its MAC made with the key that [`config_key`] gives.
fn encode(settings: &Settings, key: &Key) -> String {
    let cmk = |cmk: &CmkPlace| JsonCmk { kms: cmk.kms.clone(), cmk: cmk.arn.clone(), cmk_id: hex(&cmk.id) };
    let zone = |zone: &ZoneSettings| JsonZone {
        id: hex(&zone.id),
        name: zone.name.clone(),
        wrap: zone.wrap.to_string(),
        cmk: cmk(&zone.cmk),
        former: zone.former.iter().map(cmk).collect(),
        shreddable: zone.shreddable,
    };
    let json = Json {
        format: FORMAT,
        volume: hex(&settings.volume_id),
        cipher: settings.cipher.to_string(),
        wrap: settings.wrap.to_string(),
        kms: settings.kms.clone(),
        cmk: settings.cmk.clone(),
        volume_key: JsonKey {
            cmk_id: hex(&settings.wrapped.key_id),
            material: settings.wrapped.material,
            wrapped: BASE64.encode(&settings.wrapped.blob),
        },
        former: settings.former.iter().map(cmk).collect(),
        shreddable: settings.shreddable,
        zones: settings.zones.iter().map(zone).collect(),
        features: features(settings),
        mac: hex(&with_parts(settings, |parts| mac::mac(key, parts))),
    };
    let mut text = serde_json::to_string_pretty(&json).expect("strings and numbers are JSON");
    text.push('\n');
    text
}

/// Calls `act` with what the MAC is over.
fn with_parts<T>(settings: &Settings, act: impl FnOnce(&[&[u8]]) -> T) -> T {
    let mut parts: Vec<Cow<'_, [u8]>> = vec![
        CONFIG.as_bytes().into(),
        FORMAT.to_le_bytes().to_vec().into(),
        settings.volume_id[..].into(),
        vec![settings.cipher.code()].into(),
        settings.wrap.to_string().into_bytes().into(),
        settings.kms.as_bytes().into(),
        settings.cmk.as_bytes().into(),
        settings.wrapped.key_id[..].into(),
        settings.wrapped.material.to_le_bytes().to_vec().into(),
        settings.wrapped.blob[..].into(),
    ];
    if has_zones(settings) {
        parts.push(ZONES.as_bytes().into());
        former_parts(&settings.former, &mut parts);
        parts.push(count(settings.zones.len()));
        for zone in &settings.zones {
            parts.push(zone.id[..].into());
            parts.push(zone.name.as_bytes().into());
            parts.push(zone.wrap.to_string().into_bytes().into());
            cmk_parts(&zone.cmk, &mut parts);
            former_parts(&zone.former, &mut parts);
        }
    }
    if is_shreddable(settings) {
        parts.push(SHREDDABLE.as_bytes().into());
        let zones = settings.zones.iter().map(|zone| zone.shreddable);
        let flags: Vec<u8> = std::iter::once(settings.shreddable).chain(zones).map(u8::from).collect();
        parts.push(flags.into());
    }
    let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    act(&parts)
}

fn cmk_parts<'a>(cmk: &'a CmkPlace, parts: &mut Vec<Cow<'a, [u8]>>) {
    parts.extend([cmk.kms.as_bytes().into(), cmk.arn.as_bytes().into(), cmk.id[..].into()]);
}

fn former_parts<'a>(former: &'a [CmkPlace], parts: &mut Vec<Cow<'a, [u8]>>) {
    parts.push(count(former.len()));
    former.iter().for_each(|cmk| cmk_parts(cmk, parts));
}

fn count(len: usize) -> Cow<'static, [u8]> {
    (len as u32).to_le_bytes().to_vec().into()
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

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text
}

/// The bytes that `text` spells in lowercase hex digits, if there are `N`.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
