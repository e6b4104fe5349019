//! Mutational fuzzing of everything that decodes bytes of the lower directory: no input panics, and none is
//! accepted for something else than was written; and of requests to the service: none panics, and what is refused
//! is refused in AWS's words.
//!
//! Bounded by time: `KMSFS_FUZZ_SECONDS` for all decoders together (default 5). A failure prints the decoder,
//! the seed and the input; `KMSFS_FUZZ_SEED` starts with that seed again.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use kmsfs::api::auth::Authorization;
use kmsfs::api::operations;
use kmsfs::crypto::{AeadKey, Cipher, Key};
use kmsfs::keys::{Envelope, FileKey, WrapMode, WrappedKey};
use kmsfs::kms::SecretId;
use kmsfs::volume::config::{self, CmkPlace, Config, Settings, ZoneSettings};
use kmsfs::volume::dirrec::Record;
use kmsfs::volume::header::{self, Header, Slot};
use kmsfs::volume::journal::record::{self, Kind, Position};
use kmsfs::volume::keys::VolumeKeys;
use kmsfs::volume::lower::{Fd, SystemLower, Timespec};
use kmsfs::volume::xattrs;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIR: [u8; 16] = [5; 16];

/// What a decoder makes of an input: `None` if it refuses it, else what it took it for, in words.
type Decode = Box<dyn Fn(&[u8]) -> Option<String>>;

/// A decoder and inputs it accepts.
struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    decode: Decode,
}

fn key(byte: u8) -> Key {
    Key::from_bytes(&mut [byte; 32])
}

fn keys() -> VolumeKeys {
    VolumeKeys::new(&key(1), [2; 16])
}

fn config_target() -> Target {
    let dir = tempfile::tempdir().unwrap();
    let root = Fd::new(std::fs::File::open(dir.path()).unwrap().into());
    let former = CmkPlace { kms: "unix:/run/kms.sock".to_owned(), arn: "arn:former".to_owned(), id: [7; 16] };
    let settings = Settings {
        volume_id: [2; 16],
        cipher: Cipher::Aes256GcmSiv,
        kms: "local:".to_owned(),
        cmk: "arn:aws:kms:local:000000000000:key/x".to_owned(),
        wrap: WrapMode::ZoneKey,
        wrapped: WrappedKey { key_id: [3; 16], material: 1, blob: vec![4; 120] },
        former: vec![former.clone()],
        shreddable: true,
        zones: vec![ZoneSettings {
            shreddable: true,
            id: [6; 16],
            name: "finance".to_owned(),
            cmk: former.clone(),
            wrap: WrapMode::Direct,
            former: vec![former],
        }],
    };
    Config::create(&SystemLower, &root, settings, &key(1)).unwrap();
    let text = std::fs::read(dir.path().join(config::CONFIG)).unwrap();
    let decode = |input: &[u8]| {
        let config = config::decode(input).ok()?.verify(&key(1)).ok()?;
        Some(format!("{config:?}"))
    };
    Target { name: "config", seeds: vec![text], decode: Box::new(decode) }
}

fn name_target() -> Target {
    let names = ["a", "Makefile", "x.tar.gz", &"n".repeat(175), &"n".repeat(176), &"n".repeat(255)];
    let text = |name: &&str| {
        let lower = keys().encrypt_name(&DIR, OsStr::new(name));
        lower.sidecar.map_or(lower.name.as_bytes().to_vec(), |sidecar| sidecar.content)
    };
    let seeds = names.iter().map(text).collect();
    let keys = keys();
    let decode = move |input: &[u8]| Some(format!("{:?}", keys.decrypt_name(&DIR, input).ok()?));
    Target { name: "name", seeds, decode: Box::new(decode) }
}

fn record_target() -> Target {
    let record = Record { id: [6; 16], parent: [7; 16], previous: [0; 16], zone: [0; 16] };
    let seeds = [record, Record { previous: [8; 16], ..record }, Record { parent: [0; 16], ..record }]
        .map(|record| keys().seal_record(&record))
        .to_vec();
    let keys = keys();
    let decode = move |input: &[u8]| Some(format!("{:?}", keys.open_record(input).ok()?));
    Target { name: "directory record", seeds, decode: Box::new(decode) }
}

fn symlink_target() -> Target {
    let targets = ["a", "../some/where", &"t".repeat(3043)];
    let seeds = targets.iter().map(|t| keys().seal_target(OsStr::new(t)).as_bytes().to_vec()).collect();
    let keys = keys();
    let decode = move |input: &[u8]| Some(format!("{:?}", keys.open_target(OsStr::from_bytes(input)).ok()?));
    Target { name: "symlink target", seeds, decode: Box::new(decode) }
}

