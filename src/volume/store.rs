//! The contents of all regular files of a mounted volume: which are open, the journal, the checkpoints.

use super::file::{AnnouncedFiles, File, FileKeyId};
use super::geometry::plain_len_floor;
use super::header::{self, Header, Slot};
use super::journal::Journal;
use super::lower::{Fd, Lower, descriptors};
use super::pending::PendingSync;
use super::tags::TagCache;
use super::{Error, PathHint, Result, geometry};
use crate::keys::{Envelope, FileKey, Keyring, ZoneId};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Tag pages cached for the whole volume: 32 MiB.
const TAG_PAGES: usize = 8192;
/// Journal bytes from which on a checkpoint runs at once.
const SOFT_LIMIT: u64 = 256 << 20;
/// Journal bytes from which on writers wait for the checkpoint.
const HARD_LIMIT: u64 = 1 << 30;
/// Files that wait for a checkpoint at most; each is open.
const WAITING_FILES: usize = 65536;
/// A change reaches its place this long after the last checkpoint at the latest, on an idle machine.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How often the background thread looks around.
const TICK: Duration = Duration::from_secs(1);

/// What the files of a volume share.
pub struct Shared {
    pub(super) lower: Arc<dyn Lower>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) journal: Journal,
    pub(super) tags: TagCache,
    pub(super) pending: PendingSync,
    /// Survive power cuts, not only killed daemons.
    pub(super) power: bool,
    pub(super) announced: AnnouncedFiles,
    /// Number of the current epoch; a checkpoint begins a new one while nobody is between journal and overlay.
    pub(super) epoch: RwLock<u64>,
    /// Counts how often all data keys were taken away.
    pub(super) key_epoch: AtomicU64,
    /// Some file may still hold a key that was taken away.
    keys_leave: AtomicBool,
    live: Mutex<HashMap<FileKeyId, Weak<File>>>,
    dirty: Mutex<HashMap<FileKeyId, Arc<File>>>,
    /// As many as may be in `dirty` before writers wait for a checkpoint.
    most_dirty: usize,
    /// Files that are being opened, each by one at a time: a KMS may be asked meanwhile.
    openings: Mutex<HashMap<FileKeyId, Arc<Mutex<()>>>>,
    checkpointing: Mutex<()>,
    wake: Mutex<bool>,
    woken: Condvar,
    stop: AtomicBool,
    /// How many wait for a checkpoint.
    hurry: AtomicUsize,
    background: Mutex<Option<JoinHandle<()>>>,
}

/// The data key of a file that does not exist yet, and its header.
pub struct Prepared {
    header: Header,
    key: Arc<FileKey>,
    /// [`Keyring::terms`] before the key was made.
    terms: u64,
    /// The key epoch by then.
    seen: u64,
}

/// The contents of all regular files of a mounted volume. Cheap to clone.
#[derive(Clone)]
pub struct FileStore(Arc<Shared>);

impl FileStore {
    /// A store on `journal`, whose old records have been applied.
    pub fn new(lower: Arc<dyn Lower>, keyring: Arc<Keyring>, journal: Journal, power: bool) -> FileStore {
        FileStore(Arc::new(Shared {
            pending: PendingSync::new(Arc::clone(&lower)),
            lower,
            keyring,
            journal,
            tags: TagCache::new(TAG_PAGES),
            power,
            announced: AnnouncedFiles::new(),
            epoch: RwLock::new(1),
            key_epoch: AtomicU64::new(0),
            keys_leave: AtomicBool::new(false),
            live: Mutex::default(),
            dirty: Mutex::default(),
            most_dirty: descriptors::share(4, WAITING_FILES),
            openings: Mutex::default(),
            checkpointing: Mutex::default(),
            wake: Mutex::new(false),
            woken: Condvar::new(),
            stop: AtomicBool::new(false),
            hurry: AtomicUsize::new(0),
            background: Mutex::default(),
        }))
    }

    /// Plaintext size of a file that is not open, from its lower size; what no plaintext has counts as cut.
    pub fn plain_size(lower_size: u64) -> u64 {
        plain_len_floor(lower_size)
    }

    /// The list of small files that must be durable before an fsync returns.
    pub fn pending(&self) -> &PendingSync {
        &self.0.pending
    }

