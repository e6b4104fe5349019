//! The KMS core: CMKs, their states and operations, and the keystore that holds them.
//!
//! [`Kms`] has AWS KMS's operations as methods, with AWS's rules and error names. It knows no network and
//! no command line. Layers inside, from the top: [`operations`], `core` (keystore and memory kept
//! alike), `table` (memory), [`keystore`] (disk); beside them the pure parts: `approvals`, `arn`, `authorize`, `blob`, `call`,
//! `context`, `default_policy`, `due`, `grant`, `key`, `material`, `page`, [`policy`], `primitives`, `principal`,
//! `question`, `secrets`, `session`, `settings`, `spec`, `state`, `trace`, and the [`audit`] log that a service keeps. The
//! [`token`] is what PKCS#11 sees of a keystore.

mod approvals;
mod arn;
pub mod audit;
mod authorize;
mod blob;
mod call;
mod clock;
mod context;
mod core;
mod default_policy;
mod due;
mod error;
mod grant;
mod import_token;
mod key;
mod key_pairs;
pub mod keystore;
mod last_use;
mod material;
mod operations;
mod page;
pub mod policy;
mod primitives;
mod principal;
mod question;
pub mod quota;
mod secrets;
mod session;
mod settings;
mod small_map;
mod spec;
mod state;
mod table;
pub mod token;
mod trace;
pub mod usage;
mod watcher;

#[cfg(test)]
mod tests;

pub use approvals::{
    APPROVAL_VALID, APPROVERS_MAX, Approvals, Approved, Custodian, Evidence, Guarded, HSM_ADD_CUSTODIAN,
    HSM_REFRESH, HSM_REKEY, HSM_REMOVE_CUSTODIAN, HSM_SET_POLICY, Refusal,
};
pub use arn::{DEFAULT_ALIAS, KeyId, OWNED_ALIAS, check_alias_name};
pub use blob::{BLOB_MAX, BlobHeader, PLAINTEXT_MAX};
pub use call::{Call, Caller, FILESYSTEM_SERVICE};
pub use clock::{Clock, SystemClock, Timestamp};
pub use context::{CONTEXT_MAX, EncryptionContext};
pub use error::{Error, Result};
pub use grant::{GrantConstraints, GrantId, GrantOperation};
pub use key::{
    AliasEntry, DELETION_DAYS, DELETION_DAYS_DEFAULT, KeyManager, KeyMetadata, KeyState, ROTATION_DAYS,
    ROTATION_DAYS_DEFAULT, RotationSchedule, RotationStatus, Tag,
};
pub use last_use::{KeyUsageHistory, LastUse, UseOf};
pub use material::{Imported, MaterialId, MaterialInfo, RotationType};
pub use operations::{
    AccessKeyInfo, CreateGrant, CreateKey, CreatedGrant, Credentials, CredentialsError, DataKey, DataKeyPair,
    Decapsulated, Encapsulated, Encrypted, GrantEntry, ImportKeyMaterial, ImportParameters, ImportType,
    ImportedKeyMaterial, Mac, MaterialState, NewAccessKey, POLICY_NAME, Plaintext, PrincipalInfo,
    PublicKeyOf, ReEncrypt, ReEncrypted, Rotated, RotationEntry, SESSION_SECONDS, ScheduledDeletion,
    Settings, SharedSecret, Signature, TemporaryCredentials, ToSign, data_key_length,
};
pub use page::{Listed, Page};
pub use principal::{Principal, PrincipalKind, PrincipalName};
pub use secrets::{SECRETS_MAX, SecretId};
pub use spec::{
    DataKeySpec, EncapsulationAlgorithm, EncryptionAlgorithm, ExpirationModel, KeyAgreementAlgorithm,
    KeySpec, KeyUsage, MacAlgorithm, MessageType, Origin, SigningAlgorithm, WrappingAlgorithm,
};
pub use state::Operation;
pub use trace::Trace;

use self::core::Core;
use crate::crypto::Key;
use crate::crypto::passphrase::Argon2Params;
use import_token::ImportTokens;
use keystore::{Keystore, Location, SlotInfo, Unlock};
use session::SessionTokens;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use watcher::Watcher;

/// How a [`Kms`] behaves where it is not as usual.
#[derive(Clone)]
pub struct Options {
    /// Where it reads the time.
    pub clock: Arc<dyn Clock>,
    /// The cost of new passphrases; `None` tunes it to about half a second on this machine.
    pub passphrase_cost: Option<Argon2Params>,
    /// How often it looks for changes made by other processes.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { clock: Arc::new(SystemClock), passphrase_cost: None, poll: Duration::from_millis(100) }
    }
}

