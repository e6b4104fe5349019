//! The `Authorization` header of a signed request, taken apart.
//!
//! ```text
//! AWS4-HMAC-SHA256 Credential=ID/YYYYMMDD/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX
//! ```

use crate::api::error::{Error, Result};
use crate::sigv4::{ALGORITHM, SERVICE, TERMINATOR};

/// A parsed header. Nothing in it has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// `ID/YYYYMMDD/REGION/kms/aws4_request`: whose signing key, and which.
    pub credential: &'a str,
    /// The access key's id.
    pub access_key: &'a str,
    /// The day the signing key is for, `YYYYMMDD`.
    pub date: &'a str,
    /// The region the signing key is for.
    pub region: &'a str,
    /// `YYYYMMDD/REGION/kms/aws4_request`.
    pub scope: &'a str,
    /// Names of the signed headers, joined with `;`: lower case, ascending, each once.
    pub signed_headers: &'a str,
    /// The signature.
    pub signature: [u8; 32],
}

impl<'a> Authorization<'a> {
    /// Takes the header apart.
    ///
    /// # Errors
    /// `IncompleteSignatureException` if parts are missing or malformed, `InvalidSignatureException` if it is for
    /// something else than a KMS.
    pub fn parse(header: &'a str) -> Result<Authorization<'a>> {
        let (algorithm, parameters) = header.split_once(' ').unwrap_or((header, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for parameter in parameters.split(',').map(str::trim).filter(|parameter| !parameter.is_empty()) {
            let place = match parameter.split_once('=') {
                Some(("Credential", value)) => credential.replace(value),
                Some(("SignedHeaders", value)) => signed_headers.replace(value),
                Some(("Signature", value)) => signature.replace(value),
                Some(_) => None,
                None => {
                    return Err(incomplete(format!(
                        "'{parameter}' not a valid key=value pair (missing equal-sign) in Authorization header."
                    )));
                }
            };
            if place.is_some() {
                return Err(incomplete("Authorization header has a parameter twice."));
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return Err(missing([
                ("Credential", credential),
                ("Signature", signature),
                ("SignedHeaders", signed_headers),
            ]));
        };
        let [access_key, date, region] = scope_of(credential)?;
        Ok(Authorization {
            credential,
            access_key,
            date,
            region,
            scope: &credential[access_key.len() + 1..],
            signed_headers: check_names(signed_headers)?,
            signature: decode_signature(signature)?,
        })
    }
}

/// Access key, date and region of a credential for this service.
fn scope_of(credential: &str) -> Result<[&str; 3]> {
    let elements: Vec<&str> = credential.split('/').collect();
    let &[access_key, date, region, service, terminator] = &elements[..] else {
        return Err(incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, \
             e.g. keyid/date/region/service/term, got '{credential}'."
        )));
    };
    if !is_region(region) {
        return Err(invalid("Credential should be scoped to a valid region."));
    }
    if service != SERVICE {
        return Err(invalid(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
    }
    if terminator != TERMINATOR {
        return Err(invalid(format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'."
        )));
    }
    Ok([access_key, date, region])
}

/// A region becomes part of ARNs, so it cannot be just anything.
fn is_region(region: &str) -> bool {
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=32).contains(&region.len()) && region.bytes().all(valid)
}

fn check_names(names: &str) -> Result<&str> {
    let lower = names.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
    let mut pairs = names.split(';').zip(names.split(';').skip(1));
    if names.is_empty() || !lower || pairs.any(|(one, next)| one >= next) {
        return Err(invalid("SignedHeaders must be lower case, in ascending order, each once."));
    }
    Ok(names)
}

fn decode_signature(text: &str) -> Result<[u8; 32]> {
    let mut signature = [0; 32];
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * signature.len() {
        return Err(super::mismatch());
    }
    for (byte, pair) in signature.iter_mut().zip(pairs) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(super::mismatch()) };
        *byte = high << 4 | low;
    }
    Ok(signature)
}

fn missing(parameters: [(&str, Option<&str>); 3]) -> Error {
    let absent = parameters.iter().filter(|(_, value)| value.is_none());
    let sentences: Vec<_> =
        absent.map(|(name, _)| format!("Authorization header requires '{name}' parameter.")).collect();
    incomplete(sentences.join(" "))
}

fn incomplete(message: impl Into<String>) -> Error {
    Error::new("IncompleteSignatureException", message)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new("InvalidSignatureException", message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIGNATURE: &str = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

    fn header(credential: &str, names: &str) -> String {
        format!("{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={SIGNATURE}")
    }

    #[test]
    fn a_header_is_taken_apart() {
        let text = header("AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request", "host;x-amz-date");
        let parsed = Authorization::parse(&text).unwrap();
        assert_eq!((parsed.access_key, parsed.date, parsed.region), ("AKIDEXAMPLE", "20150830", "us-east-1"));
        assert_eq!(parsed.scope, "20150830/us-east-1/kms/aws4_request");
        assert_eq!((parsed.signed_headers, parsed.signature[0]), ("host;x-amz-date", 0x5d));
        assert_eq!(Authorization::parse(&text.replace(", ", ",")).unwrap(), parsed);
    }

    #[test]
    fn what_is_wrong_is_said_in_aws_words() {
        let good = "A/20150830/r/kms/aws4_request";
        let table = [
            (String::from("Bearer x"), "Incomplete", "Unsupported AWS 'algorithm': 'Bearer'."),
            (format!("{ALGORITHM} x"), "Incomplete", "'x' not a valid key=value pair"),
            (String::from(ALGORITHM), "Incomplete", "requires 'Credential' parameter. Authorization header"),
            (
                format!("{ALGORITHM} Credential={good}, Signature={SIGNATURE}"),
                "Incomplete",
                "'SignedHeaders'",
            ),
            (format!("{}, Signature={SIGNATURE}", header(good, "host")), "Incomplete", "twice"),
            (header("A/20150830/r/kms", "host"), "Incomplete", "exactly 5 slash-delimited"),
            (header("A/20150830/r/s3/aws4_request", "host"), "Invalid", "correct service: 'kms'"),
            (
                header("A/20150830/r/kms/aws4", "host"),
                "Invalid",
                "valid terminator: 'aws4_request', not 'aws4'",
            ),
            (header("A/20150830/R:/kms/aws4_request", "host"), "Invalid", "valid region"),
            (header(good, "Host"), "Invalid", "lower case"),
            (header(good, "x-amz-date;host"), "Invalid", "ascending"),
            (header(good, "host;host"), "Invalid", "each once"),
            (header(good, "host").replace("5d672d", "5d672"), "Invalid", "does not match"),
            (header(good, "host").replace("5d672d", "5d672g"), "Invalid", "does not match"),
        ];
        for (text, name, message) in table {
            let error = Authorization::parse(&text).unwrap_err();
            assert_eq!(error.name(), format!("{name}SignatureException"), "{text}");
            assert!(error.message().contains(message), "{text}: {}", error.message());
        }
    }

    proptest! {
        #[test]
        fn nonsense_never_panics(text in "(AWS4-HMAC-SHA256 )?(Credential=[a/]{0,9},?)?\\PC{0,40}") {
            let _ = Authorization::parse(&text);
        }
    }
}
