//! GetParametersForImport, ImportKeyMaterial, DeleteImportedKeyMaterial.
//!
//! A key of origin EXTERNAL has whatever material is imported into it. Material that expired or was deleted must come
//! back as it was; only a symmetric key takes new material, which encrypts after RotateKeyOnDemand.

use super::check_length;
use crate::crypto::asymmetric::{self, PrivateKey};
use crate::crypto::hmac;
use crate::crypto::secret::SecretBytes;
use crate::crypto::{KEY_LEN, transport};
use crate::kms::Kms;
use crate::kms::arn::{KeyId, Naming};
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::clock::Timestamp;
use crate::kms::error::{Error, Result};
use crate::kms::import_token::ImportToken;
use crate::kms::key::KeyRecord;
use crate::kms::keystore::NewMaterial;
use crate::kms::material::{Imported, MaterialId, MaterialInfo, RotationType};
use crate::kms::spec::{ExpirationModel, KeySpec, WrappingAlgorithm};
use crate::kms::state::Operation;
use time::Duration;

/// How long import parameters are good for.
const PARAMETERS_VALID: Duration = Duration::HOUR.saturating_mul(24);

/// How long from now imported material may stay if it expires.
const EXPIRY_MAX: Duration = Duration::DAY.saturating_mul(365);

/// Longest token and encrypted material, in bytes.
const CIPHERTEXT_MAX: usize = 6144;

/// Longest description of material, in bytes.
const DESCRIPTION_MAX: usize = 256;

/// What GetParametersForImport returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportParameters {
    /// The CMK to import into.
    pub key: KeyId,
    /// The wrapping key, DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// What ImportKeyMaterial needs to unwrap.
    pub token: Vec<u8>,
    /// Until when.
    pub valid_to: Timestamp,
}

/// Whether imported material is one that the key has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportType {
    /// It is the key's first, or one to rotate to.
    New,
    /// It has.
    Existing,
}

/// The arguments of ImportKeyMaterial.
#[derive(Debug, Clone, Default)]
pub struct ImportKeyMaterial<'a> {
    /// The token of [`ImportParameters`].
    pub token: &'a [u8],
    /// The material, wrapped with the public key that belongs to the token.
    pub encrypted: &'a [u8],
    /// Whether it goes away by itself; it does where nothing is said.
    pub expiration: Option<ExpirationModel>,
    /// When it does: within a year from now.
    pub valid_to: Option<Timestamp>,
    /// What is being imported; new material first, and the old one ever after, where nothing is said.
    pub import_type: Option<ImportType>,
    /// The operator's words about it; those it had, where nothing is said.
    pub description: Option<&'a str>,
    /// Which of the key's materials it must be.
    pub material_id: Option<&'a str>,
}

/// What ImportKeyMaterial and DeleteImportedKeyMaterial return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportedKeyMaterial {
    /// The CMK.
    pub key: KeyId,
    /// The material; symmetric keys only.
    pub material_id: Option<MaterialId>,
}

impl Kms {
    /// GetParametersForImport: an RSA key to wrap key material with, good for 24 hours. Takes up to some seconds.
    ///
    /// # Errors
    /// `UnsupportedOperationException` if the key's material is not imported, `ValidationException` if its material
    /// cannot be wrapped so, `NotFoundException`, `KMSInvalidStateException`, `AccessDeniedException`.
    pub fn parameters_for_import(
        &self,
        call: &Call<'_>,
        key: &str,
        spec: KeySpec,
        algorithm: WrappingAlgorithm,
    ) -> Result<ImportParameters> {
        let wrapping_type = spec.key_type().filter(|_| spec.is_rsa());
        let wrapping_type = wrapping_type
            .ok_or_else(|| Error::Validation(format!("WrappingKeySpec {spec} is not supported.")))?;
        let facts =
            Facts { wrapping_key_spec: Some(spec), wrapping_algorithm: Some(algorithm), ..Facts::default() };
        let operation = Operation::GetParametersForImport;
        let record = self.view_key(call, operation, key, &facts, |record| record.clone())?;
        check_wrapping(record.spec, spec, algorithm)?;
        let private_key = PrivateKey::generate(wrapping_type)?;
        let public_key = PrivateKey::from_pkcs8(wrapping_type, private_key.expose())?.public_spki().to_vec();
        let valid_to = self.core.now() + PARAMETERS_VALID;
        let token = ImportToken { key: record.id, valid_to, spec, algorithm, private_key };
        let token = self.import_tokens.seal(&token);
        Ok(ImportParameters { key: record.id, public_key, token, valid_to })
    }

