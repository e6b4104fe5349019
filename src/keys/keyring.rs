//! The keys of one mounted volume.

use super::cache::{CacheKey, CacheLimits, Counts, KeyCache};
use super::pool::{Pool, Ready};
use super::watch::Watch;
use super::zone_key::{Parts, ZoneKey};
use super::{
    CallCost, Context, Envelope, Error, ErrorKind, FileKey, NO_ZONE, Purpose, Sources, WRAPPED_MAX, WrapMode,
    WrappedKey, Zone, ZoneId,
};
use crate::crypto::{Cipher, Key, random};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Figures of a keyring; counts are since its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Data keys found in the cache.
    pub hits: u64,
    /// Data keys not found, or found too old.
    pub misses: u64,
    /// Misses that waited for another thread's call instead of making their own.
    pub shared: u64,
    /// Data keys that made room for others.
    pub evictions: u64,
    /// Data keys found too old.
    pub expirations: u64,
    /// Times the cache was emptied.
    pub flushes: u64,
    /// Data keys held now.
    pub entries: usize,
    /// Most data keys it may hold.
    pub capacity: usize,
    /// How long ago the oldest data key held now came in.
    pub oldest_age: Option<Duration>,
    /// How long a data key may serve.
    pub max_age: Duration,
    /// Calls to providers: keys generated, wrapped and unwrapped.
    pub provider_calls: u64,
    /// Calls to providers that failed.
    pub failures: u64,
}

/// Zone keys held at most, each for many files.
const ZONE_KEYS: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// A volume's zones, and the cache of its files' data keys. Shared by all threads.
pub struct Keyring {
    sources: Sources,
    volume: [u8; 16],
    cipher: Cipher,
    zones: RwLock<HashMap<ZoneId, Arc<Zone>>>,
    limits: CacheLimits,
    deks: KeyCache<FileKey>,
    zone_keys: KeyCache<ZoneKey>,
    /// The zone key for new files of each zone, by a name of its own in `zone_keys`.
    epochs: Mutex<HashMap<ZoneId, u64>>,
    pool: Pool,
    calls: Arc<Calls>,
}

/// Calls to providers.
#[derive(Default)]
struct Calls {
    made: AtomicU64,
    failed: AtomicU64,
}

impl Calls {
    /// Makes a call, and counts it.
    fn count<T>(&self, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.made.fetch_add(1, Ordering::Relaxed);
        call().inspect_err(|_| {
            self.failed.fetch_add(1, Ordering::Relaxed);
        })
    }
}

impl Keyring {
    /// The keys of `volume`, whose blocks are sealed with `cipher` and whose zones are `zones`; one of them is
    /// [`NO_ZONE`]. `sources` is what is watched for changes.
    pub fn new(
        sources: Sources,
        zones: Vec<Zone>,
        volume: [u8; 16],
        cipher: Cipher,
        limits: CacheLimits,
    ) -> Keyring {
        let calls = Arc::<Calls>::default();
        let make = {
            let calls = Arc::clone(&calls);
            move |zone: &Zone| generate(&calls, volume, cipher, zone)
        };
        Keyring {
            pool: Pool::new(limits.age, Box::new(make)),
            calls,
            sources,
            volume,
            cipher,
            zones: RwLock::new(by_id(zones)),
            limits,
            deks: KeyCache::new(limits),
            zone_keys: KeyCache::new(CacheLimits { entries: ZONE_KEYS, age: limits.age }),
            epochs: Mutex::default(),
        }
    }

    /// The zone with the id `id`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the volume has none.
    pub fn zone(&self, id: &ZoneId) -> Result<Arc<Zone>, Error> {
        let unknown = || Error::new(ErrorKind::NotFound, "the volume's config does not know this zone");
        self.zones.read().get(id).cloned().ok_or_else(unknown)
    }

    /// From now on the volume has these zones and no others.
    pub fn set_zones(&self, zones: Vec<Zone>) {
        *self.zones.write() = by_id(zones);
        self.flush();
    }

