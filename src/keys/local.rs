//! The `local:` provider: a KMS in this process, on a keystore file.

use super::{CallCost, Context, Error, ErrorKind, KeyInfo, KeyProvider, SecretStore, WrappedKey};
use crate::crypto::{KEY_LEN, Key};
use crate::kms::{
    BlobHeader, Call, DEFAULT_ALIAS, Encrypted, EncryptionAlgorithm, KeyState, Kms, OWNED_ALIAS, SecretId,
    keystore,
};
use std::sync::Arc;

/// A KMS in this process.
#[derive(Debug, Clone)]
pub struct LocalProvider {
    kms: Arc<Kms>,
}

impl LocalProvider {
    /// A provider on an open keystore.
    pub fn new(kms: Arc<Kms>) -> LocalProvider {
        LocalProvider { kms }
    }
}

impl KeyProvider for LocalProvider {
    fn generate(&self, cmk: &str, context: &Context<'_>) -> Result<(Key, WrappedKey), Error> {
        let context = context.to_encryption_context();
        let made = self.kms.generate_data_key(&Call::filesystem(), cmk, KEY_LEN, &context)?;
        let key = made.plaintext.into_key().expect("the data key is as long as was asked for");
        Ok((key, made.encrypted.into()))
    }

    fn wrap(&self, cmk: &str, key: &Key, context: &Context<'_>) -> Result<WrappedKey, Error> {
        let (call, context) = (Call::filesystem(), context.to_encryption_context());
        let algorithm = EncryptionAlgorithm::SymmetricDefault;
        Ok(self.kms.encrypt(&call, cmk, algorithm, key.expose(), &context)?.into())
    }

    fn unwrap_key(&self, _: &str, wrapped: &WrappedKey, context: &Context<'_>) -> Result<Key, Error> {
        let header = BlobHeader::parse(&wrapped.blob)?;
        if (header.key.as_bytes(), header.material) != (&wrapped.key_id, wrapped.material) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the wrapped key names another CMK than its file does",
            ));
        }
        let context = context.to_encryption_context();
        let algorithm = EncryptionAlgorithm::SymmetricDefault;
        let opened = self.kms.decrypt(&Call::filesystem(), None, algorithm, &wrapped.blob, &context)?;
        opened
            .plaintext
            .into_key()
            .map_err(|_| Error::new(ErrorKind::Invalid, "the wrapped key has an odd length"))
    }

    fn generation(&self) -> u64 {
        // Both only grow, so the sum differs after either did.
        self.kms.generation() + self.kms.outages()
    }

    fn resolve(&self, name: &str) -> Result<KeyInfo, Error> {
        match name {
            DEFAULT_ALIAS => {
                self.kms.service_key()?;
            }
            OWNED_ALIAS => {
                self.kms.owned_key()?;
            }
            _ => {}
        }
        let key = self.kms.describe_key(&Call::filesystem(), name)?;
        if !key.spec.is_symmetric() {
            return Err(Error::new(
                ErrorKind::Unsuitable,
                format_args!(
                    "{} is a {} key: only symmetric encryption keys serve volumes",
                    key.arn, key.spec
                ),
            ));
        }
        let (name, hint) = match key.state {
            KeyState::Enabled => {
                let id = *key.id.as_bytes();
                return Ok(KeyInfo { arn: key.arn, id, state: key.state, spec: key.spec, usage: key.usage });
            }
            KeyState::Disabled => ("DisabledException", "is disabled: enable it first"),
            KeyState::PendingImport => ("KMSInvalidStateException", "has no key material: import it first"),
            KeyState::PendingDeletion => {
                ("KMSInvalidStateException", "is pending deletion: cancel the deletion and enable it first")
            }
        };
        Err(Error::new(ErrorKind::Disabled, format_args!("{} {hint}", key.arn)).named(name))
    }

    fn description(&self) -> String {
        format!("local:{}", self.kms.location())
    }

    fn cost(&self) -> CallCost {
        CallCost::Nothing
    }

    fn secrets(&self) -> Option<&dyn SecretStore> {
        Some(self)
    }
}

impl SecretStore for LocalProvider {
    fn create(&self, cmk: &str, count: usize, context: &Context<'_>) -> Result<Vec<(SecretId, Key)>, Error> {
        Ok(self.kms.create_secrets(&Call::filesystem(), cmk, count, &context.to_encryption_context())?)
    }

    fn get(&self, id: SecretId, context: &Context<'_>) -> Result<Key, Error> {
        Ok(self.kms.get_secret(&Call::filesystem(), id, &context.to_encryption_context())?)
    }

    fn bind(&self, id: SecretId, cmk: &str, context: &Context<'_>) -> Result<(), Error> {
        Ok(self.kms.bind_secrets(&Call::filesystem(), &[id], cmk, &context.to_encryption_context())?)
    }

    fn destroy(&self, ids: &[SecretId]) -> Result<usize, Error> {
        Ok(self.kms.destroy_secrets(&Call::filesystem(), ids)?)
    }
}

impl From<Encrypted> for WrappedKey {
    fn from(encrypted: Encrypted) -> WrappedKey {
        let Encrypted { blob, key, material, .. } = encrypted;
        WrappedKey { key_id: *key.as_bytes(), material, blob }
    }
}

impl From<crate::kms::Error> for Error {
    fn from(error: crate::kms::Error) -> Error {
        use crate::kms::Error as Kms;
        let kind = match &error {
            Kms::AccessDenied(_) => ErrorKind::Denied,
            Kms::Disabled(_) | Kms::InvalidState(_) => ErrorKind::Disabled,
            Kms::InvalidCiphertext | Kms::IncorrectKey(_) => ErrorKind::Invalid,
            Kms::InvalidKeyUsage(_) | Kms::Unsupported(_) => ErrorKind::Unsuitable,
            Kms::NotFound(_) | Kms::InvalidArn(_) => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, &error).named(error.name())
    }
}

impl From<keystore::Error> for Error {
    fn from(error: keystore::Error) -> Error {
        Error::new(ErrorKind::Unavailable, error)
    }
}
