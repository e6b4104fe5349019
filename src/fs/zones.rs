//! Zones: subtrees with a CMK of their own, how they begin and end.
//!
//! What a crash may cut, in order:
//!
//! | a zone begins | a zone ends |
//! |---|---|
//! | the config defines it | the files below move to the zone above |
//! | the directory's record names it: what is made below from now on is in it | the record names it no more; the files made meanwhile move |
//! | the files below move to it, one header after the other | the config defines it no more, once no record and no header names it |
//!
//! So no header and no record names a zone that the config does not know. What a crash left undone is done by asking
//! again, and a definition that nothing names goes with the next zone that ends.
//!
//! A file is in the zone of the directory it lies in, but for one that moves while a pass over the tree goes on: passes
//! are repeated until one finds nothing to move. Files that are made, moved or linked meanwhile need none: whoever gives
//! a file a name looks up the zone under the directory's name lock, which the pass takes after the zone has begun.

use super::Filesystem;
use super::dirfd::{Dir, Place};
use super::errno::{Error, Result};
use super::inode::Inode;
use super::rewrap::{Found, Manner, Moved, Observer, Progress};
use super::types::{Ino, ROOT};
use crate::crypto::random;
use crate::keys::{Envelope, NO_ZONE, WrapMode, ZoneId, secret_store};
use crate::volume::config::{CmkPlace, Settings, ZONE_NAME_MAX, ZoneSettings};
use crate::volume::{self, change_settings};
use parking_lot::MutexGuard;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Passes over a tree in which files keep moving.
pub(super) const PASSES: usize = 16;

/// A zone that is to begin.
#[derive(Debug, Clone, Default)]
pub struct NewZone {
    /// Its CMK: an id, ARN or alias.
    pub key: String,
    /// URL of the CMK's KMS, which must be one that the volume was opened with; the volume's own if `None`.
    pub kms: Option<String>,
    /// Its name; that of the directory if `None`, with a number if another zone has it.
    pub name: Option<String>,
    /// How keys are wrapped; as the cost of the KMS's calls suggests if `None`.
    pub wrap: Option<WrapMode>,
    /// Whether its files have shred secrets.
    pub shreddable: bool,
}

/// A zone that ended, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Files that moved to the zone above. If any failed, the zone has not ended.
    pub moved: Moved,
    /// Names of the zones that the volume has no more.
    pub removed: Vec<String>,
    /// Whether definitions that nothing may name any more were kept, since files moved while they were looked for.
    pub unsure: bool,
}

impl Filesystem {
    /// Begins a zone at the directory `path`, and moves the files below into it. Where that was begun before, with the
    /// same CMK, it is finished. Gives the zone.
    ///
    /// # Errors
    /// [`volume::Error::Volume`] if `path` is the root, is a zone under another CMK, or the name is taken; key errors;
    /// `EINTR` if `observer` ends it; those of the lower filesystem.
    pub fn begin_zone(
        &self,
        path: &Path,
        new: &NewZone,
        observer: &mut Observer<'_>,
    ) -> Result<(ZoneSettings, Moved)> {
        let mut config = self.config.lock();
        let dir = self.directory(path)?;
        if dir.ino == ROOT {
            return Err(refused("the root of a volume is in no zone: its CMK is the volume's own"));
        }
        let settings = config.settings().clone();
        let zone = match dir.own_zone() {
            NO_ZONE => {
                let zone = self.definition(&settings, path, new)?;
                let zones = [&settings.zones[..], std::slice::from_ref(&zone)].concat();
                self.change_settings(&mut config, Settings { zones, ..settings.clone() })?;
                // Better told now than by every file that is made.
                if let Err(e) = self.store.keyring().create(&zone.id) {
                    self.change_settings(&mut config, settings)?;
                    return Err(e.into());
                }
                self.mark(&dir, zone.id)?;
                zone
            }
            begun => {
                let known = settings.zones.into_iter().find(|zone| zone.id == begun);
                let zone = known.ok_or_else(|| refused("the config does not know the directory's zone"))?;
                self.agrees(&zone, new)?;
                zone
            }
        };
        let mut moved = Moved::default();
        self.move_files(&dir, None, &mut moved, observer)?;
        Ok((zone, moved))
    }

