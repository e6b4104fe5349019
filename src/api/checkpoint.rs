//! `Kmsfs.AuditCheckpoint`: a signed checkpoint of the service's audit log, for who runs it. Of an HSM nobody else can make
//! one: its keystore is open in the service alone.

use super::error::{Error, Result};
use super::model::{Operation, Shape, optional, required, text};
use super::service::Origin;
use super::wire::{self, Input, Output, Value};
use crate::kms::audit::{AuditLog, Checkpoint, CheckpointError};
use crate::kms::{Kms, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

static SEGMENT: Shape = Shape::Integer { min: 1, max: i64::MAX };
static CHECKPOINT: Shape = text(1, usize::MAX);
static KEY: Shape = text(1, 256);

/// Makes a checkpoint of the log, from a segment on if those before it were taken away. With it comes the public key, a
/// DER SubjectPublicKeyInfo in Base64.
static AUDIT_CHECKPOINT: Operation = Operation {
    name: "AuditCheckpoint",
    input: &[optional("First", &SEGMENT)],
    output: &[required("Checkpoint", &CHECKPOINT), required("PublicKey", &KEY)],
    errors: &[],
};

/// Whether it is this operation that a client asks for.
pub(super) fn is_it(name: &str) -> bool {
    name == AUDIT_CHECKPOINT.name
}

/// Refuses everybody but root and the service's own user `own_uid`, on the unix socket.
///
/// # Errors
/// `AccessDeniedException`.
pub(super) fn admit(origin: &Origin, own_uid: u32) -> Result<()> {
    match *origin {
        Origin::Peer { uid } if uid == 0 || uid == own_uid => Ok(()),
        _ => {
            let message = "Only the service's own user and root are given checkpoints, on its unix socket.";
            Err(Error::new("AccessDeniedException", message))
        }
    }
}

/// Makes a checkpoint. Reads the whole log, so it blocks for seconds where that is large.
///
/// # Errors
/// `UnsupportedOperationException` if there is no log; `KMSInternalException`.
pub(super) fn make(
    kms: &Kms,
    log: Option<&AuditLog>,
    body: &[u8],
    now: Timestamp,
) -> Result<Zeroizing<Vec<u8>>> {
    let input = Input::decode(AUDIT_CHECKPOINT.input, Value::parse(body)?)?;
    wire::check(&input)?;
    let log = log.ok_or_else(|| Error::unsupported("The service keeps no audit log."))?;
    let (chain, key) = (kms.audit_key(), kms.checkpoint_key());
    let first = input.integer("First").map(i64::unsigned_abs);
    let failed = |error: CheckpointError| {
        log::error!("no checkpoint of the audit log was made: {error}");
        Error::new("KMSInternalException", format!("No checkpoint can be made: {error}"))
    };
    let checkpoint = Checkpoint::make(log.path(), (&chain, &key), first, now).map_err(failed)?;
    let key = STANDARD.encode(key.public_spki().map_err(failed)?);
    Output::document(AUDIT_CHECKPOINT.output, |output| {
        output.text("Checkpoint", &checkpoint);
        output.text("PublicKey", &key);
        Ok(())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_who_runs_the_service_is_given_one() {
        let own = 1000;
        for uid in [0, own] {
            admit(&Origin::Peer { uid }, own).unwrap();
        }
        let over_tcp = Origin::Address { address: "127.0.0.1:1".parse().unwrap(), tls: true };
        for origin in [Origin::Peer { uid: 1001 }, over_tcp] {
            assert_eq!(admit(&origin, own).unwrap_err().name(), "AccessDeniedException");
        }
    }
}
