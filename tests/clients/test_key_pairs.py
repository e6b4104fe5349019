"""Key pairs: what is signed, encrypted or agreed here means the same to `cryptography` (OpenSSL) outside."""

import hashlib

import nacl.bindings
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, padding

from conftest import fails, new_key

HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}
CURVES = {"ECC_NIST_P256": 256, "ECC_NIST_P384": 384, "ECC_NIST_P521": 512, "ECC_SECG_P256K1": 256}
RSA_SPECS = ["RSA_2048", "RSA_3072", "RSA_4096"]
PAIR_SPECS = [*RSA_SPECS, *CURVES, "ECC_NIST_EDWARDS25519"]
MESSAGE = b"what is signed"


def signing_algorithms():
    """Every spec with each of its algorithms that hash with SHA-2, and the hash."""
    for spec in RSA_SPECS:
        for bits in HASHES:
            yield spec, f"RSASSA_PSS_SHA_{bits}", bits
            yield spec, f"RSASSA_PKCS1_V1_5_SHA_{bits}", bits
    for spec, bits in CURVES.items():
        yield spec, f"ECDSA_SHA_{bits}", bits


@pytest.fixture(scope="module")
def signing_keys(kms):
    """A key for each spec, made when it is first asked for."""
    made = {}

    def get(spec):
        if spec not in made:
            made[spec] = new_key(kms, KeySpec=spec, KeyUsage="SIGN_VERIFY")
        return made[spec]

    return get


def public_key(kms, key):
    return serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])


def verify_outside(public, algorithm, hash, signature):
    """Checks a signature of MESSAGE with `cryptography`."""
    if algorithm.startswith("ECDSA"):
        public.verify(signature, MESSAGE, ec.ECDSA(hash))
    elif algorithm.startswith("RSASSA_PSS"):
        public.verify(signature, MESSAGE, padding.PSS(padding.MGF1(hash), hash.digest_size), hash)
    else:
        public.verify(signature, MESSAGE, padding.PKCS1v15(), hash)


@pytest.mark.parametrize("spec, algorithm, bits", list(signing_algorithms()))
def test_signatures_verify_outside(kms, signing_keys, spec, algorithm, bits):
    key, hash = signing_keys(spec), HASHES[bits]
    digest = hashlib.new(f"sha{bits}", MESSAGE).digest()
    public = public_key(kms, key)
    for message, kind in ((MESSAGE, "RAW"), (digest, "DIGEST")):
        signed = kms.sign(KeyId=key, Message=message, MessageType=kind, SigningAlgorithm=algorithm)
        assert signed["KeyId"].endswith(key) and signed["SigningAlgorithm"] == algorithm
        verify_outside(public, algorithm, hash, signed["Signature"])
        for again, again_kind in ((MESSAGE, "RAW"), (digest, "DIGEST")):
            answer = kms.verify(
                KeyId=key,
                Message=again,
                MessageType=again_kind,
                Signature=signed["Signature"],
                SigningAlgorithm=algorithm,
            )
            assert answer["SignatureValid"] is True and answer["SigningAlgorithm"] == algorithm
        with fails("KMSInvalidSignatureException", "^$"):
            kms.verify(
                KeyId=key, Message=b"other", Signature=signed["Signature"], SigningAlgorithm=algorithm
            )


def test_ed25519_signatures_verify_outside(kms, signing_keys):
    key = signing_keys("ECC_NIST_EDWARDS25519")
    public = public_key(kms, key)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    arguments = {"KeyId": key, "Message": MESSAGE, "SigningAlgorithm": "ED25519_SHA_512"}
    signature = kms.sign(**arguments)["Signature"]
    public.verify(signature, MESSAGE)
    assert kms.verify(Signature=signature, **arguments)["SignatureValid"]
    with fails("KMSInvalidSignatureException"):
        kms.verify(Signature=signature, **{**arguments, "Message": b"other"})
    with fails("ValidationException"):
        kms.sign(MessageType="DIGEST", **{**arguments, "Message": b"\0" * 64})


def test_ed25519ph_takes_the_digest_for_the_message(kms, signing_keys):
    """AWS KMS wants a digest, and hashes it once more."""
    key = signing_keys("ECC_NIST_EDWARDS25519")
    digest = hashlib.sha512(MESSAGE).digest()
    arguments = {"KeyId": key, "Message": digest, "SigningAlgorithm": "ED25519_PH_SHA_512"}
    signature = kms.sign(MessageType="DIGEST", **arguments)["Signature"]
    raw = public_key(kms, key).public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    state = nacl.bindings.crypto_sign_ed25519ph_state()
    nacl.bindings.crypto_sign_ed25519ph_update(state, digest)
    assert nacl.bindings.crypto_sign_ed25519ph_final_verify(state, signature, raw)
    assert kms.verify(MessageType="DIGEST", Signature=signature, **arguments)["SignatureValid"]
    with fails("ValidationException"):
        kms.sign(MessageType="RAW", **arguments)


