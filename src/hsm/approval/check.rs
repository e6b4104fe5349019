//! Whether approvals count, and how many.

use super::request::{Approval, Request};
use crate::kms::{APPROVAL_VALID, Approvals, Approved, Custodian, Evidence, Refusal, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use thiserror::Error;
use uuid::Uuid;

/// Why a request or its approvals are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// A file is none.
    #[error("{0}")]
    Malformed(String),
    /// The request is to another HSM.
    #[error("the request is to the HSM {found}; this is {own}")]
    Foreign {
        /// Whom it is to.
        found: Uuid,
        /// Who is asked.
        own: Uuid,
    },
    /// Nobody here has this key.
    #[error("no custodian of this HSM has the key {0}")]
    Unknown(String),
    /// It is not what its requester signed.
    #[error("the request was altered after {0} had signed it")]
    Altered(String),
    /// It is too late.
    #[error("the request expired on {0}")]
    Expired(Timestamp),
    /// It would be good for too long.
    #[error("the request expires on {expires}: later than {} days from now", APPROVAL_VALID.whole_days())]
    TooLong {
        /// When.
        expires: Timestamp,
    },
    /// It was carried out.
    #[error("the request was carried out before: it is good once")]
    Replay,
    /// It asks for something else.
    #[error("the request is for {0}")]
    OtherOperation(String),
    /// It is carried out with other arguments than these.
    #[error("the request is for other arguments: {0}")]
    OtherArguments(String),
    /// An approval of another request, or of the same one with other arguments.
    #[error("the approval of {0} is of another request, or of other arguments")]
    OtherRequest(String),
    /// An approval that is not what its approver signed.
    #[error("the approval of {0} was altered after it was signed")]
    Forged(String),
    /// The requester approves.
    #[error("{0} requested it, and cannot approve it too")]
    SelfApproval(String),
    /// The same custodian twice.
    #[error("{0} approves twice")]
    Duplicate(String),
    /// More custodians are needed.
    #[error("{have} of the {need} approvals that are needed")]
    NotEnough {
        /// Approvals that count.
        have: usize,
        /// Those needed.
        need: u8,
    },
}

impl Refused {
    /// The name of the error in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Refused::Malformed(_) => "ApprovalMalformedException",
            Refused::Foreign { .. } => "ApprovalForeignException",
            Refused::Unknown(_) => "ApprovalUnknownCustodianException",
            Refused::Altered(_) => "ApprovalRequestAlteredException",
            Refused::Expired(_) => "ApprovalExpiredException",
            Refused::TooLong { .. } => "ApprovalTooLongException",
            Refused::Replay => "ApprovalReplayException",
            Refused::OtherOperation(_) => "ApprovalOtherOperationException",
            Refused::OtherArguments(_) => "ApprovalOtherArgumentsException",
            Refused::OtherRequest(_) => "ApprovalOtherRequestException",
            Refused::Forged(_) => "ApprovalForgedException",
            Refused::SelfApproval(_) => "ApprovalSelfException",
            Refused::Duplicate(_) => "ApprovalDuplicateException",
            Refused::NotEnough { .. } => "ApprovalNotEnoughException",
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        Refusal { name: refused.name(), message: refused.to_string() }
    }
}

/// A request and approvals, as somebody brings them to an HSM.
#[derive(Debug, Clone)]
pub struct Signed {
    hsm: Uuid,
    request: Request,
    approvals: Vec<Approval>,
}

impl Signed {
    /// What files say, brought to the HSM `hsm`. Nothing of it is checked yet.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    pub fn decode<'f>(
        hsm: Uuid,
        request: &[u8],
        approvals: impl IntoIterator<Item = &'f [u8]>,
    ) -> Result<Signed, Refused> {
        let malformed = |what: &str, error: &dyn std::fmt::Display| {
            Refused::Malformed(format!("this is no {what} of an HSM: {error}"))
        };
        let request = Request::decode(request).map_err(|error| malformed("request", &error))?;
        let approvals = approvals.into_iter().map(Approval::decode).collect::<Result<_, _>>();
        let approvals = approvals.map_err(|error| malformed("approval", &error))?;
        Ok(Signed { hsm, request, approvals })
    }

    /// What is requested.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Says whether `need` of the custodians in `known` approve that `operation` is done as requested. In which order
    /// approvals come does not matter; every one of them must be good.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn judge(
        &self,
        operation: &str,
        need: u8,
        known: &Approvals,
        now: Timestamp,
    ) -> Result<Approved, Refused> {
        let request = &self.request;
        if request.hsm != self.hsm {
            return Err(Refused::Foreign { found: request.hsm, own: self.hsm });
        }
        let requester = find(known, &request.requester)?;
        if !request.is_signed() {
            return Err(Refused::Altered(requester.name.clone()));
        }
        if known.is_over(request.expires, now) {
            return Err(Refused::Expired(request.expires));
        }
        if request.expires > now + APPROVAL_VALID {
            return Err(Refused::TooLong { expires: request.expires });
        }
        if known.is_used(request.nonce) {
            return Err(Refused::Replay);
        }
        if request.operation != operation {
            return Err(Refused::OtherOperation(request.operation.clone()));
        }
        let approvers = self.approvers(known, requester)?;
        if approvers.len() < usize::from(need) {
            return Err(Refused::NotEnough { have: approvers.len(), need });
        }
        Ok(Approved {
            nonce: request.nonce,
            expires: request.expires,
            requester: requester.name.clone(),
            approvers,
        })
    }

    /// The names of those who approve, sorted, each of them somebody else.
    fn approvers(&self, known: &Approvals, requester: &Custodian) -> Result<Vec<String>, Refused> {
        let digest = self.request.digest();
        let mut approvers = BTreeSet::new();
        for approval in &self.approvals {
            let approver = find(known, &approval.approver)?;
            let name = || approver.name.clone();
            if !approval.is_signed() {
                return Err(Refused::Forged(name()));
            }
            if approval.request != digest {
                return Err(Refused::OtherRequest(name()));
            }
            if approver.public_key == requester.public_key {
                return Err(Refused::SelfApproval(name()));
            }
            if !approvers.insert(name()) {
                return Err(Refused::Duplicate(name()));
            }
        }
        Ok(approvers.into_iter().collect())
    }
}

impl Evidence for Signed {
    fn check(
        &self,
        operation: &str,
        need: u8,
        known: &Approvals,
        now: Timestamp,
    ) -> Result<Approved, Refusal> {
        Ok(self.judge(operation, need, known, now)?)
    }
}

fn find<'k>(known: &'k Approvals, public_key: &[u8; 32]) -> Result<&'k Custodian, Refused> {
    known.custodian(public_key).ok_or_else(|| Refused::Unknown(STANDARD.encode(public_key)))
}
