//! The PKCS#11 token's operations.

use super::{Place, Request};
use crate::api::error::{Error, Result};
use crate::api::wire::{Input, Object};
use crate::crypto::SecretBytes;
use crate::kms::token::mechanism::{How, find};
use crate::kms::token::{self, Code, Function, Message, ObjectId, Template, Ticket, Token};

/// Messages up to this length, in bytes, are encrypted in less time than another thread takes to begin.
const SHORT: usize = 16 << 10;

impl From<token::Error> for Error {
    /// What happened inside the service is for its log.
    fn from(error: token::Error) -> Error {
        match error {
            token::Error::Code { code, why } => Error::new(code.name, why),
            token::Error::Kms(error) => {
                log::error!("the token: {error}");
                let message = "The request could not be served; the server's log says why.";
                Error::new(Code::DEVICE_ERROR.name, message)
            }
        }
    }
}

pub(super) fn describe_token(request: &Request<'_>, _: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let info = request.kms.token_info(request.call)?;
    output.text("Serial", &info.serial);
    output.flag("HasPin", info.has_pin);
    output.flag("WrongPins", info.wrong_pins.0);
    output.flag("PinLocked", info.wrong_pins.1);
    Ok(())
}

pub(super) fn open_token(request: &Request<'_>, _: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    output.blob("Ticket", request.kms.token_open(request.call).as_bytes());
    Ok(())
}

pub(super) fn close_token(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    request.kms.token_close(request.call, ticket(input));
    Ok(())
}

pub(super) fn login_token(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let confirms = input.flag("Confirms");
    Ok(request.kms.token_login(request.call, ticket(input), &pin(input, "Pin"), confirms)?)
}

pub(super) fn logout_token(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(request.kms.token_logout(request.call, ticket(input))?)
}

pub(super) fn set_token_pin(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(request.kms.token_set_pin(request.call, &pin(input, "OldPin"), &pin(input, "NewPin"))?)
}

pub(super) fn create_object(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    tell(output, token(request, input)?.create(template(input, "Template")?)?);
    Ok(())
}

pub(super) fn copy_object(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    tell(output, token(request, input)?.copy(object(input, "Object"), template(input, "Template")?)?);
    Ok(())
}

pub(super) fn destroy_object(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(token(request, input)?.destroy(object(input, "Object"))?)
}

pub(super) fn read_object(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let (kinds, rest) = input.required_blob("Kinds").as_chunks();
    if !rest.is_empty() {
        return Err(Error::new(Code::ARGUMENTS_BAD.name, "A type of attribute has 8 bytes."));
    }
    let kinds: Vec<u64> = kinds.iter().map(|kind| u64::from_le_bytes(*kind)).collect();
    let read = token(request, input)?.read(object(input, "Object"), &kinds)?;
    let (mut values, mut codes) = (Template::default(), Vec::new());
    for (kind, value) in read {
        match value {
            Ok(value) => {
                values.set(kind, value.as_slice());
                codes.push("");
            }
            Err(error) => codes.push(error.code().unwrap_or(Code::DEVICE_ERROR).name),
        }
    }
    output.blob("Template", &values.encode());
    output.texts("Codes", codes);
    Ok(())
}

pub(super) fn change_object(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(token(request, input)?.set(object(input, "Object"), &template(input, "Template")?)?)
}

pub(super) fn find_objects(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    tell_all(output, &token(request, input)?.find(&template(input, "Template")?)?);
    Ok(())
}

pub(super) fn generate_object(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    tell(output, token(request, input)?.generate(mechanism(input), template(input, "Template")?)?);
    Ok(())
}

pub(super) fn generate_object_pair(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let (public, private) = (template(input, "Template")?, template(input, "PrivateTemplate")?);
    tell_all(output, &token(request, input)?.generate_pair(mechanism(input), public, private)?);
    Ok(())
}

pub(super) fn derive_object(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let (parameter, wanted) = (template(input, "Parameter")?, template(input, "Template")?);
    let token = token(request, input)?;
    tell(output, token.derive(object(input, "Object"), mechanism(input), &parameter, wanted)?);
    Ok(())
}

pub(super) fn wrap_object(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let parameter = template(input, "Parameter")?;
    let (wrapping, key) = (object(input, "Object"), object(input, "Key"));
    output.blob("Result", &token(request, input)?.wrap(wrapping, key, mechanism(input), &parameter)?);
    Ok(())
}

pub(super) fn unwrap_object(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let (parameter, wanted) = (template(input, "Parameter")?, template(input, "Template")?);
    let (with, wrapped) = (object(input, "Object"), input.required_blob("Wrapped"));
    tell(output, token(request, input)?.unwrap(with, mechanism(input), &parameter, wrapped, wanted)?);
    Ok(())
}

pub(super) fn use_object(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let function = Function::named(input.required_text("Function")).expect("the model has the names");
    let message = Message {
        data: input.required_blob("Message"),
        is_digest: input.flag("IsDigest"),
        signature: input.blob("Signature").unwrap_or_default(),
    };
    let parameter = template(input, "Parameter")?;
    let token = token(request, input)?;
    output.blob(
        "Result",
        &token.run(object(input, "Object"), function, mechanism(input), &parameter, message)?,
    );
    Ok(())
}

/// RSA and DSA take a private key a millisecond, and long messages as much.
pub(super) fn place_of_use(input: &Input<'_>) -> Place {
    let is_long = input.required_blob("Message").len() > SHORT;
    match find(mechanism(input)).map(|mechanism| mechanism.how) {
        Some(How::RsaPkcs(_) | How::RsaRaw | How::RsaPss(_) | How::RsaOaep | How::Dsa(_)) => Place::Compute,
        _ if is_long => Place::Compute,
        _ => Place::Here,
    }
}

fn token<'k>(request: &Request<'k>, input: &Input<'_>) -> Result<Token<'k>> {
    Ok(request.kms.token(request.call, ticket(input))?)
}

fn ticket(input: &Input<'_>) -> Ticket {
    Ticket::from_bytes(input.required_blob("Ticket").try_into().expect("the model wants 16 bytes"))
}

fn object(input: &Input<'_>, member: &str) -> ObjectId {
    ObjectId::from_bytes(input.required_blob(member).try_into().expect("the model wants 16 bytes"))
}

fn mechanism(input: &Input<'_>) -> u64 {
    input.required_integer("Mechanism").unsigned_abs()
}

fn template(input: &Input<'_>, member: &str) -> Result<Template> {
    Ok(Template::decode(input.required_blob(member))?)
}

fn pin(input: &Input<'_>, member: &str) -> SecretBytes {
    SecretBytes::from_vec(input.blob(member).unwrap_or_default().to_vec())
}

fn tell(output: &mut Object<'_>, id: ObjectId) {
    output.blob("Object", id.as_bytes());
}

fn tell_all(output: &mut Object<'_>, ids: &[ObjectId]) {
    let ids: Vec<[u8; 16]> = ids.iter().map(|id| *id.as_bytes()).collect();
    output.blob("Objects", ids.as_flattened());
}