/// A key management service on one open keystore. Shared by all threads; every method may be called from
/// any of them at the same time.
///
/// It runs a thread, holds locked memory and file locks, so it must be opened *after* a daemon's last
/// fork. Several of them, in one process or many, may have the same keystore open; each sees the others'
/// changes within half a second.
pub struct Kms {
    location: Location,
    unlocked_by: u32,
    core: Arc<Core>,
    session_tokens: SessionTokens,
    import_tokens: ImportTokens,
    token: TokenState,
    _watcher: Watcher,
}

/// What the token has in memory alone.
struct TokenState {
    /// The keystore's id, which does not change.
    keystore: [u8; 16],
    applications: token::Applications,
    guesses: token::Guesses,
}

impl Kms {
    /// Makes a keystore at `location`, a path or what [`Location::parse`] gives, that `unlock` opens, and opens it.
    /// `label` is shown with the slot.
    ///
    /// # Errors
    /// [`keystore::Error::Exists`] if there is something at `location`; it stays as it is.
    pub fn create(
        location: impl Into<Location>,
        unlock: &Unlock,
        label: &str,
        options: Options,
    ) -> keystore::Result<Kms> {
        let location = location.into();
        let now = clock::to_millis(options.clock.now());
        Keystore::create(&location, unlock, label.to_owned(), now, options.passphrase_cost)?;
        Kms::open(location, unlock, options)
    }

    /// Opens the keystore at `location`.
    ///
    /// # Errors
    /// Each case of [`keystore::Error`] apart; the keystore is as it was.
    pub fn open(location: impl Into<Location>, unlock: &Unlock, options: Options) -> keystore::Result<Kms> {
        let location = location.into();
        let keystore = Keystore::open(&location, unlock)?;
        let unlocked_by = keystore.unlocked_by();
        let vault = keystore.vault();
        let (import_tokens, session_tokens) = (ImportTokens::new(&vault), SessionTokens::new(&vault));
        let token = TokenState {
            keystore: *vault.id(),
            applications: token::Applications::default(),
            guesses: token::Guesses::default(),
        };
        let core = Arc::new(Core::new(keystore, options.clock, options.passphrase_cost)?);
        let watcher = Watcher::spawn(Arc::clone(&core), options.poll);
        Ok(Kms { location, unlocked_by, core, import_tokens, session_tokens, token, _watcher: watcher })
    }

    /// Says which slot of the keystore at `location` the secret opens.
    ///
    /// # Errors
    /// As [`Kms::open`].
    pub fn test(location: impl Into<Location>, unlock: &Unlock) -> keystore::Result<u32> {
        Keystore::test(&location.into(), unlock)
    }

    /// What can be seen of the keystore at `location`, which stays locked.
    ///
    /// # Errors
    /// As [`Kms::open`], but for a wrong secret.
    pub fn inspect(location: impl Into<Location>) -> keystore::Result<keystore::Locked> {
        Keystore::inspect(&location.into())
    }

    /// Copies the keystore at `location`, in use or not, to the new file `to`, which is a keystore too. It stays
    /// locked.
    ///
    /// # Errors
    /// [`keystore::Error::Exists`] if there is such a file; those of reading and writing. No file is left behind.
    pub fn back_up(location: &Location, to: &Path) -> keystore::Result<()> {
        keystore::back_up(location, to)
    }

    /// Destroys the keystore of this id: nobody opens it again, whatever they know. Says whether all that its database kept
    /// of the rows is overwritten; copies, and what lies below the database, are not.
    ///
    /// # Errors
    /// [`keystore::Error::Replaced`] if another keystore is there. After any other error it may be destroyed already, and
    /// the rest is for [`Kms::finish_zeroizing`].
    pub fn zeroize(location: &Location, id: &[u8; 16]) -> keystore::Result<bool> {
        keystore::zeroize(location, id)
    }

    /// As [`Kms::zeroize`], for a keystore of which [`keystore::Error::Zeroized`] is told: it may have been interrupted.
    ///
    /// # Errors
    /// [`keystore::Error::Replaced`] if the keystore was not zeroized.
    pub fn finish_zeroizing(location: &Location) -> keystore::Result<bool> {
        keystore::finish_zeroizing(location)
    }

