//! Every operation that is served, called as a client calls it. In debug builds the service holds each answer against
//! the model and dies of a member that AWS's clients would not know; what the answers mean is tested beside the core.

use crate::client::base64;
use crate::server::Server;
use base64::Engine;
use kmsfs::api::operations::SERVED;
use kmsfs::crypto::asymmetric::{KeyType, OaepHash, PublicKey};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::Command;

/// A server, and the operations that succeeded on it.
struct Session {
    server: Server,
    called: RefCell<BTreeSet<String>>,
}

impl Session {
    fn new() -> Session {
        Session { server: Server::new(), called: RefCell::default() }
    }

    fn call(&self, operation: &str, body: Value) -> Value {
        let answer = self.server.call(operation, &body).ok();
        self.called.borrow_mut().insert(operation.to_owned());
        answer
    }

    /// The name of the error that the call ends with.
    fn refused(&self, operation: &str, body: Value) -> String {
        self.server.call(operation, &body).error().1
    }

    /// A new key's id.
    fn key(&self, spec: &str, usage: &str) -> String {
        let created = self.call("CreateKey", json!({"KeySpec": spec, "KeyUsage": usage}));
        let metadata = &created["KeyMetadata"];
        assert_eq!((&metadata["KeySpec"], &metadata["KeyUsage"]), (&json!(spec), &json!(usage)));
        metadata["KeyId"].as_str().unwrap().to_owned()
    }

    fn symmetric(&self) -> String {
        self.key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn keys(session: &Session) {
    let key = session.symmetric();
    let id = json!({"KeyId": key});
    session.call("UpdateKeyDescription", json!({"KeyId": key, "Description": "ä \"quoted\" \u{1}"}));
    let described = session.call("DescribeKey", id.clone());
    assert_eq!(described["KeyMetadata"]["Description"], "ä \"quoted\" \u{1}");
    assert_eq!(described["KeyMetadata"]["CurrentKeyMaterialId"].as_str().unwrap().len(), 64);
    session.call("DisableKey", id.clone());
    session.call("EnableKey", id.clone());
    session.call("TagResource", json!({"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": ""}]}));
    let tags = session.call("ListResourceTags", id.clone());
    assert_eq!(tags, json!({"Tags": [{"TagKey": "a", "TagValue": ""}], "Truncated": false}));
    session.call("UntagResource", json!({"KeyId": key, "TagKeys": ["a"]}));
    session.call("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 90}));
    let status = session.call("GetKeyRotationStatus", id.clone());
    assert_eq!((&status["KeyRotationEnabled"], &status["RotationPeriodInDays"]), (&json!(true), &json!(90)));
    session.call("DisableKeyRotation", id.clone());
    session.call("RotateKeyOnDemand", id.clone());
    let rotations =
        session.call("ListKeyRotations", json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}));
    assert_eq!(rotations["Rotations"].as_array().unwrap().len(), 2);
    assert!(session.call("GetKeyLastUsage", id.clone())["KeyLastUsage"].is_null());
    assert_eq!(session.call("ScheduleKeyDeletion", id.clone())["PendingWindowInDays"], 30);
    assert!(session.call("CancelKeyDeletion", id)["KeyId"].as_str().unwrap().ends_with(&key));
    assert!(!session.call("ListKeys", json!({}))["Keys"].as_array().unwrap().is_empty());
}

fn aliases(session: &Session) {
    let (first, second) = (session.symmetric(), session.symmetric());
    session.call("CreateAlias", json!({"AliasName": "alias/x", "TargetKeyId": first}));
    session.call("UpdateAlias", json!({"AliasName": "alias/x", "TargetKeyId": second}));
    let listed = session.call("ListAliases", json!({"KeyId": second}));
    assert_eq!(listed["Aliases"][0]["AliasName"], "alias/x");
    session.call("DeleteAlias", json!({"AliasName": "alias/x"}));
}

