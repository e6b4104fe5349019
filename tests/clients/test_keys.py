"""Keys: made, described, listed, disabled, deleted, named, tagged."""

import re
from datetime import datetime, timedelta, timezone

import pytest

from conftest import ACCOUNT, REGION, fails, new_key, pages, state_of

OAEP = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
RSA = [f"RSASSA_{padding}_SHA_{bits}" for padding in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)]
KINDS = [
    ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", ["SYMMETRIC_DEFAULT"]),
    *((f"RSA_{bits}", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", OAEP) for bits in (2048, 3072, 4096)),
    *((f"RSA_{bits}", "SIGN_VERIFY", "SigningAlgorithms", RSA) for bits in (2048, 3072, 4096)),
    ("ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_256"]),
    ("ECC_NIST_P384", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_384"]),
    ("ECC_NIST_P521", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_512"]),
    ("ECC_SECG_P256K1", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_256"]),
    ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "SigningAlgorithms", ["ED25519_PH_SHA_512", "ED25519_SHA_512"]),
    *((f"ECC_NIST_P{bits}", "KEY_AGREEMENT", "KeyAgreementAlgorithms", ["ECDH"]) for bits in (256, 384, 521)),
    *((f"HMAC_{bits}", "GENERATE_VERIFY_MAC", "MacAlgorithms", [f"HMAC_SHA_{bits}"]) for bits in (224, 256, 384, 512)),
    *((f"ML_DSA_{set}", "SIGN_VERIFY", "SigningAlgorithms", ["ML_DSA_SHAKE_256"]) for set in (44, 65, 87)),
    *(
        (f"ML_KEM_{set}", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", ["ML_KEM"])
        for set in (512, 768, 1024)
    ),
]


def test_a_key_by_default_is_symmetric_and_enabled(kms):
    before = datetime.now(timezone.utc) - timedelta(seconds=5)
    metadata = kms.create_key()["KeyMetadata"]
    key = metadata["KeyId"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", key)
    assert before <= metadata.pop("CreationDate") <= datetime.now(timezone.utc) + timedelta(seconds=5)
    assert re.fullmatch(r"[0-9a-f]{64}", metadata.pop("CurrentKeyMaterialId"))
    assert metadata == {
        "AWSAccountId": ACCOUNT,
        "Arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key}",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "Description": "",
        "Enabled": True,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "KeyId": key,
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "MultiRegion": False,
        "Origin": "AWS_KMS",
    }


@pytest.mark.parametrize("spec, usage, algorithms, names", KINDS)
def test_every_kind_of_key_names_its_algorithms(kms, spec, usage, algorithms, names):
    metadata = kms.create_key(KeySpec=spec, KeyUsage=usage, Description=spec)["KeyMetadata"]
    assert (metadata["KeySpec"], metadata["KeyUsage"], metadata["Description"]) == (spec, usage, spec)
    assert sorted(metadata[algorithms]) == sorted(names)
    assert [member for member in metadata if member.endswith("Algorithms")] == [algorithms]
    assert kms.describe_key(KeyId=metadata["KeyId"])["KeyMetadata"] == metadata


@pytest.mark.parametrize(
    "spec, usage",
    [
        ("SYMMETRIC_DEFAULT", "SIGN_VERIFY"),
        ("RSA_2048", "KEY_AGREEMENT"),
        ("RSA_2048", "GENERATE_VERIFY_MAC"),
        ("ECC_NIST_P256", "ENCRYPT_DECRYPT"),
        ("ECC_SECG_P256K1", "KEY_AGREEMENT"),
        ("ECC_NIST_EDWARDS25519", "KEY_AGREEMENT"),
        ("HMAC_256", "ENCRYPT_DECRYPT"),
    ],
)
def test_keys_are_not_made_for_what_they_cannot_do(kms, spec, usage):
    with fails("ValidationException", "not compatible"):
        kms.create_key(KeySpec=spec, KeyUsage=usage)


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P256", "HMAC_256"])
def test_a_key_that_is_not_symmetric_needs_a_usage(kms, spec):
    with fails("ValidationException"):
        kms.create_key(KeySpec=spec)


def test_what_is_not_served_is_refused_by_name(kms):
    with fails("UnsupportedOperationException"):
        kms.create_key(MultiRegion=True)
    with fails("UnsupportedOperationException"):
        kms.create_key(KeySpec="SM2", KeyUsage="SIGN_VERIFY")
    with fails("UnsupportedOperationException"):
        kms.describe_custom_key_stores()
    with fails("UnsupportedOperationException"):
        kms.replicate_key(KeyId="1234abcd-12ab-34cd-56ef-1234567890ab", ReplicaRegion="eu-west-1")


def test_a_key_has_four_names(kms, key):
    kms.create_alias(AliasName=f"alias/{key}", TargetKeyId=key)
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:"
    for name in (key, f"{arn}key/{key}", f"alias/{key}", f"{arn}alias/{key}"):
        assert kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == key


def test_keys_that_do_not_exist_are_not_found(kms):
    missing = "1234abcd-12ab-34cd-56ef-1234567890ab"
    for name in (missing, f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{missing}", "alias/nobody"):
        with fails("NotFoundException", missing if missing in name else "nobody"):
            kms.describe_key(KeyId=name)
    with fails("NotFoundException"):
        kms.describe_key(KeyId=f"arn:aws:kms:{REGION}:999999999999:key/{missing}")


def test_management_refuses_aliases(kms, key):
    kms.create_alias(AliasName=f"alias/m-{key}", TargetKeyId=key)
    for call in (
        kms.disable_key,
        kms.enable_key,
        kms.enable_key_rotation,
        kms.schedule_key_deletion,
        kms.get_key_policy,
        kms.list_resource_tags,
    ):
        with fails("NotFoundException", "alias/m-"):
            call(KeyId=f"alias/m-{key}")
    assert state_of(kms, key) == "Enabled"


def test_a_disabled_key_does_nothing_until_it_is_enabled(kms, key):
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    metadata = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (metadata["KeyState"], metadata["Enabled"]) == ("Disabled", False)
    with fails("DisabledException", "is disabled"):
        kms.encrypt(KeyId=key, Plaintext=b"plain")
    with fails("DisabledException"):
        kms.decrypt(CiphertextBlob=blob)
    with fails("DisabledException"):
        kms.enable_key_rotation(KeyId=key)
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"


def test_deletion_is_scheduled_and_cancelled(kms, key):
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    in_a_week = datetime.now(timezone.utc) + timedelta(days=7)
    assert answer["KeyState"] == "PendingDeletion"
    assert answer["PendingWindowInDays"] == 7
    assert answer["KeyId"].endswith(f":key/{key}")
    assert abs(answer["DeletionDate"] - in_a_week) < timedelta(minutes=5)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["DeletionDate"] == answer["DeletionDate"]
    for call in (kms.enable_key, kms.disable_key, kms.enable_key_rotation, kms.schedule_key_deletion):
        with fails("KMSInvalidStateException", "pending deletion"):
            call(KeyId=key)
    with fails("KMSInvalidStateException", "pending deletion"):
        kms.encrypt(KeyId=key, Plaintext=b"plain")
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"].endswith(f":key/{key}")
    metadata = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert metadata["KeyState"] == "Disabled" and "DeletionDate" not in metadata
    with fails("KMSInvalidStateException"):
        kms.cancel_key_deletion(KeyId=key)


@pytest.mark.parametrize("days", [1, 6, 31, 365])
def test_deletion_waits_from_7_to_30_days(kms, key, days):
    with fails("ValidationException"):
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=days)
    assert state_of(kms, key) == "Enabled"


def test_deletion_waits_30_days_by_default(kms, key):
    assert kms.schedule_key_deletion(KeyId=key)["PendingWindowInDays"] == 30


def test_descriptions_change(kms, key):
    kms.update_key_description(KeyId=key, Description="new ü")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "new ü"
    kms.update_key_description(KeyId=key, Description="")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == ""
    with fails("ValidationException", "description"):
        kms.update_key_description(KeyId=key, Description="x" * 8193)


def test_keys_are_listed_page_by_page(kms):
    made = {new_key(kms) for _ in range(5)}
    listed = pages(kms, "list_keys")
    ids = [entry["KeyId"] for entry in listed]
    assert made <= set(ids) and len(ids) == len(set(ids))
    assert all(entry["KeyArn"].endswith(f":key/{entry['KeyId']}") for entry in listed)
    first = kms.list_keys(Limit=2)
    assert len(first["Keys"]) == 2 and first["Truncated"] and first["NextMarker"]
    everything = kms.list_keys(Limit=1000)
    assert not everything["Truncated"] and "NextMarker" not in everything
    with fails("InvalidMarkerException"):
        kms.list_keys(Marker="nonsense")
    with fails("ValidationException", "limit"):
        kms.list_keys(Limit=1001)


def test_tags_come_and_go(kms):
    tags = [{"TagKey": f"k{i}", "TagValue": f"v{i}"} for i in range(5)]
    key = new_key(kms, Tags=tags[:3])
    kms.tag_resource(KeyId=key, Tags=tags[3:])
    assert sorted(pages(kms, "list_resource_tags", KeyId=key), key=lambda tag: tag["TagKey"]) == tags
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "k0", "TagValue": "another"}])
    kms.untag_resource(KeyId=key, TagKeys=["k1", "k2", "k3", "k4", "never"])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "k0", "TagValue": "another"}]


