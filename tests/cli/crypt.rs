//! Using keys: encrypt, decrypt, re-encrypt, data keys, random bytes.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{Home, failed, text};

fn decode(value: &serde_json::Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("base64")).expect("base64")
}

#[test]
fn what_was_encrypted_decrypts_under_its_context_alone() {
    let home = Home::new();
    let key = home.key();
    let blob = home
        .ok_fed(&["key", "encrypt", &key, "--context", "app=web", "--context", "env=prod"], b"token\0\xff");
    let decrypt = ["key", "decrypt", "--context", "env=prod", "--context", "app=web"];
    assert_eq!(home.ok_fed(&decrypt, &blob), b"token\0\xff", "in any order of the pairs");
    for args in [&["key", "decrypt"][..], &["key", "decrypt", "--context", "app=web"]] {
        let err = failed(home.feed(args, &blob), 10, args);
        assert!(err.contains("InvalidCiphertextException"), "{err}");
        assert!(!err.contains("token"));
    }
}

#[test]
fn ciphertexts_are_base64_unless_raw() {
    let home = Home::new();
    let key = home.key();
    let (clear, raw, back) = (home.secret_file("clear", "text"), home.arg("raw"), home.arg("back"));
    home.ok(&["key", "encrypt", &key, "--raw", "--in", &clear, "--out", &raw]);
    home.ok(&["key", "decrypt", "--raw", "--in", &raw, "--out", &back]);
    assert_eq!(std::fs::read(&back).unwrap(), b"text");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&back).unwrap().permissions().mode() & 0o777, 0o600);
    let err = home.fails(10, &["key", "decrypt", "--in", &raw]);
    assert!(err.contains("--raw"), "{err}");
    assert_eq!(home.ok(&["key", "encrypt", &key, "--in", &clear]).lines().count(), 1);
}

#[test]
fn the_largest_plaintext_is_4096_bytes() {
    let home = Home::new();
    let key = home.key();
    let encrypt = ["key", "encrypt", key.as_str()];
    let blob = home.ok_fed(&encrypt, &[7; 4096]);
    assert_eq!(home.ok_fed(&["key", "decrypt"], &blob), [7; 4096]);
    for size in [4097, 100_000] {
        failed(home.feed(&encrypt, &vec![7; size]), 10, &encrypt);
    }
}

#[test]
fn a_ciphertext_of_another_key_is_refused_where_one_is_named() {
    let home = Home::new();
    let (one, two) = (home.key(), home.key());
    let blob = home.ok_fed(&["key", "encrypt", &one], b"x");
    let args = ["key", "decrypt", two.as_str()];
    let err = failed(home.feed(&args, &blob), 10, &args);
    assert!(err.contains("IncorrectKeyException"), "{err}");
}

#[test]
fn re_encrypting_changes_key_and_context() {
    let home = Home::new();
    let (one, two) = (home.key(), home.key());
    let blob = home.ok_fed(&["key", "encrypt", &one, "--context", "a=1"], b"moved");
    let args = ["key", "re-encrypt", &two, "--source-context", "a=1", "--context", "b=2"];
    let moved = home.ok_fed(&args, &blob);
    home.ok(&["key", "disable", &one]);
    assert_eq!(home.ok_fed(&["key", "decrypt", &two, "--context", "b=2"], &moved), b"moved");
}

#[test]
fn a_data_key_comes_clear_and_encrypted() {
    let home = Home::new();
    let key = home.key();
    let made = home.json(&["key", "generate-data-key", &key, "--context", "disk=1"]);
    let plaintext = decode(&made["Plaintext"]);
    assert_eq!(plaintext.len(), 32);
    let blob = made["CiphertextBlob"].as_str().unwrap();
    assert_eq!(home.ok_fed(&["key", "decrypt", "--context", "disk=1"], blob.as_bytes()), plaintext);

    let lines = home.ok(&["key", "generate-data-key", &key, "--bytes", "16"]);
    let words: Vec<_> = lines.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("plaintext", "ciphertext"));
    assert_eq!(STANDARD.decode(words[1]).unwrap().len(), 16);

    let later = home.ok(&["key", "generate-data-key", &key, "--without-plaintext"]);
    assert_eq!(home.ok_fed(&["key", "decrypt"], later.as_bytes()).len(), 32);
    assert!(home.json(&["key", "generate-data-key", &key, "--without-plaintext"]).get("Plaintext").is_none());
}

#[test]
fn random_bytes_have_the_length_asked_for() {
    let home = Home::new();
    assert_eq!(home.run(&["key", "random", "1024", "--raw"]).stdout.len(), 1024);
    assert_eq!(decode(&home.json(&["key", "random", "16"])["Plaintext"]).len(), 16);
    assert_ne!(home.ok(&["key", "random", "16"]), home.ok(&["key", "random", "16"]));
    home.fails(10, &["key", "random", "1025"]);
}

#[test]
fn garbage_is_refused_without_a_reason_to_learn_from() {
    let home = Home::new();
    let key = home.key();
    let mut altered = STANDARD.decode(text(&home.ok_fed(&["key", "encrypt", &key], b"x")).trim()).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    for garbage in
        [&b""[..], b"AAAA", STANDARD.encode([0xff; 200]).as_bytes(), STANDARD.encode(altered).as_bytes()]
    {
        let output = home.feed(&["key", "decrypt"], garbage);
        assert!(text(&output.stderr).contains("InvalidCiphertext"), "{}", text(&output.stderr));
        failed(output, 10, &["key", "decrypt"]);
    }
}
