"""Encryption with symmetric keys: contexts, data keys, key material that rotates, random bytes."""

from datetime import datetime, timedelta, timezone

import pytest

from conftest import fails, new_key, pages

CONTEXT = {"purpose": "test", "ü": "Ω", "empty": ""}


def test_what_was_encrypted_decrypts_without_a_key_id(kms, key):
    for plaintext in (b"x", bytes(range(256)), b"\0" * 4096):
        sealed = kms.encrypt(KeyId=key, Plaintext=plaintext, EncryptionContext=CONTEXT)
        assert sealed["KeyId"].endswith(f":key/{key}")
        assert sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
        opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=dict(reversed(CONTEXT.items())))
        assert opened["Plaintext"] == plaintext and opened["KeyId"] == sealed["KeyId"]
        assert opened["KeyMaterialId"] == kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    with fails("ValidationException", "plaintext"):
        kms.encrypt(KeyId=key, Plaintext=b"\0" * 4097)


@pytest.mark.parametrize(
    "context", [{}, {"purpose": "test"}, {**CONTEXT, "more": "x"}, {**CONTEXT, "purpose": "Test"}]
)
def test_another_context_opens_nothing(kms, key, context):
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain", EncryptionContext=CONTEXT)["CiphertextBlob"]
    with fails("InvalidCiphertextException", "^$"):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)


def test_altered_ciphertexts_are_refused(kms, key):
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    for wrong in (blob[:-1], blob + b"\0", blob[:-1] + bytes([blob[-1] ^ 1]), b"nonsense", b"\0" * 200):
        with fails("InvalidCiphertextException", "^$"):
            kms.decrypt(CiphertextBlob=wrong)


def test_a_ciphertext_of_another_key_is_refused_by_name(kms, key):
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    other = new_key(kms)
    with fails("IncorrectKeyException"):
        kms.decrypt(CiphertextBlob=blob, KeyId=other)
    assert kms.decrypt(CiphertextBlob=blob, KeyId=key)["Plaintext"] == b"plain"
    with fails("NotFoundException"):
        kms.decrypt(CiphertextBlob=blob, KeyId="alias/nobody")


def test_a_ciphertext_moves_to_another_key_and_context(kms, key):
    other = new_key(kms)
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain", EncryptionContext=CONTEXT)["CiphertextBlob"]
    moved = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=other,
        DestinationEncryptionContext={"a": "b"},
    )
    assert moved["SourceKeyId"].endswith(key) and moved["KeyId"].endswith(other)
    assert moved["SourceEncryptionAlgorithm"] == moved["DestinationEncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    assert moved["SourceKeyMaterialId"] != moved["DestinationKeyMaterialId"]
    opened = kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"a": "b"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"plain", moved["KeyId"])
    with fails("InvalidCiphertextException"):
        kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=other)
    with fails("IncorrectKeyException"):
        kms.re_encrypt(
            CiphertextBlob=blob, SourceKeyId=other, SourceEncryptionContext=CONTEXT, DestinationKeyId=other
        )


@pytest.mark.parametrize(
    "size, length", [({"KeySpec": "AES_128"}, 16), ({"KeySpec": "AES_256"}, 32), ({"NumberOfBytes": 1024}, 1024)]
)
def test_data_keys_come_in_plain_and_sealed(kms, key, size, length):
    made = kms.generate_data_key(KeyId=key, EncryptionContext=CONTEXT, **size)
    assert len(made["Plaintext"]) == length and made["KeyId"].endswith(key)
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == made["Plaintext"] and opened["KeyMaterialId"] == made["KeyMaterialId"]
    sealed = kms.generate_data_key_without_plaintext(KeyId=key, EncryptionContext=CONTEXT, **size)
    assert "Plaintext" not in sealed
    opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert len(opened["Plaintext"]) == length and opened["Plaintext"] != made["Plaintext"]


