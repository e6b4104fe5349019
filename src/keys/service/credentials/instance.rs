//! The role of an EC2 instance, by its metadata service, version 2: version 1 would answer whoever can make this program
//! fetch a URL, and is never asked.

use super::{Credentials, Environment, Printed, ask};
use crate::keys::service::place::Endpoint;
use std::time::{Duration, Instant};

/// How long the service may take for one answer. It is on the same machine; elsewhere nobody answers.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a token is to serve, in seconds: for the next two questions.
const TOKEN_SECONDS: &str = "60";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The credentials of the instance's role; `None` if this is no instance, or it has no role.
///
/// # Errors
/// The service answers, but not with credentials.
pub(super) fn credentials(
    environment: &Environment,
    deadline: Instant,
) -> Result<Option<Credentials>, String> {
    if environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let url = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| {
        let mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
        let six = mode.eq_ignore_ascii_case("IPv6");
        if six { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" }.to_owned()
    });
    let (endpoint, _) = Endpoint::parse(&url).ok_or_else(|| format!("{url} is no metadata service"))?;
    let soon = || deadline.min(Instant::now() + PATIENCE);
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)];
    let token = match ask(&endpoint, ("PUT", "/latest/api/token"), &ttl, b"", soon()) {
        Ok(answer) if answer.status == 200 => answer.body,
        Ok(_) => return Ok(None),
        Err(what) => {
            log::debug!("no role of an instance: {what}");
            return Ok(None);
        }
    };
    let nonsense = || format!("{endpoint} answers as no metadata service does");
    let token = text(&token).ok_or_else(nonsense)?;
    let headers = [("x-aws-ec2-metadata-token", token)];
    let get = |path: &str| ask(&endpoint, ("GET", path), &headers, b"", soon());
    let roles = get(ROLES)?;
    if roles.status == 404 {
        return Ok(None);
    }
    let role = text(&roles.body).filter(|_| roles.status == 200).ok_or_else(nonsense)?;
    let answer = get(&format!("{ROLES}{role}"))?;
    match answer.status {
        200 => Printed::parse(&answer.body, "the instance's role").map(Some),
        status => Err(format!("{endpoint} answers with status {status} and no credentials for {role}")),
    }
}

/// The first line of an answer, if it can be in a header or a path.
fn text(body: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(body).ok()?.lines().next()?.trim();
    (!line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic())).then_some(line)
}
