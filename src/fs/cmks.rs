//! Bringing the keys of a volume under the newest key material of their CMKs, or under another CMK.
//!
//! What a crash may cut, in order: the config names the new CMK, and the old one as a former one; the files move, one
//! header after the other; the config names the former one no more, once a whole pass has found nothing under it, in
//! which no file got a name in another place. So every file opens at any time, and what was left undone is done by
//! asking again. Nothing is remembered of how far it came: the headers tell.

use super::Filesystem;
use super::dirfd::Dir;
use super::errno::{Error, Result};
use super::inode::Inode;
use super::rewrap::{Found, Manner, Moved, NotMoved, Observer, Walked};
use super::types::ROOT;
use super::zones::{PASSES, refused};
use crate::keys::{self, Cmk, Envelope, ErrorKind, Material, NO_ZONE, WrapMode, ZoneId, secret_store};
use crate::volume::config::{CmkPlace, Config, Settings};
use crate::volume::lower::LowerEntry;
use crate::volume::wrap_volume_key;
use parking_lot::MutexGuard;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A CMK that is to take another's place.
#[derive(Debug, Clone, Default)]
pub struct NewCmk {
    /// Its id, ARN or alias.
    pub key: String,
    /// URL of its KMS, which must be one that the volume was opened with; that of the present CMK if `None`.
    pub kms: Option<String>,
    /// How it is to wrap keys. If `None`: as now in the same KMS, and as the cost of the calls suggests in another.
    pub wrap: Option<WrapMode>,
}

/// What is to be rewrapped, and how.
#[derive(Debug, Clone, Default)]
pub struct Rewrapping {
    /// A file, or a directory with all below. With `to`, the root, for all files in no zone, or a directory where a zone
    /// begins, for all that are in it.
    pub path: PathBuf,
    /// The CMK to be; without, each file's key goes to the newest material of the one it has.
    pub to: Option<NewCmk>,
    /// Files a second.
    pub rate: Option<NonZeroU32>,
    /// Only tell what would be done.
    pub trial: bool,
}

/// What a rewrap did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// The files.
    pub files: Moved,
    /// Was, or would be, the volume key wrapped anew?
    pub volume_key: bool,
    /// ARNs of CMKs that the volume, or the zone, needs no more.
    pub released: Vec<String>,
    /// ARNs of former CMKs that some file may still need.
    pub former: Vec<String>,
}

/// The material that each zone's keys are to be under; of a zone whose CMK cannot be used, why.
type Newest = HashMap<ZoneId, std::result::Result<(Material, WrapMode), keys::Error>>;

impl Filesystem {
    /// Wraps anew what is not under the CMK it is to be under, or not under its newest material.
    ///
    /// # Errors
    /// [`crate::volume::Error::Volume`] if `path` is not what another CMK can be given to; key errors of the new CMK; a
    /// KMS that is out of reach; `EINTR` if `observer` ends it; those of the lower filesystem.
    pub fn rewrap(&self, request: &Rewrapping, observer: &mut Observer<'_>) -> Result<Rewrapped> {
        let mut config = self.config.lock();
        let mut result = Rewrapped::default();
        let zone = request.to.as_ref().map(|_| self.zone_beginning_at(&request.path)).transpose()?;
        let keyring = self.store.keyring();
        let newest: Newest = match (&request.to, zone) {
            (Some(to), Some(zone)) => {
                let put = self.put_under(&mut config, zone, to, request.trial)?;
                result.volume_key = put.volume_key;
                Newest::from([(zone, Ok((keyring.newest(&zone, &put.cmk)?, put.wrap)))])
            }
            _ => keyring
                .zone_ids()
                .into_iter()
                .map(|zone| Ok((zone, self.newest(&zone)?)))
                .collect::<Result<_>>()?,
        };
        keyring.end_epochs();
        // Whose CMK has changed may be anywhere: a file has names in several directories.
        let everywhere = zone.is_some() || request.path.components().next().is_none();
        let top = if everywhere { Path::new("") } else { &*request.path };
        let found_all = self.rewrap_below(top, &newest, request, &mut result.files, observer)?;
        if everywhere && zone.is_none_or(|zone| zone == NO_ZONE) {
            result.volume_key |= self.renew_volume_key(&mut config, &newest, request.trial)?;
        }
        if !request.trial && everywhere && found_all {
            result.released = self.release_former(&mut config, &newest)?;
        }
        result.former = former(config.settings(), &newest);
        Ok(result)
    }

    /// Makes passes until one finds nothing to do; returns whether there is nothing left, for sure.
    fn rewrap_below(
        &self,
        top: &Path,
        newest: &Newest,
        request: &Rewrapping,
        files: &mut Moved,
        observer: &mut Observer<'_>,
    ) -> Result<bool> {
        let manner = Manner { trial: request.trial, rate: request.rate };
        for pass in 0..PASSES {
            let moves = self.moves.load(Ordering::Acquire);
            let before = files.moved;
            let stale = |envelope: &Envelope| is_stale(newest, envelope, pass == 0);
            let walk = |each: &mut dyn FnMut(Found) -> bool| self.files_at(top, each);
            *files =
                self.rewrap_pass(&walk, &|_: &Dir, envelope| stale(envelope), manner, before, observer)?;
            if request.trial {
                return Ok(false);
            }
            self.rewrap_nameless(&stale, files);
            if files.moved == before && self.moves.load(Ordering::Acquire) == moves {
                return Ok(files.failed == 0);
            }
        }
        Ok(false)
    }

