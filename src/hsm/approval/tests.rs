//! Requests and approvals without an HSM, and on the keystore of one.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::arguments::{self, Arguments};
use super::words;
use super::*;
use crate::hsm::Sealed;
use crate::hsm::shares::Secret;
use crate::hsm::text::Labelled;
use crate::kms::keystore::Location;
use crate::kms::{
    self, Approvals, Approved, Call, CreateKey, Evidence, Guarded, HSM_ADD_CUSTODIAN, HSM_SET_POLICY, Kms,
    Timestamp,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;
use time::Duration;
use uuid::Uuid;

const HSM: Uuid = Uuid::from_u128(7);
const DELETE: &str = "ScheduleKeyDeletion";
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dora", "mallory"];
/// The last of them is nobody's custodian.
static SIGNERS: LazyLock<Vec<Signer>> = LazyLock::new(|| {
    NAMES.iter().map(|_| Signer::from_pkcs8(Signer::generate().unwrap().expose()).unwrap()).collect()
});
const MALLORY: usize = 4;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::days(20_000)
}

fn known() -> Approvals {
    let custodians: Vec<Value> = NAMES[..MALLORY]
        .iter()
        .zip(&*SIGNERS)
        .map(|(name, signer)| json!({ "name": name, "public_key": signer.public(), "added": 0 }))
        .collect();
    let approvals = json!({ "custodians": custodians, "required": {}, "used": [], "last": 0 });
    serde_json::from_value(approvals).unwrap()
}

