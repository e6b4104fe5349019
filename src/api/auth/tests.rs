#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::sigv4::{ALGORITHM, SERVICE, parse_date, sign, signing_key};
use hyper::Request;

const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn secret() -> SecretBytes {
    SecretBytes::from_vec(SECRET.to_vec())
}

fn now() -> Timestamp {
    parse_date("20150830T123600Z").unwrap()
}

/// A request to be signed, changed, and verified.
struct Sample {
    headers: Vec<(&'static str, String)>,
    signed_headers: &'static str,
    body: &'static [u8],
    target: &'static str,
}

impl Sample {
    fn new() -> Sample {
        Sample {
            headers: vec![
                ("host", "localhost:4599".into()),
                ("x-amz-date", "20150830T123600Z".into()),
                ("x-amz-target", "TrentService.ListKeys".into()),
                ("user-agent", "test".into()),
            ],
            signed_headers: "host;x-amz-date;x-amz-target",
            body: b"{}",
            target: "/",
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Sample {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Sample {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    fn head(&self) -> Parts {
        let mut request = Request::builder().method("POST").uri(self.target);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn signed(self) -> Sample {
        let head = self.head();
        let signed = Signed {
            method: "POST",
            path: head.uri.path(),
            query: query(&head),
            headers: &head.headers,
            signed_headers: self.signed_headers,
            body: self.body,
        };
        let date =
            self.headers.iter().find(|(name, _)| *name == DATE).map_or("", |(_, date)| date).to_owned();
        let scope = "20150830/eu-west-1/kms/aws4_request";
        let key = signing_key(&secret(), "20150830", "eu-west-1", SERVICE);
        let signature = sign(&key, &date, scope, &signed.canonical().unwrap_or_default());
        let header = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/{scope}, SignedHeaders={}, Signature={}",
            self.signed_headers,
            hex(&signature)
        );
        self.with("authorization", &header)
    }

    fn verify(&self) -> Result<()> {
        let head = self.head();
        Claim::read(&head, now())?.verify(&SigningKeys::default(), &secret(), self.body)
    }

    fn refused(&self) -> (&'static str, String) {
        let error = self.verify().unwrap_err();
        (error.name(), error.message().to_owned())
    }
}

#[test]
fn a_signed_request_is_verified_and_its_key_kept() {
    let sample = Sample::new().signed();
    sample.verify().unwrap();
    let head = sample.head();
    let claim = Claim::read(&head, now()).unwrap();
    assert_eq!((claim.authorization.access_key, claim.authorization.region), ("AKIDEXAMPLE", "eu-west-1"));
    let keys = SigningKeys::default();
    let another = SecretBytes::from_vec(b"another".to_vec());
    claim.verify(&keys, &another, sample.body).unwrap_err();
    // A key that verified nothing was not kept: the right one is derived.
    claim.verify(&keys, &secret(), sample.body).unwrap();
    // Now it is kept, and nothing is derived.
    claim.verify(&keys, &another, sample.body).unwrap();
}

#[test]
fn nothing_that_is_signed_can_be_changed() {
    const MISMATCH: &str = "does not match the signature you provided";
    let signed = || Sample::new().signed();
    for changed in [
        signed().with("host", "other:4599"),
        signed().with("x-amz-target", "TrentService.DisableKey"),
        signed().with("x-amz-date", "20150830T123601Z"),
        Sample { body: b"{ }", ..signed() },
        Sample { target: "/x", ..signed() },
        Sample { target: "/?a=b", ..signed() },
        signed().without("x-amz-target"),
    ] {
        let (name, message) = changed.refused();
        assert!(name == "InvalidSignatureException" && message.contains(MISMATCH), "{message}");
    }
    signed().with("user-agent", "changed").verify().unwrap();
}

#[test]
fn every_altered_digit_of_the_signature_is_noticed() {
    let sample = Sample::new().signed();
    let header = sample.headers.last().unwrap().1.clone();
    let start = header.len() - 64;
    for at in start..header.len() {
        let mut altered = header.clone().into_bytes();
        altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
        let altered = String::from_utf8(altered).unwrap();
        let refused = Sample::new().with("authorization", &altered).refused();
        assert_eq!(refused.0, "InvalidSignatureException", "digit {}", at - start);
    }
}

#[test]
fn what_must_be_signed_must_be_signed() {
    for (signed_headers, missing) in [
        ("x-amz-date;x-amz-target", "'Host'"),
        ("host;x-amz-date", "'x-amz-target'"),
        ("host", "'x-amz-date'"),
    ] {
        let (name, message) = Sample { signed_headers, ..Sample::new() }.signed().refused();
        let (missing, date) = (message.contains(missing), message.contains("'x-amz-date'"));
        assert!(name == "InvalidSignatureException" && (missing || date), "{message}");
    }
}

#[test]
fn a_signature_is_good_for_five_minutes_either_way() {
    for (date, outcome) in [
        ("20150830T123100Z", Ok(())),
        ("20150830T124100Z", Ok(())),
        (
            "20150830T123059Z",
            Err("Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z \
                 (20150830T123600Z - 5 min.)"),
        ),
        (
            "20150830T124101Z",
            Err("Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z \
                 (20150830T123600Z + 5 min.)"),
        ),
        (
            "20150831T123600Z",
            Err("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '20150830' != '20150831', from '20150831T123600Z'."),
        ),
        ("now", Err("Date must be in ISO-8601 'basic format'. Got 'now'.")),
    ] {
        let result = Sample::new().with("x-amz-date", date).signed().verify();
        assert_eq!(result.as_ref().copied().map_err(Error::message), outcome, "{date}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for (sample, error, words) in [
        (Sample::new(), "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (Sample::new().signed().without("x-amz-date"), "IncompleteSignatureException", "'X-Amz-Date'"),
        (
            Sample { target: "/?X-Amz-Algorithm=x&X-Amz-Signature=y", ..Sample::new() },
            "IncompleteSignatureException",
            "not served here",
        ),
        (
            Sample::new().with("authorization", "Basic QWxhZGRpbg=="),
            "IncompleteSignatureException",
            "Unsupported AWS 'algorithm': 'Basic'.",
        ),
    ] {
        let (name, message) = sample.refused();
        assert!(name == error && message.contains(words), "{name}: {message}");
    }
    let mut twice = Sample::new().signed();
    twice.headers.push(("authorization", twice.headers.last().unwrap().1.clone()));
    assert_eq!(twice.refused().0, "IncompleteSignatureException");
}

#[test]
fn a_content_hash_must_be_that_of_the_body() {
    let signed_headers = "host;x-amz-content-sha256;x-amz-date;x-amz-target";
    let with_hash = |hash: &str| Sample { signed_headers, ..Sample::new() }.with(CONTENT_HASH, hash).signed();
    with_hash(&hex(&Hash::Sha256.digest(b"{}"))).verify().unwrap();
    for wrong in ["UNSIGNED-PAYLOAD", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"] {
        assert!(with_hash(wrong).refused().1.contains("'x-amz-content-sha256' header does not match"));
    }
}