    /// Rewraps files that are open and may have no name any more.
    fn rewrap_nameless(&self, stale: &dyn Fn(&Envelope) -> Result<Option<ZoneId>>, files: &mut Moved) {
        for file in self.store.open_files() {
            let done = stale(&file.slot().envelope).and_then(|zone| match zone {
                Some(zone) => Ok(file.rewrap(&zone).map(|_| files.moved += 1)?),
                None => Ok(()),
            });
            if let Err(e) = done {
                files.failed += 1;
                files.failures.push(NotMoved { path: PathBuf::from("(an open file)"), why: e.to_string() });
            }
        }
    }

    /// Calls `each` for the file at `path`, or for all below it if it is a directory.
    fn files_at(&self, path: &Path, each: &mut dyn FnMut(Found) -> bool) -> Result<Walked> {
        let (parent, Some(name)) = (path.parent().unwrap_or(Path::new("")), path.file_name()) else {
            return self.each_file(&self.inode(ROOT)?, false, each);
        };
        let dir = self.dir_of(&self.directory(parent)?)?;
        let lower = self.lower_name(&dir, name)?.name;
        let inode: Arc<Inode> = {
            let _names = dir.inode.names.read();
            self.peek(&dir, &lower)?.0
        };
        if inode.is_dir() {
            return self.each_file(&inode, false, each);
        }
        let entry = LowerEntry { name: lower, ino: 0, kind: libc::DT_REG };
        if inode.is_file() && !each(Found { dir, entry, path: Arc::new(parent.to_owned()) }) {
            return Err(Error::Refused(libc::EINTR));
        }
        Ok(Walked::default())
    }

    /// What the keys of `zone` are to be under. A KMS that is out of reach is out of reach for all files.
    fn newest(&self, zone: &ZoneId) -> Result<std::result::Result<(Material, WrapMode), keys::Error>> {
        let keyring = self.store.keyring();
        let zone = keyring.zone(zone)?;
        match keyring.newest(&zone.id, &zone.cmk).map(|material| (material, zone.wrap)) {
            Err(e) if e.kind() == ErrorKind::Unavailable => Err(e.into()),
            told => Ok(told),
        }
    }

    /// The zone whose CMK is changed by naming `path`.
    fn zone_beginning_at(&self, path: &Path) -> Result<ZoneId> {
        let inside = || {
            refused(
                "its key is that of the zone or volume it is in: name where that begins, or have a zone begin here \
                 (kmsfs zone set)",
            )
        };
        let dir = match self.directory(path) {
            Err(e) if e.errno() == libc::ENOTDIR => return Err(inside()),
            found => found?,
        };
        match (dir.ino, dir.own_zone()) {
            (ROOT, _) => Ok(NO_ZONE),
            (_, NO_ZONE) => Err(inside()),
            (_, zone) => Ok(zone),
        }
    }

    /// Has the config name `to` as the CMK of `zone`, and what it named so far as a former one.
    fn put_under(
        &self,
        config: &mut MutexGuard<'_, Config>,
        zone: ZoneId,
        to: &NewCmk,
        trial: bool,
    ) -> Result<Put> {
        let before = config.settings().clone();
        let mut settings = before.clone();
        let mut place = CmksOf::zone(&mut settings, &zone)?;
        let (old, shreddable) = (place.cmk(), place.is_shreddable());
        let kms = to.kms.as_deref().unwrap_or(&old.kms).to_owned();
        let sources = self.store.keyring().sources();
        let provider = sources.get(&kms)?;
        let info = provider.resolve(&to.key)?;
        if shreddable {
            secret_store(&**provider)?;
        }
        let new = CmkPlace { kms, arn: info.arn, id: info.id };
        let wrap = match to.wrap {
            Some(wrap) => wrap,
            None if new.kms == old.kms => place.wrap(),
            None => provider.cost().wrap_mode(),
        };
        let moves = new != old;
        let volume_key = moves && zone == NO_ZONE;
        let cmk = Cmk { provider: Arc::clone(provider), arn: new.arn.clone(), id: new.id };
        if trial || (!moves && wrap == place.wrap()) {
            return Ok(Put { cmk, wrap, volume_key });
        }
        let wrapped = volume_key.then(|| wrap_volume_key(&before, &new, sources)).transpose()?;
        place.change(&new, wrap);
        if let Some(wrapped) = wrapped {
            settings.wrapped = wrapped;
        }
        self.change_settings(config, settings)?;
        // Better told now than by every file that is made.
        if let Err(e) = self.store.keyring().create(&zone) {
            self.change_settings(config, before)?;
            return Err(e.into());
        }
        Ok(Put { cmk, wrap, volume_key })
    }