fn policies_and_grants(session: &Session) {
    let key = session.symmetric();
    session.server.user("bob");
    let policy = session.call("GetKeyPolicy", json!({"KeyId": key}));
    assert_eq!(policy["PolicyName"], "default");
    session.call("PutKeyPolicy", json!({"KeyId": key, "Policy": policy["Policy"]}));
    assert_eq!(session.call("ListKeyPolicies", json!({"KeyId": key}))["PolicyNames"], json!(["default"]));
    let bob = "arn:aws:iam::000000000000:user/bob";
    let request = json!({
        "KeyId": key, "GranteePrincipal": bob, "RetiringPrincipal": bob, "Operations": ["Decrypt", "Encrypt"],
        "Constraints": {"EncryptionContextSubset": {"a": "b"}}, "Name": "mine",
    });
    let grant = session.call("CreateGrant", request.clone());
    assert_eq!(session.call("CreateGrant", request.clone())["GrantId"], grant["GrantId"]);
    let listed = session.call("ListGrants", json!({"KeyId": key}));
    assert_eq!(listed["Grants"][0]["Constraints"], json!({"EncryptionContextSubset": {"a": "b"}}));
    let retirable = session.call("ListRetirableGrants", json!({"RetiringPrincipal": bob}));
    assert_eq!(retirable["Grants"].as_array().unwrap().len(), 1);
    session.call("RetireGrant", json!({"GrantToken": grant["GrantToken"]}));
    let again = session.call("CreateGrant", request);
    session.call("RevokeGrant", json!({"KeyId": key, "GrantId": again["GrantId"]}));
}

