//! Slots: the ways to unlock a keystore.
//!
//! A slot holds the root key sealed with AES-256-GCM-SIV under a key made from a passphrase (Argon2id) or
//! from a key file (BLAKE3), bound by its associated data to the keystore and to everything else in the
//! slot. Adding, changing or removing one touches no other slot and no CMK.
//!
//! A slot that does not open has either met the wrong secret or been damaged. An unkeyed checksum tells
//! damage apart; it is no protection, the manifest is.
//!
//! Removing a slot does not change the root key: who kept a copy of the old file and the old secret can
//! open that copy.

use super::Location;
use super::database::{Row, Transaction, Value};
use super::error::{Error, Result};
use crate::crypto::aead::AeadKey;
use crate::crypto::passphrase::{Argon2Params, SALT_LEN, stretch};
use crate::crypto::secret::{Key, SecretBytes};
use crate::crypto::{Cipher, KEY_LEN, NONCE_LEN, TAG_LEN, kdf, random};
use crate::kms::clock::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long one guess of a passphrase takes on the machine that made the slot.
const STRETCH_TIME: Duration = Duration::from_millis(500);

/// Fewest and most bytes of a key file. It is not stretched, so it must not be a passphrase.
const KEY_FILE_LEN_MIN: usize = 32;
const KEY_FILE_LEN_MAX: usize = 65536;

const SEALED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;

/// What opens a keystore.
#[derive(Debug)]
pub enum Unlock {
    /// A passphrase.
    Passphrase(SecretBytes),
    /// The contents of a key file.
    KeyFile(SecretBytes),
}

impl Unlock {
    /// Reads a key file.
    ///
    /// # Errors
    /// If it cannot be read, or has fewer than 32 or more than 65536 bytes.
    pub fn read_key_file(path: &Path) -> Result<Unlock> {
        let mut file = File::open(path).map_err(key_file_error(path))?;
        // One byte more than allowed, to tell. It may be a pipe, so its length says nothing.
        let mut content = SecretBytes::zeroed(KEY_FILE_LEN_MAX + 1);
        let mut length = 0;
        loop {
            match file.read(&mut content.expose_mut()[length..]).map_err(key_file_error(path))? {
                0 => break,
                read => length += read,
            }
        }
        check_key_file_len(length)?;
        content.truncate(length);
        Ok(Unlock::KeyFile(content))
    }

    /// Makes a key file of 32 random bytes, mode 0600, and reads it.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn create_key_file(path: &Path) -> Result<Unlock> {
        let mut content = SecretBytes::zeroed(KEY_LEN);
        random::fill(content.expose_mut());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(key_file_error(path))?;
        file.write_all(content.expose()).and_then(|()| file.sync_all()).map_err(key_file_error(path))?;
        Ok(Unlock::KeyFile(content))
    }

    /// Refuses secrets that protect nothing.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Unlock::Passphrase(passphrase) if passphrase.is_empty() => {
                Err(Error::WeakSecret("the passphrase is empty".into()))
            }
            Unlock::Passphrase(_) => Ok(()),
            Unlock::KeyFile(content) => check_key_file_len(content.len()),
        }
    }

    fn wrong(&self, location: &Location) -> Error {
        match self {
            Unlock::Passphrase(_) => Error::WrongPassphrase(location.clone()),
            Unlock::KeyFile(_) => Error::WrongKeyFile(location.clone()),
        }
    }
}

/// A key file that is missing is not a missing keystore.
fn key_file_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

fn check_key_file_len(length: usize) -> Result<()> {
    let why = match length {
        ..KEY_FILE_LEN_MIN => format!("has {length} bytes, fewer than {KEY_FILE_LEN_MIN}"),
        KEY_FILE_LEN_MIN..=KEY_FILE_LEN_MAX => return Ok(()),
        _ => format!("has more than {KEY_FILE_LEN_MAX} bytes"),
    };
    Err(Error::WeakSecret(format!("the key file {why}")))
}

/// How a slot is unlocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// By a passphrase, at this cost of one guess.
    Passphrase(Argon2Params),
    /// By a key file.
    KeyFile,
}

