//! A log goes on after crashes and after damage, and says so.

use super::*;
use std::io::Write;

#[test]
fn it_goes_on_where_it_ended() {
    let scratch = Scratch::new();
    scratch.write(2);
    scratch.write(3);
    let report = scratch.sound();
    assert_eq!((report.segments, report.lines, report.calls), (1, 1 + 2 + 5 + 2, 5));
    assert_eq!(scratch.calls(), [0, 1, 0, 1, 2]);
}

#[test]
fn a_torn_line_is_cut_off_and_noted() {
    let scratch = Scratch::new();
    scratch.write(2);
    let whole = fs::metadata(scratch.segment(1)).unwrap().len();
    let torn = b"{\"event\":\"call\",\"time\":\"2026-01-01T12:00";
    fs::File::options().append(true).open(scratch.segment(1)).unwrap().write_all(torn).unwrap();
    let notes = scratch.sound().notes;
    assert!(notes.len() == 1 && notes[0].what.contains("not finished"), "{notes:?}");
    scratch.write(1);
    let found = scratch.events().into_iter().find(|event| matches!(event, Event::Torn { .. })).unwrap();
    let text = String::from_utf8(torn.to_vec()).unwrap();
    let bytes = torn.len() as u64;
    assert_eq!(found, Event::Torn { time: noon(), segment: 1, offset: whole, bytes, text });
    assert!(scratch.sound().notes[0].what.contains("cut off"));
    assert_eq!(scratch.calls(), [0, 1, 0]);
}

#[test]
fn whole_lines_behind_the_head_record_are_kept() {
    let scratch = Scratch::new();
    scratch.write(1);
    let head = fs::read(scratch.path().join("audit.head")).unwrap();
    scratch.write(2);
    fs::write(scratch.path().join("audit.head"), head).unwrap();
    scratch.write(1);
    assert_eq!(scratch.calls(), [0, 0, 1, 0]);
    scratch.sound();
}

#[test]
fn a_segment_that_was_just_begun_is_begun_again() {
    for begun in ["", "{\"event\":\"segm"] {
        let scratch = Scratch::new();
        scratch.write(2);
        fs::write(scratch.segment(2), begun).unwrap();
        scratch.write(1);
        assert_eq!(scratch.sound().segments, 2);
        assert_eq!(scratch.calls(), [0, 1, 0]);
    }
}

#[test]
fn lines_that_were_cut_off_leave_a_gap_for_ever() {
    let scratch = Scratch::new();
    scratch.write(3);
    edit(&scratch.segment(1), |bytes| {
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        bytes.truncate(last + 1);
    });
    scratch.write(2); // the service starts all the same
    let broken = scratch.broken();
    assert_eq!((broken.path, broken.line), (scratch.segment(2), Some(1)));
    assert!(broken.what.contains("number 7 where 6 must follow"), "{}", broken.what);
    let gap = |event: &Event| matches!(event, Event::Gap { reason, .. } if reason.contains("up to number 6"));
    assert_eq!(scratch.events().iter().filter(|event| gap(event)).count(), 1);
    assert_eq!(scratch.calls(), [0, 1, 2, 0, 1]);
    // What came later can still be verified.
    let expectations = Expectations { first: Some(2), ..Expectations::default() };
    let report = verify(&scratch.path(), &key(), &expectations).unwrap();
    assert_eq!((report.broken, report.calls), (None, 2));
    assert!(report.notes[0].what.contains("damaged before"));
}

#[test]
fn a_removed_head_record_or_segment_leaves_a_gap() {
    let removed = |remove: &dyn Fn(&Scratch)| {
        let scratch = Scratch::new();
        let options = Options { segment_bytes: 1500, ..scratch.options(Durability::Durable) };
        let log = AuditLog::open(&scratch.path(), key(), options).unwrap();
        for number in 0..9 {
            log.append(record(number)).wait().unwrap();
        }
        drop(log);
        let segments = scratch.sound().segments;
        remove(&scratch);
        scratch.write(1);
        let found = scratch.events().iter().any(|event| matches!(event, Event::Gap { .. }));
        (scratch.broken(), found, segments)
    };
    let (broken, gap, _) = removed(&|scratch| fs::remove_file(scratch.path().join("audit.head")).unwrap());
    assert!(gap && broken.what.contains("head record was missing"), "{broken}");
    let (broken, gap, segments) = removed(&|scratch| {
        let last = (1..).take_while(|number| scratch.segment(*number).exists()).last().unwrap();
        fs::remove_file(scratch.segment(last)).unwrap();
    });
    assert!(gap && broken.to_string().contains("is missing"), "{broken}");
    assert!(broken.path.ends_with(format!("audit-{segments:06}.jsonl")));
}

#[test]
fn a_crash_that_tore_nothing_shows_too() {
    let scratch = Scratch::new();
    let log = scratch.open(Durability::Durable);
    log.append(record(1)).wait().unwrap();
    // What a killed process leaves is what is in its files now.
    let left = Scratch::new();
    fs::create_dir(left.path()).unwrap();
    for entry in fs::read_dir(scratch.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, left.path().join(path.file_name().unwrap())).unwrap();
    }
    left.write(1);
    let notes = left.sound().notes;
    assert!(notes.len() == 1 && notes[0].what.contains("follows a crash"), "{notes:?}");
    drop(log);
}