    /// The data keys.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.0.keyring
    }

    /// The zones that open files are under, also those that have no name any more.
    pub fn zones_in_use(&self) -> HashSet<ZoneId> {
        self.0.live_files().iter().map(|file| file.slot().envelope.zone).collect()
    }

    /// The files that are open or wait for a checkpoint, also those that have no name any more.
    pub fn open_files(&self) -> Vec<Arc<File>> {
        self.0.live_files()
    }

    /// Whether files survive power cuts: then there is something to wait for between steps that a crash may cut.
    pub fn is_durable(&self) -> bool {
        self.0.power
    }

    /// The journal, for its figures.
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Has the KMS make the data key of a file that is to be created in `zone`.
    ///
    /// # Errors
    /// Key errors.
    pub fn prepare(&self, zone: &ZoneId) -> Result<Prepared> {
        let (terms, seen) = (self.0.keyring.terms(), self.0.key_epoch.load(Ordering::Acquire));
        let (header, key) = new_header(&self.0.keyring, zone)?;
        Ok(Prepared { header, key, terms, seen })
    }

    /// Whether [`FileStore::prepare`] would wrap the key by the same for `zone` now.
    pub fn is_current(&self, prepared: &Prepared, zone: &ZoneId) -> bool {
        prepared.header.slot.envelope.zone == *zone && prepared.terms == self.0.keyring.terms()
    }

    /// Gives the lower file of inode `id`, just created and empty, its data key and a header; counts a handle.
    ///
    /// # Errors
    /// Key errors; those of the lower filesystem. The lower file is then the caller's to delete.
    pub fn create(
        &self,
        id: FileKeyId,
        fd: Fd,
        hint: Arc<dyn PathHint>,
        prepared: Prepared,
    ) -> Result<Arc<File>> {
        let Prepared { header, key, seen, .. } = prepared;
        let data_key = Arc::clone(&key);
        let file = Arc::new(File::new(Arc::clone(&self.0), id, fd, hint, header, key, true));
        file.write_header(&data_key)?;
        self.enter(id, &file, seen)?;
        Ok(file)
    }

    /// Makes a file known. One whose key was asked for before all keys were dropped asks again.
    fn enter(&self, id: FileKeyId, file: &Arc<File>, seen: u64) -> Result<()> {
        self.0.live.lock().insert(id, Arc::downgrade(file));
        if self.0.key_epoch.load(Ordering::Acquire) != seen {
            file.take_key_away();
            file.let_go_of_key()?;
            file.data_key()?;
        }
        file.open_handle();
        Ok(())
    }

    /// The open file of lower inode `id`, opened with `open_lower` if it is not; counts a handle.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the header is not authentic or the lower size is not the sealed one; key errors;
    /// those of the lower filesystem.
    pub fn open(
        &self,
        id: FileKeyId,
        hint: Arc<dyn PathHint>,
        open_lower: &dyn Fn() -> io::Result<Fd>,
    ) -> Result<Arc<File>> {
        self.open_checked(id, hint, open_lower, true)
    }

    /// As [`FileStore::open`], but a lower file of another size than the sealed one opens too, at the sealed length: its
    /// blocks that are there still say for themselves whether they are whole. To be read only.
    ///
    /// # Errors
    /// As [`FileStore::open`].
    pub fn salvage(
        &self,
        id: FileKeyId,
        hint: Arc<dyn PathHint>,
        open_lower: &dyn Fn() -> io::Result<Fd>,
    ) -> Result<Arc<File>> {
        self.open_checked(id, hint, open_lower, false)
    }

    fn open_checked(
        &self,
        id: FileKeyId,
        hint: Arc<dyn PathHint>,
        open_lower: &dyn Fn() -> io::Result<Fd>,
        whole: bool,
    ) -> Result<Arc<File>> {
        let opening = Opening::of(&self.0, id);
        let _opening = opening.lock.lock();
        if let Some(file) = self.live(id) {
            file.data_key()?;
            file.open_handle();
            return Ok(file);
        }
        let seen = self.0.key_epoch.load(Ordering::Acquire);
        let fd = open_lower()?;
        let stat = self.0.lower.fstat(&fd)?;
        let named =
            || hint.lower_path().map_or_else(|| format!("inode {}", id.1), |p| p.display().to_string());
        let mut page0 = [0u8; geometry::BLOCK_LEN];
        let n = self.0.lower.pread(&fd, &mut page0, 0)?;
        let decoded = header::decode(&page0[..n], &Lazy(&named), |id, w| self.0.keyring.open(id, w));
        if let Err(Error::Corrupt { .. }) = &decoded {
            for claimed in header::claims(&page0[..n]) {
                self.0.keyring.distrust(&claimed.file_id, &claimed.slot.envelope);
            }
        }
        let (header, key) = decoded?;
        if header.cipher != self.0.keyring.cipher() {
            let why = format!("sealed with {}, in a volume of {}", header.cipher, self.0.keyring.cipher());
            return Err(Error::corrupt(named(), why));
        }
        let len = geometry::plain_len(stat.size);
        if whole && len != Some(header.slot.sealed_len) {
            let found = len.map_or_else(|| "no length a file can have".to_owned(), |l| format!("{l} bytes"));
            let why = format!("sealed at {} bytes, but the lower file holds {found}", header.slot.sealed_len);
            return Err(Error::corrupt(named(), why));
        }
        let file = Arc::new(File::new(Arc::clone(&self.0), id, fd, hint, header, key, false));
        self.0.tags.seed(file.serial(), &page0[..n]);
        self.enter(id, &file, seen)?;
        Ok(file)
    }

    /// The file of lower inode `id`, if it is open or waits for a checkpoint.
    pub fn live(&self, id: FileKeyId) -> Option<Arc<File>> {
        self.0.live.lock().get(&id).and_then(Weak::upgrade)
    }

    /// Takes every data key away, so that the KMS is asked again for each file that is used. Waits for nothing: a
    /// lower filesystem that hangs in one file must not keep another's key alive. The keys leave memory in the
    /// background, each as soon as no request that began with it is under way.
    pub fn suspend_keys(&self) {
        self.0.key_epoch.fetch_add(1, Ordering::AcqRel);
        for file in self.0.live_files() {
            file.take_key_away();
        }
        self.0.keys_leave.store(true, Ordering::Release);
        self.0.wake();
    }

    /// Destroys the shred secrets of the files whose headers have these envelopes. The keys of files that are open are to
    /// be taken away then: see [`FileStore::suspend_keys`].
    ///
    /// # Errors
    /// As [`Keyring::destroy_secrets`].
    pub fn destroy_secrets(&self, envelopes: &[Envelope]) -> Result<usize> {
        Ok(self.0.keyring.destroy_secrets(envelopes)?)
    }

    /// Brings everything in the journal into place and empties it.
    ///
    /// # Errors
    /// Those of the lower filesystem; the journal then keeps what could not be applied.
    pub fn checkpoint(&self) -> Result<()> {
        self.0.hurry.fetch_add(1, Ordering::AcqRel);
        let done = self.0.checkpoint();
        self.0.hurry.fetch_sub(1, Ordering::AcqRel);
        done
    }

    /// Starts the background work: directory records become durable, the journal comes into place.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start_background(&self) -> Result<()> {
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("kmsfs-checkpoint".into());
        *self.0.background.lock() = Some(thread.spawn(move || shared.run_background())?);
        Ok(())
    }

    /// Ends the background work, brings everything into place, empties the journal and marks the volume as
    /// closed. All handles must be closed.
    ///
    /// # Errors
    /// Those of the lower filesystem; the next mount then replays what is left in the journal.
    pub fn close(&self) -> Result<()> {
        self.0.stop.store(true, Ordering::Release);
        self.0.hurry.fetch_add(1, Ordering::AcqRel);
        self.0.wake();
        let background = self.0.background.lock().take();
        if background.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the checkpoint thread died; what it left is brought into place now");
        }
        self.0.pending.flush()?;
        self.0.checkpoint()?;
        self.0.journal.end_session()
    }
}

