//! Metering: how often each key, principal and operation was called in a month, and what that would cost.
//!
//! The figures come from the audit log alone ([`Ledger`]); only lines that verify are counted. Sums of what was read
//! before lie in a file beside the log, so that a year of it is read once. What keys themselves cost comes from the
//! keystore (`bill`). Calls that failed are counted and not charged.

mod bill;
mod ledger;
mod month;
mod prices;
#[cfg(test)]
mod tests;

pub use bill::{Bill, By, KeyLife, Line};
pub use ledger::{Group, Ledger, Tally};
pub use month::Month;
pub use prices::{Prices, PricesError, Tariff};
