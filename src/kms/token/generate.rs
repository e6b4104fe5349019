//! Making keys, key pairs and domain parameters.

use super::code::{Code, Result};
use super::material::{self, RSA_BITS_MAX, RSA_BITS_MIN, RSA_NUMBERS, as_octets};
use super::mechanism::{How, Mechanism};
use super::object::{Object, Origin};
use super::operate::inconsistent;
use super::template::Template;
use crate::crypto::SecretBytes;
use crate::crypto::lc::classic::{Dh, Dsa};
use crate::crypto::lc::ec::EcKey;
use crate::crypto::lc::edwards;
use crate::crypto::lc::ml_dsa::MlDsaKey;
use crate::crypto::lc::rsa::RsaKey;
use crate::crypto::random;
use cryptoki_sys as ck;
use parking_lot::Mutex;

/// AWS-LC makes RSA keys of multiples of this many bits.
const RSA_BITS_STEP: usize = 128;
/// And primes of DSA of multiples of this many.
const PRIME_BITS_STEP: usize = 64;

/// A secret key, or domain parameters.
///
/// # Errors
/// The mechanism makes none, or the template is not one for it.
pub(super) fn one(owner: &str, mechanism: &Mechanism, mut wanted: Template) -> Result<Object> {
    let origin = Origin::Made(mechanism.number);
    match mechanism.how {
        How::GenerateKey(key_type) => {
            expect(&mut wanted, ck::CKA_CLASS, ck::CKO_SECRET_KEY)?;
            expect_key_type(&mut wanted, key_type)?;
            let length = match key_type {
                ck::CKK_DES2 => 16,
                ck::CKK_DES3 => 24,
                _ => wanted.number(ck::CKA_VALUE_LEN).ok_or_else(|| missing("length"))?,
            };
            let made = secret(wanted.number(ck::CKA_KEY_TYPE).unwrap_or(key_type), length)?;
            Object::new(owner, wanted, made, origin)
        }
        How::GenerateParameters(key_type) => {
            expect(&mut wanted, ck::CKA_CLASS, ck::CKO_DOMAIN_PARAMETERS)?;
            expect(&mut wanted, ck::CKA_KEY_TYPE, key_type)?;
            let made = parameters(key_type, &wanted)?;
            Object::new(owner, wanted, made, origin)
        }
        _ => Err(Code::MECHANISM_INVALID.because("The mechanism makes no such object.")),
    }
}

/// A key pair: its public key, and its private one.
///
/// # Errors
/// As [`one`].
pub(super) fn pair(
    owner: &str,
    mechanism: &Mechanism,
    mut public: Template,
    mut private: Template,
) -> Result<[Object; 2]> {
    let How::GeneratePair(key_type) = mechanism.how else {
        return Err(Code::MECHANISM_INVALID.because("The mechanism makes no key pair."));
    };
    for (template, class) in [(&mut public, ck::CKO_PUBLIC_KEY), (&mut private, ck::CKO_PRIVATE_KEY)] {
        expect(template, ck::CKA_CLASS, class)?;
        expect(template, ck::CKA_KEY_TYPE, key_type)?;
    }
    let [made_public, made_private] = match key_type {
        ck::CKK_RSA => rsa(&public)?,
        ck::CKK_EC => {
            let curve = material::curve(curve_of(&public)?)?;
            let key = EcKey::generate(curve).map_err(|_| size())?;
            let (point, number) = (key.public_point(), key.private_number(curve));
            on_curve(&public, &point.map_err(|_| size())?, number.map_err(|_| size())?.expose())?
        }
        ck::CKK_EC_EDWARDS | ck::CKK_EC_MONTGOMERY => {
            let mut value = SecretBytes::zeroed(32);
            random::fill(value.expose_mut());
            let number: &[u8; 32] = value.expose().try_into().expect("32 bytes");
            let point = match key_type {
                ck::CKK_EC_EDWARDS => edwards::ed25519_public(number),
                _ => edwards::x25519_public(number),
            };
            on_curve(&public, &point, number)?
        }
        ck::CKK_ML_DSA => ml_dsa(&public)?,
        _ => in_group(key_type, &public)?,
    };
    let origin = Origin::Made(mechanism.number);
    // Private first: what is wrong with a template is found before anything is made.
    let private = Object::new(owner, private, made_private, origin)?;
    Ok([Object::new(owner, public, made_public, origin)?, private])
}

