//! Who sees which objects: owners, logins, applications.

use super::*;

/// What is done to an object that is not to be seen: all of it fails as if there were none.
fn assert_unseen(token: &Token<'_>, id: ObjectId, own: ObjectId) {
    assert!(!token.find(&none()).unwrap().contains(&id), "found");
    let no_object = "CKR_OBJECT_HANDLE_INVALID";
    assert_eq!(name(token.read(id, &[ck::CKA_LABEL])), no_object);
    assert_eq!(name(token.set(id, &template(&[(ck::CKA_LABEL, B(b"mine"))]))), no_object);
    assert_eq!(name(token.destroy(id)), no_object);
    for (what, outcome) in uses(token, id, own) {
        let expected = match what {
            "wrap" => "CKR_WRAPPING_KEY_HANDLE_INVALID",
            "unwrap" => "CKR_UNWRAPPING_KEY_HANDLE_INVALID",
            "copy" => no_object,
            _ => "CKR_KEY_HANDLE_INVALID",
        };
        assert_eq!(outcome, expected, "{what}");
    }
}

#[test]
fn nobody_elses_objects_are_there() {
    let (_scratch, kms, alice) = alice();
    let bob = user(&kms, "user/bob");
    let operator = Call::operator();
    kms.token_set_pin(&operator, &secret(""), &secret(PIN)).unwrap();
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let own = aes(&token, &[]);
    for kept in [true, false] {
        for private in [true, false] {
            let flags =
                [(ck::CKA_TOKEN, F(kept)), (ck::CKA_PRIVATE, F(private)), (ck::CKA_LABEL, B(b"hers"))];
            let id = aes(&token, &flags);
            for call in [&bob, &operator] {
                let other = kms.token(call, login(&kms, call)).unwrap();
                let own = aes(&other, &[]);
                assert_unseen(&other, id, own);
                assert_eq!(other.find(&template(&[(ck::CKA_LABEL, B(b"hers"))])).unwrap(), []);
            }
            assert!(uses(&token, id, own).iter().all(|(_, outcome)| *outcome != "CKR_KEY_HANDLE_INVALID"));
            assert_eq!(read(&token, id, ck::CKA_LABEL).unwrap(), b"hers", "nothing happened to it");
        }
    }
}

#[test]
fn a_ticket_is_good_for_its_owner_alone() {
    let (_scratch, kms, alice) = alice();
    let bob = user(&kms, "user/bob");
    let ticket = login(&kms, &alice);
    let over = "CKR_SESSION_HANDLE_INVALID";
    assert_eq!(name(kms.token(&bob, ticket)), over);
    assert_eq!(name(kms.token_login(&bob, ticket, &secret(PIN), false)), over);
    assert_eq!(name(kms.token_logout(&bob, ticket)), over);
    kms.token_close(&bob, ticket);
    assert_eq!(name(kms.token(&alice, ticket)), "ok", "bob has not closed it");
    assert_eq!(name(kms.token(&alice, Ticket::from_bytes([7; 16]))), over);
    kms.token_close(&alice, ticket);
    assert_eq!(name(kms.token(&alice, ticket)), over);
    kms.token_close(&alice, ticket);
}

#[test]
fn private_objects_take_a_login() {
    let (_scratch, kms, alice) = alice();
    let keeper = login(&kms, &alice);
    let token = kms.token(&alice, keeper).unwrap();
    let private = aes(&token, &[(ck::CKA_TOKEN, F(true))]);
    let public = aes(&token, &[(ck::CKA_TOKEN, F(true)), (ck::CKA_PRIVATE, F(false))]);
    assert!(flag(&token, private, ck::CKA_PRIVATE), "a key is, unless it is said not to be");

    let ticket = kms.token_open(&alice);
    let outside = kms.token(&alice, ticket).unwrap();
    assert_eq!(outside.find(&none()).unwrap(), [public]);
    assert_unseen(&outside, private, public);
    assert_eq!(name(encrypt(&outside, public, b"plain")), "ok");
    let no_login = "CKR_USER_NOT_LOGGED_IN";
    assert_eq!(name(outside.create(data(b"x", &[(ck::CKA_PRIVATE, F(true))]))), no_login);
    assert_eq!(
        name(outside.generate(ck::CKM_AES_KEY_GEN, template(&[(ck::CKA_VALUE_LEN, N(16))]))),
        no_login
    );
    assert_eq!(name(outside.copy(public, template(&[(ck::CKA_PRIVATE, F(true))]))), no_login);
    assert_eq!(name(outside.create(data(b"x", &[]))), "ok");
    let pair =
        outside.generate_pair(ck::CKM_EC_KEY_PAIR_GEN, template(&[(ck::CKA_EC_PARAMS, B(P256))]), none());
    assert_eq!(name(pair), no_login);
    assert_eq!(outside.find(&template(&[(ck::CKA_CLASS, N(ck::CKO_PUBLIC_KEY))])).unwrap(), [], "nor a half");

    kms.token_login(&alice, ticket, &secret(PIN), false).unwrap();
    assert_eq!(name(encrypt(&kms.token(&alice, ticket).unwrap(), private, b"plain")), "ok");
}