    /// ImportKeyMaterial. A key that now has all its material is enabled.
    ///
    /// Symmetric keys take 32 bytes, HMAC keys from as many bytes as their MAC has to the block of the hash, key pairs
    /// PKCS#8 DER.
    ///
    /// # Errors
    /// `InvalidImportTokenException`, `ExpiredImportTokenException`; `InvalidCiphertextException` if the material does
    /// not unwrap; `IncorrectKeyMaterialException` if it is none of the key's spec or not the one it must be;
    /// `UnsupportedOperationException`, `ValidationException`, `NotFoundException`, `KMSInvalidStateException`,
    /// `AccessDeniedException`.
    pub fn import_key_material(
        &self,
        call: &Call<'_>,
        key: &str,
        request: &ImportKeyMaterial<'_>,
    ) -> Result<ImportedKeyMaterial> {
        let operation = Operation::ImportKeyMaterial;
        let valid_to = check_expiration(request, self.core.now())?;
        check_length(
            request.description.unwrap_or_default().len(),
            "keyMaterialDescription",
            0..=DESCRIPTION_MAX,
        )?;
        check_length(request.encrypted.len(), "encryptedKeyMaterial", 1..=CIPHERTEXT_MAX)?;
        let expiration = request.expiration.unwrap_or(ExpirationModel::Expires);
        let facts = Facts { expiration_model: Some(expiration), valid_to, ..Facts::default() };
        // Unwrapping takes milliseconds, so the keystore is not locked meanwhile.
        let (id, spec) = self.view_key(call, operation, key, &facts, |record| (record.id, record.spec))?;
        let (secret, material_id) = self.unwrap_material(id, spec, request)?;
        self.change_key(call, operation, key, &facts, |draft, naming, mut record| {
            let (version, is_pending) = place(&record, material_id, request, naming)?;
            let known = record.materials.iter().position(|material| material.version == version);
            let at = known.unwrap_or_else(|| {
                let rotation = if is_pending { RotationType::Pending } else { RotationType::Initial };
                let created = draft.now;
                record.materials.push(MaterialInfo {
                    version,
                    id: material_id,
                    created,
                    rotation,
                    imported: None,
                });
                record.materials.len() - 1
            });
            let imported = &mut record.materials[at].imported;
            let before = imported.take().map(|imported| imported.description).unwrap_or_default();
            let description = request.description.map_or(before, str::to_owned);
            *imported = Some(Imported { present: true, valid_to, description });
            record.settle();
            draft.put_with(record, vec![NewMaterial { version, secret }]);
            Ok(())
        })?;
        Ok(ImportedKeyMaterial { key: id, material_id: spec.is_symmetric().then_some(material_id) })
    }

    /// DeleteImportedKeyMaterial: the current one, or the one of this id. The key cannot be used until it is imported
    /// again, unless it only waited for its rotation. Where there is none, nothing happens.
    ///
    /// # Errors
    /// `UnsupportedOperationException` if the key's material is not imported, `NotFoundException`,
    /// `KMSInvalidStateException`, `AccessDeniedException`.
    pub fn delete_imported_key_material(
        &self,
        call: &Call<'_>,
        key: &str,
        material_id: Option<&str>,
    ) -> Result<ImportedKeyMaterial> {
        let operation = Operation::DeleteImportedKeyMaterial;
        let deleted =
            self.change_key(call, operation, key, &Facts::default(), |draft, naming, mut record| {
                let material = match material_id {
                    Some(text) => Some(find_material(&record, text, naming)?),
                    None => record.current(),
                };
                let material = material.map(|material| (material.version, material.id));
                if let Some((version, _)) = material {
                    record.forget_material(version);
                }
                let id = material.map(|(_, id)| id).filter(|_| record.spec.is_symmetric());
                let deleted = ImportedKeyMaterial { key: record.id, material_id: id };
                draft.put(record);
                Ok(deleted)
            })?;
        self.core.scrub()?;
        Ok(deleted)
    }

    /// The material of an import, and its id.
    fn unwrap_material(
        &self,
        id: KeyId,
        spec: KeySpec,
        request: &ImportKeyMaterial<'_>,
    ) -> Result<(SecretBytes, MaterialId)> {
        let token = self.import_tokens.open(request.token).filter(|token| token.key == id);
        let token = token.ok_or_else(|| {
            Error::InvalidImportToken("The import token is not one of this key, or was altered.".into())
        })?;
        if token.valid_to <= self.core.now() {
            return Err(Error::ExpiredImportToken(format!(
                "The import token expired on {}.",
                token.valid_to
            )));
        }
        let wrapping_type = token.spec.key_type().ok_or_else(|| {
            Error::InvalidImportToken("The import token is for a wrapping key that is none.".into())
        })?;
        let wrapping_key = PrivateKey::from_pkcs8(wrapping_type, token.private_key.expose())?;
        let secret = transport::unwrap(&wrapping_key, token.algorithm.wrapping(), request.encrypted)
            .map_err(|error| match error {
                asymmetric::Error::BadCiphertext => Error::InvalidCiphertext,
                other => other.into(),
            })?;
        let material_id = identify(id, spec, &secret)?;
        Ok((secret, material_id))
    }
}

