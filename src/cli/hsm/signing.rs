//! The keys that custodians sign with, and what they sign: all of it without an HSM, on a machine of their own.

use std::{
    io::{self, BufRead, IsTerminal},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::create;
use crate::{
    cli::{
        Exit, Failure, access,
        key::stdio::{base64, read_file, read_pem, write_pem},
        output,
        show::date,
    },
    crypto::{SecretBytes, asymmetric},
    hsm::approval::{Approval, Request, Signer, arguments::Arguments, public_key, words},
    kms::APPROVAL_VALID,
};

/// Makes and keeps keys of custodians.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ApproverCommand {
    /// Make the key that a custodian signs with
    ///
    /// The private key is written to FILE, which stays with the custodian; the public key is printed, for `kmsfs hsm
    /// custodian add`. Both are PEM, as `openssl genpkey -algorithm ed25519` makes them.
    Keygen {
        /// File for the private key, which only its owner may read
        file: PathBuf,
    },
}

/// How long a request is good.
#[derive(Debug, clap::Args)]
pub(super) struct HoursArgs {
    /// For how many hours the request is good
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=720))]
    hours: u16,
}

/// Arguments of `kmsfs hsm approve`.
#[derive(Debug, clap::Args)]
pub(super) struct ApproveArgs {
    /// The request
    request: PathBuf,
    /// Your private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File for the approval
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// `kmsfs hsm approver keygen`.
pub(super) fn keygen(file: &Path, json: bool) -> Result<(), Failure> {
    access::prepare()?;
    let pkcs8 = Signer::generate().map_err(unusable)?;
    let signer = Signer::from_pkcs8(pkcs8.expose()).map_err(unusable)?;
    let pem = SecretBytes::from(write_pem("PRIVATE KEY", pkcs8.expose()));
    create(file, &[pem.expose()])?;
    let public = write_pem("PUBLIC KEY", signer.public_spki());
    if json {
        return output::json(&json!({ "PublicKey": base64(signer.public()), "Pem": public }));
    }
    output::bytes(public.as_bytes())?;
    output::note(format_args!("Keep {}: whoever has it approves in your name.", file.display()));
    Ok(())
}

/// The public key in a file.
pub(super) fn read_public_key(path: &Path) -> Result<[u8; 32], Failure> {
    public_key(&read_pem(path)?).map_err(|err| unusable(err).context(path.display()))
}

fn read_signer(path: &Path) -> Result<Signer, Failure> {
    let pkcs8 = SecretBytes::from_vec(read_pem(path)?);
    Signer::from_pkcs8(pkcs8.expose()).map_err(|err| unusable(err).context(path.display()))
}

fn unusable(err: asymmetric::Error) -> Failure {
    Failure::new(Exit::Refused, err)
}

impl HoursArgs {
    /// Writes a request to `out`, signed with the key in the file `key`.
    pub(super) fn write(
        &self,
        key: &Path,
        hsm: Uuid,
        operation: &str,
        arguments: Arguments,
        out: &Path,
        json: bool,
    ) -> Result<(), Failure> {
        access::prepare()?;
        let expires = OffsetDateTime::now_utc() + time::Duration::hours(self.hours.into());
        let signer = read_signer(key)?;
        let request = Request::new(&signer, hsm, operation, arguments, expires).map_err(unusable)?;
        create(out, &[request.encode().as_bytes()])?;
        show(&request, json)?;
        output::note(format_args!(
            "Others approve it with: kmsfs hsm approve {} --key KEY --out FILE",
            out.display()
        ));
        Ok(())
    }
}

/// How far the clocks of two machines may differ.
const CLOCKS: time::Duration = time::Duration::minutes(10);

/// `kmsfs hsm approve`.
pub(super) fn approve(args: &ApproveArgs, json: bool) -> Result<(), Failure> {
    access::prepare()?;
    let refused = |why: &str| Failure::new(Exit::Refused, why).context(args.request.display());
    let request = read_file(&args.request, true)?;
    let request = Request::decode(&request).map_err(|err| refused(&format!("this is no request: {err}")))?;
    if !request.is_signed() {
        return Err(refused("the request was altered after it was signed"));
    }
    if request.expires <= OffsetDateTime::now_utc() {
        return Err(refused(&format!("the request expired on {}", date(request.expires))));
    }
    if request.expires > OffsetDateTime::now_utc() + APPROVAL_VALID + CLOCKS {
        let days = APPROVAL_VALID.whole_days();
        return Err(refused(&format!(
            "the request is good until {}: later than {days} days",
            date(request.expires)
        )));
    }
    let signer = read_signer(&args.key)?;
    if request.requester == *signer.public() {
        return Err(refused("you requested it, and cannot approve it too"));
    }
    show(&request, json)?;
    if !args.yes && !confirmed()? {
        return Err(refused("not approved"));
    }
    let approval = Approval::new(&signer, &request).map_err(unusable)?;
    create(&args.out, &[approval.encode().as_bytes()])?;
    output::note(format_args!("Approved: {} goes to whoever runs the request.", args.out.display()));
    Ok(())
}

/// Says what a request is for.
fn show(request: &Request, json: bool) -> Result<(), Failure> {
    let arguments = words::arguments(request);
    if json {
        let arguments: Map<String, Value> = request.arguments.members();
        return output::json(&json!({
            "HsmId": request.hsm, "Operation": request.operation, "Arguments": arguments,
            "Requester": base64(&request.requester), "Expires": request.expires.unix_timestamp(),
            "Sentence": words::sentence(request),
        }));
    }
    output::line(format_args!("{}\n", output::printable(&words::sentence(request))))?;
    output::fields(&[
        ("HSM", request.hsm.to_string()),
        ("Operation", request.operation.clone()),
        ("Requested by", base64(&request.requester)),
        ("Good until", date(request.expires)),
    ])?;
    arguments.iter().try_for_each(|(name, text)| {
        let (name, text) = (output::printable(name), output::printable(text));
        output::line(format_args!("  {name}: {text}"))
    })
}

fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "there is nobody to ask")
            .hint("Whoever has read the request, and means it, gives --yes."));
    }
    output::note(format_args!("Approve this, once? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|err| Failure::new(Exit::Failure, err))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
