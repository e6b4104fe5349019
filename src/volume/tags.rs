//! The tag entries of lower files, cached a page at a time, bounded for the whole volume.
//!
//! A cached page always says what the lower file says: entries are stored through it. One mutex a page covers
//! loading and storing, so that a load never brings back an entry older than a store that has returned.

use super::Result;
use super::block::TagEntry;
use super::geometry::{BLOCK_LEN, ENTRY_LEN, entry_in_page, group_of, tag_offset, tag_page_offset};
use super::lower::{Fd, Lower};
use lru::LruCache;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use std::ops::Range;
use std::sync::Arc;

/// One tag page of one file; empty until first needed.
#[derive(Debug, Default)]
struct TagPage {
    bytes: Mutex<Option<Box<[u8; BLOCK_LEN]>>>,
}

/// Names a page: serial number of the open file, group.
type PageKey = (u64, u64);

/// The tag pages of all open files.
#[derive(Debug)]
pub struct TagCache {
    pages: Mutex<LruCache<PageKey, Arc<TagPage>>>,
    capacity: usize,
}

/// One open file, as far as its tags are concerned.
#[derive(Clone, Copy)]
pub struct TagFile<'a> {
    /// The lower filesystem.
    pub lower: &'a dyn Lower,
    /// The lower file.
    pub fd: &'a Fd,
    /// Names the open file; never used again for another.
    pub serial: u64,
}

impl TagFile<'_> {
    /// Where the lower file has data from `at` on; `None` if nowhere. A lower filesystem that cannot tell has data
    /// at `at` itself.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn next_data(self, at: u64) -> Result<Option<u64>> {
        match self.lower.seek(self.fd, at, libc::SEEK_DATA) {
            Ok(data) => Ok(Some(data)),
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(Some(at)),
            Err(e) => Err(e.into()),
        }
    }
}

impl TagCache {
    /// A cache of `capacity` pages of 4 KiB.
    pub fn new(capacity: usize) -> TagCache {
        TagCache { pages: Mutex::new(LruCache::unbounded()), capacity }
    }

    fn page(&self, key: PageKey) -> Arc<TagPage> {
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get(&key) {
            return Arc::clone(page);
        }
        // A page in use must not be dropped: a second copy of it would go stale.
        for _ in 0..4 {
            if pages.len() < self.capacity {
                break;
            }
            if let Some((old, page)) = pages.pop_lru()
                && Arc::strong_count(&page) > 1
            {
                pages.put(old, page);
            }
        }
        let page = Arc::new(TagPage::default());
        pages.put(key, Arc::clone(&page));
        page
    }

    /// Forgets a file that is closed.
    pub fn forget(&self, serial: u64, groups: u64) {
        let mut pages = self.pages.lock();
        if groups as usize <= pages.len() {
            for group in 0..groups {
                pages.pop(&(serial, group));
            }
        } else {
            let keys: Vec<_> = pages.iter().filter(|(k, _)| k.0 == serial).map(|(k, _)| *k).collect();
            for key in keys {
                pages.pop(&key);
            }
        }
    }

    /// Seeds the first tag page with page 0 of the file, just read or about to be written.
    pub fn seed(&self, serial: u64, page0: &[u8]) {
        let mut bytes = Box::new([0; BLOCK_LEN]);
        bytes[..page0.len()].copy_from_slice(page0);
        *self.page((serial, 0)).bytes.lock() = Some(bytes);
    }

    /// The entries of `blocks`, all of one group.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn load(&self, file: TagFile<'_>, blocks: Range<u64>, out: &mut Vec<TagEntry>) -> Result<()> {
        let page = self.page((file.serial, group_of(blocks.start)));
        let bytes = loaded(&page, file, group_of(blocks.start))?;
        out.extend(blocks.map(|b| {
            let at = entry_in_page(b);
            TagEntry::decode(&bytes[at..at + ENTRY_LEN])
        }));
        Ok(())
    }

    /// Writes the entries of the blocks from `first` on, all of one group, to the lower file.
    ///
    /// # Errors
    /// Those of the lower filesystem; the cached page is then dropped.
    pub fn store(&self, file: TagFile<'_>, first: u64, entries: &[TagEntry]) -> Result<()> {
        let page = self.page((file.serial, group_of(first)));
        let mut cached = page.bytes.lock();
        let mut raw = Vec::with_capacity(entries.len() * ENTRY_LEN);
        entries.iter().for_each(|e| raw.extend_from_slice(&e.encode()));
        if let Err(e) = file.lower.pwrite(file.fd, &raw, tag_offset(first)) {
            *cached = None;
            return Err(e.into());
        }
        if let Some(bytes) = cached.as_mut() {
            let at = entry_in_page(first);
            bytes[at..at + raw.len()].copy_from_slice(&raw);
        }
        Ok(())
    }

    /// Drops cached pages from the group of `block` on: the lower file changed shape there.
    pub fn invalidate_from(&self, serial: u64, block: u64) {
        let group = group_of(block);
        let pages = self.pages.lock();
        let keys: Vec<_> =
            pages.iter().filter(|(k, _)| k.0 == serial && k.1 >= group).map(|(k, _)| *k).collect();
        for key in keys {
            if let Some(page) = pages.peek(&key) {
                // Emptied rather than removed: somebody may hold it.
                let page = Arc::clone(page);
                *page.bytes.lock() = None;
            }
        }
    }
}

fn loaded<'p>(
    page: &'p TagPage,
    file: TagFile<'_>,
    group: u64,
) -> Result<MappedMutexGuard<'p, Box<[u8; BLOCK_LEN]>>> {
    let mut cached = page.bytes.lock();
    if cached.is_none() {
        let mut bytes = Box::new([0; BLOCK_LEN]);
        file.lower.pread(file.fd, &mut bytes[..], tag_page_offset(group))?;
        *cached = Some(bytes);
    }
    Ok(MutexGuard::map(cached, |c| c.as_mut().expect("just loaded")))
}
