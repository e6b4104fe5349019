//! `kmsfs kms usage`: what calls and keys of a month come to.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::log::LogArgs;
use crate::{
    cli::{Exit, Failure, Global, output, show},
    kms::{
        Call, Kms, Page,
        usage::{Bill, By, Ledger, Line, Month, Prices},
    },
};

/// Arguments of `kmsfs kms usage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Calls are counted from the audit log, and only its lines that verify. Calls that
failed are counted apart and cost nothing. A key costs from its creation until its
deletion is scheduled, by the hour; each of its first two rotations as much again.

Prices are AWS's, in US dollars, unless --prices names a file of the form that
--show-prices prints.

Examples:
  kmsfs kms usage
  kmsfs kms usage --by principal --month 2026-12
  kmsfs kms usage --show-prices > prices.json
  kmsfs kms usage --prices prices.json --json")]
pub struct Args {
    /// What calls are added up by
    #[arg(long, value_enum, default_value_t = Grouping::Key)]
    by: Grouping,
    /// The month, in UTC [default: this month]
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<Month>,
    /// Read prices from FILE
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Print the price table and do nothing else
    #[arg(long)]
    show_prices: bool,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Grouping {
    Key,
    Principal,
    Operation,
}

impl Grouping {
    fn by(self) -> By {
        match self {
            Grouping::Key => By::Key,
            Grouping::Principal => By::Principal,
            Grouping::Operation => By::Operation,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Grouping::Key => "KEY",
            Grouping::Principal => "PRINCIPAL",
            Grouping::Operation => "OPERATION",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// There is no log, the keystore cannot be opened, or the price table makes no sense.
pub fn run(args: &Args, global: &Global, open: impl FnOnce() -> Result<Kms, Failure>) -> Result<(), Failure> {
    let prices = prices(args.prices.as_deref())?;
    if args.show_prices {
        return output::json(&json!(prices));
    }
    let kms = open()?;
    let ledger = Ledger::read(&args.log.directory(global)?, &kms.audit_key())?;
    if ledger.unverified() > 0 {
        let lines = show::count(ledger.unverified(), "line", "lines");
        output::note(format_args!("{lines} of the audit log do not verify and were not counted."));
        output::note(format_args!("See `kmsfs kms audit --verify`."));
    }
    let now = OffsetDateTime::now_utc();
    let month = args.month.unwrap_or_else(|| Month::of(now));
    let bill = Bill::new(&ledger, &kms.key_lives()?, month, args.by.by(), &prices, now);
    match global.json {
        true => output::json(&bill_json(&bill, month, args.by, &prices)),
        false => print(&bill, month, args.by, &prices, &names(&kms)?),
    }
}

fn prices(path: Option<&Path>) -> Result<Prices, Failure> {
    let Some(path) = path else { return Ok(Prices::aws()) };
    let text = fs::read_to_string(path).map_err(|err| Failure::io("read", path, &err))?;
    Prices::parse(&text).map_err(|err| {
        Failure::new(Exit::Failure, format_args!("{}: {err}", path.display()))
            .hint("`kmsfs kms usage --show-prices` prints a price table.")
    })
}

/// The first alias of each key, by the key's id.
fn names(kms: &Kms) -> Result<HashMap<String, String>, Failure> {
    let aliases = kms.list_aliases(&Call::operator(), None, Page::whole())?.items;
    Ok(aliases.into_iter().rev().map(|alias| (alias.target.to_string(), alias.name)).collect())
}

fn print(
    bill: &Bill,
    month: Month,
    by: Grouping,
    prices: &Prices,
    aliases: &HashMap<String, String>,
) -> Result<(), Failure> {
    let currency = &prices.currency;
    output::line(format_args!("{month}, in {}", output::printable(currency)))?;
    let mut rows: Vec<_> = bill.lines.iter().collect();
    rows.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()).then_with(|| a.0.cmp(b.0)));
    let mut cells: Vec<_> = rows
        .into_iter()
        .map(|(name, line)| {
            let name = name.as_deref().unwrap_or("(none)");
            let name = match aliases.get(name) {
                Some(alias) if by == Grouping::Key => format!("{name} ({alias})"),
                _ => name.to_owned(),
            };
            cells(name, line)
        })
        .collect();
    if by != Grouping::Key && bill.keys > 0.0 {
        cells.push(vec![
            "(keys)".to_owned(),
            String::new(),
            String::new(),
            String::new(),
            money(bill.keys),
            money(bill.keys),
        ]);
    }
    if bill.free > 0.0 {
        let off = money(-bill.free);
        cells.push(vec![
            "(free calls)".to_owned(),
            String::new(),
            String::new(),
            off.clone(),
            String::new(),
            off,
        ]);
    }
    cells.push(self::cells("Total".to_owned(), &bill.total));
    output::table(&[by.heading(), "CALLS", "FAILED", "FOR CALLS", "FOR KEYS", "TOTAL"], cells)
}

fn cells(name: String, line: &Line) -> Vec<String> {
    let (calls, failed) = (line.calls.to_string(), line.failed.to_string());
    vec![name, calls, failed, money(line.requests), money(line.keys), money(line.total())]
}

/// Prices are a few millionths a call.
fn money(amount: f64) -> String {
    format!("{amount:.6}")
}

fn bill_json(bill: &Bill, month: Month, by: Grouping, prices: &Prices) -> Value {
    let line = |line: &Line| {
        json!({
            "Calls": line.calls, "Failed": line.failed, "ForCalls": line.requests, "ForKeys": line.keys,
            "Total": line.total(),
        })
    };
    let lines: Vec<_> = bill
        .lines
        .iter()
        .map(|(name, figures)| {
            let mut value = line(figures);
            value["Name"] = json!(name);
            value
        })
        .collect();
    json!({
        "Month": month, "Currency": prices.currency, "By": by.heading().to_lowercase(), "Lines": lines,
        "ForKeys": bill.keys, "FreeCalls": bill.free, "Total": line(&bill.total),
    })
}
