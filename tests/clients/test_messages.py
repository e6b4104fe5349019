"""Errors in AWS KMS's own words: what people search for, and what programs have been known to look for."""

import pytest

from conftest import ACCOUNT, REGION, fails, new_key

ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/"
MISSING = "134f2428-cec1-4b25-a1ae-9048164dba47"


def says(code, message):
    """Expects an error with exactly this message."""
    return fails(code, "^" + "".join(f"\\{c}" if not c.isalnum() else c for c in message) + "$")


@pytest.fixture(scope="module")
def keys(kms):
    """A key of each usage."""
    kinds = {
        "ENCRYPT_DECRYPT": "SYMMETRIC_DEFAULT",
        "SIGN_VERIFY": "ECC_NIST_P256",
        "GENERATE_VERIFY_MAC": "HMAC_256",
        "KEY_AGREEMENT": "ECC_NIST_P384",
    }
    return {usage: new_key(kms, KeySpec=spec, KeyUsage=usage) for usage, spec in kinds.items()}


def test_of_keys_that_are_not_there(kms):
    for key in (MISSING, ARN + MISSING):
        with says("NotFoundException", f"Key '{ARN}{MISSING}' does not exist"):
            kms.describe_key(KeyId=key)
    for key in ("fake-key-id", MISSING.replace("-", "")):
        with says("NotFoundException", f"Invalid keyId '{key}'"):
            kms.describe_key(KeyId=key)
    with says("NotFoundException", "Invalid arn eu-central-1"):
        kms.describe_key(KeyId=(ARN + MISSING).replace(REGION, "eu-central-1"))
    with says("NotFoundException", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/nobody is not found."):
        kms.describe_key(KeyId="alias/nobody")


def test_of_usages_that_do_not_fit(kms, keys):
    wrong = "{} key usage is {} which is not valid for {}."
    symmetric, signing, mac = (ARN + keys[usage] for usage in ("ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC"))
    with says("InvalidKeyUsageException", wrong.format(symmetric, "ENCRYPT_DECRYPT", "GenerateMac")):
        kms.generate_mac(KeyId=symmetric, Message=b"m", MacAlgorithm="HMAC_SHA_256")
    with says("InvalidKeyUsageException", wrong.format(mac, "GENERATE_VERIFY_MAC", "Sign")):
        kms.sign(KeyId=mac, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")
    with says("InvalidKeyUsageException", wrong.format(symmetric, "ENCRYPT_DECRYPT", "Verify")):
        kms.verify(KeyId=symmetric, Message=b"m", Signature=b"s", SigningAlgorithm="ECDSA_SHA_256")
    with says("InvalidKeyUsageException", wrong.format(signing, "SIGN_VERIFY", "Encrypt")):
        kms.encrypt(KeyId=signing, Plaintext=b"p")
    with says("InvalidKeyUsageException", wrong.format(signing, "SIGN_VERIFY", "DeriveSharedSecret")):
        kms.derive_shared_secret(KeyId=signing, KeyAgreementAlgorithm="ECDH", PublicKey=b"k")
    blob = kms.encrypt(KeyId=symmetric, Plaintext=b"p")["CiphertextBlob"]
    cannot = "The key ID in the request does not identify a CMK that can perform this operation."
    for other in (mac, ARN + new_key(kms)):
        with says("IncorrectKeyException", cannot):
            kms.decrypt(KeyId=other, CiphertextBlob=blob)
    with says("IncorrectKeyException", cannot):
        kms.re_encrypt(SourceKeyId=ARN + new_key(kms), CiphertextBlob=blob, DestinationKeyId=symmetric)
    with says("InvalidKeyUsageException", "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256."):
        kms.generate_mac(KeyId=mac, Message=b"m", MacAlgorithm="HMAC_SHA_512")
    with says("ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"):
        kms.create_key(KeyUsage="KEY_AGREEMENT", KeySpec="RSA_2048")
    with says(
        "ValidationException",
        "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
    ):
        kms.create_key(KeySpec="HMAC_256")


def test_of_values_out_of_bounds(kms, raw, keys):
    bound = "1 validation error detected: Value {}at '{}' failed to satisfy constraint: Member must "
    with says("ValidationException", "NumberOfBytes is required."):
        kms.generate_random()
    with says(
        "ValidationException",
        bound.format("'0' ", "numberOfBytes") + "have value greater than or equal to 1",
    ):
        raw.generate_random(NumberOfBytes=0)
    with says(
        "ValidationException",
        bound.format("'1025' ", "numberOfBytes") + "have value less than or equal to 1024",
    ):
        raw.generate_random(NumberOfBytes=1025)
    with says(
        "ValidationException", bound.format("", "plaintext") + "have length less than or equal to 4096"
    ):
        kms.encrypt(KeyId=keys["ENCRYPT_DECRYPT"], Plaintext=b"\0" * 4097)
    with says(
        "ValidationException",
        bound.format("'INVALID' ", "keyAgreementAlgorithm") + "satisfy enum value set: [ECDH]",
    ):
        kms.derive_shared_secret(KeyId=keys["KEY_AGREEMENT"], KeyAgreementAlgorithm="INVALID", PublicKey=b"k")
    with says(
        "ValidationException",
        bound.format(f"'{'a' * 129}' ", "tags.1.member.tagKey") + "have length less than or equal to 128",
    ):
        raw.tag_resource(KeyId=keys["SIGN_VERIFY"], Tags=[{"TagKey": "a" * 129, "TagValue": ""}])
    with says("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256."):
        kms.sign(
            KeyId=keys["SIGN_VERIFY"], Message=b"short", MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256"
        )
    rsa = new_key(kms, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    for algorithm, most in (("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)):
        with says(
            "ValidationException",
            f"Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {most} bytes.",
        ):
            kms.encrypt(KeyId=rsa, Plaintext=b"\0" * (most + 1), EncryptionAlgorithm=algorithm)


def test_of_states_that_do_not_allow_it(kms, key):
    kms.disable_key(KeyId=key)
    with says("DisabledException", f"{ARN}{key} is disabled."):
        kms.rotate_key_on_demand(KeyId=key)
    kms.schedule_key_deletion(KeyId=key)
    with says("KMSInvalidStateException", f"{ARN}{key} is pending deletion."):
        kms.encrypt(KeyId=key, Plaintext=b"p")
    external = new_key(kms, Origin="EXTERNAL")
    with says("KMSInvalidStateException", f"{ARN}{external} is pending import."):
        kms.encrypt(KeyId=external, Plaintext=b"p")


def test_of_operations_that_do_not_fit(kms, key):
    with says("UnsupportedOperationException", f"{ARN}{key} origin is AWS_KMS which is not valid for this operation."):
        kms.get_parameters_for_import(
            KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
        )
    with says("NotFoundException", f"Grant ID {'0' * 64} not found"):
        kms.revoke_grant(KeyId=key, GrantId="0" * 64)
    with says("DryRunOperationException", "The request would have succeeded, but the DryRun option is set."):
        kms.encrypt(KeyId=key, Plaintext=b"p", DryRun=True)
    for _ in range(25):
        kms.rotate_key_on_demand(KeyId=key)
    with says(
        "LimitExceededException",
        "The on-demand rotations limit has been reached for the given keyId. "
        f"No more on-demand rotations can be performed for this key: {ARN}{key}",
    ):
        kms.rotate_key_on_demand(KeyId=key)


def test_of_names_and_tags(kms, key):
    guide = "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
    with says("ValidationException", f'Alias must start with the prefix "alias/". Please see {guide}'):
        kms.create_alias(AliasName="noprefix", TargetKeyId=key)
    with says("ValidationException", "alias/a:b contains invalid characters for an alias"):
        kms.create_alias(AliasName="alias/a:b", TargetKeyId=key)
    with says("ValidationException", "Aliases must refer to keys. Not aliases"):
        kms.create_alias(AliasName="alias/b", TargetKeyId="alias/a")
    with says("NotAuthorizedException", ""):
        kms.create_alias(AliasName="alias/aws/mine", TargetKeyId=key)
    twice = [{"TagKey": "a", "TagValue": "1"}, {"TagKey": "a", "TagValue": "2"}]
    with says("TagException", "Duplicate tag keys"):
        kms.create_key(Tags=twice)
    for prefix in ("aws:", "AWS:"):
        with says("TagException", "Tags beginning with aws: are reserved"):
            kms.tag_resource(KeyId=key, Tags=[{"TagKey": prefix + "x", "TagValue": ""}])
    many = [{"TagKey": f"k{i}", "TagValue": ""} for i in range(51)]
    with says("TagException", "Too many tags"):
        kms.create_key(Tags=many)