/// What those share who open the same file at the same time.
struct Opening<'a> {
    shared: &'a Shared,
    id: FileKeyId,
    lock: Arc<Mutex<()>>,
}

impl Opening<'_> {
    fn of(shared: &Shared, id: FileKeyId) -> Opening<'_> {
        let lock = Arc::clone(shared.openings.lock().entry(id).or_default());
        Opening { shared, id, lock }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut openings = self.shared.openings.lock();
        // This one's and the table's: nobody else waits, and nobody can come to while the table is locked.
        if Arc::strong_count(&self.lock) == 2 {
            openings.remove(&self.id);
        }
    }
}

struct Lazy<'a>(&'a dyn Fn() -> String);

impl std::fmt::Display for Lazy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&(self.0)())
    }
}

/// The header of a new file in `zone`, with a data key of its own.
pub(super) fn new_header(keyring: &Keyring, zone: &ZoneId) -> Result<(Header, Arc<FileKey>)> {
    let (file_id, key, envelope) = keyring.create(zone)?;
    let slot = Slot {
        generation: header::FIRST_GENERATION,
        sealed_len: 0,
        durable_len: 0,
        sparse: false,
        key_generation: 1,
        seals: 0,
        envelope,
    };
    Ok((Header { file_id, cipher: keyring.cipher(), slot }, key))
}

