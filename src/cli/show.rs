//! How values look that more than one command shows.

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A point in time as JSON shows it: RFC 3339, in UTC.
pub fn timestamp(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_else(|_| at.unix_timestamp().to_string())
}

/// A point in time as people read it, in UTC: "2026-11-23 17:04:05 UTC".
pub fn date(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    let (day, time) = (at.date(), at.time());
    format!("{day} {:02}:{:02}:{:02} UTC", time.hour(), time.minute(), time.second())
}

/// A size as people read it: "1.5 GiB"; exact below 10 KiB.
pub fn size(bytes: u64) -> String {
    if bytes < 10 * 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its noun: "1 file", "2 files".
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// An id of 16 bytes.
pub fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_when_small_and_short_when_large() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(10_239), "10239 B");
        assert_eq!(size(10_240), "10.0 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn dates_are_in_utc() {
        let at = OffsetDateTime::UNIX_EPOCH.to_offset(UtcOffset::from_hms(5, 0, 0).unwrap_or(UtcOffset::UTC));
        assert_eq!(date(at), "1970-01-01 00:00:00 UTC");
        assert_eq!(timestamp(at), "1970-01-01T00:00:00Z");
    }
}
