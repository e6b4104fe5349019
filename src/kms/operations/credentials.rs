//! Who calls: from an access key, a session token or a user of this machine to a principal.
//!
//! Every request over a network passes through here; memory is read, the keystore is not.

use super::principals::{check_administrator, find};
use crate::crypto::random;
use crate::crypto::secret::SecretBytes;
use crate::kms::Kms;
use crate::kms::call::Call;
use crate::kms::clock::Timestamp;
use crate::kms::error::{Error, Result};
use crate::kms::principal::{Principal, PrincipalName, check_name};
use crate::kms::session::{ACCESS_KEY_LEN, SECRET_LEN, Session};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::ops::RangeInclusive;
use std::sync::Arc;
use zeroize::Zeroize;

/// How long temporary credentials may be good for, in seconds: 15 minutes to 12 hours.
pub const SESSION_SECONDS: RangeInclusive<u32> = 900..=43_200;

/// What a request is verified with, and whom it then comes from.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The secret access key, 40 characters.
    pub secret: Arc<SecretBytes>,
    /// Who signs with it.
    pub principal: Arc<Principal>,
}

/// Why credentials are refused.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// There is no such access key, it is not active, or the token is not its.
    #[error("The security token included in the request is invalid.")]
    Invalid,
    /// The temporary credentials are too old.
    #[error("The security token included in the request is expired")]
    Expired,
    /// The keystore cannot be read just now.
    #[error(transparent)]
    Unavailable(#[from] Error),
}

/// Temporary credentials. They are shown once: nothing is kept of them.
#[derive(Debug, Clone)]
pub struct TemporaryCredentials {
    /// The id of the access key: `ASIA…`, 20 characters.
    pub access_key: String,
    /// The secret access key, 40 characters.
    pub secret: Arc<SecretBytes>,
    /// The token that has to go with every request. It is worth nothing without the secret, and the secret nothing
    /// without it.
    pub token: String,
    /// From when on they are good for nothing.
    pub expires: Timestamp,
}

impl Kms {
    /// What a request is verified with that is signed with the access key of this id, and has this session token, if
    /// any.
    ///
    /// # Errors
    /// [`CredentialsError`]
    pub fn lookup_access_key(
        &self,
        id: &str,
        token: Option<&str>,
    ) -> std::result::Result<Credentials, CredentialsError> {
        let table = self.core.table()?;
        let account = table.account();
        let Some(token) = token else {
            let owner = table.principals().of_access_key(id).ok_or(CredentialsError::Invalid)?;
            let known = owner.record.access_keys.iter().find(|key| key.id == id && key.active);
            let secret = Arc::clone(known.ok_or(CredentialsError::Invalid)?.secret.bytes());
            return Ok(Credentials {
                secret,
                principal: Arc::new(Principal::new(account, &owner.record, "")),
            });
        };
        let session = self.session_tokens.open(token).filter(|session| session.access_key == id);
        let session = session.ok_or(CredentialsError::Invalid)?;
        if session.expires <= self.core.now() {
            return Err(CredentialsError::Expired);
        }
        let owner = table.principals().get(session.principal).ok_or(CredentialsError::Invalid)?;
        let mut principal = Principal::new(account, owner, &session.name);
        principal.session_began = Some(session.began);
        Ok(Credentials { secret: session.secret, principal: Arc::new(principal) })
    }

    /// Who the user `uid` of this machine is, if anybody. Unless they are somebody else, the superuser and the user
    /// that runs this process, `own_uid`, are the account's root: both can read the keystore anyway. A role is assumed
    /// in a session named `uid-` and the number.
    ///
    /// # Errors
    /// `KeyUnavailableException`.
    pub fn principal_for_uid(&self, uid: u32, own_uid: u32) -> Result<Option<Arc<Principal>>> {
        let table = self.core.table()?;
        let principal = match table.principals().of_uid(uid) {
            Some(stored) => Principal::new(table.account(), &stored.record, &format!("uid-{uid}")),
            None if uid == 0 || uid == own_uid => Principal::root(table.account()),
            None => return Ok(None),
        };
        Ok(Some(Arc::new(principal)))
    }

    /// Issues credentials that act as `name` for `seconds`: as a user, or as a role in a session named `session`.
    /// They end earlier only with the principal.
    ///
    /// # Errors
    /// `ValidationException` unless `seconds` is in [`SESSION_SECONDS`] and `session` a name; `NotFoundException`,
    /// `AccessDeniedException`.
    pub fn issue_session(
        &self,
        call: &Call<'_>,
        name: &PrincipalName,
        session: &str,
        seconds: u32,
    ) -> Result<TemporaryCredentials> {
        check_administrator(call, "sts:AssumeRole")?;
        super::check_range(seconds, "durationSeconds", SESSION_SECONDS)?;
        check_name(session)?;
        let principal = find(&*self.core.table()?, name)?.id;
        let (access_key, secret) = new_access_key("ASIA");
        let began = self.core.now();
        let expires = began + time::Duration::seconds(seconds.into());
        let name = session.to_owned();
        let session = Session {
            principal,
            began,
            expires,
            access_key: access_key.clone(),
            secret: Arc::clone(&secret),
            name,
        };
        Ok(TemporaryCredentials { access_key, secret, token: self.session_tokens.seal(&session), expires })
    }
}

/// A new access key: its id, `prefix` and 80 random bits in base32 (RFC 4648), and its secret, 240 random bits in
/// base64, as AWS's look.
pub(super) fn new_access_key(prefix: &str) -> (String, Arc<SecretBytes>) {
    const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut id = prefix.to_owned();
    let bits = u128::from_be_bytes(random::array());
    id.extend((prefix.len()..ACCESS_KEY_LEN).map(|at| BASE32[(bits >> (at * 5)) as usize % 32] as char));

    let mut random = random::array::<30>();
    let mut secret = SecretBytes::zeroed(SECRET_LEN);
    let written = STANDARD.encode_slice(random, secret.expose_mut());
    assert_eq!(written, Ok(SECRET_LEN), "30 bytes are 40 characters in base64");
    random.zeroize();
    (id, Arc::new(secret))
}
