//! Signs requests as AWS's services have it.

use super::credentials::Credentials;
use crate::crypto::hmac::HmacKey;
use crate::sigv4::{self, ALGORITHM, Signed, TERMINATOR, format_date, hex, signing_key};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use std::sync::Arc;
use time::OffsetDateTime;

/// Signs for one service in one region.
pub(super) struct Signer {
    service: &'static str,
    region: String,
    /// The last signing key, with the access key and the day that it is of.
    last: Mutex<Option<(String, String, Arc<HmacKey>)>>,
}

impl Signer {
    pub(super) fn new(service: &'static str, region: String) -> Signer {
        Signer { service, region, last: Mutex::default() }
    }

    /// The headers that sign a POST request to `/` with these headers, as of now. `None` if the credentials are not
    /// such as can be in a header.
    pub(super) fn sign(
        &self,
        credentials: &Credentials,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Vec<(&'static str, String)>> {
        let date = format_date(OffsetDateTime::now_utc());
        let mut added = vec![("x-amz-date", date.clone())];
        added.extend(credentials.token.iter().map(|token| ("x-amz-security-token", token.clone())));
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
        all.sort_unstable();
        let signed_headers = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let header = |(name, value): &(&str, &str)| {
            Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        };
        let headers: HeaderMap = all.iter().map(header).collect::<Option<_>>()?;
        let signed = Signed {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            signed_headers: &signed_headers,
            body,
        };
        let canonical = signed.canonical()?;
        let (day, Signer { service, region, .. }) = (&date[..8], self);
        let scope = format!("{day}/{region}/{service}/{TERMINATOR}");
        let signature = hex(&sigv4::sign(&self.key(credentials, day), &date, &scope, &canonical));
        let access_key = &credentials.access_key;
        added.push((
            "authorization",
            format!(
                "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed_headers}, Signature={signature}"
            ),
        ));
        Some(added)
    }

    fn key(&self, credentials: &Credentials, day: &str) -> Arc<HmacKey> {
        let mut last = self.last.lock();
        let same =
            |(access_key, of, _): &&(String, String, _)| *access_key == credentials.access_key && of == day;
        if let Some((_, _, key)) = last.as_ref().filter(same) {
            return Arc::clone(key);
        }
        let key = Arc::new(signing_key(&credentials.secret, day, &self.region, self.service));
        *last = Some((credentials.access_key.clone(), day.to_owned(), Arc::clone(&key)));
        key
    }
}
