//! Custodians who approve, and what needs how many of them. Operations of an HSM, which AWS KMS does not have.
//!
//! The account's root manages them until something needs approvals. From then on every change needs them too.

use super::principals::check_administrator;
use crate::kms::Kms;
use crate::kms::approvals::{
    APPROVERS_MAX, Approvals, Custodian, Guarded, HSM_ADD_CUSTODIAN, HSM_REMOVE_CUSTODIAN, HSM_SET_POLICY,
};
use crate::kms::call::Call;
use crate::kms::clock::Timestamp;
use crate::kms::error::{Error, Result};
use crate::kms::principal::check_name;
use crate::kms::table::Draft;
use std::collections::BTreeMap;

impl Kms {
    /// Custodians, what needs how many of them, and what was used. Nothing of it is secret.
    ///
    /// # Errors
    /// `KeyUnavailableException`.
    pub fn approvals(&self) -> Result<Approvals> {
        Ok(self.core.table()?.approvals().cloned().unwrap_or_default())
    }

    /// Says whether custodians approve `operation`, whose approval is not used up by that.
    ///
    /// # Errors
    /// `AccessDeniedException`, or the error of an approval, if not.
    pub fn check_approved(&self, call: &Call<'_>, operation: &str) -> Result<()> {
        self.approvals()?.judge(call, operation, self.core.now()).map(drop)
    }

    /// Has whoever has the private key of `public_key` approve.
    ///
    /// # Errors
    /// `AlreadyExistsException` if a custodian has this name or key; `LimitExceededException`; as
    /// [`Kms::require_approvals`].
    pub fn add_custodian(&self, call: &Call<'_>, name: &str, public_key: [u8; 32]) -> Result<()> {
        check_name(name)?;
        self.change_approvals(call, HSM_ADD_CUSTODIAN, |approvals, now| {
            let mut custodians = approvals.custodians().iter();
            let taken =
                |one: &&Custodian| one.name.eq_ignore_ascii_case(name) || one.public_key == public_key;
            if let Some(taken) = custodians.find(taken) {
                return Err(Error::AlreadyExists(format!("{} is a custodian already", taken.name)));
            }
            if approvals.custodians().len() == APPROVERS_MAX {
                return Err(Error::LimitExceeded(format!("there are {APPROVERS_MAX} custodians, the most")));
            }
            approvals.add(Custodian { name: name.to_owned(), public_key, added: now });
            Ok(())
        })
    }

    /// Has the custodian `name` approve no longer.
    ///
    /// # Errors
    /// `NotFoundException`; `ConflictException` if too few would be left for what needs approvals; as
    /// [`Kms::require_approvals`].
    pub fn remove_custodian(&self, call: &Call<'_>, name: &str) -> Result<()> {
        self.change_approvals(call, HSM_REMOVE_CUSTODIAN, |approvals, _| match approvals.remove(name) {
            true => Ok(()),
            false => Err(Error::NotFound(format!("there is no custodian {name}"))),
        })
    }

    /// Says what needs how many approvals from now on; what is not named needs none.
    ///
    /// # Errors
    /// `ConflictException` if there are too few custodians; `UnsupportedOperationException` if the keystore is not an
    /// HSM's; `AccessDeniedException` for whoever is not the account's root, and where custodians must approve; that of
    /// an approval.
    pub fn require_approvals(&self, call: &Call<'_>, required: BTreeMap<Guarded, u8>) -> Result<()> {
        self.change_approvals(call, HSM_SET_POLICY, |approvals, _| {
            approvals.require(required);
            Ok(())
        })
    }

    fn change_approvals(
        &self,
        call: &Call<'_>,
        operation: &str,
        edit: impl FnOnce(&mut Approvals, Timestamp) -> Result<()>,
    ) -> Result<()> {
        check_administrator(call, format_args!("kmsfs:{operation}"))?;
        if !self.is_hsm()? {
            let message = "Custodians approve on an HSM only: `kmsfs hsm init` makes one.";
            return Err(Error::Unsupported(message.into()));
        }
        self.core.change(|draft: &mut Draft<'_>| {
            draft.approve(call, operation)?;
            let mut approvals = draft.approvals();
            edit(&mut approvals, draft.now)?;
            if !approvals.can_be_met() {
                return Err(Error::Conflict(format!(
                    "with {} custodians, one of whom requests, not so many can approve as would be needed",
                    approvals.custodians().len()
                )));
            }
            draft.put_approvals(approvals);
            Ok(())
        })
    }
}
