//! How events look as lines.

use super::*;

#[test]
fn a_line_has_a_fixed_form() {
    let mut out = Vec::new();
    let mut call = record(1);
    call.source = Source::User(1000);
    call.error = Some("AccessDeniedException".into());
    call.dry_run = true;
    call.micros = 321;
    let link = Link::START.write(&key(), &Event::Call(call.clone()), &mut out);
    let chain = link.chain;
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            "{{\"event\":\"call\",\"time\":\"2026-01-01T12:00:00.000Z\",\
             \"requestId\":\"00000000-0000-0000-0000-000000000001\",\
             \"principal\":\"arn:aws:iam::000000000000:user/alice\",\"source\":\"uid:1000\",\
             \"userAgent\":\"Boto3/1.40\",\"operation\":\"Decrypt\",\
             \"key\":\"arn:aws:kms:local:000000000000:key/3c24…\",\"spec\":\"SYMMETRIC_DEFAULT\",\
             \"context\":{{\"purpose\":\"a \\\"test\\\"\\n\"}},\"readOnly\":true,\
             \"error\":\"AccessDeniedException\",\"dryRun\":true,\"micros\":321,\
             \"sequence\":1,\"chain\":\"{chain}\"}}\n"
        ),
        "programs of others read these lines"
    );
}

#[test]
fn every_event_reads_back_as_it_was_written() {
    let time = noon();
    let mut bare = CallRecord::new(time, Uuid::nil(), Source::User(0), "NoSuchOperation".to_owned());
    bare.micros = u64::MAX;
    let mut full = record(9);
    full.source = Source::Address("2001:db8::1".parse().unwrap());
    full.access_key_id = Some("AKIAIOSFODNN7EXAMPLE".to_owned());
    full.source_key = full.key.clone();
    full.source_context = full.context.clone().with("ä", "\u{2028}");
    full.grant = Some("0f".repeat(32));
    let events = [
        Event::Call(bare),
        Event::Call(full),
        Event::Segment { time, segment: 2, log: Uuid::from_u128(5), previous: Hash([0xab; 32]) },
        Event::Started { time, version: "1.2.3".into() },
        Event::Stopped { time },
        Event::Lost { time, since: time, calls: 7 },
        Event::Torn { time, segment: 1, offset: 10, bytes: 3, text: "{\"e".to_owned() },
        Event::Unsure { time, from: 1, to: 2, reason: "I/O error".to_owned() },
        Event::Gap { time, reason: "lines are missing".to_owned() },
    ];
    let mut link = Link::START;
    for event in events {
        let mut line = Vec::new();
        let next = link.write(&key(), &event, &mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(!line.contains(&b'\n'), "one event, one line");
        assert_eq!(link.follow(&key(), &line), Ok(next));
        assert_eq!(serde_json::from_slice::<Event>(&line).unwrap(), event);
        assert_eq!(event.time(), time);
        link = next;
    }
    assert_eq!(link.to_string().parse(), Ok(link));
}

#[test]
fn a_line_follows_only_the_one_it_was_written_after() {
    let line_after = |link: Link| {
        let mut line = Vec::new();
        let next = link.write(&key(), &Event::Call(record(1)), &mut line);
        line.pop();
        (line, next)
    };
    let (first, one) = line_after(Link::START);
    let (second, _) = line_after(one);
    assert_eq!(Link::START.follow(&key(), &second), Err(Fault::Sequence { found: 2, expected: 1 }));
    assert_eq!(one.follow(&key(), &first), Err(Fault::Sequence { found: 1, expected: 2 }));
    let other = Link { chain: Hash([1; 32]), ..one };
    assert_eq!(other.follow(&key(), &second), Err(Fault::Altered));
    let foreign = ChainKey::new(Key::from_bytes(&mut [8; 32]));
    assert_eq!(one.follow(&foreign, &second), Err(Fault::Altered));
    for nonsense in [&b""[..], b"{}", &second[..second.len() - 1], &second[1..]] {
        assert_ne!(one.follow(&key(), nonsense), one.follow(&key(), &second));
    }
}

#[test]
fn what_clients_choose_freely_is_cut() {
    let mut call = record(1);
    call.user_agent = Some("ä".repeat(10_000));
    call.operation = "x".repeat(10_000).into();
    call.clip();
    assert_eq!(call.user_agent.unwrap(), format!("{}…", "ä".repeat(128)));
    assert_eq!(call.operation.len(), 256 + "…".len());
}
