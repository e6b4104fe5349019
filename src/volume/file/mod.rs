//! One open regular file: its state, and how its parts find each other.
//!
//! There is one [`File`] per lower inode, however many handles are open on it. It outlives its last handle
//! while the journal holds changes of it. Lock order: block ranges, then the store's epoch, then `inner`, then
//! the journal. No lock but block ranges is held while a key is asked for, and not even those.
//!
//! How a block is written depends on what is at stake:
//!
//! | block | way |
//! |---|---|
//! | fresh: behind the end, or a hole, and the journal says nothing of it | in place: data, then tag |
//! | the short last block of a file that is just being written | record, then in place: a killed daemon tears nothing, a power cut costs only what no fsync has covered |
//! | any other | record; in place at the next checkpoint, after the record is durable |

mod place;
mod read;
mod rekey;
mod rewrap;
mod shape;
mod sync;
#[cfg(test)]
mod tests;
mod write;

pub(super) use place::AnnouncedFiles;
pub use rewrap::{BegunRewrap, Rewrapped, Wrapped};

use super::block::BlockCipher;
use super::geometry::{BLOCK, BLOCK_LEN, blocks_in, group_of};
use super::header::{FileId, Header, Slot};
use super::lower::{Fd, Timespec};
use super::overlay::{Layers, Overlay};
use super::ranges::RangeLocks;
use super::store::Shared;
use super::tags::TagFile;
use super::{Error, PathHint, Result};
use crate::crypto::{Cipher, mac};
use crate::keys::{self, ErrorKind, FileKey};
use parking_lot::{Mutex, RwLock};
use place::Announcement;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Names a lower file while it is open: device and inode number.
pub type FileKeyId = (u64, u64);

/// What changes while a file is open.
#[derive(Debug)]
struct Inner {
    /// The header's slot as last written, or as it will first be written.
    slot: Slot,
    /// Just created: the lower file is a header and nothing else, and its first slot may be written over.
    pristine: bool,
    /// The slot differs from what the lower file has, apart from its lengths.
    slot_dirty: bool,
    /// Of the data key that the slot wraps: a KMS that answers with another is not believed.
    key_print: [u8; mac::MAC_LEN],
    /// Plaintext length.
    len: u64,
    /// Plaintext length of the lower file as it lies, without the journal's changes.
    place_len: u64,
    /// Not `None` while the lower file is grown past a short last block whose new contents are in the journal only,
    /// and not committed.
    short_tail: Option<ShortTail>,
    /// The journal's changes.
    layers: Layers,
    /// The modification time, while the lower file's own is not up to date.
    mtime: Option<Timespec>,
    /// When the journal last took a change that the lower file's ctime does not tell.
    changed: Option<Timespec>,
    /// The epoch in which the journal was last told the file's path.
    path_epoch: u64,
    /// The file's last record.
    last_lsn: u64,
    /// Plaintext from here on was never made durable.
    volatile_from: u64,
    /// Plaintext of the lower file below this is durable where it lies. The header learns it with the next slot,
    /// since a slot that told it ahead of the sync could survive a power cut alone.
    durable_len: u64,
    /// Counts the cuts: a sync that one got ahead of does not know what is durable.
    cuts: u64,
    /// When the short last block was first written, if it was fresh then.
    tail_born: Option<Instant>,
    /// Blocks sealed under the current block key, of the `slot.seals` reserved.
    seals_used: u64,
}

/// A header sector that was sealed ahead of its time.
#[derive(Debug)]
struct SectorForLater {
    bytes: Box<[u8]>,
    at: u64,
    sealed_len: u64,
}

/// Where the data key is.
#[derive(Debug)]
enum KeyState {
    /// It serves.
    Held(Arc<FileKey>),
    /// Taken away: it serves nobody, and stays only until the header tells what was changed with it.
    Leaving(Arc<FileKey>),
    /// The KMS must be asked. While the journal holds changes, there is a sector for the length after the next
    /// checkpoint.
    Gone(Option<SectorForLater>),
}

/// An open regular file.
pub struct File {
    store: Arc<Shared>,
    key: FileKeyId,
    serial: u64,
    fd: Fd,
    hint: Arc<dyn PathHint>,
    file_id: FileId,
    cipher: Cipher,
    ranges: RangeLocks,
    /// Held for moments only, and nothing is locked meanwhile: a key is taken away however long requests take.
    data_key: Mutex<KeyState>,
    inner: Mutex<Inner>,
    /// Held while extended attributes are sealed and set, exclusively while all of them are sealed anew.
    attributes: RwLock<()>,
    handles: AtomicUsize,
    /// The lower file may hold something that is not durable.
    lower_dirty: AtomicBool,
    /// Held while the lower file is synced, so that who finds it clean waits for who cleaned it.
    syncing: Mutex<()>,
    announcement: Announcement,
}

