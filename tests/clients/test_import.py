"""Key material that somebody brings: wrapped here with `openssl`, as AWS's guide has it."""

import os
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from conftest import fails, new_key, state_of

OAEP = {
    "1": ["-pkeyopt", "rsa_padding_mode:oaep"],
    "256": "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256".split(),
}
FOREVER = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def wrap(directory, parameters, algorithm, material):
    """What an owner of key material sends, made with `openssl` in a directory."""
    (directory / "pub.der").write_bytes(parameters["PublicKey"])
    encrypt = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "pub.der", *OAEP[algorithm[algorithm.rindex("_") + 1 :]]]
    if algorithm.startswith("RSAES"):
        (directory / "plain").write_bytes(material)
        openssl(directory, *encrypt, "-in", "plain", "-out", "wrapped")
        return (directory / "wrapped").read_bytes()
    key = os.urandom(32)
    (directory / "aes").write_bytes(key)
    (directory / "plain").write_bytes(material)
    openssl(directory, *encrypt, "-in", "aes", "-out", "head")
    openssl(directory, "enc", "-id-aes256-wrap-pad", "-K", key.hex(), "-iv", "A65959A6", "-in", "plain", "-out", "tail")
    return (directory / "head").read_bytes() + (directory / "tail").read_bytes()


def bring(kms, directory, key, material, algorithm="RSA_AES_KEY_WRAP_SHA_256", spec="RSA_2048", **more):
    """Imports key material."""
    parameters = kms.get_parameters_for_import(KeyId=key, WrappingAlgorithm=algorithm, WrappingKeySpec=spec)
    in_a_day = datetime.now(timezone.utc) + timedelta(days=1)
    assert abs(parameters["ParametersValidTo"] - in_a_day) < timedelta(minutes=5)
    return kms.import_key_material(
        KeyId=key,
        ImportToken=parameters["ImportToken"],
        EncryptedKeyMaterial=wrap(directory, parameters, algorithm, material),
        **(more or FOREVER),
    )


def pkcs8(private):
    return private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize("spec", ["RSA_2048", "RSA_3072", "RSA_4096"])
@pytest.mark.parametrize(
    "algorithm", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"]
)
def test_symmetric_material_arrives_wrapped_either_way(kms, tmp_path, algorithm, spec):
    key = new_key(kms, Origin="EXTERNAL")
    assert state_of(kms, key) == "PendingImport"
    bring(kms, tmp_path, key, os.urandom(32), algorithm, spec)
    metadata = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (metadata["KeyState"], metadata["Origin"]) == ("Enabled", "EXTERNAL")
    assert metadata["ExpirationModel"] == "KEY_MATERIAL_DOES_NOT_EXPIRE"
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"


def test_a_key_waiting_for_its_material_does_nothing(kms):
    key = new_key(kms, Origin="EXTERNAL")
    with fails("KMSInvalidStateException", "pending import"):
        kms.encrypt(KeyId=key, Plaintext=b"plain")
    with fails("KMSInvalidStateException"):
        kms.disable_key(KeyId=key)
    with fails("UnsupportedOperationException"):
        kms.enable_key_rotation(KeyId=key)


def test_deleted_material_comes_back_only_as_it_was(kms, tmp_path):
    key, material = new_key(kms, Origin="EXTERNAL"), os.urandom(32)
    bring(kms, tmp_path, key, material)
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    kms.delete_imported_key_material(KeyId=key)
    assert state_of(kms, key) == "PendingImport"
    with fails("KMSInvalidStateException"):
        kms.decrypt(CiphertextBlob=blob)
    with fails("IncorrectKeyMaterialException"):
        bring(kms, tmp_path, key, os.urandom(32))
    bring(kms, tmp_path, key, material)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"


def test_material_may_expire(kms, tmp_path):
    key = new_key(kms, Origin="EXTERNAL")
    until = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=2)
    bring(kms, tmp_path, key, os.urandom(32), ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=until)
    metadata = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (metadata["ExpirationModel"], metadata["ValidTo"]) == ("KEY_MATERIAL_EXPIRES", until)
    with fails("ValidationException"):
        bring(
            kms, tmp_path, key, os.urandom(32), ExpirationModel="KEY_MATERIAL_EXPIRES",
            ValidTo=datetime.now(timezone.utc) - timedelta(days=1),
        )


