//! Roles: temporary credentials that AWS STS gives to whoever may assume one.

use super::{Credentials, Environment, ask};
use crate::crypto::SecretBytes;
use crate::keys::service::place::Endpoint;
use crate::keys::service::signer::Signer;
use std::fmt::Write;
use std::time::Instant;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

const SERVICE: &str = "sts";

/// A role, and how to assume it.
#[derive(Debug, Default)]
pub(super) struct Role {
    /// Its ARN.
    pub(super) arn: String,
    /// The name of the session, in AWS's log.
    pub(super) session: Option<String>,
    /// What the role's owner asks for.
    pub(super) external_id: Option<String>,
    /// How long the session lasts, in seconds.
    pub(super) seconds: Option<String>,
}

impl Role {
    fn parameters(&self, action: &'static str) -> Vec<(&'static str, &str)> {
        let mut all = vec![
            ("Action", action),
            ("Version", "2011-06-15"),
            ("RoleArn", self.arn.as_str()),
            ("RoleSessionName", self.session.as_deref().unwrap_or("kmsfs")),
        ];
        all.extend(self.external_id.as_deref().map(|id| ("ExternalId", id)));
        all.extend(self.seconds.as_deref().map(|seconds| ("DurationSeconds", seconds)));
        all
    }
}

/// Assumes `role` with the credentials `source`.
///
/// # Errors
/// STS refuses or does not answer.
pub(super) fn assume(
    environment: &Environment,
    region: Option<String>,
    source: &Credentials,
    role: &Role,
    deadline: Instant,
) -> Result<Credentials, String> {
    call(environment, region, Some(source), &role.parameters("AssumeRole"), deadline)
        .map_err(|what| format!("{}: {what}", role.arn))
}

/// Assumes `role` with the token in `file`. It is read each time: it is replaced now and then.
///
/// # Errors
/// There is no token, STS refuses or does not answer.
pub(super) fn assume_with_token(
    environment: &Environment,
    region: Option<String>,
    file: &str,
    role: &Role,
    deadline: Instant,
) -> Result<Credentials, String> {
    let token =
        std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| format!("{file}: {error}"))?;
    let mut parameters = role.parameters("AssumeRoleWithWebIdentity");
    parameters.push(("WebIdentityToken", token.trim()));
    call(environment, region, None, &parameters, deadline).map_err(|what| format!("{}: {what}", role.arn))
}

/// The credentials of the role that the environment names for a token; `None` if it names none.
///
/// # Errors
/// As [`assume_with_token`].
pub(super) fn web_identity(
    environment: &Environment,
    region: Option<String>,
    deadline: Instant,
) -> Result<Option<Credentials>, String> {
    let (file, arn) = (environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"), environment.get("AWS_ROLE_ARN"));
    let (Some(file), Some(arn)) = (file, arn) else { return Ok(None) };
    let role = Role { arn, session: environment.get("AWS_ROLE_SESSION_NAME"), ..Role::default() };
    assume_with_token(environment, region, &file, &role, deadline).map(Some)
}

fn call(
    environment: &Environment,
    region: Option<String>,
    source: Option<&Credentials>,
    parameters: &[(&str, &str)],
    deadline: Instant,
) -> Result<Credentials, String> {
    let named = environment.get("AWS_ENDPOINT_URL_STS").or_else(|| environment.get("AWS_ENDPOINT_URL"));
    let (endpoint, region) = match (named, environment.region().or(region)) {
        (Some(url), region) => {
            let (endpoint, _) = Endpoint::parse(&url).ok_or_else(|| format!("{url} is no STS"))?;
            if !endpoint.tls && !endpoint.is_here() {
                return Err(format!("{url}: credentials would cross the network in the clear"));
            }
            (endpoint, region)
        }
        (None, Some(region)) => (Endpoint::of_aws(SERVICE, &region), Some(region)),
        (None, None) => (Endpoint { host: "sts.amazonaws.com".to_owned(), port: 443, tls: true }, None),
    };
    let body = form(parameters);
    let authority = endpoint.authority();
    let content_type = ("content-type", "application/x-www-form-urlencoded");
    let mut headers = vec![content_type];
    let signature = source.map(|source| {
        let signer = Signer::new(SERVICE, region.unwrap_or_else(|| "us-east-1".to_owned()));
        let signed = [("host", authority.as_str()), content_type];
        signer
            .sign(source, &signed, body.as_bytes())
            .ok_or("the access key or its token cannot be in a header")
    });
    let signature = signature.transpose()?.unwrap_or_default();
    headers.extend(signature.iter().map(|(name, value)| (*name, value.as_str())));
    let answer = ask(&endpoint, ("POST", "/"), &headers, body.as_bytes(), deadline)?;
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    match answer.status {
        200 => parse(text).ok_or_else(|| format!("{endpoint} answers with no credentials")),
        status => {
            let (name, why) = (element(text, "Code"), element(text, "Message"));
            Err(format!(
                "{endpoint}: {}: {}",
                name.unwrap_or("no name"),
                why.unwrap_or(&format!("status {status}"))
            ))
        }
    }
}

/// The credentials in an answer: `<Credentials><AccessKeyId>…`.
fn parse(text: &str) -> Option<Credentials> {
    let inner = element(text, "Credentials")?;
    Some(Credentials {
        access_key: element(inner, "AccessKeyId")?.to_owned(),
        secret: SecretBytes::from(element(inner, "SecretAccessKey")?.to_owned()),
        token: Some(element(inner, "SessionToken")?.to_owned()),
        ends: Some(OffsetDateTime::parse(element(inner, "Expiration")?, &Rfc3339).ok()?),
    })
}

/// What is in the first element of a name. STS's answers have each at most once, and no attributes or entities in what
/// is read of them.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim())
}

/// Parameters as `application/x-www-form-urlencoded`.
fn form(parameters: &[(&str, &str)]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text.push(char::from(byte))
                }
                _ => write!(text, "%{byte:02X}").expect("a String takes every write"),
            }
        }
    }
    text
}