fn secret(key_type: u64, length: u64) -> Result<Template> {
    let length = usize::try_from(length).map_err(|_| size())?;
    material::check_length(key_type, length)?;
    let mut value = vec![0; length];
    random::fill(&mut value);
    Ok([(ck::CKA_VALUE, value)].into_iter().collect())
}

fn rsa(public: &Template) -> Result<[Template; 2]> {
    let bits = public.number(ck::CKA_MODULUS_BITS).ok_or_else(|| missing("modulus length"))?;
    let bits = usize::try_from(bits).map_err(|_| size())?;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) || !bits.is_multiple_of(RSA_BITS_STEP) {
        return Err(size());
    }
    let exponent = public.get(ck::CKA_PUBLIC_EXPONENT).unwrap_or(&[1, 0, 1]);
    let invalid = |_| Code::ATTRIBUTE_VALUE_INVALID.because("No RSA key has that length and exponent.");
    let key = RsaKey::generate(bits, exponent).map_err(invalid)?;
    let public = key.public_numbers().map_err(|_| size())?;
    let secret = key.private_numbers().map_err(|_| size())?;
    let all = public.iter().chain(&secret).map(|number| number.expose().to_vec());
    let private: Template = RSA_NUMBERS.into_iter().zip(all).collect();
    let public = RSA_NUMBERS.into_iter().zip(public.iter().map(|number| number.expose().to_vec())).collect();
    Ok([public, private])
}

fn ml_dsa(public: &Template) -> Result<[Template; 2]> {
    let set = material::parameter_set(public)?;
    let number = public.get(ck::CKA_PARAMETER_SET).unwrap_or_default().to_vec();
    let seed = random::array::<32>();
    let public = MlDsaKey::new(set, &seed).map_err(|_| size())?.public();
    let with =
        |kind, value: Vec<u8>| [(ck::CKA_PARAMETER_SET, number.clone()), (kind, value)].into_iter().collect();
    Ok([with(ck::CKA_VALUE, public), with(ck::CKA_SEED, seed.to_vec())])
}

fn curve_of(public: &Template) -> Result<&[u8]> {
    public.get(ck::CKA_EC_PARAMS).ok_or_else(|| missing("curve"))
}

fn on_curve(public: &Template, point: &[u8], number: &[u8]) -> Result<[Template; 2]> {
    let curve = curve_of(public)?.to_vec();
    Ok([
        [(ck::CKA_EC_PARAMS, curve.clone()), (ck::CKA_EC_POINT, as_octets(point))].into_iter().collect(),
        [(ck::CKA_EC_PARAMS, curve), (ck::CKA_VALUE, number.to_vec())].into_iter().collect(),
    ])
}

/// A pair of DSA or Diffie-Hellman.
fn in_group(key_type: u64, public: &Template) -> Result<[Template; 2]> {
    let invalid = |_| Code::ATTRIBUTE_VALUE_INVALID.because("The domain parameters are none.");
    let given = |kind| public.get(kind).ok_or_else(|| missing("domain parameter"));
    let (prime, base) = (given(ck::CKA_PRIME)?, given(ck::CKA_BASE)?);
    if !(128..=512).contains(&prime.len()) {
        return Err(size());
    }
    let mut group = vec![(ck::CKA_PRIME, prime.to_vec()), (ck::CKA_BASE, base.to_vec())];
    let pair = if key_type == ck::CKK_DSA {
        let subprime = given(ck::CKA_SUBPRIME)?;
        group.push((ck::CKA_SUBPRIME, subprime.to_vec()));
        Dsa::new([prime, subprime, base]).and_then(|group| group.generate_key())
    } else {
        Dh::new(prime, base).and_then(|group| group.generate_key())
    };
    let pair = pair.map_err(invalid)?;
    let with = |value: &SecretBytes| {
        let value = (ck::CKA_VALUE, value.expose().to_vec());
        group.iter().cloned().chain([value]).collect()
    };
    Ok([with(&pair.public), with(&pair.private)])
}

