//! What time it is, for deletion dates and rotation.

use time::OffsetDateTime;

/// A moment in UTC, to the millisecond: what the keystore records.
pub type Timestamp = OffsetDateTime;

/// Where the KMS reads the time of day. The waiting period of a deletion and the rotation period are wall
/// clock periods: they go on while no process runs.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> OffsetDateTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// `time` cut to the millisecond, as it comes back from the keystore.
pub(super) fn to_millis(time: OffsetDateTime) -> Timestamp {
    time.replace_nanosecond(time.nanosecond() / 1_000_000 * 1_000_000).unwrap_or(time)
}