fn xattr_name_target() -> Target {
    let names = ["user.a", "user.mime_type", "trusted.overlay.opaque", "security.selinux"];
    let seeds = names.iter().map(|n| keys().encrypt_xattr(OsStr::new(n)).as_bytes().to_vec()).collect();
    let keys = keys();
    let decode = move |input: &[u8]| Some(format!("{:?}", keys.decrypt_xattr(OsStr::from_bytes(input))?));
    Target { name: "xattr name", seeds, decode: Box::new(decode) }
}

fn xattr_value_target() -> Target {
    let name = OsStr::new("user.a");
    let file_key = AeadKey::new(Cipher::Aes256GcmSiv, &key(9));
    let seeds = [&b""[..], b"value"].map(|value| xattrs::seal_value(&file_key, name, value)).to_vec();
    let decode = move |input: &[u8]| Some(format!("{:?}", xattrs::open_value(&file_key, name, input).ok()?));
    Target { name: "xattr value", seeds, decode: Box::new(decode) }
}

fn header_target() -> Target {
    let file_key = Arc::new(FileKey::new(Cipher::Aes256GcmSiv, key(9)));
    let slot = Slot {
        generation: 4,
        sealed_len: 100_000,
        durable_len: 4096,
        sparse: true,
        key_generation: 1,
        seals: 64,
        envelope: Envelope {
            zone: [5; 16],
            mode: WrapMode::ZoneKey,
            wrapped: WrappedKey { key_id: [3; 16], material: 1, blob: vec![4; 120] },
            secret: Some(SecretId::from_bytes([7; 16])),
            previous: None,
        },
    };
    let header = |generation| Header {
        file_id: [6; 16],
        cipher: Cipher::Aes256GcmSiv,
        slot: Slot { generation, ..slot.clone() },
    };
    let image = |generations: &[u64]| {
        let mut bytes = vec![0; 2 * header::SECTOR];
        for generation in generations {
            let (sector, at) = header(*generation).encode(&file_key);
            bytes[at as usize..][..header::SECTOR].copy_from_slice(&sector);
        }
        bytes
    };
    let seeds = vec![image(&[4, 5]), image(&[header::FIRST_GENERATION])];
    let decode = move |input: &[u8]| {
        let _ = header::claimed_file_id(input);
        let _ = header::decode_after_crash(input, &"file", |_, _| Ok(Arc::clone(&file_key)));
        let opened = header::decode(input, &"file", |_, _| Ok(Arc::clone(&file_key)));
        Some(format!("{:?}", opened.ok()?.0))
    };
    Target { name: "header", seeds, decode: Box::new(decode) }
}

fn journal_target() -> Target {
    let record = |kind, count, last_len| record::Record {
        kind,
        file: [6; 16],
        len_after: 77,
        first: 3,
        count,
        last_len,
        mtime: Timespec { sec: 1, nsec: 2 },
    };
    let image = |record: record::Record, payload: &[u8]| {
        let at = Position { lsn: 9, segment: 2 };
        let digest = record::digest(payload, &key(9));
        [&record.encode(at, payload.len(), &digest, &key(9))[..], payload].concat()
    };
    let seeds = vec![
        image(record(Kind::Path, 0, 0), b"some/lower/path"),
        image(record(Kind::Blocks, 1, 100), &[7; 132]),
        image(record(Kind::Cut, 0, 0), b""),
        image(record(Kind::Hole, 5, 0), b""),
        image(record(Kind::Length, 0, 0), b""),
    ];
    let decode = |input: &[u8]| {
        let (record, at, payload) = record::decode(input, &key(9))?;
        let entries: Vec<_> = record::entries(payload, record.count).collect();
        Some(format!("{record:?} {at:?} {payload:?} {}", entries.len()))
    };
    Target { name: "journal record", seeds, decode: Box::new(decode) }
}

/// Xorshift64*: reproducible from its seed, and good enough to choose mutations.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`; 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() >> 16) as usize % bound }
    }
}

/// Pieces that parsers trip over.
const TOKENS: [&[u8]; 14] = [
    b"",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"=",
    b".",
    b"/",
    b"\"",
    b"{",
    b"[[[[[[[[",
    b"null",
    b"-1",
    b"\\ud800",
];

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let (at, other) = (random.below(input.len()), random.below(input.len() + 1));
        let range = at.min(other)..at.max(other);
        match random.below(9) {
            0 | 1 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            2 if !input.is_empty() => input[at] = random.next() as u8,
            3 => input.truncate(at),
            4 => drop(input.drain(range)),
            5 => drop(input.splice(range, TOKENS[random.below(TOKENS.len())].iter().copied())),
            6 => {
                let piece = input[range].to_vec();
                drop(input.splice(at..at, piece));
            }
            7 => {
                let donor = &seeds[random.below(seeds.len())];
                let from = random.below(donor.len());
                input.truncate(from);
                input.extend_from_slice(&donor[from..]);
            }
            _ => input.extend((0..random.below(40)).map(|_| random.next() as u8)),
        }
    }
    input
}