#[test]
fn a_login_is_one_applications_and_ends_with_the_logout() {
    let (_scratch, kms, alice) = alice();
    let (one, two) = (login(&kms, &alice), login(&kms, &alice));
    let token = kms.token(&alice, one).unwrap();
    let kept = aes(&token, &[(ck::CKA_TOKEN, F(true))]);
    let of_session = aes(&token, &[]);
    let open = aes(&token, &[(ck::CKA_PRIVATE, F(false))]);
    kms.token_logout(&alice, one).unwrap();
    assert_eq!(name(kms.token_logout(&alice, one)), "CKR_USER_NOT_LOGGED_IN");
    assert_eq!(kms.token(&alice, one).unwrap().find(&none()).unwrap(), [open]);
    assert_eq!(kms.token(&alice, two).unwrap().find(&none()).unwrap(), [kept], "the other one's goes on");
    kms.token_login(&alice, one, &secret(PIN), false).unwrap();
    let again = kms.token(&alice, one).unwrap();
    assert_eq!(name(again.read(of_session, &[ck::CKA_LABEL])), "CKR_OBJECT_HANDLE_INVALID", "gone for ever");
    assert_eq!(name(again.read(kept, &[ck::CKA_LABEL])), "ok");
    let twice = kms.token_login(&alice, one, &secret(PIN), false);
    assert_eq!(name(twice), "CKR_USER_ALREADY_LOGGED_IN");
}

#[test]
fn session_objects_are_one_applications_and_go_with_it() {
    let (_scratch, kms, alice) = alice();
    let (one, two) = (login(&kms, &alice), login(&kms, &alice));
    let token = kms.token(&alice, one).unwrap();
    let id = aes(&token, &[]);
    let public = token.create(data(b"x", &[])).unwrap();
    assert!(!flag(&token, id, ck::CKA_TOKEN), "an object is of the session, unless it is said not to be");
    let other = kms.token(&alice, two).unwrap();
    let own = aes(&other, &[]);
    assert_unseen(&other, id, own);
    assert_eq!(other.find(&none()).unwrap(), [own]);
    assert_eq!(token.find(&none()).unwrap().len(), 2);
    kms.token_close(&alice, one);
    assert_eq!(name(token.find(&none())), "CKR_SESSION_HANDLE_INVALID", "who had it open, has not any more");
    assert_eq!(name(token.create(data(b"x", &[]))), "CKR_SESSION_HANDLE_INVALID");
    for id in [id, public] {
        assert_unseen(&kms.token(&alice, login(&kms, &alice)).unwrap(), id, own_of(&kms, &alice));
    }
}

/// Some token object.
fn own_of(kms: &Kms, call: &Call<'_>) -> ObjectId {
    aes(&kms.token(call, login(kms, call)).unwrap(), &[(ck::CKA_TOKEN, F(true))])
}

#[test]
fn objects_are_found_by_all_attributes_of_a_template() {
    with_token(|token| {
        let key = aes(token, &[(ck::CKA_LABEL, B(b"a")), (ck::CKA_ID, B(&[1]))]);
        let data_a = token.create(data(b"x", &[(ck::CKA_LABEL, B(b"a"))])).unwrap();
        let data_b = token.create(data(b"y", &[(ck::CKA_LABEL, B(b"b"))])).unwrap();
        let find = |attributes: &[(u64, Value<'_>)]| token.find(&template(attributes)).unwrap();
        let sorted = |mut ids: Vec<ObjectId>| {
            ids.sort();
            ids
        };
        assert_eq!(find(&[]), sorted(vec![key, data_a, data_b]));
        assert_eq!(find(&[(ck::CKA_LABEL, B(b"a"))]), sorted(vec![key, data_a]));
        assert_eq!(find(&[(ck::CKA_LABEL, B(b"a")), (ck::CKA_CLASS, N(ck::CKO_DATA))]), [data_a]);
        assert_eq!(find(&[(ck::CKA_VALUE, B(b"y"))]), [data_b], "what is no key tells its value");
        assert_eq!(find(&[(ck::CKA_ID, B(&[1]))]), [key]);
        assert_eq!(find(&[(ck::CKA_UNIQUE_ID, B(key.to_string().as_bytes()))]), [key]);
        assert_eq!(find(&[(ck::CKA_LABEL, B(b"c"))]), []);
        assert_eq!(find(&[(ck::CKA_PRIME_1, B(b"a"))]), [], "no such attribute");
    });
}

#[test]
fn a_destroyed_object_is_gone() {
    let (_scratch, kms, alice) = alice();
    let ticket = login(&kms, &alice);
    let token = kms.token(&alice, ticket).unwrap();
    let own = aes(&token, &[]);
    for kept in [true, false] {
        let id = aes(&token, &[(ck::CKA_TOKEN, F(kept))]);
        token.destroy(id).unwrap();
        assert_unseen(&token, id, own);
        let stays = aes(&token, &[(ck::CKA_TOKEN, F(kept)), (ck::CKA_DESTROYABLE, F(false))]);
        assert_eq!(name(token.destroy(stays)), "CKR_ACTION_PROHIBITED");
        assert_eq!(name(encrypt(&token, stays, b"plain")), "ok");
    }
    assert_eq!(name(token.destroy(ObjectId::from_bytes([1; 16]))), "CKR_OBJECT_HANDLE_INVALID");
}