    /// Puts a copy in the place of the keystore at `location`, whose counter is `over`, or that does not exist, in one
    /// transaction. It stays locked: whether the copy is sound is seen when it is opened. Whoever has the keystore open has
    /// to open it again.
    ///
    /// # Errors
    /// [`keystore::Error::Conflict`] or [`keystore::Error::Exists`] if the keystore is not what `over` says; those of
    /// reading and writing. It is as it was.
    pub fn restore(
        from: &Path,
        location: &Location,
        over: Option<keystore::Counter>,
    ) -> keystore::Result<()> {
        keystore::restore(from, location, over)
    }

    /// The keystore's id.
    pub fn id(&self) -> uuid::Uuid {
        uuid::Uuid::from_bytes(*self.core.store.lock().keystore.vault().id())
    }

    /// Where the keystore is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The number of the slot that opened the keystore.
    pub fn unlocked_by(&self) -> u32 {
        self.unlocked_by
    }

    /// The ARN of a key, as it is given out during `call`.
    pub fn key_arn(&self, call: &Call<'_>, key: KeyId) -> String {
        self.core.recent().naming(call).key(key)
    }

    /// A number that grows with every change of any key, alias or slot, and when shred secrets are destroyed, by any
    /// process. Cheap.
    pub fn generation(&self) -> u64 {
        self.core.generation()
    }

    /// How many changes the keystore went through, of any kind. Its manifest vouches for it.
    pub fn changes(&self) -> u64 {
        self.core.recent().manifest().generation
    }

    /// A number that grows whenever the keystore becomes unreadable, is replaced or does not answer. From then
    /// until it is back, no key is used, and nobody learns of changes: what was got from a key before, and is
    /// kept, must not serve any longer. Cheap.
    pub fn outages(&self) -> u64 {
        self.core.outages()
    }

    /// The key of the audit logs of services on this keystore.
    pub fn audit_key(&self) -> audit::ChainKey {
        let kept = self.core.recent().settings().and_then(|settings| settings.audit_key.clone());
        audit::ChainKey::new(match kept {
            Some(kept) => Key::fill_with(|key| *key = *kept.expose()),
            None => self.derived_audit_key(),
        })
    }

    /// What signs checkpoints of audit logs: another one once the keystore has a new root key.
    pub fn checkpoint_key(&self) -> audit::CheckpointKey {
        audit::CheckpointKey::new(
            self.core.store.lock().keystore.vault().subkey("kmsfs kms v1 audit checkpoint"),
        )
    }

    fn derived_audit_key(&self) -> Key {
        self.core.store.lock().keystore.vault().subkey("kmsfs kms v1 audit chain")
    }

    /// Whether the keystore has another root key by now, or none: this KMS is of no use any more. Cheap.
    pub fn is_superseded(&self) -> bool {
        self.core.is_superseded()
    }

    /// Whether a key can be used without looking at the keystore first. If not, the next call waits for the
    /// keystore, for seconds if it does not answer. Cheap.
    pub fn is_current(&self) -> bool {
        self.core.is_fresh()
    }

    /// Looks at the keystore, unless that was done just now.
    ///
    /// # Errors
    /// `KeyUnavailableException` if it cannot be read, or does not answer for some seconds.
    pub fn catch_up(&self) -> Result<()> {
        self.core.table().map(drop)
    }

    /// The ways to unlock the keystore.
    pub fn slots(&self) -> keystore::Result<Vec<SlotInfo>> {
        self.core.store.lock().keystore.slots()
    }

    /// Adds a way to unlock the keystore, and returns its slot's number. Takes a second for a passphrase.
    ///
    /// # Errors
    /// [`keystore::Error::WeakSecret`] for an empty passphrase or a short key file; [`keystore::Error::QuorumOnly`] where
    /// custodians share the root key.
    pub fn add_slot(&self, unlock: &Unlock, label: &str) -> keystore::Result<u32> {
        self.refuse_beside_quorum()?;
        loop {
            let taken = self.slots()?;
            let free = |id: &u32| taken.iter().all(|slot| slot.id != *id);
            let id = (1..=u32::MAX).find(free).expect("a keystore has fewer than 2^32 slots");
            let slot = self.seal_slot(unlock, id, label.to_owned())?;
            let added = self.core.change_slots(|change, _| {
                let still_free = change.slots()?.iter().all(|slot| slot.id != id);
                if still_free {
                    change.put_slot(&slot)?;
                }
                Ok::<_, keystore::Error>(still_free)
            })?;
            if added {
                return Ok(id);
            }
        }
    }

