//! JSON documents beside a log that only holders of its key can write.
//!
//! The last member of such an object is the MAC of everything before it:
//!
//! ```text
//! {…,"mac":"<64 lower-case hex digits>"}
//! mac = BLAKE3-keyed(key, purpose ‖ "" ‖ everything before ,"mac":)   (see crypto::mac)
//! ```

use super::chain::{ChainKey, Hash, hex};
use serde::Serialize;
use serde::de::DeserializeOwned;

const MAC: &[u8] = b",\"mac\":\"";
const END: &[u8] = b"\"}";

/// The document of `value`, which is serialized as an object that is not empty.
pub(in crate::kms) fn seal(key: &ChainKey, purpose: &str, value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("a sealed document is an object with names for keys");
    text.pop(); // its closing brace
    let mac = key.mac(purpose, [b"", &text]);
    text.extend_from_slice(MAC);
    text.extend_from_slice(hex(&mac.0, &mut [0; 64]).as_bytes());
    text.extend_from_slice(END);
    text
}

/// What a document says, if it was sealed with this key for this purpose.
pub(in crate::kms) fn open<T: DeserializeOwned>(key: &ChainKey, purpose: &str, text: &[u8]) -> Option<T> {
    let (rest, digits) = text.strip_suffix(END)?.split_last_chunk::<64>()?;
    let mac: Hash = str::from_utf8(digits).ok()?.parse().ok()?;
    let body = rest.strip_suffix(MAC)?;
    match key.verify(purpose, [b"", body], &mac) {
        true => serde_json::from_slice(&[body, b"}"].concat()).ok(),
        false => None,
    }
}
