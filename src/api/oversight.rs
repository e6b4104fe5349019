//! What is kept of every call: its line in the audit log, its place in the figures. And which calls are one too
//! many.

use super::error::{Error, Result};
use super::metrics::{Figure, InFlight, Metrics};
use super::operations::{OWN, SERVED};
use crate::kms::audit::{AuditLog, CallRecord, Durability};
use crate::kms::quota::Quotas;
use crate::kms::{KeySpec, Kms};
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Oversight {
    audit: Option<AuditLog>,
    quotas: Option<Quotas>,
    metrics: Metrics,
}

impl Oversight {
    /// Without `audit` nothing is recorded, without `quotas` nothing is limited.
    pub fn new(audit: Option<AuditLog>, quotas: Option<Quotas>) -> Oversight {
        let metrics = Metrics::new(SERVED.iter().chain(OWN).map(|served| served.model.name));
        Oversight { audit, quotas, metrics }
    }

    /// Notes that a call has arrived. It has a line once it is ended.
    pub fn begin(&self, record: CallRecord) -> Ongoing {
        Ongoing { record, arrived: Instant::now(), _in_flight: self.metrics.begin() }
    }

    /// Says whether what a call does can be recorded. Asked before it has an effect.
    ///
    /// # Errors
    /// `KMSInternalException` if calls wait for the audit log, and it cannot be written.
    pub fn check(&self) -> Result<()> {
        match &self.audit {
            Some(audit) => audit.check().map_err(|_| unrecorded()),
            None => Ok(()),
        }
    }

    /// Counts a call against its quota; `spec` is asked for only if there are quotas.
    ///
    /// # Errors
    /// `ThrottlingException`
    pub fn admit(&self, operation: &str, spec: impl FnOnce() -> Option<KeySpec>) -> Result<()> {
        let Some(quotas) = &self.quotas else { return Ok(()) };
        let admitted = quotas.admit(operation, spec(), Instant::now());
        admitted.map_err(|throttled| Error::new("ThrottlingException", throttled.to_string()))
    }

    /// Counts and records a call that ended with `outcome`, before it first waits. What it gives is the answer: a call
    /// that cannot be recorded has none, if calls wait for the audit log.
    pub async fn end<T>(&self, call: Ongoing, outcome: Result<T>) -> Result<T> {
        let Ongoing { mut record, arrived, _in_flight } = call;
        let (error, took) = (outcome.as_ref().err().map(Error::name), arrived.elapsed());
        self.metrics.count(&record.operation, error, took);
        let Some(audit) = &self.audit else { return outcome };
        record.error = error.map(Into::into);
        record.took(took);
        match audit.append(record).ready().await {
            Ok(()) => outcome,
            Err(_) => Err(unrecorded()),
        }
    }

    /// The log, if one is kept.
    pub fn log(&self) -> Option<&AuditLog> {
        self.audit.as_ref()
    }

    /// Writes down what is not written yet. Nothing is recorded from then on.
    pub fn close(&self) {
        if let Some(audit) = &self.audit {
            audit.close();
        }
    }

    /// The figures, as Prometheus reads them, with those of the KMS and of `more`.
    pub fn expose(&self, kms: &Kms, more: &[Figure]) -> String {
        let figure = |name, help, value| Figure { name, help, counts: false, value };
        let count = |name, help, value| Figure { name, help, counts: true, value };
        let mut figures = vec![
            count("kmsfs_keystore_generation", "Changes of the keystore.", kms.generation()),
            count("kmsfs_keystore_outages_total", "Times the keystore could not be read.", kms.outages()),
            figure(
                "kmsfs_keystore_current",
                "Whether the keystore was read just now, so that keys can be used.",
                u64::from(kms.is_current()),
            ),
        ];
        if let Some(audit) = &self.audit {
            let now = audit.figures();
            let durable = audit.durability() == Durability::Durable;
            figures.extend([
                count("kmsfs_audit_sequence", "Number of the audit log's last line.", now.sequence),
                count("kmsfs_audit_syncs_total", "Syncs of the audit log.", now.syncs),
                count("kmsfs_audit_lost_total", "Calls that could not be recorded.", now.lost),
                figure(
                    "kmsfs_audit_queued_bytes",
                    "Memory of records that wait to be written.",
                    now.queued_bytes as u64,
                ),
                figure(
                    "kmsfs_audit_failing",
                    "Whether the audit log cannot be written.",
                    u64::from(now.failing),
                ),
                figure("kmsfs_audit_durable", "Whether calls wait for the audit log.", u64::from(durable)),
            ]);
        }
        figures.extend_from_slice(more);
        self.metrics.expose(&figures)
    }
}

/// A call that has not ended yet.
#[derive(Debug)]
pub struct Ongoing {
    /// What is known of it so far.
    pub record: CallRecord,
    arrived: Instant,
    _in_flight: InFlight,
}

fn unrecorded() -> Error {
    Error::new("KMSInternalException", "The call could not be recorded.")
}