def test_tokens_belong_to_their_key_and_wrapped_material_to_its_token(kms, tmp_path):
    key, other = new_key(kms, Origin="EXTERNAL"), new_key(kms, Origin="EXTERNAL")
    ask = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
    mine, theirs = (kms.get_parameters_for_import(KeyId=each, **ask) for each in (key, other))
    wrapped = wrap(tmp_path, mine, "RSAES_OAEP_SHA_256", os.urandom(32))
    with fails("InvalidImportTokenException"):
        kms.import_key_material(KeyId=other, ImportToken=mine["ImportToken"], EncryptedKeyMaterial=wrapped, **FOREVER)
    with fails("InvalidImportTokenException"):
        kms.import_key_material(KeyId=key, ImportToken=b"nonsense", EncryptedKeyMaterial=wrapped, **FOREVER)
    with fails("InvalidCiphertextException"):
        kms.import_key_material(
            KeyId=other, ImportToken=theirs["ImportToken"], EncryptedKeyMaterial=wrapped, **FOREVER
        )
    kms.import_key_material(KeyId=key, ImportToken=mine["ImportToken"], EncryptedKeyMaterial=wrapped, **FOREVER)
    with fails("UnsupportedOperationException"):
        kms.get_parameters_for_import(KeyId=new_key(kms), **ask)


@pytest.mark.parametrize("length", [16, 31, 33, 64])
def test_symmetric_material_has_32_bytes(kms, tmp_path, length):
    key = new_key(kms, Origin="EXTERNAL")
    with fails("IncorrectKeyMaterialException"):
        bring(kms, tmp_path, key, os.urandom(length))
    assert state_of(kms, key) == "PendingImport"


@pytest.mark.parametrize(
    "spec, algorithm, make",
    [
        ("RSA_2048", "RSASSA_PSS_SHA_256", lambda: rsa.generate_private_key(65537, 2048)),
        ("ECC_NIST_P256", "ECDSA_SHA_256", lambda: ec.generate_private_key(ec.SECP256R1())),
        ("ECC_NIST_P521", "ECDSA_SHA_512", lambda: ec.generate_private_key(ec.SECP521R1())),
        ("ECC_SECG_P256K1", "ECDSA_SHA_256", lambda: ec.generate_private_key(ec.SECP256K1())),
        ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512", ed25519.Ed25519PrivateKey.generate),
    ],
)
def test_private_keys_are_imported(kms, tmp_path, spec, algorithm, make):
    key, private = new_key(kms, KeySpec=spec, KeyUsage="SIGN_VERIFY", Origin="EXTERNAL"), make()
    with fails("KMSInvalidStateException"):
        kms.get_public_key(KeyId=key)
    with fails("IncorrectKeyMaterialException"):
        bring(kms, tmp_path, key, pkcs8(private)[:-1])
    bring(kms, tmp_path, key, pkcs8(private))
    public = kms.get_public_key(KeyId=key)["PublicKey"]
    spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    assert public == private.public_key().public_bytes(*spki)
    signature = kms.sign(KeyId=key, Message=b"message", SigningAlgorithm=algorithm)["Signature"]
    if spec.startswith("ECC_NIST_P") or spec == "ECC_SECG_P256K1":
        hash = hashes.SHA512() if algorithm.endswith("512") else hashes.SHA256()
        private.public_key().verify(signature, b"message", ec.ECDSA(hash))
    assert kms.verify(KeyId=key, Message=b"message", Signature=signature, SigningAlgorithm=algorithm)["SignatureValid"]


def test_a_private_key_of_another_kind_is_refused(kms, tmp_path):
    key = new_key(kms, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Origin="EXTERNAL")
    for private in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        with fails("IncorrectKeyMaterialException"):
            bring(kms, tmp_path, key, pkcs8(private))
