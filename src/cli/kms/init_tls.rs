//! `kmsfs kms init-tls`: certificates for `kmsfs kms serve`.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    api::server::tls,
    cli::{Exit, Failure, Global, output},
};

/// Arguments of `kmsfs kms init-tls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes ca.pem and ca.key, the authority, if they are not there, and server.pem and
server.key, signed by it. No file is ever overwritten: to renew the server's
certificate, remove server.pem and server.key and run this again. Clients are given
ca.pem and nothing else; ca.key belongs to a place where the server is not.

Examples:
  kmsfs kms init-tls --name kms.example.org --name 192.0.2.7 /etc/kmsfs/tls
  AWS_CA_BUNDLE=/etc/kmsfs/tls/ca.pem aws kms list-keys --endpoint-url https://kms.example.org:4599")]
pub struct Args {
    /// Where the files are to be
    directory: PathBuf,
    /// A host name or IP address of the server, as clients will write it
    #[arg(long = "name", value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    names: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Files are there already, or cannot be written.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let now = time::OffsetDateTime::now_utc();
    let files = tls::init(&args.directory, &args.names, now)
        .map_err(|error| Failure::new(Exit::Failure, format_args!("cannot make a certificate: {error}")))?;
    if global.json {
        return output::json(&json!({
            "Authority": files.authority, "AuthorityKey": files.authority_key,
            "Certificate": files.server, "Key": files.server_key,
        }));
    }
    output::fields(&[
        ("authority", files.authority.display().to_string()),
        ("its key", files.authority_key.display().to_string()),
        ("certificate", files.server.display().to_string()),
        ("its key", files.server_key.display().to_string()),
    ])
}
