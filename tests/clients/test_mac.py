"""HMACs, against Python's own."""

import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key

from conftest import fails, new_key

BITS = [224, 256, 384, 512]


@pytest.mark.parametrize("bits", BITS)
def test_macs_verify_whole_and_unaltered(kms, bits):
    key = new_key(kms, KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC")
    arguments = {"KeyId": key, "MacAlgorithm": f"HMAC_SHA_{bits}", "Message": b"message"}
    made = kms.generate_mac(**arguments)
    assert len(made["Mac"]) == bits // 8 and made["MacAlgorithm"] == f"HMAC_SHA_{bits}"
    assert kms.verify_mac(Mac=made["Mac"], **arguments)["MacValid"] is True
    for wrong in (made["Mac"][:-1], made["Mac"][:-1] + bytes([made["Mac"][-1] ^ 1])):
        with fails("KMSInvalidMacException", "^$"):
            kms.verify_mac(Mac=wrong, **arguments)
    with fails("KMSInvalidMacException"):
        kms.verify_mac(Mac=made["Mac"], **{**arguments, "Message": b"massage"})
    with fails("DryRunOperationException"):
        kms.generate_mac(DryRun=True, **arguments)


def test_mac_keys_have_one_algorithm(kms, key):
    mac = new_key(kms, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    with fails("InvalidKeyUsageException"):
        kms.generate_mac(KeyId=mac, Message=b"message", MacAlgorithm="HMAC_SHA_512")
    with fails("InvalidKeyUsageException"):
        kms.generate_mac(KeyId=key, Message=b"message", MacAlgorithm="HMAC_SHA_256")
    with fails("ValidationException", "message"):
        kms.generate_mac(KeyId=mac, Message=b"\0" * 4097, MacAlgorithm="HMAC_SHA_256")


@pytest.mark.parametrize("bits", BITS)
def test_macs_under_an_imported_key_are_those_of_the_world(kms, bits):
    key = new_key(kms, KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC", Origin="EXTERNAL")
    material = bytes(range(bits // 8))
    parameters = kms.get_parameters_for_import(
        KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
    )
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    kms.import_key_material(
        KeyId=key,
        ImportToken=parameters["ImportToken"],
        EncryptedKeyMaterial=load_der_public_key(parameters["PublicKey"]).encrypt(material, oaep),
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    made = kms.generate_mac(KeyId=key, Message=b"message", MacAlgorithm=f"HMAC_SHA_{bits}")
    assert made["Mac"] == hmac.new(material, b"message", f"sha{bits}").digest()
