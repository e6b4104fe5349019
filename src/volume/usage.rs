//! Which keys a volume needs, as its config and the headers of its files tell: read without any key.
//!
//! All of it is claimed, nothing proven: whoever writes to the lower directory can have it say anything. It is good for
//! deciding when a CMK may go, not for believing what a file is.

use super::Result;
use super::config::{Config, Settings};
use super::geometry::HEADER_LEN;
use super::header;
use super::lower::{Fd, Lower};
use super::survey::{DEEPEST, Own, long_names, own};
use crate::keys::Material;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a volume needs.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What its config says.
    pub settings: Settings,
    /// Names of regular files, by what their data keys are wrapped by.
    pub files: BTreeMap<Material, u64>,
    /// Files and directories that could not be read, or are none of kmsfs's.
    pub unread: u64,
}

impl Usage {
    /// What wraps the volume key.
    pub fn volume_key(&self) -> Material {
        Material::of(&self.settings.wrapped)
    }

    /// Files under `cmk`, and under which versions of its material.
    pub fn files_under(&self, cmk: &[u8; 16]) -> impl Iterator<Item = (u32, u64)> {
        self.files.iter().filter(move |(material, _)| material.cmk == *cmk).map(|(m, n)| (m.version, *n))
    }

    /// Zones whose CMK it is, by name; the volume itself is the empty name. New files of theirs need it.
    pub fn zones_under(&self, cmk: &[u8; 16]) -> Vec<&str> {
        let own = (self.settings.wrapped.key_id == *cmk).then_some("");
        let zones = self.settings.zones.iter().filter(|zone| zone.cmk.id == *cmk);
        own.into_iter().chain(zones.map(|zone| zone.name.as_str())).collect()
    }

    /// Whether the volume, or a file of it, would not open without `cmk`.
    pub fn needs(&self, cmk: &[u8; 16]) -> bool {
        self.files_under(cmk).next().is_some() || !self.zones_under(cmk).is_empty()
    }
}

/// Reads the config and every header below `root`; `each` is told of every file.
///
/// # Errors
/// There is no volume, or the lower directory cannot be read.
pub fn usage(lower: &dyn Lower, root: &Fd, each: &mut dyn FnMut()) -> Result<Usage> {
    let settings = Config::read(lower, root)?.claimed().clone();
    let mut usage = Usage { settings, files: BTreeMap::new(), unread: 0 };
    let top = lower.open(root, ".".as_ref(), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut ahead = vec![(Arc::new(top), 0)];
    while let Some((dir, depth)) = ahead.pop() {
        let Ok(entries) = lower.read_dir(&dir) else {
            usage.unread += 1;
            continue;
        };
        let long = long_names(&entries);
        for entry in entries.iter().filter(|entry| own(&entry.name, depth, &long) == Own::No) {
            let Ok(stat) = lower.stat(&dir, &entry.name) else { continue };
            if stat.is_dir() {
                match lower.open(&dir, &entry.name, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
                    Ok(fd) if depth < DEEPEST => ahead.push((Arc::new(fd), depth + 1)),
                    _ => usage.unread += 1,
                }
            } else if stat.is_file() {
                each();
                match material(lower, &dir, entry.name.as_ref()) {
                    Some(material) => *usage.files.entry(material).or_default() += 1,
                    None => usage.unread += 1,
                }
            }
        }
    }
    Ok(usage)
}

/// What the key of a file is wrapped by.
fn material(lower: &dyn Lower, dir: &Fd, name: &std::ffi::OsStr) -> Option<Material> {
    let fd = lower.open(dir, name, libc::O_RDONLY, 0).ok()?;
    let mut bytes = [0; HEADER_LEN as usize];
    let len = lower.pread(&fd, &mut bytes, 0).ok()?;
    Some(Material::of(&header::claimed(&bytes[..len])?.slot.envelope.wrapped))
}
