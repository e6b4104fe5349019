//! Custodians who approve, what needs their approval, and operations that have it: what takes the HSM itself.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    SocketArgs,
    signing::{HoursArgs, read_public_key},
};
use crate::{
    cli::{
        Exit, Failure,
        key::stdio::{base64, read_file},
        output,
        show::date,
    },
    hsm::approval::{Signed, arguments::Arguments},
    kms::{Guarded, HSM_ADD_CUSTODIAN, HSM_REMOVE_CUSTODIAN, HSM_SET_POLICY},
};

/// Who approves.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CustodianCommand {
    /// Have the owner of a key request and approve
    Add {
        /// What the others call them
        name: String,
        /// Their public key, of `kmsfs hsm approver keygen`
        #[arg(long, value_name = "FILE")]
        public_key: PathBuf,
        #[command(flatten)]
        how: ChangeArgs,
    },
    /// Show who approves
    List(SocketArgs),
    /// Have a custodian request and approve no longer
    Remove {
        /// The custodian
        name: String,
        #[command(flatten)]
        how: ChangeArgs,
    },
}

/// How a change of custodians or of the policy is made.
#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Write a request for others to approve to FILE, in place of making the change
    #[arg(long, value_name = "FILE", requires = "key")]
    request: Option<PathBuf>,
    /// Your private key, to sign the request with
    #[arg(long, value_name = "FILE", requires = "request")]
    key: Option<PathBuf>,
    #[command(flatten)]
    hours: HoursArgs,
}

/// Arguments of `kmsfs hsm policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --require, shows what needs how many approvals. M custodians approve besides
the one who requests, so there must be more than M. OPERATION is one of:

  delete-key   ScheduleKeyDeletion, DeleteImportedKeyMaterial
  import-key   ImportKeyMaterial
  key-policy   PutKeyPolicy
  shred        DestroySecrets, and with it `kmsfs shred`
  refresh      `kmsfs hsm refresh` and `rekey`
  custodians   `kmsfs hsm custodian add` and `remove`
  policy       this command

What could be a way around a requirement takes as many approvals: the last two as many
as the strictest of all, an import, which can set a date for material to be destroyed,
as many as delete-key. So once anything needs approvals, taking that back does too.

Example:
  kmsfs hsm policy --require delete-key=2 --require key-policy=1")]
pub(super) struct PolicyArgs {
    /// Require M approvals for an operation; 0 requires none. What is not named stays as it is
    #[arg(long, value_name = "OPERATION=M", value_parser = parse_requirement)]
    require: Vec<(Guarded, u8)>,
    #[command(flatten)]
    how: ChangeArgs,
}

/// Arguments of `kmsfs hsm request`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
OPERATION and ARGUMENTS are those of the API, as other clients of AWS KMS have them.

Example:
  kmsfs hsm request ScheduleKeyDeletion '{\"KeyId\": \"1234abcd-…\"}' \\
      --key alice.pem --out delete.json
  kmsfs hsm approve delete.json --key bob.pem --out bob.json      (Bob, elsewhere)
  kmsfs hsm approve delete.json --key carol.pem --out carol.json  (Carol)
  kmsfs hsm run delete.json --approval bob.json --approval carol.json")]