impl SlotKind {
    fn code(self) -> u8 {
        match self {
            SlotKind::Passphrase(_) => 1,
            SlotKind::KeyFile => 2,
        }
    }

    fn cost(self) -> Argon2Params {
        match self {
            SlotKind::Passphrase(cost) => cost,
            SlotKind::KeyFile => Argon2Params { m_kib: 0, t: 0, p: 0 },
        }
    }
}

/// What may be shown of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its number; numbers of removed slots are used again.
    pub id: u32,
    /// How it is unlocked.
    pub kind: SlotKind,
    /// The operator's words about it.
    pub label: String,
    /// When it was made or last changed.
    pub created: Timestamp,
}

/// A slot as stored.
#[derive(Debug, Clone)]
pub(in crate::kms) struct Slot {
    pub(in crate::kms) info: SlotInfo,
    salt: [u8; SALT_LEN],
    sealed: [u8; SEALED_LEN],
}

impl Slot {
    /// Seals `root` under `unlock`. `cost` overrides the tuned cost of a passphrase.
    pub(super) fn seal(
        keystore: &[u8; 16],
        root: &Key,
        unlock: &Unlock,
        (id, label, created): (u32, String, Timestamp),
        cost: Option<Argon2Params>,
    ) -> Result<Slot> {
        unlock.check()?;
        let kind = match unlock {
            Unlock::Passphrase(_) => {
                SlotKind::Passphrase(cost.unwrap_or_else(|| crate::crypto::passphrase::tune(STRETCH_TIME)))
            }
            Unlock::KeyFile(_) => SlotKind::KeyFile,
        };
        let mut slot = Slot {
            info: SlotInfo { id, kind, label, created },
            salt: random::array(),
            sealed: [0; SEALED_LEN],
        };
        let key = slot.key(keystore, unlock)?;
        let nonce: [u8; NONCE_LEN] = random::array();
        let mut text = [0; KEY_LEN];
        let tag = key.seal_into(&nonce, &slot.public_bytes(keystore), root.expose(), &mut text);
        slot.sealed[..NONCE_LEN].copy_from_slice(&nonce);
        slot.sealed[NONCE_LEN..NONCE_LEN + KEY_LEN].copy_from_slice(&text);
        slot.sealed[NONCE_LEN + KEY_LEN..].copy_from_slice(&tag);
        Ok(slot)
    }

    /// The root key, if `unlock` is this slot's secret.
    fn open(&self, keystore: &[u8; 16], unlock: &Unlock) -> Result<Option<Key>> {
        let key = self.key(keystore, unlock)?;
        let aad = self.public_bytes(keystore);
        let (nonce, rest) =
            self.sealed.split_first_chunk().expect("the sealed root key begins with its nonce");
        let (text, tag) = rest.split_last_chunk().expect("the sealed root key ends with its tag");
        Ok(Key::try_fill_with(|root| key.open_into(nonce, &aad, text, tag, root)).ok())
    }

    fn fits(&self, unlock: &Unlock) -> bool {
        matches!(
            (self.info.kind, unlock),
            (SlotKind::Passphrase(_), Unlock::Passphrase(_)) | (SlotKind::KeyFile, Unlock::KeyFile(_))
        )
    }

    /// The key that seals this slot, if `unlock` is of its kind; a key of no use otherwise.
    fn key(&self, keystore: &[u8; 16], unlock: &Unlock) -> Result<AeadKey> {
        let secret = match unlock {
            Unlock::Passphrase(passphrase) => stretch(passphrase, &self.salt, self.info.kind.cost())
                .map_err(|source| Error::Stretch { slot: self.info.id, source })?,
            Unlock::KeyFile(content) => Key::fill_with(|out| {
                *out = *Zeroizing::new(blake3::derive_key("kmsfs keystore v1 key file", content.expose()));
            }),
        };
        let info = [keystore.as_slice(), &self.salt].concat();
        Ok(AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey_with("kmsfs keystore v1 slot", &secret, &info)))
    }

    /// Everything about the slot but the sealed root key, each part of fixed length or last.
    fn public_bytes(&self, keystore: &[u8; 16]) -> Vec<u8> {
        let cost = self.info.kind.cost();
        let mut bytes = keystore.to_vec();
        bytes.extend_from_slice(&self.info.id.to_be_bytes());
        bytes.push(self.info.kind.code());
        bytes.extend_from_slice(&millis(self.info.created).to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        for parameter in [cost.m_kib, cost.t, cost.p] {
            bytes.extend_from_slice(&parameter.to_be_bytes());
        }
        bytes.extend_from_slice(self.info.label.as_bytes());
        bytes
    }

    /// Tells damage from a wrong secret.
    fn checksum(&self, keystore: &[u8; 16]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("kmsfs keystore v1 slot checksum");
        *hasher.update(&self.sealed).update(&self.public_bytes(keystore)).finalize().as_bytes()
    }
}