/// Seals are reserved in the header by this many at a time, so that a crash forgets at most as many.
const SEALS_RESERVED: u64 = 1 << 20;
/// A new block key begins before AES-GCM's 2^32 random nonces (NIST SP 800-38D, 8.3) are half spent.
const SEALS_PER_KEY: u64 = 1 << 31;

/// A last block that lies short in the lower file, with more behind it. Were its record lost with the power, the
/// length the header tells would be all there is to read it by.
#[derive(Debug, Clone, Copy)]
struct ShortTail {
    /// The length the file had with it.
    len: u64,
    /// Once this record is committed, a replay completes the block.
    lsn: u64,
}

impl Inner {
    /// The length the header tells.
    fn sealable_len(&self) -> u64 {
        self.short_tail.map_or(self.place_len, |tail| tail.len)
    }

    /// The file's records up to `lsn` are committed.
    fn committed(&mut self, lsn: u64) {
        self.short_tail = self.short_tail.filter(|tail| tail.lsn > lsn);
    }

    /// The lower file was grown to `len`, the blocks from `first` on being new.
    fn grown_in_place(&mut self, first: u64, len: u64) {
        if len > self.place_len && !self.place_len.is_multiple_of(BLOCK) && self.place_len / BLOCK < first {
            self.short_tail.get_or_insert(ShortTail { len: self.place_len, lsn: self.last_lsn });
        }
        self.place_len = self.place_len.max(len);
    }

    /// The lower file was cut to the whole blocks below `len`: nothing behind them is durable any more.
    fn cut_in_place(&mut self, len: u64) {
        self.short_tail = self.short_tail.filter(|tail| tail.len < len);
        self.durable_len = self.durable_len.min(len);
        self.cuts += 1;
    }

    /// A checkpoint brought the changes of `overlay` into place.
    fn brought_in_place(&mut self, overlay: &Overlay) {
        if let Some(cut) = overlay.cut {
            self.cut_in_place(cut * BLOCK);
        }
        self.short_tail = self.short_tail.and_then(|tail| {
            let block = tail.len / BLOCK;
            match overlay.blocks.get(&block) {
                None if overlay.holes.iter().any(|h| h.contains(&block)) => None,
                Some(journaled) if journaled.len as usize == BLOCK_LEN => None,
                Some(journaled) => Some(ShortTail { len: block * BLOCK + u64::from(journaled.len), ..tail }),
                None => Some(tail),
            }
        });
    }
}

impl File {
    /// A file with `header`, which the lower file holds; `pristine` if it was just created. It needs announcing
    /// unless it was, which is always so where no power cut is to be survived.
    pub(super) fn new(
        store: Arc<Shared>,
        key: FileKeyId,
        fd: Fd,
        hint: Arc<dyn PathHint>,
        header: Header,
        data_key: Arc<FileKey>,
        pristine: bool,
    ) -> File {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let len = header.slot.sealed_len;
        let announced = !store.power || store.announced.contain(key);
        let inner = Inner {
            pristine,
            slot_dirty: false,
            key_print: data_key.print(),
            len,
            place_len: len,
            short_tail: None,
            layers: Layers::default(),
            mtime: None,
            changed: None,
            path_epoch: 0,
            last_lsn: 0,
            volatile_from: blocks_in(len) * BLOCK,
            durable_len: header.slot.durable_len,
            cuts: 0,
            tail_born: None,
            seals_used: header.slot.seals,
            slot: header.slot,
        };
        File {
            store,
            key,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            fd,
            hint,
            file_id: header.file_id,
            cipher: header.cipher,
            ranges: RangeLocks::default(),
            data_key: Mutex::new(KeyState::Held(data_key)),
            inner: Mutex::new(inner),
            attributes: RwLock::default(),
            handles: AtomicUsize::new(0),
            // What was written before and closed without an fsync is not durable either.
            lower_dirty: AtomicBool::new(true),
            syncing: Mutex::default(),
            announcement: Announcement::new(announced),
        }
    }

    /// Plaintext length.
    #[expect(clippy::len_without_is_empty, reason = "a file's length, not a collection's")]
    pub fn len(&self) -> u64 {
        self.inner.lock().len
    }

    /// The modification time, where the lower file's own is not up to date.
    pub fn mtime(&self) -> Option<Timespec> {
        self.inner.lock().mtime
    }

