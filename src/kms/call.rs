//! One call of the KMS: on whose behalf, from where, with what rights.

use super::approvals::Evidence;
use super::error::{Error, Result};
use super::principal::Principal;
use super::trace::Trace;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// The name under which volumes that use the KMS as a service are known to policies (`kms:ViaService`).
pub const FILESYSTEM_SERVICE: &str = "kmsfs";

/// On whose behalf a call runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Whoever unlocked the keystore by hand. No policy binds it; key states and management types do.
    Operator,
    /// A volume mounted by this process: it uses keys and manages none.
    Filesystem,
    /// Somebody known to the keystore, as far as policies and grants go.
    Principal(Arc<Principal>),
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// On whose behalf.
    pub caller: Caller,
    /// The region that the call was signed for. ARNs are given with it; without one, with the keystore's own.
    pub region: Option<&'a str>,
    /// Where it came from, if over a network.
    pub source_ip: Option<IpAddr>,
    /// The service that calls on behalf of the caller: `kmsfs` for a mounted volume.
    pub via_service: Option<&'a str>,
    /// Tokens of grants that need not have arrived here yet.
    pub grant_tokens: &'a [String],
    /// Whether to say only whether the call would succeed.
    pub dry_run: bool,
    /// Whether a dry run of Decrypt or ReEncrypt asks only who may do it, of the key that is named, whatever the
    /// ciphertext.
    pub ignore_ciphertext: bool,
    /// What the call is known by in logs, if it came over a network.
    pub request_id: Option<Uuid>,
    /// Whether nobody on the way could read it: it came over TLS or a unix socket, or never left this process.
    pub is_private: bool,
    /// What custodians signed for it.
    pub approval: Option<&'a dyn Evidence>,
    /// Where to note what becomes known of it.
    pub trace: Option<&'a Trace>,
}

impl Call<'_> {
    /// A call of whoever unlocked the keystore by hand.
    pub const fn operator() -> Call<'static> {
        Call::by(Caller::Operator)
    }

    /// A call of a volume mounted by this process.
    pub const fn filesystem() -> Call<'static> {
        Call::by(Caller::Filesystem)
    }

    /// A call of a principal.
    pub fn of(principal: &Arc<Principal>) -> Call<'static> {
        Call::by(Caller::Principal(Arc::clone(principal)))
    }

    const fn by(caller: Caller) -> Call<'static> {
        Call {
            caller,
            region: None,
            source_ip: None,
            via_service: None,
            grant_tokens: &[],
            dry_run: false,
            ignore_ciphertext: false,
            request_id: None,
            is_private: true,
            approval: None,
            trace: None,
        }
    }

    /// Whether a volume calls, mounted by this process or using the KMS as a service.
    pub(super) fn is_for_volume(&self) -> bool {
        self.caller == Caller::Filesystem || self.via_service == Some(FILESYSTEM_SERVICE)
    }

    /// Ends a dry run. Called where everything that could refuse the call has been asked, and before it has any
    /// effect or result.
    ///
    /// # Errors
    /// `DryRunOperationException` in a dry run.
    pub(super) fn end_dry_run(&self) -> Result<()> {
        match self.dry_run {
            true => Err(Error::DryRun),
            false => Ok(()),
        }
    }
}
