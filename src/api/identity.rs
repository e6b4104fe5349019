//! Who sends a request: the owner of the access key that it is signed with, or the user at the other end of the
//! unix socket.

use super::auth::Claim;
use super::error::{Error, Result};
use super::service::Origin;
use crate::crypto::SecretBytes;
use crate::kms::{Call, Credentials, CredentialsError, FILESYSTEM_SERVICE, Kms, Principal};
use hyper::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// The header in which a volume says that it is one. It gives no right: policies that ask for `kms:ViaService` tell
/// volumes from people who mean well.
const VIA_SERVICE: &str = "x-kmsfs-via-service";

/// On whose behalf a request runs.
#[derive(Debug)]
pub struct Identity {
    principal: Arc<Principal>,
    region: Option<String>,
    source_ip: Option<IpAddr>,
    is_private: bool,
    via_service: Option<&'static str>,
    request_id: Uuid,
}

impl Identity {
    /// The owner of the access key that `claim` names. Whether the request is theirs is still to be verified, with the
    /// secret that comes with it.
    ///
    /// # Errors
    /// `UnrecognizedClientException`, `ExpiredTokenException`, `KeyUnavailableException`.
    pub fn claimed(kms: &Kms, claim: &Claim<'_>) -> Result<(Identity, Arc<SecretBytes>)> {
        let (id, token) = (claim.authorization.access_key, claim.token);
        let Credentials { secret, principal } =
            kms.lookup_access_key(id, token).map_err(|error| match error {
                CredentialsError::Invalid => Error::new("UnrecognizedClientException", error.to_string()),
                CredentialsError::Expired => Error::new("ExpiredTokenException", error.to_string()),
                CredentialsError::Unavailable(error) => error.into(),
            })?;
        let region = Some(claim.authorization.region.to_owned());
        Ok((Identity { region, ..Identity::new(principal) }, secret))
    }

    /// The user at the other end of the unix socket.
    ///
    /// # Errors
    /// `AccessDeniedException` if the user is nobody here, `KeyUnavailableException`.
    pub fn peer(kms: &Kms, uid: u32, own_uid: u32) -> Result<Identity> {
        let denied = || {
            let message = format!("The user {uid} of this machine is no principal of this keystore.");
            Error::new("AccessDeniedException", message)
        };
        Ok(Identity::new(kms.principal_for_uid(uid, own_uid)?.ok_or_else(denied)?))
    }

    fn new(principal: Arc<Principal>) -> Identity {
        Identity {
            principal,
            region: None,
            source_ip: None,
            is_private: true,
            via_service: None,
            request_id: Uuid::nil(),
        }
    }

    /// This identity, with what the request says besides.
    pub fn sending(self, request_id: Uuid, origin: &Origin, headers: &HeaderMap) -> Identity {
        let (source_ip, is_private) = match origin {
            Origin::Peer { .. } => (None, true),
            Origin::Address { address, tls } => (Some(address.ip()), *tls),
        };
        let via = headers.get(VIA_SERVICE).is_some_and(|service| service == FILESYSTEM_SERVICE);
        Identity { request_id, source_ip, is_private, via_service: via.then_some(FILESYSTEM_SERVICE), ..self }
    }

    /// Whose it is.
    pub fn arn(&self) -> &str {
        &self.principal.arn
    }

    /// A call on behalf of this identity.
    pub fn call(&self) -> Call<'_> {
        Call {
            region: self.region.as_deref(),
            source_ip: self.source_ip,
            is_private: self.is_private,
            via_service: self.via_service,
            request_id: Some(self.request_id),
            ..Call::of(&self.principal)
        }
    }
}
