//! Whatever is done to a log, verification names the first line that is wrong.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

/// The files of a log of several segments, and its lines.
struct Golden {
    head: Vec<u8>,
    segments: Vec<Vec<Vec<u8>>>,
}

static GOLDEN: LazyLock<Golden> = LazyLock::new(|| {
    let scratch = Scratch::new();
    let options = Options { segment_bytes: 4000, ..scratch.options(Durability::Durable) };
    let log = AuditLog::open(&scratch.path(), key(), options).unwrap();
    for number in 0..30 {
        log.append(record(number)).wait().unwrap();
    }
    drop(log);
    let report = scratch.sound();
    assert_eq!((report.calls, report.notes.len()), (30, 0));
    let lines = |number| -> Vec<Vec<u8>> {
        let bytes = fs::read(scratch.segment(number)).unwrap();
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let segments: Vec<_> = (1..=report.segments).map(lines).collect();
    assert!(segments.len() >= 3 && segments.iter().all(|lines| lines.len() >= 3));
    Golden { head: fs::read(scratch.path().join("audit.head")).unwrap(), segments }
});

/// Writes the log with `segments` in the place of its own, and verifies it: segment and line of the first break.
fn first_break(segments: &[Vec<Vec<u8>>]) -> Option<(usize, Option<u64>)> {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path()).unwrap();
    fs::write(scratch.path().join("audit.head"), &GOLDEN.head).unwrap();
    for (lines, number) in segments.iter().zip(1..) {
        fs::write(scratch.segment(number), lines.concat()).unwrap();
    }
    let broken = scratch.verify().broken?;
    let at = (1..99).position(|number| scratch.segment(number) == broken.path).unwrap();
    Some((at, broken.line))
}

/// A segment and a line in it.
fn line() -> impl Strategy<Value = (usize, usize)> {
    (0..GOLDEN.segments.len()).prop_flat_map(|segment| (Just(segment), 0..GOLDEN.segments[segment].len()))
}

