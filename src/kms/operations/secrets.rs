//! CreateSecrets, GetSecret, BindSecrets, DestroySecrets: what AWS KMS has no name for. See [`crate::kms::secrets`].

use super::encryption::facts;
use super::{check, check_usage, find};
use crate::crypto::secret::Key;
use crate::kms::Kms;
use crate::kms::arn::KeyId;
use crate::kms::call::Call;
use crate::kms::context::EncryptionContext;
use crate::kms::error::{Error, Result};
use crate::kms::secrets::{BatchId, BatchRecord, SecretId, check_count, gone};
use crate::kms::spec::{EncryptionAlgorithm, KeyUsage};
use crate::kms::state::Operation;
use crate::kms::table::Table;
use std::collections::BTreeMap;

/// Secrets go with symmetric keys only.
const SYMMETRIC: EncryptionAlgorithm = EncryptionAlgorithm::SymmetricDefault;

impl Kms {
    /// Makes `count` shred secrets for those who may use the symmetric key `key` in `context`. They are durable when
    /// this returns. The right to do it is that to GenerateDataKey.
    ///
    /// # Errors
    /// As [`Kms::generate_data_key`]; those of the keystore.
    pub fn create_secrets(
        &self,
        call: &Call<'_>,
        key: &str,
        count: usize,
        context: &EncryptionContext,
    ) -> Result<Vec<(SecretId, Key)>> {
        check_count(count)?;
        context.length()?;
        let operation = Operation::GenerateDataKey;
        // Asked first outside of a transaction: the filesystem's own keys are made on their first use.
        let facts = facts(SYMMETRIC, context);
        let entry = self.usable(call, operation, key, KeyUsage::EncryptDecrypt, &facts)?;
        let id = entry.record.id;
        call.end_dry_run()?;
        let made = self.core.change(|draft| {
            let entry = draft.table.find_id(call, id)?;
            check(draft.table, call, operation, entry, &facts)?;
            let secrets: Vec<Key> = (0..count).map(|_| Key::random()).collect();
            let kept: Vec<Key> =
                secrets.iter().map(|key| Key::fill_with(|out| out.copy_from_slice(key.expose()))).collect();
            let batch = BatchRecord::new(count, id, context.clone(), draft.now);
            let ids = (0..).map(|number| SecretId::new(batch.id, number));
            let made = ids.zip(secrets).collect();
            draft.put_secrets(batch, kept);
            Ok(made)
        })?;
        self.core.used(&entry, call, operation);
        Ok(made)
    }

    /// A shred secret. The right to have it is that to Decrypt, in the context that it was made in, with one of the
    /// keys that it is bound to.
    ///
    /// # Errors
    /// `NotFoundException` if it was destroyed; `InvalidCiphertextException` in another context; as [`Kms::decrypt`].
    pub fn get_secret(&self, call: &Call<'_>, id: SecretId, context: &EncryptionContext) -> Result<Key> {
        self.check_secret(call, id, context)?;
        call.end_dry_run()?;
        if let Some(secret) = self.core.store.lock().keystore.secret(id)? {
            return Ok(secret);
        }
        // Another process may have destroyed it just now. If none has, its row was taken away.
        self.core.look()?;
        self.check_secret(call, id, context)?;
        Err(Error::Internal(format!("the row of secret {id} is missing from the keystore")))
    }

    /// Has the users of the key `key`, too, have these secrets from now on: their files are being wrapped by it. It takes
    /// the right to Decrypt with one of the keys that they are bound to, and to GenerateDataKey with the new one.
    ///
    /// # Errors
    /// As [`Kms::get_secret`], and as [`Kms::create_secrets`] for the new key.
    pub fn bind_secrets(
        &self,
        call: &Call<'_>,
        ids: &[SecretId],
        key: &str,
        context: &EncryptionContext,
    ) -> Result<()> {
        check_count(ids.len())?;
        let operation = Operation::GenerateDataKey;
        self.core.change(|draft| {
            let table = draft.table;
            let entry = find(table, call, key)?;
            check(table, call, operation, entry, &facts(SYMMETRIC, context))?;
            check_usage(table, call, operation, entry, KeyUsage::EncryptDecrypt)?;
            for id in ids {
                let batch = readable(table, call, *id, context)?;
                if !batch.keys.contains(&entry.record.id) {
                    let mut batch = batch.clone();
                    batch.keys.push(entry.record.id);
                    draft.put_batch(batch, Vec::new());
                }
            }
            call.end_dry_run()
        })
    }

    /// Destroys shred secrets, for ever: when this returns their rows are gone from the keystore, and from its log as
    /// far as the database lets them. Those that are destroyed already are no error. It takes the right to
    /// `kmsfs:DestroySecret` with every key that they are bound to.
    ///
    /// Returns how many there were to destroy.
    ///
    /// # Errors
    /// `AccessDeniedException`, those of the keystore; all of them are as they were then.
    pub fn destroy_secrets(&self, call: &Call<'_>, ids: &[SecretId]) -> Result<usize> {
        check_count(ids.len())?;
        let destroyed = self.core.change(|draft| {
            let mut batches: BTreeMap<BatchId, (BatchRecord, Vec<u32>)> = BTreeMap::new();
            for id in ids {
                let Some(batch) = draft.table.batches().get(id.batch()) else { continue };
                let (batch, numbers) = batches.entry(batch.id).or_insert_with(|| (batch.clone(), Vec::new()));
                if batch.destroy(id.number()) {
                    numbers.push(id.number());
                }
            }
            let mut destroyed = 0;
            for (batch, numbers) in batches.into_values().filter(|(_, numbers)| !numbers.is_empty()) {
                check_destroyable(draft.table, call, &batch)?;
                destroyed += numbers.len();
                draft.put_batch(batch, numbers);
            }
            call.end_dry_run()?;
            draft.approve(call, "DestroySecrets")?;
            Ok(destroyed)
        })?;
        if destroyed > 0 {
            self.core.scrub()?;
        }
        Ok(destroyed)
    }

    fn check_secret(&self, call: &Call<'_>, id: SecretId, context: &EncryptionContext) -> Result<()> {
        readable(&*self.core.table_for(call)?, call, id, context).map(drop)
    }
}

/// The batch of a secret that the call may have.
fn readable<'t>(
    table: &'t Table,
    call: &Call<'_>,
    id: SecretId,
    context: &EncryptionContext,
) -> Result<&'t BatchRecord> {
    let batch = table.batches().get(id.batch()).filter(|batch| batch.is_alive(id.number()));
    let batch = batch.ok_or_else(|| gone(id))?;
    let facts = facts(SYMMETRIC, context);
    let may_use = |key: &KeyId| {
        let entry = table.find_id(call, *key)?;
        check(table, call, Operation::Decrypt, entry, &facts)
    };
    let mut refused = None;
    for key in &batch.keys {
        match may_use(key) {
            Ok(()) if batch.context == *context => return Ok(batch),
            Ok(()) => return Err(Error::InvalidCiphertext),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| gone(id)))
}

fn check_destroyable(table: &Table, call: &Call<'_>, batch: &BatchRecord) -> Result<()> {
    batch.keys.iter().try_for_each(|key| {
        let entry = table.find_id(call, *key)?;
        check(table, call, Operation::DestroySecret, entry, &facts(SYMMETRIC, &batch.context))
    })
}
