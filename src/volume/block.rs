//! Sealing and opening single blocks, and their tag entries. No I/O.
//!
//! A tag entry is 32 bytes: `block-key generation u32 | nonce 12 | tag 16`; all zero is a hole. The additional
//! data of a block is `file id 16 | block number u64 | plaintext length u32`, so a block opens only in its own
//! file (by key and by id), at its own place, and at the length it was written with.

use super::geometry::{BLOCK_LEN, ENTRY_LEN};
use super::header::FileId;
use crate::crypto::{NONCE_LEN, NotAuthentic, TAG_LEN};
use crate::keys::FileKey;

/// What authenticates one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TagEntry {
    /// Generation of the block key; 0 in a hole.
    pub generation: u32,
    /// Random, new for every seal.
    pub nonce: [u8; NONCE_LEN],
    /// Authentication tag.
    pub tag: [u8; TAG_LEN],
}

impl TagEntry {
    /// The entry of a block that was never written.
    pub const HOLE: TagEntry = TagEntry { generation: 0, nonce: [0; NONCE_LEN], tag: [0; TAG_LEN] };

    /// Is it all zero?
    pub fn is_hole(&self) -> bool {
        *self == TagEntry::HOLE
    }

    /// The entry as it lies on the lower filesystem.
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut out = [0; ENTRY_LEN];
        out[..4].copy_from_slice(&self.generation.to_le_bytes());
        out[4..16].copy_from_slice(&self.nonce);
        out[16..].copy_from_slice(&self.tag);
        out
    }

    /// Reads an entry; any 32 bytes are one.
    ///
    /// # Panics
    /// If `bytes` is not 32 bytes long.
    pub fn decode(bytes: &[u8]) -> TagEntry {
        assert_eq!(bytes.len(), ENTRY_LEN, "length of a tag entry");
        TagEntry {
            generation: u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")),
            nonce: bytes[4..16].try_into().expect("twelve bytes"),
            tag: bytes[16..].try_into().expect("sixteen bytes"),
        }
    }
}

fn aad(file: &FileId, block: u64, len: usize) -> [u8; 28] {
    let mut aad = [0; 28];
    aad[..16].copy_from_slice(file);
    aad[16..24].copy_from_slice(&block.to_le_bytes());
    aad[24..].copy_from_slice(&(len as u32).to_le_bytes());
    aad
}

/// The key and the name a file's blocks are sealed under.
#[derive(Clone, Copy)]
pub struct BlockCipher<'a> {
    /// The file's data key, expanded.
    pub key: &'a FileKey,
    /// The file's id.
    pub file: &'a FileId,
}

impl BlockCipher<'_> {
    /// Seals `plain` (1 to 4096 bytes) as `block` into `out`, which is as long.
    pub fn seal(
        &self,
        generation: u32,
        nonce: [u8; NONCE_LEN],
        block: u64,
        plain: &[u8],
        out: &mut [u8],
    ) -> TagEntry {
        debug_assert!(!plain.is_empty() && plain.len() <= BLOCK_LEN);
        let aad = aad(self.file, block, plain.len());
        let tag = self.key.seal_block(generation, &nonce, &aad, plain, out);
        TagEntry { generation, nonce, tag }
    }

    /// Opens `buf`, the ciphertext of `block`, in place.
    ///
    /// # Errors
    /// [`NotAuthentic`] if a bit of it, its place, its length or its file is not the one it was sealed for.
    pub fn open(&self, entry: &TagEntry, block: u64, buf: &mut [u8]) -> Result<(), NotAuthentic> {
        let aad = aad(self.file, block, buf.len());
        self.key.block_key(entry.generation).open_in_place(&entry.nonce, &aad, buf, &entry.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Cipher;
    use crate::crypto::secret::Key;

    const FILE: FileId = [3; 16];

    fn file_key() -> FileKey {
        FileKey::new(Cipher::Aes256Gcm, Key::from_bytes(&mut [9; 32]))
    }

    #[test]
    fn a_block_opens_only_as_itself() {
        let key = file_key();
        let cipher = BlockCipher { key: &key, file: &FILE };
        let mut sealed = vec![0; 100];
        let entry = cipher.seal(1, [8; 12], 5, &[1; 100], &mut sealed);
        let open = |cipher: BlockCipher<'_>, entry: TagEntry, block, sealed: &[u8]| {
            let mut buf = sealed.to_vec();
            cipher.open(&entry, block, &mut buf).map(|()| buf)
        };
        assert_eq!(open(cipher, entry, 5, &sealed).expect("authentic"), [1; 100]);
        assert!(open(cipher, entry, 6, &sealed).is_err(), "moved within the file");
        assert!(open(cipher, entry, 5, &sealed[..99]).is_err(), "cut");
        assert!(
            open(cipher, TagEntry { generation: 2, ..entry }, 5, &sealed).is_err(),
            "another key generation"
        );
        assert!(open(BlockCipher { file: &[4; 16], ..cipher }, entry, 5, &sealed).is_err(), "another file");
    }

    #[test]
    fn entries_survive_the_codec() {
        let entry = TagEntry { generation: 0x0102_0304, nonce: [5; 12], tag: [6; 16] };
        assert_eq!(TagEntry::decode(&entry.encode()), entry);
        assert!(TagEntry::decode(&[0; 32]).is_hole());
        assert!(!entry.is_hole());
    }
}
