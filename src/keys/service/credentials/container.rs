//! The role of a container: ECS, and EKS with Pod Identity.

use super::{Credentials, Environment, Printed, ask};
use crate::keys::service::place::Endpoint;
use std::net::IpAddr;
use std::time::Instant;

/// Where ECS's agent answers.
const AGENT: &str = "http://169.254.170.2";
/// Where besides on this machine credentials may come from in the clear: link-local addresses of ECS and EKS.
const TRUSTED: &[&str] = &["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The credentials of the container's role; `None` if the environment names no place for them.
///
/// # Errors
/// The place is not safe or has none.
pub(super) fn credentials(
    environment: &Environment,
    deadline: Instant,
) -> Result<Option<Credentials>, String> {
    let relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let full = relative.map(|path| format!("{AGENT}{path}"));
    let Some(url) = full.or_else(|| environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) else {
        return Ok(None);
    };
    let (endpoint, path) =
        Endpoint::parse(&url).ok_or_else(|| format!("{url} is no place of credentials"))?;
    if !endpoint.tls && !endpoint.is_here() && !is_trusted(&endpoint.host) {
        return Err(format!("{url}: credentials would cross the network in the clear"));
    }
    let token = match environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        // Read each time: it is replaced now and then.
        Some(file) => Some(std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?),
        None => environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let token = token.as_deref().map(str::trim);
    if token.is_some_and(|token| token.contains(['\r', '\n'])) {
        return Err("the container's authorization token has several lines".to_owned());
    }
    let headers: Vec<_> = token.map(|token| ("authorization", token)).into_iter().collect();
    let answer = ask(&endpoint, ("GET", path), &headers, b"", deadline)?;
    match answer.status {
        200 => Printed::parse(&answer.body, "the container's role").map(Some),
        status => Err(format!("{endpoint} answers with status {status} and no credentials")),
    }
}

fn is_trusted(host: &str) -> bool {
    let Ok(address) = host.parse::<IpAddr>() else { return false };
    TRUSTED.iter().any(|trusted| trusted.parse() == Ok(address))
}