    /// The KMSs.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The cipher of the volume's blocks.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Who a new file of `zone` is, and its key.
    ///
    /// # Errors
    /// As [`KeyProvider::generate`](super::KeyProvider::generate); [`ErrorKind::Unsuitable`] if a header has no room for what the KMS makes of a key.
    pub fn create(&self, zone: &ZoneId) -> Result<([u8; 16], Arc<FileKey>, Envelope), Error> {
        let zone = self.zone(zone)?;
        let (key, (file, envelope)) = self.deks.add(|| {
            let Ready { file, key, envelope } = match zone.wrap {
                WrapMode::Direct => self.direct(&zone)?,
                WrapMode::ZoneKey => {
                    let (file, dek) = (random::array(), Key::random());
                    let zone_key = self.zone_key(&zone)?;
                    let wrapped = zone_key.seal(&self.volume, &zone.id, &file, &dek)?;
                    let key = FileKey::new(self.cipher, dek).counting(Arc::clone(zone_key.sealed()));
                    let envelope = Envelope { zone: zone.id, mode: WrapMode::ZoneKey, wrapped };
                    Ready { file, key: Arc::new(key), envelope }
                }
            };
            fits(&envelope)?;
            Ok((cache_key(&file, &envelope.wrapped), key, (file, envelope)))
        })?;
        Ok((file, key, envelope))
    }

    /// A data key from the CMK itself: made ahead, where a call takes time.
    fn direct(&self, zone: &Arc<Zone>) -> Result<Ready, Error> {
        if zone.cmk.provider.cost() > CallCost::Nothing
            && let Some(ready) = self.pool.take(zone)
        {
            return Ok(ready);
        }
        generate(&self.calls, self.volume, self.cipher, zone)
    }

    /// The key of a file, whose header has it in `envelope`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the envelope was altered, or its CMK is none of the zone's; [`ErrorKind::NotFound`] if
    /// the volume does not have the zone; as [`KeyProvider::unwrap_key`](super::KeyProvider::unwrap_key).
    pub fn open(&self, file: &[u8; 16], envelope: &Envelope) -> Result<Arc<FileKey>, Error> {
        let zone = self.zone(&envelope.zone)?;
        let foreign = || Error::new(ErrorKind::Invalid, "the key is wrapped by a CMK that is not its zone's");
        let cmk = zone.cmk_of(&envelope.wrapped.key_id).ok_or_else(foreign)?;
        self.deks.get(cache_key(file, &envelope.wrapped), || {
            let dek = match envelope.mode {
                WrapMode::Direct => {
                    let context = self.context(&zone, Purpose::File(*file));
                    self.calls.count(|| cmk.provider.unwrap_key(&cmk.arn, &envelope.wrapped, &context))?
                }
                WrapMode::ZoneKey => {
                    let parts = Parts::of(&envelope.wrapped)?;
                    let zone_key = self.zone_keys.get(cache_key(&zone.id, &parts.zone_key), || {
                        let context = self.context(&zone, Purpose::ZoneKey);
                        let key = self
                            .calls
                            .count(|| cmk.provider.unwrap_key(&cmk.arn, &parts.zone_key, &context))?;
                        Ok(Arc::new(ZoneKey::new(key, parts.zone_key.clone())))
                    })?;
                    zone_key.open(&self.volume, &zone.id, file, &parts)?
                }
            };
            Ok(Arc::new(FileKey::new(self.cipher, dek)))
        })
    }

    /// Wraps the key of a file, which is open, as `zone` would wrap that of a new file.
    ///
    /// # Errors
    /// As [`Keyring::create`].
    pub fn rewrap(&self, file: &[u8; 16], key: &FileKey, zone: &ZoneId) -> Result<Envelope, Error> {
        let zone = self.zone(zone)?;
        let envelope = match zone.wrap {
            WrapMode::Direct => {
                let context = self.context(&zone, Purpose::File(*file));
                let wrapped =
                    self.calls.count(|| zone.cmk.provider.wrap(&zone.cmk.arn, key.dek(), &context))?;
                Envelope { zone: zone.id, mode: WrapMode::Direct, wrapped }
            }
            WrapMode::ZoneKey => {
                let wrapped = self.zone_key(&zone)?.seal(&self.volume, &zone.id, file, key.dek())?;
                Envelope { zone: zone.id, mode: WrapMode::ZoneKey, wrapped }
            }
        };
        fits(&envelope)?;
        Ok(envelope)
    }

