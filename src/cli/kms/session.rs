//! `kmsfs kms session`: credentials that end by themselves; and how credentials are printed.

use serde_json::{Value, json};

use super::refused;
use crate::{
    cli::{Exit, Failure, output, show::timestamp},
    crypto::SecretBytes,
    kms::{Call, Kms, PrincipalName, Timestamp},
};

/// Arguments of `kmsfs kms session`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is kept of them: they are good until their time is over or the principal
is deleted, and cannot be shown again or withdrawn one by one.

Examples:
  eval \"$(kmsfs kms session --export role/backup)\"
  kmsfs kms session --hours 0.25 --json user/alice")]
pub struct Args {
    /// The principal: user/NAME or role/NAME
    principal: PrincipalName,
    /// How long they are good, 0.25 to 12 hours
    #[arg(long, value_name = "HOURS", default_value_t = 1.0)]
    hours: f64,
    /// What the session is called in policies and in the audit log
    #[arg(long, value_name = "NAME", default_value = "kmsfs")]
    name: String,
    /// Print commands for the shell that put the credentials into its environment
    #[arg(long, conflicts_with = "json")]
    export: bool,
}

/// Runs the command.
pub fn run(kms: &Kms, args: &Args, json: bool) -> Result<(), Failure> {
    // What is no number of seconds becomes one that the KMS refuses.
    let seconds = (args.hours * 3600.0).round() as u32;
    let issued =
        kms.issue_session(&Call::operator(), &args.principal, &args.name, seconds).map_err(refused)?;
    let session = Some((issued.token.as_str(), issued.expires));
    let shown = Shown { id: &issued.access_key, secret: &issued.secret, session };
    match (json, args.export) {
        (true, _) => output::json(&json!({ "Credentials": shown.json()? })),
        (false, true) => shown.print_exports(),
        (false, false) => shown.print(),
    }
}

/// Credentials on their way to who asked for them.
pub struct Shown<'a> {
    /// The access key's id.
    pub id: &'a str,
    /// Its secret.
    pub secret: &'a SecretBytes,
    /// The session's token, and when it ends.
    pub session: Option<(&'a str, Timestamp)>,
}

impl Shown<'_> {
    fn secret(&self) -> Result<&str, Failure> {
        str::from_utf8(self.secret.expose())
            .map_err(|_| Failure::new(Exit::Failure, "the secret of the access key is not text"))
    }

    /// A line for each part.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self) -> Result<(), Failure> {
        output::line(format_args!("Access key id      {}", self.id))?;
        output::line(format_args!("Secret access key  {}", self.secret()?))?;
        if let Some((token, expires)) = self.session {
            output::line(format_args!("Session token      {token}"))?;
            output::line(format_args!("Expires            {}", timestamp(expires)))?;
        }
        Ok(())
    }

    /// A command for the shell for each part.
    ///
    /// # Errors
    /// As [`Shown::print`].
    pub fn print_exports(&self) -> Result<(), Failure> {
        output::line(format_args!("export AWS_ACCESS_KEY_ID='{}'", self.id))?;
        output::line(format_args!("export AWS_SECRET_ACCESS_KEY='{}'", self.secret()?))?;
        match self.session {
            Some((token, _)) => output::line(format_args!("export AWS_SESSION_TOKEN='{token}'")),
            None => output::line(format_args!("unset AWS_SESSION_TOKEN")),
        }
    }

    /// As AWS's command line shows credentials.
    ///
    /// # Errors
    /// The secret is not text.
    pub fn json(&self) -> Result<Value, Failure> {
        let mut value = json!({ "AccessKeyId": self.id, "SecretAccessKey": self.secret()? });
        if let Some((token, expires)) = self.session {
            value["SessionToken"] = token.into();
            value["Expiration"] = timestamp(expires).into();
        }
        Ok(value)
    }
}
