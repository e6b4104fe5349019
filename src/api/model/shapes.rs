//! The shapes of members, by the names that AWS's model gives them.
//!
//! Values that this service never takes or returns (SM2, custom key stores, multi-Region keys) are here too:
//! a request that names them is well formed, and is refused for what it asks.

use super::{ANY, Shape, blob, list, optional, patterned, patterns, required, secret, text};

pub(in crate::api) static POLICY: Shape = patterned(1, 131072, &patterns::POLICY);
pub(in crate::api) static DESCRIPTION: Shape = text(0, 8192);
pub(in crate::api) static KEY_USAGE: Shape = Shape::Enum(&[
    "SIGN_VERIFY",
    "ENCRYPT_DECRYPT",
    "GENERATE_VERIFY_MAC",
    "KEY_AGREEMENT",
    "ENCAPSULATE_DECAPSULATE",
]);
pub(in crate::api) static CUSTOMER_MASTER_KEY_SPEC: Shape = Shape::Enum(&[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
]);
pub(in crate::api) static KEY_SPEC: Shape = Shape::Enum(&[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]);
pub(in crate::api) static ORIGIN: Shape =
    Shape::Enum(&["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]);
pub(in crate::api) static CUSTOM_KEY_STORE_ID: Shape = text(1, 64);
pub(in crate::api) static TAG_KEY: Shape = text(1, 128);
pub(in crate::api) static TAG_VALUE: Shape = text(0, 256);
pub(in crate::api) static TAG: Shape =
    Shape::Structure(&[required("TagKey", &TAG_KEY), required("TagValue", &TAG_VALUE)]);
pub(in crate::api) static TAG_LIST: Shape = list(&TAG, 0, ANY);
pub(in crate::api) static BOOLEAN: Shape = Shape::Boolean;
pub(in crate::api) static XKS_KEY_ID: Shape = patterned(1, 128, &patterns::XKS_KEY_ID);
pub(in crate::api) static AWS_ACCOUNT_ID: Shape = text(0, ANY);
pub(in crate::api) static KEY_ID: Shape = text(1, 2048);
pub(in crate::api) static ARN: Shape = text(20, 2048);
pub(in crate::api) static DATE: Shape = Shape::Timestamp;
pub(in crate::api) static KEY_STATE: Shape = Shape::Enum(&[
    "Creating",
    "Enabled",
    "Disabled",
    "PendingDeletion",
    "PendingImport",
    "PendingReplicaDeletion",
    "Unavailable",
    "Updating",
]);
pub(in crate::api) static CLOUD_HSM_CLUSTER_ID: Shape = patterned(19, 24, &patterns::CLOUD_HSM_CLUSTER);
pub(in crate::api) static EXPIRATION_MODEL: Shape =
    Shape::Enum(&["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"]);
pub(in crate::api) static KEY_MANAGER: Shape = Shape::Enum(&["AWS", "CUSTOMER"]);
pub(in crate::api) static ENCRYPTION_ALGORITHM_SPEC: Shape =
    Shape::Enum(&["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"]);
pub(in crate::api) static ENCRYPTION_ALGORITHM_SPEC_LIST: Shape = list(&ENCRYPTION_ALGORITHM_SPEC, 0, ANY);
pub(in crate::api) static SIGNING_ALGORITHM_SPEC: Shape = Shape::Enum(&[
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "ECDSA_SHA_256",
    "ECDSA_SHA_384",
    "ECDSA_SHA_512",
    "SM2DSA",
    "ML_DSA_SHAKE_256",
    "ED25519_SHA_512",
    "ED25519_PH_SHA_512",
]);
pub(in crate::api) static SIGNING_ALGORITHM_SPEC_LIST: Shape = list(&SIGNING_ALGORITHM_SPEC, 0, ANY);
pub(in crate::api) static KEY_AGREEMENT_ALGORITHM_SPEC: Shape = Shape::Enum(&["ECDH"]);
pub(in crate::api) static KEY_AGREEMENT_ALGORITHM_SPEC_LIST: Shape =
    list(&KEY_AGREEMENT_ALGORITHM_SPEC, 0, ANY);
pub(in crate::api) static ENCAPSULATION_ALGORITHM_SPEC: Shape = Shape::Enum(&["ML_KEM"]);
pub(in crate::api) static ENCAPSULATION_ALGORITHM_SPEC_LIST: Shape =
    list(&ENCAPSULATION_ALGORITHM_SPEC, 0, ANY);
pub(in crate::api) static MULTI_REGION_KEY_TYPE: Shape = Shape::Enum(&["PRIMARY", "REPLICA"]);
pub(in crate::api) static REGION: Shape = patterned(1, 32, &patterns::REGION);
pub(in crate::api) static MULTI_REGION_KEY: Shape =
    Shape::Structure(&[optional("Arn", &ARN), optional("Region", &REGION)]);
pub(in crate::api) static MULTI_REGION_KEY_LIST: Shape = list(&MULTI_REGION_KEY, 0, ANY);
pub(in crate::api) static MULTI_REGION_CONFIGURATION: Shape = Shape::Structure(&[
    optional("MultiRegionKeyType", &MULTI_REGION_KEY_TYPE),
    optional("PrimaryKey", &MULTI_REGION_KEY),
    optional("ReplicaKeys", &MULTI_REGION_KEY_LIST),
]);
pub(in crate::api) static PENDING_WINDOW_IN_DAYS: Shape = Shape::Integer { min: 1, max: 365 };
pub(in crate::api) static MAC_ALGORITHM_SPEC: Shape =
    Shape::Enum(&["HMAC_SHA_224", "HMAC_SHA_256", "HMAC_SHA_384", "HMAC_SHA_512"]);
pub(in crate::api) static MAC_ALGORITHM_SPEC_LIST: Shape = list(&MAC_ALGORITHM_SPEC, 0, ANY);
pub(in crate::api) static XKS_KEY_CONFIGURATION: Shape = Shape::Structure(&[optional("Id", &XKS_KEY_ID)]);
pub(in crate::api) static BACKING_KEY_ID: Shape = patterned(64, 64, &patterns::KEY_MATERIAL_ID);
pub(in crate::api) static KEY_METADATA: Shape = Shape::Structure(&[
    optional("AWSAccountId", &AWS_ACCOUNT_ID),
    required("KeyId", &KEY_ID),
    optional("Arn", &ARN),
    optional("CreationDate", &DATE),
    optional("Enabled", &BOOLEAN),
    optional("Description", &DESCRIPTION),
    optional("KeyUsage", &KEY_USAGE),
    optional("KeyState", &KEY_STATE),
    optional("DeletionDate", &DATE),
    optional("ValidTo", &DATE),
    optional("Origin", &ORIGIN),
    optional("CustomKeyStoreId", &CUSTOM_KEY_STORE_ID),
    optional("CloudHsmClusterId", &CLOUD_HSM_CLUSTER_ID),
    optional("ExpirationModel", &EXPIRATION_MODEL),
    optional("KeyManager", &KEY_MANAGER),
    optional("CustomerMasterKeySpec", &CUSTOMER_MASTER_KEY_SPEC),
    optional("KeySpec", &KEY_SPEC),
    optional("EncryptionAlgorithms", &ENCRYPTION_ALGORITHM_SPEC_LIST),
    optional("SigningAlgorithms", &SIGNING_ALGORITHM_SPEC_LIST),
    optional("KeyAgreementAlgorithms", &KEY_AGREEMENT_ALGORITHM_SPEC_LIST),
    optional("EncapsulationAlgorithms", &ENCAPSULATION_ALGORITHM_SPEC_LIST),
    optional("MultiRegion", &BOOLEAN),
    optional("MultiRegionConfiguration", &MULTI_REGION_CONFIGURATION),
    optional("PendingDeletionWindowInDays", &PENDING_WINDOW_IN_DAYS),
    optional("MacAlgorithms", &MAC_ALGORITHM_SPEC_LIST),
    optional("XksKeyConfiguration", &XKS_KEY_CONFIGURATION),
    optional("CurrentKeyMaterialId", &BACKING_KEY_ID),
]);
pub(in crate::api) static GRANT_TOKEN: Shape = text(1, 8192);
pub(in crate::api) static GRANT_TOKEN_LIST: Shape = list(&GRANT_TOKEN, 0, 10);
pub(in crate::api) static LIMIT: Shape = Shape::Integer { min: 1, max: 1000 };
pub(in crate::api) static MARKER: Shape = patterned(1, 1024, &patterns::MARKER);
pub(in crate::api) static RESOURCE_OWNER: Shape = Shape::Enum(&["SELF", "OTHER_ACCOUNTS_VIA_RAM"]);
pub(in crate::api) static RESOURCE_OWNERS_LIST: Shape = list(&RESOURCE_OWNER, 1, 2);
pub(in crate::api) static KEY_LIST_ENTRY: Shape =
    Shape::Structure(&[optional("KeyId", &KEY_ID), optional("KeyArn", &ARN)]);
pub(in crate::api) static KEY_LIST: Shape = list(&KEY_LIST_ENTRY, 0, ANY);
pub(in crate::api) static KEY_LAST_USAGE_TRACKING_OPERATION: Shape = Shape::Enum(&[
    "Decrypt",
    "DeriveSharedSecret",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "ReEncrypt",
    "Sign",
    "Verify",
    "VerifyMac",
    "Encapsulate",
    "Decapsulate",
]);
pub(in crate::api) static CLOUD_TRAIL_EVENT_ID: Shape = text(0, ANY);
pub(in crate::api) static KMS_REQUEST_ID: Shape = text(0, ANY);
pub(in crate::api) static KEY_LAST_USAGE_DATA: Shape = Shape::Structure(&[
    optional("Operation", &KEY_LAST_USAGE_TRACKING_OPERATION),
    optional("Timestamp", &DATE),
    optional("CloudTrailEventId", &CLOUD_TRAIL_EVENT_ID),
    optional("KmsRequestId", &KMS_REQUEST_ID),
]);
pub(in crate::api) static PLAINTEXT: Shape = secret(1, 4096);
pub(in crate::api) static ENCRYPTION_CONTEXT: Shape = Shape::Map;
pub(in crate::api) static CIPHERTEXT: Shape = blob(1, 6144);
pub(in crate::api) static KEY_ENCRYPTION_MECHANISM: Shape = Shape::Enum(&["RSAES_OAEP_SHA_256"]);
pub(in crate::api) static ATTESTATION_DOCUMENT: Shape = blob(1, 262144);
pub(in crate::api) static RECIPIENT_INFO: Shape = Shape::Structure(&[
    optional("KeyEncryptionAlgorithm", &KEY_ENCRYPTION_MECHANISM),
    optional("AttestationDocument", &ATTESTATION_DOCUMENT),
]);
pub(in crate::api) static DRY_RUN_MODIFIER: Shape = Shape::Enum(&["IGNORE_CIPHERTEXT"]);
pub(in crate::api) static DRY_RUN_MODIFIER_LIST: Shape = list(&DRY_RUN_MODIFIER, 0, ANY);
pub(in crate::api) static NUMBER_OF_BYTES: Shape = Shape::Integer { min: 1, max: 1024 };
pub(in crate::api) static DATA_KEY_SPEC: Shape = Shape::Enum(&["AES_256", "AES_128"]);
pub(in crate::api) static DATA_KEY_PAIR_SPEC: Shape = Shape::Enum(&[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SM2",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]);
pub(in crate::api) static PUBLIC_KEY: Shape = blob(1, 8192);
pub(in crate::api) static MESSAGE_TYPE: Shape = Shape::Enum(&["RAW", "DIGEST", "EXTERNAL_MU"]);
pub(in crate::api) static ALIAS_NAME: Shape = patterned(1, 256, &patterns::ALIAS_NAME);
pub(in crate::api) static ALIAS_LIST_ENTRY: Shape = Shape::Structure(&[
    optional("AliasName", &ALIAS_NAME),
    optional("AliasArn", &ARN),
    optional("TargetKeyId", &KEY_ID),
    optional("CreationDate", &DATE),
    optional("LastUpdatedDate", &DATE),
]);
pub(in crate::api) static ALIAS_LIST: Shape = list(&ALIAS_LIST_ENTRY, 0, ANY);
pub(in crate::api) static ROTATION_PERIOD_IN_DAYS: Shape = Shape::Integer { min: 90, max: 2560 };
pub(in crate::api) static INCLUDE_KEY_MATERIAL: Shape = Shape::Enum(&["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"]);
pub(in crate::api) static KEY_MATERIAL_DESCRIPTION: Shape =
    patterned(0, 256, &patterns::KEY_MATERIAL_DESCRIPTION);
pub(in crate::api) static IMPORT_STATE: Shape = Shape::Enum(&["IMPORTED", "PENDING_IMPORT"]);
pub(in crate::api) static KEY_MATERIAL_STATE: Shape =
    Shape::Enum(&["NON_CURRENT", "CURRENT", "PENDING_ROTATION", "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"]);
pub(in crate::api) static ROTATION_TYPE: Shape = Shape::Enum(&["AUTOMATIC", "ON_DEMAND"]);
pub(in crate::api) static ROTATIONS_LIST_ENTRY: Shape = Shape::Structure(&[
    optional("KeyId", &KEY_ID),
    optional("KeyMaterialId", &BACKING_KEY_ID),
    optional("KeyMaterialDescription", &KEY_MATERIAL_DESCRIPTION),
    optional("ImportState", &IMPORT_STATE),
    optional("KeyMaterialState", &KEY_MATERIAL_STATE),
    optional("ExpirationModel", &EXPIRATION_MODEL),
    optional("ValidTo", &DATE),
    optional("RotationDate", &DATE),
    optional("RotationType", &ROTATION_TYPE),
]);
pub(in crate::api) static ROTATIONS_LIST: Shape = list(&ROTATIONS_LIST_ENTRY, 0, ANY);
pub(in crate::api) static TAG_KEY_LIST: Shape = list(&TAG_KEY, 0, ANY);
pub(in crate::api) static POLICY_NAME: Shape = patterned(1, 128, &patterns::POLICY_NAME);
pub(in crate::api) static POLICY_NAME_LIST: Shape = list(&POLICY_NAME, 0, ANY);
pub(in crate::api) static PRINCIPAL_ID: Shape = patterned(1, 256, &patterns::PRINCIPAL);
pub(in crate::api) static GRANT_OPERATION: Shape = Shape::Enum(&[
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "Sign",
    "Verify",
    "GetPublicKey",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
    "Encapsulate",
    "Decapsulate",
]);
pub(in crate::api) static GRANT_OPERATION_LIST: Shape = list(&GRANT_OPERATION, 0, ANY);
pub(in crate::api) static GRANT_CONSTRAINT_SOURCE_ARN: Shape = patterned(20, 512, &patterns::SOURCE_ARN);
pub(in crate::api) static GRANT_CONSTRAINTS: Shape = Shape::Structure(&[
    optional("EncryptionContextSubset", &ENCRYPTION_CONTEXT),
    optional("EncryptionContextEquals", &ENCRYPTION_CONTEXT),
    optional("SourceArn", &GRANT_CONSTRAINT_SOURCE_ARN),
]);
pub(in crate::api) static GRANT_NAME: Shape = patterned(1, 256, &patterns::ALIAS_NAME);
pub(in crate::api) static SERVICE_PRINCIPAL: Shape = patterned(1, 128, &patterns::SERVICE_PRINCIPAL);
pub(in crate::api) static GRANT_ID: Shape = text(1, 128);
pub(in crate::api) static GRANT_LIST_ENTRY: Shape = Shape::Structure(&[
    optional("KeyId", &KEY_ID),
    optional("GrantId", &GRANT_ID),
    optional("Name", &GRANT_NAME),
    optional("CreationDate", &DATE),
    optional("GranteePrincipal", &PRINCIPAL_ID),
    optional("RetiringPrincipal", &PRINCIPAL_ID),
    optional("IssuingAccount", &PRINCIPAL_ID),
    optional("Operations", &GRANT_OPERATION_LIST),
    optional("Constraints", &GRANT_CONSTRAINTS),
    optional("GranteeServicePrincipal", &SERVICE_PRINCIPAL),
    optional("RetiringServicePrincipal", &SERVICE_PRINCIPAL),
]);
pub(in crate::api) static GRANT_LIST: Shape = list(&GRANT_LIST_ENTRY, 0, ANY);
pub(in crate::api) static ALGORITHM_SPEC: Shape = Shape::Enum(&[
    "RSAES_PKCS1_V1_5",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "RSA_AES_KEY_WRAP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_256",
    "SM2PKE",
]);
pub(in crate::api) static WRAPPING_KEY_SPEC: Shape =
    Shape::Enum(&["RSA_2048", "RSA_3072", "RSA_4096", "SM2"]);
pub(in crate::api) static IMPORT_TYPE: Shape = Shape::Enum(&["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"]);
pub(in crate::api) static BACKING_KEY_ID_RESPONSE: Shape = patterned(0, 64, &patterns::KEY_MATERIAL_ID);
