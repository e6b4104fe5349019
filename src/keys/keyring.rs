//! The keys of one mounted volume.

use super::cache::{CacheKey, CacheLimits, Counts, KeyCache};
use super::calls::{Calls, Trouble};
use super::dek::Shred;
use super::pool::{Pool, Ready};
use super::secrets::{self, Batch, secret_store};
use super::watch::Watch;
use super::zone_key::{Parts, ZoneKey};
use super::{
    CallCost, Cmk, Context, Envelope, Error, ErrorKind, FileKey, NO_ZONE, Purpose, Sources, WRAPPED_MAX,
    WrapMode, WrappedKey, Zone, ZoneId,
};
use crate::crypto::{Cipher, Key, random};
use crate::kms::{SECRETS_MAX, SecretId};
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
    /// Shred secrets for new files, by a name of its own for each batch. No change of keys makes them useless.
    batches: KeyCache<Batch>,
    /// The batch in use of each zone and CMK.
    serials: Mutex<HashMap<(ZoneId, [u8; 16]), Serial>>,
    calls: Arc<Calls>,
    /// Counts how often it changed what new files are wrapped by.
    terms: AtomicU64,
}

/// What a key is wrapped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Material {
    /// The CMK's id.
    pub cmk: [u8; 16],
    /// The version of its key material; 0 if the provider does not tell.
    pub version: u32,
}

impl Material {
    /// What wraps `wrapped`.
    pub fn of(wrapped: &WrappedKey) -> Material {
        Material { cmk: wrapped.key_id, version: wrapped.material }
    }
}

