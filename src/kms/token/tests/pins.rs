//! PINs: wrong ones, how often, and who changes them; keys that want them at every use.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn without_a_pin_there_is_no_login() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let alice = call_of(&kms, &principal(&kms, "user/alice"));
    let ticket = kms.token_open(&alice);
    assert!(!kms.token_info(&alice).unwrap().has_pin);
    for pin in ["", PIN] {
        let outcome = kms.token_login(&alice, ticket, &secret(pin), false);
        assert_eq!(name(outcome), "CKR_USER_PIN_NOT_INITIALIZED");
    }
}

#[test]
fn a_pin_has_a_length() {
    let (_scratch, kms, alice) = alice();
    for length in [0, 1, 5, 256, 1000] {
        let outcome = kms.token_set_pin(&alice, &secret(PIN), &secret(&"p".repeat(length)));
        assert_eq!(name(outcome), "CKR_PIN_LEN_RANGE", "{length} bytes");
    }
    login(&kms, &alice);
    let mut before = PIN.to_owned();
    for length in [255, 6] {
        let new = "p".repeat(length);
        kms.token_set_pin(&alice, &secret(&before), &secret(&new)).unwrap();
        let ticket = kms.token_open(&alice);
        assert_eq!(name(kms.token_login(&alice, ticket, &secret(&new), false)), "ok", "{length} bytes");
        before = new;
    }
}