@pytest.mark.parametrize("spec", ["ML_DSA_44", "ML_DSA_65", "ML_DSA_87"])
def test_ml_dsa_signatures_verify_outside(kms, signing_keys, spec):
    key = signing_keys(spec)
    public = public_key(kms, key)
    # FIPS 204, section 5.2 and algorithm 7: the public key, an empty context and the message.
    mu = hashlib.shake_256(hashlib.shake_256(public.public_bytes_raw()).digest(64) + b"\0\0" + MESSAGE).digest(64)
    arguments = {"KeyId": key, "SigningAlgorithm": "ML_DSA_SHAKE_256"}
    for message, kind in ((MESSAGE, "RAW"), (mu, "EXTERNAL_MU")):
        signature = kms.sign(Message=message, MessageType=kind, **arguments)["Signature"]
        public.verify(signature, MESSAGE)
        for again, again_kind in ((MESSAGE, "RAW"), (mu, "EXTERNAL_MU")):
            assert kms.verify(Message=again, MessageType=again_kind, Signature=signature, **arguments)["SignatureValid"]
        with fails("KMSInvalidSignatureException"):
            kms.verify(Message=b"other", Signature=signature, **arguments)
    with fails("ValidationException"):
        kms.sign(Message=mu[1:], MessageType="EXTERNAL_MU", **arguments)
    with fails("ValidationException"):
        kms.sign(Message=mu, MessageType="DIGEST", **arguments)