impl Shared {
    /// A file is closed for good.
    pub(super) fn forget(&self, id: FileKeyId) {
        let mut live = self.live.lock();
        // The inode number may be in use again already.
        if live.get(&id).is_some_and(|weak| weak.strong_count() == 0) {
            live.remove(&id);
        }
    }

    /// The file's first change since the last checkpoint.
    pub(super) fn mark_dirty(&self, id: FileKeyId) {
        let file = self.live.lock().get(&id).and_then(Weak::upgrade);
        if let Some(file) = file {
            self.dirty.lock().insert(id, file);
        }
    }

    /// Holds a writer back while the journal is too long, or keeps too many files open.
    pub(super) fn throttle(&self) -> Result<()> {
        let bytes = self.journal.pending_bytes();
        if bytes >= SOFT_LIMIT {
            self.wake();
        }
        if bytes >= HARD_LIMIT || self.dirty.lock().len() >= self.most_dirty {
            self.checkpoint()
        } else {
            Ok(())
        }
    }

    fn live_files(&self) -> Vec<Arc<File>> {
        // Not upgraded under the lock: who drops the last reference of a file takes it.
        let live: Vec<Weak<File>> = self.live.lock().values().cloned().collect();
        live.iter().filter_map(Weak::upgrade).collect()
    }

    /// Lets go of the keys that were taken away, but for those of files in use.
    fn let_go_of_keys(&self) {
        if !self.keys_leave.swap(false, Ordering::AcqRel) {
            return;
        }
        for file in self.live_files() {
            match file.let_go_of_key() {
                Ok(true) => {}
                Ok(false) => self.keys_leave.store(true, Ordering::Release),
                Err(e) => log::error!("{file:?}: its length could not be sealed before its key went: {e}"),
            }
        }
    }

    fn run_background(&self) {
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            self.wait(TICK);
            self.let_go_of_keys();
            if let Err(e) = self.pending.flush() {
                log::error!("a directory record could not be made durable: {e}");
            }
            let bytes = self.journal.pending_bytes();
            if bytes > 0 && (bytes >= SOFT_LIMIT || last.elapsed() >= CHECKPOINT_EVERY) {
                if let Err(e) = self.checkpoint() {
                    log::error!("checkpoint: {e}; the journal keeps the changes");
                }
                last = Instant::now();
            }
        }
    }

    /// Does somebody wait for the checkpoint: an unmount, or writers held back soon?
    pub(super) fn in_a_hurry(&self) -> bool {
        self.hurry.load(Ordering::Acquire) > 0 || self.journal.pending_bytes() >= HARD_LIMIT / 4 * 3
    }

    fn wake(&self) {
        *self.wake.lock() = true;
        self.woken.notify_all();
    }

    fn wait(&self, time: Duration) {
        let mut wake = self.wake.lock();
        if !*wake {
            self.woken.wait_for(&mut wake, time);
        }
        *wake = false;
    }

    /// See `docs/format.md`, "Crash order", for why these steps stand in this order.
    fn checkpoint(&self) -> Result<()> {
        let _alone = self.checkpointing.lock();
        let (segments, files) = {
            let mut epoch = self.epoch.write();
            *epoch += 1;
            let files: Vec<Arc<File>> = self.dirty.lock().drain().map(|(_, f)| f).collect();
            let frozen: Vec<_> = files.into_iter().map(|f| (f.freeze(), f)).collect();
            (self.journal.rotate(), frozen)
        };
        let applied = self.journal.commit(self.journal.last_lsn()).and_then(|()| {
            // Deleted files too: a power cut may bring their names back.
            for (frozen, file) in &files {
                file.checkpoint(frozen)?;
            }
            self.journal.retire(&segments)
        });
        if let Err(e) = applied {
            // What was frozen goes back below what has come since, for the next attempt.
            for (_, file) in &files {
                file.refreeze();
            }
            let mut dirty = self.dirty.lock();
            for (_, file) in files {
                dirty.insert(file.id(), file);
            }
            return Err(e);
        }
        for (frozen, file) in files {
            file.thaw();
            drop(frozen);
        }
        self.journal.recycle(segments)
    }
}