    /// The zone key for new files. When an epoch is over, whoever comes first asks for another, and the others wait
    /// for that answer.
    fn zone_key(&self, zone: &Zone) -> Result<Arc<ZoneKey>, Error> {
        loop {
            let serial = *self.epochs.lock().entry(zone.id).or_default();
            let mut at = (zone.id, [0; 16]);
            at.1[..8].copy_from_slice(&serial.to_be_bytes());
            let key = self.zone_keys.get(at, || {
                let context = self.context(zone, Purpose::ZoneKey);
                let (key, wrapped) =
                    self.calls.count(|| zone.cmk.provider.generate(&zone.cmk.arn, &context))?;
                Ok(Arc::new(ZoneKey::new(key, wrapped)))
            })?;
            if key.take() {
                return Ok(key);
            }
            let mut epochs = self.epochs.lock();
            let now = epochs.entry(zone.id).or_default();
            if *now == serial {
                *now += 1;
            }
        }
    }

    /// The figures.
    pub fn stats(&self) -> CacheStats {
        let (counts, entries, oldest_age) = self.deks.figures();
        let Counts { hits, misses, shared, evictions, expirations, flushes } = counts;
        CacheStats {
            hits,
            misses,
            shared,
            evictions,
            expirations,
            flushes,
            entries,
            capacity: self.limits.entries.get(),
            oldest_age,
            max_age: self.limits.age,
            provider_calls: self.calls.made.load(Ordering::Relaxed),
            failures: self.calls.failed.load(Ordering::Relaxed),
        }
    }

    /// Empties the cache: every key is asked for again. Keys in use stay with their users.
    pub fn flush(&self) {
        // Data keys last: one that is asked for in between must not come of what is to go.
        self.pool.flush();
        self.zone_keys.flush();
        self.deks.flush();
    }

    /// Starts to watch the providers: within 100 ms of a change of any key the cache is emptied, then `on_change`
    /// is called, on a thread of its own, until the watch is dropped. It must not drop the watch itself.
    pub fn watch(self: &Arc<Self>, on_change: Box<dyn Fn() + Send + Sync>) -> Watch {
        Watch::spawn(Arc::clone(self), on_change)
    }

    fn context<'a>(&self, zone: &'a Zone, purpose: Purpose) -> Context<'a> {
        context(self.volume, zone, purpose)
    }
}

fn context(volume: [u8; 16], zone: &Zone, purpose: Purpose) -> Context<'_> {
    Context { volume, zone: zone.name.as_deref(), purpose }
}

/// The key of a new file, made by the CMK itself.
fn generate(calls: &Calls, volume: [u8; 16], cipher: Cipher, zone: &Zone) -> Result<Ready, Error> {
    let file = random::array();
    let context = context(volume, zone, Purpose::File(file));
    let (dek, wrapped) = calls.count(|| zone.cmk.provider.generate(&zone.cmk.arn, &context))?;
    let envelope = Envelope { zone: zone.id, mode: WrapMode::Direct, wrapped };
    Ok(Ready { file, key: Arc::new(FileKey::new(cipher, dek)), envelope })
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("sources", &self.sources)
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}

fn by_id(zones: Vec<Zone>) -> HashMap<ZoneId, Arc<Zone>> {
    let zones: HashMap<_, _> = zones.into_iter().map(|zone| (zone.id, Arc::new(zone))).collect();
    assert!(zones.contains_key(&NO_ZONE), "a volume is a zone itself");
    zones
}

/// Refuses what has no room in a header.
fn fits(envelope: &Envelope) -> Result<(), Error> {
    match envelope.wrapped.blob.len() {
        ..=WRAPPED_MAX => Ok(()),
        len => {
            let what =
                format_args!("the KMS wrapped a data key into {len} bytes; a header holds {WRAPPED_MAX}");
            Err(Error::new(ErrorKind::Unsuitable, what))
        }
    }
}

fn cache_key(of: &[u8; 16], wrapped: &WrappedKey) -> CacheKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&wrapped.key_id).update(&wrapped.material.to_be_bytes()).update(&wrapped.blob);
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    (*of, digest)
}