/// A batch of secrets: its name, and how many there are to be.
type Serial = (u64, usize);

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
            batches: KeyCache::new(CacheLimits { entries: ZONE_KEYS, age: Duration::MAX }),
            serials: Mutex::default(),
            terms: AtomicU64::new(0),
        }
    }

    /// A number that changes whenever the keys of new files are wrapped by something else than before. Who has a key ready
    /// for a new file asks again when it has changed.
    pub fn terms(&self) -> u64 {
        self.terms.load(Ordering::Acquire)
    }

    /// The zone with the id `id`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the volume has none.
    pub fn zone(&self, id: &ZoneId) -> Result<Arc<Zone>, Error> {
        let unknown = || Error::new(ErrorKind::NotFound, "the volume's config does not know this zone");
        self.zones.read().get(id).cloned().ok_or_else(unknown)
    }

    /// Ids of all zones, [`NO_ZONE`] among them.
    pub fn zone_ids(&self) -> Vec<ZoneId> {
        self.zones.read().keys().copied().collect()
    }

    /// Names of the volume's zones, in order.
    pub fn zone_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.zones.read().values().filter_map(|zone| zone.name.clone()).collect();
        names.sort();
        names
    }

    /// Whether the volume has any zone besides [`NO_ZONE`].
    pub fn has_zones(&self) -> bool {
        self.zones.read().len() > 1
    }

    /// From now on the volume has these zones and no others.
    pub fn set_zones(&self, zones: Vec<Zone>) {
        *self.zones.write() = by_id(zones);
        self.flush();
        self.terms.fetch_add(1, Ordering::AcqRel);
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
                    let envelope = envelope(&zone, wrapped);
                    Ready { file, key: Arc::new(key), envelope }
                }
            };
            let (key, envelope) = match zone.shreddable {
                true => {
                    let shred = self.new_secret(&zone)?;
                    let envelope = self.seal_shreddable(&file, &shred, envelope);
                    (Arc::new(key.without_previous().with_shred(Some(shred))), envelope)
                }
                false => (key, envelope),
            };
            fits(&envelope)?;
            Ok((file_cache_key(&file, &envelope), key, (file, envelope)))
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
    /// [`ErrorKind::Invalid`] if the envelope was altered, its CMK is none of the zone's, or the volume does not have the
    /// zone; as [`KeyProvider::unwrap_key`](super::KeyProvider::unwrap_key).
    pub fn open(&self, file: &[u8; 16], envelope: &Envelope) -> Result<Arc<FileKey>, Error> {
        // No header names a zone before the config does, nor after.
        let unknown = |e: Error| Error::new(ErrorKind::Invalid, e);
        let zone = self.zone(&envelope.zone).map_err(unknown)?;
        let foreign = || Error::new(ErrorKind::Invalid, "the key is wrapped by a CMK that is not its zone's");
        let cmk = zone.cmk_of(&envelope.wrapped.key_id).ok_or_else(foreign)?;
        self.deks
            .get(file_cache_key(file, envelope), || Ok(Arc::new(self.unwrap(&zone, cmk, file, envelope)?)))
    }

    /// Asks for the key of a file in `zone`, which `cmk` has wrapped.
    fn unwrap(&self, zone: &Zone, cmk: &Cmk, file: &[u8; 16], envelope: &Envelope) -> Result<FileKey, Error> {
        let shred = envelope.secret.map(|id| self.secret(zone, cmk, id)).transpose()?;
        let wrapped = match &shred {
            Some(shred) => secrets::open(&shred.secret, &self.volume, file, &envelope.wrapped)?,
            None => envelope.wrapped.clone(),
        };
        let dek = match envelope.mode {
            WrapMode::Direct => {
                let context = self.context(zone, Purpose::File(*file));
                self.calls.count(cmk, || cmk.provider.unwrap_key(&cmk.arn, &wrapped, &context))?
            }
            WrapMode::ZoneKey => {
                let parts = Parts::of(&wrapped)?;
                let zone_key = self.zone_keys.get(cache_key(&zone.id, &parts.zone_key), || {
                    let context = self.context(zone, Purpose::ZoneKey);
                    let key = self
                        .calls
                        .count(cmk, || cmk.provider.unwrap_key(&cmk.arn, &parts.zone_key, &context))?;
                    Ok(Arc::new(ZoneKey::new(key, parts.zone_key.clone())))
                })?;
                zone_key.open(&self.volume, &zone.id, file, &parts)?
            }
        };
        let key = FileKey::new(self.cipher, dek).with_shred(shred);
        match &envelope.previous {
            Some(previous) => key.with_previous(file, previous),
            None => Ok(key),
        }
    }

    /// The secret `id` of a file in `zone`, whose key `cmk` wraps.
    fn secret(&self, zone: &Zone, cmk: &Cmk, id: SecretId) -> Result<Arc<Shred>, Error> {
        let context = self.context(zone, Purpose::Secrets);
        let secret = self.calls.count(cmk, || secret_store(&*cmk.provider)?.get(id, &context));
        let secret = secret.map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                Error::new(ErrorKind::Shredded, format_args!("the file was shredded: {e}"))
            }
            _ => e,
        })?;
        Ok(Arc::new(Shred { id, secret, cmk: cmk.clone(), zone: zone.id }))
    }

    /// A secret for a file that has none.
    fn new_secret(&self, zone: &Zone) -> Result<Arc<Shred>, Error> {
        let of = (zone.id, zone.cmk.id);
        loop {
            let (serial, size) = {
                let mut serials = self.serials.lock();
                let next = serials.len() as u64;
                *serials.entry(of).or_insert((next << 32, secrets::next_size(0)))
            };
            let mut at = (zone.id, [0; 16]);
            at.1[..8].copy_from_slice(&serial.to_be_bytes());
            let batch = self.batches.get(at, || {
                let context = self.context(zone, Purpose::Secrets);
                let store = secret_store(&*zone.cmk.provider)?;
                let made = self.calls.count(&zone.cmk, || store.create(&zone.cmk.arn, size, &context))?;
                Ok(Arc::new(Batch::new(made)))
            })?;
            if let Some((id, secret)) = batch.take() {
                return Ok(Arc::new(Shred { id, secret, cmk: zone.cmk.clone(), zone: zone.id }));
            }
            let mut serials = self.serials.lock();
            let now = serials.entry(of).or_insert((serial, size));
            if now.0 == serial {
                *now = (serial + 1, secrets::next_size(size));
            }
        }
    }

    /// The secret for a file that moves to `zone`: the one it has, so that destroying it still means every copy; a new
    /// one, where it has none or has it at another KMS; none, where the zone wants none.
    fn secret_in(&self, key: &FileKey, zone: &Zone) -> Result<Option<Arc<Shred>>, Error> {
        if !zone.shreddable {
            return Ok(None);
        }
        let Some(shred) = key.shred().filter(|shred| shred.serves(zone)) else {
            return self.new_secret(zone).map(Some);
        };
        if shred.cmk.id == zone.cmk.id {
            return Ok(Some(Arc::clone(shred)));
        }
        let context = self.context(zone, Purpose::Secrets);
        self.calls.count(&zone.cmk, || {
            secret_store(&*zone.cmk.provider)?.bind(shred.id, &zone.cmk.arn, &context)
        })?;
        let secret = Key::fill_with(|out| out.copy_from_slice(shred.secret.expose()));
        Ok(Some(Arc::new(Shred { id: shred.id, secret, cmk: zone.cmk.clone(), zone: zone.id })))
    }

    /// Seals the wrapped key of a file under its secret.
    fn seal_shreddable(&self, file: &[u8; 16], shred: &Shred, envelope: Envelope) -> Envelope {
        let wrapped = secrets::seal(&shred.secret, &self.volume, file, envelope.wrapped);
        Envelope { wrapped, secret: Some(shred.id), ..envelope }
    }

    /// The key material of `cmk` that would wrap the keys of new files in `zone` just now.
    ///
    /// # Errors
    /// As [`Keyring::create`].
    pub fn newest(&self, zone: &ZoneId, cmk: &Cmk) -> Result<Material, Error> {
        let zone = self.zone(zone)?;
        let context = self.context(&zone, Purpose::ZoneKey);
        let (_, wrapped) = self.calls.count(cmk, || cmk.provider.generate(&cmk.arn, &context))?;
        Ok(Material::of(&wrapped))
    }

    /// From now on nothing that was made ahead wraps or becomes the key of a file: what it is of may not be the newest
    /// material any more.
    pub fn end_epochs(&self) {
        self.epochs.lock().values_mut().for_each(|serial| *serial += 1);
        self.pool.flush();
        self.terms.fetch_add(1, Ordering::AcqRel);
    }

    /// Wraps the key of a file, which is open, as `zone` would wrap that of a new file.
    ///
    /// # Errors
    /// As [`Keyring::create`]; [`ErrorKind::Invalid`] if what the KMS made of the key does not give it back.
    pub fn rewrap(&self, file: &[u8; 16], key: &FileKey, zone: &ZoneId) -> Result<Envelope, Error> {
        let zone = self.zone(zone)?;
        let shred = self.secret_in(key, &zone)?;
        self.wrap_for_sure(file, key, &zone, shred.as_deref())
    }

    /// A new data key for a file whose key is `key`, from block-key generation `first` on; until the file is rekeyed, it
    /// has both. A shred secret stays.
    ///
    /// # Errors
    /// As [`Keyring::create`].
    pub fn rekey(
        &self,
        file: &[u8; 16],
        key: &Arc<FileKey>,
        zone: &ZoneId,
        first: u32,
    ) -> Result<(Arc<FileKey>, Envelope), Error> {
        let zone = self.zone(zone)?;
        let shred = self.secret_in(key, &zone)?;
        let new =
            FileKey::new(self.cipher, Key::random()).with_shred(shred.clone()).replacing(file, key, first);
        let envelope = self.wrap_for_sure(file, &new, &zone, shred.as_deref())?;
        Ok((Arc::new(new), envelope))
    }

    /// As [`Keyring::wrap`], and makes sure that it unwraps: no header may ever hold what does not.
    fn wrap_for_sure(
        &self,
        file: &[u8; 16],
        key: &FileKey,
        zone: &Zone,
        shred: Option<&Shred>,
    ) -> Result<Envelope, Error> {
        let envelope = self.wrap(file, key, zone, shred)?;
        let unwrapped = self.unwrap(zone, &zone.cmk, file, &envelope)?;
        match unwrapped.dek().expose() == key.dek().expose() {
            true => Ok(envelope),
            false => Err(Error::new(ErrorKind::Invalid, "the KMS wrapped another key than it was given")),
        }
    }

    /// Wraps the key of a file as `zone` does, its previous key with it.
    fn wrap(
        &self,
        file: &[u8; 16],
        key: &FileKey,
        zone: &Zone,
        shred: Option<&Shred>,
    ) -> Result<Envelope, Error> {
        let wrapped = match zone.wrap {
            WrapMode::Direct => {
                let context = self.context(zone, Purpose::File(*file));
                self.calls.count(&zone.cmk, || zone.cmk.provider.wrap(&zone.cmk.arn, key.dek(), &context))?
            }
            WrapMode::ZoneKey => self.zone_key(zone)?.seal(&self.volume, &zone.id, file, key.dek())?,
        };
        let plain = Envelope { previous: key.sealed_previous().cloned(), ..envelope(zone, wrapped) };
        let envelope = match shred {
            Some(shred) => self.seal_shreddable(file, shred, plain),
            None => plain,
        };
        fits(&envelope)?;
        Ok(envelope)
    }

    /// Destroys the shred secrets of files, for ever, and forgets their keys; files without one are left out. Returns how
    /// many there were to destroy.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`], [`ErrorKind::Unsuitable`], [`ErrorKind::Unavailable`]; some may be destroyed all the same.
    pub fn destroy_secrets(&self, envelopes: &[Envelope]) -> Result<usize, Error> {
        let mut by_cmk: HashMap<_, Vec<SecretId>> = HashMap::new();
        for envelope in envelopes {
            by_cmk.entry((envelope.zone, envelope.wrapped.key_id)).or_default().extend(envelope.secret);
        }
        let mut destroyed = 0;
        for ((zone, cmk), secrets) in by_cmk {
            let zone = self.zone(&zone)?;
            let cmk = zone.cmk_of(&cmk).unwrap_or(&zone.cmk);
            for some in secrets.chunks(SECRETS_MAX) {
                destroyed += self.calls.count(cmk, || secret_store(&*cmk.provider)?.destroy(some))?;
            }
        }
        self.flush();
        Ok(destroyed)
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
                    self.calls.count(&zone.cmk, || zone.cmk.provider.generate(&zone.cmk.arn, &context))?;
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
            provider_calls: self.calls.made(),
            failures: self.calls.failed(),
        }
    }

    /// What came of opening `envelope` is not the key of the file. Either the file was altered or the KMS answered wrongly,
    /// and then it is asked again next time.
    pub fn distrust(&self, file: &[u8; 16], envelope: &Envelope) {
        self.deks.remove(&file_cache_key(file, envelope));
        if envelope.mode == WrapMode::ZoneKey {
            self.zone_keys.flush();
        }
    }

    /// Whether somebody waits for a KMS just now.
    pub fn is_waited_for(&self) -> bool {
        self.calls.are_under_way()
    }

    /// The CMKs whose last call failed, and since when.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.calls.troubles()
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
    let (dek, wrapped) = calls.count(&zone.cmk, || zone.cmk.provider.generate(&zone.cmk.arn, &context))?;
    let envelope = envelope(zone, wrapped);
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

/// What a header is to hold of a key that `zone` wrapped.
fn envelope(zone: &Zone, wrapped: WrappedKey) -> Envelope {
    Envelope { zone: zone.id, mode: zone.wrap, wrapped, secret: None, previous: None }
}

fn file_cache_key(file: &[u8; 16], envelope: &Envelope) -> CacheKey {
    let (of, mut digest) = cache_key(file, &envelope.wrapped);
    if envelope.secret.is_some() || envelope.previous.is_some() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&digest);
        hasher.update(&envelope.secret.map_or([0; 16], |id| *id.as_bytes()));
        if let Some(previous) = &envelope.previous {
            hasher.update(&previous.first.to_be_bytes()).update(&previous.sealed);
        }
        hasher.finalize_xof().fill(&mut digest);
    }
    (of, digest)
}

fn cache_key(of: &[u8; 16], wrapped: &WrappedKey) -> CacheKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&wrapped.key_id).update(&wrapped.material.to_be_bytes()).update(&wrapped.blob);
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    (*of, digest)
}