def test_wrong_tags_are_refused(kms, key):
    with fails("TagException"):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": "aws:x", "TagValue": ""}])
    with fails("TagException"):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": ""}] * 2)
    with fails("ValidationException", "tagKey"):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": "x" * 129, "TagValue": ""}])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == []


def test_an_alias_names_one_key_after_another(kms, key):
    other, name = new_key(kms), f"alias/a/{key}_x-1"
    kms.create_alias(AliasName=name, TargetKeyId=key)
    blob = kms.encrypt(KeyId=name, Plaintext=b"plain")["CiphertextBlob"]
    with fails("AlreadyExistsException", name):
        kms.create_alias(AliasName=name, TargetKeyId=other)
    [listed] = kms.list_aliases(KeyId=key)["Aliases"]
    assert listed["AliasName"] == name and listed["TargetKeyId"] == key
    assert listed["AliasArn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}"
    assert listed["CreationDate"] == listed["LastUpdatedDate"]
    kms.update_alias(AliasName=name, TargetKeyId=other)
    assert kms.list_aliases(KeyId=key)["Aliases"] == []
    assert kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == other
    assert kms.decrypt(CiphertextBlob=blob)["KeyId"].endswith(key)
    with fails("IncorrectKeyException"):
        kms.decrypt(KeyId=name, CiphertextBlob=blob)
    kms.delete_alias(AliasName=name)
    with fails("NotFoundException", name):
        kms.delete_alias(AliasName=name)
    with fails("NotFoundException"):
        kms.update_alias(AliasName=name, TargetKeyId=key)


def test_aliases_are_listed_page_by_page(kms, key):
    made = {f"alias/l{i}-{key}" for i in range(5)}
    for name in made:
        kms.create_alias(AliasName=name, TargetKeyId=key)
    assert {alias["AliasName"] for alias in pages(kms, "list_aliases", KeyId=key)} == made
    assert made <= {alias["AliasName"] for alias in pages(kms, "list_aliases")}


def test_aliases_have_rules(kms, key):
    with fails("ValidationException"):
        kms.create_alias(AliasName="noprefix", TargetKeyId=key)
    with fails("ValidationException"):
        kms.create_alias(AliasName="alias/with space", TargetKeyId=key)
    with fails("NotAuthorizedException"):
        kms.create_alias(AliasName="alias/aws/mine", TargetKeyId=key)
    with fails("NotFoundException"):
        kms.create_alias(AliasName=f"alias/x-{key}", TargetKeyId="1234abcd-12ab-34cd-56ef-1234567890ab")
    signing = new_key(kms, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    kms.create_alias(AliasName=f"alias/x-{key}", TargetKeyId=key)
    with fails("ValidationException"):
        kms.update_alias(AliasName=f"alias/x-{key}", TargetKeyId=signing)
    kms.schedule_key_deletion(KeyId=signing)
    with fails("KMSInvalidStateException"):
        kms.create_alias(AliasName=f"alias/y-{key}", TargetKeyId=signing)


def test_the_last_use_of_a_key_is_known(kms, key):
    before = kms.get_key_last_usage(KeyId=key)
    assert before["KeyId"].endswith(key) and not before.get("KeyLastUsage")
    assert before["TrackingStartDate"] <= datetime.now(timezone.utc)
    kms.encrypt(KeyId=key, Plaintext=b"plain")
    after = kms.get_key_last_usage(KeyId=key)
    assert after["KeyLastUsage"]["Operation"] == "Encrypt"
    assert after["KeyLastUsage"]["Timestamp"] >= after["KeyCreationDate"]
