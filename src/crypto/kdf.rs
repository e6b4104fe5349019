//! One key from another: BLAKE3 in its key-derivation mode.
//!
//! A context string is a constant of the program, unique to one use of one key, in the form BLAKE3's authors
//! recommend: application, date, purpose (`"kmsfs 2026-11 volume names"`). What varies at run time, such as an id
//! or a generation, is not context: it goes into `info`.

use zeroize::Zeroize;

use super::Key;

/// `BLAKE3-derive-key(context, ikm)`.
pub fn subkey(context: &'static str, ikm: &Key) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(ikm.expose());
    finish(&mut hasher)
}

/// `BLAKE3-derive-key(context, ikm ‖ u64le(len(info)) ‖ info)`.
///
/// The length makes this injective in `info` and never equal to [`subkey`] of the same context, even for an
/// empty `info`.
pub fn subkey_with(context: &'static str, ikm: &Key, info: &[u8]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(ikm.expose());
    hasher.update(&(info.len() as u64).to_le_bytes());
    hasher.update(info);
    finish(&mut hasher)
}

/// `BLAKE3-derive-key(context, secret ‖ u64le(len(secret)) ‖ info)`: 32 bytes that identify a secret of any length and
/// need not be kept secret themselves, if the secret cannot be guessed.
pub fn fingerprint(context: &'static str, secret: &[u8], info: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(secret);
    hasher.update(&(secret.len() as u64).to_le_bytes());
    hasher.update(info);
    let fingerprint = hasher.finalize().into();
    hasher.zeroize();
    fingerprint
}

/// Writes the output straight into locked memory and wipes the hasher, which has the input key in its buffer. By
/// reference: a hasher that is moved stays behind where it was.
fn finish(hasher: &mut blake3::Hasher) -> Key {
    let mut output = hasher.finalize_xof();
    let key = Key::fill_with(|out| output.fill(out));
    output.zeroize();
    hasher.zeroize();
    wipe_stack();
    key
}

/// Overwrites what the calls before left of the key on the stack: BLAKE3 hands it on by value.
#[inline(never)]
fn wipe_stack() {
    const DEPTH: usize = 8192;
    std::hint::black_box(&mut [0u8; DEPTH]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::from_bytes(&mut [byte; 32])
    }

    #[test]
    fn is_the_construction_it_documents() {
        let ikm = [7u8; 32];
        assert_eq!(subkey("kmsfs test", &key(7)).expose(), &blake3::derive_key("kmsfs test", &ikm));

        let mut message = ikm.to_vec();
        message.extend_from_slice(&3u64.to_le_bytes());
        message.extend_from_slice(b"abc");
        assert_eq!(
            subkey_with("kmsfs test", &key(7), b"abc").expose(),
            &blake3::derive_key("kmsfs test", &message)
        );
    }

    #[test]
    fn a_fingerprint_keeps_secret_and_info_apart() {
        let mut message = b"abc".to_vec();
        message.extend_from_slice(&3u64.to_le_bytes());
        message.extend_from_slice(b"de");
        assert_eq!(fingerprint("kmsfs test", b"abc", b"de"), blake3::derive_key("kmsfs test", &message));
        assert_ne!(fingerprint("kmsfs test", b"abc", b"de"), fingerprint("kmsfs test", b"abcd", b"e"));
    }

    #[test]
    fn context_key_and_info_all_matter() {
        let keys = [
            subkey("kmsfs test a", &key(1)),
            subkey("kmsfs test b", &key(1)),
            subkey("kmsfs test a", &key(2)),
            subkey_with("kmsfs test a", &key(1), b""),
            subkey_with("kmsfs test a", &key(1), b"\0"),
            subkey_with("kmsfs test a", &key(1), b"1"),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| a != b), "key {i} appears twice");
        }
    }
}