    /// Ends the zone that begins at the directory `path`, if one does: the files below move to the zone above. Then
    /// removes what the config defines and nothing names.
    ///
    /// # Errors
    /// `EINTR` if `observer` ends it; those of the lower filesystem.
    pub fn end_zone(&self, path: &Path, observer: &mut Observer<'_>) -> Result<Ended> {
        let mut config = self.config.lock();
        let dir = self.directory(path)?;
        let mut moved = Moved::default();
        let (ends, above) = (dir.own_zone(), dir.first_link().map(|link| link.parent.zone()));
        if let (true, Some(above)) = (ends != NO_ZONE, above) {
            self.move_files(&dir, Some((ends, above)), &mut moved, observer)?;
            if moved.failed == 0 {
                self.mark(&dir, NO_ZONE)?;
                self.move_files(&dir, None, &mut moved, observer)?;
            }
            if moved.failed > 0 {
                return Ok(Ended { moved, removed: Vec::new(), unsure: false });
            }
        }
        let (removed, unsure) = self.remove_unnamed(&mut config, moved.moved, observer)?;
        Ok(Ended { moved, removed, unsure })
    }

    /// The directories where zones begin, and which.
    ///
    /// # Errors
    /// Those of the lower filesystem. What is below a directory that cannot be read is left out.
    pub fn zone_directories(&self) -> Result<Vec<(PathBuf, ZoneId)>> {
        Ok(self.each_file(&self.inode(ROOT)?, false, &mut |_| true)?.begun)
    }

    /// Whether the volume has zones.
    pub fn has_zones(&self) -> bool {
        self.store.keyring().has_zones()
    }

    /// Whether two directories are in the same zone: what moves between them keeps its key as it is.
    pub fn is_one_zone(&self, a: Ino, b: Ino) -> bool {
        let zone = |ino| self.inode(ino).ok().map(|inode| inode.zone());
        !self.has_zones() || (zone(a).is_some() && zone(a) == zone(b))
    }

