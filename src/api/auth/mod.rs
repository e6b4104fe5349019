//! Who sent a signed request, and that nobody changed it.
//!
//! A request is taken in two steps, so that nobody without an access key makes the service read a body:
//! [`Claim::read`] looks at the head, [`Claim::verify`] at all of it. Signed must be `host` and every `x-amz-…`
//! and `x-kmsfs-…` header; the operation is in one of them. A signature is good for five minutes before and after its date.
//! Within that time the same request may come again: AWS accepts that too, and TLS keeps requests from being
//! seen.
//!
//! Not served: signatures in the query, signatures by several regions (`AWS4-ECDSA-P256-SHA256`), bodies that
//! are not signed.

mod authorization;
mod keys;

pub use authorization::Authorization;
pub use keys::{SigningKeyFigures, SigningKeys};

use super::error::{Error, Result};
use crate::crypto::hmac::HmacKey;
use crate::crypto::{Hash, SecretBytes};
use crate::kms::Timestamp;
use crate::sigv4::{self, Signed, format_date, hex, parse_date};
use hyper::HeaderMap;
use hyper::http::request::Parts;
use subtle::ConstantTimeEq;

/// How far a request's date may be from the time here, in minutes.
const SKEW_MINUTES: i64 = 5;

const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
const CONTENT_HASH: &str = "x-amz-content-sha256";

/// What the head of a request says about who sent it. Nothing of it is verified yet.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    head: &'a Parts,
    /// The signature and what it is for.
    pub authorization: Authorization<'a>,
    /// When it was signed, `YYYYMMDDTHHMMSSZ`.
    date: &'a str,
    /// The token of temporary credentials.
    pub token: Option<&'a str>,
}

impl<'a> Claim<'a> {
    /// Reads the head of a request, at the time `now`.
    ///
    /// # Errors
    /// `MissingAuthenticationTokenException`, `IncompleteSignatureException`, `InvalidSignatureException`.
    pub fn read(head: &'a Parts, now: Timestamp) -> Result<Claim<'a>> {
        if query(head).contains("X-Amz-Signature=") {
            return Err(incomplete(
                "Signatures in the query are not served here: sign in the Authorization header.",
            ));
        }
        let Some(header) = single(&head.headers, "authorization")? else {
            return Err(Error::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
        };
        let authorization = Authorization::parse(header)?;
        let Some(date) = single(&head.headers, DATE)? else {
            return Err(incomplete("Authorization header requires existence of a 'X-Amz-Date' header."));
        };
        let claim = Claim { head, authorization, date, token: single(&head.headers, TOKEN)? };
        claim.check_names()?;
        claim.check_date(now)?;
        Ok(claim)
    }

    /// Verifies that `body` and what is signed of the head came from somebody with the access key's `secret`.
    ///
    /// # Errors
    /// `InvalidSignatureException`.
    pub fn verify(&self, keys: &SigningKeys, secret: &SecretBytes, body: &[u8]) -> Result<()> {
        self.check_content_hash(body)?;
        let key = keys.get(&self.authorization, secret);
        let expected = self.signature(&key, body).ok_or_else(mismatch)?;
        if !bool::from(expected.as_slice().ct_eq(&self.authorization.signature)) {
            return Err(mismatch());
        }
        keys.keep(&self.authorization, &key);
        Ok(())
    }

    /// The signature that the request should have; `None` if a signed header is missing.
    fn signature(&self, key: &HmacKey, body: &[u8]) -> Option<Vec<u8>> {
        let signed = Signed {
            method: self.head.method.as_str(),
            path: self.head.uri.path(),
            query: query(self.head),
            headers: &self.head.headers,
            signed_headers: self.authorization.signed_headers,
            body,
        };
        Some(sigv4::sign(key, self.date, self.authorization.scope, &signed.canonical()?))
    }

    /// The host must be signed, lest a request be sent on to another server, and all that AWS's protocol puts
    /// into headers, the operation above all.
    fn check_names(&self) -> Result<()> {
        let is_signed =
            |name: &str| self.authorization.signed_headers.split(';').any(|signed| signed == name);
        if !is_signed("host") {
            return Err(invalid("'Host' must be a 'SignedHeader' in the AWS Authorization."));
        }
        let unsigned = self.head.headers.keys().find(|name| {
            let name = name.as_str();
            (name.starts_with("x-amz-") || name.starts_with("x-kmsfs-")) && !is_signed(name)
        });
        match unsigned {
            Some(name) => {
                Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
            }
            None => Ok(()),
        }
    }

    fn check_date(&self, now: Timestamp) -> Result<()> {
        let date = parse_date(self.date).ok_or_else(|| {
            incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{}'.", self.date))
        })?;
        let (day, scope) = (&self.date[..8], self.authorization.date);
        if day != scope {
            return Err(invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{scope}' != '{day}', from '{}'.",
                self.date
            )));
        }
        let skew = time::Duration::minutes(SKEW_MINUTES);
        let (given, here) = (self.date, format_date(now));
        if date < now - skew {
            let bound = format_date(now - skew);
            return Err(invalid(format!(
                "Signature expired: {given} is now earlier than {bound} ({here} - {SKEW_MINUTES} min.)"
            )));
        }
        if date > now + skew {
            let bound = format_date(now + skew);
            return Err(invalid(format!(
                "Signature not yet current: {given} is still later than {bound} ({here} + {SKEW_MINUTES} min.)"
            )));
        }
        Ok(())
    }

    /// A body's hash may be given in a header as well; it must be that of this body.
    fn check_content_hash(&self, body: &[u8]) -> Result<()> {
        match single(&self.head.headers, CONTENT_HASH)? {
            Some(given) if given != hex(&Hash::Sha256.digest(body)) => {
                Err(invalid("The provided 'x-amz-content-sha256' header does not match what was computed."))
            }
            _ => Ok(()),
        }
    }
}

fn query(head: &Parts) -> &str {
    head.uri.query().unwrap_or("")
}

/// The value of a header that must not come twice.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(incomplete(format!("The header '{name}' must come once, in ASCII."))),
    }
}

/// AWS's words for a signature that is not the right one.
fn mismatch() -> Error {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.",
    )
}

fn incomplete(message: impl Into<String>) -> Error {
    Error::new("IncompleteSignatureException", message)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new("InvalidSignatureException", message)
}

#[cfg(test)]
mod tests;
