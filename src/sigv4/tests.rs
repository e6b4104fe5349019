#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The parts of AWS's suite: case, part, text.
fn vectors() -> Vec<(&'static str, &'static str, &'static str)> {
    let text = include_str!("../../tests/vectors/sigv4.txt");
    text.split("\n=== ")
        .skip(1)
        .map(|part| {
            let (title, body) = part.split_once('\n').unwrap();
            let (case, part) = title.split_once(' ').unwrap();
            (case, part, body.trim_end_matches('\n'))
        })
        .collect()
}

/// Method, target, headers and body of a request as the suite writes it.
fn split(request: &str) -> (&str, &str, HeaderMap, &str) {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.map(|line| line.split_once(':').unwrap()) {
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    (method, rest.strip_suffix(" HTTP/1.1").unwrap(), headers, body)
}

#[test]
fn the_suite_of_aws_is_signed_as_aws_signs_it() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 3 * 33);
    for case in vectors.chunks(3) {
        let [(name, "request", request), (_, "canonical", canonical), (_, "authorization", authorization)] =
            *case
        else {
            panic!("{case:?}")
        };
        let (method, target, headers, body) = split(request);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let after = |name| authorization.split_once(name).unwrap().1;
        let signed_headers = after("SignedHeaders=").split_once(',').unwrap().0;
        let signed = Signed { method, path, query, headers: &headers, signed_headers, body: body.as_bytes() };
        let ours = signed.canonical().unwrap();
        assert_eq!(String::from_utf8_lossy(&ours), canonical, "{name}");
        let secret = SecretBytes::from_vec(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec());
        let key = signing_key(&secret, "20150830", "us-east-1", "service");
        let scope = "20150830/us-east-1/service/aws4_request";
        let signature = sign(&key, "20150830T123600Z", scope, &ours);
        assert_eq!(hex(&signature), after("Signature="), "{name}");
    }
}
