//! Opens the volume a mount serves: keystore, volume, filesystem; and keeps an eye on the KMS for it.

use std::sync::Arc;
use std::time::SystemTime;

use super::Durability;
use super::request::Request;
use crate::cli::{Exit, Failure, access};
use crate::fs::{Backing, Filesystem};
use crate::fuse::control::{self, Figures};
use crate::keys::{Keyring, NO_ZONE, Trouble, Watch};
use crate::volume::lower::SystemLower;
use crate::volume::store::FileStore;
use crate::volume::{self, Options, Volume};

/// An open volume, ready to be served.
pub(crate) struct OpenVolume {
    /// What the kernel's requests go to.
    pub(crate) filesystem: Arc<Filesystem>,
    /// What it tells about itself.
    pub(crate) figures: Arc<dyn Fn() -> Figures + Send + Sync>,
    /// Watches the KMS for changes of keys.
    watch: Watch,
}

impl OpenVolume {
    /// Writes everything back and lets the volume go.
    pub(crate) fn close(self) -> Result<(), Failure> {
        drop(self.watch);
        self.filesystem.shutdown().map_err(|e| Failure::new(Exit::Failure, e))
    }
}

/// Opens what `request` names.
pub(crate) fn open(request: &Request) -> Result<OpenVolume, Failure> {
    access::volume_exists(&request.lower)?;
    let sources = request.kms.open_for(&request.lower, &request.global, &request.unlock)?;
    let durability = match request.durability {
        Durability::Power => volume::Durability::Power,
        Durability::Process => volume::Durability::Process,
    };
    let options = Options { durability, cache: request.cache };
    let volume = Volume::open(Arc::new(SystemLower), &request.lower, sources, options)?;
    let about = control::Volume {
        id: volume.config.volume_id().iter().map(|b| format!("{b:02x}")).collect(),
        cipher: volume.config.cipher().to_string(),
        cmk: volume.config.cmk().to_owned(),
        kms: volume.keyring.zone(&NO_ZONE).map_err(volume::Error::from)?.cmk.provider.description(),
        durability: match durability {
            volume::Durability::Power => "power".to_owned(),
            volume::Durability::Process => "process".to_owned(),
        },
        zones: Vec::new(),
    };
    let figures = figures(about, Arc::clone(&volume.keyring), volume.store.clone());
    let keyring = Arc::clone(&volume.keyring);
    let Volume { lower, root, config, keys, store, .. } = volume;
    let filesystem = Filesystem::new(Backing { lower, root, config, keys, store });
    let filesystem = Arc::new(filesystem.map_err(|e| Failure::new(Exit::BadVolume, e))?);
    let told = Arc::clone(&filesystem);
    let watch = keyring.watch(Box::new(move || told.keys_changed()));
    Ok(OpenVolume { filesystem, figures, watch })
}

fn figures(
    about: control::Volume,
    keyring: Arc<Keyring>,
    store: FileStore,
) -> Arc<dyn Fn() -> Figures + Send + Sync> {
    Arc::new(move || {
        let cache = keyring.stats();
        let (pending_bytes, segments) = store.journal().pending();
        Figures {
            volume: control::Volume { zones: keyring.zone_names(), ..about.clone() },
            dek_cache: control::DekCache {
                entries: cache.entries as u64,
                capacity: cache.capacity as u64,
                hits: cache.hits,
                misses: cache.misses,
                evictions: cache.evictions + cache.expirations,
                oldest_s: cache.oldest_age.map_or(0, |age| age.as_secs()),
            },
            journal: control::Journal { pending_bytes, segments: segments as u64 },
            troubles: keyring.troubles().into_iter().map(trouble).collect(),
        }
    })
}

fn trouble(trouble: Trouble) -> control::Trouble {
    let age = |when: SystemTime| SystemTime::now().duration_since(when).unwrap_or_default().as_secs();
    control::Trouble {
        since_s: age(trouble.since),
        last_s: age(trouble.last),
        failures: trouble.failures,
        message: trouble.error.to_string(),
        cmk: trouble.cmk,
        kms: trouble.kms,
    }
}