    /// Wraps the volume key anew, where it is not under the newest material; returns whether it was not.
    fn renew_volume_key(
        &self,
        config: &mut MutexGuard<'_, Config>,
        newest: &Newest,
        trial: bool,
    ) -> Result<bool> {
        let settings = config.settings();
        let Some(Ok((newest, _))) = newest.get(&NO_ZONE) else { return Ok(false) };
        let has = Material::of(&settings.wrapped);
        if has.cmk != newest.cmk || (newest.version != 0 && has.version >= newest.version) {
            return Ok(false);
        }
        if !trial {
            let wrapped = wrap_volume_key(settings, &settings.cmk_place(), self.store.keyring().sources())?;
            let settings = Settings { wrapped, ..settings.clone() };
            self.change_settings(config, settings)?;
        }
        Ok(true)
    }

    /// Has the config name no former CMKs for the zones of `newest`: nothing is under them any more.
    fn release_former(&self, config: &mut MutexGuard<'_, Config>, newest: &Newest) -> Result<Vec<String>> {
        let released = former(config.settings(), newest);
        if released.is_empty() {
            return Ok(released);
        }
        let mut settings = config.settings().clone();
        for zone in newest.keys() {
            CmksOf::zone(&mut settings, zone)?.former().clear();
        }
        self.change_settings(config, settings)?;
        Ok(released)
    }
}

/// A CMK that took another's place, or would.
struct Put {
    cmk: Cmk,
    wrap: WrapMode,
    /// The volume key goes with it.
    volume_key: bool,
}

/// What a config says of the CMKs of the volume itself, or of a zone.
enum CmksOf<'a> {
    Volume(&'a mut Settings),
    Zone(&'a mut crate::volume::config::ZoneSettings),
}

impl<'a> CmksOf<'a> {
    fn zone(settings: &'a mut Settings, zone: &ZoneId) -> Result<CmksOf<'a>> {
        if *zone == NO_ZONE {
            return Ok(CmksOf::Volume(settings));
        }
        let known = settings.zones.iter_mut().find(|known| known.id == *zone);
        known.map(CmksOf::Zone).ok_or_else(|| refused("the config does not know the directory's zone"))
    }

    fn cmk(&self) -> CmkPlace {
        match self {
            CmksOf::Volume(settings) => settings.cmk_place(),
            CmksOf::Zone(zone) => zone.cmk.clone(),
        }
    }

    fn wrap(&self) -> WrapMode {
        match self {
            CmksOf::Volume(settings) => settings.wrap,
            CmksOf::Zone(zone) => zone.wrap,
        }
    }

    fn is_shreddable(&self) -> bool {
        match self {
            CmksOf::Volume(settings) => settings.shreddable,
            CmksOf::Zone(zone) => zone.shreddable,
        }
    }

    fn former(&mut self) -> &mut Vec<CmkPlace> {
        match self {
            CmksOf::Volume(settings) => &mut settings.former,
            CmksOf::Zone(zone) => &mut zone.former,
        }
    }

    /// Names `new`, and what was named so far as a former one. The id of the volume's own comes with its wrapped key.
    fn change(&mut self, new: &CmkPlace, wrap: WrapMode) {
        let old = self.cmk();
        let former = self.former();
        former.retain(|cmk| cmk != new);
        if old != *new && !former.contains(&old) {
            former.push(old);
        }
        match self {
            CmksOf::Volume(settings) => {
                settings.kms.clone_from(&new.kms);
                settings.cmk.clone_from(&new.arn);
                settings.wrap = wrap;
            }
            CmksOf::Zone(zone) => (zone.cmk, zone.wrap) = (new.clone(), wrap),
        }
    }
}

/// ARNs of the former CMKs of the zones of `newest`.
fn former(settings: &Settings, newest: &Newest) -> Vec<String> {
    let zones = settings.zones.iter().map(|zone| (zone.id, &zone.former));
    let all = std::iter::once((NO_ZONE, &settings.former)).chain(zones);
    let of_them = all.filter(|(zone, _)| newest.contains_key(zone)).flat_map(|(_, former)| former);
    of_them.map(|cmk| cmk.arn.clone()).collect()
}

/// The zone for which a key is to be wrapped anew, its own, if it is not wrapped as it is to be. Where a KMS does not
/// tell versions of material, `first` has every key count as under an old one.
fn is_stale(newest: &Newest, envelope: &Envelope, first: bool) -> Result<Option<ZoneId>> {
    let (newest, wrap) = match newest.get(&envelope.zone) {
        None => return Ok(None),
        Some(Err(e)) => return Err(e.clone().into()),
        Some(Ok(newest)) => newest,
    };
    let has = Material::of(&envelope.wrapped);
    let stale = has.cmk != newest.cmk
        || envelope.mode != *wrap
        || has.version < newest.version
        || (first && newest.version == 0);
    Ok(stale.then_some(envelope.zone))
}