def test_data_keys_need_one_size(kms, key):
    for size in ({}, {"KeySpec": "AES_256", "NumberOfBytes": 32}):
        with fails("ValidationException"):
            kms.generate_data_key(KeyId=key, **size)
    with fails("ValidationException", "numberOfBytes"):
        kms.generate_data_key(KeyId=key, NumberOfBytes=1025)


def test_random_bytes_are_as_many_as_asked_for(kms):
    for count in (1, 32, 1024):
        assert len(kms.generate_random(NumberOfBytes=count)["Plaintext"]) == count
    assert kms.generate_random(NumberOfBytes=32)["Plaintext"] != kms.generate_random(NumberOfBytes=32)["Plaintext"]
    with fails("ValidationException", "numberOfBytes"):
        kms.generate_random(NumberOfBytes=1025)


def test_material_rotates_and_old_ciphertexts_still_open(kms, key):
    first = kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    old = kms.encrypt(KeyId=key, Plaintext=b"old")["CiphertextBlob"]
    for _ in range(3):
        assert kms.rotate_key_on_demand(KeyId=key)["KeyId"].endswith(key)
    current = kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    opened = kms.decrypt(CiphertextBlob=old)
    assert opened["Plaintext"] == b"old" and opened["KeyMaterialId"] == first != current
    new = kms.encrypt(KeyId=key, Plaintext=b"new")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=new)["KeyMaterialId"] == current
    rotations = pages(kms, "list_key_rotations", KeyId=key)
    assert [rotation["RotationType"] for rotation in rotations] == ["ON_DEMAND"] * 3
    every = pages(kms, "list_key_rotations", KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")
    materials = {entry["KeyMaterialId"]: entry["KeyMaterialState"] for entry in every}
    assert len(materials) == 4 and first in materials
    assert [material for material, state in materials.items() if state == "CURRENT"] == [current]
    moved = kms.re_encrypt(CiphertextBlob=old, DestinationKeyId=key)
    assert (moved["SourceKeyMaterialId"], moved["DestinationKeyMaterialId"]) == (first, current)


def test_rotation_by_date_is_switched(kms, raw, key):
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=key)
    status = kms.get_key_rotation_status(KeyId=key)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 365)
    in_a_year = datetime.now(timezone.utc) + timedelta(days=365)
    assert abs(status["NextRotationDate"] - in_a_year) < timedelta(days=2)
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    assert kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"] == 90
    kms.disable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    for days in (89, 2561):
        with fails("ValidationException", "rotationPeriodInDays"):
            raw.enable_key_rotation(KeyId=key, RotationPeriodInDays=days)


def test_only_symmetric_keys_rotate(kms):
    signing = new_key(kms, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    for call in (kms.enable_key_rotation, kms.rotate_key_on_demand):
        with fails("UnsupportedOperationException"):
            call(KeyId=signing)


def test_a_dry_run_says_what_would_be(kms, key):
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    for call, parameters in (
        (kms.encrypt, {"KeyId": key, "Plaintext": b"plain"}),
        (kms.decrypt, {"CiphertextBlob": blob}),
        (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
        (kms.generate_data_key_without_plaintext, {"KeyId": key, "KeySpec": "AES_256"}),
        (kms.re_encrypt, {"CiphertextBlob": blob, "DestinationKeyId": key}),
    ):
        with fails("DryRunOperationException", "would have succeeded"):
            call(DryRun=True, **parameters)
    kms.disable_key(KeyId=key)
    with fails("DisabledException"):
        kms.encrypt(KeyId=key, Plaintext=b"plain", DryRun=True)


def test_keys_for_something_else_encrypt_nothing(kms):
    mac = new_key(kms, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    with fails("InvalidKeyUsageException"):
        kms.encrypt(KeyId=mac, Plaintext=b"plain")
    with fails("InvalidKeyUsageException"):
        kms.generate_data_key(KeyId=mac, KeySpec="AES_256")
