//! The text of a config, and what its MAC is over. Pure.
//!
//! The MAC's parts are in the documentation of [`config`](super).

use super::super::{Error, Result};
use super::settings::{SHREDDABLE, ZONES, check, features, has_zones, is_shreddable};
use super::{CONFIG, CONFIG_MAX, CmkPlace, FORMAT, Settings, Unverified, ZoneSettings};
use crate::crypto::{Key, mac};
use crate::keys::{WrapMode, WrappedKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write;

/// The JSON, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: u32,
    volume: String,
    cipher: String,
    wrap: String,
    kms: String,
    cmk: String,
    volume_key: JsonKey,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<JsonCmk>,
    #[serde(default, skip_serializing_if = "is_no")]
    shreddable: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    zones: Vec<JsonZone>,
    features: Vec<String>,
    mac: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonCmk {
    kms: String,
    cmk: String,
    cmk_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonZone {
    id: String,
    name: String,
    wrap: String,
    cmk: JsonCmk,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<JsonCmk>,
    #[serde(default, skip_serializing_if = "is_no")]
    shreddable: bool,
}

fn is_no(flag: &bool) -> bool {
    !flag
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonKey {
    cmk_id: String,
    material: u32,
    wrapped: String,
}

/// What a config of any format has, so that a newer one is told from a damaged one.
#[derive(Deserialize)]
struct Newer {
    format: u32,
    #[serde(default)]
    features: Vec<String>,
}

/// Reads the text of a config.
///
/// # Errors
/// As [`Config::read`](super::Config::read).
pub fn decode(text: &[u8]) -> Result<Unverified> {
    if text.len() > CONFIG_MAX {
        return Err(Error::corrupt(CONFIG, format_args!("longer than {CONFIG_MAX} bytes")));
    }
    refuse_newer(text)?;
    let json: Json = serde_json::from_slice(text).map_err(|e| Error::corrupt(CONFIG, e))?;
    let wrap_mode =
        |text: &str| text.parse::<WrapMode>().map_err(|_| unknown(format_args!("wrap mode {text:?}")));
    let cipher = json.cipher.parse().map_err(|e| Error::Volume(format!("{CONFIG}: {e}")))?;
    let malformed = |field| Error::corrupt(CONFIG, format_args!("field {field:?} is malformed"));
    let cmk = |json: JsonCmk| {
        let id = unhex(&json.cmk_id).ok_or_else(|| malformed("cmk_id"))?;
        Ok(CmkPlace { kms: json.kms, arn: json.cmk, id })
    };
    let zone = |json: JsonZone| {
        let id = unhex(&json.id).ok_or_else(|| malformed("zones"))?;
        let former = json.former.into_iter().map(cmk).collect::<Result<_>>()?;
        let wrap = wrap_mode(&json.wrap)?;
        let (name, shreddable) = (json.name, json.shreddable);
        Ok(ZoneSettings { id, name, cmk: cmk(json.cmk)?, wrap, former, shreddable })
    };
    let claimed = Settings {
        volume_id: unhex(&json.volume).ok_or_else(|| malformed("volume"))?,
        cipher,
        wrap: wrap_mode(&json.wrap)?,
        kms: json.kms,
        cmk: json.cmk,
        wrapped: WrappedKey {
            key_id: unhex(&json.volume_key.cmk_id).ok_or_else(|| malformed("cmk_id"))?,
            material: json.volume_key.material,
            blob: BASE64.decode(&json.volume_key.wrapped).map_err(|_| malformed("wrapped"))?,
        },
        former: json.former.into_iter().map(cmk).collect::<Result<_>>()?,
        shreddable: json.shreddable,
        zones: json.zones.into_iter().map(zone).collect::<Result<_>>()?,
    };
    if json.features != features(&claimed) {
        return Err(malformed("features"));
    }
    check(&claimed).map_err(|why| Error::corrupt(CONFIG, why))?;
    Ok(Unverified { claimed, mac: unhex(&json.mac).ok_or_else(|| malformed("mac"))? })
}

/// Refuses what is well-formed in a way this program does not know: better than to call it damaged.
fn refuse_newer(text: &[u8]) -> Result<()> {
    let newer: Newer = serde_json::from_slice(text).map_err(|e| Error::corrupt(CONFIG, e))?;
    if newer.format != FORMAT {
        return Err(unknown(format_args!("format {}", newer.format)));
    }
    match newer.features.iter().find(|feature| ![ZONES, SHREDDABLE].contains(&feature.as_str())) {
        Some(feature) => Err(unknown(format_args!("feature {feature:?}"))),
        None => Ok(()),
    }
}

fn unknown(what: std::fmt::Arguments<'_>) -> Error {
    let version = env!("CARGO_PKG_VERSION");
    Error::Volume(format!("{CONFIG}: this volume needs {what}, which kmsfs {version} does not know"))
}

/// The text of a config, its MAC made with the key that [`config_key`](super::super::keys::config_key) gives.
pub(super) fn encode(settings: &Settings, key: &Key) -> String {
    let cmk = |cmk: &CmkPlace| JsonCmk { kms: cmk.kms.clone(), cmk: cmk.arn.clone(), cmk_id: hex(&cmk.id) };
    let zone = |zone: &ZoneSettings| JsonZone {
        id: hex(&zone.id),
        name: zone.name.clone(),
        wrap: zone.wrap.to_string(),
        cmk: cmk(&zone.cmk),
        former: zone.former.iter().map(cmk).collect(),
        shreddable: zone.shreddable,
    };
    let json = Json {
        format: FORMAT,
        volume: hex(&settings.volume_id),
        cipher: settings.cipher.to_string(),
        wrap: settings.wrap.to_string(),
        kms: settings.kms.clone(),
        cmk: settings.cmk.clone(),
        volume_key: JsonKey {
            cmk_id: hex(&settings.wrapped.key_id),
            material: settings.wrapped.material,
            wrapped: BASE64.encode(&settings.wrapped.blob),
        },
        former: settings.former.iter().map(cmk).collect(),
        shreddable: settings.shreddable,
        zones: settings.zones.iter().map(zone).collect(),
        features: features(settings),
        mac: hex(&with_parts(settings, |parts| mac::mac(key, parts))),
    };
    let mut text = serde_json::to_string_pretty(&json).expect("strings and numbers are JSON");
    text.push('\n');
    text
}

/// Calls `act` with what the MAC is over.
pub(super) fn with_parts<T>(settings: &Settings, act: impl FnOnce(&[&[u8]]) -> T) -> T {
    let mut parts: Vec<Cow<'_, [u8]>> = vec![
        CONFIG.as_bytes().into(),
        FORMAT.to_le_bytes().to_vec().into(),
        settings.volume_id[..].into(),
        vec![settings.cipher.code()].into(),
        settings.wrap.to_string().into_bytes().into(),
        settings.kms.as_bytes().into(),
        settings.cmk.as_bytes().into(),
        settings.wrapped.key_id[..].into(),
        settings.wrapped.material.to_le_bytes().to_vec().into(),
        settings.wrapped.blob[..].into(),
    ];
    if has_zones(settings) {
        parts.push(ZONES.as_bytes().into());
        former_parts(&settings.former, &mut parts);
        parts.push(count(settings.zones.len()));
        for zone in &settings.zones {
            parts.push(zone.id[..].into());
            parts.push(zone.name.as_bytes().into());
            parts.push(zone.wrap.to_string().into_bytes().into());
            cmk_parts(&zone.cmk, &mut parts);
            former_parts(&zone.former, &mut parts);
        }
    }
    if is_shreddable(settings) {
        parts.push(SHREDDABLE.as_bytes().into());
        let zones = settings.zones.iter().map(|zone| zone.shreddable);
        let flags: Vec<u8> = std::iter::once(settings.shreddable).chain(zones).map(u8::from).collect();
        parts.push(flags.into());
    }
    let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    act(&parts)
}

fn cmk_parts<'a>(cmk: &'a CmkPlace, parts: &mut Vec<Cow<'a, [u8]>>) {
    parts.extend([cmk.kms.as_bytes().into(), cmk.arn.as_bytes().into(), cmk.id[..].into()]);
}

fn former_parts<'a>(former: &'a [CmkPlace], parts: &mut Vec<Cow<'a, [u8]>>) {
    parts.push(count(former.len()));
    former.iter().for_each(|cmk| cmk_parts(cmk, parts));
}

fn count(len: usize) -> Cow<'static, [u8]> {
    (len as u32).to_le_bytes().to_vec().into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text
}

/// The bytes that `text` spells in lowercase hex digits, if there are `N`.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}