pub(super) struct RequestArgs {
    /// What is to be done
    operation: String,
    /// With which arguments: JSON, or - to read it from standard input
    arguments: String,
    /// File for the request
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Your private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    hours: HoursArgs,
    /// Id of the HSM, in place of asking the service
    #[arg(long, value_name = "ID", conflicts_with = "socket")]
    hsm: Option<Uuid>,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Arguments of `kmsfs hsm run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The request
    request: PathBuf,
    /// An approval of it; several times, in whatever order
    #[arg(long, value_name = "FILE")]
    approval: Vec<PathBuf>,
    #[command(flatten)]
    socket: SocketArgs,
}

fn parse_requirement(text: &str) -> Result<(Guarded, u8), String> {
    let (name, count) = text.split_once('=').ok_or("expected OPERATION=M, as in delete-key=2")?;
    let count = count.parse().map_err(|_| format!("{count} is no number of approvals"))?;
    Ok((name.parse()?, count))
}

/// `kmsfs hsm custodian`.
pub(super) fn custodian(command: &CustodianCommand, json: bool) -> Result<(), Failure> {
    match command {
        CustodianCommand::Add { name, public_key, how } => {
            let public_key = base64(&read_public_key(public_key)?);
            how.make(HSM_ADD_CUSTODIAN, json!({ "Name": name, "PublicKey": public_key }), json)
        }
        CustodianCommand::Remove { name, how } => {
            how.make(HSM_REMOVE_CUSTODIAN, json!({ "Name": name }), json)
        }
        CustodianCommand::List(socket) => {
            let described = describe(socket)?;
            if json {
                return output::json(&described);
            }
            let rows = list(&described, "Custodians").map(|one| {
                let added = one["AddedDate"].as_f64().unwrap_or_default() as i64;
                let added = time::OffsetDateTime::from_unix_timestamp(added);
                vec![text(one, "Name"), added.map(date).unwrap_or_default(), text(one, "PublicKey")]
            });
            output::table(&["NAME", "ADDED", "PUBLIC KEY"], rows.collect())
        }
    }
}

/// `kmsfs hsm policy`.
pub(super) fn policy(args: &PolicyArgs, json: bool) -> Result<(), Failure> {
    let described = describe(&args.how.socket)?;
    if args.require.is_empty() {
        if json {
            return output::json(&described);
        }
        let row = |one: &Value| vec![text(one, "Operation"), one["Approvals"].to_string()];
        return output::table(
            &["OPERATION", "APPROVALS"],
            list(&described, "Requirements").map(row).collect(),
        );
    }
    let named = |one: &&Value| !args.require.iter().any(|(guarded, _)| one["Operation"] == guarded.name());
    let mut required: Vec<Value> = list(&described, "Requirements").filter(named).cloned().collect();
    let wanted = args.require.iter().filter(|(_, count)| *count > 0);
    required
        .extend(wanted.map(|(guarded, count)| json!({ "Operation": guarded.name(), "Approvals": count })));
    args.how.make(HSM_SET_POLICY, json!({ "Requirements": required }), json)
}

/// `kmsfs hsm request`.
pub(super) fn request(args: &RequestArgs, json: bool) -> Result<(), Failure> {
    let usage = |err: &dyn std::fmt::Display| Failure::new(Exit::Usage, err);
    if Guarded::of(&args.operation).is_none() {
        return Err(usage(&format_args!("{} never needs approvals", args.operation))
            .hint("See `kmsfs hsm policy --help` for what can."));
    }
    let arguments = match args.arguments.as_str() {
        "-" => Cow::Owned(io::read_to_string(io::stdin()).map_err(|err| usage(&err))?),
        text => Cow::Borrowed(text),
    };
    let arguments = Arguments::parse(&arguments).map_err(|err| usage(&err))?;
    let hsm = args.hsm.map_or_else(|| hsm_id(&describe(&args.socket)?), Ok)?;
    args.hours.write(&args.key, hsm, &args.operation, arguments, &args.out, json)
}

/// `kmsfs hsm run`.
pub(super) fn run(args: &RunArgs, json: bool) -> Result<(), Failure> {
    let file = |path: &PathBuf| read_file(path, true).map(|file| base64(&file));
    let approvals = args.approval.iter().map(file).collect::<Result<Vec<_>, _>>()?;
    let body = json!({ "Request": file(&args.request)?, "Approvals": approvals });
    let answer = call(&args.socket, "HsmRun", body)?;
    let answer: Value = serde_json::from_str(&text(&answer, "Answer"))
        .map_err(|err| Failure::new(Exit::Failure, format_args!("the service's answer: {err}")))?;
    match json || answer.as_object().is_some_and(|members| !members.is_empty()) {
        true => output::json(&answer),
        false => {
            output::note(format_args!("Done."));
            Ok(())
        }
    }
}

/// What custodians signed, for an HSM that is not asked through its service.
pub(super) fn read_signed(hsm: Uuid, request: &Path, approvals: &[PathBuf]) -> Result<Signed, Failure> {
    let request = read_file(request, true)?;
    let approvals = approvals.iter().map(|path| read_file(path, true)).collect::<Result<Vec<_>, _>>()?;
    Signed::decode(hsm, &request, approvals.iter().map(Vec::as_slice))
        .map_err(|err| Failure::new(Exit::Refused, &err).named(err.name()))
}

impl ChangeArgs {
    /// Has the HSM make the change, or writes the request for it.
    fn make(&self, operation: &str, arguments: Value, json: bool) -> Result<(), Failure> {
        let (Some(out), Some(key)) = (&self.request, &self.key) else {
            call(&self.socket, operation, arguments)?;
            return if json { output::json(&json!({})) } else { Ok(()) };
        };
        let arguments = Arguments::new(&arguments).map_err(|err| Failure::new(Exit::Usage, err))?;
        self.hours.write(key, hsm_id(&describe(&self.socket)?)?, operation, arguments, out, json)
    }
}

fn describe(socket: &SocketArgs) -> Result<Value, Failure> {
    call(socket, "HsmDescribeApprovals", json!({}))
}

fn hsm_id(described: &Value) -> Result<Uuid, Failure> {
    let id = text(described, "HsmId").parse();
    id.map_err(|err| Failure::new(Exit::Failure, format_args!("the service's answer: {err}")))
}

/// Calls the service; what it refuses is no trouble with the service.
fn call(socket: &SocketArgs, operation: &str, body: Value) -> Result<Value, Failure> {
    socket.call(operation, body).map_err(|failure| match failure.name() {
        Some(name) if name != "KeyUnavailableException" => {
            Failure::new(Exit::Refused, failure.message()).named(name)
        }
        _ => failure,
    })
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value[name].as_array().into_iter().flatten()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