    /// Gives slot `id` another secret, of either kind; its old one opens it no more.
    ///
    /// # Errors
    /// [`keystore::Error::NoSuchSlot`]; otherwise as [`Kms::add_slot`].
    pub fn change_slot(&self, id: u32, unlock: &Unlock) -> keystore::Result<()> {
        self.refuse_beside_quorum()?;
        let slots = self.slots()?;
        let old = slots.into_iter().find(|slot| slot.id == id).ok_or(keystore::Error::NoSuchSlot(id))?;
        let slot = self.seal_slot(unlock, id, old.label)?;
        self.core.change_slots(|change, _| {
            if change.slots()?.iter().all(|slot| slot.id != id) {
                return Err(keystore::Error::NoSuchSlot(id)); // removed meanwhile
            }
            change.put_slot(&slot)
        })
    }

    /// Has custodians share the root key in another way: new shares, or another quorum.
    ///
    /// # Errors
    /// [`keystore::Error::NoSuchSlot`] if custodians share nothing here, [`keystore::Error::Conflict`] if they have other
    /// shares by now; `AccessDeniedException`, or the error of an approval, if it is to be approved.
    pub fn change_quorum(&self, call: &Call<'_>, quorum: keystore::QuorumKey) -> Result<()> {
        let id = self.slots()?.iter().find(|slot| slot.is_of_quorum()).map_or(0, |slot| slot.id);
        let slot = self.seal_slot(&Unlock::Quorum(quorum), id, String::new())?;
        self.core.change_slots(|change, draft| {
            draft.approve(call, HSM_REFRESH)?;
            let put = match change.slots()?.iter().find(|known| known.id == id) {
                Some(known) if known.has_shares_before(&slot.info) => change.put_slot(&slot),
                Some(known) if known.is_of_quorum() => Err(keystore::Error::Conflict(self.location.clone())),
                _ => Err(keystore::Error::NoSuchSlot(id)),
            };
            Ok(put?)
        })
    }

    /// Gives the keystore another root key, which `quorum`, the next set of shares, opens and nothing else. All rows are
    /// sealed anew in one transaction. Whoever has the keystore open learns [`keystore::Error::Rekeyed`]; temporary
    /// credentials and import tokens end; audit logs go on.
    ///
    /// # Errors
    /// [`keystore::Error::Conflict`] if the keystore is none of custodians with the shares before these;
    /// [`keystore::Error::Tampered`]; `AccessDeniedException`, or the error of an approval, if it is to be approved. The
    /// keystore is as it was, and an approval used up nevertheless if it was good.
    pub fn rekey(self, call: &Call<'_>, quorum: keystore::QuorumKey) -> Result<()> {
        let audit_key = Arc::new(self.derived_audit_key());
        self.core.change(|draft| {
            draft.approve(call, HSM_REKEY)?;
            let mut settings = draft.table.settings().cloned().unwrap_or_default();
            if settings.audit_key.is_none() {
                settings.audit_key = Some(audit_key);
                draft.put_settings(settings);
            }
            Ok(())
        })?;
        Ok(self.core.rekey(&Unlock::Quorum(quorum))?)
    }

    /// Removes slot `id`.
    ///
    /// # Errors
    /// [`keystore::Error::NoSuchSlot`], [`keystore::Error::LastSlot`].
    pub fn remove_slot(&self, id: u32) -> keystore::Result<()> {
        self.core.change_slots(|change, _| change.remove_slot(id))
    }

    /// No slot is put beside that of a quorum, or in its place: it would be a way around the custodians.
    fn refuse_beside_quorum(&self) -> keystore::Result<()> {
        match self.is_hsm()? {
            true => Err(keystore::Error::QuorumOnly(self.location.clone())),
            false => Ok(()),
        }
    }

    /// Whether custodians share the root key.
    fn is_hsm(&self) -> keystore::Result<bool> {
        Ok(self.slots()?.iter().any(SlotInfo::is_of_quorum))
    }

    fn seal_slot(&self, unlock: &Unlock, id: u32, label: String) -> keystore::Result<keystore::Slot> {
        let vault = self.core.store.lock().keystore.vault();
        vault.seal_slot(unlock, (id, label), self.core.now(), self.core.cost)
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        // A keystore that cannot be read need not be waited for a second time, only to have this written down.
        let readable = self.core.table().map(drop);
        if let Err(error) = readable.and_then(|()| self.core.record_uses(last_use::MARGIN_WHEN_CLOSED)) {
            log::debug!("when keys were last used could not be recorded: {error}");
        }
    }
}

impl std::fmt::Debug for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kms").field("location", &self.location).finish_non_exhaustive()
    }
}
