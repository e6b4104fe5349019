//! How rows are sealed, and the manifest that ties them together.
//!
//! Sealed bytes are `nonce 12 | AES-256-GCM-SIV ciphertext | tag 16`. The associated data is the keystore's
//! id, the row's kind, its number (the generation of a record, the version of a material) and its id, so that
//! no row can stand in for another.
//!
//! Sealing row by row does not notice an old row put back or a row removed: a disabled key could be enabled
//! so. The manifest does. It is a MAC over the generation, the number of records, the slots, and the XOR of
//! one keyed digest per sealed row: a multiset hash, so a change costs one digest whatever the number of
//! rows. The digests and their XOR never leave the process, hence nobody can look for colliding sets.
//! Rows of shred secrets are the one exception: they are too many to be read whenever a keystore is opened. The record of
//! their batch, which the manifest covers, says which of them are alive, and a row is sealed once and never again.
//! An old copy of the whole file is beyond what a file can notice about itself.

use super::Location;
use super::error::{Error, Result};
use super::record::RecordKey;
use crate::crypto::aead::AeadKey;
use crate::crypto::secret::{Key, SecretBytes};
use crate::crypto::{Cipher, NONCE_LEN, TAG_LEN, kdf, mac, random};
use crate::kms::arn::KeyId;
use crate::kms::secrets::SecretId;

/// The keyed digest of one row, or the XOR of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::kms) struct RowDigest([u8; 32]);

impl std::ops::BitXor for RowDigest {
    type Output = RowDigest;

    fn bitxor(self, other: RowDigest) -> RowDigest {
        RowDigest(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }
}

/// What a row is, for its associated data.
#[derive(Clone, Copy)]
pub(super) enum Row {
    /// A record, as of a generation.
    Record(RecordKey, u64),
    /// A version of a CMK's material.
    Material(KeyId, u32),
    /// A shred secret.
    Secret(SecretId),
}

impl Row {
    /// Kind, id, number.
    fn parts(&self) -> (u8, &[u8], u64) {
        match self {
            Row::Record(key, generation) => (key.kind(), key.id(), *generation),
            Row::Material(id, version) => (MATERIAL, id.as_bytes(), u64::from(*version)),
            Row::Secret(id) => (SECRET, id.as_bytes(), u64::from(id.number())),
        }
    }

    fn describe(&self) -> String {
        match self {
            Row::Record(key, _) => format!("the record of {key}"),
            Row::Material(id, version) => format!("the material of key {id}, version {version}"),
            Row::Secret(id) => format!("secret {id}"),
        }
    }
}

/// The kinds of material and of shred secrets, beside those of records.
const MATERIAL: u8 = 2;
const SECRET: u8 = 7;

/// The manifest's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::kms) struct Manifest {
    /// Bumped by every change.
    pub(in crate::kms) generation: u64,
    /// How many records there are, those of destroyed CMKs included.
    pub(in crate::kms) records: u64,
    /// Over all rows of records and material.
    pub(in crate::kms) rows: RowDigest,
}

/// The keys under which a keystore's rows are sealed, all derived from its root key.
pub(super) struct Seals {
    location: Location,
    keystore: [u8; 16],
    records: AeadKey,
    materials: AeadKey,
    secrets: AeadKey,
    manifest: Key,
}

impl Seals {
    pub(super) fn new(location: Location, keystore: [u8; 16], root: &Key) -> Seals {
        let aead = |context| AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey(context, root));
        Seals {
            location,
            keystore,
            records: aead("kmsfs keystore v1 records"),
            materials: aead("kmsfs keystore v1 material"),
            secrets: aead("kmsfs keystore v1 shred secrets"),
            manifest: kdf::subkey("kmsfs keystore v1 manifest", root),
        }
    }

    pub(super) fn seal(&self, row: Row, plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; NONCE_LEN + plain.len() + TAG_LEN];
        let (head, rest) = sealed.split_at_mut(NONCE_LEN);
        let (text, tag) = rest.split_at_mut(plain.len());
        let nonce = random::array();
        head.copy_from_slice(&nonce);
        tag.copy_from_slice(&self.key(row).seal_into(&nonce, &self.aad(row), plain, text));
        sealed
    }

    pub(super) fn open(&self, row: Row, sealed: &[u8]) -> Result<SecretBytes> {
        let broken = || self.tampered(row.describe());
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(broken)?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or_else(broken)?;
        let mut plain = SecretBytes::zeroed(text.len());
        self.key(row)
            .open_into(nonce, &self.aad(row), text, tag, plain.expose_mut())
            .map_err(|_| broken())?;
        Ok(plain)
    }

    pub(super) fn digest(&self, row: Row, sealed: &[u8]) -> RowDigest {
        let (kind, id, number) = row.parts();
        RowDigest(mac::mac(&self.manifest, &[b"row", &[kind], id, &number.to_be_bytes(), sealed]))
    }

    /// The MAC of a manifest; `slots` is the encoding of all slots.
    pub(super) fn mac(&self, manifest: &Manifest, slots: &[u8]) -> [u8; 32] {
        mac::mac(&self.manifest, &self.manifest_parts(manifest, slots).each_ref().map(Vec::as_slice))
    }

    /// Whether `found` is the MAC of a manifest.
    pub(super) fn verify(&self, manifest: &Manifest, slots: &[u8], found: &[u8; 32]) -> bool {
        mac::verify(
            &self.manifest,
            &self.manifest_parts(manifest, slots).each_ref().map(Vec::as_slice),
            found,
        )
    }

    pub(super) fn tampered(&self, what: impl std::fmt::Display) -> Error {
        Error::Tampered { location: self.location.clone(), what: format!("{what} does not verify") }
    }

    fn manifest_parts(&self, manifest: &Manifest, slots: &[u8]) -> [Vec<u8>; 6] {
        [
            b"manifest".to_vec(),
            self.keystore.to_vec(),
            manifest.generation.to_be_bytes().to_vec(),
            manifest.records.to_be_bytes().to_vec(),
            manifest.rows.0.to_vec(),
            slots.to_vec(),
        ]
    }

    fn key(&self, row: Row) -> &AeadKey {
        match row {
            Row::Record(..) => &self.records,
            Row::Material(..) => &self.materials,
            Row::Secret(..) => &self.secrets,
        }
    }

    fn aad(&self, row: Row) -> Vec<u8> {
        let (kind, id, number) = row.parts();
        // The one part of varying length comes last.
        [&self.keystore, [kind].as_slice(), &number.to_be_bytes(), id].concat()
    }
}
