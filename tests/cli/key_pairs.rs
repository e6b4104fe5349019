//! Keys of other specs: signatures checked by openssl, MACs, RSA encryption, imported material.

use std::process::Command;

use crate::support::{Home, failed, text};

/// A new key's id.
fn key(home: &Home, args: &[&str]) -> String {
    let args: Vec<&str> = ["key", "create"].into_iter().chain(args.iter().copied()).collect();
    home.ok(&args).trim().to_owned()
}

/// Standard output of openssl, which succeeds.
fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn openssl_verifies_what_a_key_signs() {
    let home = Home::new();
    let message = home.secret_file("message", "to be signed");
    for (spec, options) in [
        ("RSA_2048", &["-sigopt", "rsa_padding_mode:pss"][..]),
        ("ECC_NIST_P256", &[]),
        ("ECC_SECG_P256K1", &[]),
    ] {
        let key = key(&home, &["--spec", spec, "--usage", "SIGN_VERIFY"]);
        let (public, signature) = (home.arg("public.pem"), home.arg("signature"));
        home.ok(&["key", "public-key", &key, "--out", &public]);
        home.ok(&["key", "sign", &key, "--in", &message, "--raw", "--out", &signature]);
        let mut args = vec!["dgst", "-sha256", "-verify", &public, "-signature", &signature];
        args.extend(options);
        args.push(&message);
        assert_eq!(openssl(&args).trim(), "Verified OK", "{spec}");
        home.ok(&["key", "verify", &key, "--signature", &signature, "--raw", "--in", &message]);

        // The digest of the message gives the same to verify.
        let digest = home.arg("digest");
        openssl(&["dgst", "-sha256", "-binary", "-out", &digest, &message]);
        home.ok(&["key", "sign", &key, "--digest", "--in", &digest, "--raw", "--out", &signature]);
        assert_eq!(openssl(&args).trim(), "Verified OK", "{spec}, of the digest");
    }
}

#[test]
fn a_wrong_signature_has_its_name_and_code() {
    let home = Home::new();
    let key = key(&home, &["--spec", "ECC_NIST_EDWARDS25519"]);
    let signature = home.arg("signature");
    std::fs::write(&signature, home.ok_fed(&["key", "sign", &key], b"one")).unwrap();
    let verify = ["key", "verify", &key, "--signature", &signature];
    assert_eq!(home.ok_fed(&verify, b"one"), b"", "a valid signature has no result but success");
    let err = failed(home.feed(&verify, b"two"), 10, &verify);
    assert!(err.contains("KMSInvalidSignatureException"), "{err}");
    let json = home.json(&["key", "public-key", &key]);
    assert_eq!(json["SigningAlgorithms"], serde_json::json!(["ED25519_SHA_512", "ED25519_PH_SHA_512"]));
}

#[test]
fn macs_verify_under_their_key() {
    let home = Home::new();
    let key = key(&home, &["--spec", "HMAC_384"]);
    let mac = home.arg("mac");
    std::fs::write(&mac, home.ok_fed(&["key", "mac", &key], b"one")).unwrap();
    let verify = ["key", "verify-mac", &key, "--mac", &mac];
    home.ok_fed(&verify, b"one");
    let err = failed(home.feed(&verify, b"two"), 10, &verify);
    assert!(err.contains("KMSInvalidMacException"), "{err}");
}

#[test]
fn what_openssl_encrypts_an_rsa_key_decrypts() {
    let home = Home::new();
    let key = key(&home, &["--spec", "RSA_2048", "--usage", "ENCRYPT_DECRYPT"]);
    let (public, clear, sealed) =
        (home.arg("public.der"), home.secret_file("clear", "secret"), home.arg("s"));
    home.ok(&["key", "public-key", &key, "--der", "--out", &public]);
    openssl(&[
        "pkeyutl",
        "-encrypt",
        "-pubin",
        "-inkey",
        &public,
        "-keyform",
        "DER",
        "-in",
        &clear,
        "-out",
        &sealed,
        "-pkeyopt",
        "rsa_padding_mode:oaep",
        "-pkeyopt",
        "rsa_oaep_md:sha256",
    ]);
    assert_eq!(home.ok(&["key", "decrypt", &key, "--raw", "--in", &sealed]), "secret");
    let own = home.ok_fed(&["key", "encrypt", &key], b"mine");
    assert_eq!(home.ok_fed(&["key", "decrypt", &key], &own), b"mine");
}

#[test]
fn a_key_pair_serves_no_volume() {
    let home = Home::new();
    let key = key(&home, &["--spec", "RSA_2048", "--usage", "ENCRYPT_DECRYPT"]);
    let err = home.fails(9, &["init", "--key", &key, &home.arg("volume")]);
    assert!(err.contains("symmetric"), "{err}");
    home.fails(10, &["key", "create", "--spec", "RSA_2048"]);
    home.fails(9, &["key", "rotate", &key]);
}

#[test]
fn both_sides_of_an_agreement_get_the_same_secret() {
    let home = Home::new();
    let [one, two] = [(); 2].map(|()| key(&home, &["--spec", "ECC_NIST_P384", "--usage", "KEY_AGREEMENT"]));
    let secret = |own: &str, other: &str| {
        let peer = home.arg("peer.pem");
        home.ok(&["key", "public-key", other, "--out", &peer]);
        home.run(&["key", "derive-shared-secret", own, "--peer", &peer]).stdout
    };
    assert_eq!(secret(&one, &two), secret(&two, &one));
    assert_eq!(secret(&one, &two).len(), 48);
}

#[test]
fn imported_material_comes_wrapped_and_goes_on_demand() {
    let home = Home::new();
    let key = key(&home, &["--origin", "EXTERNAL"]);
    home.fails(9, &["key", "generate-data-key", &key]);
    let [wrap, token, material, sealed] =
        ["wrap.der", "token", "material", "sealed"].map(|name| home.arg(name));
    home.ok(&[
        "key",
        "import-parameters",
        &key,
        "--public-key",
        &wrap,
        "--token",
        &token,
        "--wrapping-spec",
        "RSA_2048",
    ]);
    std::fs::write(&material, [7; 32]).unwrap();
    openssl(&[
        "pkeyutl",
        "-encrypt",
        "-pubin",
        "-inkey",
        &wrap,
        "-keyform",
        "DER",
        "-in",
        &material,
        "-out",
        &sealed,
        "-pkeyopt",
        "rsa_padding_mode:oaep",
        "-pkeyopt",
        "rsa_oaep_md:sha256",
    ]);
    let import = ["key", "import", &key, "--token", &token, "--in", &sealed];
    let past = [&import[..], &["--valid-to", "2020-01-01T00:00:00Z"]].concat();
    assert!(home.fails(10, &past).contains("ValidationException"));
    home.ok(&import);
    let blob = home.ok_fed(&["key", "encrypt", &key], b"x");
    home.ok(&["key", "delete-material", &key]);
    let decrypt = ["key", "decrypt"];
    let err = failed(home.feed(&decrypt, &blob), 9, &decrypt);
    assert!(err.contains("pending import"), "{err}");
    home.ok(&import);
    assert_eq!(home.ok_fed(&decrypt, &blob), b"x");
    assert!(home.ok(&["key", "last-usage", &key]).contains("Encrypt"));
}
