//! `kmsfs hsm pin`: the PIN with which PKCS#11 programs log in.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use zeroize::Zeroizing;

use super::SocketArgs;
use crate::{
    cli::{Failure, access, output, secret},
    crypto::SecretBytes,
};

#[derive(Debug, clap::Args)]
pub(super) struct PinArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Read the new PIN from a file
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Read the PIN of before from a file
    #[arg(long, value_name = "FILE")]
    old_pin_file: Option<PathBuf>,
}

pub(super) fn set(args: &PinArgs) -> Result<(), Failure> {
    access::prepare()?;
    // Before anybody types: is there a service, and a PIN already?
    let has_pin = args.socket.call("DescribeToken", json!({}))?["HasPin"] == true;
    let old = match has_pin {
        true => secret::own_pin("Old PIN", args.old_pin_file.as_deref(), false)?,
        false => SecretBytes::zeroed(0),
    };
    let new = secret::own_pin("New PIN", args.pin_file.as_deref(), true)?;
    let encoded = |pin: &SecretBytes| Zeroizing::new(STANDARD.encode(pin.expose()));
    let (old, new) = (encoded(&old), encoded(&new));
    args.socket.call("SetTokenPin", json!({ "OldPin": old.as_str(), "NewPin": new.as_str() }))?;
    output::note(format_args!("The PIN is set."));
    Ok(())
}
