//! Zone keys: keys between the CMK and the data keys, so that one KMS call serves many files.
//!
//! A zone key is a data key of the KMS. While it is new, the data keys of new files are sealed under it; its *epoch*
//! ends with its time in the cache, by the number of files or by the bytes written to them, and another begins. It is
//! never stored on its own: every header has it, wrapped by the CMK, beside the file's data key.
//!
//! What the bounds are for: whoever gets hold of one zone key, and of the volume, reads what is in the files of its
//! epoch and nothing else.
//!
//! ```text
//! 0    2  length n of the wrapped zone key, little-endian
//! 2    n  the zone key, wrapped by the CMK, context {kmsfs:volume, kmsfs:file: zone-key, kmsfs:zone}
//! 2+n 48  the data key: AES-256-GCM-SIV under subkey_with("kmsfs v1 zone key", zone key, file id),
//!         zero nonce, AAD volume id ‖ zone id
//! ```
//! The zero nonce is sound: the sealing key is the file's own, and GCM-SIV (RFC 8452) of two keys of one file under it
//! tells at most whether they are equal.

use super::{Error, ErrorKind, WRAPPED_MAX, WrappedKey, ZoneId};
use crate::crypto::{AeadKey, Cipher, KEY_LEN, Key, NONCE_LEN, TAG_LEN, kdf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that the sealed data key and the length take of a blob.
const OVERHEAD: usize = 2 + KEY_LEN + TAG_LEN;

/// A zone key serves so many new files at most.
const EPOCH_FILES: u64 = 1 << 16;
/// A zone key gets no more new files once so many bytes were sealed in those it has.
const EPOCH_BYTES: u64 = 64 << 30;

/// A blob, taken apart.
pub(super) struct Parts<'a> {
    /// The zone key, wrapped by the CMK.
    pub(super) zone_key: WrappedKey,
    sealed: &'a [u8; KEY_LEN + TAG_LEN],
}

impl<'a> Parts<'a> {
    /// Takes apart what [`ZoneKey::seal`] made.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is nothing of the kind.
    pub(super) fn of(wrapped: &'a WrappedKey) -> Result<Parts<'a>, Error> {
        let parts = wrapped.blob.split_first_chunk::<2>().and_then(|(len, rest)| {
            let (inner, sealed) = rest.split_last_chunk()?;
            (inner.len() == usize::from(u16::from_le_bytes(*len))).then_some((inner, sealed))
        });
        let (inner, sealed) = parts
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the wrapped key is not in a zone key's form"))?;
        let zone_key =
            WrappedKey { key_id: wrapped.key_id, material: wrapped.material, blob: inner.to_vec() };
        Ok(Parts { zone_key, sealed })
    }
}

/// A zone key, unwrapped.
pub(super) struct ZoneKey {
    key: Key,
    wrapped: WrappedKey,
    files: AtomicU64,
    /// Counted by the data keys of its new files.
    sealed: Arc<AtomicU64>,
}

impl ZoneKey {
    pub(super) fn new(key: Key, wrapped: WrappedKey) -> ZoneKey {
        ZoneKey { key, wrapped, files: AtomicU64::new(0), sealed: Arc::default() }
    }

    /// Counts a file, if the epoch still lasts; returns whether it does.
    pub(super) fn take(&self) -> bool {
        self.files.fetch_add(1, Ordering::Relaxed) < EPOCH_FILES
            && self.sealed.load(Ordering::Relaxed) < EPOCH_BYTES
    }

    /// Where new files' data keys count what they seal.
    pub(super) fn sealed(&self) -> &Arc<AtomicU64> {
        &self.sealed
    }

    /// Wraps the data key of `file`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsuitable`] if the KMS's wrap of the zone key leaves no room for it in a header.
    pub(super) fn seal(
        &self,
        volume: &[u8; 16],
        zone: &ZoneId,
        file: &[u8; 16],
        dek: &Key,
    ) -> Result<WrappedKey, Error> {
        let inner = &self.wrapped.blob;
        let len = u16::try_from(inner.len()).ok().filter(|len| usize::from(*len) + OVERHEAD <= WRAPPED_MAX);
        let len = len.ok_or_else(|| {
            let (got, room) = (inner.len(), WRAPPED_MAX - OVERHEAD);
            let what =
                format_args!("the KMS wrapped a zone key into {got} bytes; a header has room for {room}");
            Error::new(ErrorKind::Unsuitable, what)
        })?;
        let mut sealed = [0; KEY_LEN];
        let aad = [*volume, *zone];
        let tag = self.sealer(file).seal_into(&[0; NONCE_LEN], aad.as_flattened(), dek.expose(), &mut sealed);
        let blob = [&len.to_le_bytes()[..], inner, &sealed, &tag].concat();
        Ok(WrappedKey { blob, ..self.wrapped.clone() })
    }

