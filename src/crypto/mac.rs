//! Keyed BLAKE3 over several parts.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::Key;

/// Length of a MAC, in bytes.
pub const MAC_LEN: usize = 32;

/// `BLAKE3-keyed(key, u64le(len(p1)) ‖ p1 ‖ u64le(len(p2)) ‖ p2 ‖ …)`.
///
/// Every part carries its length, so no two lists of parts give the same input: `["ab", "c"]`, `["a", "bc"]`
/// and `["abc"]` all differ.
pub fn mac(key: &Key, parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    hasher.zeroize(); // it holds the key
    *hash.as_bytes()
}

/// Whether `expected` is the MAC of `parts`; takes the same time wherever they differ.
#[must_use]
pub fn verify(key: &Key, parts: &[&[u8]], expected: &[u8; MAC_LEN]) -> bool {
    mac(key, parts).ct_eq(expected).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes(&mut [9; 32])
    }

    #[test]
    fn is_the_construction_it_documents() {
        let mut message = 2u64.to_le_bytes().to_vec();
        message.extend_from_slice(b"ab");
        message.extend_from_slice(&0u64.to_le_bytes());
        assert_eq!(mac(&key(), &[b"ab", b""]), *blake3::keyed_hash(&[9; 32], &message).as_bytes());
    }

    #[test]
    fn where_one_part_ends_matters() {
        let lists: [&[&[u8]]; 6] = [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"abc", b""], &[], &[b""]];
        let macs: Vec<_> = lists.iter().map(|parts| mac(&key(), parts)).collect();
        for (i, a) in macs.iter().enumerate() {
            assert!(macs[i + 1..].iter().all(|b| a != b), "list {i}");
        }
    }

    #[test]
    fn verify_accepts_its_own_and_no_flipped_bit() {
        let good = mac(&key(), &[b"part"]);
        assert!(verify(&key(), &[b"part"], &good));
        for bit in 0..256 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&key(), &[b"part"], &bad));
        }
        assert!(!verify(&Key::from_bytes(&mut [8; 32]), &[b"part"], &good));
    }
}