fn named(segment: usize, line: usize) -> Option<(usize, Option<u64>)> {
    Some((segment, Some(line as u64 + 1)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_changed_byte((segment, line) in line(), at: prop::sample::Index, change in 1u8..) {
        let mut segments = GOLDEN.segments.clone();
        let bytes = &mut segments[segment][line];
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert_eq!(first_break(&segments), named(segment, line));
    }

    #[test]
    fn a_removed_line((segment, line) in line()) {
        let mut segments = GOLDEN.segments.clone();
        segments[segment].remove(line);
        // What should have been there is named: the line that took its place, in the next segment if it was the last.
        let last = line == segments[segment].len() && segment + 1 < segments.len();
        prop_assert_eq!(first_break(&segments), if last { named(segment + 1, 0) } else { named(segment, line) });
    }

    #[test]
    fn an_inserted_line((segment, line) in line(), from in line()) {
        let mut segments = GOLDEN.segments.clone();
        let copy = segments[from.0][from.1].clone();
        segments[segment].insert(line, copy);
        // The copy of a line before that line is in its place; it is the original behind it that is not.
        let same = from == (segment, line);
        prop_assert_eq!(first_break(&segments), named(segment, line + usize::from(same)));
    }

    #[test]
    fn two_exchanged_lines(a in line(), b in line()) {
        prop_assume!(a != b);
        let mut segments = GOLDEN.segments.clone();
        segments[a.0][a.1] = GOLDEN.segments[b.0][b.1].clone();
        segments[b.0][b.1] = GOLDEN.segments[a.0][a.1].clone();
        let (segment, line) = a.min(b);
        prop_assert_eq!(first_break(&segments), named(segment, line));
    }

    #[test]
    fn a_cut_end((segment, line) in line(), at: prop::sample::Index) {
        let mut segments = GOLDEN.segments[..=segment].to_vec();
        segments[segment].truncate(line + 1);
        let bytes = &mut segments[segment][line];
        let at = at.index(bytes.len());
        bytes.truncate(at);
        prop_assert_eq!(first_break(&segments), named(segment, line));
    }
}

#[test]
fn an_emptied_last_segment_is_named() {
    let last = GOLDEN.segments.len() - 1;
    let mut segments = GOLDEN.segments.clone();
    segments[last].clear();
    assert_eq!(first_break(&segments), named(last, 0));
}

#[test]
fn a_missing_segment_is_named() {
    for missing in 0..GOLDEN.segments.len() - 1 {
        let mut segments = GOLDEN.segments.clone();
        segments[missing].clear();
        assert_eq!(first_break(&segments), Some((missing, None)));
    }
    assert_eq!(first_break(&[]), Some((0, None)));
    let last = GOLDEN.segments.len() - 1;
    assert_eq!(first_break(&GOLDEN.segments[..last]), named(last - 1, GOLDEN.segments[last - 1].len()));
}

#[test]
fn a_line_that_is_too_long_to_be_one_is_named() {
    let last = GOLDEN.segments.len() - 1;
    for segment in [0, last] {
        let mut segments = GOLDEN.segments.clone();
        segments[segment][1] = vec![b'x'; 300_000];
        assert_eq!(first_break(&segments), named(segment, 1));
    }
}

#[test]
fn the_head_record_shows_when_it_was_altered_or_removed() {
    let scratch = Scratch::new();
    scratch.write(3);
    let head = scratch.path().join("audit.head");
    let good = fs::read(&head).unwrap();
    // Each slot alone may be broken by a write that was cut short; the other one is then used.
    edit(&head, |bytes| bytes[20] ^= 1);
    edit(&head, |bytes| bytes[512 + 20] ^= 1);
    assert_eq!(scratch.broken().path, head);
    fs::remove_file(&head).unwrap();
    assert_eq!(scratch.broken().path, head);
    fs::write(&head, good).unwrap();
    scratch.sound();
}

#[test]
fn an_older_head_record_does_not_hide_a_cut() {
    let scratch = Scratch::new();
    scratch.write(3);
    let (head, short) =
        (fs::read(scratch.path().join("audit.head")).unwrap(), fs::read(scratch.segment(1)).unwrap());
    scratch.write(3);
    fs::write(scratch.segment(1), &short).unwrap();
    assert!(scratch.broken().what.contains("missing at the end"));
    // Together with its old head record it is an older log. Only who noted its end elsewhere can tell.
    let noted = Link { sequence: 12, chain: Hash([0; 32]) };
    fs::write(scratch.path().join("audit.head"), head).unwrap();
    scratch.sound();
    let expectations = Expectations { links: vec![noted], ..Expectations::default() };
    let broken = verify(&scratch.path(), &key(), &expectations).unwrap().broken.unwrap();
    assert!(broken.what.contains("line 12 was not found"), "{broken}");
}

#[test]
fn a_noted_line_must_be_the_same_line() {
    let scratch = Scratch::new();
    scratch.write(3);
    let end = scratch.sound().end.unwrap();
    let with = |link| {
        let expectations = Expectations { links: vec![link], ..Expectations::default() };
        verify(&scratch.path(), &key(), &expectations).unwrap().broken
    };
    assert_eq!(with(end), None);
    let other = Link { chain: Hash([9; 32]), ..end };
    assert_eq!(with(other).unwrap().line, Some(end.sequence));
}

#[test]
fn segments_that_were_archived_are_left_out_by_name() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path()).unwrap();
    fs::write(scratch.path().join("audit.head"), &GOLDEN.head).unwrap();
    for (lines, number) in GOLDEN.segments.iter().zip(1..).skip(1) {
        fs::write(scratch.segment(number), lines.concat()).unwrap();
    }
    assert_eq!(scratch.broken().path, scratch.segment(1));
    let from = |first| {
        let expectations = Expectations { first: Some(first), ..Expectations::default() };
        verify(&scratch.path(), &key(), &expectations).unwrap()
    };
    assert_eq!(from(2).broken, None);
    assert_eq!(from(2).segments, GOLDEN.segments.len() as u64 - 1);
    edit(&scratch.segment(2), |bytes| bytes[30] ^= 1);
    assert_eq!(from(2).broken.unwrap().line, Some(1));
    assert_eq!(from(99).broken.unwrap().path, scratch.segment(99));
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (one, two) = (Scratch::new(), Scratch::new());
    one.write(3);
    two.write(3);
    fs::copy(two.segment(1), one.segment(1)).unwrap();
    let broken = one.broken();
    assert_eq!((broken.line, broken.what.contains("another log")), (Some(1), true), "{broken}");
}

#[test]
fn another_keystores_key_verifies_nothing() {
    let scratch = Scratch::new();
    scratch.write(3);
    let foreign = ChainKey::new(Key::from_bytes(&mut [8; 32]));
    let report = verify(&scratch.path(), &foreign, &Expectations::default()).unwrap();
    assert_eq!(report.broken.unwrap().line, Some(1));
    let before = fs::read(scratch.segment(1)).unwrap();
    assert!(matches!(AuditLog::open(&scratch.path(), foreign, Options::default()), Err(Error::Foreign(_))));
    assert_eq!(fs::read(scratch.segment(1)).unwrap(), before);
}
