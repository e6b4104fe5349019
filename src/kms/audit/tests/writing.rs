//! Writing a log: order, rotation, one writer, failures.

use super::*;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

#[test]
fn buffered_lines_are_in_the_file_within_a_second_and_in_order() {
    let scratch = Scratch::new();
    let log = scratch.open(Durability::Buffered);
    for number in 0..1000 {
        log.append(record(number)).wait().unwrap();
    }
    let started = Instant::now();
    while scratch.calls().len() < 1000 {
        assert!(started.elapsed() < Duration::from_secs(1));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(scratch.calls(), (0..1000).collect::<Vec<_>>());
    scratch.sound();
    assert_eq!(log.figures().sequence, 1002);
}

#[test]
fn a_log_verifies_while_it_is_written() {
    let scratch = Scratch::new();
    let options = Options { segment_bytes: 50_000, ..scratch.options(Durability::Buffered) };
    let log = AuditLog::open(&scratch.path(), key(), options).unwrap();
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..).take_while(|_| writing.load(Ordering::Relaxed)) {
                log.append(record(number)).wait().unwrap();
                if number % 50 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        for _ in 0..20 {
            scratch.sound();
        }
        writing.store(false, Ordering::Relaxed);
    });
}

#[test]
fn a_durable_call_is_in_the_file_and_under_the_head_record_when_it_returns() {
    let scratch = Scratch::new();
    let log = scratch.open(Durability::Durable);
    for number in 0..20 {
        log.append(record(number)).wait().unwrap();
        assert_eq!(scratch.calls().last(), Some(&number));
        let head = head::Head::read(&Directory::at(&scratch.path()), &key()).unwrap().unwrap();
        assert_eq!(head.link, scratch.sound().end.unwrap());
    }
}

#[test]
fn many_callers_share_a_sync() {
    let scratch = Scratch::new();
    let log = scratch.open(Durability::Durable);
    thread::scope(|scope| {
        for thread in 0..8u128 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..50 {
                    log.append(record(thread << 64 | number)).wait().unwrap();
                }
            });
        }
    });
    assert!(log.figures().syncs <= 401);
    drop(log);
    let calls = scratch.calls();
    assert_eq!(scratch.sound().calls, 400);
    for thread in 0..8u128 {
        let own: Vec<_> = calls.iter().filter(|id| *id >> 64 == thread).map(|id| *id as u64).collect();
        assert_eq!(own, (0..50).collect::<Vec<_>>(), "each caller's calls are in its order");
    }
}

#[tokio::test]
async fn receipts_can_be_awaited() {
    let scratch = Scratch::new();
    for durability in [Durability::Durable, Durability::Buffered] {
        scratch.open(durability).append(record(1)).ready().await.unwrap();
    }
    assert_eq!(scratch.calls(), [1, 1]);
}

#[test]
fn segments_end_by_size_and_by_age() {
    let scratch = Scratch::new();
    let options = Options { segment_bytes: 4096, ..scratch.options(Durability::Durable) };
    let log = AuditLog::open(&scratch.path(), key(), options).unwrap();
    for number in 0..20 {
        log.append(record(number)).wait().unwrap();
    }
    drop(log);
    let by_size = scratch.sound().segments;
    assert!(by_size >= 3);
    for number in 1..by_size {
        let length = fs::metadata(scratch.segment(number)).unwrap().len();
        assert!((4096..5200).contains(&length), "{length}");
    }
    let log = scratch.open(Durability::Durable);
    log.append(record(1)).wait().unwrap();
    *scratch.clock.0.lock() += ::time::Duration::hours(25);
    assert_eq!(scratch.sound().segments, by_size, "an idle log makes no files");
    log.append(record(2)).wait().unwrap();
    assert_eq!(scratch.sound().segments, by_size + 1);
    drop(log);
    // The age counts from the segment's beginning, also in the next process.
    *scratch.clock.0.lock() += ::time::Duration::hours(25);
    scratch.write(1);
    assert_eq!(scratch.sound().segments, by_size + 2);
}

#[test]
fn reading_can_begin_in_the_segment_of_a_time() {
    let scratch = Scratch::new();
    for _ in 0..4 {
        scratch.write(1);
        *scratch.clock.0.lock() += ::time::Duration::hours(25);
    }
    let first = |hours| {
        let mut walk = Walk::since(&scratch.path(), noon() + ::time::Duration::hours(hours)).unwrap();
        walk.advance().unwrap().unwrap().position.segment
    };
    assert_eq!([first(-1), first(0), first(24), first(25), first(51), first(1000)], [1, 1, 1, 2, 3, 4]);
}

#[test]
fn a_log_has_one_writer() {
    let scratch = Scratch::new();
    let log = scratch.open(Durability::Buffered);
    let second = AuditLog::open(&scratch.path(), key(), Options::default());
    assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
    drop(log);
    scratch.open(Durability::Buffered);
}

#[test]
fn a_segment_cut_or_removed_while_it_is_written_is_noticed() {
    for remove in [false, true] {
        let scratch = Scratch::new();
        let log = scratch.open(Durability::Durable);
        for number in 0..3 {
            log.append(record(number)).wait().unwrap();
        }
        match remove {
            true => fs::remove_file(scratch.segment(1)).unwrap(),
            false => edit(&scratch.segment(1), |bytes| bytes.truncate(700)),
        }
        log.append(record(3)).wait().unwrap();
        log.append(record(4)).wait().unwrap();
        let gaps = scratch.places().into_iter().filter(|(_, event)| matches!(event, Event::Gap { .. }));
        assert_eq!(gaps.map(|(segment, _)| segment).collect::<Vec<_>>(), [2]);
        assert_eq!(scratch.broken().path, scratch.segment(1));
        assert!(scratch.calls().ends_with(&[3, 4]));
    }
}

#[test]
fn a_log_that_is_closed_takes_nothing_more() {
    let scratch = Scratch::new();
    let log = scratch.open(Durability::Durable);
    log.close();
    assert_eq!(log.append(record(1)).wait(), Err(Unrecorded));
    assert_eq!(log.figures().lost, 1);
}
