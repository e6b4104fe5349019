//! Labels on keys.

use super::{
    OPERATOR,
    manage::{changed, parse_pair},
};
use crate::{
    cli::Failure,
    kms::{Kms, Tag},
};

/// Arguments of `kmsfs key tag`.
#[derive(Debug, clap::Args)]
pub struct TagArgs {
    /// The key
    key: String,
    /// Labels to set
    #[arg(required = true, value_name = "NAME=VALUE", value_parser = parse_pair)]
    tags: Vec<(String, String)>,
}

/// Arguments of `kmsfs key untag`.
#[derive(Debug, clap::Args)]
pub struct UntagArgs {
    /// The key
    key: String,
    /// Names of the labels to take off
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// NAME=VALUE pairs as the KMS takes them.
pub fn tags(pairs: &[(String, String)]) -> Vec<Tag> {
    pairs.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

/// `kmsfs key tag`.
pub fn tag(kms: &Kms, args: &TagArgs, json: bool) -> Result<(), Failure> {
    changed(kms, &args.key, json, |id| kms.tag_resource(&OPERATOR, id, &tags(&args.tags)))
}

/// `kmsfs key untag`.
pub fn untag(kms: &Kms, args: &UntagArgs, json: bool) -> Result<(), Failure> {
    changed(kms, &args.key, json, |id| kms.untag_resource(&OPERATOR, id, &args.names))
}
