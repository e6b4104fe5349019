//! Checkpoints: what they find, whoever did it, and that they are what was signed.

use super::*;
use crate::crypto::asymmetric::PublicKey;

fn signer(seed: u8) -> CheckpointKey {
    CheckpointKey::new(Key::from_bytes(&mut [seed; 32]))
}

fn public(key: &CheckpointKey) -> PublicKey {
    Checkpoint::public_key(&key.public_spki().unwrap()).unwrap()
}

impl Scratch {
    /// A log of three segments and more to come, and a checkpoint of it.
    fn kept() -> (Scratch, Checkpoint) {
        let scratch = Scratch::new();
        for _ in 0..3 {
            let options = Options { segment_bytes: 1, ..scratch.options(Durability::Durable) };
            let log = AuditLog::open(&scratch.path(), key(), options).unwrap();
            log.append(record(1)).wait().unwrap();
        }
        let text = scratch.checkpoint(None).unwrap();
        (scratch, Checkpoint::open(&text, &public(&signer(1))).unwrap())
    }

    fn checkpoint(&self, first: Option<u64>) -> std::result::Result<String, CheckpointError> {
        Checkpoint::make(&self.path(), (&key(), &signer(1)), first, noon())
    }

    /// What is wrong with the log by a checkpoint.
    fn differs(&self, kept: &Checkpoint) -> Option<String> {
        kept.compare(&self.path(), None).unwrap().broken.map(|broken| broken.what)
    }
}

#[test]
fn a_log_that_grew_is_still_what_it_was() {
    let (scratch, kept) = Scratch::kept();
    let report = scratch.sound();
    assert_eq!((Some(kept.end), Some(kept.log)), (report.end, report.log));
    assert!(kept.segments.len() >= 3, "{kept:?}");
    let length = |digest: &SegmentDigest| fs::metadata(scratch.segment(digest.segment)).unwrap().len();
    assert!(kept.segments.iter().all(|digest| digest.bytes == length(digest)));
    let expected = Comparison { segments: kept.segments.len() as u64, since: 0, broken: None };
    assert_eq!(kept.compare(&scratch.path(), None).unwrap(), expected);
    scratch.write(5);
    let comparison = kept.compare(&scratch.path(), None).unwrap();
    assert!(comparison.broken.is_none() && comparison.since > 1000, "{comparison:?}");
    scratch.write(5);
    let later = scratch.checkpoint(None).unwrap();
    let later = Checkpoint::open(&later, &public(&signer(1))).unwrap();
    assert!(later.end.sequence > kept.end.sequence);
    assert_eq!((scratch.differs(&kept), scratch.differs(&later)), (None, None));
}