    /// When the content last changed, where the lower file's ctime does not tell.
    pub fn changed(&self) -> Option<Timespec> {
        self.inner.lock().changed
    }

    /// Tells that the lower file's modification time was just set to `time`.
    pub fn set_mtime(&self, time: Timespec) {
        let mut inner = self.inner.lock();
        if !inner.layers.is_empty() {
            inner.mtime = Some(time);
        }
        drop(inner);
        self.touched();
    }

    /// Tells that the lower inode was changed (mode, owner, links), so that the next fsync covers it.
    pub fn touched(&self) {
        self.lower_dirty.store(true, Ordering::Release);
    }

    /// The lower file.
    pub fn fd(&self) -> &Fd {
        &self.fd
    }

    /// The file's id.
    pub fn file_id(&self) -> &FileId {
        &self.file_id
    }

    /// The cipher its blocks are sealed with.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The slot in force: CMK reference, seal counts, lengths.
    pub fn slot(&self) -> Slot {
        self.inner.lock().slot.clone()
    }

    /// The data key, from the cache or the KMS.
    ///
    /// # Errors
    /// [`Error::Key`] where the KMS refuses or does not answer.
    pub fn data_key(&self) -> Result<Arc<FileKey>> {
        if let KeyState::Held(key) = &*self.data_key.lock() {
            return Ok(Arc::clone(key));
        }
        loop {
            let seen = self.store.key_epoch.load(Ordering::Acquire);
            let (envelope, print) = {
                let inner = self.inner.lock();
                (inner.slot.envelope.clone(), inner.key_print)
            };
            let keyring = &self.store.keyring;
            let key = keyring.open(&self.file_id, &envelope).and_then(|key| match key.print() == print {
                true => Ok(key),
                false => Err(keys::Error::new(
                    ErrorKind::Invalid,
                    "the KMS answered with another key than the file's",
                )),
            });
            let key = key.inspect_err(|e| {
                if e.kind() == ErrorKind::Invalid {
                    keyring.distrust(&self.file_id, &envelope);
                }
            })?;
            let mut state = self.data_key.lock();
            // A key that was asked for before all keys were taken away must not come back after it.
            if self.store.key_epoch.load(Ordering::Acquire) != seen {
                continue;
            }
            if let KeyState::Held(held) = &*state {
                return Ok(Arc::clone(held)); // another thread was faster
            }
            *state = KeyState::Held(Arc::clone(&key));
            return Ok(key);
        }
    }

    /// Is `key` still the file's? Asked again once the blocks are locked: the key may have been taken away while
    /// this request waited for them, and what was sealed then would miss what it does now.
    fn holds(&self, key: &Arc<FileKey>) -> bool {
        matches!(&*self.data_key.lock(), KeyState::Held(held) if Arc::ptr_eq(held, key))
    }

    /// Whether the data key is at hand: else whoever needs it waits for the KMS.
    pub fn has_key(&self) -> bool {
        matches!(&*self.data_key.lock(), KeyState::Held(_))
    }

    /// Calls `work` with the data key, for it to seal or open values of extended attributes that it sets or has just read:
    /// nobody seals them under another key meanwhile.
    ///
    /// # Errors
    /// Key errors.
    pub fn with_attributes<T>(&self, work: impl FnOnce(&FileKey) -> T) -> Result<T> {
        loop {
            let key = self.data_key()?;
            let _sealing = self.attributes.read();
            if self.holds(&key) {
                return Ok(work(&key));
            }
        }
    }

    /// Counts a handle.
    pub(super) fn open_handle(&self) {
        self.handles.fetch_add(1, Ordering::AcqRel);
    }

    /// Names the open file in the tag cache.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// The lower inode.
    pub(super) fn id(&self) -> FileKeyId {
        self.key
    }

    fn cipher_for<'a>(&'a self, key: &'a FileKey) -> BlockCipher<'a> {
        BlockCipher { key, file: &self.file_id }
    }

    fn tag_file(&self) -> TagFile<'_> {
        TagFile { lower: &*self.store.lower, fd: &self.fd, serial: self.serial }
    }

    fn corrupt(&self, why: impl std::fmt::Display) -> Error {
        match self.hint.lower_path() {
            Some(path) => Error::corrupt(path.display(), why),
            None => Error::corrupt(format_args!("a deleted file (inode {})", self.key.1), why),
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let groups = group_of(blocks_in(self.inner.get_mut().len)) + 1;
        self.store.tags.forget(self.serial, groups);
        self.store.forget(self.key);
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("key", &self.key).field("fd", &self.fd).finish_non_exhaustive()
    }
}