    /// Unwraps the data key of `file`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] unless this zone key wrapped it for that file of that zone.
    pub(super) fn open(
        &self,
        volume: &[u8; 16],
        zone: &ZoneId,
        file: &[u8; 16],
        parts: &Parts<'_>,
    ) -> Result<Key, Error> {
        let (text, tag) = parts.sealed.split_last_chunk::<TAG_LEN>().expect("a tag behind the key");
        let aad = [*volume, *zone];
        Key::try_fill_with(|out| {
            self.sealer(file).open_into(&[0; NONCE_LEN], aad.as_flattened(), text, tag, out)
        })
        .map_err(|_| {
            Error::new(ErrorKind::Invalid, "the data key is not what the zone key sealed for this file")
        })
    }

    fn sealer(&self, file: &[u8; 16]) -> AeadKey {
        AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey_with("kmsfs v1 zone key", &self.key, file))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::keys::FileKey;

    const VOLUME: [u8; 16] = [1; 16];
    const ZONE: ZoneId = [2; 16];
    const FILE: [u8; 16] = [3; 16];

    fn zone_key(inner: usize) -> ZoneKey {
        let wrapped = WrappedKey { key_id: [7; 16], material: 4, blob: vec![9; inner] };
        ZoneKey::new(Key::from_bytes(&mut [5; 32]), wrapped)
    }

    #[test]
    fn a_data_key_survives_and_its_envelope_names_the_cmk_and_the_zone_key() {
        let (zone_key, dek) = (zone_key(184), Key::random());
        let wrapped = zone_key.seal(&VOLUME, &ZONE, &FILE, &dek).unwrap();
        assert_eq!((wrapped.key_id, wrapped.material), ([7; 16], 4));
        let parts = Parts::of(&wrapped).unwrap();
        assert_eq!(&parts.zone_key, &zone_key.wrapped);
        assert_eq!(zone_key.open(&VOLUME, &ZONE, &FILE, &parts).unwrap(), dek);
    }

    #[test]
    fn it_opens_for_no_other_file_zone_or_volume_and_not_altered() {
        let (zone_key, dek) = (zone_key(98), Key::random());
        let wrapped = zone_key.seal(&VOLUME, &ZONE, &FILE, &dek).unwrap();
        let other = [8; 16];
        for (volume, zone, file) in
            [(&other, &ZONE, &FILE), (&VOLUME, &other, &FILE), (&VOLUME, &ZONE, &other)]
        {
            let parts = Parts::of(&wrapped).unwrap();
            assert_eq!(zone_key.open(volume, zone, file, &parts).unwrap_err().kind(), ErrorKind::Invalid);
        }
        for byte in 0..wrapped.blob.len() {
            let mut bad = wrapped.clone();
            bad.blob[byte] ^= 1;
            let Ok(parts) = Parts::of(&bad) else { continue };
            let same = parts.zone_key == zone_key.wrapped;
            assert!(!same || zone_key.open(&VOLUME, &ZONE, &FILE, &parts).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused() {
        let wrapped = zone_key(98).seal(&VOLUME, &ZONE, &FILE, &Key::random()).unwrap();
        for len in 0..wrapped.blob.len() {
            let short = WrappedKey { blob: wrapped.blob[..len].to_vec(), ..wrapped.clone() };
            assert!(Parts::of(&short).is_err(), "{len} bytes");
        }
        let seal = |inner| zone_key(inner).seal(&VOLUME, &ZONE, &FILE, &Key::random());
        assert_eq!(seal(WRAPPED_MAX - OVERHEAD).unwrap().blob.len(), WRAPPED_MAX);
        assert_eq!(seal(WRAPPED_MAX - OVERHEAD + 1).unwrap_err().kind(), ErrorKind::Unsuitable);
    }

    #[test]
    fn an_epoch_ends_with_its_last_file() {
        let key = zone_key(98);
        for _ in 0..EPOCH_FILES {
            assert!(key.take());
        }
        assert!(!key.take());
    }

    #[test]
    fn an_epoch_ends_with_its_last_byte() {
        let key = zone_key(98);
        let dek = FileKey::new(Cipher::Aes256Gcm, Key::random()).counting(Arc::clone(key.sealed()));
        dek.seal_block(1, &[0; NONCE_LEN], b"", &[1; 4096], &mut [0; 4096]);
        assert_eq!(key.sealed.load(Ordering::Relaxed), 4096);
        key.sealed.store(EPOCH_BYTES - 1, Ordering::Relaxed);
        assert!(key.take());
        dek.seal_block(1, &[0; NONCE_LEN], b"", &[1], &mut [0]);
        assert!(!key.take());
    }
}