fn parameters(key_type: u64, wanted: &Template) -> Result<Template> {
    let bits = wanted.number(ck::CKA_PRIME_BITS).ok_or_else(|| missing("prime length"))?;
    // Safe primes beyond that take minutes, which nobody waits for at a socket: there are known ones (RFC 3526).
    let longest = if key_type == ck::CKK_DSA { 3072 } else { 1024 };
    let good = |bits: &usize| (1024..=longest).contains(bits) && bits.is_multiple_of(PRIME_BITS_STEP);
    let bits = usize::try_from(bits).ok().filter(good).ok_or_else(size)?;
    // Looking for primes takes seconds of a processor: others shall have the rest of them.
    static LOOKING: Mutex<()> = Mutex::new(());
    let busy = || Code::DEVICE_MEMORY.because("Somebody has parameters made just now; try again.");
    let _one_at_a_time = LOOKING.try_lock().ok_or_else(busy)?;
    let numbers = match key_type {
        ck::CKK_DSA => {
            let made = Dsa::generate(bits).and_then(|made| made.parameters()).map_err(|_| size())?;
            let kinds = [ck::CKA_PRIME, ck::CKA_SUBPRIME, ck::CKA_BASE];
            let mut numbers: Template =
                kinds.into_iter().zip(made.iter().map(|number| number.expose().to_vec())).collect();
            // Which goes with the prime's length, and is not to be chosen.
            numbers.set_number(ck::CKA_SUBPRIME_BITS, 8 * made[1].len() as u64);
            numbers
        }
        ck::CKK_DH => {
            let made = Dh::generate(bits).and_then(|made| made.parameters()).map_err(|_| size())?;
            let kinds = [ck::CKA_PRIME, ck::CKA_BASE];
            kinds.into_iter().zip(made.iter().map(|number| number.expose().to_vec())).collect()
        }
        _ => return Err(inconsistent()),
    };
    Ok(numbers)
}

/// Has an attribute be what the mechanism makes.
pub(super) fn expect(template: &mut Template, kind: u64, value: u64) -> Result<()> {
    match template.get(kind) {
        None => template.set_number(kind, value),
        Some(_) if template.number(kind) == Some(value) => {}
        Some(_) => {
            let why = format!("The attribute {kind:#x} is not that of what the mechanism makes.");
            return Err(Code::TEMPLATE_INCONSISTENT.because(why));
        }
    }
    Ok(())
}

/// As above. Keys of a generic type may be for one HMAC alone.
fn expect_key_type(template: &mut Template, key_type: u64) -> Result<()> {
    let is_hmac = |kind| {
        !matches!(kind, ck::CKK_AES | ck::CKK_DES2 | ck::CKK_DES3) && super::rules::is_secret_type(kind)
    };
    match template.number(ck::CKA_KEY_TYPE) {
        Some(kind) if key_type == ck::CKK_GENERIC_SECRET && is_hmac(kind) => Ok(()),
        _ => expect(template, ck::CKA_KEY_TYPE, key_type),
    }
}

fn missing(what: &str) -> super::code::Error {
    Code::TEMPLATE_INCOMPLETE.because(format!("The template has no {what}."))
}

fn size() -> super::code::Error {
    Code::KEY_SIZE_RANGE.because("Keys of this type do not have that length.")
}