/// Fuzzes one decoder for `time`; returns how many inputs it saw.
fn fuzz(target: &Target, time: Duration, seed: u64) -> u64 {
    let meant: Vec<String> = target
        .seeds
        .iter()
        .map(|seed| (target.decode)(seed).expect("what was written is accepted"))
        .collect();
    let (mut random, mut inputs, end) = (Random(seed), 0, Instant::now() + time);
    while inputs % 64 != 0 || Instant::now() < end {
        let input = mutate(&mut random, &target.seeds);
        let taken = catch_unwind(AssertUnwindSafe(|| (target.decode)(&input)));
        let context = || format!("{}, seed {seed}, input {}", target.name, hex::encode(&input));
        match taken {
            Err(_) => panic!("panic: {}", context()),
            Ok(Some(taken)) => assert!(meant.contains(&taken), "taken for {taken}: {}", context()),
            Ok(None) => {}
        }
        inputs += 1;
    }
    inputs
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

/// Requests of every kind of member, as AWS's clients send them.
const REQUESTS: &[(&str, &str)] = &[
    ("Encrypt", r#"{"KeyId":"alias/a","Plaintext":"QUJD","EncryptionContext":{"a":"b"},"DryRun":false}"#),
    ("Decrypt", r#"{"CiphertextBlob":"QUJD","GrantTokens":["t"],"EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#),
    ("GenerateDataKey", r#"{"KeyId":"k","NumberOfBytes":32,"EncryptionContext":{"\u00e4":"\"\\"}}"#),
    ("CreateKey", r#"{"Tags":[{"TagKey":"a","TagValue":""}],"KeySpec":"RSA_2048","MultiRegion":null}"#),
    ("ListAliases", r#"{"Limit":10,"Marker":"AAAA"}"#),
    (
        "ImportKeyMaterial",
        r#"{"KeyId":"k","ImportToken":"QQ==","EncryptedKeyMaterial":"QQ==","ValidTo":1.5e9}"#,
    ),
    ("UntagResource", r#"{"KeyId":"k","TagKeys":["a","b"],"Unknown":[[{"x":[1,2.5,-3e10]}]]}"#),
];

const AUTHORIZATION: &[u8] = b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request, \
    SignedHeaders=host;x-amz-date;x-amz-target, \
    Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

#[test]
fn no_request_panics() {
    let seeds: Vec<Vec<u8>> = REQUESTS.iter().map(|(_, body)| body.as_bytes().to_vec()).collect();
    for (name, body) in REQUESTS {
        operations::find(name).unwrap().read(body.as_bytes()).unwrap();
    }
    let headers = [AUTHORIZATION.to_vec()];
    let (seconds, seed) = settings();
    let (mut random, mut inputs, end) = (Random(seed), 0, Instant::now() + Duration::from_secs(seconds));
    while Instant::now() < end {
        let served = &operations::SERVED[random.below(operations::SERVED.len())];
        let (body, header) = (mutate(&mut random, &seeds), mutate(&mut random, &headers));
        let read = catch_unwind(|| {
            if let Err(error) = served.read(&body) {
                assert!(["SerializationException", "ValidationException"].contains(&error.name()));
            }
            if let Err(error) = Authorization::parse(&String::from_utf8_lossy(&header)) {
                assert!(error.name().ends_with("SignatureException"));
            }
        });
        let inputs_are = || format!("{}, {}", hex::encode(&body), hex::encode(&header));
        assert!(read.is_ok(), "{}, seed {seed}, inputs {}", served.model.name, inputs_are());
        inputs += 1;
    }
    println!("requests: {inputs} inputs, seed {seed}");
}

/// For how many seconds to fuzz, and the seed.
fn settings() -> (u64, u64) {
    let seed = number("KMSFS_FUZZ_SEED").unwrap_or_else(|| {
        let mut seed = [0; 8];
        kmsfs::crypto::random::fill(&mut seed);
        u64::from_le_bytes(seed)
    });
    assert_ne!(seed, 0, "the generator would stand still");
    (number("KMSFS_FUZZ_SECONDS").unwrap_or(5), seed)
}

#[test]
fn no_input_panics_or_passes_for_another() {
    let targets = [
        config_target(),
        name_target(),
        record_target(),
        symlink_target(),
        xattr_name_target(),
        xattr_value_target(),
        header_target(),
        journal_target(),
    ];
    let (seconds, seed) = settings();
    let time = Duration::from_secs(seconds) / targets.len() as u32;
    for target in &targets {
        let inputs = fuzz(target, time, seed);
        println!("{}: {inputs} inputs, seed {seed}", target.name);
    }
}
