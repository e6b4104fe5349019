//! Letting a principal use a key without changing its policy.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    OPERATOR,
    manage::{key_id, parse_pair},
};
use crate::{
    cli::{
        Failure, output,
        show::{date, timestamp},
    },
    kms::{CreateGrant, GrantConstraints, GrantEntry, GrantOperation, Kms, Page, PrincipalName},
};

/// Commands below `kmsfs key grant`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let a principal use a key
    Create(CreateArgs),
    /// List a key's grants
    List {
        /// The key
        key: String,
    },
    /// Take a grant back
    Revoke {
        /// The key
        key: String,
        /// The grant's id
        grant: String,
    },
}

/// Arguments of `kmsfs key grant create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A PRINCIPAL is user/NAME, role/NAME or an ARN. OPERATION is Decrypt, Encrypt,
GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair,
GenerateDataKeyPairWithoutPlaintext, ReEncryptFrom, ReEncryptTo, Sign, Verify,
GetPublicKey, GenerateMac, VerifyMac, DeriveSharedSecret, Encapsulate, Decapsulate,
DescribeKey, CreateGrant or RetireGrant.

Example:
  kmsfs key grant create alias/work --grantee role/backup \\
      --operation Decrypt --operation DescribeKey --context purpose=backup")]
pub struct CreateArgs {
    /// The key
    key: String,
    /// Who may use it
    #[arg(long, value_name = "PRINCIPAL")]
    grantee: String,
    /// What they may do; repeat for more
    #[arg(long = "operation", value_name = "OPERATION", required = true)]
    operations: Vec<GrantOperation>,
    /// Who may give the grant back
    #[arg(long, value_name = "PRINCIPAL")]
    retiring: Option<String>,
    /// Only with an encryption context that has this pair; repeat for more
    #[arg(long = "context", value_name = "NAME=VALUE", value_parser = parse_pair)]
    subset: Vec<(String, String)>,
    /// Only with an encryption context of this pair alone; repeat for more
    #[arg(long = "exact-context", value_name = "NAME=VALUE", value_parser = parse_pair, conflicts_with = "subset")]
    equals: Vec<(String, String)>,
    /// A name: the same command again makes no second grant
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Runs a command below `kmsfs key grant`.
pub fn run(kms: &Kms, command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create(kms, args, json),
        Command::List { key } => {
            let grants = kms.list_grants(&OPERATOR, &key_id(kms, key)?, None, None, Page::whole())?.items;
            list(&grants, json)
        }
        Command::Revoke { key, grant } => Ok(kms.revoke_grant(&OPERATOR, &key_id(kms, key)?, grant)?),
    }
}

fn create(kms: &Kms, args: &CreateArgs, json: bool) -> Result<(), Failure> {
    let pairs = |pairs: &[(String, String)]| (!pairs.is_empty()).then(|| pairs.iter().cloned().collect());
    let key = key_id(kms, &args.key)?;
    let (grantee, retiring) = (arn(kms, &args.grantee)?, args.retiring.as_deref().map(|name| arn(kms, name)));
    let retiring = retiring.transpose()?;
    let request = CreateGrant {
        key: &key,
        grantee: &grantee,
        retiring: retiring.as_deref(),
        operations: &args.operations,
        constraints: GrantConstraints {
            encryption_context_equals: pairs(&args.equals),
            encryption_context_subset: pairs(&args.subset),
        },
        name: args.name.as_deref(),
    };
    let made = kms.create_grant(&OPERATOR, &request)?;
    match json {
        true => output::json(&json!({ "GrantId": made.id.to_string(), "GrantToken": made.token })),
        false => output::line(format_args!("{}", made.id)),
    }
}

/// The ARN of a principal that is named by it or as user/NAME or role/NAME.
fn arn(kms: &Kms, principal: &str) -> Result<String, Failure> {
    match principal.parse::<PrincipalName>() {
        Ok(name) => Ok(kms.describe_principal(&OPERATOR, &name)?.arn),
        Err(_) => Ok(principal.to_owned()),
    }
}

fn list(grants: &[GrantEntry], json: bool) -> Result<(), Failure> {
    if json {
        let grants: Vec<_> = grants.iter().map(grant_json).collect();
        return output::json(&json!({ "Grants": grants }));
    }
    let rows = grants
        .iter()
        .map(|grant| {
            vec![
                grant.id.to_string(),
                date(grant.created),
                grant.grantee.clone(),
                names(grant).join(" "),
                grant.name.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["GRANT", "CREATED", "GRANTEE", "OPERATIONS", "NAME"], rows)
}

fn names(grant: &GrantEntry) -> Vec<&'static str> {
    grant.operations.iter().map(|operation| operation.name()).collect()
}

/// An entry of `ListGrants`.
fn grant_json(grant: &GrantEntry) -> Value {
    let mut value = json!({
        "KeyId": grant.key_arn, "GrantId": grant.id.to_string(), "Name": grant.name.as_deref().unwrap_or_default(),
        "CreationDate": timestamp(grant.created), "GranteePrincipal": grant.grantee,
        "IssuingAccount": grant.issuing_account, "Operations": names(grant),
    });
    if let Some(retiring) = &grant.retiring {
        value["RetiringPrincipal"] = retiring.as_str().into();
    }
    let GrantConstraints { encryption_context_equals, encryption_context_subset } = &grant.constraints;
    if let Some(pairs) = encryption_context_equals {
        value["Constraints"]["EncryptionContextEquals"] = json!(pairs);
    }
    if let Some(pairs) = encryption_context_subset {
        value["Constraints"]["EncryptionContextSubset"] = json!(pairs);
    }
    value
}