def test_sign_and_verify_have_rules(kms, signing_keys, key):
    p256, rsa_2048 = signing_keys("ECC_NIST_P256"), signing_keys("RSA_2048")
    with fails("ValidationException", "[Dd]igest is invalid length"):
        kms.sign(KeyId=p256, Message=b"\0" * 31, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
    for wrong, algorithm in ((p256, "ECDSA_SHA_384"), (p256, "RSASSA_PSS_SHA_256"), (rsa_2048, "ECDSA_SHA_256")):
        with fails("InvalidKeyUsageException"):
            kms.sign(KeyId=wrong, Message=MESSAGE, SigningAlgorithm=algorithm)
    with fails("InvalidKeyUsageException"):
        kms.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256")
    with fails("ValidationException", "message"):
        kms.sign(KeyId=p256, Message=b"\0" * 4097, SigningAlgorithm="ECDSA_SHA_256")
    with fails("DryRunOperationException"):
        kms.sign(KeyId=p256, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256", DryRun=True)
    signature = kms.sign(KeyId=p256, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    with fails("DryRunOperationException"):
        kms.verify(
            KeyId=p256, Message=MESSAGE, Signature=signature, SigningAlgorithm="ECDSA_SHA_256", DryRun=True
        )


def test_get_public_key_describes_the_key(kms, signing_keys, key):
    answer = kms.get_public_key(KeyId=signing_keys("RSA_2048"))
    assert (answer["KeySpec"], answer["KeyUsage"]) == ("RSA_2048", "SIGN_VERIFY")
    assert answer["CustomerMasterKeySpec"] == "RSA_2048" and len(answer["SigningAlgorithms"]) == 6
    assert "EncryptionAlgorithms" not in answer
    assert serialization.load_der_public_key(answer["PublicKey"]).key_size == 2048
    with fails("UnsupportedOperationException"):
        kms.get_public_key(KeyId=key)


@pytest.mark.parametrize("spec", RSA_SPECS)
def test_rsa_ciphertexts_go_both_ways(kms, spec):
    key = new_key(kms, KeySpec=spec, KeyUsage="ENCRYPT_DECRYPT")
    public = public_key(kms, key)
    for hash, algorithm in ((hashes.SHA1(), "RSAES_OAEP_SHA_1"), (hashes.SHA256(), "RSAES_OAEP_SHA_256")):
        oaep = padding.OAEP(padding.MGF1(hash), hash, None)
        arguments = {"KeyId": key, "EncryptionAlgorithm": algorithm}
        sealed = public.encrypt(b"from outside", oaep)
        opened = kms.decrypt(CiphertextBlob=sealed, **arguments)
        assert opened["Plaintext"] == b"from outside" and opened["EncryptionAlgorithm"] == algorithm
        longest = b"x" * (public.key_size // 8 - 2 * hash.digest_size - 2)
        sealed = kms.encrypt(Plaintext=longest, **arguments)["CiphertextBlob"]
        assert len(sealed) == public.key_size // 8
        assert kms.decrypt(CiphertextBlob=sealed, **arguments)["Plaintext"] == longest
        with fails("ValidationException"):
            kms.encrypt(Plaintext=longest + b"x", **arguments)
        with fails("InvalidCiphertextException", "^$"):
            kms.decrypt(CiphertextBlob=sealed[:-1] + bytes([sealed[-1] ^ 1]), **arguments)


def test_rsa_keys_encrypt_without_a_context_and_by_name(kms, key):
    rsa_key = new_key(kms, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    arguments = {"KeyId": rsa_key, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    with fails("ValidationException"):
        kms.encrypt(Plaintext=b"plain", EncryptionContext={"a": "b"}, **arguments)
    with fails("InvalidKeyUsageException"):
        kms.encrypt(KeyId=rsa_key, Plaintext=b"plain")
    with fails("InvalidKeyUsageException"):
        kms.generate_data_key(KeyId=rsa_key, KeySpec="AES_256")
    sealed = kms.encrypt(Plaintext=b"plain", **arguments)["CiphertextBlob"]
    with fails("ValidationException"):
        kms.decrypt(CiphertextBlob=sealed, EncryptionAlgorithm="RSAES_OAEP_SHA_256")
    moved = kms.re_encrypt(
        CiphertextBlob=sealed,
        SourceKeyId=rsa_key,
        SourceEncryptionAlgorithm="RSAES_OAEP_SHA_256",
        DestinationKeyId=key,
        DestinationEncryptionContext={"a": "b"},
    )
    assert moved["SourceEncryptionAlgorithm"] == "RSAES_OAEP_SHA_256"
    opened = kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"a": "b"})
    assert opened["Plaintext"] == b"plain"


@pytest.mark.parametrize("spec", PAIR_SPECS)
def test_data_key_pairs_work_outside(kms, key, spec):
    context = {"pair": spec}
    made = kms.generate_data_key_pair(KeyId=key, KeyPairSpec=spec, EncryptionContext=context)
    assert made["KeyPairSpec"] == spec and made["KeyId"].endswith(key)
    private = serialization.load_der_private_key(made["PrivateKeyPlaintext"], None)
    spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    assert private.public_key().public_bytes(*spki) == made["PublicKey"]
    opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=context)
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    sealed = kms.generate_data_key_pair_without_plaintext(
        KeyId=key, KeyPairSpec=spec, EncryptionContext=context
    )
    assert "PrivateKeyPlaintext" not in sealed
    opened = kms.decrypt(CiphertextBlob=sealed["PrivateKeyCiphertextBlob"], EncryptionContext=context)
    private = serialization.load_der_private_key(opened["Plaintext"], None)
    assert private.public_key().public_bytes(*spki) == sealed["PublicKey"] != made["PublicKey"]


@pytest.mark.parametrize(
    "spec, curve", [("ECC_NIST_P256", ec.SECP256R1()), ("ECC_NIST_P384", ec.SECP384R1()), ("ECC_NIST_P521", ec.SECP521R1())]
)
def test_secrets_are_agreed_with_the_outside(kms, spec, curve):
    key = new_key(kms, KeySpec=spec, KeyUsage="KEY_AGREEMENT")
    private = ec.generate_private_key(curve)
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    arguments = {"KeyId": key, "KeyAgreementAlgorithm": "ECDH"}
    answer = kms.derive_shared_secret(PublicKey=spki, **arguments)
    assert answer["SharedSecret"] == private.exchange(ec.ECDH(), public_key(kms, key))
    assert (answer["KeyAgreementAlgorithm"], answer["KeyOrigin"]) == ("ECDH", "AWS_KMS")
    for wrong in (b"nonsense", spki[:-1], kms.get_public_key(KeyId=new_key(kms, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY"))["PublicKey"]):
        with fails("ValidationException"):
            kms.derive_shared_secret(PublicKey=wrong, **arguments)
    with fails("InvalidKeyUsageException"):
        kms.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256")


@pytest.mark.parametrize("spec", ["ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"])
def test_secrets_are_encapsulated_for_the_outside_and_from_it(kms, spec):
    key = new_key(kms, KeySpec=spec, KeyUsage="ENCAPSULATE_DECAPSULATE")
    arguments = {"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"}
    made = kms.encapsulate(**arguments)
    assert len(made["SharedSecret"]) == 32 and made["EncapsulationAlgorithm"] == "ML_KEM"
    blob = made["SharedSecretCiphertextBlob"]
    assert kms.decapsulate(SharedSecretCiphertextBlob=blob, **arguments)["SharedSecret"] == made["SharedSecret"]
    altered = blob[:-1] + bytes([blob[-1] ^ 1])
    other = kms.decapsulate(SharedSecretCiphertextBlob=altered, **arguments)["SharedSecret"]
    assert other != made["SharedSecret"]
    with fails("InvalidCiphertextException"):
        kms.decapsulate(SharedSecretCiphertextBlob=blob[:-1], **arguments)
    if spec == "ML_KEM_512":
        return  # `cryptography` has no such keys.
    secret, sealed = public_key(kms, key).encapsulate()
    assert kms.decapsulate(SharedSecretCiphertextBlob=sealed, **arguments)["SharedSecret"] == secret


def test_encapsulation_keys_are_made_as_data_key_pairs(kms, key):
    made = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ML_KEM_768")
    private = serialization.load_der_private_key(made["PrivateKeyPlaintext"], None)
    assert isinstance(private, mlkem.MLKEM768PrivateKey)
    secret, sealed = serialization.load_der_public_key(made["PublicKey"]).encapsulate()
    assert private.decapsulate(sealed) == secret
