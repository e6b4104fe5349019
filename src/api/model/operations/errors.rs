//! Names of errors.

pub(super) const ALREADY_EXISTS: &str = "AlreadyExistsException";
pub(super) const CONFLICT: &str = "ConflictException";
pub(super) const DEPENDENCY_TIMEOUT: &str = "DependencyTimeoutException";
pub(super) const DISABLED: &str = "DisabledException";
pub(super) const DRY_RUN_OPERATION: &str = "DryRunOperationException";
pub(super) const EXPIRED_IMPORT_TOKEN: &str = "ExpiredImportTokenException";
pub(super) const INCORRECT_KEY: &str = "IncorrectKeyException";
pub(super) const INCORRECT_KEY_MATERIAL: &str = "IncorrectKeyMaterialException";
pub(super) const INVALID_ALIAS_NAME: &str = "InvalidAliasNameException";
pub(super) const INVALID_ARN: &str = "InvalidArnException";
pub(super) const INVALID_CIPHERTEXT: &str = "InvalidCiphertextException";
pub(super) const INVALID_GRANT_ID: &str = "InvalidGrantIdException";
pub(super) const INVALID_GRANT_TOKEN: &str = "InvalidGrantTokenException";
pub(super) const INVALID_IMPORT_TOKEN: &str = "InvalidImportTokenException";
pub(super) const INVALID_KEY_USAGE: &str = "InvalidKeyUsageException";
pub(super) const INVALID_MARKER: &str = "InvalidMarkerException";
pub(super) const KMS_INTERNAL: &str = "KMSInternalException";
pub(super) const KMS_INVALID_MAC: &str = "KMSInvalidMacException";
pub(super) const KMS_INVALID_SIGNATURE: &str = "KMSInvalidSignatureException";
pub(super) const KMS_INVALID_STATE: &str = "KMSInvalidStateException";
pub(super) const KEY_UNAVAILABLE: &str = "KeyUnavailableException";
pub(super) const LIMIT_EXCEEDED: &str = "LimitExceededException";
pub(super) const MALFORMED_POLICY_DOCUMENT: &str = "MalformedPolicyDocumentException";
pub(super) const NOT_FOUND: &str = "NotFoundException";
pub(super) const TAG_EXCEPTION: &str = "TagException";
pub(super) const UNSUPPORTED_OPERATION: &str = "UnsupportedOperationException";