/// The encoding of all slots, for the manifest.
pub(super) fn encode(keystore: &[u8; 16], slots: &[Slot]) -> Vec<u8> {
    slots.iter().flat_map(|slot| slot.checksum(keystore)).collect()
}

/// Finds the slot that `unlock` opens.
///
/// # Errors
/// `WrongPassphrase` or `WrongKeyFile` if there is none.
pub(super) fn open_any(
    location: &Location,
    keystore: &[u8; 16],
    slots: &[Slot],
    unlock: &Unlock,
) -> Result<(u32, Key)> {
    for slot in slots.iter().filter(|slot| slot.fits(unlock)) {
        if let Some(root) = slot.open(keystore, unlock)? {
            return Ok((slot.info.id, root));
        }
    }
    Err(unlock.wrong(location))
}

/// Reads all slots, in the order of their numbers.
pub(super) fn read(
    location: &Location,
    transaction: &Transaction<'_>,
    keystore: &[u8; 16],
) -> Result<Vec<Slot>> {
    let sql = "SELECT id, kind, label, created, salt, memory_kib, passes, lanes, sealed, checksum \
               FROM slot ORDER BY id";
    let mut slots = Vec::new();
    transaction.query(sql, &[], |row| {
        match decode(row)? {
            Some(slot) if slot.checksum(keystore) == row.array(9)? => slots.push(slot),
            _ => {
                let what = format!("slot {} is damaged", slots.len() + 1);
                return Err(Error::Tampered { location: location.clone(), what });
            }
        }
        Ok(())
    })?;
    Ok(slots)
}

/// `None` for a slot of unknown kind or impossible time.
fn decode(row: &dyn Row) -> Result<Option<Slot>> {
    let cost = Argon2Params { m_kib: row.number(5)?, t: row.number(6)?, p: row.number(7)? };
    let kind = match row.int(1)? {
        1 => SlotKind::Passphrase(cost),
        2 => SlotKind::KeyFile,
        _ => return Ok(None),
    };
    let Ok(created) = Timestamp::from_unix_timestamp_nanos(i128::from(row.int(3)?) * 1_000_000) else {
        return Ok(None);
    };
    let info = SlotInfo { id: row.number(0)?, kind, label: row.text(2)?.to_owned(), created };
    Ok(Some(Slot { info, salt: row.array(4)?, sealed: row.array(8)? }))
}

/// Writes a slot, over the one of the same number if there is one.
pub(super) fn write(transaction: &Transaction<'_>, keystore: &[u8; 16], slot: &Slot) -> Result<()> {
    delete(transaction, slot.info.id)?;
    let cost = slot.info.kind.cost();
    transaction.execute(
        "INSERT INTO slot VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            slot.info.id.into(),
            slot.info.kind.code().into(),
            Value::Text(&slot.info.label),
            Value::Int(millis(slot.info.created)),
            Value::Bytes(&slot.salt),
            cost.m_kib.into(),
            cost.t.into(),
            cost.p.into(),
            Value::Bytes(&slot.sealed),
            Value::Bytes(&slot.checksum(keystore)),
        ],
    )
}

/// Removes a slot.
pub(super) fn delete(transaction: &Transaction<'_>, id: u32) -> Result<()> {
    transaction.execute("DELETE FROM slot WHERE id = $1", &[id.into()])
}

/// Milliseconds since 1970; a time of day fits for 292 million years.
pub(super) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
