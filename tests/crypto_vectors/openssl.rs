//! `openssl` as a second opinion: each side reads the other's keys, verifies its signatures, decrypts what it encrypted.
//!
//! Left out because the `openssl` of today's distributions has no command for it: Ed25519ph, ML-DSA and ML-KEM.

use std::fs;
use std::process::Command;

use kmsfs::crypto::Hash;
use kmsfs::crypto::asymmetric::{KeyType, Message, OaepHash, PrivateKey, PublicKey, SignatureScheme};
use kmsfs::crypto::transport::{Wrapping, unwrap};
use tempfile::TempDir;

use crate::tools::{ok, tool};

const TYPES: [KeyType; 8] = [
    KeyType::Rsa2048,
    KeyType::Rsa3072,
    KeyType::Rsa4096,
    KeyType::P256,
    KeyType::P384,
    KeyType::P521,
    KeyType::Secp256k1,
    KeyType::Ed25519,
];

/// A directory in which `openssl` runs.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(TempDir::new().unwrap())
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(tool("openssl"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command
    }

    fn openssl(&self, arguments: &str) {
        ok(&mut self.command(arguments));
    }

    fn refuses(&self, arguments: &str) -> bool {
        !self.command(arguments).output().unwrap().status.success()
    }

    /// A key pair that `openssl` made, as `key.der`, and its public half as `pub.der`.
    fn make_key(&self, key_type: KeyType) -> PrivateKey {
        let how = match key_type {
            KeyType::Rsa2048 => "RSA -pkeyopt rsa_keygen_bits:2048",
            KeyType::Rsa3072 => "RSA -pkeyopt rsa_keygen_bits:3072",
            KeyType::Rsa4096 => "RSA -pkeyopt rsa_keygen_bits:4096",
            KeyType::P256 => "EC -pkeyopt ec_paramgen_curve:P-256",
            KeyType::P384 => "EC -pkeyopt ec_paramgen_curve:P-384",
            KeyType::P521 => "EC -pkeyopt ec_paramgen_curve:P-521",
            KeyType::Secp256k1 => "EC -pkeyopt ec_paramgen_curve:secp256k1",
            KeyType::Ed25519 => "ED25519",
            _ => panic!("openssl makes no {key_type} keys"),
        };
        self.openssl(&format!("genpkey -quiet -algorithm {how} -out key.pem"));
        self.openssl("pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.der");
        self.openssl("pkey -inform DER -in key.der -pubout -outform DER -out pub.der");
        PrivateKey::from_pkcs8(key_type, &self.get("key.der")).unwrap()
    }
}

/// Options of `openssl pkeyutl` that sign or verify the file `message` with a scheme.
fn options(scheme: SignatureScheme) -> String {
    let (padding, hash) = match scheme {
        SignatureScheme::RsaPss(hash) => {
            (" -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest", hash)
        }
        SignatureScheme::RsaPkcs1(hash) => (" -pkeyopt rsa_padding_mode:pkcs1", hash),
        SignatureScheme::Ecdsa(hash) => ("", hash),
        _ => return String::from("-rawin"),
    };
    let digest = match hash {
        Hash::Sha224 => "sha224",
        Hash::Sha256 => "sha256",
        Hash::Sha384 => "sha384",
        Hash::Sha512 => "sha512",
    };
    format!("-rawin -digest {digest}{padding}")
}

#[test]
fn openssl_reads_our_public_keys_and_writes_them_alike() {
    let bench = Bench::new();
    for key_type in TYPES {
        let key = crate::fresh(key_type);
        bench.put("pub.der", key.public_spki());
        bench.openssl("pkey -pubin -inform DER -in pub.der -pubout -outform DER -out again.der");
        assert_eq!(bench.get("again.der"), key.public_spki(), "{key_type}");
    }
}

#[test]
fn openssl_reads_our_private_keys() {
    let bench = Bench::new();
    for key_type in TYPES {
        let pkcs8 = PrivateKey::generate(key_type).unwrap();
        bench.put("key.der", pkcs8.expose());
        bench.openssl("pkey -inform DER -in key.der -check -noout");
        bench.openssl("pkey -inform DER -in key.der -pubout -outform DER -out pub.der");
        let ours = PrivateKey::from_pkcs8(key_type, pkcs8.expose()).unwrap();
        assert_eq!(bench.get("pub.der"), ours.public_spki(), "{key_type}");
    }
}