#[test]
fn no_byte_that_it_covers_changes_unnoticed() {
    let (scratch, kept) = Scratch::kept();
    for digest in &kept.segments {
        let path = scratch.segment(digest.segment);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(scratch.differs(&kept).unwrap().contains("was altered"), "byte {at}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(scratch.differs(&kept).unwrap().contains("lines were cut off"));
        fs::remove_file(&path).unwrap();
        assert_eq!(scratch.differs(&kept).unwrap(), "is missing");
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(scratch.differs(&kept), None);
    let full = scratch.segment(kept.segments[0].segment);
    let more = [fs::read(&full).unwrap(), b"{}\n".to_vec()].concat();
    fs::write(&full, more).unwrap();
    assert!(scratch.differs(&kept).unwrap().contains("has gained"));
}

#[test]
fn whoever_has_the_key_of_the_chain_cannot_write_another_log() {
    let (scratch, kept) = Scratch::kept();
    fs::remove_dir_all(scratch.path()).unwrap();
    for _ in 0..3 {
        let options = Options { segment_bytes: 1, ..scratch.options(Durability::Durable) };
        let log = AuditLog::open(&scratch.path(), key(), options).unwrap();
        log.append(record(2)).wait().unwrap();
    }
    scratch.sound(); // the chain is as good as the other
    assert!(scratch.differs(&kept).unwrap().contains("was altered"));
}

#[test]
fn an_older_copy_of_the_whole_directory_is_found() {
    let (scratch, _) = Scratch::kept();
    let copy = fs::read(scratch.segment(3)).unwrap();
    scratch.write(9);
    let later = Checkpoint::open(&scratch.checkpoint(None).unwrap(), &public(&signer(1))).unwrap();
    for digest in later.segments.iter().filter(|digest| digest.segment > 3) {
        fs::remove_file(scratch.segment(digest.segment)).unwrap();
    }
    fs::write(scratch.segment(3), copy).unwrap();
    assert!(scratch.differs(&later).is_some());
}

#[test]
fn a_text_that_was_not_signed_is_refused() {
    let (scratch, _) = Scratch::kept();
    let text = scratch.checkpoint(None).unwrap();
    let key = public(&signer(1));
    assert!(Checkpoint::open(&text, &key).is_ok());
    let other = Checkpoint::open(&text, &public(&signer(2)));
    assert!(matches!(other, Err(CheckpointError::Signature)));
    let bytes = text.trim_end().as_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        let refused = Checkpoint::open(std::str::from_utf8(&changed).unwrap(), &key);
        assert!(refused.is_err(), "byte {at}");
    }
    for bad in ["", "{}", "\"}", "{\"signature\":\"\"}", &text[1..], &format!("{text}{text}")] {
        assert!(Checkpoint::open(bad, &key).is_err(), "{bad}");
    }
}

#[test]
fn a_damaged_log_gets_no_signature() {
    let (scratch, _) = Scratch::kept();
    let path = scratch.segment(2);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replace("alice", "mally")).unwrap();
    assert!(matches!(scratch.checkpoint(None), Err(CheckpointError::Broken(_))));
    assert!(matches!(Scratch::new().checkpoint(None), Err(CheckpointError::Log(Error::Missing(_)))));
}

#[test]
fn segments_that_were_archived_are_left_out_when_that_is_said() {
    let (scratch, kept) = Scratch::kept();
    fs::remove_file(scratch.segment(1)).unwrap();
    assert_eq!(scratch.differs(&kept).unwrap(), "is missing");
    let rest = kept.compare(&scratch.path(), Some(2)).unwrap();
    assert_eq!((rest.segments, rest.broken), (kept.segments.len() as u64 - 1, None));
    let partly = Checkpoint::open(&scratch.checkpoint(Some(2)).unwrap(), &public(&signer(1))).unwrap();
    assert_eq!(partly.segments[..], kept.segments[1..]);
    let none = kept.compare(&scratch.path(), Some(99)).unwrap().broken.unwrap();
    assert!(none.what.contains("nothing was compared"), "{none}");
}

#[test]
fn a_checkpoint_looks_like_this() {
    let end = Link { sequence: 42, chain: Hash([0xab; 32]) };
    let segments = vec![SegmentDigest { segment: 1, bytes: 16384, sha256: Hash([1; 32]) }];
    let (log, time) = (Uuid::from_u128(7), noon());
    let checkpoint = Checkpoint { version: 1, log, time, end, segments };
    let text = signer(1).seal(&checkpoint).unwrap();
    let (body, signature) = text.split_once(",\"signature\":\"").unwrap();
    let (chain, digest) = ("ab".repeat(32), "01".repeat(32));
    assert_eq!(
        body,
        format!(
            "{{\"version\":1,\"log\":\"00000000-0000-0000-0000-000000000007\",\"time\":\"2026-01-01T12:00:00.000Z\",\
             \"sequence\":42,\"chain\":\"{chain}\",\"segments\":[{{\"segment\":1,\"bytes\":16384,\"sha256\":\"{digest}\"}}]"
        )
    );
    assert_eq!(signature.len(), 128 + 3);
    assert_eq!(Checkpoint::open(&text, &public(&signer(1))).unwrap(), checkpoint);
}
