//! `kmsfs kms audit`: showing and verifying the audit log.

use std::path::Path;

use serde_json::{Value, json};
use time::{Date, Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::log::LogArgs;
use crate::{
    cli::{Exit, Failure, Global, output, show},
    kms::{
        Kms,
        audit::{self, CallRecord, Event, Expectations, Link, Report, Walk},
    },
};

/// Arguments of `kmsfs kms audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every call of the service is a line of JSON in DIR/audit-NUMBER.jsonl: when, who,
from where, which operation on which key with which encryption context, and what
came of it. This command shows them, oldest first; the keystore stays closed.

--verify opens the keystore, follows the chain of MACs through all lines, and
names the first line that was altered, removed, added or moved. It ends with 14
if there is one. It prints the end of the log, as NUMBER:CHAIN. Note that
elsewhere: later, --expect NUMBER:CHAIN proves that the log still has that line,
also against somebody who put an older copy of the whole directory back.

Segments that were moved to an archive are not missed if --first names the first
one that is still here.

Examples:
  kmsfs kms audit --since 2h
  kmsfs kms audit --key 3c24c1b0-… --principal user/backup --json
  kmsfs kms audit --failed --since 2026-12-01
  kmsfs kms audit --verify")]
pub struct Args {
    /// Verify the log instead of showing it
    #[arg(long, conflicts_with_all = ["key", "principal", "operation", "since", "until", "failed"])]
    verify: bool,
    /// With --verify: the first segment that is still here
    #[arg(long, value_name = "NUMBER", requires = "verify", value_parser = clap::value_parser!(u64).range(1..))]
    first: Option<u64>,
    /// With --verify: a line that must be there, as an earlier --verify printed it; repeat for more
    #[arg(long, value_name = "NUMBER:CHAIN", requires = "verify")]
    expect: Vec<Link>,
    /// Only calls on this key: an id or ARN
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only calls of this principal: an ARN, or the end of one, as in user/backup
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// Only calls of this operation, as in Decrypt
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    /// Only calls that were answered with an error
    #[arg(long)]
    failed: bool,
    /// Only what happened since then: 30m, 12h, 7d ago, a day in UTC, or a time as in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<OffsetDateTime>,
    /// Only what happened before then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<OffsetDateTime>,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the command.
///
/// # Errors
/// There is no log, it cannot be read, or, with `--verify`, [`Exit::Damaged`].
pub fn run(args: &Args, global: &Global, open: impl FnOnce() -> Result<Kms, Failure>) -> Result<(), Failure> {
    let directory = args.log.directory(global)?;
    if args.verify {
        return verify(args, &directory, &open()?, global.json);
    }
    match global.json {
        true => list_json(args, &directory),
        false => list(args, &directory),
    }
}

impl Args {
    /// Whether only calls are asked for.
    fn asks_for_calls(&self) -> bool {
        self.key.is_some() || self.principal.is_some() || self.operation.is_some() || self.failed
    }

    fn wants(&self, event: &Event) -> bool {
        let time = event.time();
        let in_time =
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until);
        in_time
            && match event {
                Event::Call(call) => self.wants_call(call),
                _ => !self.asks_for_calls(),
            }
    }

    fn wants_call(&self, call: &CallRecord) -> bool {
        let is_key = |wanted: &str| {
            let keys = [&call.key, &call.source_key].into_iter().flatten();
            keys.map(|arn| audit::key_id(arn)).any(|id| id == audit::key_id(wanted))
        };
        let is_principal = |wanted: &str| {
            let arn = call.principal.as_deref().unwrap_or_default();
            arn == wanted || arn.strip_suffix(wanted).is_some_and(|rest| rest.ends_with(':'))
        };
        self.key.as_deref().is_none_or(is_key)
            && self.principal.as_deref().is_none_or(is_principal)
            && self.operation.as_deref().is_none_or(|wanted| call.operation == wanted)
            && !(self.failed && call.error.is_none())
    }

    /// The part of the log in which what is asked for can be.
    fn open(&self, directory: &Path) -> Result<Walk, Failure> {
        Ok(match self.since {
            Some(since) => Walk::since(directory, since)?,
            None => Walk::new(directory)?,
        })
    }

    /// Calls `show` with every line that is asked for.
    fn show(
        &self,
        mut walk: Walk,
        mut show: impl FnMut(&Event, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut senseless = 0;
        while let Some(place) = walk.advance()? {
            match place.event() {
                Some(event) if self.wants(&event) => show(&event, place.bytes)?,
                Some(_) => {}
                None if place.whole || place.is_too_long() => senseless += 1,
                None => break, // it is being written
            }
        }
        if senseless > 0 {
            let lines = show::count(senseless, "line was", "lines were");
            output::note(format_args!("{lines} left out as damaged. See `kmsfs kms audit --verify`."));
        }
        Ok(())
    }
}

fn list(args: &Args, directory: &Path) -> Result<(), Failure> {
    let walk = args.open(directory)?;
    row(["TIME (UTC)", "OPERATION", "RESULT", "KEY", "PRINCIPAL", "SOURCE"].map(str::to_owned))?;
    args.show(walk, |event, _| match event {
        Event::Call(call) => row([
            moment(call.time),
            call.operation.to_string(),
            call.error.as_deref().unwrap_or("ok").to_owned(),
            call.key.as_deref().map_or("-", audit::key_id).to_owned(),
            call.principal.as_deref().map_or("-", short).to_owned(),
            call.source.to_string(),
        ]),
        event => {
            let what = describe(event);
            output::line(format_args!("{}  -- {}", moment(event.time()), output::printable(&what)))
        }
    })
}

fn list_json(args: &Args, directory: &Path) -> Result<(), Failure> {
    let walk = args.open(directory)?;
    output::line(format_args!("{{ \"Events\": ["))?;
    let mut comma = "";
    args.show(walk, |_, line| {
        output::line(format_args!("{comma}{}", String::from_utf8_lossy(line)))?;
        comma = ",";
        Ok(())
    })?;
    output::line(format_args!("] }}"))
}

/// A row of a table whose end is not known when it begins.
fn row(cells: [String; 6]) -> Result<(), Failure> {
    let [time, operation, result, key, principal, source] = cells.map(|cell| output::printable(&cell));
    output::line(format_args!("{time:23}  {operation:15}  {result:24}  {key:36}  {principal:20}  {source}"))
}

fn describe(event: &Event) -> String {
    match event {
        Event::Call(call) => call.operation.to_string(),
        Event::Segment { segment, .. } => format!("segment {segment} begins"),
        Event::Started { version, .. } => format!("kmsfs {version} began to write"),
        Event::Stopped { .. } => "it stopped".to_owned(),
        Event::Lost { since, calls, .. } => {
            format!("{} could not be written since {}", show::count(*calls, "call", "calls"), moment(*since))
        }
        Event::Torn { segment, bytes, .. } => {
            format!("{bytes} bytes of unfinished lines were cut off segment {segment} after a crash")
        }
        Event::Unsure { from, to, reason, .. } => {
            format!("lines {from} to {to} may not have become durable: {reason}")
        }
        Event::Gap { reason, .. } => format!("the log was found damaged: {reason}"),
    }
}

/// "2026-12-01 12:00:00.123".
fn moment(at: OffsetDateTime) -> String {
    let date = show::date(at);
    format!("{}.{:03}", date.trim_end_matches(" UTC"), at.millisecond())
}

/// `user/alice` of `arn:aws:iam::000000000000:user/alice`.
fn short(principal: &str) -> &str {
    principal.rsplit_once(':').map_or(principal, |(_, name)| name)
}

fn verify(args: &Args, directory: &Path, kms: &Kms, json: bool) -> Result<(), Failure> {
    let expectations = Expectations { first: args.first, links: args.expect.clone() };
    let report = audit::verify(directory, &kms.audit_key(), &expectations)?;
    match json {
        true => output::json(&report_json(&report))?,
        false => print(&report)?,
    }
    match &report.broken {
        None => Ok(()),
        Some(broken) => Err(Failure::new(Exit::Damaged, output::printable(&broken.to_string())).hint(
            "What comes before that line verifies. Keep the directory as it is, and compare it with a copy.",
        )),
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    for note in &report.notes {
        output::note(format_args!("{}", output::printable(&note.to_string())));
    }
    output::fields(&[
        (
            "Verified",
            match report.broken {
                None => "all".to_owned(),
                Some(_) => "not all".to_owned(),
            },
        ),
        ("Segments", report.segments.to_string()),
        ("Lines", report.lines.to_string()),
        ("Calls", report.calls.to_string()),
        ("Calls lost", report.lost.to_string()),
        ("End", report.end.map(|end| end.to_string()).unwrap_or_default()),
    ])
}

fn report_json(report: &Report) -> Value {
    let place = |place: &audit::Break| json!({ "File": place.path, "Line": place.line, "What": place.what });
    json!({
        "Verified": report.broken.is_none(), "Segments": report.segments, "Lines": report.lines,
        "Calls": report.calls, "Lost": report.lost, "End": report.end.map(|end| end.to_string()),
        "Notes": report.notes.iter().map(place).collect::<Vec<_>>(),
        "Broken": report.broken.as_ref().map(place),
    })
}

/// Reads a point in time: a span before now, a day, or RFC 3339.
fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    let unit = |text: &str| match text.split_at_checked(text.len().saturating_sub(1))? {
        (number, "s") => Some(Duration::seconds(number.parse().ok()?)),
        (number, "m") => Duration::MINUTE.checked_mul(number.parse().ok()?),
        (number, "h") => Duration::HOUR.checked_mul(number.parse().ok()?),
        (number, "d") => Duration::DAY.checked_mul(number.parse().ok()?),
        _ => None,
    };
    let ago = || OffsetDateTime::now_utc().checked_sub(unit(text)?);
    let day = || {
        let date = OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339).ok()?.date();
        (date != Date::MIN).then(|| date.midnight().assume_utc())
    };
    OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day).or_else(ago).ok_or_else(|| {
        "expected 30m, 12h, 7d, a day as in 2026-12-24, or a time as in 2026-12-24T18:00:00Z".into()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_forms() {
        let day = parse_time("2026-12-24").unwrap();
        assert_eq!(parse_time("2026-12-24T01:00:00+01:00").unwrap(), day);
        let before = OffsetDateTime::now_utc();
        let ago = parse_time("36h").unwrap() + Duration::hours(36);
        assert!((before..=OffsetDateTime::now_utc()).contains(&ago));
        for bad in [
            "",
            "h",
            "1w",
            "1.5h",
            "2026-13-01",
            "yesterday",
            "99999999999999999999d",
            "9223372036854775807d",
            "ä",
        ] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
