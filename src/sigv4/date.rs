//! Dates of signatures: ISO 8601's basic format in UTC, `20150830T123600Z`.

use crate::kms::Timestamp;
use time::{Date, Month, Time};

/// Reads a date; `None` if it is not of this form.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let &[d0, d1, d2, d3, d4, d5, d6, d7, b'T', h0, h1, m0, m1, s0, s1, b'Z'] = text.as_bytes() else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0u16, |sum, byte| Some(10 * sum + char::from(*byte).to_digit(10)? as u16))
    };
    let pair = |high, low| number(&[high, low]).map(|number| number as u8);
    let month = Month::try_from(pair(d4, d5)?).ok()?;
    let date = Date::from_calendar_date(number(&[d0, d1, d2, d3])?.into(), month, pair(d6, d7)?).ok()?;
    let time = Time::from_hms(pair(h0, h1)?, pair(m0, m1)?, pair(s0, s1)?).ok()?;
    Some(date.with_time(time).assume_utc())
}

/// Writes a date.
pub fn format_date(date: Timestamp) -> String {
    let date = date.to_offset(time::UtcOffset::UTC);
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second) = date.to_hms();
    format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "20150830",
            "2015-08-30T12:36:00Z",
            "20150830T123600",
            "20150230T000000Z",
            "2015083xT123600Z",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0i64..253_402_300_800) {
            let date = Timestamp::from_unix_timestamp(seconds).unwrap();
            prop_assert_eq!(parse_date(&format_date(date)), Some(date));
        }
    }
}
