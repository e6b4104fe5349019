//! Slots: the ways to unlock a keystore.
//!
//! A slot holds the root key sealed with AES-256-GCM-SIV under a key made from a passphrase (Argon2id), from a key
//! file (BLAKE3) or from a secret that custodians share, bound by its associated data to the keystore and to everything
//! else in the slot. Adding, changing or removing one touches no other slot and no CMK.
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
    /// What custodians made of their shares.
    Quorum(QuorumKey),
}

/// A key that custodians share, and what is public of how they do.
#[derive(Debug)]
pub struct QuorumKey {
    /// The key.
    pub key: Key,
    /// How many share it.
    pub shape: QuorumShape,
    /// What verifies a share, in its owner's encoding.
    pub verifier: Vec<u8>,
}

/// How many custodians share a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumShape {
    /// Which set of shares of this keystore, from 0.
    pub set: u8,
    /// Shares that open it.
    pub threshold: u8,
    /// Shares there are.
    pub custodians: u8,
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
            Unlock::Passphrase(_) | Unlock::Quorum(_) => Ok(()),
            Unlock::KeyFile(content) => check_key_file_len(content.len()),
        }
    }

    fn wrong(&self, location: &Location) -> Error {
        match self {
            Unlock::Passphrase(_) => Error::WrongPassphrase(location.clone()),
            Unlock::KeyFile(_) => Error::WrongKeyFile(location.clone()),
            Unlock::Quorum(_) => Error::WrongShares(location.clone()),
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
    /// By custodians.
    Quorum(QuorumShape),
}

impl SlotKind {
    fn code(self) -> u8 {
        match self {
            SlotKind::Passphrase(_) => 1,
            SlotKind::KeyFile => 2,
            SlotKind::Quorum(_) => 3,
        }
    }

    /// What the slot's row has three columns for.
    fn numbers(self) -> [u32; 3] {
        match self {
            SlotKind::Passphrase(cost) => [cost.m_kib, cost.t, cost.p],
            SlotKind::KeyFile => [0; 3],
            SlotKind::Quorum(QuorumShape { set, threshold, custodians }) => {
                [set.into(), threshold.into(), custodians.into()]
            }
        }
    }

    fn of(code: i64, numbers: [u32; 3]) -> Option<SlotKind> {
        match (code, numbers) {
            (1, [m_kib, t, p]) => Some(SlotKind::Passphrase(Argon2Params { m_kib, t, p })),
            (2, _) => Some(SlotKind::KeyFile),
            (3, numbers) => {
                let [set, threshold, custodians] = numbers.map(u8::try_from);
                let shape = (set.ok()?, threshold.ok()?, custodians.ok()?);
                let (set, threshold, custodians) = shape;
                Some(SlotKind::Quorum(QuorumShape { set, threshold, custodians }))
            }
            _ => None,
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
    /// What verifies a custodian's share; empty where there are none.
    pub verifier: Vec<u8>,
}

impl SlotInfo {
    /// Whether custodians open it.
    pub fn is_of_quorum(&self) -> bool {
        matches!(self.kind, SlotKind::Quorum(_))
    }

    /// Whether custodians open both, `next` with the set of shares after this one's.
    pub(in crate::kms) fn has_shares_before(&self, next: &SlotInfo) -> bool {
        match (self.kind, next.kind) {
            (SlotKind::Quorum(this), SlotKind::Quorum(next)) => this.set.wrapping_add(1) == next.set,
            _ => false,
        }
    }
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
        let (kind, verifier) = match unlock {
            Unlock::Passphrase(_) => {
                let cost = cost.unwrap_or_else(|| crate::crypto::passphrase::tune(STRETCH_TIME));
                (SlotKind::Passphrase(cost), Vec::new())
            }
            Unlock::KeyFile(_) => (SlotKind::KeyFile, Vec::new()),
            Unlock::Quorum(quorum) => (SlotKind::Quorum(quorum.shape), quorum.verifier.clone()),
        };
        let mut slot = Slot {
            info: SlotInfo { id, kind, label, created, verifier },
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
            (SlotKind::Passphrase(_), Unlock::Passphrase(_))
                | (SlotKind::KeyFile, Unlock::KeyFile(_))
                | (SlotKind::Quorum(_), Unlock::Quorum(_))
        )
    }

    /// The key that seals this slot, if `unlock` is of its kind; a key of no use otherwise.
    fn key(&self, keystore: &[u8; 16], unlock: &Unlock) -> Result<AeadKey> {
        let [m_kib, t, p] = self.info.kind.numbers();
        let secret = match unlock {
            Unlock::Passphrase(passphrase) => {
                stretch(passphrase, &self.salt, Argon2Params { m_kib, t, p })
                    .map_err(|source| Error::Stretch { slot: self.info.id, source })?
            }
            Unlock::Quorum(quorum) => kdf::subkey("kmsfs keystore v1 quorum", &quorum.key),
            Unlock::KeyFile(content) => Key::fill_with(|out| {
                *out = *Zeroizing::new(blake3::derive_key("kmsfs keystore v1 key file", content.expose()));
            }),
        };
        let info = [keystore.as_slice(), &self.salt].concat();
        Ok(AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey_with("kmsfs keystore v1 slot", &secret, &info)))
    }

    /// Everything about the slot but the sealed root key, each part of fixed length, behind its length, or last.
    fn public_bytes(&self, keystore: &[u8; 16]) -> Vec<u8> {
        let mut bytes = keystore.to_vec();
        bytes.extend_from_slice(&self.info.id.to_be_bytes());
        bytes.push(self.info.kind.code());
        bytes.extend_from_slice(&millis(self.info.created).to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        for number in self.info.kind.numbers() {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        if let SlotKind::Quorum(_) = self.info.kind {
            bytes.extend_from_slice(&(self.info.verifier.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&self.info.verifier);
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
/// `WrongPassphrase` or `WrongKeyFile` if there is none; `QuorumOnly` if no secret of one person can be it.
pub(super) fn open_any(
    location: &Location,
    keystore: &[u8; 16],
    slots: &[Slot],
    unlock: &Unlock,
) -> Result<(u32, Key)> {
    let by_custodians = |slot: &Slot| matches!(slot.info.kind, SlotKind::Quorum(_));
    if slots.iter().all(|slot| by_custodians(slot) && !slot.fits(unlock)) {
        return Err(Error::QuorumOnly(location.clone()));
    }
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
    let damaged = |slot| {
        let what = format!("slot {slot} is damaged");
        Error::Tampered { location: location.clone(), what }
    };
    let mut found: Vec<(Slot, [u8; 32])> = Vec::new();
    transaction.query(sql, &[], |row| {
        let slot = decode(row)?.ok_or_else(|| damaged(found.len() + 1))?;
        found.push((slot, row.array(9)?));
        Ok(())
    })?;
    let mut slots = Vec::new();
    for (mut slot, checksum) in found {
        if let SlotKind::Quorum(_) = slot.info.kind {
            slot.info.verifier = read_verifier(transaction, slot.info.id)?;
        }
        if slot.checksum(keystore) != checksum {
            return Err(damaged(slots.len() + 1));
        }
        slots.push(slot);
    }
    Ok(slots)
}

/// What verifies the shares of a slot; nothing, if that is missing, which the slot's checksum shows.
fn read_verifier(transaction: &Transaction<'_>, slot: u32) -> Result<Vec<u8>> {
    let mut verifier = Vec::new();
    transaction.query("SELECT verifier FROM quorum WHERE slot = $1", &[slot.into()], |row| {
        verifier = row.bytes(0)?.to_vec();
        Ok(())
    })?;
    Ok(verifier)
}

/// `None` for a slot of unknown kind or impossible time.
fn decode(row: &dyn Row) -> Result<Option<Slot>> {
    let Some(kind) = SlotKind::of(row.int(1)?, [row.number(5)?, row.number(6)?, row.number(7)?]) else {
        return Ok(None);
    };
    let Ok(created) = Timestamp::from_unix_timestamp_nanos(i128::from(row.int(3)?) * 1_000_000) else {
        return Ok(None);
    };
    let label = row.text(2)?.to_owned();
    let info = SlotInfo { id: row.number(0)?, kind, label, created, verifier: Vec::new() };
    Ok(Some(Slot { info, salt: row.array(4)?, sealed: row.array(8)? }))
}

/// Writes a slot, over the one of the same number if there is one.
pub(super) fn write(transaction: &Transaction<'_>, keystore: &[u8; 16], slot: &Slot) -> Result<()> {
    delete(transaction, slot.info.id)?;
    if let SlotKind::Quorum(_) = slot.info.kind {
        let verifier = Value::Bytes(&slot.info.verifier);
        transaction.execute("INSERT INTO quorum VALUES ($1, $2)", &[slot.info.id.into(), verifier])?;
    }
    let [first, second, third] = slot.info.kind.numbers();
    transaction.execute(
        "INSERT INTO slot VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            slot.info.id.into(),
            slot.info.kind.code().into(),
            Value::Text(&slot.info.label),
            Value::Int(millis(slot.info.created)),
            Value::Bytes(&slot.salt),
            first.into(),
            second.into(),
            third.into(),
            Value::Bytes(&slot.sealed),
            Value::Bytes(&slot.checksum(keystore)),
        ],
    )
}

/// Removes a slot.
pub(super) fn delete(transaction: &Transaction<'_>, id: u32) -> Result<()> {
    transaction.execute("DELETE FROM quorum WHERE slot = $1", &[id.into()])?;
    transaction.execute("DELETE FROM slot WHERE id = $1", &[id.into()])
}

/// Milliseconds since 1970; a time of day fits for 292 million years.
pub(super) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
