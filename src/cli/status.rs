//! `kmsfs status`: what the running mounts say about themselves.

use std::path::PathBuf;

use super::{Exit, Failure, Global, output};
use crate::fuse::control::{self, Report};
use crate::fuse::mountinfo;

/// Arguments of `kmsfs status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows the mounts of the calling user; root sees everyone's.

Examples:
  kmsfs status
  kmsfs status --json /mnt/plain")]
pub struct Args {
    /// Only this mount, by mount point or lower directory
    pub place: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let mut reports: Vec<Report> = control::running().into_iter().map(|running| running.report).collect();
    if let Some(place) = &args.place {
        let wanted = mountinfo::resolve(place).map_err(|e| Failure::io("find", place, &e))?;
        reports.retain(|report| report.mount_point == wanted || report.lower == wanted);
        if reports.is_empty() {
            return Err(Failure::new(
                Exit::Failure,
                format_args!("{}: no running mount there", place.display()),
            ));
        }
    }
    if global.json {
        let mounts = serde_json::to_value(&reports).unwrap_or_default();
        return output::json(&serde_json::json!({ "mounts": mounts }));
    }
    if reports.is_empty() {
        return output::line(format_args!("nothing is mounted"));
    }
    for (i, report) in reports.iter().enumerate() {
        if i > 0 {
            output::line(format_args!(""))?;
        }
        show(report)?;
    }
    Ok(())
}

fn show(report: &Report) -> Result<(), Failure> {
    let mode = if report.read_only { " (read-only)" } else { "" };
    output::line(format_args!("{}{mode}", report.mount_point.display()))?;
    for (label, value) in rows(report) {
        output::line(format_args!("  {label:<14} {value}"))?;
    }
    Ok(())
}

fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let (volume, cache, journal) =
        (&report.figures.volume, &report.figures.dek_cache, &report.figures.journal);
    let asked = cache.hits + cache.misses;
    let rate = (cache.hits * 100).checked_div(asked).unwrap_or(0);
    let mut rows = vec![
        ("lower", report.lower.display().to_string()),
        ("process", format!("{}, up {}", report.pid, duration(report.uptime_s))),
        ("volume", volume.id.clone()),
        ("cipher", volume.cipher.clone()),
        ("CMK", volume.cmk.clone()),
        ("KMS", volume.kms.clone()),
        ("zones", if volume.zones.is_empty() { "none".to_owned() } else { volume.zones.join(", ") }),
        ("durability", volume.durability.clone()),
        (
            "DEK cache",
            format!(
                "{} of {} keys, oldest {}; {} hits, {} misses ({rate} % hits), {} evictions",
                cache.entries,
                cache.capacity,
                duration(cache.oldest_s),
                cache.hits,
                cache.misses,
                cache.evictions,
            ),
        ),
        ("journal", format!("{} bytes pending in {} segments", journal.pending_bytes, journal.segments)),
        ("open files", report.open_files.to_string()),
    ];
    for trouble in &report.figures.troubles {
        rows.push((
            "TROUBLE",
            format!(
                "{} cannot be used since {} ({}, the last {} ago): {}",
                trouble.cmk,
                duration(trouble.since_s),
                super::show::count(trouble.failures, "failure", "failures"),
                duration(trouble.last_s),
                trouble.message,
            ),
        ));
    }
    if let Some(error) = &report.last_kms_error {
        rows.push(("last KMS error", format!("{} ago: {}", duration(error.age_s), error.message)));
    }
    rows
}

/// `3 d 4 h`, `5 min 6 s`: the two largest units.
fn duration(seconds: u64) -> String {
    let units = [(86400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in units.iter().skip(first).take(2) {
        parts.push(format!("{} {name}", rest / size));
        rest %= size;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(306), "5 min 6 s");
        assert_eq!(duration(3 * 86400 + 4 * 3600 + 59), "3 d 4 h");
    }
}
