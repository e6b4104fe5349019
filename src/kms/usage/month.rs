//! Months of the calendar, in UTC.

use std::fmt;
use std::str::FromStr;
use time::{Date, OffsetDateTime, UtcOffset};

/// A month: `2026-12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    month: time::Month,
}

impl Month {
    /// The month that `time` is in.
    pub fn of(time: OffsetDateTime) -> Month {
        let date = time.to_offset(UtcOffset::UTC).date();
        Month { year: date.year(), month: date.month() }
    }

    /// When it begins.
    pub fn begin(self) -> OffsetDateTime {
        let first = Date::from_calendar_date(self.year, self.month, 1).expect("every month has a first day");
        first.midnight().assume_utc()
    }

    /// When it has ended and the next one begins.
    pub fn end(self) -> OffsetDateTime {
        let year = self.year + i32::from(self.month == time::Month::December);
        Month { year, month: self.month.next() }.begin()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, u8::from(self.month))
    }
}

impl FromStr for Month {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Month, &'static str> {
        let parse = || {
            let (year, month) = text.split_once('-')?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
                return None;
            }
            let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
            Some(Month { year: year.parse().ok()?, month })
        };
        parse().ok_or("expected a month, as in 2026-12")
    }
}

impl serde::Serialize for Month {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Month {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Month, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
