//! What becomes known of a call while it is decided and served, for its line in the audit log.

use super::approvals::Approved;
use super::audit::CallRecord;
use super::context::EncryptionContext;
use super::grant::GrantId;
use super::spec::KeySpec;
use super::state::Operation;
use parking_lot::Mutex;

/// Takes notes of one call. Whoever wants them lends one to the [`super::Call`]; calls without one cost nothing.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    used: Option<Used>,
    /// `ReEncrypt`: the key of the old ciphertext.
    source: Option<Used>,
    grant: Option<GrantId>,
    /// What is run, where that is not what was called.
    runs: Option<&'static str>,
    approved: Option<Approved>,
}

/// A key and how it was asked for.
#[derive(Debug)]
struct Used {
    arn: String,
    spec: KeySpec,
    context: EncryptionContext,
}

impl Trace {
    /// Notes the key that the call is about, whether or not it turns out to be allowed; `spec` is that of the key, or of
    /// the data key pair to make.
    pub(super) fn key(
        &self,
        operation: Operation,
        arn: String,
        spec: KeySpec,
        context: Option<&EncryptionContext>,
    ) {
        let used = Used { arn, spec, context: context.cloned().unwrap_or_default() };
        let mut notes = self.0.lock();
        match operation {
            Operation::ReEncryptFrom => notes.source = Some(used),
            _ => notes.used = Some(used),
        }
    }

    /// Notes the grant that allows the call.
    pub(super) fn grant(&self, id: GrantId) {
        self.0.lock().grant = Some(id);
    }

    /// Notes the operation that the call is about, by its name in the API, where it was called as part of another.
    pub fn runs(&self, operation: &'static str) {
        self.0.lock().runs = Some(operation);
    }

    /// Notes who approves the call.
    pub(super) fn approved(&self, approved: Approved) {
        self.0.lock().approved = Some(approved);
    }

    /// Puts what was noted into the call's record.
    pub fn tell(self, record: &mut CallRecord) {
        let Notes { used, source, grant, runs, approved } = self.0.into_inner();
        if let Some(operation) = runs {
            record.is_of(operation);
        }
        if let Some(Approved { requester, approvers, .. }) = approved {
            (record.requested_by, record.approved_by) = (Some(requester), approvers);
        }
        if let Some(Used { arn, spec, context }) = used {
            record.key = Some(arn);
            record.spec = Some(spec.name().into());
            record.context = context;
        }
        if let Some(Used { arn, context, .. }) = source {
            record.source_key = Some(arn);
            record.source_context = context;
        }
        record.grant = grant.map(|id| id.to_string());
    }
}
