//! The operations: from a checked request to a call of the KMS and back, a file per subject.

mod agreement;
mod aliases;
mod approvals;
mod data_keys;
mod encryption;
mod grants;
mod r#import;
mod keys;
mod policies;
mod rotation;
mod secrets;
mod signing;
mod tags;
mod token;

use super::error::{Error, Result};
use super::identity::Identity;
use super::model::{Operation, operations as model};
use super::wire::{self, Input, Object, Output, Value};
use crate::kms::{Call, KeyId, KeySpec, Kms, Listed, Page, Trace};
use std::str::FromStr;
use zeroize::Zeroizing;

/// An operation that is served.
pub struct Served {
    /// What it takes and returns.
    pub model: &'static Operation,
    run: fn(&Request<'_>, &Input<'_>, &mut Object<'_>) -> Result<()>,
    place: fn(&Input<'_>) -> Place,
}

/// Where an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the thread that read the request: it takes microseconds.
    Here,
    /// On a thread that may wait for the keystore's disk.
    Store,
    /// On a thread that may compute for milliseconds; not more of them at a time than there are processors.
    Compute,
}

/// What an operation has besides its input.
struct Request<'a> {
    kms: &'a Kms,
    call: &'a Call<'a>,
    trace: &'a Trace,
}

impl Request<'_> {
    fn arn(&self, key: KeyId) -> String {
        self.kms.key_arn(self.call, key)
    }
}

/// Operations of AWS KMS that this service does not have.
pub const NOT_SERVED: &[&str] = &[
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "DeleteCustomKeyStore",
    "DescribeCustomKeyStores",
    "DisconnectCustomKeyStore",
    "ReplicateKey",
    "UpdateCustomKeyStore",
    "UpdatePrimaryRegion",
];