    /// Notes that a file got a name in another place.
    pub(super) fn note_move(&self) {
        self.moves.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn change_settings(
        &self,
        config: &mut MutexGuard<'_, volume::config::Config>,
        settings: Settings,
    ) -> Result<()> {
        let (lower, keyring) = (&*self.lower, self.store.keyring());
        **config = change_settings(lower, &self.root_fd, &self.keys, keyring, config, settings)?;
        Ok(())
    }

    /// The directory at `path`, its record read.
    pub(super) fn directory(&self, path: &Path) -> Result<Arc<Inode>> {
        let mut at = self.inode(ROOT)?;
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::RootDir | Component::CurDir => continue,
                Component::ParentDir | Component::Prefix(_) => return Err(Error::Refused(libc::EINVAL)),
            };
            let dir = self.dir_of(&at)?;
            let lower = self.lower_name(&dir, name)?;
            let _names = dir.inode.names.read();
            at = self.peek(&dir, &lower.name)?.0;
        }
        Ok(self.dir_of(&at)?.inode)
    }

    /// The definition of a zone that is to begin at `path`.
    fn definition(&self, settings: &Settings, path: &Path, new: &NewZone) -> Result<ZoneSettings> {
        let kms = new.kms.as_deref().unwrap_or(&settings.kms);
        let provider = self.store.keyring().sources().get(kms)?;
        let info = provider.resolve(&new.key)?;
        if new.shreddable {
            secret_store(&**provider)?;
        }
        Ok(ZoneSettings {
            id: random::array(),
            name: name_of_zone(settings, path, new.name.as_deref())?,
            cmk: CmkPlace { kms: kms.to_owned(), arn: info.arn, id: info.id },
            wrap: new.wrap.unwrap_or_else(|| provider.cost().wrap_mode()),
            former: Vec::new(),
            shreddable: new.shreddable,
        })
    }

    /// Is `zone`, which began before, what `new` asks for?
    fn agrees(&self, zone: &ZoneSettings, new: &NewZone) -> Result<()> {
        let provider = self.store.keyring().sources().get(&zone.cmk.kms)?;
        let same = new.kms.as_ref().is_none_or(|kms| *kms == zone.cmk.kms)
            && provider.resolve(&new.key)?.arn == zone.cmk.arn
            && new.name.as_ref().is_none_or(|name| *name == zone.name)
            && new.wrap.is_none_or(|wrap| wrap == zone.wrap)
            && (!new.shreddable || zone.shreddable);
        if same {
            return Ok(());
        }
        let (name, arn) = (&zone.name, &zone.cmk.arn);
        Err(refused(format_args!(
            "it is the zone {name} already, under {arn}; end that first: kmsfs zone clear"
        )))
    }

    /// Has the record of `dir` name `zone` as the one that begins there, durably.
    fn mark(&self, dir: &Arc<Inode>, zone: ZoneId) -> Result<()> {
        let fd = self.dir_fd(dir)?;
        let _topology = self.topology.lock();
        let _names = dir.names.write();
        self.change_record(dir, &fd, |record| volume::dirrec::Record { zone, ..record })?;
        dir.set_own_zone(zone);
        Ok(())
    }

    /// Moves all files below `top` to the zones that they are in, in passes until one finds nothing to move. With
    /// `instead`, the second zone takes the place of the first.
    fn move_files(
        &self,
        top: &Arc<Inode>,
        instead: Option<(ZoneId, ZoneId)>,
        moved: &mut Moved,
        observer: &mut Observer<'_>,
    ) -> Result<()> {
        let wanted = |dir: &Dir, envelope: &Envelope| {
            let zone = match (dir.inode.zone(), instead) {
                (zone, Some((from, to))) if zone == from => to,
                (zone, _) => zone,
            };
            Ok((envelope.zone != zone).then_some(zone))
        };
        for _ in 0..PASSES {
            let before = moved.moved;
            let walk = |each: &mut dyn FnMut(Found) -> bool| self.each_file(top, true, each);
            *moved = self.rewrap_pass(&walk, &wanted, Manner::default(), before, observer)?;
            if moved.moved == before {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The zone that a file's key is wrapped for, as its header claims; `None` if it has no header. Where that is
    /// forged, the file does not open in any zone.
    pub(super) fn zone_of_file(&self, inode: &Inode, place: &Place) -> Result<Option<ZoneId>> {
        if let Some(file) = self.live(inode) {
            return Ok(Some(file.slot().envelope.zone));
        }
        Ok(self.claimed_envelope(place)?.map(|envelope| envelope.zone))
    }

    /// Removes the definitions of zones that no record and no header names. Gives their names, and whether that could
    /// not be told.
    fn remove_unnamed(
        &self,
        config: &mut MutexGuard<'_, volume::config::Config>,
        moved: u64,
        observer: &mut Observer<'_>,
    ) -> Result<(Vec<String>, bool)> {
        let settings = config.settings().clone();
        if settings.zones.is_empty() {
            return Ok((Vec::new(), false));
        }
        let moves = self.moves.load(Ordering::Acquire);
        let mut named = HashSet::new();
        let (mut found, mut unread) = (0, 0);
        let mut each = |file: Found| {
            found += 1;
            let place = Place { dir: Arc::clone(&file.dir.fd), name: file.entry.name.into() };
            match self.claimed_envelope(&place) {
                Ok(envelope) => named.extend(envelope.map(|envelope| envelope.zone)),
                Err(e) if e.errno() == libc::ENOENT => {}
                Err(_) => unread += 1,
            }
            found % 256 != 0 || observer(Progress { total: None, found, moved })
        };
        let walked = self.each_file(&self.inode(ROOT)?, false, &mut each)?;
        named.extend(walked.begun.iter().map(|(_, zone)| zone));
        named.extend(self.store.zones_in_use());
        if unread > 0 || !walked.unread.is_empty() || self.moves.load(Ordering::Acquire) != moves {
            return Ok((Vec::new(), true));
        }
        let (keep, remove): (Vec<_>, Vec<_>) =
            settings.zones.iter().cloned().partition(|zone| named.contains(&zone.id));
        if !remove.is_empty() {
            self.change_settings(config, Settings { zones: keep, ..settings })?;
        }
        Ok((remove.into_iter().map(|zone| zone.name).collect(), false))
    }
}

pub(super) fn refused(why: impl std::fmt::Display) -> Error {
    volume::Error::Volume(why.to_string()).into()
}

/// A name that no other zone has: the one asked for, or that of the directory, with a number if need be.
fn name_of_zone(settings: &Settings, path: &Path, asked: Option<&str>) -> Result<String> {
    let taken = |name: &str| settings.zones.iter().any(|zone| zone.name == name);
    if let Some(name) = asked {
        if taken(name) {
            return Err(refused(format_args!("the volume has a zone {name:?} already")));
        }
        return Ok(name.to_owned());
    }
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if name.is_empty() || name.len() > ZONE_NAME_MAX - 4 || name.chars().any(char::is_control) {
        return Err(refused("the directory's name cannot be a zone's: name the zone with --name"));
    }
    let mut names = std::iter::once(name.to_owned()).chain((2..).map(|n| format!("{name}-{n}")));
    Ok(names.find(|name| !taken(name)).expect("more numbers than zones"))
}