fn arguments() -> Arguments {
    Arguments::parse(r#"{"KeyId": "k", "PendingWindowInDays": 7}"#).unwrap()
}

fn request_by(signer: usize) -> Request {
    Request::new(&SIGNERS[signer], HSM, DELETE, arguments(), now() + Duration::hours(1)).unwrap()
}

fn signed(request: &Request, approvals: &[Approval]) -> Signed {
    let files: Vec<String> = approvals.iter().map(Approval::encode).collect();
    Signed::decode(HSM, request.encode().as_bytes(), files.iter().map(String::as_bytes)).unwrap()
}

fn approvals(request: &Request, by: &[usize]) -> Vec<Approval> {
    by.iter().map(|signer| Approval::new(&SIGNERS[*signer], request).unwrap()).collect()
}

/// Alice's request with approvals of `by`, of which `need` are needed.
fn judge(by: &[usize], need: u8) -> Result<Approved, Refused> {
    let request = request_by(0);
    signed(&request, &approvals(&request, by)).judge(DELETE, need, &known(), now())
}

#[test]
fn so_many_custodians_approve_as_are_needed_besides_the_requester() {
    let approved = judge(&[2, 1], 2).unwrap();
    assert_eq!(
        (approved.requester.as_str(), approved.approvers),
        ("alice", vec!["bob".into(), "carol".into()])
    );
    assert!(judge(&[1, 2, 3], 2).is_ok(), "more do no harm");
    assert_eq!(judge(&[1], 2), Err(Refused::NotEnough { have: 1, need: 2 }));
    assert_eq!(judge(&[1, 1], 2), Err(Refused::Duplicate("bob".into())));
    assert_eq!(judge(&[1, 0], 2), Err(Refused::SelfApproval("alice".into())));
    assert!(matches!(judge(&[1, MALLORY], 2), Err(Refused::Unknown(_))));
    let request = request_by(MALLORY);
    let by_nobody = signed(&request, &approvals(&request, &[1, 2]));
    assert!(matches!(by_nobody.judge(DELETE, 2, &known(), now()), Err(Refused::Unknown(_))));
}

#[test]
fn a_request_is_for_one_hsm_one_operation_and_a_time() {
    let request = request_by(0);
    let given = signed(&request, &approvals(&request, &[1, 2]));
    let judge = |at| given.judge(DELETE, 2, &known(), at);
    let expires = request.expires;
    assert!(judge(expires - Duration::seconds(1)).is_ok());
    assert_eq!(judge(expires), Err(Refused::Expired(expires)));
    assert_eq!(judge(expires - Duration::days(31)), Err(Refused::TooLong { expires }));
    let other = given.judge("PutKeyPolicy", 2, &known(), now());
    assert_eq!(other, Err(Refused::OtherOperation(DELETE.into())));
    let own = Uuid::from_u128(8);
    let elsewhere = Signed::decode(own, request.encode().as_bytes(), []).unwrap();
    assert_eq!(elsewhere.judge(DELETE, 0, &known(), now()), Err(Refused::Foreign { found: HSM, own }));
}

#[test]
fn whatever_is_altered_is_noticed() {
    let request = request_by(0);
    let given = approvals(&request, &[1, 2]);
    let judge =
        |request: &Request, given: &[Approval]| signed(request, given).judge(DELETE, 2, &known(), now());
    let altered: [fn(&mut Request); 5] = [
        |request| {
            request.arguments = Arguments::parse(r#"{"KeyId": "k", "PendingWindowInDays": 30}"#).unwrap()
        },
        |request| request.operation = "DeleteImportedKeyMaterial".into(),
        |request| request.nonce = Uuid::from_u128(1),
        |request| request.expires += Duration::hours(1),
        |request| request.signature[3] ^= 1,
    ];
    for alter in altered {
        let mut request = request.clone();
        alter(&mut request);
        assert_eq!(judge(&request, &given), Err(Refused::Altered("alice".into())));
    }
    let mut stolen = request.clone();
    stolen.requester = *SIGNERS[3].public();
    assert_eq!(judge(&stolen, &given), Err(Refused::Altered("dora".into())));
    // The requester signs anew what others approved before.
    let again = request_by(0);
    assert_eq!(judge(&again, &given), Err(Refused::OtherRequest("bob".into())));
    let mut forged = given.clone();
    forged[1].signature[0] ^= 1;
    assert_eq!(judge(&request, &forged), Err(Refused::Forged("carol".into())));
    forged[1] = Approval { approver: *SIGNERS[3].public(), ..given[1].clone() };
    assert_eq!(judge(&request, &forged), Err(Refused::Forged("dora".into())));
    // What the requester signed is no approval, though it is the same digest.
    forged[1] = Approval { signature: request.signature, approver: request.requester, ..given[1].clone() };
    assert_eq!(judge(&request, &forged), Err(Refused::Forged("alice".into())));
}

#[test]
fn arguments_are_objects_of_whole_numbers() {
    let refused = |text: &str| Arguments::parse(text).unwrap_err();
    assert_eq!(refused("[]"), arguments::Error::NoObject);
    assert_eq!(refused(r#"{"a":[{"b":1.5}]}"#), arguments::Error::Fraction("1.5".into()));
    assert!(matches!(refused(r#"{"a":}"#), arguments::Error::Json(_)));
    let text = Arguments::parse("{ \"b\": [1, {\"d\": null, \"c\": \"\\u00e4\\n\"}], \"a\": -1 }").unwrap();
    assert_eq!(text.text(), r#"{"a":-1,"b":[1,{"c":"ä\n","d":null}]}"#);
}

#[test]
fn files_with_anything_else_in_them_are_none() {
    let request = request_by(0);
    let mut file: Value = serde_json::from_str(&request.encode()).unwrap();
    file["comment"] = "harmless".into();
    assert!(Request::decode(file.to_string().as_bytes()).is_err());
    assert!(Approval::decode(request.encode().as_bytes()).is_err(), "one is not the other");
    assert!(matches!(Signed::decode(HSM, b"{}", []), Err(Refused::Malformed(_))));
}

#[test]
fn a_request_says_what_it_will_do_and_with_which_arguments() {
    let say = |operation, text: &str| {
        let arguments = Arguments::parse(text).unwrap();
        Request::new(&SIGNERS[0], HSM, operation, arguments, now()).unwrap()
    };
    let delete = say(DELETE, r#"{"KeyId":"k1","PendingWindowInDays":7}"#);
    assert!(
        words::sentence(&delete).contains("Delete the key k1") && words::sentence(&delete).contains("7 days")
    );
    let policy = say(HSM_SET_POLICY, r#"{"Requirements":[{"Operation":"delete-key","Approvals":2}]}"#);
    assert!(words::sentence(&policy).ends_with("and no others: 2 for delete-key."));
    assert!(
        words::sentence(&say(HSM_SET_POLICY, r#"{"Requirements":[]}"#)).contains("no approvals any more")
    );
    let long = "ä".repeat(1000);
    let import = say("ImportKeyMaterial", &json!({ "KeyId": "k", "ImportToken": long }).to_string());
    let shown = words::arguments(&import);
    assert!(shown[0].1.contains("2000 bytes of text, SHA-256 ") && shown[1] == ("KeyId".into(), "k".into()));
    let policy = say("PutKeyPolicy", &json!({ "KeyId": "k", "Policy": long }).to_string());
    assert_eq!(words::arguments(&policy)[1].1, long, "what is to be read is there as a whole");
}

/// Any JSON object without fractions.
fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    });
    prop::collection::btree_map("\\PC{0,6}", value, 0..5)
        .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arguments_are_written_in_one_way_and_read_back(value in object()) {
        let once = Arguments::new(&value).unwrap();
        prop_assert_eq!(&Value::Object(once.members()), &value);
        prop_assert_eq!(&Arguments::parse(once.text()).unwrap(), &once);
        prop_assert_eq!(&Arguments::parse(&format!("{value:#}")).unwrap(), &once);
    }

    #[test]
    fn requests_with_different_content_have_different_digests(a in object(), b in object(), operation in "[A-Z]{1,3}") {
        let with = |operation: &str, arguments: &Value| {
            let arguments = Arguments::new(arguments).unwrap();
            Request { operation: operation.to_owned(), arguments, ..request_by(0) }
        };
        let first = with(&operation, &a);
        let second = Request { nonce: first.nonce, ..with(&operation, &b) };
        prop_assert_eq!(first.digest() == second.digest(), a == b);
        // What moves from one field to the next does not go unnoticed.
        let moved = Request { operation: format!("{operation}{{"), ..first.clone() };
        prop_assert_ne!(first.digest(), moved.digest());
    }

    #[test]
    fn files_read_back(value in object()) {
        let arguments = Arguments::new(&value).unwrap();
        let request = Request::new(&SIGNERS[0], HSM, DELETE, arguments, now()).unwrap();
        prop_assert_eq!(&Request::decode(request.encode().as_bytes()).unwrap(), &request);
        prop_assert!(request.is_signed());
        let approval = Approval::new(&SIGNERS[1], &request).unwrap();
        prop_assert_eq!(Approval::decode(approval.encode().as_bytes()).unwrap(), approval);
    }

    #[test]
    fn only_different_custodians_count_in_whatever_order(by in prop::collection::vec(0..5usize, 0..6), need in 0..4u8) {
        let mut distinct = by.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let good = distinct.len() == by.len() && by.iter().all(|signer| (1..MALLORY).contains(signer));
        let judged = judge(&by, need);
        prop_assert_eq!(judged.is_ok(), good && by.len() >= usize::from(need));
        if let Ok(approved) = judged {
            prop_assert_eq!(approved.approvers.len(), by.len());
            let mut reversed = by.clone();
            reversed.reverse();
            prop_assert_eq!(judge(&reversed, need).unwrap().approvers, approved.approvers);
        }
    }

    #[test]
    fn nonsense_is_no_file(file in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Request::decode(&file).is_err() && Approval::decode(&file).is_err());
    }
}

const OPERATOR: &Call<'static> = &Call::operator();

/// An HSM with four custodians who approve.
struct Opened {
    _directory: tempfile::TempDir,
    sealed: Sealed,
    shares: Vec<Labelled>,
    kms: Kms,
}

impl Opened {
    fn new() -> Opened {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::from(directory.path().join("keystore.db"));
        let (sealed, shares) = Sealed::create(&location, 2, 2, kms::Options::default()).unwrap();
        let kms = open(&sealed, &shares);
        for (name, signer) in NAMES[..MALLORY].iter().zip(&*SIGNERS) {
            kms.add_custodian(OPERATOR, name, *signer.public()).unwrap();
        }
        Opened { _directory: directory, sealed, shares, kms }
    }

    fn approved(&self, operation: &str, arguments: Value, by: &[usize]) -> Signed {
        let expires = Timestamp::now_utc() + Duration::hours(1);
        let arguments = Arguments::new(&arguments).unwrap();
        let request = Request::new(&SIGNERS[0], self.sealed.id(), operation, arguments, expires).unwrap();
        let files: Vec<String> = approvals(&request, by).iter().map(Approval::encode).collect();
        let files = files.iter().map(String::as_bytes);
        Signed::decode(self.sealed.id(), request.encode().as_bytes(), files).unwrap()
    }
}

fn secret(sealed: &Sealed, shares: &[Labelled]) -> Secret {
    let shares = shares.iter().map(|share| &share.share).collect::<Vec<_>>();
    sealed.quorum().combine(&shares).unwrap()
}

fn open(sealed: &Sealed, shares: &[Labelled]) -> Kms {
    sealed.open(&secret(sealed, shares), kms::Options::default()).unwrap()
}

fn with(signed: &Signed) -> Call<'_> {
    Call { approval: Some(signed as &dyn Evidence), ..Call::operator() }
}

fn name<T: std::fmt::Debug>(result: kms::Result<T>) -> &'static str {
    result.map_or_else(|error| error.name(), |_| "ok")
}

#[test]
fn what_needs_approvals_is_done_once_with_them_and_not_at_all_without() {
    let hsm = Opened::new();
    let kms = &hsm.kms;
    let key = kms.create_key(OPERATOR, CreateKey::default()).unwrap().id.to_string();
    kms.require_approvals(OPERATOR, [(Guarded::DeleteKey, 2)].into()).unwrap();
    assert_eq!(name(kms.schedule_key_deletion(OPERATOR, &key, 7)), "AccessDeniedException");
    let arguments = || json!({ "KeyId": key });
    let one = hsm.approved(DELETE, arguments(), &[1]);
    assert_eq!(name(kms.schedule_key_deletion(&with(&one), &key, 7)), "ApprovalNotEnoughException");
    let two = hsm.approved(DELETE, arguments(), &[1, 3]);
    // A change that fails uses nothing up.
    let elsewhere = Uuid::nil().to_string();
    assert_eq!(name(kms.schedule_key_deletion(&with(&two), &elsewhere, 7)), "NotFoundException");
    assert_eq!(name(kms.schedule_key_deletion(&with(&two), &key, 7)), "ok");
    kms.cancel_key_deletion(OPERATOR, &key).unwrap();
    assert_eq!(name(kms.schedule_key_deletion(&with(&two), &key, 7)), "ApprovalReplayException");
    kms.put_key_policy(OPERATOR, &key, None, &kms.get_key_policy(OPERATOR, &key, None).unwrap(), false)
        .unwrap();
    // It is remembered by the keystore, not by the process.
    let again = open(&hsm.sealed, &hsm.shares);
    assert_eq!(name(again.schedule_key_deletion(&with(&two), &key, 7)), "ApprovalReplayException");
}

#[test]
fn one_approval_used_by_many_at_once_serves_one_of_them() {
    let hsm = Opened::new();
    let keys: Vec<String> =
        (0..4).map(|_| hsm.kms.create_key(OPERATOR, CreateKey::default()).unwrap().id.to_string()).collect();
    hsm.kms.require_approvals(OPERATOR, [(Guarded::DeleteKey, 1)].into()).unwrap();
    let signed = hsm.approved(DELETE, json!({}), &[1]);
    let done = std::thread::scope(|scope| {
        let calls = keys
            .iter()
            .map(|key| scope.spawn(|| hsm.kms.schedule_key_deletion(&with(&signed), key, 7).is_ok()));
        let calls: Vec<_> = calls.collect();
        calls.into_iter().map(|call| call.join().unwrap()).filter(|done| *done).count()
    });
    assert_eq!(done, 1);
}

#[test]
fn who_approves_and_what_is_changed_only_with_approval_once_anything_needs_it() {
    let hsm = Opened::new();
    let kms = &hsm.kms;
    let three = |guarded| kms.require_approvals(OPERATOR, [(guarded, 4)].into());
    assert_eq!(name(three(Guarded::DeleteKey)), "ConflictException", "nobody would be left to request");
    kms.require_approvals(OPERATOR, [(Guarded::DeleteKey, 3)].into()).unwrap();
    assert_eq!(name(kms.require_approvals(OPERATOR, [].into())), "AccessDeniedException");
    assert_eq!(name(kms.remove_custodian(OPERATOR, "dora")), "AccessDeniedException");
    let mallory = *SIGNERS[MALLORY].public();
    assert_eq!(name(kms.add_custodian(OPERATOR, "mallory", mallory)), "AccessDeniedException");
    let add = hsm.approved(HSM_ADD_CUSTODIAN, json!({}), &[1, 2]);
    assert_eq!(name(kms.add_custodian(&with(&add), "mallory", mallory)), "ApprovalNotEnoughException");
    let remove = hsm.approved("HsmRemoveCustodian", json!({}), &[1, 2, 3]);
    assert_eq!(
        name(kms.add_custodian(&with(&remove), "mallory", mallory)),
        "ApprovalOtherOperationException"
    );
    assert_eq!(name(kms.remove_custodian(&with(&remove), "dora")), "ConflictException", "three must approve");
    let lower = hsm.approved(HSM_SET_POLICY, json!({}), &[1, 2, 3]);
    kms.require_approvals(&with(&lower), [].into()).unwrap();
    kms.remove_custodian(OPERATOR, "dora").unwrap();
    assert_eq!(name(kms.add_custodian(OPERATOR, "BOB", mallory)), "AlreadyExistsException");
    let bob = *SIGNERS[1].public();
    assert_eq!(
        name(kms.add_custodian(OPERATOR, "robert", bob)),
        "AlreadyExistsException",
        "two votes for one"
    );
}

/// New shares, two of two, with another root key or without, and the name of the error if they are refused.
fn replace(hsm: &mut Opened, rekey: bool, signed: Option<&Signed>) -> &'static str {
    let new = match rekey {
        true => hsm.sealed.rekey(2, 2),
        false => hsm.sealed.refresh(secret(&hsm.sealed, &hsm.shares), 2, 2),
    };
    let new = new.unwrap();
    let shares = new.shares().iter().map(|share| {
        let words = share.to_words();
        Labelled::from_words(std::str::from_utf8(words.expose()).unwrap()).unwrap()
    });
    let shares: Vec<_> = shares.collect();
    let kms = open(&hsm.sealed, &hsm.shares);
    let told = new.check_approved(&kms, signed).is_ok();
    match new.adopt(kms, signed) {
        Ok(sealed) => (hsm.sealed, hsm.shares) = (sealed, shares),
        Err(crate::hsm::Error::Kms(error)) if !told => return error.name(),
        Err(error) => panic!("{error}"),
    }
    "ok"
}

#[test]
fn shares_are_handed_out_anew_only_with_approval_where_that_is_required() {
    let mut hsm = Opened::new();
    hsm.kms.require_approvals(OPERATOR, [(Guarded::Refresh, 1)].into()).unwrap();
    let arguments = |custodians: u8| json!({ "Threshold": 2, "Custodians": custodians });
    for (rekey, operation) in [(false, "HsmRefresh"), (true, "HsmRekey")] {
        assert_eq!(replace(&mut hsm, rekey, None), "AccessDeniedException");
        let other = hsm.approved(operation, arguments(5), &[1]);
        assert_eq!(replace(&mut hsm, rekey, Some(&other)), "ApprovalOtherArgumentsException");
        let deletion = hsm.approved(DELETE, arguments(2), &[1]);
        assert_eq!(replace(&mut hsm, rekey, Some(&deletion)), "ApprovalOtherOperationException");
        let approved = hsm.approved(operation, arguments(2), &[1]);
        assert_eq!(replace(&mut hsm, rekey, Some(&approved)), "ok");
        assert_eq!(replace(&mut hsm, rekey, Some(&approved)), "ApprovalReplayException");
    }
    // What was approved is known under the new root key too.
    assert_eq!(open(&hsm.sealed, &hsm.shares).approvals().unwrap().custodians().len(), 4);
}

#[test]
fn nobody_approves_on_a_keystore_that_is_no_hsm() {
    let directory = tempfile::tempdir().unwrap();
    let key_file = kms::keystore::Unlock::create_key_file(&directory.path().join("key")).unwrap();
    let location = directory.path().join("keystore.db");
    let kms = Kms::create(location, &key_file, "", kms::Options::default()).unwrap();
    let added = kms.add_custodian(OPERATOR, "alice", *SIGNERS[0].public());
    assert_eq!(name(added), "UnsupportedOperationException");
}