#[test]
fn openssl_verifies_our_signatures_and_we_verify_its() {
    let bench = Bench::new();
    bench.put("message", b"what is signed");
    bench.put("other", b"something else");
    let message = Message::Raw(b"what is signed");
    for key_type in TYPES {
        let key = bench.make_key(key_type);
        assert_eq!(key.public_spki(), bench.get("pub.der"), "{key_type}");
        for &scheme in key_type.signature_schemes() {
            if scheme == SignatureScheme::Ed25519ph {
                continue;
            }
            let options = options(scheme);
            let verify = format!(
                "pkeyutl -verify -pubin -keyform DER -inkey pub.der -sigfile signature {options} -in"
            );
            bench.put("signature", &key.sign(scheme, message).unwrap());
            bench.openssl(&format!("{verify} message"));
            assert!(bench.refuses(&format!("{verify} other")), "{key_type}, {scheme}");

            bench.openssl(&format!(
                "pkeyutl -sign -keyform DER -inkey key.der {options} -in message -out signature"
            ));
            let public = PublicKey::from_spki(key_type, &bench.get("pub.der")).unwrap();
            assert_eq!(
                public.verify(scheme, message, &bench.get("signature")),
                Ok(()),
                "{key_type}, {scheme}"
            );
        }
    }
}

/// Options of `openssl pkeyutl` for RSAES-OAEP.
fn oaep(hash: OaepHash) -> &'static str {
    match hash {
        OaepHash::Sha1 => "-pkeyopt rsa_padding_mode:oaep",
        OaepHash::Sha256 => {
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256"
        }
    }
}

#[test]
fn openssl_decrypts_what_we_encrypt_and_we_what_it_does() {
    let bench = Bench::new();
    let key = bench.make_key(KeyType::Rsa3072);
    for hash in [OaepHash::Sha1, OaepHash::Sha256] {
        bench.put("sealed", &key.public().encrypt_oaep(hash, b"from here").unwrap());
        let options = oaep(hash);
        bench.openssl(&format!(
            "pkeyutl -decrypt -keyform DER -inkey key.der {options} -in sealed -out plain"
        ));
        assert_eq!(bench.get("plain"), b"from here");

        bench.put("plain", b"from there");
        bench.openssl(&format!(
            "pkeyutl -encrypt -pubin -keyform DER -inkey pub.der {options} -in plain -out sealed"
        ));
        assert_eq!(key.decrypt_oaep(hash, &bench.get("sealed")).unwrap().expose(), b"from there");
    }
}

#[test]
fn openssl_and_we_agree_on_the_same_secret() {
    let bench = Bench::new();
    for key_type in [KeyType::P256, KeyType::P384, KeyType::P521] {
        bench.make_key(key_type);
        let ours = crate::fresh(key_type);
        bench.put("peer.der", ours.public_spki());
        bench.openssl(
            "pkeyutl -derive -keyform DER -inkey key.der -peerform DER -peerkey peer.der -out secret",
        );
        let secret = ours.agree(&bench.get("pub.der")).unwrap();
        assert_eq!(secret.expose(), bench.get("secret"), "{key_type}");
    }
}

#[test]
fn material_wrapped_with_openssl_arrives() {
    let bench = Bench::new();
    let wrapping_key = crate::fresh(KeyType::Rsa2048);
    let material = PrivateKey::generate(KeyType::P384).unwrap();
    bench.put("pub.der", wrapping_key.public_spki());
    bench.put("aes", &[0x42; 32]);
    bench.put("material", material.expose());
    for hash in [OaepHash::Sha1, OaepHash::Sha256] {
        let options = oaep(hash);
        bench.openssl(&format!(
            "pkeyutl -encrypt -pubin -keyform DER -inkey pub.der {options} -in aes -out head"
        ));
        // The 4 bytes that RFC 5649 begins with; openssl takes them as the initialization vector.
        let key = "42".repeat(32);
        bench.openssl(&format!("enc -id-aes256-wrap-pad -K {key} -iv A65959A6 -in material -out tail"));
        let wrapped = [bench.get("head"), bench.get("tail")].concat();
        assert_eq!(unwrap(&wrapping_key, Wrapping::OaepAesKeyWrap(hash), &wrapped).unwrap(), material);
        let direct = unwrap(&wrapping_key, Wrapping::Oaep(hash), &bench.get("head")).unwrap();
        assert_eq!(direct.expose(), [0x42; 32]);
    }
}