#[test]
fn wrong_pins_are_refused_and_slow_down_the_next_ones() {
    let (_scratch, kms, alice) = alice();
    let bob = user(&kms, "user/bob");
    let (ticket, second) = (kms.token_open(&alice), kms.token_open(&alice));
    assert_eq!(kms.token_info(&alice).unwrap().wrong_pins, (false, false));
    let mut wrong = 0;
    let locked = loop {
        let pin = secret(&format!("{PIN}{wrong}"));
        match name(kms.token_login(&alice, ticket, &pin, false)) {
            "CKR_PIN_INCORRECT" => wrong += 1,
            other => break other,
        }
        assert!(wrong < 20, "nothing slows them down");
    };
    assert_eq!(locked, "CKR_PIN_LOCKED");
    assert!(wrong >= 3, "after {wrong} wrong ones");
    assert!(kms.token_info(&alice).unwrap().wrong_pins.0);
    assert_eq!(name(kms.token(&alice, ticket).unwrap().find(&none())), "ok");
    login(&kms, &bob); // whose PIN is another

    // While it is locked even the right one is not looked at, from wherever it comes.
    let outcome = name(kms.token_login(&alice, second, &secret(PIN), false));
    let change = name(kms.token_set_pin(&alice, &secret(PIN), &secret("another")));
    assert!(outcome == "CKR_PIN_LOCKED" && change == "CKR_PIN_LOCKED" || wrong > 3, "{outcome} {change}");
    let started = Instant::now();
    while name(kms.token_login(&alice, second, &secret(PIN), false)) == "CKR_PIN_LOCKED" {
        assert!(started.elapsed() < Duration::from_secs(90), "it never opens");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(name(kms.token_logout(&alice, second)), "ok", "the right one let it in");
    assert_eq!(kms.token_info(&alice).unwrap().wrong_pins, (true, false), "the wrong ones count on");
}

#[test]
fn a_pin_is_changed_by_who_knows_the_old_one() {
    let (scratch, kms, alice) = alice();
    let outcome = |kms: &Kms, pin: &str| {
        let ticket = kms.token_open(&alice);
        name(kms.token_login(&alice, ticket, &secret(pin), false))
    };
    let change = kms.token_set_pin(&alice, &secret("wrong"), &secret("another"));
    assert_eq!(name(change), "CKR_PIN_INCORRECT");
    assert_eq!(outcome(&kms, PIN), "ok", "it is the one before");
    kms.token_set_pin(&alice, &secret(PIN), &secret("another")).unwrap();
    assert_eq!((outcome(&kms, PIN), outcome(&kms, "another")), ("CKR_PIN_INCORRECT", "ok"));
    drop(kms);
    let kms = scratch.open();
    assert_eq!((outcome(&kms, PIN), outcome(&kms, "another")), ("CKR_PIN_INCORRECT", "ok"));
}

#[test]
fn a_pin_is_no_object_to_be_seen() {
    let (_scratch, kms, alice) = alice();
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    assert_eq!(token.find(&none()).unwrap(), []);
    assert_eq!(token.find(&template(&[(ck::CKA_CLASS, N(PIN_CLASS))])).unwrap(), []);
    let pin = kms.core.table().unwrap().objects().pin("arn:aws:iam::000000000000:user/alice").unwrap().id();
    assert_eq!(name(token.read(pin, &[ck::CKA_VALUE])), "CKR_OBJECT_HANDLE_INVALID");
    assert_eq!(name(token.destroy(pin)), "CKR_OBJECT_HANDLE_INVALID");
    assert_eq!(name(token.copy(pin, none())), "CKR_OBJECT_HANDLE_INVALID");
    assert_eq!(name(token.set(pin, &template(&[(ck::CKA_VALUE, B(b""))]))), "CKR_OBJECT_HANDLE_INVALID");
    let forged =
        template(&[(ck::CKA_CLASS, N(PIN_CLASS)), (ck::CKA_TOKEN, F(true)), (ck::CKA_VALUE, B(b"x"))]);
    assert_eq!(name(token.create(forged)), "CKR_ATTRIBUTE_VALUE_INVALID");
}

#[test]
fn a_key_that_wants_the_pin_at_every_use_gets_it_or_is_not_used() {
    let (_scratch, kms, alice) = alice();
    let ticket = login(&kms, &alice);
    let token = kms.token(&alice, ticket).unwrap();
    let wants = [ck::CKA_ALWAYS_AUTHENTICATE, ck::CKA_SIGN, ck::CKA_DECRYPT, ck::CKA_UNWRAP, ck::CKA_DERIVE]
        .map(|kind| (kind, F(true)));
    let [public, ec] = p256(&token, &wants);
    let [rsa_public, rsa] = rsa(&token, &[], &wants);
    let point = read(&token, public, ck::CKA_EC_POINT).unwrap();
    let ciphertext =
        token.run(rsa_public, Function::Encrypt, ck::CKM_RSA_PKCS, &none(), message(b"a key of 16 byte"));
    let ciphertext = ciphertext.unwrap();
    let own = [(ck::CKA_CLASS, N(ck::CKO_SECRET_KEY)), (ck::CKA_KEY_TYPE, N(ck::CKK_AES))];
    let uses: [(&str, &dyn Fn() -> &'static str); 4] = [
        ("sign", &|| name(sign(&token, ec, ck::CKM_ECDSA_SHA256, b"data"))),
        ("decrypt", &|| {
            name(token.run(rsa, Function::Decrypt, ck::CKM_RSA_PKCS, &none(), message(&ciphertext)))
        }),
        ("unwrap", &|| name(token.unwrap(rsa, ck::CKM_RSA_PKCS, &none(), &ciphertext, template(&own)))),
        ("derive", &|| {
            let peer = template(&[(0, B(&point)), (1, N(ck::CKD_NULL))]);
            name(token.derive(ec, ck::CKM_ECDH1_DERIVE, &peer, template(&own)))
        }),
    ];
    for (what, use_it) in uses {
        assert_eq!(use_it(), "CKR_USER_NOT_LOGGED_IN", "{what}, without the PIN");
        if what == "sign" {
            assert_eq!(name(kms.token_login(&alice, ticket, &secret("wrong"), true)), "CKR_PIN_INCORRECT");
            assert_eq!(use_it(), "CKR_USER_NOT_LOGGED_IN", "{what}, with a wrong PIN");
        }
        kms.token_login(&alice, ticket, &secret(PIN), true).unwrap();
        assert_eq!(use_it(), "ok", "{what}");
        assert_eq!(use_it(), "CKR_USER_NOT_LOGGED_IN", "{what}, once more");
    }
    // One application's PIN is not another one's, and it is forgotten at the logout.
    let other = login(&kms, &alice);
    kms.token_login(&alice, other, &secret(PIN), true).unwrap();
    assert_eq!(uses[0].1(), "CKR_USER_NOT_LOGGED_IN");
    let open = kms.token_open(&alice);
    assert_eq!(name(kms.token_login(&alice, open, &secret(PIN), true)), "CKR_USER_NOT_LOGGED_IN");
    let not_private = [(ck::CKA_ALWAYS_AUTHENTICATE, F(true)), (ck::CKA_PRIVATE, F(false))];
    let public = template(&[(ck::CKA_EC_PARAMS, B(P256))]);
    let outcome = token.generate_pair(ck::CKM_EC_KEY_PAIR_GEN, public, template(&not_private));
    assert_eq!(name(outcome), "CKR_TEMPLATE_INCONSISTENT");
}