fn encryption(session: &Session) {
    let (key, other) = (session.symmetric(), session.symmetric());
    let context = json!({"a": "b"});
    let plaintext = base64(b"some bytes");
    let sealed =
        session.call("Encrypt", json!({"KeyId": key, "Plaintext": plaintext, "EncryptionContext": context}));
    let moved = session.call(
        "ReEncrypt",
        json!({
            "CiphertextBlob": sealed["CiphertextBlob"], "SourceEncryptionContext": context,
            "DestinationKeyId": other,
        }),
    );
    let opened = session.call("Decrypt", json!({"CiphertextBlob": moved["CiphertextBlob"], "KeyId": other}));
    assert_eq!((&opened["Plaintext"], &opened["KeyId"]), (&json!(plaintext), &moved["KeyId"]));
    assert_eq!(opened["KeyMaterialId"], moved["DestinationKeyMaterialId"]);
    let dry = json!({"CiphertextBlob": moved["CiphertextBlob"], "DryRun": true});
    assert_eq!(session.refused("Decrypt", dry), "DryRunOperationException");

    let made = session.call("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_128"}));
    assert_eq!(bytes(&made["Plaintext"]).len(), 16);
    session.call("GenerateDataKeyWithoutPlaintext", json!({"KeyId": key, "NumberOfBytes": 1024}));
    let both = json!({"KeyId": key, "NumberOfBytes": 16, "KeySpec": "AES_256"});
    assert_eq!(session.refused("GenerateDataKey", both), "ValidationException");
    let pair = session.call("GenerateDataKeyPair", json!({"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}));
    let private = session.call("Decrypt", json!({"CiphertextBlob": pair["PrivateKeyCiphertextBlob"]}));
    assert_eq!(private["Plaintext"], pair["PrivateKeyPlaintext"]);
    let spec = json!({"KeyId": key, "KeyPairSpec": "RSA_2048"});
    session.call("GenerateDataKeyPairWithoutPlaintext", spec);
    assert_eq!(bytes(&session.call("GenerateRandom", json!({"NumberOfBytes": 7}))["Plaintext"]).len(), 7);
    let attested = json!({"NumberOfBytes": 7, "Recipient": {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}});
    assert_eq!(session.refused("GenerateRandom", attested), "UnsupportedOperationException");
}

fn signatures_and_macs(session: &Session) {
    for (spec, algorithm) in [
        ("RSA_2048", "RSASSA_PSS_SHA_256"),
        ("ECC_NIST_P256", "ECDSA_SHA_256"),
        ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512"),
        ("ML_DSA_44", "ML_DSA_SHAKE_256"),
    ] {
        let key = session.key(spec, "SIGN_VERIFY");
        let message = json!({"KeyId": key, "Message": base64(b"message"), "SigningAlgorithm": algorithm});
        let mut signed = message.clone();
        signed["Signature"] = session.call("Sign", message)["Signature"].clone();
        assert_eq!(session.call("Verify", signed.clone())["SignatureValid"], true);
        signed["Message"] = base64(b"another").into();
        assert_eq!(session.refused("Verify", signed), "KMSInvalidSignatureException");
        let public = session.call("GetPublicKey", json!({"KeyId": key}));
        assert_eq!(public["KeySpec"], spec);
        assert!(public["SigningAlgorithms"].as_array().unwrap().contains(&json!(algorithm)));
    }
    let key = session.key("HMAC_256", "GENERATE_VERIFY_MAC");
    let mut mac = json!({"KeyId": key, "Message": base64(b"message"), "MacAlgorithm": "HMAC_SHA_256"});
    mac["Mac"] = session.call("GenerateMac", mac.clone())["Mac"].clone();
    assert_eq!(session.call("VerifyMac", mac.clone())["MacValid"], true);
    mac["Message"] = base64(b"another").into();
    assert_eq!(session.refused("VerifyMac", mac), "KMSInvalidMacException");
}

fn asymmetric_encryption_and_agreement(session: &Session) {
    let key = session.key("RSA_2048", "ENCRYPT_DECRYPT");
    let algorithm = "RSAES_OAEP_SHA_256";
    let sealed = session
        .call("Encrypt", json!({"KeyId": key, "Plaintext": base64(b"x"), "EncryptionAlgorithm": algorithm}));
    let opened = session.call(
        "Decrypt",
        json!({
            "KeyId": key, "CiphertextBlob": sealed["CiphertextBlob"], "EncryptionAlgorithm": algorithm,
        }),
    );
    assert_eq!(
        (&opened["Plaintext"], &opened["EncryptionAlgorithm"]),
        (&json!(base64(b"x")), &json!(algorithm))
    );

    let [ours, theirs] = [(), ()].map(|()| session.key("ECC_NIST_P384", "KEY_AGREEMENT"));
    let secret = |own: &str, peer: &str| {
        let public = session.call("GetPublicKey", json!({"KeyId": peer}))["PublicKey"].clone();
        let body = json!({"KeyId": own, "PublicKey": public, "KeyAgreementAlgorithm": "ECDH"});
        session.call("DeriveSharedSecret", body)["SharedSecret"].clone()
    };
    assert_eq!(secret(&ours, &theirs), secret(&theirs, &ours));

    let key = session.key("ML_KEM_768", "ENCAPSULATE_DECAPSULATE");
    let mut body = json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"});
    let made = session.call("Encapsulate", body.clone());
    body["SharedSecretCiphertextBlob"] = made["SharedSecretCiphertextBlob"].clone();
    assert_eq!(session.call("Decapsulate", body)["SharedSecret"], made["SharedSecret"]);
}

fn imports(session: &Session) {
    let created = session.call("CreateKey", json!({"Origin": "EXTERNAL"}));
    assert_eq!(created["KeyMetadata"]["KeyState"], "PendingImport");
    let key = created["KeyMetadata"]["KeyId"].clone();
    let parameters = session.call(
        "GetParametersForImport",
        json!({
            "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048",
        }),
    );
    let public = PublicKey::from_spki(KeyType::Rsa2048, &bytes(&parameters["PublicKey"])).unwrap();
    let wrapped = public.encrypt_oaep(OaepHash::Sha256, &[7; 32]).unwrap();
    let imported = session.call(
        "ImportKeyMaterial",
        json!({
            "KeyId": key, "ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": base64(&wrapped),
            "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE", "KeyMaterialDescription": "mine",
        }),
    );
    assert_eq!(imported["KeyMaterialId"].as_str().unwrap().len(), 64);
    let described = session.call("DescribeKey", json!({"KeyId": key}));
    assert_eq!(described["KeyMetadata"]["ExpirationModel"], "KEY_MATERIAL_DOES_NOT_EXPIRE");
    let rotations =
        session.call("ListKeyRotations", json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}));
    assert_eq!(rotations["Rotations"][0]["ImportState"], "IMPORTED");
    let deleted = session.call("DeleteImportedKeyMaterial", json!({"KeyId": key}));
    assert_eq!(deleted["KeyMaterialId"], imported["KeyMaterialId"]);
}

#[test]
fn every_operation_answers_as_the_model_says() {
    let session = Session::new();
    keys(&session);
    aliases(&session);
    policies_and_grants(&session);
    encryption(&session);
    signatures_and_macs(&session);
    asymmetric_encryption_and_agreement(&session);
    imports(&session);
    let served: BTreeSet<_> = SERVED.iter().map(|served| served.model.name.to_owned()).collect();
    assert_eq!(*session.called.borrow(), served, "each was called, and succeeded");
}

#[test]
fn public_keys_are_those_that_openssl_reads() {
    let session = Session::new();
    for spec in ["RSA_3072", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"] {
        let key = session.key(spec, "SIGN_VERIFY");
        let public = bytes(&session.call("GetPublicKey", json!({"KeyId": key}))["PublicKey"]);
        let file = session.server.dir.path().join(format!("{spec}.der"));
        std::fs::write(&file, public).unwrap();
        let mut read = Command::new("openssl");
        read.args(["pkey", "-pubin", "-inform", "DER", "-noout", "-in"]).arg(file);
        let read = read.output().expect("openssl is installed");
        assert!(read.status.success(), "{spec}: {read:?}");
    }
}
