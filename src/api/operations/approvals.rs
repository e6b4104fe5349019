//! HsmDescribeApprovals, HsmAddCustodian, HsmRemoveCustodian, HsmSetPolicy, and HsmRun, which has another operation done
//! that custodians approve.

use super::{OWN, Request, SERVED, Served, small};
use crate::api::error::{Error, Result};
use crate::api::wire::{Input, Object, Output};
use crate::hsm::approval::Signed;
use crate::kms::{Call, Evidence, Guarded};
use std::collections::BTreeMap;

pub(super) fn describe(request: &Request<'_>, _: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let approvals = request.kms.approvals()?;
    output.text("HsmId", &request.kms.id().to_string());
    output.structures("Custodians", approvals.custodians(), |output, custodian| {
        output.text("Name", &custodian.name);
        output.blob("PublicKey", &custodian.public_key);
        output.timestamp("AddedDate", custodian.added);
    });
    let required: Vec<_> = approvals.requirements().iter().collect();
    output.structures("Requirements", &required, |output, (guarded, approvals)| {
        output.text("Operation", guarded.name());
        output.integer("Approvals", i64::from(**approvals));
    });
    Ok(())
}

pub(super) fn add_custodian(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let public_key = input.required_blob("PublicKey").try_into().expect("the model wants 32 bytes");
    Ok(request.kms.add_custodian(request.call, input.required_text("Name"), public_key)?)
}

pub(super) fn remove_custodian(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(request.kms.remove_custodian(request.call, input.required_text("Name"))?)
}

pub(super) fn set_policy(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let requirement = |one: &Input<'_>| {
        let guarded: Guarded = one.required_text("Operation").parse().expect("the model has the names");
        let approvals = u8::try_from(small(one.required_integer("Approvals")));
        (guarded, approvals.expect("the model bounds it"))
    };
    let given: Vec<_> = input.structures("Requirements").map(requirement).collect();
    let required: BTreeMap<_, _> = given.iter().copied().collect();
    if required.len() < given.len() {
        return Err(Error::new("ValidationException", "An operation has one requirement."));
    }
    Ok(request.kms.require_approvals(request.call, required)?)
}

/// The request's own arguments are all that reaches the operation: nothing else was approved.
pub(super) fn run(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let Request { kms, trace, .. } = *request;
    let approvals = input.blobs("Approvals");
    let signed = Signed::decode(kms.id(), input.required_blob("Request"), approvals)?;
    let operation = find(&signed.request().operation)?;
    trace.runs(operation.model.name);
    check_names(operation, &signed)?;
    let inner = operation.read(signed.request().arguments.text().as_bytes())?;
    let call = Call { approval: Some(&signed as &dyn Evidence), ..request.call.clone() };
    let answer = Output::document(operation.model.output, |output| {
        (operation.run)(&Request { kms, call: &call, trace }, &inner, output)
    })?;
    output.text("Answer", std::str::from_utf8(&answer).expect("an answer is JSON"));
    Ok(())
}

/// The operation of this name, if custodians can approve it.
fn find(name: &str) -> Result<&'static Served> {
    let all = SERVED.iter().chain(OWN);
    let found = all.into_iter().find(|served| served.model.name == name && Guarded::of(name).is_some());
    let how = match name {
        "HsmRefresh" => "is done by `kmsfs hsm refresh --request FILE --approval FILE`",
        "HsmRekey" => "is done by `kmsfs hsm rekey --request FILE --approval FILE`",
        _ => "is not run with approvals",
    };
    found.ok_or_else(|| Error::new("ValidationException", format!("{name} {how}.")))
}

/// Refuses arguments that the operation does not have. Elsewhere they are passed over, but who approved them thought that
/// they mean something.
fn check_names(operation: &Served, signed: &Signed) -> Result<()> {
    let members = signed.request().arguments.members();
    match members.keys().find(|name| !operation.takes(name)) {
        Some(name) => {
            let message = format!("{} has no argument {name}.", operation.model.name);
            Err(Error::new("ValidationException", message))
        }
        None => Ok(()),
    }
}