/// Says whether material of a key of this spec can be wrapped so: RSA keys are too long for RSA, and private keys on
/// P-521 for RSA of 2048 bits.
fn check_wrapping(spec: KeySpec, wrapping: KeySpec, algorithm: WrappingAlgorithm) -> Result<()> {
    let directly = matches!(algorithm, WrappingAlgorithm::RsaesOaepSha1 | WrappingAlgorithm::RsaesOaepSha256);
    let too_long = match spec {
        KeySpec::P521 => wrapping == KeySpec::Rsa2048,
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => true,
        KeySpec::MlKem512 | KeySpec::MlKem768 | KeySpec::MlKem1024 => true,
        _ => spec.is_rsa(),
    };
    match directly && too_long {
        false => Ok(()),
        true => Err(Error::Validation(format!(
            "WrappingAlgorithm {algorithm} with WrappingKeySpec {wrapping} cannot be used to import key material of \
             key spec {spec}: choose an RSA_AES_KEY_WRAP algorithm."
        ))),
    }
}

/// When the material expires, if the request makes sense.
fn check_expiration(request: &ImportKeyMaterial<'_>, now: Timestamp) -> Result<Option<Timestamp>> {
    let invalid = |message: &str| Err(Error::Validation(message.into()));
    match (request.expiration.unwrap_or(ExpirationModel::Expires), request.valid_to) {
        (ExpirationModel::DoesNotExpire, None) => Ok(None),
        (ExpirationModel::DoesNotExpire, Some(_)) => {
            invalid("A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")
        }
        (ExpirationModel::Expires, None) => {
            invalid("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
        }
        (ExpirationModel::Expires, Some(date)) if date <= now => {
            invalid("The validTo date must be in the future.")
        }
        (ExpirationModel::Expires, Some(date)) if date > now + EXPIRY_MAX => {
            invalid("The validTo date must be within 365 days.")
        }
        (ExpirationModel::Expires, Some(date)) => Ok(Some(crate::kms::clock::to_millis(date))),
    }
}

/// The id of imported material, if it is such as a key of this spec may have.
fn identify(key: KeyId, spec: KeySpec, secret: &SecretBytes) -> Result<MaterialId> {
    let incorrect = |why: String| {
        Error::IncorrectKeyMaterial(format!("The key material is not that of a {spec} key: {why}"))
    };
    let of_length = |lengths: std::ops::RangeInclusive<usize>| match lengths.contains(&secret.len()) {
        true => Ok(MaterialId::of(key, secret.expose())),
        false => Err(incorrect(format!("it has {} bytes", secret.len()))),
    };
    let Some(key_type) = spec.key_type() else {
        return match spec.mac_algorithm() {
            Some(algorithm) => of_length(hmac::key_lengths(algorithm.hash())),
            None => of_length(KEY_LEN..=KEY_LEN),
        };
    };
    let pair = PrivateKey::from_pkcs8(key_type, secret.expose());
    let pair =
        pair.and_then(|pair| pair.check().map(|()| pair)).map_err(|error| incorrect(error.to_string()))?;
    Ok(MaterialId::of(key, pair.public_spki()))
}

/// The version that imported material is or becomes, and whether that waits for its rotation.
fn place(
    record: &KeyRecord,
    id: MaterialId,
    request: &ImportKeyMaterial<'_>,
    naming: Naming<'_>,
) -> Result<(u32, bool)> {
    let incorrect = |why: &str| Err(Error::IncorrectKeyMaterial(format!("{} {why}", naming.key(record.id))));
    let invalid = |why: &str| Err(Error::Validation(why.into()));
    let symmetric = record.spec.is_symmetric();
    if !symmetric && (request.description.is_some() || request.material_id.is_some()) {
        return invalid("KeyMaterialDescription and KeyMaterialId are for symmetric encryption keys only.");
    }
    if let Some(text) = request.material_id {
        if request.import_type == Some(ImportType::New) {
            return invalid("KeyMaterialId cannot be specified with the ImportType NEW_KEY_MATERIAL.");
        }
        if find_material(record, text, naming)?.id != id {
            return incorrect("has other key material of this KeyMaterialId.");
        }
    }
    let is_first = record.materials.is_empty();
    let default = if is_first { ImportType::New } else { ImportType::Existing };
    let known = record.materials.iter().find(|material| material.id == id);
    match (request.import_type.unwrap_or(default), known) {
        (ImportType::Existing, Some(material)) => {
            Ok((material.version, material.rotation == RotationType::Pending))
        }
        (ImportType::Existing, None) => incorrect("was made with other key material; it takes only that."),
        (ImportType::New, Some(_)) => incorrect("has had this key material already."),
        (ImportType::New, None) if is_first => Ok((1, false)),
        (ImportType::New, None) if !symmetric => {
            incorrect("is no symmetric encryption key: its key material cannot be changed.")
        }
        (ImportType::New, None) if record.pending().is_some() => Err(Error::InvalidState(format!(
            "{} has key material that is pending rotation.",
            naming.key(record.id)
        ))),
        (ImportType::New, None) => {
            Ok((record.materials.last().map_or(1, |material| material.version + 1), true))
        }
    }
}

/// The material of a key that `text` names.
fn find_material<'a>(record: &'a KeyRecord, text: &str, naming: Naming<'_>) -> Result<&'a MaterialInfo> {
    let id = MaterialId::parse(text);
    let found = record.materials.iter().find(|material| Some(material.id) == id);
    found.ok_or_else(|| Error::NotFound(format!("{} has no key material '{text}'.", naming.key(record.id))))
}