/// The operations, by name.
pub static SERVED: &[Served] = &[
    store(&model::keys::CANCEL_KEY_DELETION, keys::cancel_key_deletion),
    store(&model::aliases::CREATE_ALIAS, aliases::create_alias),
    store(&model::grants::CREATE_GRANT, grants::create_grant),
    store(&model::keys::CREATE_KEY, keys::create_key),
    here(&model::agreement::DECAPSULATE, agreement::decapsulate),
    at(encryption::place_of_decrypt, &model::encryption::DECRYPT, encryption::decrypt),
    store(&model::aliases::DELETE_ALIAS, aliases::delete_alias),
    store(&model::r#import::DELETE_IMPORTED_KEY_MATERIAL, r#import::delete_imported_key_material),
    here(&model::agreement::DERIVE_SHARED_SECRET, agreement::derive_shared_secret),
    at(keys::place_of_describe_key, &model::keys::DESCRIBE_KEY, keys::describe_key),
    store(&model::keys::DISABLE_KEY, keys::disable_key),
    store(&model::rotation::DISABLE_KEY_ROTATION, rotation::disable_key_rotation),
    store(&model::keys::ENABLE_KEY, keys::enable_key),
    store(&model::rotation::ENABLE_KEY_ROTATION, rotation::enable_key_rotation),
    here(&model::agreement::ENCAPSULATE, agreement::encapsulate),
    here(&model::encryption::ENCRYPT, encryption::encrypt),
    here(&model::data_keys::GENERATE_DATA_KEY, data_keys::generate_data_key),
    compute(&model::data_keys::GENERATE_DATA_KEY_PAIR, data_keys::generate_data_key_pair),
    compute(
        &model::data_keys::GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,
        data_keys::generate_data_key_pair_without_plaintext,
    ),
    here(
        &model::data_keys::GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
        data_keys::generate_data_key_without_plaintext,
    ),
    here(&model::signing::GENERATE_MAC, signing::generate_mac),
    here(&model::data_keys::GENERATE_RANDOM, data_keys::generate_random),
    here(&model::keys::GET_KEY_LAST_USAGE, keys::get_key_last_usage),
    here(&model::policies::GET_KEY_POLICY, policies::get_key_policy),
    here(&model::rotation::GET_KEY_ROTATION_STATUS, rotation::get_key_rotation_status),
    compute(&model::r#import::GET_PARAMETERS_FOR_IMPORT, r#import::get_parameters_for_import),
    here(&model::signing::GET_PUBLIC_KEY, signing::get_public_key),
    store(&model::r#import::IMPORT_KEY_MATERIAL, r#import::import_key_material),
    here(&model::aliases::LIST_ALIASES, aliases::list_aliases),
    here(&model::grants::LIST_GRANTS, grants::list_grants),
    here(&model::policies::LIST_KEY_POLICIES, policies::list_key_policies),
    here(&model::rotation::LIST_KEY_ROTATIONS, rotation::list_key_rotations),
    here(&model::keys::LIST_KEYS, keys::list_keys),
    here(&model::tags::LIST_RESOURCE_TAGS, tags::list_resource_tags),
    here(&model::grants::LIST_RETIRABLE_GRANTS, grants::list_retirable_grants),
    store(&model::policies::PUT_KEY_POLICY, policies::put_key_policy),
    at(encryption::place_of_re_encrypt, &model::encryption::RE_ENCRYPT, encryption::re_encrypt),
    store(&model::grants::RETIRE_GRANT, grants::retire_grant),
    store(&model::grants::REVOKE_GRANT, grants::revoke_grant),
    store(&model::rotation::ROTATE_KEY_ON_DEMAND, rotation::rotate_key_on_demand),
    store(&model::keys::SCHEDULE_KEY_DELETION, keys::schedule_key_deletion),
    at(signing::place_of_sign, &model::signing::SIGN, signing::sign),
    store(&model::tags::TAG_RESOURCE, tags::tag_resource),
    store(&model::tags::UNTAG_RESOURCE, tags::untag_resource),
    store(&model::aliases::UPDATE_ALIAS, aliases::update_alias),
    store(&model::keys::UPDATE_KEY_DESCRIPTION, keys::update_key_description),
    here(&model::signing::VERIFY, signing::verify),
    here(&model::signing::VERIFY_MAC, signing::verify_mac),
];

/// Operations on keys that AWS KMS does not have, by name. Their target prefix is `Kmsfs`.
pub static OWN: &[Served] = &[
    store(&model::approvals::DESCRIBE_APPROVALS, approvals::describe),
    store(&model::approvals::ADD_CUSTODIAN, approvals::add_custodian),
    store(&model::approvals::REMOVE_CUSTODIAN, approvals::remove_custodian),
    store(&model::approvals::SET_POLICY, approvals::set_policy),
    store(&model::approvals::RUN, approvals::run),
    store(&model::secrets::BIND_SECRETS, secrets::bind_secrets),
    store(&model::secrets::CREATE_SECRETS, secrets::create_secrets),
    store(&model::secrets::DESTROY_SECRETS, secrets::destroy_secrets),
    store(&model::secrets::GET_SECRET, secrets::get_secret),
    here(&model::token::DESCRIBE_TOKEN, token::describe_token),
    here(&model::token::OPEN_TOKEN, token::open_token),
    here(&model::token::CLOSE_TOKEN, token::close_token),
    compute(&model::token::LOGIN_TOKEN, token::login_token),
    here(&model::token::LOGOUT_TOKEN, token::logout_token),
    compute(&model::token::SET_TOKEN_PIN, token::set_token_pin),
    store(&model::token::CREATE_OBJECT, token::create_object),
    store(&model::token::COPY_OBJECT, token::copy_object),
    store(&model::token::DESTROY_OBJECT, token::destroy_object),
    here(&model::token::READ_OBJECT, token::read_object),
    store(&model::token::CHANGE_OBJECT, token::change_object),
    store(&model::token::FIND_OBJECTS, token::find_objects),
    compute(&model::token::GENERATE_OBJECT, token::generate_object),
    compute(&model::token::GENERATE_OBJECT_PAIR, token::generate_object_pair),
    compute(&model::token::DERIVE_OBJECT, token::derive_object),
    compute(&model::token::WRAP_OBJECT, token::wrap_object),
    compute(&model::token::UNWRAP_OBJECT, token::unwrap_object),
    at(token::place_of_use, &model::token::USE_OBJECT, token::use_object),
];

type Run = fn(&Request<'_>, &Input<'_>, &mut Object<'_>) -> Result<()>;

const fn at(place: fn(&Input<'_>) -> Place, model: &'static Operation, run: Run) -> Served {
    Served { model, run, place }
}

const fn here(model: &'static Operation, run: Run) -> Served {
    at(|_| Place::Here, model, run)
}

const fn store(model: &'static Operation, run: Run) -> Served {
    at(|_| Place::Store, model, run)
}

const fn compute(model: &'static Operation, run: Run) -> Served {
    at(|_| Place::Compute, model, run)
}

/// The operation of this name.
///
/// # Errors
/// `UnsupportedOperationException` if AWS KMS has it and this service does not, `UnknownOperationException`.
pub fn find(name: &str) -> Result<&'static Served> {
    match SERVED.binary_search_by(|served| served.model.name.cmp(name)) {
        Ok(at) => Ok(&SERVED[at]),
        Err(_) if NOT_SERVED.contains(&name) => {
            Err(Error::unsupported(format!("{name} is not supported by this service.")))
        }
        Err(_) => Err(Error::unknown_operation()),
    }
}

/// The operation of this name that AWS KMS does not have.
pub fn find_own(name: &str) -> Option<&'static Served> {
    OWN.iter().find(|served| served.model.name == name)
}

impl Served {
    /// Reads and checks the body of a request.
    ///
    /// # Errors
    /// `SerializationException`, `ValidationException`.
    pub fn read<'b>(&self, body: &'b [u8]) -> Result<Input<'b>> {
        let input = Input::decode(self.model.input, Value::parse(body)?)?;
        wire::check(&input)?;
        Ok(input)
    }

    /// Where a request runs.
    pub fn place(&self, input: &Input<'_>) -> Place {
        (self.place)(input)
    }

    /// Whether the request asks only if it would be allowed.
    pub fn is_dry_run(&self, input: &Input<'_>) -> bool {
        self.takes("DryRun") && input.flag("DryRun")
    }

    /// The spec that decides which quota a request counts against: that of the data key pair to make, else that of the key
    /// that is named.
    pub fn spec(&self, kms: &Kms, identity: &Identity, input: &Input<'_>) -> Option<KeySpec> {
        if self.takes("KeyPairSpec") {
            return input.text("KeyPairSpec")?.parse().ok();
        }
        let member = ["KeyId", "DestinationKeyId"].into_iter().find(|member| self.takes(member))?;
        kms.spec_of(&identity.call(), input.text(member)?)
    }

    /// Runs the operation, and gives the body of its answer. What becomes known of it is noted in `trace`.
    ///
    /// # Errors
    /// Those of the model.
    pub fn run(
        &self,
        kms: &Kms,
        identity: &Identity,
        input: &Input<'_>,
        trace: &Trace,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let grant_tokens = if self.takes("GrantTokens") { input.texts("GrantTokens") } else { Vec::new() };
        let call = Call {
            grant_tokens: &grant_tokens,
            dry_run: self.is_dry_run(input),
            trace: Some(trace),
            ..identity.call()
        };
        let answer = Output::document(self.model.output, |output| {
            (self.run)(&Request { kms, call: &call, trace }, input, output)
        });
        if let Err(error) = &answer {
            debug_assert!(self.model.may_fail_with(error.name()), "{} and {error:?}", self.model.name);
        }
        answer
    }

    fn takes(&self, member: &str) -> bool {
        self.model.input.iter().any(|known| known.name == member)
    }
}

/// Refuses members that ask for what this service does not do.
fn refuse(input: &Input<'_>, members: &[&str]) -> Result<()> {
    match members.iter().find(|member| input.get(member).is_some()) {
        Some(member) => Err(Error::unsupported(format!("{member} is not supported by this service."))),
        None => Ok(()),
    }
}

/// A member out of an enumeration. Of AWS's values, the KMS may lack some.
fn choice<T: FromStr>(input: &Input<'_>, member: &str) -> Result<Option<T>> {
    let Some(name) = input.text(member) else { return Ok(None) };
    let known = name.parse().map(Some);
    known.map_err(|_| Error::unsupported(format!("{name} as {member} is not supported by this service.")))
}

/// As [`choice`], of a member that the model requires.
fn required_choice<T: FromStr>(input: &Input<'_>, member: &str) -> Result<T> {
    Ok(choice(input, member)?.expect("the model requires it, and requests are held against the model"))
}

/// Bytes that AWS's model does not require, but the operation does.
fn given<'i>(input: &'i Input<'_>, member: &str) -> Result<&'i [u8]> {
    let missing = || Error::new("ValidationException", format!("{member} is required."));
    input.blob(member).ok_or_else(missing)
}

/// `Limit` and `Marker`.
fn page<'i>(input: &'i Input<'_>) -> Page<'i> {
    Page::new(input.integer("Limit").map(unsigned), input.text("Marker"))
}

/// `NextMarker` and `Truncated`.
fn next<T>(listed: &Listed<T>, output: &mut Object<'_>) {
    if let Some(marker) = &listed.next {
        output.text("NextMarker", marker);
    }
    output.flag("Truncated", listed.next.is_some());
}

/// A number that the model bounds to what is not negative.
fn unsigned(number: i64) -> usize {
    usize::try_from(number).expect("the model bounds numbers")
}

/// A number that the model bounds to a few thousand.
fn small(number: i64) -> u32 {
    u32::try_from(number).expect("the model bounds numbers")
}
